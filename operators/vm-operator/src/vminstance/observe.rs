//! What exists for one instance: its machine, its request, and what may be in flight. A function of plain values: the
//! inventory, what the caches say and what this process remembers. `plan` decides about it next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use infra_clients::vsphere::vms::{Connection, Folder, Inventory, Outside, Task, TaskState, Template, Vm};
use infra_clients::vsphere::{MoRef, PowerState};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::{Key, conditions};

use crate::api::names::{self, Marker};
use crate::api::{
    FINALIZER, OWNER_MARKER, REVISION_MARKER, TaskKind, TaskStatus, VmInstance, condition, reason,
};
use crate::clone_queue::Place;
use crate::in_flight::{Doubt, Entry, RequestState, task_ref};
use crate::memory::{LONGEST_CLONE, Memory};
use crate::vcenter::Vcenter;
use crate::visibility::Blind;

use super::seen::{
    AnotherVcenter, Confirmed, GroupView, InDoubt, Lost, Machine, Missing, Progress, Refresh, Seen,
};

/// A clone that was queued this long before the instance was created is not the instance's: the clocks of the vCenter and of
/// Kubernetes are less apart. Where they are not, vCenter's check of names still prevents a second machine.
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
    /// That group exists, and does not parse.
    pub invalid_group: bool,
    /// The vCenter that the group's status names.
    pub group_vcenter: Option<String>,
    /// Returns the instances whose durable status names this task.
    pub recorded_by: &'a dyn Fn(&MoRef) -> Vec<Key>,
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
        adopted: entry.is_some(),
        released: memory.in_flight.is_released(&uid),
        group: around.group,
        place,
        jam,
        awaits_template: memory.in_flight.is_looking_for_template(&key),
        invalid_group: around.invalid_group,
        blind: around.blind.clone(),
        request: entry.as_ref().and_then(|entry| request(inventory, entry)),
        task: entry.as_ref().and_then(clone_task),
        vcenter: inventory.vcenter().map(str::to_owned),
        ..Seen::default()
    };
    if seen.blind.is_some() {
        return seen;
    }
    let seen = Seen { other_vcenter: other_vcenter(around, instance), ..seen };
    match &entry {
        Some(entry) if seen.other_vcenter.is_none() => look(around, instance, entry, seen),
        _ => seen,
    }
}

fn look(around: &Surroundings<'_>, instance: &VmInstance, entry: &Entry, seen: Seen) -> Seen {
    let Surroundings { inventory, vcenter, now, .. } = around;
    let marker = &Marker::of(&around.memory.cluster, instance);
    let spec = &instance.spec;
    let folder =
        inventory.folder_named(&names::folder(&marker.namespace, &marker.group)).map(|f| f.moref.clone());
    let recorded = recorded(instance);
    let owner = marker.to_string();
    let mine = machines(inventory, instance, marker);
    let original = original_folder(inventory, instance, marker);
    let mut folders = folder.iter().chain(original.map(|folder| &folder.moref));
    let namesake = folders.find_map(|folder| inventory.vm_named(folder, &spec.vm_name));
    let namesake = namesake.filter(|vm| !mine.iter().any(|machine| machine.moref == vm.moref));
    // A machine whose configuration cannot be read may be the instance's.
    let had = recorded.as_ref().and_then(|moref| inventory.vm(moref));
    let unread = had.or(namesake);
    let unread = unread.filter(|vm| vm.markers.is_none()).map(|vm| vm.moref.clone());
    let stranger = namesake.filter(|vm| vm.markers.is_some());
    // The machine that the instance had, wherever it is in the operator's folder and under whatever name.
    let had = had.filter(|vm| mine.is_empty() && lost(vm, instance, marker).is_some());
    let stranger = had.or(stranger);
    let lost = stranger.and_then(|vm| lost(vm, instance, marker));
    let stranger = stranger.map(|vm| vm.moref.clone());
    let missing = recorded
        .filter(|_| mine.is_empty())
        .map_or(Missing::No, |moref| missing(around, instance, moref, &owner));
    let confirmed = match mine.as_slice() {
        [machine] => confirmed(around, &machine.moref),
        _ => Confirmed::Unknown,
    };
    let template = if mine.is_empty() { vcenter.template(&spec.template) } else { Template::default() };
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
    Seen { folder, mine, unread, stranger, lost, missing, confirmed, doubt, refresh, template, ..seen }
}

/// The machine that the durable status names.
#[must_use]
pub fn recorded(instance: &VmInstance) -> Option<MoRef> {
    let id = instance.status.as_ref()?.vm_ref.as_deref()?;
    // A user with the right may write anything into a status.
    is_reference(id).then(|| MoRef::new("VirtualMachine", id))
}

/// Returns how a machine that is not the instance's was lost to it; `None` if it never was its machine, or cannot be read.
fn lost(vm: &Vm, instance: &VmInstance, marker: &Marker) -> Option<Lost> {
    vm.markers.as_ref()?;
    let other = vm.marker(OWNER_MARKER).and_then(|text| text.parse::<Marker>().ok());
    let other = other.filter(|other| other.cluster != marker.cluster);
    if let Some(other) = other
        && (Marker { cluster: marker.cluster.clone(), ..other.clone() }) == *marker
    {
        return Some(Lost::OtherCluster(other.cluster));
    }
    has_uuid_of(vm, instance).then_some(Lost::NoMarker)
}

