//! What exists for one group: its instances and, through the inventory, their machines and folders. A function of plain
//! values; `plan` decides about it next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use infra_clients::vsphere::vms::{Confirmation, Folder, Inventory, Outside, Vm};
use infra_clients::vsphere::{MoRef, PowerState};
use kube::{Resource, ResourceExt};
use operator_kit::{Guarded, Key, conditions};

use crate::api::names::{self, Marker};
use crate::api::{ORIGINAL_FINALIZER, OWNER_MARKER, VmGroup, VmInstance, condition, has_finalizer, reason};
use crate::in_flight::FolderRequest;
use crate::memory::{LONGEST_CLONE, Memory};
use crate::visibility::Blind;
use crate::vminstance::{self, AnotherVcenter, Refresh, Unseen};

use super::seen::{
    Answer, FolderProgress, FolderSeen, Leftover, LeftoverWhy, Member, OriginalClones, OriginalMachine,
    Originals, Seen, Stray, Unread,
};

/// What a group is observed in.
pub struct Surroundings<'a> {
    /// What this process remembers.
    pub memory: &'a Memory,
    /// The machines, folders and tasks of the vCenter.
    pub inventory: &'a Inventory,
    /// Why the inventory cannot be trusted.
    pub blind: Option<Blind>,
    /// The VmInstances that name the group, in no order, and those that are left of a former group of its name.
    pub instances: &'a [Arc<VmInstance>],
    /// The VmInstances of the group that do not parse, in no order.
    pub unread: &'a [Guarded<VmInstance>],
    /// Returns whether the machine with this marker is the one of its VmInstance.
    pub is_member: &'a dyn Fn(&Vm, &Marker) -> bool,
    /// Returns whether another group than this has the folder of this name.
    pub is_of_another: &'a dyn Fn(&str) -> bool,
    /// Returns whether the vCenter is being asked for this machine.
    pub is_looking_up: &'a dyn Fn(&MoRef) -> bool,
    /// `--max-replicas`.
    pub max_replicas: i32,
    /// The operator's user of the vCenter, as tasks name it, if that is known.
    pub user: Option<Arc<str>>,
    /// Wall clock, for the age of tasks.
    pub now: SystemTime,
}

/// Answers of one choice may be so much older than the newest of them.
const SPREAD: Duration = Duration::from_secs(1);
/// How often machines are looked up again for one choice: where all answers are slow, they never come together.
const REPEATS: u8 = 3;

/// Returns the members of a group among the instances that name it. A copy made by hand is none, whatever its spec says: it must not make a
/// scale-down choose a victim.
fn members_of<'a>(uid: &str, instances: &'a [Arc<VmInstance>]) -> impl Iterator<Item = &'a Arc<VmInstance>> {
    let of_group = instances.iter().filter(move |instance| instance.spec.group_uid == uid);
    of_group.filter(|instance| names::check(instance).is_ok() && !vminstance::is_done(instance))
}

/// Returns whether a group has more members than replicas, of the instances that name it.
#[must_use]
pub fn has_surplus(group: &VmGroup, instances: &[Arc<VmInstance>]) -> bool {
    let replicas = usize::try_from(group.spec.replicas).unwrap_or(0);
    let uid = group.uid().unwrap_or_default();
    let live = members_of(&uid, instances).filter(|instance| instance.meta().deletion_timestamp.is_none());
    instances.len() > replicas && live.count() > replicas
}

