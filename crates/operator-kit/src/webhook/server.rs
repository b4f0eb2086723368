//! The HTTPS server of the webhook.
//!
//! Owns the listener, its limits and its end. Every client in the cluster can connect: connections, the size of a body and the long
//! bodies in memory at the same time are limited. After SIGTERM it goes on for some seconds, until the API server uses another replica.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ServerConfig, crypto::ring, server::ResolvesServerCert};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, SemaphorePermit},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use super::review::Reviewer;
use crate::{
    admin,
    args::Listen,
    connections::{Activity, Connections},
    error::Error,
};

/// Connections at the same time: an API server sends up to 200 requests that change objects, each on its own. One more ends the one that
/// is idle for longest.
const CONNECTIONS: usize = 1024;
/// Bodies longer than [`SHORT`] in memory at the same time.
const BODIES: usize = 4;
/// Longest body that is read beside all others.
const SHORT: usize = 32 * 1024;
/// Longest body: the old and the new object of a review, each of which etcd limits to 1.5 MiB.
const BODY: usize = 4 * 1024 * 1024;
/// How long a client may take for the TLS handshake, and for a body.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take for a request head, and so how long a connection may be idle. The API server closes those that are idle
/// for 90 s.
const IDLE: Duration = Duration::from_mins(2);
/// How long requests are accepted after the work has ended: until the API server has noticed that the Pod ends.
const LINGER: Duration = Duration::from_secs(3);
/// How long requests in flight may take after that.
const FLUSH: Duration = Duration::from_secs(2);

/// The servers of a process that answer until its end. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Drain {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// Lets servers answer what still comes, then waits for what is in flight. Returns at once where there is no server.
    pub(crate) async fn finish(&self) {
        if self.tasks.is_empty() {
            return;
        }
        tokio::time::sleep(LINGER).await;
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(FLUSH, self.tasks.wait()).await.is_err() {
            warn!("webhook: connections are still busy");
        }
    }
}

/// Binds the listener; `None` if the webhook is off.
pub(super) async fn bind(listen: Listen) -> Result<Option<TcpListener>, Error> {
    let listener = admin::bind(listen).await;
    listener.map_err(|error| match error {
        Error::Listen { address, source, .. } => {
            Error::Listen { flag: "WEBHOOK_ADDR (--webhook-addr)", address, source }
        }
        other => other,
    })
}

/// Returns the TLS settings, with the certificate that `certificate` has at the time of a handshake.
pub(super) fn tls(certificate: Arc<dyn ResolvesServerCert>) -> Result<TlsAcceptor, Error> {
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until the process has drained.
pub(super) async fn serve(listener: TcpListener, tls: TlsAcceptor, reviewer: Reviewer, drain: Drain) {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "webhook listens");
    }
    let (reviewer, bodies) = (Arc::new(reviewer), Arc::new(Semaphore::new(BODIES)));
    let mut open = Connections::new("webhook", CONNECTIONS);
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = Connection {
                        tls: tls.clone(),
                        reviewer: Arc::clone(&reviewer),
                        bodies: Arc::clone(&bodies),
                        stop: drain.stop.clone(),
                    };
                    open.spawn(|activity| drain.tasks.track_future(connection.serve(stream, activity))).await;
                }
                Err(error) => open.not_accepted(&error).await,
            }
        }
    };
    let until_stopped = drain.stop.run_until_cancelled(accept);
    drain.tasks.track_future(until_stopped).await;
    open.finish().await;
}

