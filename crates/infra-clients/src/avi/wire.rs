//! One request over HTTPS, one answer, and without an answer what is known about why. Owns the limit on calls, time
//! limits and the size limit; knows no session and never sends a request twice. Never logs bodies and headers.

use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use serde_json::Value;

use super::config::{Config, Limit};
use super::error::{Error, Kind};
use super::observe::{Exchange, Observer};
use super::redact::Redact;
use super::reply::{self, Reply};
use crate::https::{self, Cut, Stage};

/// A controller.
pub(super) struct Wire {
    http: reqwest::Client,
    authority: String,
    reply_timeout: Duration,
    body_timeout: Duration,
    max_reply: usize,
    limit: Limit,
    observer: Option<Observer>,
}

/// A request.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// The path with its query.
    pub(super) path: &'a str,
    /// What [`Exchange::resource`] is.
    pub(super) resource: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<&'a Value>,
    /// What must not be part of an error.
    pub(super) redact: Redact,
}

impl Wire {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let agent = format!("{}/{}", config.agent.0, config.agent.1);
        let http = https::client(&config.trust, config.connect_timeout)?
            .user_agent(agent)
            // If the server closes an idle connection just when a write is sent on it, the outcome of the write is
            // unknown. No web server or load balancer closes after less than 5 s by default.
            .pool_idle_timeout(Duration::from_secs(4))
            // This client decides what may be sent twice. Requests of which no byte was written before a connection
            // closed are still sent on another one by hyper.
            .retry(reqwest::retry::never())
            // Proxies in the environment are meant for the outside world; this client takes no setting from the
            // environment.
            .no_proxy();
        Ok(Self {
            http: https::build(http)?,
            authority: config.authority()?,
            reply_timeout: config.reply_timeout,
            body_timeout: config.body_timeout,
            max_reply: config.max_reply,
            limit: config.limit.clone(),
            observer: config.observer.clone(),
        })
    }

    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns [`Config::reply_timeout`].
    pub(super) fn reply_timeout(&self) -> Duration {
        self.reply_timeout
    }

    /// Sends a request, as soon as the limit on calls allows it.
    pub(super) async fn exchange(&self, request: Request<'_>) -> Result<Reply, Error> {
        let busy = || Error::new(Kind::Unavailable, "too many calls to this controller are under way");
        let turn = tokio::time::timeout(self.reply_timeout, self.limit.0.acquire()).await;
        let _turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let (method, resource) = (request.method.clone(), request.resource);
        let path = request.path.split('?').next().unwrap_or_default();
        let begun = Instant::now();
        let (status, result) = self.answered(&request).await;
        let elapsed = begun.elapsed();
        if let Some(observer) = &self.observer {
            observer.hear(&Exchange { method: method.as_str(), resource, status, elapsed });
        }
        tracing::trace!(%method, path, status, ?elapsed, "exchange with the AVI controller");
        result.map_err(|error| error.in_call(&method, path))
    }

    async fn answered(&self, request: &Request<'_>) -> (Option<u16>, Result<Reply, Error>) {
        let url = format!("https://{}{}", self.authority, request.path);
        let mut builder = self.http.request(request.method.clone(), url).headers(request.headers.clone());
        if let Some(body) = request.body {
            builder = builder.json(body);
        }
        let answer = match tokio::time::timeout(self.reply_timeout, builder.send()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return (None, Err(cut(&error, &request.redact))),
            Err(_) => {
                let text = format!("no answer within {:?}", self.reply_timeout);
                return (None, Err(Error::new(Kind::Timeout, text).doubtful()));
            }
        };
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let mut body = Vec::new();
        let read =
            tokio::time::timeout(self.body_timeout, self.read(answer, &mut body, &request.redact)).await;
        let read = read.unwrap_or_else(|_| {
            let text = format!("the answer was not complete within {:?}", self.body_timeout);
            Err(Error::new(Kind::Timeout, text))
        });
        let result = match read {
            // The status says that it is a refusal, even if the reason was cut off.
            Err(error) if (200..300).contains(&status) => Err(error.with_status(status).doubtful()),
            _ => reply::parse(status, &headers, &body, &request.redact),
        };
        (Some(status), result)
    }

    async fn read(
        &self,
        mut answer: reqwest::Response,
        body: &mut Vec<u8>,
        redact: &Redact,
    ) -> Result<(), Error> {
        while let Some(chunk) = answer.chunk().await.map_err(|error| cut(&error, redact))? {
            if body.len() + chunk.len() > self.max_reply {
                let text = format!("the answer is larger than {} bytes", self.max_reply);
                return Err(Error::new(Kind::Protocol, text));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(())
    }
}

/// Returns the error for an answer of which nothing came, or not the whole.
fn cut(error: &reqwest::Error, redact: &Redact) -> Error {
    let cut = Cut::of(error);
    let error = |kind| Error::new(kind, redact.hide(&cut.message));
    match cut.stage {
        Stage::Tls => error(Kind::Tls),
        Stage::Connect => error(Kind::Unreachable),
        Stage::Sent if cut.timeout => error(Kind::Timeout).doubtful(),
        Stage::Sent => error(Kind::Unreachable).doubtful().broken_connection(),
    }
}