/// Looks at everything that concerns one group.
#[must_use]
pub fn observe(around: &Surroundings<'_>, group: &VmGroup) -> Seen {
    let uid = group.uid().unwrap_or_default();
    let entry = around.memory.in_flight.group(&uid);
    let instances: Vec<_> = members_of(&uid, around.instances).cloned().collect();
    let is_in_sight = around.blind.is_none();
    let mut members: Vec<Member> =
        instances.iter().map(|instance| member(around, group, instance, is_in_sight)).collect();
    members.sort_by_key(|member| member.slot);
    let name = group.name_any();
    let in_the_way = || {
        around
            .instances
            .iter()
            .filter(|instance| vminstance::is_in_the_way(instance) && instance.spec.group == name)
    };
    let mut leftovers: Vec<Leftover> = in_the_way().filter_map(|instance| leftover(instance, &uid)).collect();
    leftovers.sort_by_key(|leftover| leftover.slot);
    let mut strays: Vec<Stray> = in_the_way().filter_map(|instance| stray(instance, &uid)).collect();
    strays.sort_by_key(|stray| stray.slot);
    let mut unread: Vec<Unread> = around.unread.iter().filter_map(self::unread).collect();
    unread.sort_by(|a, b| a.name.cmp(&b.name));
    let census = entry.census_of(group.metadata.generation.unwrap_or_default());
    if census.is_some_and(|census| census.repeats < REPEATS) {
        outdate(around.inventory, &mut members);
    }
    let seen = Seen {
        members,
        leftovers,
        strays,
        unread,
        blind: around.blind.clone(),
        request: entry.request.as_ref().map(|request| folder_progress(around.inventory, request)),
        refresh: Refresh::of(entry.refresh, around.inventory),
        census: Refresh::of(census.map(|census| census.ticket), around.inventory),
        adopted: entry.adopted,
        max_replicas: around.max_replicas,
        ..Seen::default()
    };
    if !is_in_sight {
        return seen;
    }
    let seen = Seen {
        vcenter: around.inventory.vcenter().map(str::to_owned),
        other_vcenter: other_vcenter(around, group, &seen.members),
        ..seen
    };
    with_folders(around, group, &instances, seen)
}

/// Returns which other vCenter than this has what was made for the group: nothing was where there is neither a VmInstance nor a
/// recorded folder, and none does where every machine was brought here. A machine that is here says nothing of the others,
/// which may have no record of their own.
fn other_vcenter(around: &Surroundings<'_>, group: &VmGroup, members: &[Member]) -> Option<AnotherVcenter> {
    let inventory = around.inventory;
    let is_visible = |member: &Member| member.exists && member.unseen == Unseen::Nothing;
    let is_here = |member: &Member| is_visible(member) || member.vcenter.as_deref() == inventory.vcenter();
    let status = group.status.as_ref();
    let has_folder = status.is_some_and(|status| status.folder.is_some() || status.adopted_folder.is_some());
    let of_group = AnotherVcenter::of(vcenter_of(group), inventory)
        .filter(|_| has_folder || !members.is_empty())
        .filter(|_| !members.iter().any(is_visible) || !members.iter().all(is_here));
    // A status that was lost or edited names none, where those of the VmInstances do.
    let of_member = || {
        let mut away = members.iter().filter(|member| !is_visible(member));
        away.find_map(|member| AnotherVcenter::of(member.vcenter.as_deref(), inventory))
    };
    of_group.or_else(|| vcenter_of(group).is_none().then(of_member).flatten())
}

fn vcenter_of(group: &VmGroup) -> Option<&str> {
    group.status.as_ref()?.vcenter.as_deref()
}

fn with_folders(
    around: &Surroundings<'_>,
    group: &VmGroup,
    instances: &[Arc<VmInstance>],
    seen: Seen,
) -> Seen {
    let inventory = around.inventory;
    let (namespace, name) = (group.namespace().unwrap_or_default(), group.name_any());
    let adopted = group.status.as_ref().and_then(|status| status.adopted_folder.as_deref());
    let adopting = has_finalizer(group, ORIGINAL_FINALIZER);
    let original = names::original_folder(&namespace, &name);
    let folder = inventory.folder_named(&names::folder(&namespace, &name));
    let original_folder =
        (adopting || adopted == Some(&original)).then(|| inventory.folder_named(&original)).flatten();
    let originals = match original_folder {
        Some(folder) if adopting => originals(around, group, &folder.moref, instances),
        _ => Originals { no_folder: adopting, ..Originals::default() },
    };
    let clones = if adopting { original_clones(around, group) } else { OriginalClones::default() };
    let originals = Originals { clones, ..originals };
    // With a dot in a name, the original's folder may be the folder of another group, which removes it then.
    let original_folder = original_folder.filter(|_| !(around.is_of_another)(&original));
    let orphans = [folder, original_folder].into_iter().flatten();
    let orphans = orphans.flat_map(|folder| orphans_in(around, group, &folder.moref)).collect();
    Seen {
        folder: folder.map(|folder| folder_seen(folder, is_own(around, group, folder))),
        original_folder: original_folder.map(|folder| {
            // Machines of a deleted group may be gone before the folder is recorded; their instances are not.
            let has_adopted =
                instances.iter().any(|instance| names::is_original_machine(&name, &instance.spec.vm_name));
            let is_recorded = adopted == Some(&original);
            folder_seen(folder, is_recorded || has_adopted || has_machines(around, group, &folder.moref))
        }),
        originals,
        orphans,
        ..seen
    }
}

