//! What exists for one instance: its machine, its request, and what may be in flight. A function of plain values: the
//! inventory, what the caches say and what this process remembers. `plan` decides about it next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Confirmation, Inventory, Outside, Task, TaskState, Template, Vm};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::Key;

use crate::api::names::{self, Marker};
use crate::api::{OWNER_MARKER, TaskKind, TaskStatus, VmInstance};
use crate::clone_queue::Place;
use crate::in_flight::{Doubt, Entry, RequestState, task_ref};
use crate::memory::{LONGEST_CLONE, Memory};
use crate::vcenter::Vcenter;
use crate::visibility::Blind;

use super::identity::{Look, OutOfSight, find_whereabouts, has_uuid_of, is_back, lost, marker_of, recorded};
use super::seen::{Confirmed, GroupView, InDoubt, Missing, Progress, Refresh, Seen};

/// A clone that was queued this long before the instance was created is not the instance's: the later of the vCenter's clock and this
/// machine's, by which the times of tasks are known, is less behind the clock of Kubernetes.
const CLOCK_SLACK: Duration = Duration::from_mins(10);

/// What an instance is observed in.
pub struct Surroundings<'a> {
    /// What this process remembers.
    pub memory: &'a Memory,
    /// The vCenter's client.
    pub vcenter: &'a dyn Vcenter,
    /// The machines, folders and tasks of the vCenter.
    pub inventory: &'a Inventory,
    /// Why the inventory cannot be trusted.
    pub blind: Option<Blind>,
    /// The group of the instance's group name and UID.
    pub group: Option<GroupView>,
    /// Returns whether the group has more VmInstances than replicas.
    pub has_surplus: &'a dyn Fn() -> bool,
    /// That group exists, and does not parse.
    pub invalid_group: bool,
    /// The vCenter that the group's status names.
    pub group_vcenter: Option<String>,
    /// Returns the instances whose durable status names this task.
    pub recorded_by: &'a dyn Fn(&MoRef) -> Vec<Key>,
    /// Returns whether the machine with this marker is the one of its VmInstance.
    pub is_member: &'a dyn Fn(&Vm, &Marker) -> bool,
    /// The local time.
    pub now: SystemTime,
}

/// Looks at everything that concerns one instance.
#[must_use]
pub fn observe(around: &Surroundings<'_>, instance: &VmInstance) -> Seen {
    let (uid, key) = (instance.uid().unwrap_or_default(), Key::of(instance));
    let Surroundings { memory, inventory, .. } = around;
    let entry = memory.in_flight.get(&uid);
    let place = memory.place(&key);
    let now = Timestamp::try_from(around.now).unwrap_or(Timestamp::UNIX_EPOCH);
    let jam = (place == Place::Waiting).then(|| memory.jam(&instance.spec.group_uid, now)).flatten();
    let seen = Seen {
        tracked: entry.is_some(),
        remembers: entry.as_ref().is_some_and(|entry| entry.machine.is_some()),
        released: memory.in_flight.is_released(&uid),
        group: around.group,
        place,
        jam,
        awaits_template: memory.in_flight.is_looking_for_template(&key),
        invalid_group: around.invalid_group,
        blind: around.blind.clone(),
        request: entry.as_ref().and_then(|entry| request(inventory, entry)),
        task: entry.as_ref().and_then(clone_task).filter(|task| !has_failed(inventory, task)),
        vcenter: inventory.vcenter().map(str::to_owned),
        ..Seen::default()
    };
    if seen.blind.is_some() {
        return seen;
    }
    let marker = Marker::of(&memory.cluster, instance);
    let look = Look { inventory, instance, marker: &marker, group_vcenter: around.group_vcenter.as_deref() };
    let seen =
        Seen { other_vcenter: look.other_vcenter(), vcenter_unrecorded: !look.is_vcenter_recorded(), ..seen };
    match &entry {
        Some(entry) if seen.other_vcenter.is_none() => see(around, &look, entry, seen),
        _ => seen,
    }
}

