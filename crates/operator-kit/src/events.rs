//! Events a person can act on.
//!
//! Owns the recorder and its bounds. Never fails a reconcile and never holds one up: an event that cannot be published
//! is logged and forgotten.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
pub use kube::runtime::events::EventType;
use kube::runtime::events::{Event, Recorder, Reporter};
use tracing::warn;

use crate::{conditions::cut, error::Chain};

/// Longest note the API server takes, in bytes.
const NOTE_LIMIT: usize = 1024;
/// How long an unreachable API server may hold up the caller.
const PATIENCE: Duration = Duration::from_secs(5);

/// Publishes events as one reporter; clones share the deduplication (6 minutes, as a series).
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// A recorder that reports as `controller`, e.g. `vm-operator`.
    #[must_use]
    pub fn new(client: kube::Client, controller: &str) -> Self {
        let reporter =
            Reporter { controller: controller.to_owned(), instance: Some(crate::lease::pod_name()) };
        Self { recorder: Recorder::new(client, reporter) }
    }

    /// Publishes one event about `object`. `reason` is a CamelCase constant, `action` the verb that was tried.
    pub async fn publish(
        &self,
        kind: EventType,
        reason: &str,
        action: &str,
        message: &str,
        object: &ObjectReference,
    ) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(cut(message, NOTE_LIMIT).to_owned()),
            action: action.to_owned(),
            secondary: None,
        };
        // Events are told apart by what they regard; its version must not make each one new.
        let object = ObjectReference { resource_version: None, ..object.clone() };
        match tokio::time::timeout(PATIENCE, self.recorder.publish(&event, &object)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = %Chain(&error), reason, "event not published"),
            Err(_) => warn!(reason, "event not published: no answer within {} s", PATIENCE.as_secs()),
        }
    }

    /// Something a person should look at.
    pub async fn warning(&self, reason: &str, message: &str, object: &ObjectReference) {
        self.publish(EventType::Warning, reason, "Reconcile", message, object).await;
    }

    /// Something worth knowing.
    pub async fn normal(&self, reason: &str, message: &str, object: &ObjectReference) {
        self.publish(EventType::Normal, reason, "Reconcile", message, object).await;
    }
}