fn folder_seen(folder: &Folder, own: bool) -> FolderSeen {
    let (moref, name) = (folder.moref.clone(), folder.name.to_string());
    FolderSeen { moref, name, children: folder.children, own }
}

/// Returns whether the operator has created the folder of the group's name, or machines of the group are or were in it: an
/// administrator may have a folder of that name.
fn is_own(around: &Surroundings<'_>, group: &VmGroup, folder: &Folder) -> bool {
    // A reference of another vCenter says nothing in this one.
    let status = group.status.as_ref();
    let status =
        status.filter(|status| AnotherVcenter::of(status.vcenter.as_deref(), around.inventory).is_none());
    let recorded = status.and_then(|status| status.folder.as_deref());
    let is_created = || around.memory.in_flight.group(&group.uid().unwrap_or_default()).created;
    recorded.map_or_else(is_created, |recorded| recorded == folder.moref.value())
        || has_machines(around, group, &folder.moref)
}

/// Returns whether machines of the group are in a folder, or such as the original operator made for it.
fn has_machines(around: &Surroundings<'_>, group: &VmGroup, folder: &MoRef) -> bool {
    let name = group.name_any();
    let is_marked = |vm: &Vm| {
        let marker = vm.marker(OWNER_MARKER).and_then(|text| text.parse::<Marker>().ok());
        marker.is_some_and(|marker| is_of(around, group, &marker))
    };
    let mut machines = around.inventory.vms_in(folder);
    machines.any(|vm| names::is_original_machine(&name, &vm.name) || is_marked(vm))
}

fn is_of(around: &Surroundings<'_>, group: &VmGroup, marker: &Marker) -> bool {
    marker.cluster == around.memory.cluster && Some(&marker.group_uid) == group.uid().as_ref()
}

/// Returns how far the clones are that the original operator may have requested. Nothing in a task says for which group it is.
fn original_clones(around: &Surroundings<'_>, group: &VmGroup) -> OriginalClones {
    let Surroundings { inventory, memory, now, user, .. } = around;
    let uid = group.uid().unwrap_or_default();
    let Some(awaited) = memory.in_flight.group(&uid).originals else {
        let clones = inventory.tasks().filter(|task| {
            let is_ours = || memory.in_flight.is_claimed(&task.moref) || memory.is_left(&task.moref);
            let is_clone = &*task.description_id == "VirtualMachine.clone";
            is_clone && !task.state.ended() && vminstance::may_be_by(task, user.as_deref()) && !is_ours()
        });
        return OriginalClones::Unexamined(clones.map(|task| task.moref.clone()).collect());
    };
    let waited = now.duration_since(awaited.since).unwrap_or_default();
    let tasks = awaited.clones.iter().filter_map(|task| inventory.task(task));
    match tasks.filter(|task| !task.state.ended() && waited < LONGEST_CLONE).count() {
        0 => OriginalClones::Ended(Refresh::of(awaited.refresh, inventory)),
        running => OriginalClones::Running(running),
    }
}

/// Returns the machines of the original operator that no VmInstance names.
fn originals(
    around: &Surroundings<'_>,
    group: &VmGroup,
    folder: &MoRef,
    instances: &[Arc<VmInstance>],
) -> Originals {
    let of_group = around.instances.iter().filter(|i| Some(&i.spec.group_uid) == group.uid().as_ref());
    let adopted: HashSet<&str> = of_group.map(|instance| &*instance.spec.vm_name).collect();
    let mut originals = Originals::default();
    let group_name = group.name_any();
    let candidates =
        around.inventory.vms_in(folder).filter(|vm| names::is_original_machine(&group_name, &vm.name));
    for vm in candidates.filter(|vm| !adopted.contains(&*vm.name)) {
        let (Some(_), Some(instance_uuid)) = (&vm.markers, vm.instance_uuid.as_deref()) else {
            originals.unread = Some(describe(vm));
            continue;
        };
        // One that was adopted before the cluster was restored from a backup has the marker of its slot. Where there are
        // VmInstances, a machine with a marker and without a VmInstance was released.
        let slot = match vm.marker(OWNER_MARKER).map(str::parse::<Marker>) {
            None => None,
            Some(Ok(marker))
                if instances.is_empty()
                    && marker.cluster == around.memory.cluster
                    && Some(&marker.group_uid) == group.uid().as_ref()
                    && marker.instance_uuid == instance_uuid =>
            {
                Some(marker.slot)
            }
            Some(_) => continue,
        };
        let (name, instance_uuid) = (vm.name.to_string(), instance_uuid.to_owned());
        originals.known.push(OriginalMachine { name, instance_uuid, slot });
    }
    originals.known.sort_by(|a, b| a.name.cmp(&b.name));
    originals
}

