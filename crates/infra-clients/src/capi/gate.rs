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
        let result = match tokio::time::timeout(self.limits.answer, answer).await {
            Ok(result) => result,
            Err(_) => {
                let seconds = self.limits.answer.as_secs_f32();
                Err(Error::new(Kind::Timeout, format!("no answer within {seconds} s")))
            }
        };
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
