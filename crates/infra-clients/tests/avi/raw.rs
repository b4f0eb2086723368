//! Requests that this client never sends, written by hand: what the controller answers to other clients.

use anyhow::{Context, Result, ensure};
use reqwest::header::{COOKIE, HeaderMap, REFERER, SET_COOKIE};
use serde_json::{Value, json};

use crate::rig::Rig;

pub(crate) struct Raw {
    http: reqwest::Client,
    url: String,
    cookies: String,
    csrf: String,
}

impl Raw {
    /// Logs in as the administrator.
    pub(crate) async fn log_in(rig: &Rig) -> Result<Self> {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        for certificate in rustls::pki_types::pem::PemObject::pem_slice_iter(rig.sim.ca_pem().as_bytes()) {
            roots.add(certificate?)?;
        }
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = reqwest::Client::builder().tls_backend_preconfigured(tls).build()?;
        let body = json!({"username": avi_simulator::ADMIN, "password": rig.sim.admin_password()});
        let reply = http.post(format!("{}/login", rig.sim.url())).json(&body).send().await?;
        ensure!(reply.status() == 200, "{}", reply.status());
        let pairs: Vec<String> = reply
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|cookie| Some(cookie.to_str().ok()?.split(';').next()?.to_owned()))
            .collect();
        let csrf = pairs.iter().find_map(|pair| pair.strip_prefix("csrftoken=")).context("no CSRF cookie")?;
        Ok(Self { http, url: rig.sim.url().to_owned(), csrf: csrf.to_owned(), cookies: pairs.join("; ") })
    }

    /// Returns status and body of a request with the cookies of the session and only the given headers.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(u16, String)> {
        let mut map = HeaderMap::new();
        map.insert(COOKIE, self.cookies.parse()?);
        for (name, value) in headers {
            map.insert(reqwest::header::HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
        }
        let mut request = self.http.request(method.parse()?, format!("{}{path}", self.url)).headers(map);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().await?;
        Ok((reply.status().as_u16(), reply.text().await?))
    }

    /// Returns what a correct client of that API version reads.
    pub(crate) async fn read(&self, path: &str, version: &str) -> Result<Value> {
        let referer = format!("{}/", self.url);
        let headers =
            [("x-csrftoken", &*self.csrf), (REFERER.as_str(), &*referer), ("x-avi-version", version)];
        let (status, body) = self.send("GET", path, &headers, None).await?;
        ensure!(status == 200, "{status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    pub(crate) fn csrf(&self) -> &str {
        &self.csrf
    }
}
