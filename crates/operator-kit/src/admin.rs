//! The admin server: `/metrics`, `/healthz`, `/readyz`.
//!
//! Owns the listener. It serves from the start of the process, so a standby answers its probes. Read-only, without secrets.
//! `/healthz` answers as long as the runtime makes progress: that is liveness.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info};

use crate::{
    args::Listen,
    connections::{Activity, Connections},
    error::Error,
    health::Health,
    metrics::Metrics,
};

/// Connections served at the same time. One more ends the one that has waited for its request for longest: a probe never waits for clients
/// that keep theirs. Many, so that a flood of new ones does not end that of a probe before it is read.
const CONNECTIONS: usize = 256;
/// How long a connection may last, with its one request and the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Binds the listener; `None` if the server is off.
pub(crate) async fn bind(listen: Listen) -> Result<Option<TcpListener>, Error> {
    let address = match listen {
        Listen::Off => return Ok(None),
        Listen::On(address) => address,
        Listen::Any(port) => {
            // One socket serves both families, unless the machine has no IPv6.
            if let Ok(listener) = TcpListener::bind((std::net::Ipv6Addr::UNSPECIFIED, port)).await {
                return Ok(Some(listener));
            }
            (std::net::Ipv4Addr::UNSPECIFIED, port).into()
        }
    };
    TcpListener::bind(address).await.map(Some).map_err(|source| Error::Listen {
        flag: "METRICS_ADDR (--metrics-addr)",
        address,
        source,
    })
}

/// Serves until dropped.
pub(crate) async fn serve(listener: TcpListener, health: Health, metrics: Metrics) {
    info!(address = %listener.local_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))), "admin server listens");
    let mut open = Connections::new("admin server", CONNECTIONS);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                open.not_accepted(&error).await;
                continue;
            }
        };
        open.spawn(|activity| connection(stream, activity, health.clone(), metrics.clone())).await;
    }
}

/// Answers one request. A client that keeps connections open, or does not read, takes nothing from the others.
async fn connection(stream: TcpStream, activity: Activity, health: Health, metrics: Metrics) {
    let service = service_fn(move |request| {
        let busy = activity.begin();
        let response = answer(&request, &health, &metrics);
        async move {
            let _busy = busy;
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "admin server: connection ended"),
        Err(_) => debug!("admin server: connection closed, it took too long"),
    }
}

fn answer(request: &Request<Incoming>, health: &Health, metrics: &Metrics) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, "ok\n".to_owned()),
        (&Method::GET | &Method::HEAD, "/readyz") => match health.report() {
            (true, lines) => (StatusCode::OK, lines),
            (false, lines) => (StatusCode::SERVICE_UNAVAILABLE, lines),
        },
        (&Method::GET | &Method::HEAD, "/metrics") => match metrics.text() {
            Ok(text) => (StatusCode::OK, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, "/metrics /healthz /readyz\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let text = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn request(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    #[tokio::test]
    async fn endpoints_answer_over_a_socket() {
        let health = Health::default();
        let listener = bind(Listen::On(([127, 0, 0, 1], 0).into())).await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, health.clone(), Metrics::new("op", "1").unwrap()));

        assert!(request(address, "GET /healthz").await.starts_with("HTTP/1.1 200"));
        assert!(request(address, "GET /readyz").await.starts_with("HTTP/1.1 503"), "nothing is set up yet");
        let check = health.register("watch Thing");
        let response = request(address, "GET /readyz").await;
        assert!(
            response.starts_with("HTTP/1.1 503") && response.contains("[-] watch Thing: starting"),
            "{response}"
        );
        check.ready();
        assert!(request(address, "GET /readyz?verbose").await.starts_with("HTTP/1.1 200"));
        assert!(request(address, "GET /metrics").await.contains("operator_build_info"));
        assert!(request(address, "GET /").await.starts_with("HTTP/1.1 404"));
        assert!(request(address, "POST /healthz").await.starts_with("HTTP/1.1 405"));
        server.abort();
    }

    /// A kubelet's probe has one second.
    #[tokio::test]
    async fn clients_that_keep_their_connections_take_no_probe_away() {
        let listener = bind(Listen::On(([127, 0, 0, 1], 0).into())).await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Health::default(), Metrics::new("op", "1").unwrap()));
        let pipeline = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200);
        for head in ["", "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", &pipeline] {
            let mut kept = Vec::new();
            for _ in 0..3 * CONNECTIONS {
                let mut stream = TcpStream::connect(address).await.unwrap();
                // The server may have closed it already.
                let _ = stream.write_all(head.as_bytes()).await;
                kept.push(stream);
            }
            let probe = tokio::time::timeout(Duration::from_secs(1), request(address, "GET /healthz"));
            assert!(probe.await.unwrap().starts_with("HTTP/1.1 200"), "{head:.20}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn off_means_off_and_a_taken_port_is_reported() {
        assert!(bind(Listen::Off).await.unwrap().is_none());
        let taken = bind(Listen::Any(0)).await.unwrap().unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = bind(Listen::Any(port)).await.unwrap_err();
        assert!(error.to_string().contains(&format!(":{port}")), "{error}");
    }
}
