//! What the driver writes after a pass: the status, and the events for what is new in it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use kube::{Resource, ResourceExt, core::object::HasStatus};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use tracing::warn;

use super::{
    Driver, FINALIZERS_LEFT, STALE, caught,
    memory::{BackOff, Unwritten, lock},
};
use crate::{
    conditions,
    error::{Chain, KitError, NOT_LEADER, ReconcileError},
    key::Key,
    reconcile::{Outcome, Reconciler, StatusOf},
};

/// How long progress lasts before the status reports it: most of it is over before, and each write costs the API server
/// more than the pass. What ends a change, and what needs help, is written at once.
const PROGRESS: Duration = Duration::from_millis(200);

impl<R: Reconciler> Driver<R> {
    /// Writes the status if it differs; returns when to look again if that is postponed.
    pub(super) async fn write_status(
        &self,
        key: &Key,
        object: &Arc<R::Object>,
        seen: Option<&R::Seen>,
        outcome: &Outcome<R::Done, R::Error>,
    ) -> Result<Option<Duration>, KitError> {
        if let Outcome::Failed(error) = outcome
            && error.reason() == NOT_LEADER
        {
            // Another process says how things are now.
            return Ok(None);
        }
        // The newest version: this pass may have written the object.
        let Some(newest) = self.cache.valid(key).filter(|newest| newest.uid() == object.uid()) else {
            return Ok(None);
        };
        if let Some(left) = self.write_back_off(key, object) {
            return Ok(Some(left));
        }
        let old = newest.status();
        let changed = AssertUnwindSafe(async {
            let status = R::status(old, object, seen, outcome, self.kit.clock().now());
            let status = status.filter(|status| old != Some(status))?;
            Some((R::news(object, old, &status), R::is_awaited(old, &status), status))
        });
        let changed = changed.catch_unwind().await.map_err(|panic| KitError::panicked(&*panic))?;
        let Some((news, is_awaited, status)) = changed else {
            lock(&self.memory.progress).remove(key);
            lock(&self.memory.unwritten).remove(key);
            if old.is_none() {
                self.warn_without_status(key, object, outcome);
            }
            if let Outcome::Failed(error) = outcome {
                self.report_failure(&newest, error).await;
            }
            return Ok(None);
        };
        if let Some(left) = self.postpone(key, outcome).filter(|_| !is_awaited) {
            return Ok(Some(left));
        }
        let help = outcome.help().filter(|(reason, _)| Self::ready_reason(old) != Some(*reason));
        match self.replace_status(key, &newest, &status).await {
            Ok(()) => drop(lock(&self.memory.unwritten).remove(key)),
            // Gone, recreated, or changed by another client: the watch is about to tell.
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => {
                return Ok(Some(STALE));
            }
            Err(error) => return Err(KitError::not_written(error)),
        }
        if let Some((reason, message)) = help {
            self.kit.events().publish_warning(reason, &message, object.object_ref(&self.kind));
        }
        self.publish(object, news);
        Ok(None)
    }

    /// Returns how long the status is still not to be written again, as that failed; `None` if it may be written.
    fn write_back_off(&self, key: &Key, object: &R::Object) -> Option<Duration> {
        let basis = self.basis(key, object);
        lock(&self.memory.unwritten).get(key)?.back_off.left(&basis)
    }

    /// Counts a status that could not be written; when to write it again, and the label of the metric. Publishes one Warning where it is
    /// refused, by rights or a policy: the status cannot say so. What the object asks for goes on meanwhile.
    pub(super) fn unwritten(
        &self,
        key: &Key,
        object: &Arc<R::Object>,
        error: &KitError,
    ) -> (Duration, &'static str) {
        let disposition = self.report_error(error);
        let basis = self.basis(key, object);
        let mut unwritten = lock(&self.memory.unwritten);
        let before = unwritten.get(key);
        let was_reported = before.is_some_and(|known| known.is_reported);
        let (back_off, pause) = BackOff::after(before.map(|known| &known.back_off), basis, disposition);
        let is_reported = was_reported || disposition.needs_help();
        unwritten.insert(key.clone(), Unwritten { back_off, is_reported });
        drop(unwritten);
        if is_reported && !was_reported {
            let reference = object.object_ref(&self.kind);
            self.kit.events().publish_warning(error.reason(), &error.to_string(), reference);
        }
        (pause, disposition.label())
    }

