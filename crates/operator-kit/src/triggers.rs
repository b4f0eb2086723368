//! `Triggers`: wakes objects of one kind from outside its watch.

use std::{
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{key::Key, queue::Queue};

/// Puts objects of kind `K` into the queue of their controller: what another watch, a timer or an outside system reports
/// about them. Clones share the queue.
pub struct Triggers<K> {
    queue: Arc<Queue>,
    era: Arc<AtomicU64>,
    kind: PhantomData<fn(K)>,
}

impl<K> Default for Triggers<K> {
    fn default() -> Self {
        Self { queue: Arc::default(), era: Arc::default(), kind: PhantomData }
    }
}

impl<K> Clone for Triggers<K> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), era: Arc::clone(&self.era), kind: PhantomData }
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

    /// Ends the back-off of all objects, e.g. because the outside system is back, and wakes these.
    pub fn retry_all<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        self.era.fetch_add(1, Ordering::Relaxed);
        self.wake_all(keys);
    }

    pub(crate) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    /// Returns how often [`retry_all`](Self::retry_all) was called.
    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }
}
