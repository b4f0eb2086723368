//! How often objects were created and deleted in the namespace of a run, by any client.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::runtime::watcher::Event;
use tokio::task::JoinSet;

use super::reference::Numbers;
use crate::follow::follow;
use crate::install::Subject;
use crate::site::Site;

/// The UIDs of each object by kind and name, and whether it is deleted.
type Seen = BTreeMap<String, BTreeMap<String, bool>>;

/// Counts until it is dropped.
pub(super) struct Counts {
    seen: Arc<Mutex<Seen>>,
    _following: JoinSet<()>,
}

impl Counts {
    pub(super) fn start(site: &Site, subject: &Subject) -> Self {
        let seen = Arc::new(Mutex::new(Seen::new()));
        let notes = Arc::clone(&seen);
        let following = follow(site, subject, move |kind, event| {
            note(&mut notes.lock().unwrap_or_else(PoisonError::into_inner), kind, event);
        });
        Self { seen, _following: following }
    }

    /// Returns how often each object was created, and how often it was deleted.
    pub(super) fn so_far(&self) -> Numbers {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Numbers::new();
        for (object, uids) in &*seen {
            let deleted = uids.values().filter(|deleted| **deleted).count();
            counts.insert(format!("created {object}"), uids.len() as u64);
            counts.insert(format!("deleted {object}"), deleted as u64);
        }
        counts
    }
}

fn note(seen: &mut Seen, kind: &str, event: Event<DynamicObject>) {
    let (object, deleted) = match event {
        Event::Apply(object) | Event::InitApply(object) => (object, false),
        Event::Delete(object) => (object, true),
        Event::Init | Event::InitDone => return,
    };
    let uids = seen.entry(format!("{kind} {}", object.name_any())).or_default();
    uids.insert(object.uid().unwrap_or_default(), deleted);
}
