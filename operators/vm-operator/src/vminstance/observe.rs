//! What exists for one instance: its machine, its request, and what may be in flight. Reads the inventory, the caches and
//! the in-flight memory, never the network; `plan` decides about it next.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use infra_clients::vsphere::vms::{Connection, Inventory, Outside, Task, TaskState, Template, Vm};
use infra_clients::vsphere::{MoRef, PowerState};
use kube::ResourceExt;
use operator_kit::conditions;

use crate::api::names::{self, Marker};
use crate::api::{OWNER_MARKER, REVISION_MARKER, TaskKind, TaskStatus, VmInstance, condition, reason};
use crate::context::Context;
use crate::in_flight::{Doubt, Entry, RequestState, task_ref};

use super::plan::{GroupView, InDoubt, Machine, Missing, Progress, Refresh, Seen};

/// A clone that was queued this long before the instance was created cannot be the instance's, however far the clocks of the
/// vCenter and of Kubernetes are apart.
const CLOCK_SLACK: Duration = Duration::from_hours(2);

/// Looks at everything that concerns one instance.
#[must_use]
pub fn observe(ctx: &Context, instance: &VmInstance) -> Seen {
    let uid = instance.uid().unwrap_or_default();
    let entry = ctx.in_flight.get(&uid);
    let marker = Marker::of(&ctx.cluster, instance);
    let group = ctx.group_of(instance);
    let seen = Seen {
        adopted: entry.is_some(),
        released: ctx.in_flight.is_released(&uid),
        group: group.map(|group| GroupView::of(&group)),
        place: ctx.place(&marker.instance()),
        ..Seen::default()
    };
    let link = ctx.vms.link().borrow().clone();
    ctx.vms.read(|inventory| {
        let blind = ctx.visibility.blind(inventory, &link);
        let request = entry.as_ref().and_then(|entry| request(inventory, entry));
        let task = entry.as_ref().and_then(clone_task);
        let seen = Seen { blind, request, task, ..seen };
        match &entry {
            Some(entry) if seen.blind.is_none() => look(ctx, inventory, instance, &marker, entry, seen),
            _ => seen,
        }
    })
}

fn look(
    ctx: &Context,
    inventory: &Inventory,
    instance: &VmInstance,
    marker: &Marker,
    entry: &Entry,
    seen: Seen,
) -> Seen {
    let spec = &instance.spec;
    let folder =
        inventory.folder_named(&names::folder(&marker.namespace, &marker.group)).map(|f| f.moref.clone());
    let recorded = recorded(instance);
    let owner = marker.to_string();
    let mine = machines(inventory, instance, marker);
    let namesake = folder.as_ref().and_then(|folder| inventory.vm_named(folder, &spec.vm_name));
    let namesake = namesake.filter(|vm| !mine.iter().any(|machine| machine.moref == vm.moref));
    // What cannot be read may be the instance's.
    let unread = recorded.as_ref().and_then(|moref| inventory.vm(moref)).or(namesake);
    let unread = unread.filter(|vm| vm.markers.is_none()).map(|vm| vm.moref.clone());
    let stranger = namesake.filter(|vm| vm.markers.is_some());
    let other_cluster = stranger.and_then(|vm| vm.marker(OWNER_MARKER)?.parse::<Marker>().ok());
    let other_cluster = other_cluster
        .filter(|other| Marker { cluster: marker.cluster.clone(), ..other.clone() } == *marker)
        .map(|other| other.cluster);
    let stranger = stranger.map(|vm| vm.moref.clone());
    let missing = recorded
        .filter(|_| mine.is_empty())
        .map_or(Missing::No, |moref| missing(ctx, inventory, moref, &owner));
    let template = if mine.is_empty() { ctx.vms.template(&spec.template) } else { Template::default() };
    let refresh = match entry.refresh {
        None => Refresh::None,
        Some(ticket) if inventory.refreshed(ticket) => Refresh::Served,
        Some(_) => Refresh::Requested,
    };
    let doubt = match &entry.doubt {
        Doubt::None => InDoubt::No,
        Doubt::ResponseLost => InDoubt::ResponseLost,
        Doubt::Unexamined => InDoubt::Unexamined(unclaimed_clones(ctx, inventory, instance, &template)),
        Doubt::Watching(tasks) => {
            InDoubt::Watching(tasks.iter().filter(|task| is_unfinished(inventory, task)).count())
        }
    };
    Seen { folder, mine, unread, stranger, other_cluster, missing, doubt, refresh, template, ..seen }
}

/// The machine that the durable status names.
#[must_use]
pub fn recorded(instance: &VmInstance) -> Option<MoRef> {
    instance.status.as_ref()?.vm_ref.as_deref().map(|id| MoRef::new("VirtualMachine", id))
}

