//! The simulator as a process, and a plain HTTP client that counts bytes.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use testbed::{Process, ProcessSpec, Workdir, eventually};

/// The account with all privileges.
pub(super) const USER: &str = "admin";
const VERSION: &str = "30.2.1";
const START: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_mins(1);

/// A running simulator with a session. Dropping it stops it.
pub(super) struct Controller {
    // The first field, so that the process ends before its directory is removed.
    process: Process,
    _workdir: Workdir,
    http: reqwest::Client,
    headers: HeaderMap,
    url: String,
    control: String,
    ca_pem: Vec<u8>,
    password: String,
}

/// A response.
pub(super) struct Exchange {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Exchange {
    pub(super) fn json(&self) -> Result<Value> {
        ensure!(self.status < 300, "{} {}", self.status, self.body);
        Ok(serde_json::from_str(&self.body)?)
    }
}

impl Controller {
    pub(super) async fn start() -> Result<Self> {
        let binary = env::var_os("AVI_SIMULATOR_BIN")
            .context("AVI_SIMULATOR_BIN is not set: cargo xtask bench avi")?;
        let workdir = Workdir::new("bench-avi")?;
        let ca_file = workdir.path().join("ca.pem");
        let arguments = ["--listen=127.0.0.1:0", "--control-listen=127.0.0.1:0", "--log=warn", "--ca-file"];
        let log = workdir.path().join("simulator.log");
        let mut spec = ProcessSpec::new("avi-simulator", binary, arguments, log);
        spec.args.push(ca_file.clone().into());
        let password = workdir.name().to_owned();
        spec.env.push(("AVI_SIMULATOR_ADMIN_PASSWORD".to_owned(), password.clone().into()));
        let process = Process::spawn(spec)?;
        let ready = eventually("the simulator says where it is", START, async || {
            let log = process.log();
            Ok(log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()))
        })
        .await?;
        let address = |field: &str| {
            ready[field].as_str().map(str::to_owned).with_context(|| format!("no {field} in {ready}"))
        };

        let ca_pem = fs::read(&ca_file)?;
        // reqwest uses the process-wide provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(&ca_pem)?;
        let http =
            reqwest::Client::builder().no_proxy().timeout(TIMEOUT).tls_certs_only([authority]).build()?;
        let mut controller = Self {
            process,
            _workdir: workdir,
            http,
            headers: HeaderMap::new(),
            url: address("url")?,
            control: address("control_url")?,
            ca_pem,
            password,
        };
        controller.login().await?;
        Ok(controller)
    }

    async fn login(&mut self) -> Result<()> {
        let body = json!({ "username": USER, "password": self.password });
        let reply = self.http.post(format!("{}/login", self.url)).json(&body).send().await?;
        let cookies: BTreeMap<String, String> = reply
            .headers()
            .get_all("set-cookie")
            .iter()
            .filter_map(|cookie| cookie.to_str().ok()?.split(';').next()?.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let csrf = cookies.get("csrftoken").context("the login brought no csrftoken")?;
        let all: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        for (name, value) in [
            ("cookie", all.join("; ")),
            ("x-csrftoken", csrf.clone()),
            ("referer", self.url.clone()),
            ("x-avi-version", VERSION.to_owned()),
            ("x-avi-tenant", "admin".to_owned()),
        ] {
            self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value)?);
        }
        Ok(())
    }

    pub(super) async fn get(&self, path: &str) -> Result<Exchange> {
        self.exchange(self.http.get(format!("{}{path}", self.url))).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Exchange> {
        self.exchange(self.http.post(format!("{}{path}", self.url)).json(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Exchange> {
        self.exchange(self.http.patch(format!("{}{path}", self.url)).json(body)).await
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Exchange> {
        let reply = request.headers(self.headers.clone()).send().await?;
        Ok(Exchange { status: reply.status().as_u16(), body: reply.text().await? })
    }

    /// Returns the part of a URL after the controller's address.
    pub(super) fn path_of<'a>(&self, url: &'a str) -> &'a str {
        url.strip_prefix(&self.url).unwrap_or(url)
    }

    /// Returns the number of objects that lists have examined.
    pub(super) async fn visited(&self) -> Result<u64> {
        let visited = self.control("visited").await?;
        visited.as_u64().with_context(|| format!("{visited} is no count"))
    }

    /// Returns the requests since [`Controller::forget_requests`], by method and path.
    pub(super) async fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let counters = self.control("counters").await?;
        let entries = counters.as_array().map(Vec::as_slice).unwrap_or_default();
        let entry = |entry: &Value| {
            let request = format!("{} {}", entry["method"].as_str()?, entry["path"].as_str()?);
            Some((request, entry["count"].as_u64()?))
        };
        Ok(entries.iter().filter_map(entry).collect())
    }

    pub(super) async fn forget_requests(&self) -> Result<()> {
        self.http.delete(format!("{}/requests", self.control)).send().await?.error_for_status()?;
        Ok(())
    }

    async fn control(&self, what: &str) -> Result<Value> {
        let reply = self.http.get(format!("{}/{what}", self.control)).send().await?.error_for_status()?;
        Ok(serde_json::from_str(&reply.text().await?)?)
    }

    /// Returns the simulator's resident memory, in millions of bytes.
    pub(super) fn resident(&self) -> Result<f64> {
        Ok(real(self.process.memory()?.rss) / 1e6)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn ca_pem(&self) -> &[u8] {
        &self.ca_pem
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

/// Converts a count for a division.
#[expect(clippy::cast_precision_loss, reason = "counts and sizes here are far below 2^52")]
pub(super) fn real(count: u64) -> f64 {
    count as f64
}
