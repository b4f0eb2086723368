//! What the driver remembers of objects between passes: back-offs, reports and postponed progress.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use crate::{backoff, error::Disposition, key::Key};

/// What the driver remembers of objects, by key.
pub(super) struct Memory<E> {
    pub(super) failing: Mutex<HashMap<Key, Failing<E>>>,
    /// Versions of objects that do not parse, once they were reported.
    pub(super) invalid: Mutex<HashMap<Key, Version>>,
    /// Number of the last `retry_all` before the pass of each object that is being reconciled.
    pub(super) eras: Mutex<HashMap<Key, u64>>,
    /// Since when objects have had progress that their status does not report.
    pub(super) progress: Mutex<HashMap<Key, Instant>>,
    /// Objects whose status is being written by this process.
    pub(super) reporting: Mutex<HashSet<Key>>,
    /// Statuses that could not be written. Nothing but the next write waits for their back-off.
    pub(super) unwritten: Mutex<HashMap<Key, Unwritten>>,
    /// Reasons that need help and were published, of objects whose status the operator does not write.
    pub(super) warned: Mutex<HashMap<Key, &'static str>>,
}

impl<E> Default for Memory<E> {
    fn default() -> Self {
        Self {
            failing: Mutex::default(),
            invalid: Mutex::default(),
            eras: Mutex::default(),
            progress: Mutex::default(),
            reporting: Mutex::default(),
            unwritten: Mutex::default(),
            warned: Mutex::default(),
        }
    }
}

impl<E> Memory<E> {
    pub(super) fn forget(&self, key: &Key) {
        lock(&self.failing).remove(key);
        lock(&self.invalid).remove(key);
        lock(&self.progress).remove(key);
        lock(&self.unwritten).remove(key);
        lock(&self.warned).remove(key);
    }
}

/// An object whose passes fail.
pub(super) struct Failing<E> {
    pub(super) back_off: BackOff,
    pub(super) error: Arc<E>,
}

/// The status of an object that could not be written.
pub(super) struct Unwritten {
    pub(super) back_off: BackOff,
    /// Whether a Warning has said that it is refused.
    pub(super) is_reported: bool,
}

/// How often something has failed in a row, and when it is tried again.
pub(super) struct BackOff {
    basis: Basis,
    failures: u32,
    not_before: Instant,
}

impl BackOff {
    /// Counts a failure after those before it, which count while their basis is the same. Returns how long it lasts as well.
    pub(super) fn after(before: Option<&Self>, basis: Basis, disposition: Disposition) -> (Self, Duration) {
        let before = before.filter(|before| before.basis == basis);
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let pause = backoff::delay(disposition, failures);
        (Self { basis, failures, not_before: Instant::now() + pause }, pause)
    }

    /// Returns how long it still lasts; `None` if it is over, or ended by another basis.
    pub(super) fn left(&self, basis: &Basis) -> Option<Duration> {
        let left = self.not_before.checked_duration_since(Instant::now())?;
        (self.basis == *basis && !left.is_zero()).then_some(left)
    }
}

/// What ends a back-off when it changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Basis {
    /// Which version of the object failed.
    pub(super) version: Version,
    /// Number of the last [`retry_all`](crate::triggers::Triggers::retry_all) before the failure.
    pub(super) era: u64,
}

/// What of an object ends a back-off when it changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Version {
    uid: Option<String>,
    generation: Option<i64>,
    deleting: bool,
    /// The hash of what the reconciler reads beside the spec; `None` where the object does not parse.
    reads: Option<u64>,
}

impl Version {
    pub(super) fn of(meta: &ObjectMeta, reads: Option<u64>) -> Self {
        Self {
            uid: meta.uid.clone(),
            generation: meta.generation,
            deleting: meta.deletion_timestamp.is_some(),
            reads,
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