    /// Publishes the Warning for a reason that needs help, once, where no status is written that would remember it.
    fn warn_without_status(&self, key: &Key, object: &R::Object, outcome: &Outcome<R::Done, R::Error>) {
        let Some((reason, message)) = outcome.help() else {
            lock(&self.memory.warned).remove(key);
            return;
        };
        if lock(&self.memory.warned).insert(key.clone(), reason) != Some(reason) {
            self.kit.events().publish_warning(reason, &message, object.object_ref(&self.kind));
        }
    }

    /// Has an object of others say that a pass has failed. If that fails as well, the next pass tries it again.
    async fn report_failure(&self, object: &R::Object, error: &R::Error) {
        if self.kit.check_leadership().is_ok()
            && let Err(unsaid) = caught(self.reconciler.report_failure(object, error)).await
        {
            warn!(
                reason = unsaid.reason(),
                error = Chain(&unsaid).to_string(),
                "the failure could not be reported"
            );
        }
    }

    /// Applies the status, and removes what another client has added to it.
    async fn replace_status(
        &self,
        key: &Key,
        object: &Arc<R::Object>,
        status: &StatusOf<R>,
    ) -> Result<(), kube::Error> {
        lock(&self.memory.reporting).insert(key.clone());
        let replaced = async {
            let written = self.objects.apply_status(&self.manager, object, status).await?;
            let Some(written) = written.valid() else { return Ok(()) };
            // Nearly every status is as it was applied, and is not compared member by member.
            let Some(now) = written.status().filter(|now| *now != status) else { return Ok(()) };
            match excess(now, status).map_err(kube::Error::SerdeError)? {
                Some(excess) => self.objects.merge_status(&self.manager, written, excess).await,
                None => Ok(()),
            }
        };
        let replaced = replaced.await;
        lock(&self.memory.reporting).remove(key);
        replaced
    }

    /// Returns how long progress is still not to be reported; `None` if the status is to be written now.
    fn postpone(&self, key: &Key, outcome: &Outcome<R::Done, R::Error>) -> Option<Duration> {
        let mut progress = lock(&self.memory.progress);
        let now = Instant::now();
        // The last status may have no later pass.
        let is_last = matches!(outcome, Outcome::Waiting(FINALIZERS_LEFT, _));
        if matches!(outcome, Outcome::Acted(_) | Outcome::Waiting(..)) && !is_last {
            let left = PROGRESS.saturating_sub(now - *progress.entry(key.clone()).or_insert(now));
            if !left.is_zero() {
                return Some(left);
            }
        }
        progress.remove(key);
        None
    }

    /// Returns the reason of the Ready condition.
    fn ready_reason(status: Option<&StatusOf<R>>) -> Option<&str> {
        conditions::get(R::conditions(status?), conditions::READY).map(|ready| ready.reason.as_str())
    }
}

/// Returns the members of `written` that `wanted` does not have, as a merge patch that removes them.
fn excess(written: &impl Serialize, wanted: &impl Serialize) -> Result<Option<Value>, serde_json::Error> {
    Ok(difference(&serde_json::to_value(written)?, &serde_json::to_value(wanted)?))
}

fn difference(written: &Value, wanted: &Value) -> Option<Value> {
    let (Value::Object(written), Value::Object(wanted)) = (written, wanted) else { return None };
    let mut patch = Map::new();
    for (name, value) in written.iter().filter(|(_, value)| !value.is_null()) {
        match wanted.get(name).filter(|value| !value.is_null()) {
            None => patch.insert(name.clone(), Value::Null),
            Some(wanted) => difference(value, wanted).and_then(|inner| patch.insert(name.clone(), inner)),
        };
    }
    (!patch.is_empty()).then(|| patch.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_another_client_added_is_removed_and_the_rest_is_left() {
        let written =
            json!({"phase": "A", "task": {"ref": "t", "kind": "K"}, "vm": "v", "none": null, "list": [1]});
        let wanted = json!({"phase": "B", "task": {"ref": "u"}, "vm": null, "list": []});
        assert_eq!(excess(&written, &wanted).unwrap(), Some(json!({"task": {"kind": null}, "vm": null})));
        assert_eq!(excess(&wanted, &wanted).unwrap(), None);
    }
}