/// Names the machines in a folder that have a marker of this cluster and belong to no VmInstance. Those of other namespaces are left
/// out: their VmInstances may not be watched.
fn orphans_in(around: &Surroundings<'_>, group: &VmGroup, folder: &MoRef) -> Vec<String> {
    let is_ours = |marker: &Marker| {
        marker.cluster == around.memory.cluster
            && Some(&marker.namespace) == group.metadata.namespace.as_ref()
    };
    let mut orphans: Vec<String> = around
        .inventory
        .vms_in(folder)
        .filter_map(|vm| Some((vm, vm.marker(OWNER_MARKER)?.parse::<Marker>().ok()?)))
        .filter(|(vm, marker)| is_ours(marker) && !(around.is_member)(vm, marker))
        .map(|(vm, marker)| describe_orphan(group, vm, &marker))
        .collect();
    orphans.sort();
    orphans
}

fn describe_orphan(group: &VmGroup, vm: &Vm, marker: &Marker) -> String {
    let (name, moref) = (&vm.name, vm.moref.value());
    if marker.group != group.name_any() {
        format!("{name} ({moref}, of a group {})", marker.group)
    } else if Some(&marker.group_uid) == group.metadata.uid.as_ref() {
        describe(vm)
    } else {
        format!("{name} ({moref}, of an earlier group of this name)")
    }
}

fn describe(vm: &Vm) -> String {
    format!("{} ({})", vm.name, vm.moref.value())
}

fn leftover(instance: &VmInstance, group_uid: &str) -> Option<Leftover> {
    let why = if vminstance::is_done(instance) {
        LeftoverWhy::Finalizers(instance.finalizers().join(", "))
    } else if instance.spec.group_uid == group_uid {
        return None;
    } else {
        LeftoverWhy::NoOwner
    };
    Some(Leftover { name: instance.name_any(), slot: instance.spec.slot, why })
}

fn unread(instance: &Guarded<VmInstance>) -> Option<Unread> {
    let problem = instance.object().err()?.to_owned();
    Some(Unread { name: instance.name_any(), problem })
}

fn stray(instance: &VmInstance, group_uid: &str) -> Option<Stray> {
    let problem = names::check(instance).err()?;
    let is_in_the_way = instance.spec.group_uid == group_uid && !vminstance::is_done(instance);
    is_in_the_way.then(|| Stray { name: instance.name_any(), slot: instance.spec.slot, problem })
}

fn member(around: &Surroundings<'_>, group: &VmGroup, instance: &VmInstance, in_sight: bool) -> Member {
    let inventory = around.inventory;
    let uid = instance.uid().unwrap_or_default();
    let marker = Marker::of(&around.memory.cluster, instance);
    let look = vminstance::Look { inventory, instance, marker: &marker, group_vcenter: vcenter_of(group) };
    let machines = if in_sight { look.machines() } else { Vec::new() };
    let machine = machines.first();
    let cloning = instance.status.as_ref().is_some_and(|status| status.task.is_some());
    let is_busy = around.memory.in_flight.is_busy(&uid);
    let unseen = if in_sight && machine.is_none() { look.unseen() } else { Unseen::Nothing };
    // What cannot be read is what the clone makes.
    let is_being_made = unseen == Unseen::Unread && (cloning || is_busy);
    let unseen = if is_being_made { Unseen::Nothing } else { unseen };
    let had = machine.map(|machine| machine.moref.clone()).or_else(|| look.recorded()).filter(|_| in_sight);
    let has_record = cloning || vminstance::recorded(instance).is_some();
    let key = Key::of(instance);
    Member {
        slot: instance.spec.slot,
        deleting: instance.meta().deletion_timestamp.is_some(),
        exists: machine.is_some() || matches!(unseen, Unseen::Moved | Unseen::Hidden),
        answer: had.as_ref().map_or(Answer::None, |moref| answer(around, moref, &key)),
        machine: had,
        unseen,
        vcenter: vminstance::recorded_vcenter(instance).map(str::to_owned),
        on: machine.is_some_and(|machine| machine.power == Some(PowerState::On)),
        cloning,
        begun: machine.is_some() || has_record || is_busy,
        asked: instance.spec.revision(),
        made_from: machine.and_then(|machine| machine.revision.clone()),
        trouble: trouble(instance),
        jam: jam(instance),
        key,
        uid,
    }
}

