//! What exists for one group: its instances and, through the inventory, their machines and folders. Reads caches only; `plan`
//! decides about it next.

use std::collections::HashSet;
use std::sync::Arc;

use infra_clients::vsphere::vms::{Folder, Inventory};
use infra_clients::vsphere::{MoRef, PowerState};
use kube::{Resource, ResourceExt};
use operator_kit::{Key, conditions};

use crate::api::names::{self, Marker};
use crate::api::{ORIGINAL_FINALIZER, OWNER_MARKER, VmGroup, VmInstance, condition, has_finalizer, reason};
use crate::context::Context;
use crate::in_flight::FolderRequest;
use crate::vminstance::{self, Refresh};

use super::plan::{FolderProgress, FolderSeen, Member, OriginalMachine, Originals, Seen};

/// Orphans named in messages.
const NAMED_ORPHANS: usize = 5;

/// Looks at everything that concerns one group.
#[must_use]
pub fn observe(ctx: &Context, group: &VmGroup) -> Seen {
    let uid = group.uid().unwrap_or_default();
    let entry = ctx.in_flight.group(&uid);
    // A copy made by hand is no member, whatever its spec says: it must not make a scale-down choose a victim.
    let instances = ctx.members(group).into_iter().filter(|instance| names::check(instance).is_ok());
    let instances: Vec<_> = instances.collect();
    let link = ctx.vms.link().borrow().clone();
    ctx.vms.read(|inventory| {
        let blind = ctx.visibility.blind(inventory, &link);
        let mut members: Vec<Member> =
            instances.iter().map(|instance| member(ctx, inventory, instance, blind.is_none())).collect();
        members.sort_by_key(|member| member.slot);
        let refresh = Refresh::of(entry.refresh, inventory);
        let request = entry.request.as_ref().map(|request| folder_progress(inventory, request));
        let (kept, adopted, max_replicas) = (entry.kept, entry.adopted, ctx.max_replicas);
        let seen = Seen { members, request, refresh, kept, adopted, max_replicas, ..Seen::default() };
        match blind {
            Some(blind) => Seen { blind: Some(blind), ..seen },
            None => with_folders(ctx, inventory, group, &instances, seen),
        }
    })
}

fn with_folders(
    ctx: &Context,
    inventory: &Inventory,
    group: &VmGroup,
    instances: &[Arc<VmInstance>],
    seen: Seen,
) -> Seen {
    let (namespace, name) = (group.namespace().unwrap_or_default(), group.name_any());
    let adopted = group.status.as_ref().and_then(|status| status.adopted_folder.as_deref());
    let adopting = has_finalizer(group, ORIGINAL_FINALIZER);
    let original = names::original_folder(&namespace, &name);
    let folder = inventory.folder_named(&names::folder(&namespace, &name));
    // With a dot in a name, the original's folder may be the folder of another group, which removes it then.
    let is_another = |other: &Arc<VmGroup>| {
        let key = (other.namespace().unwrap_or_default(), other.name_any());
        key != (namespace.clone(), name.clone()) && names::folder(&key.0, &key.1) == original
    };
    let original_folder =
        (adopting || adopted == Some(&original)).then(|| inventory.folder_named(&original)).flatten();
    let originals = match original_folder {
        Some(folder) if adopting => originals(ctx, inventory, group, &folder.moref, instances),
        _ => Originals { no_folder: adopting, ..Originals::default() },
    };
    let original_folder = original_folder.filter(|_| !ctx.by_folder.get(&original).iter().any(is_another));
    let orphans = [folder, original_folder].into_iter().flatten();
    let orphans = orphans.flat_map(|folder| orphans_in(ctx, inventory, group, &folder.moref)).collect();
    let folder = folder.map(|folder| folder_seen(folder));
    Seen {
        folder,
        original_folder: original_folder.map(|folder| folder_seen(folder)),
        originals,
        orphans,
        ..seen
    }
}

