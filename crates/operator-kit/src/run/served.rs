//! Which namespaces the operator serves.
//!
//! Owns the list of caches that controllers wait for. Decides nothing: each watch tells what its cache lacks.

use std::sync::{MutexGuard, PoisonError};

use tokio::{sync::watch, time::Instant};

use super::Kit;
use crate::watch::Progress;

impl Kit {
    /// Returns the namespaces of `--watch-namespace`; none means all.
    #[must_use]
    pub fn namespaces(&self) -> &[String] {
        &self.0.scope.namespaces
    }

    /// Adds a cache that must be complete before any controller's first pass.
    pub(crate) fn await_cache(&self, progress: watch::Receiver<Progress>) {
        self.lock_caches().push(progress);
    }

    /// Resolves when every cache of the process is complete, but for the namespaces of `--watch-namespace` that the operator may
    /// not read: see [`serves`](Self::serves).
    pub async fn caches(&self) {
        let caches = self.lock_caches().clone();
        for mut progress in caches {
            // Fails where the watch was dropped: its cache stays as it is.
            let _ = progress.wait_for(Progress::is_enough).await;
        }
    }

    /// Returns whether the operator serves a namespace: it is watched, and the caches have what is in it. One of
    /// `--watch-namespace` that the API server refuses, because it is gone, being deleted, or without its Role, is not served
    /// until it is granted again: what the caches have of it may be missing or stale. No pass runs for its objects, and a reconciler of
    /// other objects must treat them as it treats those of namespaces that are not watched.
    #[must_use]
    pub fn serves(&self, namespace: &str) -> bool {
        let watched = self.namespaces();
        (watched.is_empty() || watched.iter().any(|name| name == namespace)) && !self.lacks(namespace)
    }

    /// Returns the namespaces of `--watch-namespace` that the operator does not serve, once [`caches`](Self::caches) has resolved.
    #[must_use]
    pub fn unserved(&self) -> Vec<&str> {
        self.namespaces().iter().map(String::as_str).filter(|name| self.lacks(name)).collect()
    }

    /// Returns whether a cache lacks what is in a namespace; of cluster-scoped objects, whose namespace is empty, whether it lacks
    /// everything.
    pub(crate) fn lacks(&self, namespace: &str) -> bool {
        // A watch that was dropped brings nothing more: its cache stays as it is.
        let is_running = |progress: &watch::Receiver<Progress>| progress.has_changed().is_ok();
        let now = Instant::now();
        let caches = self.lock_caches();
        caches.iter().any(|progress| is_running(progress) && progress.borrow().lacks(namespace, now))
    }

    fn lock_caches(&self) -> MutexGuard<'_, Vec<watch::Receiver<Progress>>> {
        self.0.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
