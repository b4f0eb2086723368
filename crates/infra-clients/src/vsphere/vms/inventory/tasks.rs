//! The tasks in the inventory: what the collector reports of them, and how long each is kept.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::change::Change;
use super::{Inventory, MoRef};
use crate::vsphere::Error;
use crate::vsphere::properties::{ObjectUpdate, UpdateKind};
use crate::vsphere::task::{Task, TaskState};

/// How long a task that this client submitted is kept after it ended, though vCenter may have dropped it.
const SUBMITTED_LIFE: Duration = Duration::from_mins(10);
/// How long any other task is kept after it ended: the collector may report a task of this client before the answer that names it arrives, or
/// that answer may never come, which is known after the time for a call.
const UNCLAIMED_LIFE: Duration = Duration::from_mins(3);

#[derive(Debug)]
pub(super) struct TaskEntry {
    pub(super) task: Arc<Task>,
    /// When this client submitted it.
    pub(super) submitted: Option<Instant>,
    /// When it was seen to have ended.
    ended: Option<Instant>,
    /// Whether the collector watches it.
    pub(super) watched: bool,
    /// The object that it removes, of a task that this client submitted.
    removes: Option<MoRef>,
}

impl TaskEntry {
    fn new(task: Arc<Task>) -> Self {
        Self { task, submitted: None, ended: None, watched: false, removes: None }
    }

    /// Returns the object that the task has removed.
    fn removed(&self) -> Option<&MoRef> {
        self.removes.as_ref().filter(|_| self.task.state == TaskState::Success)
    }
}

impl Inventory {
    /// Records a task whose reference vCenter has just returned. Sends no change: the submitter knows.
    pub(in crate::vsphere::vms) fn task_submitted(&mut self, moref: &MoRef, now: Instant) {
        let entry = self.tasks.entry(moref.clone()).or_insert_with(|| {
            let queued_at = Some(SystemTime::now());
            TaskEntry::new(Arc::new(Task { queued_at, ..Task::queued(moref.clone()) }))
        });
        entry.submitted = Some(now);
        if entry.task.state.ended() {
            entry.ended = Some(now);
        }
    }

    /// Records a task that removes an object, as [`Inventory::task_submitted`].
    pub(in crate::vsphere::vms) fn removal_submitted(&mut self, moref: &MoRef, object: &MoRef, now: Instant) {
        self.task_submitted(moref, now);
        if let Some(entry) = self.tasks.get_mut(moref) {
            entry.removes = Some(object.clone());
        }
        self.apply_removal(moref);
    }

    /// Removes a folder whose removal has ended if the collector has never reported it: it was created and removed
    /// between two polls, and no update will say so.
    fn apply_removal(&mut self, task: &MoRef) {
        let Some(removed) = self.tasks.get(task).and_then(TaskEntry::removed).cloned() else { return };
        if self.folders.get(&removed).is_some_and(|entry| entry.created.is_some()) {
            self.put_folder(&removed, None, None);
        }
    }

    pub(super) fn apply_task(&mut self, update: &ObjectUpdate, now: Instant) {
        if update.kind == UpdateKind::Leave {
            return self.task_left(&update.obj);
        }
        let known = self.tasks.get(&update.obj).map(|entry| entry.task.clone());
        if update.kind == UpdateKind::Modify && known.is_none() {
            // One that was dropped because it had ended.
            return;
        }
        let task = self.read_task(known.as_deref(), update);
        self.put_task(task, now);
    }

    /// Stores what the collector has reported of a task.
    pub(in crate::vsphere::vms) fn put_task(&mut self, task: Task, now: Instant) {
        let task = Arc::new(task);
        let known = self.tasks.get(&task.moref).map(|entry| entry.task.clone());
        let changed = known.is_none_or(|old| {
            old.state != task.state || old.result != task.result || old.description_id != task.description_id
        });
        let ended = task.state.ended().then_some(now);
        let entry = self.tasks.entry(task.moref.clone()).or_insert_with(|| TaskEntry::new(task.clone()));
        entry.task = task.clone();
        entry.watched = true;
        entry.ended = entry.ended.or(ended);
        self.apply_removal(&task.moref);
        if changed {
            // A fault about an object that is gone says so before, or without, an update of that object.
            let missing = task.error.as_ref().filter(|error| error.is_object_missing());
            self.missing.extend(missing.map(|error| error.object().cloned()));
            self.incomplete |= self.is_power_outdated(&task);
            self.send(&Change::Task(task));
        }
    }

    /// Returns whether a task has failed because its VM is in another power state than the inventory shows: its update was lost, or follows.
    fn is_power_outdated(&self, task: &Task) -> bool {
        let vm = task.entity.as_ref().and_then(|entity| self.vm(entity));
        let existing = task.error.as_ref().and_then(Error::existing_power);
        vm.is_some_and(|vm| existing.is_some() && vm.power != existing)
    }

    fn read_task(&mut self, known: Option<&Task>, update: &ObjectUpdate) -> Task {
        let mut task = known.map_or_else(|| Task::queued(update.obj.clone()), Task::clone);
        task.apply(update, self.clock, |text| self.texts.shared(text));
        task
    }

    pub(in crate::vsphere::vms) fn task_left(&mut self, moref: &MoRef) {
        if let Some(entry) = self.tasks.get_mut(moref) {
            entry.watched = false;
            if entry.submitted.is_none() {
                self.tasks.remove(moref);
            }
        }
    }

    /// Returns the number of tasks submitted by this client that have not ended.
    pub(in crate::vsphere::vms) fn running_tasks(&self) -> usize {
        let ours = self.tasks.values().filter(|entry| entry.submitted.is_some());
        ours.filter(|entry| !entry.task.state.ended()).count()
    }

    /// Returns the tasks submitted by this client before `polled` that have not ended and that the collector does not
    /// watch, because vCenter's list of recent tasks is bounded: they have to be read by reference.
    pub(in crate::vsphere::vms) fn unwatched_tasks(&self, polled: Instant) -> Vec<MoRef> {
        self.tasks
            .iter()
            .filter(|(_, entry)| {
                !entry.watched
                    && !entry.task.state.ended()
                    && entry.submitted.is_some_and(|submitted| submitted < polled)
            })
            .map(|(moref, _)| moref.clone())
            .collect()
    }

    /// Applies what was read of an unwatched task; no update means that vCenter has dropped it.
    pub(in crate::vsphere::vms) fn task_read(
        &mut self,
        moref: &MoRef,
        update: Option<&ObjectUpdate>,
        now: Instant,
    ) {
        if let Some(update) = update {
            self.apply_task(update, now);
            self.task_left(moref);
        } else if let Some(entry) = self.tasks.remove(moref) {
            self.send(&Change::Task(entry.task));
        }
    }

    /// Drops tasks that ended long enough ago.
    pub(super) fn purge_tasks(&mut self, now: Instant) {
        self.tasks.retain(|_, entry| {
            let life = if entry.submitted.is_some() { SUBMITTED_LIFE } else { UNCLAIMED_LIFE };
            entry.ended.is_none_or(|ended| now.saturating_duration_since(ended) < life)
        });
    }
}
