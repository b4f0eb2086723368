//! Events a person can act on.
//!
//! Owns the recorder and its bounds. Never fails a reconcile and never holds one up: events are published by a task of
//! their own, and one that cannot be published is logged and dropped.

mod recorder;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use self::recorder::Recorder;
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
    is_warning: bool,
    reason: &'static str,
    message: String,
}

impl Notice {
    /// Creates an event about something worth knowing. `reason` is a CamelCase constant.
    #[must_use]
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: false, reason, message: message.into() }
    }

    /// Creates an event about something that a person should look at.
    #[must_use]
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: true, ..Self::normal(reason, message) }
    }

    /// Returns the reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// Returns the message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Publishes events as one reporter; equal ones within 6 minutes are one series. Clones share the queue.
#[derive(Clone)]
pub struct Events {
    queue: mpsc::Sender<(Notice, ObjectReference)>,
    metrics: Metrics,
}

impl Events {
    /// Creates a recorder that reports as `controller`, e.g. `vm-operator`, and the task that publishes.
    pub(crate) fn new(
        client: kube::Client,
        controller: &str,
        metrics: Metrics,
    ) -> (Self, impl Future<Output = ()> + use<>) {
        let mut recorder = Recorder::new(client, controller.to_owned(), pod_name());
        let (queue, mut receiver) = mpsc::channel::<(Notice, ObjectReference)>(QUEUE);
        let events = Self { queue, metrics: metrics.clone() };
        let publish = async move {
            while let Some((notice, object)) = receiver.recv().await {
                let reason = notice.reason;
                let published = recorder.publish(&notice, &object, Timestamp::now());
                match tokio::time::timeout(TIMEOUT, published).await {
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

    /// Publishes that a person should look at `object`, and logs it: events are kept for an hour. `reason` is a CamelCase constant.
    pub fn publish_warning(&self, reason: &'static str, message: &str, object: ObjectReference) {
        self.publish(Notice::warning(reason, message), object);
    }

    /// Publishes `notice` about `object`, and logs it: a warning as one.
    pub(crate) fn publish(&self, mut notice: Notice, object: ObjectReference) {
        let (reason, message) = (notice.reason, &*notice.message);
        if notice.is_warning {
            warn!(reason, message);
        } else {
            info!(reason, message);
        }
        notice.message.truncate(cut(&notice.message, NOTE_LIMIT).len());
        // The event is about the object, not about one version of it.
        let object = ObjectReference { resource_version: None, ..object };
        if self.queue.try_send((notice, object)).is_err() {
            self.metrics.event("dropped");
            debug!(reason, "event dropped: {QUEUE} others wait to be published");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_warning_is_logged_as_one() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || writer.clone());
        let (queue, _receiver) = mpsc::channel(8);
        let events = Events { queue, metrics: Metrics::new("op", "1").unwrap() };
        tracing::subscriber::with_default(subscriber.finish(), || {
            events.publish(Notice::normal("Made", "it is made"), ObjectReference::default());
            events.publish(Notice::warning("Broken", "it broke"), ObjectReference::default());
            events.publish_warning("Refused", "it is refused", ObjectReference::default());
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let levels: Vec<_> = log.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(levels, ["INFO", "WARN", "WARN"], "{log}");
    }
}