/// Returns whether a text may be the id of a managed object, as a vCenter writes it: `vm-42`, `task-7`.
#[must_use]
pub fn is_reference(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    !id.is_empty() && id.len() <= 128 && id.chars().all(plain)
}

/// Finds the machines that are the instance's, wherever in the operator's folder and under whatever name.
///
/// A machine is the instance's if it has its marker and its instanceUuid, or its marker and the recorded reference. A copy
/// that an administrator makes has the marker as well, but another reference and another instanceUuid. A machine that the
/// original operator made has no marker yet: its instanceUuid identifies it, with the recorded reference or with its name in
/// the original's folder.
#[must_use]
pub fn machines(inventory: &Inventory, instance: &VmInstance, marker: &Marker) -> Vec<Machine> {
    let machine = |vm: &Vm, marked| Machine {
        moref: vm.moref.clone(),
        power: power(vm),
        revision: vm.marker(REVISION_MARKER).map(str::to_owned),
        marked,
        template: vm.template,
    };
    let owner = marker.to_string();
    let bearers = inventory.vms_marked(OWNER_MARKER, &owner);
    // References of another vCenter say nothing in this one.
    let is_here = !is_of_another_vcenter(inventory, instance);
    let mut mine: Vec<_> = bearers
        .filter(|vm| has_uuid_of(vm, instance) || (is_here && is_not_a_copy(vm, instance)))
        .map(|vm| machine(vm, true))
        .collect();
    if mine.is_empty() {
        let folder = original_folder(inventory, instance, marker);
        let named = folder.and_then(|folder| inventory.vm_named(&folder.moref, &instance.spec.vm_name));
        let had = recorded(instance).and_then(|moref| inventory.vm(&moref));
        let vm = had.into_iter().chain(named).find(|vm| is_original(vm, instance));
        mine.extend(vm.map(|vm| machine(vm, false)));
    }
    mine
}

/// Returns whether a machine with the instance's marker is its machine: a copy has another reference and another
/// instanceUuid.
fn is_not_a_copy(vm: &Vm, instance: &VmInstance) -> bool {
    has_uuid_of(vm, instance) || recorded(instance).as_ref() == Some(&vm.moref)
}

/// Returns whether a machine with the instance's marker is its machine, and the operator cares for the instance: for one that
/// is not the instance of its slot, or no longer has the operator's finalizer, it does nothing.
#[must_use]
pub fn has_machine(instance: &VmInstance, vm: &Vm) -> bool {
    is_not_a_copy(vm, instance) && names::check(instance).is_ok() && !is_done(instance)
}

/// Returns whether the operator's part in an instance's deletion is done: finalizers of others keep the object.
#[must_use]
pub fn is_done(instance: &VmInstance) -> bool {
    instance.metadata.deletion_timestamp.is_some()
        && !instance.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Returns whether the machine or the clone that the durable status names is one of another vCenter.
fn is_of_another_vcenter(inventory: &Inventory, instance: &VmInstance) -> bool {
    AnotherVcenter::of(recorded_vcenter(instance), inventory).is_some()
}

fn recorded_vcenter(instance: &VmInstance) -> Option<&str> {
    instance.status.as_ref()?.vcenter.as_deref()
}

/// Returns which other vCenter than this has what was made for the instance, unless its machine was brought here. An
/// instance without a recorded vCenter counts as one of its group's: its clone may run there.
fn other_vcenter(around: &Surroundings<'_>, instance: &VmInstance) -> Option<AnotherVcenter> {
    let recorded = recorded_vcenter(instance).or(around.group_vcenter.as_deref());
    let other = AnotherVcenter::of(recorded, around.inventory)?;
    let marker = Marker::of(&around.memory.cluster, instance);
    machines(around.inventory, instance, &marker).is_empty().then_some(other)
}

fn has_uuid_of(vm: &Vm, instance: &VmInstance) -> bool {
    vm.instance_uuid.as_deref() == Some(&*instance.spec.instance_uuid)
}

/// Returns the original operator's folder of the group, where the instance's machine is one that the original made.
fn original_folder<'a>(
    inventory: &'a Inventory,
    instance: &VmInstance,
    marker: &Marker,
) -> Option<&'a Arc<Folder>> {
    let is_original = names::is_original_machine(&marker.group, &instance.spec.vm_name);
    is_original
        .then(|| inventory.folder_named(&names::original_folder(&marker.namespace, &marker.group)))
        .flatten()
}

/// Returns whether a machine is the one of the original operator that the instance adopts, and has no marker yet.
fn is_original(vm: &Vm, instance: &VmInstance) -> bool {
    let was_marked = instance.status.as_ref().is_some_and(|status| status.marked == Some(true));
    names::is_original_machine(&instance.spec.group, &instance.spec.vm_name)
        && !was_marked
        && has_uuid_of(vm, instance)
        && vm.markers.is_some()
        && vm.marker(OWNER_MARKER).is_none()
}