/// What a connection is served with.
struct Connection {
    tls: TlsAcceptor,
    reviewer: Arc<Reviewer>,
    bodies: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, activity: Activity) {
        let Self { tls, reviewer, bodies, stop } = self;
        let handshake = tokio::time::timeout(PATIENCE, tls.accept(stream));
        let stream = match stop.run_until_cancelled(handshake).await {
            None => return,
            Some(Ok(Ok(stream))) => stream,
            Some(Ok(Err(error))) => return debug!(%error, "webhook: TLS handshake failed"),
            Some(Err(_)) => return debug!("webhook: no TLS handshake in time"),
        };
        let service = service_fn(move |request| {
            let (reviewer, bodies, busy) = (Arc::clone(&reviewer), Arc::clone(&bodies), activity.begin());
            async move {
                let _busy = busy;
                Ok::<_, Infallible>(respond(request, &reviewer, &bodies).await)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(64 * 1024)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            debug!(%error, "webhook: connection ended");
        }
    }
}

async fn respond(
    request: Request<Incoming>,
    reviewer: &Reviewer,
    bodies: &Semaphore,
) -> Response<Full<Bytes>> {
    let (status, body) = match answer(request, reviewer, bodies).await {
        Ok(body) => (StatusCode::OK, body),
        Err(status) => {
            debug!(%status, "webhook: request refused");
            (status, Vec::new())
        }
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

async fn answer(
    request: Request<Incoming>,
    reviewer: &Reviewer,
    bodies: &Semaphore,
) -> Result<Vec<u8>, StatusCode> {
    let path = request.uri().path().to_owned();
    if !reviewer.knows(&path) {
        return Err(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let read = read(request.into_body(), bodies);
    let (body, _permit) =
        tokio::time::timeout(PATIENCE, read).await.map_err(|_| StatusCode::REQUEST_TIMEOUT)??;
    reviewer.answer(&path, &body)
}

/// Reads a body. A long one waits for its turn, and keeps it until the returned permit is dropped.
async fn read(
    mut body: Incoming,
    bodies: &Semaphore,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), StatusCode> {
    let (mut text, mut permit) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(data) = frame.into_data() else { continue };
        let length = text.len() + data.len();
        if length > BODY {
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        if length > SHORT && permit.is_none() {
            permit = Some(bodies.acquire().await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?);
        }
        text.extend_from_slice(&data);
    }
    Ok((text, permit))
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use jiff::Timestamp;
    use k8s_openapi::{ByteString, api::core::v1::PersistentVolumeClaim as Claim, api::core::v1::Secret};
    use prometheus::Registry;

    use super::*;
    use crate::webhook::{
        Webhook,
        certificate::{self, CERTIFICATE, KEY, Pair, Served},
    };

    const PATH: &str = "/validate--v1-persistentvolumeclaim";

    /// Starts a server; returns its URL, and a client that trusts its certificate.
    async fn server(drain: Drain) -> (String, reqwest::Client) {
        let made = certificate::make(&["127.0.0.1".to_owned()], Timestamp::now()).unwrap();
        let data = [(CERTIFICATE, made.certificate), (KEY, made.key)];
        let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes())));
        let served = Arc::new(Served::default());
        served.set(&Pair::of(&Secret { data: Some(data.into()), ..Secret::default() }).unwrap());
        let listener = bind(Listen::On(([127, 0, 0, 1], 0).into())).await.unwrap().unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let webhook = Webhook::default().with::<Claim>(|_| Ok(Vec::new()));
        let reviewer = Reviewer::new(webhook.kinds, &Registry::new()).unwrap();
        tokio::spawn(serve(listener, tls(served).unwrap(), reviewer, drain));
        let _ = ring::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(made.authority.as_bytes()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
        (url, client)
    }

    #[tokio::test]
    async fn what_is_no_review_is_refused_without_being_kept_in_memory() {
        let (url, client) = server(Drain::default()).await;
        let status = async |request: reqwest::RequestBuilder| request.send().await.unwrap().status().as_u16();
        let at = |path: &str| format!("{url}{path}");
        assert_eq!(status(client.post(at("/"))).await, 404);
        assert_eq!(status(client.get(at(PATH))).await, 405);
        assert_eq!(status(client.post(at(PATH)).body("{}")).await, 400);
        // A server that answers early may close the connection on what is still being sent.
        let huge = client.post(at(PATH)).body(vec![b' '; BODY + 1]).send().await;
        assert!(huge.is_ok_and(|response| response.status().as_u16() == 413));
        let request = serde_json::json!({ "uid": "u", "kind": { "group": "", "version": "v1", "kind": "X" },
            "resource": { "group": "", "version": "v1", "resource": "x" }, "operation": "CONNECT", "userInfo": {},
            "object": null, "oldObject": null });
        let review = serde_json::json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
        let padded = format!("{review}{}", " ".repeat(BODY - 1024));
        assert_eq!(status(client.post(at(PATH)).body(padded)).await, 200, "the largest that is allowed");
    }

    /// As three API servers do when many clients write at the same moment, while others keep as many connections as there are.
    #[tokio::test]
    async fn no_request_in_flight_is_ended_by_others() {
        let (url, client) = server(Drain::default()).await;
        let address = url.strip_prefix("https://").unwrap();
        let kept = (0..CONNECTIONS).map(|_| TcpStream::connect(address));
        let _kept = futures::future::try_join_all(kept).await.unwrap();
        let ask = || async {
            let answer = client.post(format!("{url}{PATH}")).body(vec![b' '; SHORT]).send().await;
            answer.map(|response| response.status().as_u16()).map_err(|error| format!("{error:?}"))
        };
        let answers = futures::future::join_all((0..600).map(|_| ask())).await;
        let failed: Vec<_> = answers.into_iter().filter(|answer| *answer != Ok(400)).collect();
        assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
    }

    /// Clients that never end their bodies, among them as many with long ones as are read at a time.
    #[tokio::test]
    async fn a_short_body_waits_for_no_slow_one() {
        let (url, client) = server(Drain::default()).await;
        let slow: Vec<_> = (0..3 * BODIES)
            .map(|number| {
                let start = vec![b' '; if number < 2 * BODIES { SHORT + 1 } else { 1 }];
                let chunk = async { Ok::<_, Infallible>(Frame::data(Bytes::from(start))) };
                let chunks = stream::once(chunk).chain(stream::pending());
                let body = reqwest::Body::wrap(StreamBody::new(chunks));
                tokio::spawn(client.post(format!("{url}{PATH}")).body(body).send())
            })
            .collect();
        let ask = client.post(format!("{url}{PATH}")).body("{}").send();
        assert_eq!(ask.await.unwrap().status().as_u16(), 400);
        for slow in slow {
            assert_eq!(slow.await.unwrap().unwrap().status().as_u16(), 408);
        }
    }

    #[tokio::test]
    async fn it_answers_after_the_end_of_the_work_and_ends_with_idle_connections() {
        let drain = Drain::default();
        let (url, client) = server(drain.clone()).await;
        let ask = async || {
            client.get(format!("{url}{PATH}")).send().await.map(|response| response.status().as_u16())
        };
        assert_eq!(ask().await.unwrap(), 405);
        let began = std::time::Instant::now();
        let finish = tokio::spawn(async move { drain.finish().await });
        assert_eq!(ask().await.unwrap(), 405);
        finish.await.unwrap();
        assert!(began.elapsed() < LINGER + FLUSH, "an idle connection is not waited for");
        assert!(ask().await.is_err());
        Drain::default().finish().await;
    }
}
