//! The listening socket and its TLS connections. Passes each request to the [`router`](super::router), applies faults and
//! writes the request log. Knows no rule of the API.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use http::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::certificate::Identity;
use super::faults::Effect;
use super::journal::{LogFields, LoggedRequest, path_template};
use super::router;
use super::state::Controller;
use super::wire::{BODY_TIMEOUT, JSON, Payload, Reply, Request};
use crate::ApiError;

/// The time within which a client must finish the TLS handshake, and then the headers of each request.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause after a failed accept, for example because the process has no free file descriptor.
pub(super) const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// The maximum number of connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What the listener, its connections and the handles of a simulator share. A restart keeps it.
pub(super) struct Shared {
    controller: Mutex<Controller>,
    pub(super) identity: Identity,
    address: SocketAddr,
    /// The number of connections so far.
    connections: AtomicU64,
    /// The number of requests in flight.
    in_flight: AtomicUsize,
    /// The accept loop; `None` while stopped.
    running: Mutex<Option<Running>>,
    /// Is bound but never listens: it keeps the port while the simulator is stopped.
    _reserve: TcpSocket,
}

/// The accept loop; ends when `stop` is dropped.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Binds a port without listening; port 0 is any free port. Returns the socket, which keeps the port, and the address.
pub(super) fn reserve_port(address: SocketAddr) -> Result<(TcpSocket, SocketAddr)> {
    let socket = bind(address).with_context(|| format!("cannot bind {address}"))?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Shared {
    /// Returns a stopped simulator; `reserve` keeps the port of `address`.
    pub(super) fn new(
        controller: Controller,
        identity: Identity,
        reserve: TcpSocket,
        address: SocketAddr,
    ) -> Self {
        Self {
            controller: Mutex::new(controller),
            identity,
            address,
            connections: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            running: Mutex::new(None),
            _reserve: reserve,
        }
    }

    /// Locks the controller and brings it up to date with its clock.
    pub(super) fn lock(&self) -> MutexGuard<'_, Controller> {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        controller.run_due_discoveries();
        controller
    }

    /// Returns the number of requests in flight: received, but not answered yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Starts to listen; does nothing if it listens already.
    pub(super) fn open(self: &Arc<Self>) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return Ok(());
        }
        let listener = bind(self.address)
            .and_then(|socket| socket.listen(BACKLOG))
            .with_context(|| format!("cannot listen on {}", self.address))?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(Arc::clone(self), listener, stopped));
        *running = Some(Running { stop, task });
        Ok(())
    }

    /// Stops listening and drops every connection, also in the middle of a request.
    pub(super) async fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, task }) = running {
            drop(stop);
            // An error means that the task panicked: there is nothing left to close.
            let _ = task.await;
        }
    }

    /// Does the same as [`Shared::close`] without waiting for the end.
    pub(super) fn close_in_background(&self) {
        drop(self.running.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Accepts connections until `stopped` resolves, then drops every connection.
async fn accept(shared: Arc<Shared>, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(Arc::clone(&shared), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Serves one connection.
async fn serve_connection(shared: Arc<Shared>, stream: TcpStream) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(CLIENT_TIMEOUT, shared.identity.acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else {
        tracing::debug!(number, "TLS handshake failed or timed out");
        return;
    };
    let service = service_fn(|request| handle_request(&shared, number, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CLIENT_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(number, %error, "connection failed");
    }
}

/// Answers one request. An error closes the connection without a response.
async fn handle_request(
    shared: &Shared,
    connection: u64,
    request: http::Request<Incoming>,
) -> Result<Response<Payload>, io::Error> {
    let (parts, body) = request.into_parts();
    let request = match Request::read(parts, body, BODY_TIMEOUT).await {
        Ok(request) => request,
        Err(error) => {
            let mut reply = Reply::from(error);
            reply.close_connection();
            return Ok(reply.into_response(false));
        }
    };
    let _in_flight = InFlight::begin(&shared.in_flight);
    let effect = shared.lock().faults.take_effect(request.method.as_str(), &request.segments);
    if let Some(Effect::DelayMs(milliseconds)) = &effect {
        tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
    }
    let mut log = LogFields::default();
    let reply = match &effect {
        Some(Effect::CutBefore) => None,
        Some(Effect::Status { code, body, retry_after }) => {
            Some(fault_reply(*code, body.as_deref(), *retry_after))
        }
        Some(Effect::Stale) => Some(router::answer_stale(&shared.lock(), &request)),
        _ => Some(router::answer(&mut shared.lock(), &request, &mut log)),
    };
    let reply = reply.filter(|reply| match effect {
        Some(Effect::CutAfter) => false,
        // Without a body there is no half to send.
        Some(Effect::HalfReply) => reply.has_body(&request.method),
        _ => true,
    });
    let mut controller = shared.lock();
    let at = controller.clock.now();
    let status = reply.as_ref().map_or(0, |reply| reply.status);
    controller.journal.record(log_entry(&request, connection, status, log, effect.is_some()), at);
    drop(controller);
    tracing::debug!(
        connection, method = %request.method, path = request.path, query = request.query, status, "answered"
    );
    match reply {
        Some(reply) => Ok(reply.into_response(effect == Some(Effect::HalfReply))),
        None => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Counts a request until it is answered or its connection is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Creates the reply of [`Effect::Status`].
fn fault_reply(code: u16, body: Option<&str>, retry_after: Option<u64>) -> Reply {
    let mut reply = match body {
        Some(body) => Reply::text(code, JSON, body),
        None => ApiError::new(code, format!("HTTP {code} by an injected fault")).into(),
    };
    if let Some(seconds) = retry_after {
        reply.set_retry_after(seconds);
    }
    reply
}

/// Creates the log entry of a request; the journal sets number and time.
fn log_entry(request: &Request, connection: u64, status: u16, log: LogFields, fault: bool) -> LoggedRequest {
    let header = |name: &str| request.header(name).map(Cow::into_owned);
    LoggedRequest {
        number: 0,
        at: 0,
        connection,
        method: request.method.as_str().to_owned(),
        path: request.path.clone(),
        query: request.query.clone(),
        template: path_template(&request.segments),
        status,
        tenant: header("x-avi-tenant").or_else(|| header("x-avi-tenant-uuid")),
        user: log.user,
        version: header("x-avi-version"),
        fault,
    }
}
