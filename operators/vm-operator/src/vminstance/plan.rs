//! What to do next about one instance: a total, pure function of what was seen. Reads and writes
//! nothing; `apply` carries the step out and comes next.

use std::sync::Arc;

use infra_clients::vsphere::{Error as Fault, Kind, MoRef, PowerState};

use crate::api::TaskKind;

/// One virtual machine that bears the instance's marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The vCenter's reference.
    pub moref: MoRef,
    /// Absent while the vCenter has not said.
    pub power: Option<PowerState>,
    /// What it was made from, as its extraConfig says.
    pub revision: Option<String>,
}

/// Where the last task we asked for stands.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Queued or running.
    Running,
    /// Ended well, or so long ago that the vCenter no longer knows it.
    Ended,
    /// Ended in a fault.
    Failed(Arc<Fault>),
}

/// What `observe` saw.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations, each named by its question")]
pub struct Observed {
    /// The inventory is complete and kept current. If not, the rest says nothing.
    pub synced: bool,
    /// The group is there: a clone is only ever asked for on behalf of one.
    pub group: bool,
    /// The group's folder.
    pub folder: Option<MoRef>,
    /// Machines with our marker.
    pub mine: Vec<Machine>,
    /// A machine that may be ours, of which the vCenter cannot tell the marker.
    pub unread: Option<MoRef>,
    /// A machine in the group's folder with our name but not our marker.
    pub stranger: Option<MoRef>,
    /// The last task we asked for, until it is dealt with.
    pub task: Option<(TaskKind, Outcome)>,
    /// Unfinished clones that may be ours: asked for before a restart, or with the reply lost.
    pub earlier_clones: usize,
    /// The last request's reply was lost and the inventory has not been refreshed since.
    pub reply_lost: bool,
    /// The inventory was refreshed in this pass, so it shows all that ended tasks brought about.
    pub refreshed: bool,
    /// The machine we had, where it is in the inventory no more and nobody has looked for it elsewhere.
    pub vanished: Option<MoRef>,
    /// The machine we had stands outside the operator's folder. Its power state there is not watched.
    pub moved: Option<(MoRef, Option<PowerState>)>,
}

/// The next step. At most one asks the vCenter for a change.
#[derive(Clone, Debug)]
pub enum Step {
    /// The inventory is not to be trusted now.
    Blind,
    /// Refresh the inventory, and look again.
    Refresh,
    /// Ask the vCenter whether this machine still exists, and look again.
    LookFor(MoRef),
    /// A task is under way; its end wakes us.
    Await(TaskKind),
    /// A clone that may be ours is under way; its end wakes us.
    AwaitEarlierClone,
    /// The vCenter cannot tell the machine's configuration or power state; when it can, that wakes us.
    AwaitClarity(MoRef),
    /// There is no such group.
    AwaitGroup,
    /// The group makes the folder; its appearance wakes us.
    AwaitFolder,
    /// The task failed: report, forget it, and try again after a while.
    Failed(Arc<Fault>),
    /// Clone the template into this folder.
    Clone(MoRef),
    /// Power the machine on.
    PowerOn(MoRef),
    /// Power the machine off, to destroy it next.
    PowerOff(MoRef),
    /// Destroy the machine.
    Destroy(MoRef),
    /// A stranger bears our name.
    Conflict(MoRef),
    /// More than one machine bears our marker.
    Duplicates(Vec<MoRef>),
    /// The machine was moved out of the operator's folder.
    Moved(MoRef),
    /// As asked.
    Settled,
    /// Deleted, and nothing of it is left.
    Gone,
}

/// Decides the next step.
#[must_use]
pub fn plan(deleting: bool, seen: &Observed) -> Step {
    if !seen.synced {
        return Step::Blind;
    }
    if seen.reply_lost {
        return Step::Refresh;
    }
    match &seen.task {
        Some((kind, Outcome::Running)) => return Step::Await(*kind),
        Some((kind, Outcome::Failed(fault))) if !harmless(*kind, fault.kind(), seen) => {
            return Step::Failed(fault.clone());
        }
        Some((_, Outcome::Failed(_))) if !seen.refreshed => return Step::Refresh,
        // The task's end and what it brought about may arrive one after the other.
        Some((kind, Outcome::Ended)) if !seen.refreshed && !shows(*kind, seen) => return Step::Refresh,
        Some(_) | None => {}
    }
    match seen.mine.as_slice() {
        [] => absent(deleting, seen),
        [machine, ..] if deleting => remove(&machine.moref, machine.power),
        [machine] => match machine.power {
            Some(PowerState::On) => Step::Settled,
            None => Step::AwaitClarity(machine.moref.clone()),
            Some(_) => Step::PowerOn(machine.moref.clone()),
        },
        several => Step::Duplicates(several.iter().map(|m| m.moref.clone()).collect()),
    }
}

/// The next step towards a machine's end.
fn remove(moref: &MoRef, power: Option<PowerState>) -> Step {
    match power {
        Some(PowerState::Off) => Step::Destroy(moref.clone()),
        Some(_) => Step::PowerOff(moref.clone()),
        None => Step::AwaitClarity(moref.clone()),
    }
}

/// The next step where no machine bears our marker.
fn absent(deleting: bool, seen: &Observed) -> Step {
    if let Some(moref) = &seen.unread {
        return Step::AwaitClarity(moref.clone());
    }
    if let Some(moref) = &seen.vanished {
        return Step::LookFor(moref.clone());
    }
    if let Some((moref, power)) = &seen.moved {
        return if deleting { remove(moref, *power) } else { Step::Moved(moref.clone()) };
    }
    if seen.earlier_clones > 0 {
        return Step::AwaitEarlierClone;
    }
    if deleting {
        return Step::Gone;
    }
    if !seen.group {
        return Step::AwaitGroup;
    }
    match (&seen.stranger, &seen.folder) {
        (Some(stranger), _) => Step::Conflict(stranger.clone()),
        (None, None) => Step::AwaitFolder,
        (None, Some(folder)) => Step::Clone(folder.clone()),
    }
}

/// Whether the inventory shows what a task of this kind brings about.
fn shows(kind: TaskKind, seen: &Observed) -> bool {
    let power = seen.mine.first().and_then(|m| m.power);
    match kind {
        TaskKind::Clone => !seen.mine.is_empty(),
        TaskKind::PowerOn => seen.mine.is_empty() || power == Some(PowerState::On),
        TaskKind::PowerOff => match &seen.moved {
            Some((_, power)) => *power == Some(PowerState::Off),
            None => seen.mine.is_empty() || power == Some(PowerState::Off),
        },
        TaskKind::Destroy => seen.mine.is_empty(),
    }
}

/// Whether a fault only says that things are already as the task would have made them, or that the
/// inventory knows better what comes next.
fn harmless(task: TaskKind, fault: Kind, seen: &Observed) -> bool {
    match (task, fault) {
        (TaskKind::PowerOn | TaskKind::PowerOff, Kind::InvalidPowerState | Kind::NotFound)
        | (TaskKind::Destroy, Kind::NotFound) => true,
        (TaskKind::Clone, Kind::DuplicateName) => !seen.mine.is_empty() || seen.stranger.is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
