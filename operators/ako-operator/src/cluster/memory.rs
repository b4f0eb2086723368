//! What this process remembers of Clusters: nothing that it would miss after a restart.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_clients::Secret;
use infra_clients::capi::Cluster;
use jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::Key;
use serde_json::Value;

use super::stored::Stored;
use super::writes::Writes;
use crate::delivery::Target;
use crate::problem::Problem;
use crate::user::account::Refusal;

/// How long a look at a user on AVI is good for, and one at the definitions of AKO's kinds.
const FRESH: Duration = Duration::from_hours(1);

/// How long a password that AVI has refused is not replaced, where another one was refused not long before.
const REFUSED: Duration = Duration::from_mins(3);
/// How long that counts. The first one is replaced at once: its request may have taken effect and had no answer, and AVI takes no password twice.
const REPEATED: Duration = Duration::from_mins(15);

/// What this process remembers, by UID.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<String, Entry>>);

struct Entry {
    key: Key,
    watched: Option<String>,
    is_purged: bool,
    checked: Option<(String, Timestamp)>,
    refused: Option<Refused>,
    /// Hash of the password that AVI has got for the user.
    password: Option<u64>,
    is_user_removed: bool,
    stored: Stored,
    writes: Writes,
    defined: Option<(String, Timestamp)>,
    can_serve: Option<Result<(), Problem>>,
}

/// A password that AVI has refused.
struct Refused {
    basis: String,
    at: Timestamp,
    problem: Problem,
    /// Whether another one was refused not long before.
    is_repeated: bool,
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

    /// Returns whether AVI was found to have the user of the Cluster as it is to be, not long ago.
    pub(super) fn is_checked(&self, cluster: &Cluster, basis: &str, now: Timestamp) -> bool {
        let entries = self.lock();
        let entry = entries.get(&cluster.uid().unwrap_or_default());
        is_fresh(entry.and_then(|entry| entry.checked.as_ref()), basis, now)
    }

    /// Remembers that AVI has the user of the Cluster as it is to be.
    pub(super) fn checked(&self, cluster: &Cluster, basis: String, now: Timestamp) {
        self.change(cluster, |entry| {
            entry.checked = Some((basis, now));
            entry.is_user_removed = false;
        });
    }

    /// Remembers that AVI has got this password for the user of the Cluster.
    pub(super) fn password_set(&self, cluster: &Cluster, password: &Secret) {
        self.change(cluster, |entry| entry.password = Some(hash(password)));
    }

    /// Returns whether AVI has got this password for the user of the Cluster, and no other one since.
    pub(super) fn has_set(&self, cluster: &Cluster, password: &Secret) -> bool {
        let entries = self.lock();
        let entry = entries.get(&cluster.uid().unwrap_or_default());
        entry.and_then(|entry| entry.password) == Some(hash(password))
    }

    /// Returns whether AVI has refused the next password of the user of the Cluster.
    pub(super) fn refusal(&self, cluster: &Cluster, basis: &str, now: Timestamp) -> Option<Refusal> {
        let entries = self.lock();
        let refused = entries.get(&cluster.uid().unwrap_or_default())?.refused.as_ref()?;
        let left = REFUSED.saturating_sub(now.duration_since(refused.at).unsigned_abs());
        (refused.basis == basis).then(|| {
            if refused.is_repeated && !left.is_zero() {
                Refusal::Recent(refused.problem.clone(), left)
            } else {
                Refusal::Past
            }
        })
    }

    /// Remembers that AVI has refused the next password.
    pub(super) fn refused(&self, cluster: &Cluster, basis: String, problem: Problem, now: Timestamp) {
        self.change(cluster, |entry| {
            let before = entry.refused.as_ref().map(|before| now.duration_since(before.at).unsigned_abs());
            let is_repeated = before.is_some_and(|age| age < REPEATED);
            entry.refused = Some(Refused { basis, at: now, problem, is_repeated });
        });
    }

    /// Returns whether the user of the Cluster was removed.
    pub(super) fn is_user_removed(&self, cluster: &Cluster) -> bool {
        self.lock().get(&cluster.uid().unwrap_or_default()).is_some_and(|entry| entry.is_user_removed)
    }

