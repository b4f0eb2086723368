//! The sockets: TLS, connections, and what a fault does to them. Calls the controller, knows none of its rules.

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
use super::controller::{Controller, Seen};
use super::faults::Effect;
use super::journal::{LoggedRequest, template};
use super::wire::{BODY_TIME, JSON, Payload, Reply, Request};
use crate::ApiError;

/// A client that does not finish its TLS handshake or its headers is dropped after this.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before the next connection is accepted, when one could not be: for want of descriptors, which come back.
pub(super) const RESPITE: Duration = Duration::from_millis(100);
const BACKLOG: u32 = 1024;

/// What lives as long as the simulator, over restarts.
pub(super) struct Shared {
    controller: Mutex<Controller>,
    pub(super) identity: Identity,
    address: SocketAddr,
    connections: AtomicU64,
    waiting: AtomicUsize,
    running: Mutex<Option<Running>>,
    /// Bound and never listening: keeps the port for a restart.
    _reserve: TcpSocket,
}

struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Takes a port and keeps it; `address` with port 0 is any.
pub(super) fn reserve(address: SocketAddr) -> Result<(TcpSocket, SocketAddr)> {
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
            waiting: AtomicUsize::new(0),
            running: Mutex::new(None),
            _reserve: reserve,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Controller> {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        controller.catch_up();
        controller
    }

    /// Requests that were read and not answered yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Begins to listen. Does nothing if it does already.
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

    /// Stops listening and drops every connection, in the middle of whatever it is.
    pub(super) async fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, task }) = running {
            drop(stop);
            // The task ends by itself, or has panicked: there is nothing left to close then.
            let _ = task.await;
        }
    }

    /// As [`Shared::close`], without waiting for the end.
    pub(super) fn abandon(&self) {
        drop(self.running.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Accepts until told to stop; then every connection is dropped.
async fn accept(shared: Arc<Shared>, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(Arc::clone(&shared), stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(RESPITE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn serve(shared: Arc<Shared>, stream: TcpStream) {
    let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
    let _ = stream.set_nodelay(true);
    let handshake = tokio::time::timeout(PATIENCE, shared.identity.acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else {
        tracing::debug!(number, "no TLS handshake");
        return;
    };
    let service = service_fn(|request| handle(&shared, number, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(number, %error, "a connection broke off");
    }
}

/// The error closes the connection without a reply.
async fn handle(
    shared: &Shared,
    connection: u64,
    request: http::Request<Incoming>,
) -> Result<Response<Payload>, io::Error> {
    let (parts, body) = request.into_parts();
    let request = match Request::read(parts, body, BODY_TIME).await {
        Ok(request) => request,
        Err(error) => {
            let mut reply = Reply::from(error);
            reply.last();
            return Ok(reply.into_response(false));
        }
    };
    let _waiting = Waiting::begin(&shared.waiting);
    let effect = shared.lock().faults.strike(request.method.as_str(), &request.segments);
    if let Some(Effect::DelayMs(milliseconds)) = &effect {
        tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
    }
    let mut seen = Seen::default();
    let reply = match &effect {
        Some(Effect::CutBefore) => None,
        Some(Effect::Status { code, body, retry_after }) => {
            Some(stand_in(*code, body.as_deref(), *retry_after))
        }
        Some(Effect::Stale) => Some(shared.lock().stale(&request)),
        _ => Some(shared.lock().answer(&request, &mut seen)),
    };
    let reply = reply.filter(|reply| match effect {
        Some(Effect::CutAfter) => false,
        // There is no half of nothing: it is lost whole.
        Some(Effect::HalfReply) => reply.has_body(&request.method),
        _ => true,
    });
    let mut controller = shared.lock();
    let at = controller.clock.now();
    controller.journal.write(
        entry(&request, connection, reply.as_ref().map_or(0, |reply| reply.status), seen, effect.is_some()),
        at,
    );
    drop(controller);
    tracing::debug!(
        connection, method = %request.method, path = request.path, query = request.query,
        status = reply.as_ref().map_or(0, |reply| reply.status), "answered"
    );
    match reply {
        Some(reply) => Ok(reply.into_response(effect == Some(Effect::HalfReply))),
        None => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Counts a request for as long as it is being answered, also when its connection is dropped meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a fault answers in the controller's place.
fn stand_in(code: u16, body: Option<&str>, retry_after: Option<u64>) -> Reply {
    let mut reply = match body {
        Some(body) => Reply::text(code, JSON, body),
        None => ApiError::new(code, format!("HTTP {code} on demand")).into(),
    };
    if let Some(seconds) = retry_after {
        reply.retry_after(seconds);
    }
    reply
}

fn entry(request: &Request, connection: u64, status: u16, seen: Seen, fault: bool) -> LoggedRequest {
    let header = |name: &str| request.header(name).map(Cow::into_owned);
    LoggedRequest {
        number: 0,
        at: 0,
        connection,
        method: request.method.as_str().to_owned(),
        path: request.path.clone(),
        query: request.query.clone(),
        template: template(&request.segments),
        status,
        tenant: header("x-avi-tenant").or_else(|| header("x-avi-tenant-uuid")),
        user: seen.user,
        version: header("x-avi-version"),
        fault,
    }
}
