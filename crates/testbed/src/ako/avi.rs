//! The stand-in's session with the controller: a few calls, as AKO makes them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Secret, Service};
use reqwest::{Certificate, Client, Method, StatusCode, Url};
use serde_json::{Value, json};

use super::objects;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A login of AKO. The cookies are in the client.
pub(super) struct Session {
    http: Client,
    url: String,
    csrf: String,
    tenant: String,
    version: String,
}

impl Session {
    /// Logs in with what the ConfigMap and the Secret say.
    pub(super) async fn log_in(settings: &BTreeMap<String, String>, secret: &Secret) -> Result<Self> {
        let setting =
            |key: &str| settings.get(key).cloned().with_context(|| format!("no {key} in the ConfigMap"));
        let credential = |key: &str| {
            let value = secret.data.as_ref().and_then(|data| data.get(key));
            let value = value.with_context(|| format!("no {key} in the Secret"))?;
            String::from_utf8(value.0.clone()).context("not UTF-8")
        };
        let ca = Certificate::from_pem(credential("certificateAuthorityData")?.as_bytes())?;
        let http =
            Client::builder().no_proxy().cookie_store(true).tls_certs_only([ca]).timeout(TIMEOUT).build()?;
        let url = format!("https://{}", setting("controllerIP")?);
        let login = json!({"username": credential("username")?, "password": credential("password")?});
        let reply = http.post(format!("{url}/login")).json(&login).send().await?;
        ensure!(reply.status() == StatusCode::OK, "the login is refused: {}", reply.text().await?);
        let csrf = reply
            .cookies()
            .find(|cookie| cookie.name() == "csrftoken")
            .map(|cookie| cookie.value().to_owned());
        let csrf = csrf.context("the login has no csrftoken")?;
        Ok(Self { http, url, csrf, tenant: setting("tenantName")?, version: setting("controllerVersion")? })
    }

    /// Returns the names of AKO's virtual services.
    pub(super) async fn services(&self, cluster: &str) -> Result<Vec<String>> {
        let created_by = objects::created_by(cluster);
        let listed = self.list("virtualservice", &[("created_by", &created_by)]).await?;
        Ok(listed.iter().filter_map(|one| one["name"].as_str().map(str::to_owned)).collect())
    }

    /// Makes a virtual service and what it consists of.
    pub(super) async fn make(
        &self,
        settings: &BTreeMap<String, String>,
        cluster: &str,
        service: &Service,
    ) -> Result<()> {
        for (kind, object) in objects::all(settings, cluster, service) {
            let reply = self.call(Method::POST, &format!("/api/{kind}"), &[], Some(&object)).await?;
            // It is left from an attempt that was cut off.
            let is_made = reply.0 == StatusCode::CREATED || reply.0 == StatusCode::CONFLICT;
            ensure!(is_made, "{kind}: {}: {}", reply.0, reply.1);
        }
        Ok(())
    }

    /// Returns the address of a virtual service.
    pub(super) async fn address(&self, name: &str) -> Result<String> {
        let listed = self.list("vsvip", &[("name", name)]).await?;
        let address = listed.first().and_then(|vip| vip["vip"][0]["ip_address"]["addr"].as_str());
        address.map(str::to_owned).with_context(|| format!("vsvip {name} has no address"))
    }

    /// Removes a virtual service and what it consisted of.
    pub(super) async fn remove(&self, name: &str) -> Result<()> {
        // What refers to others goes first.
        for kind in objects::KINDS.iter().rev() {
            for object in self.list(kind, &[("name", name)]).await? {
                let uuid = object["uuid"].as_str().unwrap_or_default();
                let reply = self.call(Method::DELETE, &format!("/api/{kind}/{uuid}"), &[], None).await?;
                let is_gone = reply.0 == StatusCode::NO_CONTENT || reply.0 == StatusCode::NOT_FOUND;
                ensure!(is_gone, "{kind}: {}: {}", reply.0, reply.1);
            }
        }
        Ok(())
    }

    async fn list(&self, kind: &str, query: &[(&str, &str)]) -> Result<Vec<Value>> {
        let (status, body) = self.call(Method::GET, &format!("/api/{kind}"), query, None).await?;
        ensure!(status == StatusCode::OK, "{kind}: {status}: {body}");
        ensure!(body.get("next").is_none(), "more than a page of {kind}");
        Ok(body["results"].as_array().cloned().unwrap_or_default())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value)> {
        let mut url = Url::parse(&format!("{}{path}", self.url))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query).append_pair("page_size", "200");
        }
        let mut request = self
            .http
            .request(method, url)
            .header("X-CSRFToken", &self.csrf)
            .header("Referer", &self.url)
            .header("X-Avi-Tenant", &self.tenant)
            .header("X-Avi-Version", &self.version);
        if let Some(body) = body {
            request = request.json(body);
        }
        let reply = request.send().await?;
        let (status, text) = (reply.status(), reply.text().await?);
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }
}