    /// Remembers that the user of the Cluster was removed.
    pub(super) fn user_removed(&self, cluster: &Cluster) {
        self.change(cluster, |entry| {
            entry.checked = None;
            entry.is_user_removed = true;
        });
    }

    /// Returns what the workload cluster stored otherwise than it was sent.
    pub(super) fn stored(&self, cluster: &Cluster, now: Timestamp) -> Stored {
        let entries = self.lock();
        let stored = entries.get(&cluster.uid().unwrap_or_default()).map(|entry| entry.stored.clone());
        stored.unwrap_or_default().at(now)
    }

    /// Remembers what the workload cluster stored of an object that was sent.
    pub(super) fn sent(
        &self,
        cluster: &Cluster,
        target: &Target,
        sent: &Value,
        stored: &Value,
        now: Timestamp,
    ) {
        self.change(cluster, |entry| entry.stored.insert(target, sent, stored, now));
    }

    /// Counts a write of an object of the workload cluster. Returns false where the same was written too often of late.
    pub(super) fn admit(
        &self,
        cluster: &Cluster,
        target: &Target,
        sent: Option<&Value>,
        now: Timestamp,
    ) -> bool {
        let mut is_admitted = false;
        self.change(cluster, |entry| is_admitted = entry.writes.admit(target, sent, now));
        is_admitted
    }

    /// Takes the last write of an object back: it was refused.
    pub(super) fn take_back(&self, cluster: &Cluster, target: &Target) {
        self.change(cluster, |entry| entry.writes.take_back(target));
    }

    /// Returns whether the definitions of AKO's kinds were as they are to be, not long ago.
    pub(super) fn is_defined(&self, cluster: &Cluster, basis: &str, now: Timestamp) -> bool {
        let entries = self.lock();
        let entry = entries.get(&cluster.uid().unwrap_or_default());
        is_fresh(entry.and_then(|entry| entry.defined.as_ref()), basis, now)
    }

    /// Remembers a look at the definitions of AKO's kinds; `basis`: if they are as they are to be.
    pub(super) fn defined(&self, cluster: &Cluster, basis: Option<String>, now: Timestamp) {
        self.change(cluster, |entry| entry.defined = basis.map(|basis| (basis, now)));
    }

    /// Returns whether AKO can come from the AKODeploymentConfig for which it is to leave its place; `None` if the present pass has not looked.
    pub(super) fn can_serve(&self, cluster: &Cluster) -> Option<Result<(), Problem>> {
        self.lock().get(&cluster.uid().unwrap_or_default()).and_then(|entry| entry.can_serve.clone())
    }

    /// Remembers whether AKO can come from there.
    pub(super) fn serves(&self, cluster: &Cluster, can_serve: Option<Result<(), Problem>>) {
        self.change(cluster, |entry| entry.can_serve = can_serve);
    }

    /// Forgets a Cluster; its key, if anything was remembered.
    pub(super) fn forget(&self, uid: &str) -> Option<Key> {
        self.lock().remove(uid).map(|entry| entry.key)
    }

    fn change(&self, cluster: &Cluster, change: impl FnOnce(&mut Entry)) {
        let uid = cluster.uid().unwrap_or_default();
        let new = || Entry {
            key: Key::of(cluster),
            watched: None,
            is_purged: false,
            checked: None,
            refused: None,
            password: None,
            is_user_removed: false,
            stored: Stored::default(),
            writes: Writes::default(),
            defined: None,
            can_serve: None,
        };
        change(self.lock().entry(uid).or_insert_with(new));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is remembered holds no password.
fn hash(password: &Secret) -> u64 {
    let mut hasher = DefaultHasher::new();
    password.expose().hash(&mut hasher);
    hasher.finish()
}

fn is_fresh(look: Option<&(String, Timestamp)>, basis: &str, now: Timestamp) -> bool {
    look.is_some_and(|(of, at)| of == basis && now.duration_since(*at).unsigned_abs() < FRESH)
}
