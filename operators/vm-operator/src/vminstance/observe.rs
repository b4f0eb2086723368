//! What is there for one instance: its machine, its task, and what might be under way. Reads the
//! inventory and the ledger, never the network; `plan` decides about it next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use infra_clients::vsphere::vms::{Connection, Inventory, Task, TaskState, Vm};
use infra_clients::vsphere::{MoRef, PowerState};
use kube::ResourceExt;

use crate::api::names::{self, Marker};
use crate::api::{OWNER_MARKER, REVISION_MARKER, TaskKind, VmInstance, VmInstanceStatus};
use crate::ledger::{Doubt, Entry, Ledger, task_ref};

use super::plan::{Machine, Observed, Outcome};

/// A clone that was queued this long before the instance was made cannot be the instance's, whatever the
/// two clocks say.
const CLOCK_SLACK: Duration = Duration::from_mins(10);

/// Looks at everything that concerns one instance but its group.
///
/// `status` is the last one written, which may be newer than the instance's. `claimed` says whether a
/// task is some instance's by its durable status.
pub fn observe(
    inventory: &Inventory,
    instance: &VmInstance,
    marker: &Marker,
    status: Option<&VmInstanceStatus>,
    ledger: &Ledger,
    claimed: impl Fn(&MoRef) -> bool,
) -> Observed {
    let uid = instance.uid().unwrap_or_default();
    let entry = ledger.entry(&uid, instance);
    if !inventory.is_synced() {
        return Observed::default();
    }
    let folder =
        inventory.folder_named(&names::folder(&marker.namespace, &marker.group)).map(|f| f.moref.clone());
    let recorded = status.and_then(|s| s.vm_ref.as_deref()).map(|id| MoRef::new("VirtualMachine", id));
    let mine = machines(inventory, instance, marker, recorded.as_ref());
    let namesake = folder.as_ref().and_then(|folder| inventory.vm_named(folder, &instance.spec.vm_name));
    let namesake = namesake.filter(|vm| !mine.iter().any(|m| m.moref == vm.moref));
    // What cannot be read may be ours.
    let unread = recorded.as_ref().and_then(|moref| inventory.vm(moref)).or(namesake);
    let unread = unread.filter(|vm| vm.markers.is_none()).map(|vm| vm.moref.clone());
    let stranger = namesake.filter(|vm| vm.markers.is_some()).map(|vm| vm.moref.clone());
    let task = entry
        .task
        .as_ref()
        .map(|task| (task.kind, outcome(inventory.task(&task_ref(&task.r#ref)).map(|t| &**t))));
    let destroyed = matches!(task, Some((TaskKind::Destroy, Outcome::Ended)));
    let moved = entry.moved.clone().filter(|_| !destroyed);
    let vanished = recorded
        .filter(|_| mine.is_empty() && !destroyed && moved.is_none())
        .filter(|moref| entry.gone.as_ref() != Some(moref) && inventory.vm(moref).is_none());
    let (reply_lost, earlier_clones) = if mine.is_empty() {
        examine(inventory, instance, &uid, &entry, ledger, claimed)
    } else {
        // The one clone there can have been has made it.
        if entry.doubt != Doubt::ReplyLost {
            ledger.set_doubt(&uid, Doubt::None);
        }
        (entry.doubt == Doubt::ReplyLost, 0)
    };
    Observed {
        synced: true,
        group: false,
        folder,
        mine,
        unread,
        stranger,
        task,
        earlier_clones,
        reply_lost,
        refreshed: false,
        vanished,
        moved,
    }
}

/// The machines that are the instance's, wherever in the operator's folder and under whatever name.
///
/// They bear its marker. So does a copy that somebody made of one; `recorded`, the machine last seen, and the
/// instanceUuid tell the two apart, and the copy is left alone.
#[must_use]
pub fn machines(
    inventory: &Inventory,
    instance: &VmInstance,
    marker: &Marker,
    recorded: Option<&MoRef>,
) -> Vec<Machine> {
    let bearers: Vec<&Arc<Vm>> = inventory.vms_marked(OWNER_MARKER, &marker.to_string()).collect();
    let known = |vm: &Arc<Vm>| {
        recorded == Some(&vm.moref)
            || vm.instance_uuid.as_deref() == Some(instance.spec.instance_uuid.as_str())
    };
    // Before one was recorded the vCenter may have given it another instanceUuid, where two would clash.
    let any_is_known = recorded.is_some() || bearers.iter().any(|vm| known(vm));
    let ours = bearers.into_iter().filter(|vm| !any_is_known || known(vm));
    ours.map(|vm| Machine {
        moref: vm.moref.clone(),
        power: power(vm),
        revision: vm.marker(REVISION_MARKER).map(str::to_owned),
    })
    .collect()
}

/// A machine's power state, where the vCenter knows: of one on a host that does not answer it has only the last.
pub fn power(vm: &Vm) -> Option<PowerState> {
    vm.power.filter(|_| matches!(vm.connection, None | Some(Connection::Connected)))
}

/// The owner that a machine's marker names.
#[must_use]
pub fn owner(vm: &Vm) -> Option<Marker> {
    vm.marker(OWNER_MARKER)?.parse().ok()
}

fn outcome(task: Option<&Task>) -> Outcome {
    match task {
        Some(Task { state: TaskState::Queued | TaskState::Running, .. }) => Outcome::Running,
        Some(Task { state: TaskState::Error, error: Some(error), .. }) => Outcome::Failed(error.clone()),
        // An unknown task ended long ago, or the vCenter was restarted: the inventory says what came of it.
        _ => Outcome::Ended,
    }
}

/// Whether the last reply is lost, and how many unfinished clones may be this instance's.
fn examine(
    inventory: &Inventory,
    instance: &VmInstance,
    uid: &str,
    entry: &Entry,
    ledger: &Ledger,
    claimed: impl Fn(&MoRef) -> bool,
) -> (bool, usize) {
    let unfinished = |task: &Arc<Task>| !task.state.ended();
    let watching: HashSet<MoRef> = match &entry.doubt {
        Doubt::None => return (false, 0),
        Doubt::ReplyLost => return (true, 0),
        Doubt::Watching(set) => {
            set.iter().filter(|t| inventory.task(t).is_some_and(unfinished)).cloned().collect()
        }
        Doubt::Unexamined => {
            let made = instance.creation_timestamp().map_or(SystemTime::UNIX_EPOCH, |t| t.0.into());
            let since = made.checked_sub(CLOCK_SLACK).unwrap_or(SystemTime::UNIX_EPOCH);
            inventory
                .tasks()
                .filter(|t| unfinished(t) && &*t.description_id == "VirtualMachine.clone")
                .filter(|t| t.queued_at.is_none_or(|at| at >= since))
                .filter(|t| ledger.owner_of(&t.moref).is_none() && !claimed(&t.moref))
                .map(|t| t.moref.clone())
                .collect()
        }
    };
    let count = watching.len();
    ledger.set_doubt(uid, if count == 0 { Doubt::None } else { Doubt::Watching(watching) });
    (false, count)
}