fn see(around: &Surroundings<'_>, look: &Look<'_>, entry: &Entry, seen: Seen) -> Seen {
    let Surroundings { inventory, vcenter, now, .. } = around;
    let Look { instance, marker, .. } = look;
    let spec = &instance.spec;
    let folder =
        inventory.folder_named(&names::folder(&marker.namespace, &marker.group)).map(|f| f.moref.clone());
    let recorded = recorded(instance);
    let mine = look.machines();
    let namesake = look.namesake().filter(|vm| !mine.iter().any(|machine| machine.moref == vm.moref));
    // A machine whose configuration cannot be read may be the instance's.
    let had = recorded.as_ref().and_then(|moref| inventory.vm(moref));
    let unread = had.or(namesake);
    let unread = unread.filter(|vm| vm.markers.is_none()).map(|vm| vm.moref.clone());
    let stranger = namesake.filter(|vm| vm.markers.is_some());
    // The machine that the instance had, wherever it is in the operator's folder and under whatever name.
    let had = had.filter(|vm| mine.is_empty() && lost(vm, instance, marker).is_some());
    let stranger = had.or(stranger);
    let lost = stranger.and_then(|vm| lost(vm, instance, marker));
    let made_for = stranger.and_then(|vm| marker_of(vm));
    let stranger_of_namesake = made_for.as_ref().is_some_and(|other| other.is_of_namesake(marker));
    let slot = || made_for.and_then(|other| name_of_slot(around, stranger?, &other, marker));
    let stranger_of = if lost.is_none() { slot() } else { None };
    let stranger = stranger.map(|vm| vm.moref.clone());
    let template = if mine.is_empty() { vcenter.template(&spec.template) } else { Template::default() };
    let missing = if mine.is_empty() { find_missing(around, look, entry, &template) } else { Missing::No };
    let has_surplus = mine.is_empty() && (around.has_surplus)();
    let confirmed = match mine.as_slice() {
        [machine] => confirmed(around, &machine.moref),
        _ => Confirmed::Unknown,
    };
    let refresh = Refresh::of(entry.refresh, inventory);
    let doubt = match &entry.doubt {
        Doubt::None => InDoubt::No,
        Doubt::ResponseLost => InDoubt::ResponseLost,
        Doubt::Unexamined => InDoubt::Unexamined(unclaimed_clones(around, instance, &template)),
        Doubt::Watching(tasks) => {
            let unfinished =
                tasks.iter().filter_map(|task| inventory.task(task)).filter(|task| may_end(task, *now));
            InDoubt::Watching(unfinished.count())
        }
    };
    Seen {
        has_surplus,
        folder,
        mine,
        unread,
        stranger,
        stranger_of_namesake,
        stranger_of,
        lost,
        missing,
        confirmed,
        doubt,
        refresh,
        template,
        ..seen
    }
}

/// Returns the name of the VmInstance of another slot of the group whose machine this is. A copy has the marker as well.
fn name_of_slot(around: &Surroundings<'_>, vm: &Vm, other: &Marker, marker: &Marker) -> Option<String> {
    let is_its_machine = other.is_of_other_slot(marker) && (around.is_member)(vm, other);
    is_its_machine.then(|| other.instance().name().to_owned())
}

fn confirmed(around: &Surroundings<'_>, moref: &MoRef) -> Confirmed {
    match around.inventory.confirmed(moref) {
        Some(Confirmation::Same) => Confirmed::Same,
        Some(Confirmation::Changed) => Confirmed::Changed,
        Some(Confirmation::Unread) => Confirmed::Unread,
        None if around.vcenter.is_looking_up(moref) => Confirmed::Reading,
        None => Confirmed::Unknown,
    }
}

