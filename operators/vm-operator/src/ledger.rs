//! What this process asked of the vCenter on behalf of each instance, and has not yet seen through.
//!
//! The watch cache lags behind our own writes, so the ledger, not the cached status, says whether a task
//! is under way. After a restart an entry starts from the instance's durable status and is in doubt
//! until every clone that might be its own has ended.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use infra_clients::vsphere::{MoRef, PowerState};
use kube::runtime::reflector::ObjectRef;

use crate::api::{TaskStatus, VmInstance};

/// Whether clones may be under way that no record names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Doubt {
    /// An earlier process may have asked for some; nobody has looked yet.
    #[default]
    Unexamined,
    /// A request was sent and its reply lost; the inventory has not been refreshed since.
    ReplyLost,
    /// These were unfinished and nobody's when we looked.
    Watching(HashSet<MoRef>),
    /// No.
    None,
}

/// One instance's entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whom to wake.
    pub owner: ObjectRef<VmInstance>,
    /// The last task asked for, until its outcome is dealt with.
    pub task: Option<TaskStatus>,
    /// Whether there may be clones beside it.
    pub doubt: Doubt,
    /// A request is being sent at this moment.
    pub sending: bool,
    /// A machine we had and looked for: it is gone for good.
    pub gone: Option<MoRef>,
    /// A machine we had and looked for: it stands outside the operator's folder, and was in this power state.
    pub moved: Option<(MoRef, Option<PowerState>)>,
}

/// All entries, by the instance's UID. Every method is short and none waits.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<String, Entry>,
    tasks: HashMap<MoRef, String>,
    /// Instances that were seen through to their end, as long as the cache may still show them.
    closed: HashMap<String, Instant>,
}

impl Inner {
    fn adopt(&mut self, uid: &str, instance: &VmInstance) -> Option<MoRef> {
        if self.entries.contains_key(uid) {
            return None;
        }
        let task = instance.status.as_ref().and_then(|s| s.task.clone());
        let followed = task.as_ref().map(|t| task_ref(&t.r#ref));
        if let Some(task) = &followed {
            self.tasks.insert(task.clone(), uid.to_owned());
        }
        let doubt = Doubt::Unexamined;
        let owner = ObjectRef::from(instance);
        let entry = Entry { owner, task, doubt, sending: false, gone: None, moved: None };
        self.entries.insert(uid.to_owned(), entry);
        followed
    }
}

/// The watch cache is never further behind than this.
const CACHE_LAG: Duration = Duration::from_mins(5);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code that holds the lock can leave the maps half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the entry of an instance that this process has just made: nothing was ever asked for it.
    pub fn open_new(&self, uid: &str, owner: ObjectRef<VmInstance>) {
        let entry = Entry { owner, task: None, doubt: Doubt::None, sending: false, gone: None, moved: None };
        self.lock().entries.entry(uid.to_owned()).or_insert(entry);
    }

    /// The entry of an instance; made from its durable status where this process has none.
    pub fn entry(&self, uid: &str, instance: &VmInstance) -> Entry {
        let mut inner = self.lock();
        inner.adopt(uid, instance);
        inner.entries[uid].clone()
    }

    /// Makes the entry of an instance that this process has not seen before, and returns the task that its
    /// durable status names: one that an earlier process asked for.
    pub fn adopt(&self, uid: &str, instance: &VmInstance) -> Option<MoRef> {
        self.lock().adopt(uid, instance)
    }

    /// Whether anything was asked for this instance that is not seen through.
    pub fn is_busy(&self, uid: &str) -> bool {
        self.lock().entries.get(uid).is_some_and(|e| {
            e.sending || e.task.is_some() || matches!(e.doubt, Doubt::ReplyLost | Doubt::Watching(_))
        })
    }

    fn change(&self, uid: &str, f: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().entries.get_mut(uid) {
            f(entry);
        }
    }

    /// A request is about to be sent.
    pub fn sending(&self, uid: &str) {
        self.change(uid, |e| e.sending = true);
    }

    /// The request was refused, or never sent.
    pub fn not_sent(&self, uid: &str) {
        self.change(uid, |e| e.sending = false);
    }

    /// The request was sent and its reply lost.
    pub fn reply_lost(&self, uid: &str) {
        self.change(uid, |e| {
            e.sending = false;
            e.doubt = Doubt::ReplyLost;
        });
    }

    /// The request was answered with a task.
    pub fn asked(&self, uid: &str, task: TaskStatus) {
        let mut inner = self.lock();
        inner.tasks.insert(task_ref(&task.r#ref), uid.to_owned());
        if let Some(entry) = inner.entries.get_mut(uid) {
            entry.sending = false;
            entry.task = Some(task);
        }
    }

    /// The task's outcome is dealt with.
    pub fn settle_task(&self, uid: &str) {
        let mut inner = self.lock();
        if let Some(task) = inner.entries.get_mut(uid).and_then(|e| e.task.take()) {
            inner.tasks.remove(&task_ref(&task.r#ref));
        }
    }

    /// What is now thought of clones that no record names.
    pub fn set_doubt(&self, uid: &str, doubt: Doubt) {
        self.change(uid, |e| e.doubt = doubt);
    }

    /// The machine was looked for and is gone.
    pub fn machine_gone(&self, uid: &str, moref: MoRef) {
        self.change(uid, |e| (e.gone, e.moved) = (Some(moref), None));
    }

    /// The machine was looked for and stands elsewhere, in this power state. None: look again.
    pub fn machine_moved(&self, uid: &str, machine: Option<(MoRef, Option<PowerState>)>) {
        self.change(uid, |e| e.moved = machine);
    }

    /// Nothing of the instance is left in the vCenter.
    pub fn close(&self, uid: &str) {
        let mut inner = self.lock();
        if let Some(task) = inner.entries.remove(uid).and_then(|e| e.task) {
            inner.tasks.remove(&task_ref(&task.r#ref));
        }
        inner.closed.retain(|_, since| since.elapsed() < CACHE_LAG);
        inner.closed.insert(uid.to_owned(), Instant::now());
    }

    /// Whether the instance was closed, and is only looked at once more because the cache lags behind.
    pub fn is_closed(&self, uid: &str) -> bool {
        self.lock().closed.contains_key(uid)
    }

    /// Whose task this is.
    pub fn owner_of(&self, task: &MoRef) -> Option<ObjectRef<VmInstance>> {
        let inner = self.lock();
        inner.tasks.get(task).and_then(|uid| inner.entries.get(uid)).map(|e| e.owner.clone())
    }

    /// Who waits for a clone that may be theirs.
    pub fn watchers_of(&self, task: &MoRef) -> Vec<ObjectRef<VmInstance>> {
        let watches = |e: &&Entry| matches!(&e.doubt, Doubt::Watching(set) if set.contains(task));
        self.lock().entries.values().filter(watches).map(|e| e.owner.clone()).collect()
    }
}

/// A task's reference, from the form that statuses hold.
#[must_use]
pub fn task_ref(id: &str) -> MoRef {
    MoRef::new("Task", id)
}
