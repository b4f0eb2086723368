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

    /// Forgets a Cluster; its key, if anything was remembered.
    pub(super) fn forget(&self, uid: &str) -> Option<Key> {
        self.lock().remove(uid).map(|entry| entry.key)
    }

    fn change(&self, cluster: &Cluster, change: impl FnOnce(&mut Entry)) {
        let uid = cluster.uid().unwrap_or_default();
        let new = || Entry { key: Key::of(cluster), watched: None };
        change(self.lock().entry(uid).or_insert_with(new));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