/// Returns whether the recorded machine, which the inventory does not show, was moved out of the operator's folder. While
/// no answer of the vCenter is known, the last status stands.
#[must_use]
pub fn is_moved(inventory: &Inventory, instance: &VmInstance, marker: &Marker) -> bool {
    let Some(moref) = recorded(instance).filter(|moref| inventory.vm(moref).is_none()) else { return false };
    if is_of_another_vcenter(inventory, instance) {
        return false;
    }
    if let Some(outside) = inventory.outside(&moref) {
        return matches!(
            find_whereabouts(outside, instance, &marker.to_string()),
            Whereabouts::Elsewhere | Whereabouts::Unclear
        );
    }
    let conditions = instance.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = conditions::get(conditions.unwrap_or_default(), condition::READY);
    ready.is_some_and(|ready| ready.reason == reason::MACHINE_MOVED)
}

fn confirmed(around: &Surroundings<'_>, moref: &MoRef) -> Confirmed {
    match around.inventory.confirmed(moref) {
        Some(true) => Confirmed::Same,
        Some(false) => Confirmed::Changed,
        None if around.vcenter.is_looking_up(moref) => Confirmed::Reading,
        None => Confirmed::Unknown,
    }
}

/// Where a machine is that is not in the operator's folder.
enum Whereabouts {
    /// It does not exist any more. A vCenter that was set up again gives old references to other machines.
    Gone,
    /// It is the instance's, and somewhere else.
    Elsewhere,
    /// The vCenter cannot tell whose it is.
    Unclear,
}

fn find_whereabouts(outside: &Outside, instance: &VmInstance, owner: &str) -> Whereabouts {
    match outside {
        Outside::Elsewhere(vm) if vm.markers.is_none() => Whereabouts::Unclear,
        // Another machine may have the reference of old, but not the instanceUuid.
        Outside::Elsewhere(vm) if vm.marker(OWNER_MARKER) == Some(owner) || has_uuid_of(vm, instance) => {
            Whereabouts::Elsewhere
        }
        Outside::Gone | Outside::Elsewhere(_) => Whereabouts::Gone,
    }
}

/// A machine's power state, where the vCenter knows it: of one on a host that does not answer it has only the last.
fn power(vm: &Vm) -> Option<PowerState> {
    vm.power.filter(|_| matches!(vm.connection, None | Some(Connection::Connected)))
}

fn missing(around: &Surroundings<'_>, instance: &VmInstance, moref: MoRef, owner: &str) -> Missing {
    let Surroundings { inventory, vcenter, .. } = around;
    if inventory.vm(&moref).is_some() {
        // It is in the folder, with another marker or none: it is not the instance's any more.
        return Missing::No;
    }
    match inventory.outside(&moref) {
        None if vcenter.is_looking_up(&moref) => Missing::LookingUp,
        None => Missing::Unknown(moref),
        Some(outside) => match find_whereabouts(outside, instance, owner) {
            Whereabouts::Gone => Missing::Gone,
            Whereabouts::Elsewhere => Missing::Elsewhere(moref),
            Whereabouts::Unclear => Missing::Unclear(moref),
        },
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

/// Whether a task may still have an effect that nothing else prevents. A clone that hangs must not hold up others without
/// limit: after [`LONGEST_CLONE`] the operator relies on vCenter's check of names, since another clone has the same name and
/// folder.
fn may_end(task: &Task, now: SystemTime) -> bool {
    let age = task.queued_at.and_then(|at| now.duration_since(at).ok()).unwrap_or_default();
    !task.state.ended() && age < LONGEST_CLONE
}

/// Finds the unfinished clones that may be the instance's: of its template, by this operator's user, since shortly before
/// it was created, and not known to be of another instance.
fn unclaimed_clones(around: &Surroundings<'_>, instance: &VmInstance, template: &Template) -> HashSet<MoRef> {
    let created = instance.creation_timestamp().map_or(SystemTime::UNIX_EPOCH, |time| time.0.into());
    let since = created.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
    let template = match template {
        Template::Known(moref) => Some(moref),
        _ => None,
    };
    let (user, now) = (around.vcenter.user(), around.now);
    let key = Key::of(instance);
    // One that only its own status names, which came after this process adopted it, is its own.
    let is_of_another = |task: &MoRef| {
        let memory = around.memory;
        memory.in_flight.is_claimed(task)
            || memory.is_left(task)
            || (around.recorded_by)(task).iter().any(|other| *other != key)
    };
    around
        .inventory
        .tasks()
        .filter(|task| may_end(task, now) && &*task.description_id == "VirtualMachine.clone")
        .filter(|task| task.queued_at.is_none_or(|at| at >= since))
        // A clone of unknown template or user stays a candidate.
        .filter(|task| {
            template.is_none_or(|template| task.entity.as_ref().is_none_or(|entity| entity == template))
        })
        .filter(|task| match (&user, &task.user) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            _ => true,
        })
        .filter(|task| !is_of_another(&task.moref))
        .map(|task| task.moref.clone())
        .collect()
}

#[cfg(test)]
mod tests;