fn folder_seen(folder: &Folder) -> FolderSeen {
    FolderSeen { moref: folder.moref.clone(), name: folder.name.to_string(), children: folder.children }
}

/// The machines of the original operator that no VmInstance names.
fn originals(
    ctx: &Context,
    inventory: &Inventory,
    group: &VmGroup,
    folder: &MoRef,
    instances: &[Arc<VmInstance>],
) -> Originals {
    let adopted: HashSet<&str> = instances.iter().map(|instance| &*instance.spec.vm_name).collect();
    let mut originals = Originals::default();
    let group_name = group.name_any();
    let candidates = inventory.vms_in(folder).filter(|vm| names::is_original_machine(&group_name, &vm.name));
    for vm in candidates.filter(|vm| !adopted.contains(&*vm.name)) {
        let (Some(_), Some(instance_uuid)) = (&vm.markers, vm.instance_uuid.as_deref()) else {
            originals.unread = Some(vm.moref.clone());
            continue;
        };
        // One that was adopted before the cluster was restored from a backup has the marker of its slot. Where there are
        // VmInstances, a machine with a marker and without a VmInstance was released.
        let slot = match vm.marker(OWNER_MARKER).map(str::parse::<Marker>) {
            None => None,
            Some(Ok(marker))
                if instances.is_empty()
                    && marker.cluster == ctx.cluster
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

/// Names the machines in a folder that have the group's marker and belong to none of its instances.
fn orphans_in(ctx: &Context, inventory: &Inventory, group: &VmGroup, folder: &MoRef) -> Vec<String> {
    let ours =
        |marker: &Marker| marker.cluster == ctx.cluster && Some(&marker.group_uid) == group.uid().as_ref();
    let mut orphans: Vec<String> = inventory
        .vms_in(folder)
        .filter_map(|vm| Some((vm, vm.marker(OWNER_MARKER)?.parse::<Marker>().ok()?)))
        .filter(|(vm, marker)| ours(marker) && !ctx.is_member(vm, marker))
        .map(|(vm, _)| format!("{} ({})", vm.name, vm.moref.value()))
        .collect();
    orphans.sort();
    orphans
}

/// Lists orphans for a message: the first few, and how many others there are.
#[must_use]
pub fn list(orphans: &[String]) -> String {
    let named = orphans.iter().take(NAMED_ORPHANS).cloned().collect::<Vec<_>>().join(", ");
    match orphans.len().saturating_sub(NAMED_ORPHANS) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn member(ctx: &Context, inventory: &Inventory, instance: &VmInstance, in_sight: bool) -> Member {
    let uid = instance.uid().unwrap_or_default();
    let marker = Marker::of(&ctx.cluster, instance);
    let machines = if in_sight { vminstance::machines(inventory, instance, &marker) } else { Vec::new() };
    let machine = machines.first();
    let moved = in_sight && machine.is_none() && vminstance::is_moved(inventory, instance, &marker);
    let has_record = instance.status.as_ref().is_some_and(|status| status.task.is_some())
        || vminstance::recorded(instance).is_some();
    Member {
        key: Key::of(instance),
        slot: instance.spec.slot,
        deleting: instance.meta().deletion_timestamp.is_some(),
        exists: machine.is_some() || moved,
        moved,
        on: machine.is_some_and(|machine| machine.power == Some(PowerState::On)),
        cloning: instance.status.as_ref().is_some_and(|status| status.task.is_some()),
        begun: machine.is_some() || has_record || ctx.in_flight.is_busy(&uid),
        asked: instance.spec.revision(),
        made_from: machine.and_then(|machine| machine.revision.clone()),
        trouble: trouble(instance),
        uid,
    }
}

fn trouble(instance: &VmInstance) -> Option<(String, String)> {
    let ready = conditions::get(&instance.status.as_ref()?.conditions, condition::READY)?;
    (ready.status != "True" && reason::needs_help(&ready.reason))
        .then(|| (ready.reason.clone(), ready.message.clone()))
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
