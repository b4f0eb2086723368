//! What every request to a workload cluster goes through. Owns its time-out, the memory of an unreachable cluster,
//! and that a replaced kubeconfig is used no more; knows nothing of what is asked.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;
use tower::BoxError;

use super::clients::Limits;
use super::error::{Error, Kind};

/// A failure that took less than this costs nothing to find out again.
const SLOW: Duration = Duration::from_secs(1);

pub(super) struct Gate {
    /// For messages.
    cluster: String,
    limits: Limits,
    state: Mutex<State>,
    retired: AtomicBool,
}

#[derive(Default)]
struct State {
    /// When the last answer came, whatever it was.
    answered: Option<Instant>,
    down: Option<Down>,
}

/// Unreachable, as far as is known.
struct Down {
    error: Error,
    until: Instant,
    /// One request is finding out whether it still is.
    probing: bool,
}

impl Gate {
    pub(super) fn new(cluster: String, limits: Limits) -> Arc<Self> {
        Arc::new(Self { cluster, limits, state: Mutex::default(), retired: AtomicBool::new(false) })
    }

    /// A client whose requests go through the gate to `client`.
    pub(super) fn before(self: &Arc<Self>, client: Client) -> Client {
        let gate = Arc::clone(self);
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request| Arc::clone(&gate).call(client.clone(), request));
        Client::new(service, namespace)
    }

    /// No request is sent any more, whoever still holds the client.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    async fn call(
        self: Arc<Self>,
        client: Client,
        request: Request<Body>,
    ) -> Result<Response<Body>, BoxError> {
        if self.retired.load(Ordering::Relaxed) {
            let error =
                Error::new(Kind::Replaced, "its kubeconfig Secret has changed: a new client is needed");
            return Err(error.about(&self.cluster).into());
        }
        let attempt = self.enter()?;
        let largest = self.limits.answer_size;
        let answer = async {
            let streams = is_stream(request.uri());
            let response = client.send(request).await?;
            if streams || response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(response);
            }
            // Here and not in the caller's hands, so that a body that stops half-way meets the time-out as well.
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, largest).collect().await.map_err(|error| of_body(&*error, largest))?;
            Ok(Response::from_parts(head, Body::from(body.to_bytes())))
        };
        let in_time = tokio::time::timeout(self.limits.answer, answer).await;
        let result = in_time.unwrap_or_else(|_| {
            let seconds = self.limits.answer.as_secs_f32();
            Err(Error::new(Kind::Timeout, format!("no answer within {seconds} s")))
        });
        let result = result.map_err(|error: Error| error.about(&self.cluster));
        attempt.ended(result.as_ref().err());
        result.map_err(BoxError::from)
    }

    /// Lets a request through, unless the cluster is known to be unreachable.
    fn enter(self: &Arc<Self>) -> Result<Attempt, Error> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some(down) = &mut state.down {
            if down.probing || now < down.until {
                // While somebody tries nobody else has to wait for the same.
                return Err(down.error.clone().after(down.until.saturating_duration_since(now).max(SLOW)));
            }
            down.probing = true;
        }
        Ok(Attempt { gate: Arc::clone(self), began: now })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request on its way. Dropped without an end, it was cancelled, and says nothing about the cluster.
struct Attempt {
    gate: Arc<Gate>,
    began: Instant,
}

