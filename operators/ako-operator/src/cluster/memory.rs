//! What this process remembers of Clusters: nothing that it would miss after a restart.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use infra_clients::capi::Cluster;
use kube::ResourceExt;
use operator_kit::Key;

/// What this process remembers, by UID.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, Entry>>);

struct Entry {
    key: Key,
    watched: Option<String>,
    is_purged: bool,
}

impl Memory {
    /// Returns whether the workload cluster is watched through a client of this version.
    pub(super) fn is_watched(&self, cluster: &Cluster, version: &str) -> bool {
        let uid = cluster.uid().unwrap_or_default();
        self.lock().get(&uid).is_some_and(|entry| entry.watched.as_deref() == Some(version))
    }

    /// Remembers that the workload cluster is watched.
    pub(super) fn watched(&self, cluster: &Cluster, version: String) {
        self.change(cluster, |entry| entry.watched = Some(version));
    }

    /// Returns whether nothing was left on AVI when the operator looked last.
    pub(super) fn is_purged(&self, cluster: &Cluster) -> bool {
        self.lock().get(&cluster.uid().unwrap_or_default()).is_some_and(|entry| entry.is_purged)
    }

    /// Remembers whether nothing is left on AVI.
    pub(super) fn purged(&self, cluster: &Cluster, is_purged: bool) {
        self.change(cluster, |entry| entry.is_purged = is_purged);
    }

    /// Forgets a Cluster; its key, if anything was remembered.
    pub(super) fn forget(&self, uid: &str) -> Option<Key> {
        self.lock().remove(uid).map(|entry| entry.key)
    }

    fn change(&self, cluster: &Cluster, change: impl FnOnce(&mut Entry)) {
        let uid = cluster.uid().unwrap_or_default();
        let new = || Entry { key: Key::of(cluster), watched: None, is_purged: false };
        change(self.lock().entry(uid).or_insert_with(new));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