/// Finds the machines that are the instance's, wherever in the operator's folder and under whatever name.
///
/// A machine is the instance's if it has its marker and its instanceUuid, or its marker and the recorded reference. A copy
/// that an administrator makes has the marker as well, but another reference and another instanceUuid. A machine that the
/// original operator made has no marker yet: its name and instanceUuid in the original's folder identify it.
#[must_use]
pub fn machines(inventory: &Inventory, instance: &VmInstance, marker: &Marker) -> Vec<Machine> {
    let recorded = recorded(instance);
    let is_ours = |vm: &Vm| {
        recorded.as_ref() == Some(&vm.moref)
            || vm.instance_uuid.as_deref() == Some(&*instance.spec.instance_uuid)
    };
    let machine = |vm: &Vm, marked| Machine {
        moref: vm.moref.clone(),
        power: power(vm),
        revision: vm.marker(REVISION_MARKER).map(str::to_owned),
        marked,
    };
    let owner = marker.to_string();
    let bearers = inventory.vms_marked(OWNER_MARKER, &owner);
    let mut mine: Vec<_> = bearers.filter(|vm| is_ours(vm)).map(|vm| machine(vm, true)).collect();
    if mine.is_empty() && names::is_original_machine(&marker.group, &instance.spec.vm_name) {
        let folder = inventory.folder_named(&names::original_folder(&marker.namespace, &marker.group));
        let vm = folder.and_then(|folder| inventory.vm_named(&folder.moref, &instance.spec.vm_name));
        let vm = vm.filter(|vm| is_ours(vm) && vm.markers.is_some() && vm.marker(OWNER_MARKER).is_none());
        mine.extend(vm.map(|vm| machine(vm, false)));
    }
    mine
}

/// Returns whether the recorded machine, which the inventory does not show, was moved out of the operator's folder. While
/// no answer of the vCenter is known, the last status stands.
#[must_use]
pub fn is_moved(inventory: &Inventory, instance: &VmInstance, marker: &Marker) -> bool {
    let Some(moref) = recorded(instance).filter(|moref| inventory.vm(moref).is_none()) else { return false };
    if let Some(outside) = inventory.outside(&moref) {
        return matches!(place_of(outside, &marker.to_string()), Place::Elsewhere | Place::Unclear);
    }
    let conditions = instance.status.as_ref().map(|status| status.conditions.as_slice());
    let ready = conditions::get(conditions.unwrap_or_default(), condition::READY);
    ready.is_some_and(|ready| ready.reason == reason::MACHINE_MOVED)
}

/// Where a machine is that is not in the operator's folder.
enum Place {
    /// It does not exist any more. A vCenter that was set up again gives old references to other machines.
    Gone,
    /// It is the instance's, and somewhere else.
    Elsewhere,
    /// The vCenter cannot tell whose it is.
    Unclear,
}

fn place_of(outside: &Outside, owner: &str) -> Place {
    match outside {
        Outside::Elsewhere(vm) if vm.markers.is_none() => Place::Unclear,
        Outside::Elsewhere(vm) if vm.marker(OWNER_MARKER) == Some(owner) => Place::Elsewhere,
        Outside::Gone | Outside::Elsewhere(_) => Place::Gone,
    }
}

/// A machine's power state, where the vCenter knows it: of one on a host that does not answer it has only the last.
fn power(vm: &Vm) -> Option<PowerState> {
    vm.power.filter(|_| matches!(vm.connection, None | Some(Connection::Connected)))
}

fn missing(ctx: &Context, inventory: &Inventory, moref: MoRef, owner: &str) -> Missing {
    if inventory.vm(&moref).is_some() {
        // It is in the folder, with another marker or none: it is not the instance's any more.
        return Missing::No;
    }
    match inventory.outside(&moref) {
        None if ctx.vms.is_looking_up(&moref) => Missing::LookingUp,
        None => Missing::Unknown(moref),
        Some(outside) => match place_of(outside, owner) {
            Place::Gone => Missing::Gone,
            Place::Elsewhere => Missing::Elsewhere(moref),
            Place::Unclear => Missing::Unclear(moref),
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

fn is_unfinished(inventory: &Inventory, task: &MoRef) -> bool {
    inventory.task(task).is_some_and(|task| !task.state.ended())
}

/// Finds the unfinished clones that may be the instance's: of its template, by this operator's user, since shortly before
/// it was created, and not known to be of another instance.
fn unclaimed_clones(
    ctx: &Context,
    inventory: &Inventory,
    instance: &VmInstance,
    template: &Template,
) -> HashSet<MoRef> {
    let created = instance.creation_timestamp().map_or(SystemTime::UNIX_EPOCH, |time| time.0.into());
    let since = created.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
    let template = match template {
        Template::Known(moref) => Some(moref),
        _ => None,
    };
    let user = ctx.vms.user();
    inventory
        .tasks()
        .filter(|task| !task.state.ended() && &*task.description_id == "VirtualMachine.clone")
        .filter(|task| task.queued_at.is_none_or(|at| at >= since))
        // What is not known does not exclude a clone.
        .filter(|task| {
            template.is_none_or(|template| task.entity.as_ref().is_none_or(|entity| entity == template))
        })
        .filter(|task| match (&user, &task.user) {
            (Some(ours), Some(theirs)) => ours.eq_ignore_ascii_case(theirs),
            _ => true,
        })
        .filter(|task| {
            !ctx.in_flight.is_claimed(&task.moref) && !ctx.by_task.contains(&task.moref.value().to_owned())
        })
        .map(|task| task.moref.clone())
        .collect()
}
