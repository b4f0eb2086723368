//! `Triggers`: wakes objects of one kind from outside its watch.

use std::{
    collections::HashSet,
    marker::PhantomData,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{key::Key, queue::Queue};

/// Puts objects of kind `K` into the queue of their controller: what another watch, a timer or an outside system reports
/// about them. Clones share the queue.
pub struct Triggers<K> {
    queue: Arc<Queue>,
    era: Arc<AtomicU64>,
    /// Objects whose back-off ends.
    retried: Arc<Mutex<HashSet<Key>>>,
    kind: PhantomData<fn(K)>,
}

impl<K> Default for Triggers<K> {
    fn default() -> Self {
        Self { queue: Arc::default(), era: Arc::default(), retried: Arc::default(), kind: PhantomData }
    }
}

impl<K> Clone for Triggers<K> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            era: Arc::clone(&self.era),
            retried: Arc::clone(&self.retried),
            kind: PhantomData,
        }
    }
}

impl<K> Triggers<K> {
    /// Wakes the object; harmless if it does not exist.
    pub fn wake(&self, key: &Key) {
        self.queue.wake(key);
    }

    /// Wakes these objects.
    pub fn wake_all<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        for key in keys {
            self.wake(key);
        }
    }

    /// Ends the back-off of the object, because what it failed on has changed, and wakes it.
    pub fn retry(&self, key: &Key) {
        self.retried.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        self.wake(key);
    }

    /// Ends the back-off of all objects, e.g. because the outside system is back, and wakes these.
    pub fn retry_all<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        self.era.fetch_add(1, Ordering::Relaxed);
        self.wake_all(keys);
    }

    /// Returns whether the back-off of the object is to end, once for each [`retry`](Self::retry).
    pub(crate) fn take_retry(&self, key: &Key) -> bool {
        self.retried.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Returns how often [`retry_all`](Self::retry_all) was called.
    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }
}
