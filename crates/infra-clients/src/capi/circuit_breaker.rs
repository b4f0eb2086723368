//! The circuit breaker that every request to a workload cluster passes. Owns the time limit of a request, the memory
//! of an unreachable cluster, how many requests wait for slow clusters at the same time, and that a replaced kubeconfig
//! is not used any more; knows nothing of what requests are about.

mod largest;

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tower::BoxError;

use self::largest::{Largest, Measured};
use super::clients::Limits;
use super::error::{Error, Kind};

/// See [`CircuitBreaker::slow`]. Also the shortest time to wait for a cluster that is down.
const SLOW: Duration = Duration::from_secs(1);
/// How long every request may wait for its answer, however many others wait.
const BRIEF: Duration = Duration::from_secs(2);

/// The body of an answer.
type Answer = UnsyncBoxBody<Bytes, BoxError>;

pub(super) struct CircuitBreaker {
    /// The name in messages.
    cluster: String,
    limits: Limits,
    /// A failure that took less time is not remembered: finding it again costs little.
    slow: Duration,
    memory: Arc<Memory>,
    waits: Arc<Waits>,
    retired: AtomicBool,
}

/// What is known of a cluster's server. Outlives the clients of the cluster.
#[derive(Default)]
pub(super) struct Memory(Mutex<State>);

#[derive(Default)]
struct State {
    /// When the last answer was received, of any kind.
    answered: Option<Instant>,
    down: Option<Down>,
}

/// The cluster was unreachable.
struct Down {
    error: Error,
    until: Instant,
    /// A probe is in flight.
    probing: bool,
    /// A probe was let through before its time, once since the cluster answered last.
    hurried: bool,
}

impl Memory {
    /// Returns whether the cluster was unreachable.
    pub(super) fn is_down(&self) -> bool {
        self.state().down.is_some()
    }

    /// Lets the next request through as a probe at once, for credentials that have changed: once in an outage, because who may change them
    /// may do so all the time.
    pub(super) fn hurry(&self) {
        if let Some(down) = self.state().down.as_mut().filter(|down| !down.hurried) {
            down.hurried = true;
            down.until = Instant::now();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many requests may wait, for all clusters.
pub(super) struct Waits {
    /// For more than [`BRIEF`], those that are no probes.
    long: Arc<Semaphore>,
    probes: Arc<Semaphore>,
}

impl Waits {
    pub(super) fn new(limits: Limits) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { long: semaphore(limits.waits), probes: semaphore(limits.probes) }
    }
}

impl CircuitBreaker {
    pub(super) fn new(cluster: String, limits: Limits, memory: Arc<Memory>, waits: Arc<Waits>) -> Arc<Self> {
        let slow = SLOW.min(limits.answer);
        Arc::new(Self { cluster, limits, slow, memory, waits, retired: AtomicBool::new(false) })
    }

    /// Returns a client whose requests pass the circuit breaker to `client`.
    pub(super) fn before(self: &Arc<Self>, client: Client) -> Client {
        let breaker = Arc::clone(self);
        let namespace = client.default_namespace().to_owned();
        let service = tower::service_fn(move |request| Arc::clone(&breaker).call(client.clone(), request));
        Client::new(service, namespace)
    }

    /// Fails every request from now on.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    async fn call(
        self: Arc<Self>,
        client: Client,
        request: Request<Body>,
    ) -> Result<Response<Answer>, BoxError> {
        if self.retired.load(Ordering::Relaxed) {
            let error =
                Error::new(Kind::Replaced, "its kubeconfig Secret has changed: a new client is needed");
            return Err(error.about(&self.cluster).into());
        }
        let reads = request.method().is_safe();
        let attempt = self.enter()?;
        let largest = Largest::of(request.uri(), &self.limits);
        let answer = async {
            let streams = is_stream(request.uri());
            let response = client.send(request).await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Ok(response.map(|body| body.map_err(BoxError::from).boxed_unsync()));
            }
            if streams {
                return Ok(response.map(|body| with_short_lines(body, largest)));
            }
            // Reads the body here, so that the time limit also covers a body that stops in the middle.
            let (head, body) = response.into_parts();
            let body = Limited::new(body, largest.bytes());
            let body = body.collect().await.map_err(|error| of_body(&*error, largest))?.to_bytes();
            if let Some(refused) = largest.refuse(&body) {
                return Err(Error::new(Kind::Protocol, refused).doubtful());
            }
            let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            Ok(Response::from_parts(head, body))
        };
        let result = self.in_time(answer, attempt.is_probe()).await.map_err(|error: Error| {
            let error = error.about(&self.cluster);
            if reads { error.harmless() } else { error }
        });
        attempt.ended(result.as_ref().err());
        result.map_err(BoxError::from)
    }

