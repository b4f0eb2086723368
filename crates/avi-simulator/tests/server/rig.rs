//! A simulator and a plain HTTP client for it.

use std::time::Duration;

use avi_simulator::{ADMIN, Config, Simulator};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

/// A simulator and a client that trusts it.
pub struct Rig {
    pub sim: Simulator,
    pub http: Client,
}

/// A session, with the values of the headers that an SDK sends.
#[derive(Debug, Clone)]
pub struct Login {
    pub session: String,
    pub csrf: String,
    pub body: Value,
}

/// A response.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Got {
    pub async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: response.text().await.expect("the complete body") }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("not an error: {:?}", self.text)).to_owned()
    }

    /// Checks the status; the failure message has the body.
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.headers.get_all("set-cookie").iter().find_map(|value| {
            let value = value.to_str().ok()?.strip_prefix(name)?.strip_prefix('=')?;
            value.split(';').next().map(str::to_owned)
        })
    }
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sim = Simulator::start(config).await.expect("a simulator");
        let http = client(&sim);
        Self { sim, http }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sim.url())
    }

    pub async fn post_login(&self, username: &str, password: &str) -> Got {
        let body = json!({ "username": username, "password": password });
        Got::of(self.http.post(self.url("/login")).json(&body).send().await.expect("an answer")).await
    }

    pub async fn login(&self, username: &str, password: &str) -> Login {
        let got = self.post_login(username, password).await.is(200);
        Login {
            session: got.cookie("avi-sessionid").expect("a session cookie"),
            csrf: got.cookie("csrftoken").expect("a CSRF cookie"),
            body: got.json(),
        }
    }

    pub async fn admin(&self) -> Login {
        self.login(ADMIN, self.sim.admin_password()).await
    }

    /// Creates a request with all headers that an SDK sends.
    pub fn request(&self, login: &Login, method: &str, path: &str) -> RequestBuilder {
        self.http
            .request(Method::from_bytes(method.as_bytes()).expect("a method"), self.url(path))
            .headers(self.headers(login))
    }

    pub fn headers(&self, login: &Login) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: String| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).expect("a value"));
        };
        set("cookie", cookies(&login.csrf, &login.session));
        set("x-csrftoken", login.csrf.clone());
        set("referer", format!("{}/", self.sim.url()));
        set("x-avi-version", "30.2.1".to_owned());
        set("x-avi-tenant", "admin".to_owned());
        headers
    }

    pub async fn get(&self, login: &Login, path: &str) -> Got {
        Got::of(self.request(login, "GET", path).send().await.expect("an answer")).await
    }

    pub async fn send(&self, login: &Login, method: &str, path: &str, body: Value) -> Got {
        Got::of(self.request(login, method, path).json(&body).send().await.expect("an answer")).await
    }

    pub async fn delete(&self, login: &Login, path: &str) -> Got {
        Got::of(self.request(login, "DELETE", path).send().await.expect("an answer")).await
    }
}

pub fn cookies(csrf: &str, session: &str) -> String {
    format!("csrftoken={csrf}; sessionid={session}; avi-sessionid={session}")
}

/// Waits until a condition holds; fails after two minutes.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(Duration::from_mins(2), waiting).await.is_ok(), "timed out waiting until {what}");
}

/// Returns a client without a cookie store that trusts only the simulator's CA. It opens a connection for each request, so
/// that no request uses one that the simulator has just dropped.
pub fn client(sim: &Simulator) -> Client {
    let ca = reqwest::Certificate::from_pem(sim.ca_pem().as_bytes()).expect("a certificate");
    Client::builder().tls_certs_only([ca]).pool_max_idle_per_host(0).build().expect("a client")
}
