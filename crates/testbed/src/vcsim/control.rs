//! The client of the simulated vCenter's control port: JSON over HTTP. Operators do not use it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Bounds one request. Adding 10,000 machines takes seconds, every other request milliseconds.
const TIMEOUT: Duration = Duration::from_mins(2);

/// A client of one control port.
#[derive(Debug, Clone)]
pub(super) struct ControlPort {
    http: reqwest::Client,
    url: String,
}

impl ControlPort {
    /// Creates a client for the port at `address`, a host and a port.
    pub(super) fn new(address: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
        Ok(Self { http, url: format!("http://{address}") })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.http.get(format!("{}/{path}", self.url)).send().await?;
        Ok(response.error_for_status()?.json().await?)
    }

    pub(super) async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Result<()> {
        let mut request = self.http.request(method, format!("{}/{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.context("vcsim's control port does not answer")?;
        if response.status() == StatusCode::OK {
            return Ok(());
        }
        bail!("vcsim: {}", response.text().await?.trim())
    }
}