/// Returns what is known of the machine that the inventory does not show: of the first that may exist, else of the first.
fn find_missing(around: &Surroundings<'_>, look: &Look<'_>, entry: &Entry, template: &Template) -> Missing {
    let (instance, owner) = (look.instance, look.marker.to_string());
    // What a clone has made may be out of sight: its folder may have been moved meanwhile.
    let own = own_result(around.inventory, entry).into_iter().chain(recorded(instance));
    let own = own.chain(entry.machine.clone()).map(|moref| missing(around, instance, moref, &owner));
    let others = unclaimed_results(around, instance, template, entry).into_iter();
    let mut all = own.chain(others.map(|moref| missing_result(around, instance, moref, &owner)));
    let first = all.next().unwrap_or_default();
    if first.is_open() { first } else { all.find(Missing::is_open).unwrap_or(first) }
}

/// Returns what is known of a machine that is the instance's by its reference.
fn missing(around: &Surroundings<'_>, instance: &VmInstance, moref: MoRef, owner: &str) -> Missing {
    let outside = match read(around, instance, &moref) {
        Ok(outside) => outside,
        Err(unknown) => return unknown,
    };
    match find_whereabouts(outside, instance, owner) {
        None => Missing::Gone,
        Some(OutOfSight::Moved) => Missing::Elsewhere(moref),
        Some(OutOfSight::Unclear) => Missing::Unclear(moref),
    }
}

/// Returns what is known of a machine that a clone has made which no record names: it is the instance's only if it has its marker and its
/// instanceUuid. A copy has the marker as well, and the clones of others may look like the instance's.
fn missing_result(around: &Surroundings<'_>, instance: &VmInstance, moref: MoRef, owner: &str) -> Missing {
    match read(around, instance, &moref) {
        Ok(Outside::Elsewhere(vm)) if has_uuid_of(vm, instance) && vm.marker(OWNER_MARKER) == Some(owner) => {
            Missing::Elsewhere(moref)
        }
        Ok(_) => Missing::No,
        Err(unknown) => unknown,
    }
}

/// Returns what the vCenter has answered of a machine that the inventory does not show, else what is known without an answer.
fn read<'a>(around: &Surroundings<'a>, instance: &VmInstance, moref: &MoRef) -> Result<&'a Outside, Missing> {
    let Surroundings { inventory, vcenter, memory, .. } = around;
    if inventory.vm(moref).is_some() {
        // It is in the folder, with another marker or none: it is not the instance's any more.
        return Err(Missing::No);
    }
    match inventory.outside(moref) {
        // Another instance may have asked: this one is to be woken as well.
        None if vcenter.is_looking_up(moref) && memory.in_flight.is_awaited(moref, &Key::of(instance)) => {
            Err(Missing::LookingUp)
        }
        None => Err(Missing::Unknown(moref.clone())),
        // It has come back, or its folder has gone as well: the inventory is about to show which.
        Some(outside) if is_back(outside, inventory) => Err(Missing::LookingUp),
        Some(outside) => Ok(outside),
    }
}

