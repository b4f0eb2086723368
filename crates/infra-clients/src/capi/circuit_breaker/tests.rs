use std::convert::Infallible;
use std::io;

use futures::stream;
use hyper::body::Frame;
use tokio::sync::{Notify, watch};

use super::*;
use crate::failure::{Class, Failure};

/// Longer than any test: limits of this length do not expire.
const LONG: Duration = Duration::from_hours(1);
/// Shorter than any answer: limits of this length expire first.
const SHORT: Duration = Duration::from_millis(20);
const PATIENT: Limits = Limits {
    connect: LONG,
    answer: LONG,
    remember: LONG,
    answer_size: 100,
    definition_size: 100,
    clients: 1,
    waits: 1,
    probes: 1,
};

type Pieces = UnsyncBoxBody<Bytes, Infallible>;

/// The server after the circuit breaker, which acts by path.
#[derive(Default)]
struct Server {
    /// The number of requests received.
    requests: watch::Sender<usize>,
    /// Lets a `/held…` request continue.
    release: Notify,
}

impl Server {
    fn requests(&self) -> usize {
        *self.requests.borrow()
    }

    async fn got(&self, requests: usize) {
        let mut seen = self.requests.subscribe();
        let got = seen.wait_for(|got| *got >= requests);
        tokio::time::timeout(Duration::from_mins(2), got).await.unwrap().unwrap();
    }
}

/// Creates a circuit breaker that remembers failures that took at least `slow`.
fn with_breaker(limits: Limits, slow: Duration) -> (Arc<CircuitBreaker>, Client, Arc<Server>) {
    let server = Arc::new(Server::default());
    let mut breaker =
        CircuitBreaker::new("cluster ns/w1".into(), limits, Arc::default(), Arc::new(Waits::new(limits)));
    Arc::get_mut(&mut breaker).unwrap().slow = slow;
    let behind = Arc::clone(&server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let server = Arc::clone(&behind);
        async move {
            server.requests.send_modify(|got| *got += 1);
            let path = request.uri().path().to_owned();
            if path.starts_with("/held") {
                server.release.notified().await;
            }
            match path.as_str() {
                "/hangs" => std::future::pending().await,
                "/half" => Ok(answer(vec!["ha"], true)),
                "/lines" => Ok(answer([&["x"; 99][..], &["\n"]].concat().repeat(3), false)),
                "/line" => Ok(answer(vec!["x"; 101], true)),
                "/members" => Ok(answer(vec!["[{", "}]"], false)),
                "/large" => Ok(answer(vec!["x"; 101], false)),
                "/refused" | "/held/refused" => {
                    Err(BoxError::from(io::Error::from(io::ErrorKind::ConnectionRefused)))
                }
                _ => Ok(answer(vec!["o", "k"], false)),
            }
        }
    });
    let client = breaker.before(Client::new(service, "default"));
    (breaker, client, server)
}

/// Creates an answer whose body has these pieces; a body that hangs has no end.
fn answer(pieces: Vec<&'static str>, hangs: bool) -> Response<Pieces> {
    let frame = |piece: &'static str| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes())));
    let end = stream::once(async move {
        if hangs {
            std::future::pending::<()>().await;
        }
        frame("")
    });
    Response::new(StreamBody::new(stream::iter(pieces).map(frame).chain(end)).boxed_unsync())
}

async fn get(client: &Client, path: &str) -> Result<String, Error> {
    Ok(client.request_text(Request::get(path).body(vec![]).unwrap()).await?)
}

/// Sends a request in a task of its own.
fn spawn(client: &Client, path: &'static str) -> tokio::task::JoinHandle<Result<String, Error>> {
    let client = client.clone();
    tokio::spawn(async move { get(&client, path).await })
}

#[tokio::test]
async fn an_unreachable_cluster_is_left_alone() {
    let (breaker, client, server) = with_breaker(Limits { answer: SHORT, ..PATIENT }, SHORT);
    let first = get(&client, "/hangs").await.unwrap_err();
    assert_eq!(
        (first.kind(), first.to_string().as_str()),
        (Kind::Timeout, "cluster ns/w1: no answer within 0.02 s")
    );
    for _ in 0..20 {
        let again = get(&client, "/").await.unwrap_err();
        assert_eq!((again.kind(), again.to_string()), (first.kind(), first.to_string()));
        assert!(again.retry_after().is_some(), "{again:?}");
    }
    assert_eq!(server.requests(), 1, "only the first was sent");
    let until = breaker.memory.state().down.as_ref().unwrap().until;
    assert!(until <= Instant::now() + LONG, "not for longer than the limit says");
}

/// A hostile server would fill the memory of the operator by one event of a watch.
#[tokio::test]
async fn a_line_without_end_ends_its_stream() {
    let (_, client, _) = with_breaker(PATIENT, SHORT);
    assert_eq!(get(&client, "/lines?watch=true").await.unwrap().len(), 300);
    let error = get(&client, "/line?watch=true").await.unwrap_err();
    assert!(error.to_string().contains("a line of more than 100 bytes"), "{error}");
    let error = get(&client, "/members?watch=true").await.unwrap_err();
    assert!(error.to_string().contains("a line of more than 1 JSON values"), "{error}");
}

