//! The finalizer: which objects have it, and when it goes.

use std::{sync::Arc, time::Duration};

use kube::{Resource, ResourceExt};
use tracing::info;

use super::{Driver, FINALIZERS_LEFT, OBJECTS_LEFT, Pass, STALE, caught, memory::lock};
use crate::{
    error::KitError,
    key::Key,
    objects::Patched,
    reconcile::{AUDIT, Outcome, Reconciler},
};

/// Since when an object has the finalizer, or needs none.
pub(super) enum Held {
    /// It was so before.
    Before,
    /// The finalizer was added now.
    Now,
}

pub(super) fn is_deleting(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Returns whether the object has a finalizer of the reconciler, or a former one.
pub(super) fn is_held<R: Reconciler>(object: &R::Object) -> bool {
    R::FINALIZER.iter().chain(R::FORMER_FINALIZERS).any(|ours| has(object, ours))
}

fn has(object: &impl Resource, finalizer: &str) -> bool {
    object.finalizers().iter().any(|held| held == finalizer)
}

impl<R: Reconciler> Driver<R> {
    /// Adds the finalizer where the object is to have it; `object` is the one with it then.
    pub(super) async fn hold(
        &self,
        key: &Key,
        object: &mut Arc<R::Object>,
        seen: Option<&R::Seen>,
    ) -> Result<Held, Pass<R>> {
        let Some(finalizer) = R::FINALIZER.filter(|ours| !is_deleting(&**object) && !has(&**object, ours))
        else {
            return Ok(Held::Before);
        };
        match self.is_to_be_held(object, seen).await {
            Ok(true) => {}
            Ok(false) => return Ok(Held::Before),
            Err(error) => return Err(self.failed(key, object, error)),
        }
        match self.objects.change_finalizers(object, Some(finalizer), &[]).await {
            Ok(Patched::Done) => {}
            Ok(Patched::Stale) => return Err(Pass::Stale),
            Err(error) => return Err(self.failed(key, object, KitError::not_held(error).into())),
        }
        let newest = self.cache.valid(key).filter(|now| now.uid() == object.uid());
        *object = newest.ok_or(Pass::Stale)?;
        Ok(Held::Now)
    }

    async fn is_to_be_held(&self, object: &R::Object, seen: Option<&R::Seen>) -> Result<bool, R::Error> {
        caught(async { Ok(R::holds(object, seen)) }).await
    }

    /// Asks the API server whether nothing is left of an object that is being deleted, or is not to be held any more.
    pub(super) async fn confirm_gone(
        &self,
        key: &Key,
        object: &Arc<R::Object>,
        seen: Option<&R::Seen>,
    ) -> Pass<R> {
        if !is_deleting(&**object) {
            match self.is_to_be_held(object, seen).await {
                // The finalizer would be added again.
                Ok(true) => return Pass::Lost,
                Ok(false) if !is_held::<R>(object) => {
                    lock(&self.memory.failing).remove(key);
                    return Pass::looked(Outcome::Settled, AUDIT);
                }
                Ok(false) => {}
                Err(error) => return self.failed(key, object, error),
            }
        }
        match caught(self.reconciler.confirm_gone(object)).await {
            Ok(true) => Pass::Gone,
            Ok(false) => {
                self.metrics.wait(OBJECTS_LEFT);
                let message = "the API server has objects of it that are still to be dealt with".to_owned();
                Pass::looked(Outcome::Waiting(OBJECTS_LEFT, message), STALE)
            }
            Err(error) => self.failed(key, object, error),
        }
    }

    /// Removes the finalizer, and writes a last status where finalizers of others keep an object that is being deleted. Returns when to
    /// look again, or the failure that the status is to report.
    pub(super) async fn remove_finalizer(
        &self,
        key: &Key,
        object: &Arc<R::Object>,
        seen: Option<&R::Seen>,
    ) -> Result<Option<Duration>, Pass<R>> {
        let ours: Vec<&str> = R::FINALIZER.iter().chain(R::FORMER_FINALIZERS).copied().collect();
        let held = object.finalizers().iter().map(String::as_str);
        let others: Vec<&str> = held.filter(|held| !ours.contains(held)).collect();
        let last = (is_deleting(&**object) && !others.is_empty()).then(|| {
            let message = format!(
                "the operator has nothing left to do; the object goes when the owners of these finalizers remove them, or you do \
                 with kubectl edit: {}",
                others.join(", ")
            );
            Outcome::Waiting(FINALIZERS_LEFT, message)
        });
        // A finalizer that cannot be removed stays in the status until it is: the two would take turns. A status that cannot be written
        // keeps no finalizer.
        let has_failed =
            lock(&self.memory.failing).contains_key(key) || lock(&self.memory.unwritten).contains_key(key);
        let (before, after) = if has_failed { (None, last) } else { (last, None) };
        if let Some(pause) = self.write_last(key, object, seen, before).await {
            return Ok(pause);
        }
        let newest = self.cache.valid(key).filter(|newest| newest.uid() == object.uid());
        match self.objects.change_finalizers(newest.as_ref().unwrap_or(object), None, &ours).await {
            Ok(Patched::Done) => {
                info!("nothing of the object is left, its finalizer is removed");
                lock(&self.memory.failing).remove(key);
                self.publish(object, seen.and_then(|seen| R::last_event(object, seen)));
                if let Some(uid) = object.meta().uid.as_deref().filter(|_| !is_deleting(&**object)) {
                    self.reconciler.forget(uid);
                }
                // An object that lives on is woken by this change.
                Ok(self.write_last(key, object, seen, after).await.flatten())
            }
            Ok(Patched::Stale) => Ok(Some(STALE)),
            Err(error) => Err(self.failed(key, object, KitError::not_released(error).into())),
        }
    }

    /// Writes the last status of an object; when to look again if that was not possible.
    async fn write_last(
        &self,
        key: &Key,
        object: &Arc<R::Object>,
        seen: Option<&R::Seen>,
        outcome: Option<Outcome<R::Done, R::Error>>,
    ) -> Option<Option<Duration>> {
        match self.write_status(key, object, seen, &outcome?).await {
            Ok(None) => None,
            Ok(postponed) => Some(postponed),
            Err(error) => Some(Some(self.unwritten(key, object, &error).0)),
        }
    }
}
