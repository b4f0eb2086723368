//! What this process has requested from the vCenter and not seen through, for each instance and group.
//!
//! The caches lag behind requests, so this memory, and not a cached status, says whether something is in flight. After a
//! restart an instance's entry starts from its durable status, and is in doubt until every clone that may be its own has
//! ended. Every method is short and none waits. Entries change in `apply` and when a response arrives, never in `observe`.

mod groups;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use infra_clients::vsphere::vms::Ticket;
use infra_clients::vsphere::{Error as Fault, MoRef};
use k8s_openapi::jiff::Timestamp;
use operator_kit::Key;

pub use groups::{FolderChange, FolderRequest, GroupEntry};

use crate::api::{TaskKind, TaskStatus};

/// Whether clones may be in flight that no record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// No.
    None,
    /// An earlier process may have requested some; the inventory has not been searched for them.
    Unexamined,
    /// A request was sent and its response lost; the inventory has not been refreshed since.
    ResponseLost,
    /// These were unfinished and unclaimed when the inventory was searched.
    Watching(HashSet<MoRef>),
}

/// How far the last request is.
#[derive(Clone, Debug)]
pub enum RequestState {
    /// In the queue, or sent and not answered.
    Sending(TaskKind),
    /// Answered with a task.
    Task(TaskStatus),
    /// Refused, or not answered.
    Failed(TaskKind, Fault),
}

/// An instance's entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The last request, until its outcome is dealt with.
    pub request: Option<RequestState>,
    /// Whether there may be clones beside it.
    pub doubt: Doubt,
    /// The refresh of the inventory that the instance waits for, or has waited for.
    pub refresh: Option<Ticket>,
    /// The machine that was seen last, which no status may name yet: the API server may refuse to store one.
    pub machine: Option<MoRef>,
}

impl Entry {
    fn new(doubt: Doubt) -> Self {
        Self { request: None, doubt, refresh: None, machine: None }
    }
}

/// All entries, by the UID of their object.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    groups: HashMap<String, GroupEntry>,
    /// The instanceUuids of VmInstances that this process creates: nothing was requested for them before.
    created: HashMap<Key, String>,
    /// The UID of the instance that each task or unclaimed clone concerns.
    tasks: HashMap<MoRef, HashSet<String>>,
    keys: HashMap<String, Waiter>,
    /// UIDs of instances whose machine was reported as released.
    released: HashSet<String>,
    tickets: BTreeMap<Ticket, HashSet<String>>,
    /// The instances that wait for a look-up of each machine.
    look_ups: HashMap<MoRef, HashSet<Key>>,
    /// The instances that wait for a template.
    templates: HashSet<Key>,
}

/// An object that waits for something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Waiter {
    /// A VmInstance.
    Instance(Key),
    /// A VmGroup.
    Group(Key),
}

// === reading ===

impl InFlight {
    /// Returns an instance's entry; `None` before [`track`](Self::track).
    #[must_use]
    pub fn get(&self, uid: &str) -> Option<Entry> {
        self.lock().entries.get(uid).cloned()
    }

    /// Returns a group's entry.
    #[must_use]
    pub fn group(&self, uid: &str) -> GroupEntry {
        self.lock().groups.get(uid).cloned().unwrap_or_default()
    }

    /// Returns whether anything was requested for this instance that is not seen through.
    #[must_use]
    pub fn is_busy(&self, uid: &str) -> bool {
        self.lock().entries.get(uid).is_some_and(|entry| {
            entry.request.is_some() || matches!(entry.doubt, Doubt::ResponseLost | Doubt::Watching(_))
        })
    }

    /// Returns the instances that are being cloned, and since when.
    #[must_use]
    pub fn clones(&self) -> HashMap<Key, Timestamp> {
        let inner = self.lock();
        let clones =
            inner.entries.iter().filter_map(|(uid, entry)| match (&entry.request, inner.keys.get(uid)?) {
                (Some(RequestState::Task(task)), Waiter::Instance(key)) if task.kind == TaskKind::Clone => {
                    Some((key.clone(), task.submitted_at.0))
                }
                _ => None,
            });
        clones.collect()
    }

