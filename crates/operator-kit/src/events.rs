//! Events a person can act on.
//!
//! Owns the recorder and its bounds. Never fails a reconcile and never holds one up: events are published by a task of
//! their own, and one that cannot be published is logged and dropped.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::{conditions::cut, error::Chain, lease::pod_name, metrics::Metrics};

/// Longest note the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;
/// How long the API server may take to accept an event.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Events that wait to be published; more are dropped, and counted. A large group has two for each of its machines.
const QUEUE: usize = 4096;

/// An event that is not published yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    type_: EventType,
    reason: &'static str,
    message: String,
}

impl Notice {
    /// Creates an event about something worth knowing. `reason` is a CamelCase constant.
    #[must_use]
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_: EventType::Normal, reason, message: message.into() }
    }

    /// Creates an event about something that a person should look at.
    #[must_use]
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { type_: EventType::Warning, ..Self::normal(reason, message) }
    }

    /// Returns the reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

/// Publishes events as one reporter; equal ones within 6 minutes are one series. Clones share the queue.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    metrics: Metrics,
}

impl Events {
    /// Creates a recorder that reports as `controller`, e.g. `vm-operator`, and the task that publishes.
    pub(crate) fn new(
        client: kube::Client,
        controller: &str,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let reporter = Reporter { controller: controller.to_owned(), instance: Some(pod_name()) };
        let recorder = Recorder::new(client, reporter);
        let (queue, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(QUEUE);
        let events = Self { queue, metrics: metrics.clone() };
        let publish = async move {
            while let Some((event, object)) = receiver.recv().await {
                let reason = &event.reason;
                match tokio::time::timeout(TIMEOUT, recorder.publish(&event, &object)).await {
                    Ok(Ok(())) => {
                        metrics.event("published");
                        continue;
                    }
                    Ok(Err(error)) => warn!(error = %Chain(&error), reason, "event not published"),
                    Err(_) => warn!(reason, "event not published: no answer within {} s", TIMEOUT.as_secs()),
                }
                metrics.event("failed");
            }
        };
        (events, publish)
    }

    /// Publishes that a person should look at `object`. `reason` is a CamelCase constant.
    pub fn publish_warning(&self, reason: &str, message: &str, object: ObjectReference) {
        self.publish(EventType::Warning, reason, message, object);
    }

    /// Publishes `notice` about `object`, and logs it.
    pub(crate) fn publish_notice(&self, notice: Notice, object: ObjectReference) {
        let Notice { type_, reason, message } = notice;
        info!(reason, message);
        self.publish(type_, reason, &message, object);
    }

    fn publish(&self, type_: EventType, reason: &str, message: &str, object: ObjectReference) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(cut(message, NOTE_LIMIT).to_owned()),
            // The recorder extends a series by reason and action and keeps its first note: events with another note are
            // another series.
            action: format!("Reconcile{:016x}", hash_of(message)),
            secondary: None,
        };
        // Events are grouped by the object they regard; its version must not make each one new.
        let object = ObjectReference { resource_version: None, ..object };
        if self.queue.try_send((event, object)).is_err() {
            self.metrics.event("dropped");
            debug!(reason, "event dropped: {QUEUE} others wait to be published");
        }
    }
}

fn hash_of(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}