fn answer(around: &Surroundings<'_>, moref: &MoRef, instance: &Key) -> Answer {
    let inventory = around.inventory;
    let is_shown = inventory.vm(moref).is_some();
    match inventory.last_confirmed(moref) {
        _ if !is_shown && inventory.last_outside(moref).is_some() => Answer::Given { works: None },
        Some(Confirmation::Changed) if is_shown => Answer::Awaited,
        // One that cannot be read may work.
        Some(Confirmation::Unread) if is_shown => {
            Answer::Given { works: inventory.last_read(moref).map(|_| true) }
        }
        Some(Confirmation::Same) if is_shown => {
            // Of one whose power state is not said, nothing is known.
            let works = |vm: &Vm| vm.power.is_none() || vminstance::power(vm) == Some(PowerState::On);
            Answer::Given { works: inventory.last_read(moref).map(|vm| works(vm)) }
        }
        _ if around.memory.in_flight.is_awaited(moref, instance) && (around.is_looking_up)(moref) => {
            Answer::Awaited
        }
        _ => Answer::None,
    }
}

/// Marks the answers that are older than another one, where a machine that hangs has kept the others waiting. One that could not be read is
/// no better known for being read again.
fn outdate(inventory: &Inventory, members: &mut [Member]) {
    let answered_at = |member: &Member| {
        let is_given = !member.deleting && matches!(member.answer, Answer::Given { .. });
        inventory.answered_at(member.machine.as_ref().filter(|_| is_given)?)
    };
    let Some(newest) = members.iter().filter_map(answered_at).max() else { return };
    let is_unread = |moref: &MoRef| match (inventory.vm(moref), inventory.last_outside(moref)) {
        (None, Some(Outside::Elsewhere(vm))) => vm.markers.is_none(),
        (None, _) => false,
        (Some(_), _) => inventory.last_confirmed(moref) == Some(Confirmation::Unread),
    };
    for member in members {
        let is_old = answered_at(member).is_some_and(|at| at + SPREAD < newest);
        if is_old && member.machine.as_ref().is_some_and(|moref| !is_unread(moref)) {
            member.answer = Answer::Outdated;
        }
    }
}

/// Returns what the instance reports of its present spec. What an earlier one led to is no trouble of the group's present one.
fn trouble(instance: &VmInstance) -> Option<(String, String)> {
    let ready = conditions::get(&instance.status.as_ref()?.conditions, condition::READY)?;
    let is_present = ready.observed_generation == instance.metadata.generation;
    (is_present && ready.status != "True" && reason::needs_help(&ready.reason))
        .then(|| (ready.reason.clone(), ready.message.clone()))
}

/// Returns what the instance waits for in the clone queue, where clones of other groups make it wait for long.
fn jam(instance: &VmInstance) -> Option<String> {
    let ready = conditions::get(&instance.status.as_ref()?.conditions, condition::READY)?;
    (ready.reason == reason::QUEUE_HELD).then(|| ready.message.clone())
}

fn folder_progress(inventory: &Inventory, request: &FolderRequest) -> FolderProgress {
    use crate::in_flight::FolderChange::Remove;
    match request {
        FolderRequest::Sending(change) => FolderProgress::Running(*change),
        FolderRequest::Failed(change, fault) => FolderProgress::Failed(*change, fault.clone()),
        FolderRequest::Task(task) => match inventory.task(task) {
            Some(task) if !task.state.ended() => FolderProgress::Running(Remove),
            Some(task) => match &task.error {
                Some(fault) => FolderProgress::Failed(Remove, fault.clone()),
                None => FolderProgress::Ended,
            },
            None => FolderProgress::Ended,
        },
    }
}

#[cfg(test)]
mod tests;