#[tokio::test]
async fn after_its_time_one_request_finds_out_whether_it_is_back() {
    let (_, client, server) = with_breaker(Limits { remember: Duration::ZERO, ..PATIENT }, Duration::ZERO);
    get(&client, "/refused").await.unwrap_err();
    let probe = spawn(&client, "/held");
    server.got(2).await;
    for _ in 0..20 {
        assert_eq!(get(&client, "/").await.unwrap_err().kind(), Kind::Unreachable);
    }
    assert_eq!(server.requests(), 2, "no other request is sent while the probe is in flight");
    server.release.notify_one();
    assert_eq!(probe.await.unwrap().unwrap(), "ok");
    assert_eq!(get(&client, "/").await.unwrap(), "ok");
}

#[tokio::test]
async fn a_probe_that_is_cancelled_lets_the_next_one_try() {
    let (_, client, server) = with_breaker(Limits { remember: Duration::ZERO, ..PATIENT }, Duration::ZERO);
    get(&client, "/refused").await.unwrap_err();
    let probe = spawn(&client, "/hangs");
    server.got(2).await;
    probe.abort();
    assert!(probe.await.unwrap_err().is_cancelled());
    assert_eq!(get(&client, "/").await.unwrap(), "ok");
}

#[tokio::test]
async fn only_a_write_without_an_answer_is_in_doubt() {
    let (_, client, _) = with_breaker(Limits { answer: SHORT, ..PATIENT }, LONG);
    assert!(!get(&client, "/hangs").await.unwrap_err().in_doubt());
    let (_, client, server) = with_breaker(Limits { answer: SHORT, ..PATIENT }, SHORT);
    let write = || Request::post("/hangs").body(vec![]).unwrap();
    let first = Error::from(client.request_text(write()).await.unwrap_err());
    assert_eq!((first.kind(), first.in_doubt()), (Kind::Timeout, true));
    let again = Error::from(client.request_text(write()).await.unwrap_err());
    assert_eq!((again.in_doubt(), server.requests()), (false, 1), "it was not sent");
}

#[tokio::test]
async fn quick_failures_are_not_remembered() {
    let (_, client, server) = with_breaker(PATIENT, LONG);
    for n in 1..4 {
        let error = get(&client, "/refused").await.unwrap_err();
        assert_eq!((error.kind(), server.requests()), (Kind::Unreachable, n));
    }
    assert_eq!(get(&client, "/").await.unwrap(), "ok");
}

#[tokio::test]
async fn one_slow_request_does_not_stop_the_others() {
    let (_, client, server) = with_breaker(PATIENT, Duration::ZERO);
    let slow = spawn(&client, "/held/refused");
    server.got(1).await;
    get(&client, "/").await.unwrap();
    server.release.notify_one();
    assert_eq!(slow.await.unwrap().unwrap_err().kind(), Kind::Unreachable);
    assert_eq!(get(&client, "/").await.unwrap(), "ok");
}

#[tokio::test]
async fn a_body_that_stops_is_given_up() {
    let (_, client, _) = with_breaker(Limits { answer: SHORT, ..PATIENT }, SHORT);
    assert_eq!(get(&client, "/half").await.unwrap_err().kind(), Kind::Timeout);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_given_up_and_the_cluster_is_not() {
    let (_, client, _) = with_breaker(PATIENT, Duration::ZERO);
    let large = get(&client, "/large").await.unwrap_err();
    assert_eq!(
        (large.kind(), large.to_string().as_str()),
        (Kind::Protocol, "cluster ns/w1: an answer of more than 100 bytes")
    );
    assert_eq!(get(&client, "/").await.unwrap(), "ok");
}

#[tokio::test]
async fn a_body_that_streams_is_handed_on_as_it_comes() {
    let (_, client, _) = with_breaker(PATIENT, Duration::ZERO);
    let request = Request::get("/half?watch=true").body(Body::empty()).unwrap();
    let mut body = client.send(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), "ha");
    let large = Request::get("/lines?watch=true").body(Body::empty()).unwrap();
    let body = client.send(large).await.unwrap().into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes().len(), 300);
}

#[tokio::test]
async fn nothing_is_sent_with_what_was_replaced() {
    let (breaker, client, server) = with_breaker(PATIENT, Duration::ZERO);
    get(&client, "/").await.unwrap();
    breaker.retire();
    let error = get(&client, "/").await.unwrap_err();
    assert_eq!((error.kind(), error.class() == Class::Retry, server.requests()), (Kind::Replaced, true, 1));
}

#[test]
fn streams_are_known_by_their_query() {
    for (path, streams) in [
        ("/api/v1/pods", false),
        ("/api/v1/pods?limit=5&watch=false", false),
        ("/api/v1/pods?&watch=true&labelSelector=watch", true),
        ("/api/v1/pods?watch=1", true),
        ("/log?follow=true", true),
        ("/api/v1/pods?labelSelector=watch%3Dtrue", false),
    ] {
        assert_eq!(is_stream(&path.parse().unwrap()), streams, "{path}");
    }
}
