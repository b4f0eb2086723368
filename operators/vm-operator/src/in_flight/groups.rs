//! What was requested for groups and their folders.

use std::collections::HashSet;
use std::time::SystemTime;

use infra_clients::vsphere::vms::Ticket;
use infra_clients::vsphere::{Error as Fault, MoRef};
use operator_kit::Key;

use super::{InFlight, Waiter};

/// A change of a group's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderChange {
    /// CreateFolder.
    Create,
    /// UnregisterAndDestroy_Task.
    Remove,
}

impl FolderChange {
    /// Returns the vCenter's name of the request.
    #[must_use]
    pub fn method(self) -> &'static str {
        match self {
            Self::Create => "CreateFolder",
            Self::Remove => "UnregisterAndDestroy_Task",
        }
    }
}

/// How far a change of a group's folder is.
#[derive(Clone, Debug)]
pub enum FolderRequest {
    /// In the queue, or sent and not answered.
    Sending(FolderChange),
    /// Answered with a task, which removes the folder.
    Task(MoRef),
    /// Refused, or not answered.
    Failed(FolderChange, Fault),
}

/// A group's entry.
#[derive(Clone, Debug, Default)]
pub struct GroupEntry {
    /// The last request, until its outcome is dealt with.
    pub request: Option<FolderRequest>,
    /// The refresh of the inventory that the group waits for, or has waited for.
    pub refresh: Option<Ticket>,
    /// How far it is that VmInstances to remove are chosen.
    pub census: Option<Census>,
    /// What is waited for before the machines of the original operator count as found.
    pub originals: Option<OriginalsAwaited>,
    /// This process has created its folder.
    pub created: bool,
    /// This process has removed the finalizer of the original operator.
    pub adopted: bool,
}

/// What is waited for before the machines of the original operator count as found.
#[derive(Clone, Debug)]
pub struct OriginalsAwaited {
    /// Clones that were unfinished when this process looked for the machines first: the original operator may have requested them.
    pub clones: HashSet<MoRef>,
    /// When that was, by the clock of this process: that of the vCenter may be hours off.
    pub since: SystemTime,
    /// The refresh of the inventory after they had ended.
    pub refresh: Option<Ticket>,
}

/// What was requested before VmInstances to remove are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Census {
    /// The generation of the group for which that was.
    pub generation: i64,
    /// The refresh of the inventory.
    pub ticket: Ticket,
    /// How often machines were looked up again whose answers had become old.
    pub repeats: u8,
}

impl GroupEntry {
    /// Returns what was requested before VmInstances to remove are chosen for the group as it is now.
    #[must_use]
    pub fn census_of(&self, generation: i64) -> Option<Census> {
        self.census.filter(|census| census.generation == generation)
    }
}

impl InFlight {
    /// Records the response to a request for a group's folder, unless the group is gone.
    pub fn folder_answered(&self, uid: &str, key: &Key, request: Option<FolderRequest>) {
        if self.lock().groups.contains_key(uid) {
            self.set_folder_request(uid, key, request);
        }
    }

    /// Records how far a change of a group's folder is; `None`: its outcome is dealt with.
    pub fn set_folder_request(&self, uid: &str, key: &Key, request: Option<FolderRequest>) {
        let mut inner = self.lock();
        inner.keys.insert(uid.to_owned(), Waiter::Group(key.clone()));
        let task = |request: &Option<FolderRequest>| match request {
            Some(FolderRequest::Task(task)) => Some(task.clone()),
            _ => None,
        };
        let entry = inner.groups.entry(uid.to_owned()).or_default();
        let (old, new) = (task(&entry.request), task(&request));
        (entry.request, entry.refresh) = (request, None);
        if let Some(task) = old {
            inner.unlink(&task, uid);
        }
        if let Some(task) = new {
            inner.link(task, uid);
        }
    }

    /// Records that the group waits for this refresh of the inventory.
    pub fn group_refreshing(&self, uid: &str, key: &Key, ticket: Ticket) {
        self.await_refresh(uid, key, ticket, |entry| entry.refresh = Some(ticket));
    }

    /// Has the group woken when this refresh of the inventory is served, and changes its entry.
    fn await_refresh(&self, uid: &str, key: &Key, ticket: Ticket, change: impl FnOnce(&mut GroupEntry)) {
        let mut inner = self.lock();
        inner.keys.insert(uid.to_owned(), Waiter::Group(key.clone()));
        change(inner.groups.entry(uid.to_owned()).or_default());
        inner.tickets.entry(ticket).or_default().insert(uid.to_owned());
    }

    /// Records that VmInstances to remove are chosen after this refresh of the inventory, for the group of this generation.
    pub fn choosing(&self, uid: &str, key: &Key, generation: i64, ticket: Ticket) {
        let census = Census { generation, ticket, repeats: 0 };
        self.await_refresh(uid, key, ticket, |entry| entry.census = Some(census));
    }

    /// Records that machines are looked up again before VmInstances to remove are chosen.
    pub fn choosing_again(&self, uid: &str) {
        if let Some(census) = self.lock().groups.get_mut(uid).and_then(|entry| entry.census.as_mut()) {
            census.repeats = census.repeats.saturating_add(1);
        }
    }

    /// Records that VmInstances were chosen: for others, the vCenter is asked again.
    pub fn chosen(&self, uid: &str) {
        if let Some(entry) = self.lock().groups.get_mut(uid) {
            entry.census = None;
        }
    }

    /// Records that this process has created the group's folder, unless the group is gone.
    pub fn folder_created(&self, uid: &str) {
        if let Some(entry) = self.lock().groups.get_mut(uid) {
            entry.created = true;
        }
    }

    /// Records the clones that the original operator may have requested.
    pub fn watch_originals(&self, uid: &str, clones: HashSet<MoRef>, since: SystemTime) {
        let awaited = OriginalsAwaited { clones, since, refresh: None };
        self.lock().groups.entry(uid.to_owned()).or_default().originals = Some(awaited);
    }

    /// Records that the machines of the original operator are looked for after this refresh of the inventory.
    pub fn refresh_originals(&self, uid: &str, key: &Key, ticket: Ticket) {
        self.await_refresh(uid, key, ticket, |entry| {
            if let Some(awaited) = &mut entry.originals {
                awaited.refresh = Some(ticket);
            }
        });
    }

    /// Records that the finalizer of the original operator is removed.
    pub fn finished_adoption(&self, uid: &str) {
        self.lock().groups.entry(uid.to_owned()).or_default().adopted = true;
    }

    /// Forgets a group that is gone.
    pub fn forget_group(&self, uid: &str) {
        let mut inner = self.lock();
        if let Some(GroupEntry { request: Some(FolderRequest::Task(task)), .. }) = inner.groups.remove(uid) {
            inner.unlink(&task, uid);
        }
        inner.keys.remove(uid);
    }
}
