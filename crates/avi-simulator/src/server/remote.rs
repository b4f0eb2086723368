//! The control API: [`Control`] over plain HTTP, for tests and tools that are not written in Rust.
//!
#![doc = include_str!("remote.md")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::control::Control;
use super::faults::Fault;
use super::listener::ACCEPT_RETRY_DELAY;
use super::wire::{BODY_TIMEOUT, Payload, Reply, Request};
use crate::store::{PortGroup, Snapshot};
use crate::{ApiError, Version};

/// The requests of the control API, as text for `--help`.
pub const CONTROL_HELP: &str = include_str!("remote.md");

/// The control API of one simulator.
struct Remote {
    control: Control,
    /// The reply to `GET /`.
    about: Value,
    ca_pem: String,
    /// By the id that the client was given.
    snapshots: Mutex<BTreeMap<u64, Snapshot>>,
}

/// The body of `POST /discover`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DiscoverBody {
    cloud: String,
    port_groups: Vec<PortGroupBody>,
    #[serde(default)]
    after_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PortGroupBody {
    moid: String,
    name: String,
    #[serde(default)]
    dvs: Option<bool>,
    #[serde(default)]
    hosts: Vec<String>,
}

/// The body of `PUT /password`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    username: String,
    password: String,
}

impl From<PortGroupBody> for PortGroup {
    fn from(PortGroupBody { moid, name, dvs, hosts }: PortGroupBody) -> Self {
        Self { moid, name, dvs: dvs.unwrap_or(true), hosts }
    }
}

/// Serves the control API until the future is dropped.
pub(super) async fn serve(listener: TcpListener, control: Control, about: Value, ca_pem: String) {
    let remote = Arc::new(Remote { control, about, ca_pem, snapshots: Mutex::default() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(Arc::clone(&remote), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection of the control API");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection.
async fn serve_connection(remote: Arc<Remote>, stream: TcpStream) {
    let service = service_fn(|request| handle_request(&remote, request));
    // With a timer, hyper closes a connection on which the headers do not arrive.
    let served =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "control API connection failed");
    }
}

/// Answers one request.
async fn handle_request(
    remote: &Remote,
    request: http::Request<Incoming>,
) -> Result<Response<Payload>, Infallible> {
    let (parts, body) = request.into_parts();
    let reply = match Request::read(parts, body, BODY_TIMEOUT).await {
        Ok(request) => remote.answer(&request).await.unwrap_or_else(Reply::from),
        Err(error) => {
            let mut reply = Reply::from(error);
            reply.close_connection();
            reply
        }
    };
    Ok(reply.into_response(false))
}

impl Remote {
    async fn answer(&self, request: &Request) -> Result<Reply, ApiError> {
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", path) => self.show(request, path),
            ("POST", ["snapshots"]) => Ok(Reply::json(201, json!({ "id": self.take_snapshot() }))),
            (_, path) => self.change(request, path).await.map(|()| Reply::empty(204)),
        }
    }

    /// Answers a GET.
    fn show(&self, request: &Request, path: &[&str]) -> Result<Reply, ApiError> {
        let control = &self.control;
        match path {
            [] => Ok(Reply::json(200, self.about.clone())),
            ["ca.pem"] => Ok(Reply::text(200, "application/x-pem-file", self.ca_pem.clone())),
            ["check"] => json_reply(&control.check()),
            ["snapshots", id, "diff"] => {
                let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
                let snapshot = id.parse().ok().and_then(|id: u64| snapshots.get(&id));
                let snapshot =
                    snapshot.ok_or_else(|| ApiError::new(404, format!("there is no snapshot {id}")))?;
                json_reply(&control.diff(snapshot))
            }
            ["requests"] => {
                let after = request.parameter("after").map_or(Ok(0), |text| text.parse());
                let after =
                    after.map_err(|_| ApiError::new(400, "after: write the number of a logged request"))?;
                json_reply(&control.requests_after(after))
            }
            ["counters"] => {
                let counters: Vec<Value> = control
                    .counters()
                    .into_iter()
                    .map(|((method, path), count)| json!({ "method": method, "path": path, "count": count }))
                    .collect();
                json_reply(&counters)
            }
            ["logins"] => json_reply(&control.logins()),
            ["visited"] => json_reply(&control.store(|store| store.visited())),
            _ => Err(unknown(request)),
        }
    }

    /// Carries out a request that changes something and has no reply but success.
    async fn change(&self, request: &Request, path: &[&str]) -> Result<(), ApiError> {
        let control = &self.control;
        match (request.method.as_str(), path) {
            ("POST", ["seed"]) => {
                let text = std::str::from_utf8(&request.body).map_err(|error| bad_request(&error))?;
                control.seed(text).map_err(|error| ApiError::new(400, format!("{error:#}")))?;
            }
            ("DELETE", ["requests"]) => control.reset_requests(),
            ("POST", ["faults"]) => {
                let fault: Fault = parse_body(request)?;
                fault.validate().map_err(|error| ApiError::new(400, error))?;
                control.fault(fault);
            }
            ("DELETE", ["faults"]) => control.clear_faults(),
            ("POST", ["discover"]) => self.discover(parse_body(request)?)?,
            ("PUT", ["upgrade"]) => control.upgrade_mode(parse_body(request)?),
            ("PUT", ["version"]) => {
                let version: String = parse_body(request)?;
                let version: Version = version.parse().map_err(|error: String| ApiError::new(400, error))?;
                control.upgrade_to(version).map_err(|error| ApiError::new(500, format!("{error:#}")))?;
            }
            ("PUT", ["unavailable"]) => control.unavailable(parse_body(request)?),
            ("POST", ["expire-sessions"]) => control.expire_sessions(),
            ("POST", ["clock"]) => {
                let by = Duration::try_from_secs_f64(parse_body(request)?);
                control.advance_clock(by.map_err(|error| bad_request(&error))?);
            }
            ("PUT", ["password"]) => {
                let PasswordBody { username, password } = parse_body(request)?;
                if !control.set_password(&username, &password) {
                    return Err(ApiError::new(404, format!("there is no user {username}")));
                }
            }
            ("POST", ["stop"]) => control.stop().await,
            ("POST", ["restart"]) => {
                control.restart().await.map_err(|error| ApiError::new(500, format!("{error:#}")))?;
            }
            _ => return Err(unknown(request)),
        }
        Ok(())
    }

    /// Takes a snapshot and returns its id.
    fn take_snapshot(&self) -> u64 {
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        let id = snapshots.last_key_value().map_or(1, |(last, _)| last + 1);
        snapshots.insert(id, self.control.snapshot());
        id
    }

    fn discover(&self, body: DiscoverBody) -> Result<(), ApiError> {
        let after = Duration::try_from_secs_f64(body.after_seconds).map_err(|error| bad_request(&error))?;
        let groups = body.port_groups.into_iter().map(Into::into).collect();
        let found = self.control.discover(&body.cloud, groups, after);
        found.map_err(|error| ApiError::new(400, format!("{error:#}")))
    }
}

fn unknown(request: &Request) -> ApiError {
    ApiError::new(
        404,
        format!("no request {} {}; `avi-simulator --help` lists all", request.method, request.path),
    )
}

fn bad_request(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(400, error.to_string())
}

fn parse_body<T: DeserializeOwned>(request: &Request) -> Result<T, ApiError> {
    serde_json::from_slice(&request.body).map_err(|error| bad_request(&error))
}

fn json_reply<T: Serialize>(value: &T) -> Result<Reply, ApiError> {
    serde_json::to_value(value).map(|value| Reply::json(200, value)).map_err(|error| bad_request(&error))
}
