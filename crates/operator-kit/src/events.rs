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
use tracing::{debug, warn};

use crate::{conditions::cut, error::Chain, lease::pod_name};

/// Longest note the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;
/// How long the API server may take to accept an event.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Events that wait to be published; more are dropped.
const QUEUE: usize = 512;

/// Publishes events as one reporter; equal ones within 6 minutes are one series. Clones share the queue.
#[derive(Clone)]
pub struct Events(mpsc::Sender<(Event, ObjectReference)>);

impl Events {
    /// Creates a recorder that reports as `controller`, e.g. `vm-operator`, and the task that publishes.
    pub(crate) fn new(client: kube::Client, controller: &str) -> (Self, impl Future<Output = ()> + use<>) {
        let reporter = Reporter { controller: controller.to_owned(), instance: Some(pod_name()) };
        let recorder = Recorder::new(client, reporter);
        let (sender, mut receiver) = mpsc::channel::<(Event, ObjectReference)>(QUEUE);
        let publish = async move {
            while let Some((event, object)) = receiver.recv().await {
                let reason = &event.reason;
                match tokio::time::timeout(TIMEOUT, recorder.publish(&event, &object)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => warn!(error = %Chain(&error), reason, "event not published"),
                    Err(_) => warn!(reason, "event not published: no answer within {} s", TIMEOUT.as_secs()),
                }
            }
        };
        (Self(sender), publish)
    }

    /// Publishes that a person should look at `object`. `reason` is a CamelCase constant.
    pub fn publish_warning(&self, reason: &str, message: &str, object: ObjectReference) {
        self.publish(EventType::Warning, reason, message, object);
    }

    /// Publishes something worth knowing about `object`.
    pub fn publish_normal(&self, reason: &str, message: &str, object: ObjectReference) {
        self.publish(EventType::Normal, reason, message, object);
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
        if self.0.try_send((event, object)).is_err() {
            debug!(reason, "event dropped: {QUEUE} others wait to be published");
        }
    }
}

fn hash_of(message: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    message.hash(&mut hasher);
    hasher.finish()
}