fn request(inventory: &Inventory, entry: &Entry) -> Option<(TaskKind, Progress)> {
    Some(match entry.request.as_ref()? {
        RequestState::Sending(kind) => (*kind, Progress::Sending),
        RequestState::Failed(kind, fault) => (*kind, Progress::Failed(fault.clone())),
        RequestState::Task(task) => {
            (task.kind, progress(inventory.task(&task_ref(&task.r#ref)).map(AsRef::as_ref)))
        }
    })
}

/// Returns what the last clone of the instance has made.
fn own_result(inventory: &Inventory, entry: &Entry) -> Option<MoRef> {
    made(inventory.task(&task_ref(&clone_task(entry)?.r#ref))?).cloned()
}

/// Returns what clones have made that may be the instance's: those that are watched, and those that ended before the inventory was searched.
/// None while its own clone is known.
fn unclaimed_results(
    around: &Surroundings<'_>,
    instance: &VmInstance,
    template: &Template,
    entry: &Entry,
) -> Vec<MoRef> {
    let inventory = around.inventory;
    let watched = match &entry.doubt {
        _ if entry.request.is_some() => return Vec::new(),
        Doubt::None | Doubt::ResponseLost => return Vec::new(),
        Doubt::Unexamined => None,
        Doubt::Watching(tasks) => Some(tasks),
    };
    let watched = watched.into_iter().flatten().filter_map(|task| inventory.task(task)).map(Arc::as_ref);
    let is_out_of_sight = |task: &Task| made(task).is_some_and(|machine| inventory.vm(machine).is_none());
    let ended = unclaimed(around, instance, template, is_out_of_sight);
    watched.chain(ended).filter_map(made).cloned().collect()
}

/// Returns the machine that a task has made.
fn made(task: &Task) -> Option<&MoRef> {
    let result = task.result.as_ref().filter(|_| task.state == TaskState::Success);
    result.filter(|made| made.kind() == "VirtualMachine")
}

/// Returns whether a clone has failed: it has made nothing, and another one may be made from another spec.
fn has_failed(inventory: &Inventory, task: &TaskStatus) -> bool {
    matches!(progress(inventory.task(&task_ref(&task.r#ref)).map(AsRef::as_ref)), Progress::Failed(_))
}

fn clone_task(entry: &Entry) -> Option<TaskStatus> {
    match &entry.request {
        Some(RequestState::Task(task)) if task.kind == TaskKind::Clone => Some(task.clone()),
        _ => None,
    }
}

fn progress(task: Option<&Task>) -> Progress {
    match task {
        Some(Task { state: TaskState::Queued | TaskState::Running, .. }) => Progress::Running,
        Some(Task { state: TaskState::Error, error: Some(error), .. }) => Progress::Failed(error.clone()),
        Some(_) => Progress::Succeeded,
        None => Progress::Forgotten,
    }
}

/// Returns whether a task may still have an effect that nothing else prevents. A clone that hangs must not hold up others without
/// limit: after [`LONGEST_CLONE`] the operator relies on vCenter's check of names, since another clone has the same name and
/// folder.
fn may_end(task: &Task, now: SystemTime) -> bool {
    let age = task.queued_at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
    !task.state.ended() && age < LONGEST_CLONE
}

/// Returns whether a task may be of this user: of one whose user is not known, it may.
pub fn may_be_by(task: &Task, user: Option<&str>) -> bool {
    user.zip(task.user.as_deref()).is_none_or(|(ours, theirs)| ours.eq_ignore_ascii_case(theirs))
}

/// Finds the unfinished clones that may be the instance's.
fn unclaimed_clones(around: &Surroundings<'_>, instance: &VmInstance, template: &Template) -> HashSet<MoRef> {
    let unfinished = unclaimed(around, instance, template, |task| may_end(task, around.now));
    unfinished.into_iter().map(|task| task.moref.clone()).collect()
}

/// Finds the clones that may be the instance's: of its template, by this operator's user, since shortly before it was created, and not known to
/// be of another instance. `matters`: which of all tasks.
fn unclaimed<'a>(
    around: &Surroundings<'a>,
    instance: &VmInstance,
    template: &Template,
    matters: impl Fn(&Task) -> bool,
) -> Vec<&'a Task> {
    let created = instance.creation_timestamp().map_or(SystemTime::UNIX_EPOCH, |time| time.0.into());
    let since = created.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
    let template = match template {
        Template::Known(moref) => Some(moref),
        _ => None,
    };
    let user = around.vcenter.user();
    let key = Key::of(instance);
    // One that only its own status names, which came after this process tracked it, is its own.
    let is_of_another = |task: &MoRef| {
        let memory = around.memory;
        memory.in_flight.is_claimed(task)
            || memory.is_left(task)
            || (around.recorded_by)(task).iter().any(|other| *other != key)
    };
    let clones = around
        .inventory
        .tasks()
        .map(AsRef::as_ref)
        .filter(|task| matters(task) && &*task.description_id == "VirtualMachine.clone")
        .filter(|task| task.queued_at.is_none_or(|at| at >= since))
        // A clone of unknown template or user stays a candidate.
        .filter(|task| {
            template.is_none_or(|template| task.entity.as_ref().is_none_or(|entity| entity == template))
        })
        .filter(|task| may_be_by(task, user.as_deref()))
        .filter(|task| !is_of_another(&task.moref));
    clones.collect()
}

#[cfg(test)]
mod tests;