    /// Returns whether an event has reported that the instance's machine is released.
    #[must_use]
    pub fn is_released(&self, uid: &str) -> bool {
        self.lock().released.contains(uid)
    }

    /// Returns whether this process submitted the task for some instance.
    #[must_use]
    pub fn is_claimed(&self, task: &MoRef) -> bool {
        let inner = self.lock();
        let owners = inner.tasks.get(task).into_iter().flatten();
        owners.filter_map(|uid| inner.entries.get(uid)).any(|entry| task_of(entry).as_ref() == Some(task))
    }

    /// Returns the objects that a task concerns: whose it is, and those that it may be of.
    #[must_use]
    pub fn waiters(&self, task: &MoRef) -> Vec<Waiter> {
        let inner = self.lock();
        let uids = inner.tasks.get(task).into_iter().flatten();
        uids.filter_map(|uid| inner.keys.get(uid).cloned()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that holds the lock leaves the maps half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === instances ===

impl InFlight {
    /// Records that this process is about to create this VmInstance with this instanceUuid.
    pub fn creating(&self, key: &Key, instance_uuid: &str) {
        self.lock().created.insert(key.clone(), instance_uuid.to_owned());
    }

    /// Records that the VmInstance was not created, or may not have been.
    pub fn not_created(&self, key: &Key) {
        self.lock().created.remove(key);
    }

    /// Creates the entry of an instance. `task` is the one that its durable status names.
    pub fn track(&self, uid: &str, key: &Key, instance_uuid: &str, task: Option<TaskStatus>) {
        let mut inner = self.lock();
        let created = inner.created.remove(key).is_some_and(|created| created == instance_uuid);
        let doubt = if created { Doubt::None } else { Doubt::Unexamined };
        let entry = Entry { request: task.map(RequestState::Task), ..Entry::new(doubt) };
        inner.keys.insert(uid.to_owned(), Waiter::Instance(key.clone()));
        inner.put(uid, entry);
    }

    /// Records that a request is in the queue or sent. It ends what the last one left.
    pub fn sending(&self, uid: &str, kind: TaskKind) {
        self.lock().change(uid, |entry| {
            entry.request = Some(RequestState::Sending(kind));
            entry.refresh = None;
            if kind == TaskKind::Clone {
                entry.machine = None;
            }
        });
    }

    /// Records that the request was answered with a task.
    pub fn submitted(&self, uid: &str, task: TaskStatus) {
        self.lock().change(uid, |entry| entry.request = Some(RequestState::Task(task)));
    }

    /// Records that the request failed; with `in_doubt`, it may have taken effect.
    pub fn failed(&self, uid: &str, kind: TaskKind, fault: Fault, in_doubt: bool) {
        self.lock().change(uid, |entry| {
            entry.request = Some(RequestState::Failed(kind, fault));
            if in_doubt {
                entry.doubt = Doubt::ResponseLost;
            }
        });
    }

    /// Forgets the request: its outcome is dealt with.
    pub fn settle(&self, uid: &str) {
        self.settle_with(uid, None);
    }

    /// Forgets the request, and remembers the machine that is there, if one is, until another one is made.
    pub fn settle_with(&self, uid: &str, machine: Option<MoRef>) {
        self.lock().change(uid, |entry| {
            (entry.request, entry.refresh) = (None, None);
            entry.machine = machine.or(entry.machine.take());
        });
    }

    /// Remembers the machine that was found: no clone is in doubt.
    pub fn found(&self, uid: &str, machine: MoRef) {
        self.lock().change(uid, |entry| {
            (entry.doubt, entry.refresh, entry.machine) = (Doubt::None, None, Some(machine));
        });
    }

    /// Forgets the machine of the instance.
    pub fn forget_machine(&self, uid: &str) {
        self.lock().change(uid, |entry| entry.machine = None);
    }

    /// Sets what is known of clones that no record names.
    pub fn set_doubt(&self, uid: &str, doubt: Doubt) {
        self.lock().change(uid, |entry| (entry.doubt, entry.refresh) = (doubt, None));
    }

    /// Records that the instance waits for this refresh of the inventory.
    pub fn refreshing(&self, uid: &str, ticket: Ticket) {
        let mut inner = self.lock();
        inner.change(uid, |entry| entry.refresh = Some(ticket));
        inner.tickets.entry(ticket).or_default().insert(uid.to_owned());
    }

    /// Records that the instance waits for a look-up of this machine.
    pub fn looking_up(&self, machine: &MoRef, key: &Key) {
        self.lock().look_ups.entry(machine.clone()).or_default().insert(key.clone());
    }

    /// Returns whether the instance waits for a look-up of this machine.
    #[must_use]
    pub fn is_awaited(&self, machine: &MoRef, key: &Key) -> bool {
        self.lock().look_ups.get(machine).is_some_and(|keys| keys.contains(key))
    }

    /// Returns the instances that waited for a look-up of this machine, and forgets that they wait.
    pub fn looked_up(&self, machine: &MoRef) -> HashSet<Key> {
        self.lock().look_ups.remove(machine).unwrap_or_default()
    }

    /// Records that the instance waits for a template.
    pub fn looking_for_template(&self, key: &Key) {
        self.lock().templates.insert(key.clone());
    }

    /// Returns whether the instance waits for a template.
    #[must_use]
    pub fn is_looking_for_template(&self, key: &Key) -> bool {
        self.lock().templates.contains(key)
    }

    /// Returns the instances that waited for templates, and forgets that they wait.
    pub fn found_templates(&self) -> HashSet<Key> {
        std::mem::take(&mut self.lock().templates)
    }

    /// Records that an event has reported that the instance's machine is released.
    pub fn set_released(&self, uid: &str) {
        self.lock().released.insert(uid.to_owned());
    }

    /// Forgets an instance that is gone, and returns its key.
    pub fn forget(&self, uid: &str) -> Option<Key> {
        let mut inner = self.lock();
        inner.take(uid);
        inner.released.remove(uid);
        match inner.keys.remove(uid) {
            Some(Waiter::Instance(key)) => Some(key),
            _ => None,
        }
    }
}

impl InFlight {
    /// Returns the objects that waited for refreshes up to this one, and forgets that they wait.
    pub fn refreshed(&self, ticket: Ticket) -> Vec<Waiter> {
        let mut inner = self.lock();
        let mut served = Vec::new();
        while let Some(first) = inner.tickets.first_entry().filter(|first| *first.key() <= ticket) {
            served.extend(first.remove());
        }
        served.iter().filter_map(|uid| inner.keys.get(uid).cloned()).collect()
    }
}

impl Inner {
    fn change(&mut self, uid: &str, f: impl FnOnce(&mut Entry)) {
        if let Some(mut entry) = self.take(uid) {
            f(&mut entry);
            self.put(uid, entry);
        }
    }

    fn take(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.entries.remove(uid)?;
        for task in tasks_of(&entry) {
            self.unlink(&task, uid);
        }
        Some(entry)
    }

    fn put(&mut self, uid: &str, entry: Entry) {
        for task in tasks_of(&entry) {
            self.link(task, uid);
        }
        self.entries.insert(uid.to_owned(), entry);
    }

    fn link(&mut self, task: MoRef, uid: &str) {
        self.tasks.entry(task).or_default().insert(uid.to_owned());
    }

    fn unlink(&mut self, task: &MoRef, uid: &str) {
        if let Some(uids) = self.tasks.get_mut(task) {
            uids.remove(uid);
            if uids.is_empty() {
                self.tasks.remove(task);
            }
        }
    }
}

/// Returns a task's reference, from the form that statuses hold.
#[must_use]
pub fn task_ref(id: &str) -> MoRef {
    MoRef::new("Task", id)
}

/// The task that is the entry's own.
fn task_of(entry: &Entry) -> Option<MoRef> {
    match &entry.request {
        Some(RequestState::Task(task)) => Some(task_ref(&task.r#ref)),
        _ => None,
    }
}

/// Returns every task that the entry waits for.
fn tasks_of(entry: &Entry) -> Vec<MoRef> {
    let watched = match &entry.doubt {
        Doubt::Watching(tasks) => tasks.iter().cloned().collect(),
        _ => Vec::new(),
    };
    task_of(entry).into_iter().chain(watched).collect()
}

#[cfg(test)]
mod copies;
#[cfg(test)]
mod tests;