impl Attempt {
    fn ended(self, error: Option<&Error>) {
        let now = Instant::now();
        let mut state = self.gate.state();
        let Some(error) = error else {
            state.answered = Some(now);
            state.down = None;
            return;
        };
        // A cluster that answered others meanwhile is slow for this request only.
        let answers = state.answered.is_some_and(|answered| answered > self.began);
        let slow = now.duration_since(self.began) >= SLOW.min(self.gate.limits.answer);
        state.down = (slow && !answers).then(|| Down {
            error: error.clone(),
            until: now + self.gate.limits.remember,
            probing: false,
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(down) = &mut self.gate.state().down {
            down.probing = false;
        }
    }
}

/// Whether the answer's body goes on for as long as somebody listens.
fn is_stream(uri: &Uri) -> bool {
    let on =
        |name: &str, value: &str| matches!(name, "watch" | "follow") && matches!(value, "" | "true" | "1");
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).any(|(name, value)| on(name, value))
}

fn of_body(error: &(dyn std::error::Error + Send + Sync + 'static), largest: usize) -> Error {
    if error.is::<LengthLimitError>() {
        return Error::new(Kind::Protocol, format!("an answer of more than {largest} bytes"));
    }
    Error::of_connection(error)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;
    use std::sync::atomic::AtomicUsize;

    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;
    use http_body_util::combinators::UnsyncBoxBody;
    use hyper::body::{Bytes, Frame};

    use super::*;

    // Long enough for a machine that is busy with other tests.
    const ANSWER: Duration = Duration::from_millis(500);
    const LIMITS: Limits = Limits {
        connect: ANSWER,
        answer: ANSWER,
        remember: Duration::from_secs(2),
        answer_size: 100,
        clients: 1,
    };

    type Pieces = UnsyncBoxBody<Bytes, Infallible>;

    /// How the server behind the gate behaves, by path, and the requests it got.
    #[derive(Default)]
    struct Server {
        hangs: AtomicBool,
        requests: AtomicUsize,
    }

    impl Server {
        fn requests(&self) -> usize {
            self.requests.load(Ordering::SeqCst)
        }

        fn hang(&self, on: bool) {
            self.hangs.store(on, Ordering::SeqCst);
        }
    }

    fn gated() -> (Arc<Gate>, Client, Arc<Server>) {
        let server = Arc::new(Server::default());
        let gate = Gate::new("cluster ns/w1".into(), LIMITS);
        let behind = Arc::clone(&server);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&behind);
            async move {
                server.requests.fetch_add(1, Ordering::SeqCst);
                let path = request.uri().path().to_owned();
                if server.hangs.load(Ordering::SeqCst) || path == "/slow" {
                    std::future::pending::<()>().await;
                }
                match path.as_str() {
                    "/half" => Ok(answer(vec!["ha"], true)),
                    "/large" => Ok(answer(vec!["x"; 101], false)),
                    "/late" => Ok(answer(vec!["o", "k"], false)),
                    "/refused" => Err(BoxError::from(io::Error::from(io::ErrorKind::ConnectionRefused))),
                    _ => Ok(answer(vec!["ok"], false)),
                }
            }
        });
        let client = gate.before(Client::new(service, "default"));
        (gate, client, server)
    }

    /// The body's pieces come one by one, the first at once; a body that hangs has no end.
    fn answer(pieces: Vec<&'static str>, hangs: bool) -> Response<Pieces> {
        let pause = if pieces.len() == 2 { 2 * ANSWER } else { Duration::ZERO };
        let pieces = stream::iter(pieces).enumerate().then(move |(n, piece)| async move {
            tokio::time::sleep(if n == 0 { Duration::ZERO } else { pause }).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes())))
        });
        let end = stream::once(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(Frame::data(Bytes::new()))
        });
        Response::new(StreamBody::new(pieces.chain(end)).boxed_unsync())
    }

    async fn get(client: &Client, path: &str) -> Result<String, Error> {
        Ok(client.request_text(Request::get(path).body(vec![]).unwrap()).await?)
    }

    async fn failed(client: &Client, path: &str) -> (Error, Duration) {
        let began = Instant::now();
        (get(client, path).await.unwrap_err(), began.elapsed())
    }

    #[tokio::test]
    async fn an_unreachable_cluster_is_asked_rarely_and_recovers() {
        let (_, client, server) = gated();
        server.hang(true);
        let (first, took) = failed(&client, "/").await;
        assert_eq!(
            (first.kind(), first.to_string().as_str()),
            (Kind::Timeout, "cluster ns/w1: no answer within 0.5 s")
        );
        assert!(took >= ANSWER, "{took:?}");

        for _ in 0..20 {
            let (again, _) = failed(&client, "/").await;
            assert_eq!((again.kind(), again.to_string()), (first.kind(), first.to_string()));
            assert!(again.retry_after().is_some(), "{again:?}");
        }
        assert_eq!(server.requests(), 1, "only the first was sent");

        tokio::time::sleep(LIMITS.remember).await;
        let outcomes = futures::future::join_all((0..20).map(|_| get(&client, "/"))).await;
        assert!(outcomes.iter().all(Result::is_err));
        assert_eq!(server.requests(), 2, "one finds out whether it is back");

        server.hang(false);
        tokio::time::sleep(LIMITS.remember).await;
        assert_eq!(get(&client, "/").await.unwrap(), "ok");
        assert_eq!(get(&client, "/").await.unwrap(), "ok");
    }

    #[tokio::test]
    async fn a_probe_that_is_cancelled_lets_the_next_one_try() {
        let (_, client, server) = gated();
        server.hang(true);
        failed(&client, "/").await;
        tokio::time::sleep(LIMITS.remember).await;
        tokio::time::timeout(ANSWER / 3, get(&client, "/")).await.unwrap_err();
        server.hang(false);
        assert_eq!(get(&client, "/").await.unwrap(), "ok");
    }

    #[tokio::test]
    async fn quick_failures_are_not_remembered() {
        let (_, client, server) = gated();
        for n in 1..4 {
            let (error, _) = failed(&client, "/refused").await;
            assert_eq!((error.kind(), server.requests()), (Kind::Unreachable, n));
        }
        assert_eq!(get(&client, "/").await.unwrap(), "ok");
    }

    #[tokio::test]
    async fn one_slow_request_does_not_stop_the_others() {
        let (_, client, _) = gated();
        let slow = failed(&client, "/slow");
        let others = async {
            tokio::time::sleep(ANSWER / 3).await;
            get(&client, "/").await.unwrap()
        };
        let ((error, _), _) = tokio::join!(slow, others);
        assert_eq!(error.kind(), Kind::Timeout);
        assert_eq!(get(&client, "/").await.unwrap(), "ok");
    }

    #[tokio::test]
    async fn bodies_have_limits_unless_they_stream() {
        let (_, client, _) = gated();
        let (half, _) = failed(&client, "/half").await;
        assert_eq!(half.kind(), Kind::Timeout);
        tokio::time::sleep(LIMITS.remember).await;
        let (large, _) = failed(&client, "/large").await;
        assert_eq!(
            (large.kind(), large.to_string().as_str()),
            (Kind::Protocol, "cluster ns/w1: an answer of more than 100 bytes")
        );
        assert_eq!(failed(&client, "/late").await.0.kind(), Kind::Timeout);
        tokio::time::sleep(LIMITS.remember).await;
        assert_eq!(get(&client, "/late?watch=true").await.unwrap(), "ok");
    }

    #[tokio::test]
    async fn nothing_is_sent_with_what_was_replaced() {
        let (gate, client, server) = gated();
        get(&client, "/").await.unwrap();
        gate.retire();
        let (error, _) = failed(&client, "/").await;
        assert_eq!((error.kind(), error.retryable(), server.requests()), (Kind::Replaced, true, 1));
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
}
