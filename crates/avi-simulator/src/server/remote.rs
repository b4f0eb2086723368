//! [`Control`] over plain HTTP, for what is not written in Rust.
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
use super::front::RESPITE;
use super::wire::{BODY_TIME, Payload, Reply, Request};
use crate::store::{PortGroup, Snapshot};
use crate::{ApiError, Version};

/// What the control API offers, as text for people.
pub const CONTROL_HELP: &str = include_str!("remote.md");

struct Remote {
    control: Control,
    about: Value,
    ca_pem: String,
    snapshots: Mutex<BTreeMap<u64, Snapshot>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Discover {
    cloud: String,
    port_groups: Vec<Found>,
    #[serde(default)]
    after_seconds: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    moid: String,
    name: String,
    #[serde(default)]
    dvs: Option<bool>,
    #[serde(default)]
    hosts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    username: String,
    password: String,
}

impl From<Found> for PortGroup {
    fn from(Found { moid, name, dvs, hosts }: Found) -> Self {
        Self { moid, name, dvs: dvs.unwrap_or(true), hosts }
    }
}

/// Serves until the future is dropped.
pub(super) async fn serve(listener: TcpListener, control: Control, about: Value, ca_pem: String) {
    let remote = Arc::new(Remote { control, about, ca_pem, snapshots: Mutex::default() });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&remote), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for control");
                    tokio::time::sleep(RESPITE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(remote: Arc<Remote>, stream: TcpStream) {
    let service = service_fn(|request| handle(&remote, request));
    // With a timer hyper ends a connection whose headers do not come.
    let served =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection for control broke off");
    }
}

async fn handle(remote: &Remote, request: http::Request<Incoming>) -> Result<Response<Payload>, Infallible> {
    let (parts, body) = request.into_parts();
    let reply = match Request::read(parts, body, BODY_TIME).await {
        Ok(request) => remote.answer(&request).await.unwrap_or_else(Reply::from),
        Err(error) => {
            let mut reply = Reply::from(error);
            reply.last();
            reply
        }
    };
    Ok(reply.into_response(false))
}

impl Remote {
    async fn answer(&self, request: &Request) -> Result<Reply, ApiError> {
        let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
        let control = &self.control;
        match (request.method.as_str(), segments.as_slice()) {
            ("GET", []) => return Ok(Reply::json(200, self.about.clone())),
            ("GET", ["ca.pem"]) => {
                return Ok(Reply::text(200, "application/x-pem-file", self.ca_pem.clone()));
            }
            ("POST", ["seed"]) => {
                let text = std::str::from_utf8(&request.body).map_err(|error| refused(&error))?;
                control.seed(text).map_err(|error| ApiError::new(400, format!("{error:#}")))?;
            }
            ("GET", ["check"]) => return shown(&control.check()),
            ("POST", ["snapshots"]) => {
                let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
                let id = snapshots.last_key_value().map_or(1, |(last, _)| last + 1);
                snapshots.insert(id, control.snapshot());
                return Ok(Reply::json(201, json!({ "id": id })));
            }
            ("GET", ["snapshots", id, "diff"]) => {
                let snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
                let snapshot = id.parse().ok().and_then(|id: u64| snapshots.get(&id));
                let snapshot = snapshot.ok_or_else(|| ApiError::new(404, "no such snapshot"))?;
                return shown(&control.diff(snapshot));
            }
            ("GET", ["requests"]) => {
                let behind = request.parameter("behind").map_or(Ok(0), |text| text.parse());
                let behind =
                    behind.map_err(|_| ApiError::new(400, "behind: the number of a request is wanted"))?;
                return shown(&control.requests_behind(behind));
            }
            ("DELETE", ["requests"]) => control.reset_requests(),
            ("GET", ["counters"]) => {
                let counters: Vec<Value> = control
                    .counters()
                    .into_iter()
                    .map(|((method, path), count)| json!({ "method": method, "path": path, "count": count }))
                    .collect();
                return shown(&counters);
            }
            ("GET", ["logins"]) => return shown(&control.logins()),
            ("GET", ["visited"]) => return shown(&control.store(|store| store.visited())),
            ("POST", ["faults"]) => {
                let fault: Fault = parsed(request)?;
                if let Some(complaint) = fault.complaint() {
                    return Err(ApiError::new(400, complaint));
                }
                control.fault(fault);
            }
            ("DELETE", ["faults"]) => control.clear_faults(),
            ("POST", ["discover"]) => {
                let Discover { cloud, port_groups, after_seconds } = parsed(request)?;
                let after = Duration::try_from_secs_f64(after_seconds).map_err(|error| refused(&error))?;
                let groups = port_groups.into_iter().map(Into::into).collect();
                let found = control.discover(&cloud, groups, after);
                found.map_err(|error| ApiError::new(400, format!("{error:#}")))?;
            }
            ("PUT", ["upgrade"]) => control.upgrade_mode(parsed(request)?),
            ("PUT", ["version"]) => {
                let version: String = parsed(request)?;
                let version: Version = version.parse().map_err(|error: String| ApiError::new(400, error))?;
                control.upgrade_to(version).map_err(|error| ApiError::new(500, format!("{error:#}")))?;
            }
            ("PUT", ["unavailable"]) => control.unavailable(parsed(request)?),
            ("POST", ["expire-sessions"]) => control.expire_sessions(),
            ("POST", ["clock"]) => {
                let by = Duration::try_from_secs_f64(parsed(request)?).map_err(|error| refused(&error))?;
                control.advance_clock(by);
            }
            ("PUT", ["password"]) => {
                let Password { username, password } = parsed(request)?;
                if !control.set_password(&username, &password) {
                    return Err(ApiError::new(404, "no such user"));
                }
            }
            ("POST", ["stop"]) => control.stop().await,
            ("POST", ["restart"]) => {
                control.restart().await.map_err(|error| ApiError::new(500, format!("{error:#}")))?;
            }
            _ => return Err(ApiError::new(404, format!("no {} {}", request.method, request.path))),
        }
        Ok(Reply::empty(204))
    }
}

fn refused(error: &dyn std::error::Error) -> ApiError {
    ApiError::new(400, error.to_string())
}

fn parsed<T: DeserializeOwned>(request: &Request) -> Result<T, ApiError> {
    serde_json::from_slice(&request.body).map_err(|error| refused(&error))
}

fn shown<T: Serialize>(value: &T) -> Result<Reply, ApiError> {
    serde_json::to_value(value).map(|value| Reply::json(200, value)).map_err(|error| refused(&error))
}
