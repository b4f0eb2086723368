//! The connections of a proxy: TLS, requests, and responses other than watches.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::CallFault;
use super::mark::Subject;
use super::state::State;
use super::stream::Stream;

/// The events of a watch that wait for the client to read them.
const QUEUE: usize = 64;

pub(crate) type Payload = UnsyncBoxBody<Bytes, io::Error>;

/// The API server behind a proxy, and what the connections share.
pub(super) struct Server {
    pub(super) state: Arc<State>,
    pub(super) http: reqwest::Client,
    pub(super) url: String,
    pub(super) acceptor: TlsAcceptor,
}

/// Serves connections until the task is aborted.
pub(crate) async fn accept<F>(listener: TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let _ = stream.set_nodelay(true);
                connections.spawn(serve(stream));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

pub(super) async fn serve_connection(server: Arc<Server>, stream: TcpStream) {
    let generation = server.state.generation();
    let Ok(stream) = server.acceptor.accept(stream).await else { return };
    let service = service_fn(|request| server.answer(generation, request));
    // An error means that the client, or a fault, has closed the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// A request that was read.
struct Call {
    parts: http::request::Parts,
    body: Bytes,
    /// `None`: it is not perturbed.
    subject: Option<Subject>,
}

/// Closes the connection without a response.
fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Server {
    /// Answers one request. An error closes the connection without a response.
    async fn answer(&self, generation: u64, request: Request<Incoming>) -> io::Result<Response<Payload>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let subject = Subject::of_request(&parts.method, path, query, &parts.headers, &body);
        let call = Call { parts, body, subject };
        self.state.pass(generation).await.map_err(|_| cut())?;
        let fault = call.subject.as_ref().and_then(|subject| self.state.call(subject));
        match fault {
            None => self.forward(generation, call, None).await,
            Some(CallFault::RequestLost) => {
                self.state.fire();
                Err(cut())
            }
            Some(CallFault::Status(code)) => {
                self.state.fire();
                refusal(code).map_err(io::Error::other)
            }
            Some(CallFault::ReplyLost) => {
                self.forward(generation, call, None).await?;
                self.state.fire();
                Err(cut())
            }
            Some(CallFault::KillBeforeReply) => {
                self.forward(generation, call, None).await?;
                self.state.fire();
                self.state.close();
                self.state.pass(generation).await.map_err(|_| cut())?;
                Err(cut())
            }
            Some(CallFault::OlderList(changes)) => {
                self.forward(generation, call, None).await?;
                self.state.age(changes);
                self.state.close();
                self.state.pass(generation).await.map_err(|_| cut())?;
                Err(cut())
            }
            Some(CallFault::KillAfterReply) => self.forward(generation, call, fault).await,
        }
    }

    /// Sends the request to the API server and returns its response.
    async fn forward(
        &self,
        generation: u64,
        call: Call,
        fault: Option<CallFault>,
    ) -> io::Result<Response<Payload>> {
        let Call { parts, body, subject } = call;
        let target = self.target(&parts.uri, subject.as_ref());
        let request = self.http.request(parts.method, target).headers(passed_on(&parts.headers)).body(body);
        let response = request.send().await.map_err(io::Error::other)?;
        let (status, headers) = (response.status(), passed_on(response.headers()));
        let watched = subject.as_ref().filter(|subject| subject.verb == "watch" && status.is_success());
        let payload = if let Some(subject) = watched {
            self.relay(generation, subject.resource.clone(), response)
        } else {
            let body = response.bytes().await.map_err(io::Error::other)?;
            let subject = subject.filter(|_| status.is_success());
            if subject.is_some_and(|subject| self.state.succeeded(&subject, &body)) {
                self.state.fire();
                self.state.close();
            }
            if fault == Some(CallFault::KillAfterReply) {
                self.then_close(body)
            } else {
                self.state.pass(generation).await.map_err(|_| cut())?;
                whole(body)
            }
        };
        let mut response = Response::new(payload);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    /// Returns the URL at the API server. An older list asks for an older resource version, which etcd still has.
    fn target(&self, uri: &http::Uri, subject: Option<&Subject>) -> String {
        let query = uri.query().unwrap_or_default();
        let lists = subject.filter(|subject| subject.verb == "list" && !query.contains("continue="));
        let older = lists.and_then(|subject| self.state.older_version(&subject.resource));
        let Some(version) = older else { return format!("{}{uri}", self.url) };
        self.state.fire();
        let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("resourceVersion"));
        let exact = [format!("resourceVersion={version}"), "resourceVersionMatch=Exact".to_owned()];
        let pairs: Vec<_> = kept.map(str::to_owned).chain(exact).collect();
        format!("{}{}?{}", self.url, uri.path(), pairs.join("&"))
    }

    /// Returns a body with the events of a watch.
    fn relay(&self, generation: u64, resource: String, response: reqwest::Response) -> Payload {
        let (client, events) = mpsc::channel(QUEUE);
        let stream = Stream { state: Arc::clone(&self.state), generation, resource, client };
        // Ends when the client closes the connection, which drops `events`.
        tokio::spawn(stream.relay(response));
        let events =
            stream::unfold(events, async |mut events| events.recv().await.map(|frame| (frame, events)));
        BodyExt::boxed_unsync(StreamBody::new(events))
    }

    /// Returns a body that stops everything after it was sent.
    fn then_close(&self, body: Bytes) -> Payload {
        let state = Arc::clone(&self.state);
        let frames = stream::unfold(Some(body), move |body| {
            let state = Arc::clone(&state);
            async move {
                let Some(body) = body else {
                    state.fire();
                    state.close();
                    return None;
                };
                Some((Ok(Frame::data(body)), None))
            }
        });
        BodyExt::boxed_unsync(StreamBody::new(frames))
    }
}

/// Returns the headers that are passed on. Those about the connection are between the proxy and each side.
pub(crate) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        // The proxy reads the responses.
        header::ACCEPT_ENCODING,
    ] {
        headers.remove(name);
    }
    headers
}

pub(crate) fn whole(body: Bytes) -> Payload {
    BodyExt::boxed_unsync(Full::new(body).map_err(|never| match never {}))
}

/// Returns the body of an error as an API server writes it.
pub(crate) fn status(code: u16, message: &str) -> Value {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    })
}

/// Returns a response that refuses a request.
fn refusal(code: u16) -> Result<Response<Payload>> {
    let body = status(code, "refused by the perturbation of this run").to_string();
    let mut response = Response::new(whole(body.into()));
    *response.status_mut() = StatusCode::from_u16(code).context("not an HTTP status")?;
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse()?);
    if code == 429 {
        response.headers_mut().insert(header::RETRY_AFTER, "1".parse()?);
    }
    Ok(response)
}
