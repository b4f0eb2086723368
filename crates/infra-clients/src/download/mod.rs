//! Downloads of small files: one GET with its redirects, within limits of time and size.
//!
//! ```text
//!   registry::pull ── manifest, layer ──▶ Downloader ── redirects, limits ──▶ server
//! ```
//!
//! Owns what a server can do to a download: be slow, send too much, cut it off, lead it elsewhere. Sends credentials to the host that they
//! are for and to no other. Stores nothing, and compares no checksum but those of a registry: the caller knows which file it wants.

mod address;
mod error;
mod gzip;
mod login;
pub mod registry;

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

pub use address::Address;
pub use error::{Error, Kind, REASONS};
pub use gzip::gunzip;
pub use login::Login;

use crate::https::{self, Cut, SettingError, Stage, Trust};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Redirects of one download.
const REDIRECTS: usize = 5;

/// What a download may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Longest time for all of it, redirects included. Default: 2 minutes.
    pub time: Duration,
    /// Longest time without a byte. Default: 20 seconds.
    pub stall: Duration,
    /// Largest file in bytes, also after it was decompressed. Default: 1 MiB.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_mins(2), stall: Duration::from_secs(20), bytes: 1 << 20 }
    }
}

/// Downloads files. Uses the proxy of the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, not for hosts in `NO_PROXY`).
#[derive(Debug, Clone)]
pub struct Downloader {
    client: reqwest::Client,
    agent: String,
    limits: Limits,
}

/// What is asked of a server. The value of `Authorization` goes to the host of the address and no further.
struct Get<'a> {
    address: Address,
    accept: Option<&'a str>,
    authorization: Option<header::HeaderValue>,
}

/// What a server says: any status but a redirect.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Downloader {
    /// Creates a downloader. `agent`: name and version of the program.
    ///
    /// # Errors
    /// The trust cannot be used.
    pub fn new(trust: &Trust, agent: (&str, &str), limits: Limits) -> Result<Self, SettingError> {
        // Plain HTTP is the caller's decision, for each address.
        let builder = https::client(trust, CONNECT_TIMEOUT)?.https_only(false);
        let agent = format!("{}/{}", agent.0, agent.1);
        Ok(Self { client: https::build(builder)?, agent, limits })
    }

    /// Returns the limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Downloads a file: as the server has it, also if it is compressed. Follows redirects, but none from https to http.
    ///
    /// # Errors
    /// [`Kind::TooLarge`] and [`Kind::Timeout`] beyond the limits; else whatever a server and a network can do.
    pub async fn get(&self, address: &Address) -> Result<Vec<u8>, Error> {
        let get = Get { address: address.clone(), accept: None, authorization: None };
        let answer = self.send(get).await?;
        if answer.status.is_success() {
            Ok(answer.body)
        } else {
            Err(Error::of_status(address, answer.status))
        }
    }

    async fn send(&self, get: Get<'_>) -> Result<Answer, Error> {
        let (address, time) = (get.address.clone(), self.limits.time);
        tokio::time::timeout(time, self.follow(get)).await.unwrap_or_else(|_| {
            Err(Error::new(Kind::Timeout, &address, format!("it takes longer than {time:?}")))
        })
    }

    async fn follow(&self, mut get: Get<'_>) -> Result<Answer, Error> {
        let first = get.address.clone();
        for _ in 0..=REDIRECTS {
            let address = &get.address;
            let response = self.request(&get).await?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return self.read(address, response).await;
            }
            let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let next = address.redirect(location).map_err(|why| Error::new(Kind::Redirect, address, why))?;
            if !next.has_origin_of(address) {
                get.authorization = None;
            }
            get.address = next;
        }
        Err(Error::new(Kind::Redirect, &first, format!("there are more than {REDIRECTS} redirects")))
    }

    async fn request(&self, get: &Get<'_>) -> Result<reqwest::Response, Error> {
        let mut request = self.client.get(get.address.url().clone()).header(header::USER_AGENT, &self.agent);
        if let Some(accept) = get.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if let Some(authorization) = &get.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        self.in_time(&get.address, request.send()).await
    }

    /// Reads a body within the limits.
    async fn read(&self, address: &Address, mut response: reqwest::Response) -> Result<Answer, Error> {
        let (status, headers, limit) = (response.status(), response.headers().clone(), self.limits.bytes);
        let too_large = || Error::new(Kind::TooLarge, address, format!("it is larger than {limit} bytes"));
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.in_time(address, response.chunk()).await? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        // It was not asked for; some servers send what they have stored.
        match headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?")) {
            None | Some("identity") => {}
            Some("gzip") => {
                body = gunzip(&body, limit).map_err(|why| Error::new(Kind::Corrupt, address, why))?;
            }
            Some(other) => {
                let message =
                    format!("the server sends it with the encoding {other:?}, which was not asked for");
                return Err(Error::new(Kind::Corrupt, address, message));
            }
        }
        Ok(Answer { status, headers, body })
    }

    async fn in_time<T>(
        &self,
        address: &Address,
        step: impl Future<Output = Result<T, reqwest::Error>>,
    ) -> Result<T, Error> {
        let stall = self.limits.stall;
        match tokio::time::timeout(stall, step).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(cut(address, &error)),
            Err(_) => Err(Error::new(Kind::Timeout, address, format!("nothing comes within {stall:?}"))),
        }
    }
}

fn cut(address: &Address, error: &reqwest::Error) -> Error {
    let cut = Cut::of(error);
    let kind = match cut.stage {
        Stage::Tls => Kind::Tls,
        _ if cut.timeout => Kind::Timeout,
        Stage::Connect | Stage::Sent => Kind::Unreachable,
    };
    Error::new(kind, address, cut.message)
}