    /// Waits for an answer. One that takes long is waited for only while not too many others are: the callers that wait are missing elsewhere.
    async fn in_time<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
        is_probe: bool,
    ) -> Result<T, Error> {
        let mut answer = pin!(answer);
        let limit = self.limits.answer;
        let late = |why: String| Err(Error::new(Kind::Timeout, why).doubtful());
        let brief = if is_probe { limit } else { BRIEF.min(limit) };
        if let Ok(result) = tokio::time::timeout(brief, &mut answer).await {
            return result;
        }
        let _permit = match Arc::clone(&self.waits.long).try_acquire_owned() {
            _ if brief == limit => None,
            Ok(permit) => Some(permit),
            Err(_) => {
                let seconds = brief.as_secs_f32();
                return late(format!(
                    "no answer within {seconds} s, and too many other clusters do not answer to wait longer"
                ));
            }
        };
        let in_time = tokio::time::timeout(limit.saturating_sub(brief), answer).await;
        in_time.unwrap_or_else(|_| late(format!("no answer within {} s", limit.as_secs_f32())))
    }

    /// Lets a request pass, unless the cluster is known to be unreachable.
    fn enter(self: &Arc<Self>) -> Result<Attempt, Error> {
        let now = Instant::now();
        let mut state = self.memory.state();
        let mut probe = None;
        if let Some(down) = &mut state.down {
            let again = |after: Duration| Err(down.error.clone().harmless().after(after));
            if down.probing || now < down.until {
                // Only the probe has to wait for the cluster.
                return again(down.until.saturating_duration_since(now).max(SLOW));
            }
            let Ok(permit) = Arc::clone(&self.waits.probes).try_acquire_owned() else {
                return again(self.limits.remember.max(SLOW));
            };
            down.probing = true;
            probe = Some(permit);
        }
        Ok(Attempt { breaker: Arc::clone(self), began: now, probe })
    }
}

/// A request in flight. If it is dropped before its end it was cancelled, and says nothing about the cluster.
struct Attempt {
    breaker: Arc<CircuitBreaker>,
    began: Instant,
    /// It finds out whether the cluster is back.
    probe: Option<OwnedSemaphorePermit>,
}

impl Attempt {
    fn is_probe(&self) -> bool {
        self.probe.is_some()
    }

    fn ended(self, error: Option<&Error>) {
        let now = Instant::now();
        let mut state = self.breaker.memory.state();
        // An answer that cannot be used shows that the cluster answers.
        let Some(error) = error.filter(|error| error.kind() != Kind::Protocol) else {
            state.answered = Some(now);
            state.down = None;
            return;
        };
        // A cluster that answered other requests meanwhile is slow for this one only.
        let answers = state.answered.is_some_and(|answered| answered > self.began);
        let slow = now.duration_since(self.began) >= self.breaker.slow;
        let before = state.down.take();
        state.down = (slow && !answers).then(|| Down {
            error: error.clone(),
            until: now + self.breaker.limits.remember,
            probing: !self.is_probe() && before.as_ref().is_some_and(|down| down.probing),
            hurried: before.is_some_and(|down| down.hurried),
        });
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_probe() {
            return;
        }
        if let Some(down) = &mut self.breaker.memory.state().down {
            down.probing = false;
        }
    }
}

/// Returns whether the body of the answer is a stream without an end.
fn is_stream(uri: &Uri) -> bool {
    let on =
        |name: &str, value: &str| matches!(name, "watch" | "follow") && matches!(value, "" | "true" | "1");
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).any(|(name, value)| on(name, value))
}

/// Ends a stream of lines, such as that of a watch, with an error where one is larger than an answer may be: who reads it keeps a line until
/// its end.
fn with_short_lines(body: Body, largest: Largest) -> Answer {
    let mut line = Measured::default();
    let frames = BodyStream::new(body).map(move |frame| {
        let frame = frame.map_err(BoxError::from)?;
        let parts = frame.data_ref().into_iter().flat_map(|data| data.split(|byte| *byte == b'\n'));
        for (number, part) in parts.enumerate() {
            if number > 0 {
                line = Measured::default();
            }
            line.read(part);
            if let Some(what) = largest.excess(line) {
                return Err(BoxError::from(Error::new(
                    Kind::Protocol,
                    format!("a line of more than {what}"),
                )));
            }
        }
        Ok(frame)
    });
    StreamBody::new(frames).boxed_unsync()
}

fn of_body(error: &(dyn std::error::Error + Send + Sync + 'static), largest: Largest) -> Error {
    if error.is::<LengthLimitError>() {
        let message = format!("an answer of more than {} bytes", largest.bytes());
        return Error::new(Kind::Protocol, message).doubtful();
    }
    Error::of_connection(error)
}

#[cfg(test)]
mod tests;
