//! What to do next about one instance: a total, pure function of the object and what was seen. Reads and writes nothing;
//! `apply` carries the action out and comes next.

mod release;
mod texts;

use std::time::Duration;

use infra_clients::vsphere::vms::Template;
use infra_clients::vsphere::{Error as Fault, Kind, MoRef, PowerState};
use operator_kit::Turn;

use crate::api::{TaskKind, VmInstance, names, reason};
use crate::clone_queue::Place;
use crate::detach::{Detach, is_detached};
use crate::in_flight::Doubt;

use super::identity::recorded;
use super::seen::{AnotherVcenter, Confirmed, InDoubt, Machine, Missing, Progress, Refresh, Seen};
use release::{plan_detach, plan_release, unclear_detach};
pub use texts::to_be;
use texts::{describe, queued};

/// When to look again at a machine that is not as the inventory showed it, if no change is reported first.
const CHANGED_PAUSE: Duration = Duration::from_secs(2);

/// When to look again at a machine whose place the vCenter does not say: no change reports that it does.
const OUT_OF_REACH_PAUSE: Duration = Duration::from_secs(30);

/// When to look again at a machine outside of the operator's folder that cannot be read.
const UNCLEAR_PAUSE: Duration = Duration::from_mins(1);

/// When to look whether the group has chosen the instances to remove.
const CHOSEN: Duration = Duration::from_secs(2);

/// When an instance that waits for a place looks again at what it waits for.
const QUEUED_PAUSE: Duration = Duration::from_mins(5);

/// The next step. At most one requests a change from the vCenter.
#[derive(Clone, Debug)]
pub enum Action {
    /// Begin to track requests of this instance.
    Track,
    /// Request that the inventory be brought up to date.
    Refresh,
    /// Remember what is in doubt.
    SetDoubt(Doubt),
    /// Request where this machine is.
    LookUp(MoRef),
    /// Request to confirm that this machine is as the inventory shows it.
    Confirm(MoRef),
    /// Request that the template be looked up.
    FindTemplate,
    /// Enter the clone queue.
    Enqueue,
    /// Take a place in the clone queue although it may be one too many: the clone is in flight.
    HoldPlace,
    /// Leave the clone queue.
    LeaveQueue,
    /// Remember that no clone is in doubt, and the machine that was found.
    Found(MoRef),
    /// Forget the machine that was seen: it is gone.
    ForgetMachine,
    /// Forget the last request, as its outcome is dealt with, and remember the machine that is there.
    Settle(Option<MoRef>),
    /// Report the fault of the last request, and forget it.
    Fail(TaskKind, Fault),
    /// Report that the machine does not stay as the last task made it, and forget the task.
    FailUnstable(TaskKind),
    /// Report that the template cannot be used.
    FailTemplate(Fault),
    /// Clone the template into the folder.
    Clone {
        /// The template.
        template: MoRef,
        /// The group's folder.
        folder: MoRef,
    },
    /// Set the owner marker.
    Mark(MoRef),
    /// Power the machine on.
    PowerOn(MoRef),
    /// Power the machine off, to destroy it next.
    PowerOff(MoRef),
    /// Destroy the machine.
    Destroy(MoRef),
    /// Report that the operator no longer manages this machine.
    Release(MoRef),
}

impl Action {
    /// Returns which change of a machine, or machine, it requests of the vCenter, if any.
    #[must_use]
    pub fn requests(&self) -> Option<TaskKind> {
        match self {
            Self::Clone { .. } => Some(TaskKind::Clone),
            Self::Mark(_) => Some(TaskKind::Mark),
            Self::PowerOn(_) => Some(TaskKind::PowerOn),
            Self::PowerOff(_) => Some(TaskKind::PowerOff),
            Self::Destroy(_) => Some(TaskKind::Destroy),
            _ => None,
        }
    }
}

/// What a VmInstance of a paused group says.
const PAUSED: &str = "the VmGroup is paused: set its spec.paused to false to resume";
/// What it says if it is being deleted.
const PAUSED_IN_DELETION: &str =
    "being deleted, and the VmGroup is paused: set its spec.paused to false to go on with the deletion";

/// Decides the next step.
#[must_use]
pub fn plan(instance: &VmInstance, seen: &Seen) -> Turn<Action> {
    let deleted = instance.metadata.deletion_timestamp.is_some();
    // The machines of a deleted group go while the group's controller still deletes the instances.
    let deleting = deleted || seen.group.is_some_and(|group| group.deleting);
    let turn = if let Err(problem) = names::check(instance) {
        plan_invalid(deleting, seen, &problem)
    } else if seen.invalid_group && !(deleting && is_detached(instance)) {
        let message = "its VmGroup does not parse: see the event InvalidObject of the VmGroup";
        Turn::Blocked { reason: reason::NO_GROUP, message: message.to_owned() }
    } else if seen.group.is_some_and(|group| group.paused) {
        wait(reason::PAUSED, if deleting { PAUSED_IN_DELETION } else { PAUSED })
    } else if deleting && seen.group.is_some_and(|group| group.detach == Detach::Yes) {
        plan_detach(instance, seen)
    } else if deleting && is_detached(instance) {
        // Released before, the machine would be adopted again.
        match seen.group {
            Some(group) if group.adopting => wait(
                reason::ADOPTING,
                "released when every machine of the original operator is adopted; if the VmGroup is being deleted, annotate the \
                 VmGroup with detach instead",
            ),
            _ => plan_detach(instance, seen),
        }
    } else if let Some(message) = unclear_detach(instance, seen).filter(|_| deleting) {
        Turn::Blocked { reason: reason::DETACH_UNCLEAR, message }
    } else if let Some(blind) = &seen.blind {
        wait(blind.reason, &blind.message)
    } else if let Some(other) = &seen.other_vcenter {
        plan_other_vcenter(other)
    } else if seen.tracked {
        plan_request(instance, deleting, seen)
    } else {
        Turn::LookAgain(Action::Track)
    };
    match with_place(turn, seen) {
        Turn::Gone if !deleted => wait(reason::REMOVING, "the VmGroup is being deleted"),
        turn => turn,
    }
}

/// Keeps the place in the clone queue in step with what the instance does: held while a clone is in flight, left when the
/// instance does anything but wait for a clone.
fn with_place(turn: Turn<Action>, seen: &Seen) -> Turn<Action> {
    let cloning = matches!(seen.request, Some((TaskKind::Clone, Progress::Sending | Progress::Running)));
    let queued = matches!(
        turn,
        Turn::Act(Action::Clone { .. } | Action::Enqueue)
            | Turn::Wait { reason: reason::QUEUED | reason::QUEUE_HELD, .. }
    );
    // An instance that failed waits for its delay outside the queue.
    let goes_on = matches!(&turn, Turn::LookAgain(action) if !matches!(action, Action::Fail(..) | Action::FailUnstable(_)));
    match seen.place {
        Place::None | Place::Waiting if cloning => Turn::LookAgain(Action::HoldPlace),
        Place::Waiting | Place::Held if !cloning && !queued && !goes_on => {
            Turn::LookAgain(Action::LeaveQueue)
        }
        _ => turn,
    }
}

fn plan_invalid(deleting: bool, seen: &Seen, problem: &str) -> Turn<Action> {
    if deleting {
        return Turn::Gone;
    }
    let remedy = if seen.group.is_some() || seen.invalid_group {
        "if it is a copy, delete it, and scale the VmGroup instead; if its owner reference was removed, write that back to keep its \
         machine"
    } else {
        "that VmGroup does not exist any more: delete this VmInstance; its machine stays"
    };
    let message = format!("{problem}; nothing is done for it: {remedy}");
    Turn::Blocked { reason: reason::INVALID_INSTANCE, message }
}

/// Reports that the operator neither makes nor gives up anything: what a status names is in a vCenter that cannot be asked.
fn plan_other_vcenter(other: &AnotherVcenter) -> Turn<Action> {
    let message = format!("{} and delete it", other.advice("VmInstance"));
    Turn::Blocked { reason: reason::IN_ANOTHER_VCENTER, message }
}

/// Deals with the last request first.
fn plan_request(instance: &VmInstance, deleting: bool, seen: &Seen) -> Turn<Action> {
    if seen.doubt == InDoubt::ResponseLost && !matches!(seen.request, Some((_, Progress::Failed(_)))) {
        return refreshed(seen, || Turn::LookAgain(Action::SetDoubt(Doubt::Unexamined)));
    }
    let Some((kind, progress)) = &seen.request else { return plan_machine(instance, deleting, seen) };
    match progress {
        Progress::Sending => wait_for(to_be(*kind, &instance.spec.template)),
        Progress::Running => wait_for(describe(*kind, &instance.spec.template)),
        Progress::Failed(fault) if !is_harmless(*kind, fault.kind(), seen) => {
            Turn::LookAgain(Action::Fail(*kind, fault.clone()))
        }
        // A machine that was destroyed needs no look-up to tell that it is gone.
        Progress::Succeeded if deleting && is_destroyed(seen) => Turn::Gone,
        Progress::Succeeded | Progress::Forgotten if shows(*kind, seen) => Turn::LookAgain(settle(seen)),
        // The end of a task and its effect may arrive one after the other.
        Progress::Failed(fault) => refreshed(seen, || {
            let is_moot = shows(*kind, seen);
            Turn::LookAgain(if is_moot { settle(seen) } else { Action::Fail(*kind, fault.clone()) })
        }),
        Progress::Succeeded | Progress::Forgotten => refreshed(seen, || match kind {
            // Changed back at once, or the update was lost: not a loop at the speed of the vCenter.
            TaskKind::PowerOn | TaskKind::PowerOff | TaskKind::Mark => {
                Turn::LookAgain(Action::FailUnstable(*kind))
            }
            // It has made a machine that is not in sight, and that no status names yet.
            TaskKind::Clone if seen.missing.is_open() && !is_recorded(instance, &seen.missing) => {
                plan_machine(instance, deleting, seen)
            }
            _ => Turn::LookAgain(settle(seen)),
        }),
    }
}

fn settle(seen: &Seen) -> Action {
    Action::Settle(seen.mine.first().map(|machine| machine.moref.clone()))
}

/// Returns whether the status names the machine that the inventory does not show.
fn is_recorded(instance: &VmInstance, missing: &Missing) -> bool {
    match missing {
        Missing::Unknown(moref) | Missing::Elsewhere(moref) | Missing::Unclear(moref) => {
            recorded(instance).as_ref() == Some(moref)
        }
        Missing::No | Missing::LookingUp | Missing::Gone => false,
    }
}

/// Continues once the inventory shows everything up to now.
fn refreshed(seen: &Seen, next: impl FnOnce() -> Turn<Action>) -> Turn<Action> {
    match seen.refresh {
        Refresh::None => Turn::LookAgain(Action::Refresh),
        Refresh::Requested => wait(reason::REFRESHING, "the inventory is being brought up to date"),
        Refresh::Served => next(),
    }
}

fn plan_machine(instance: &VmInstance, deleting: bool, seen: &Seen) -> Turn<Action> {
    match seen.mine.as_slice() {
        [] => plan_absent(instance, deleting, seen),
        // The machine is that of the clone in doubt, so no doubt is left.
        [machine, ..] if seen.doubt != InDoubt::No => Turn::LookAgain(Action::Found(machine.moref.clone())),
        // The group went without its instances, or the instance was restored after it: no user asked to remove the machine.
        [machine] if deleting && seen.group.is_none() => plan_release(seen, Some(machine.moref.clone())),
        // Never destroyed: the administrator who made a template of it owns it now.
        [machine] if deleting && machine.template => plan_release(seen, Some(machine.moref.clone())),
        [machine] if deleting => plan_removal(instance, machine, seen),
        [Machine { moref, template: true, .. }] => {
            let name = &instance.spec.vm_name;
            let message = format!(
                "{name} ({moref}) was turned into a template: convert it into a virtual machine again, or move it out of the operator's \
                 folder and delete this VmInstance to have another machine in its place; the operator leaves {moref} as it is"
            );
            Turn::Blocked { reason: reason::MACHINE_IS_TEMPLATE, message }
        }
        [Machine { moref, marked: false, .. }] => Turn::Act(Action::Mark(moref.clone())),
        [Machine { moref, power, .. }] => match power {
            Some(PowerState::On) => Turn::Settled,
            None => unclear(instance, moref, None),
            Some(_) => Turn::Act(Action::PowerOn(moref.clone())),
        },
        several => {
            let name = &instance.spec.vm_name;
            let list = several.iter().map(|machine| machine.moref.to_string()).collect::<Vec<_>>().join(", ");
            let message = format!(
                "{list} all have the owner marker and instanceUuid of {name}, so the operator cannot tell which is its machine; \
                 none is touched: delete the copies, or their extraConfig entry vmgroup/owner"
            );
            Turn::Blocked { reason: reason::DUPLICATE_MACHINES, message }
        }
    }
}

/// Removes a machine once the vCenter has confirmed that it is the instance's still: an update may have been lost.
fn plan_removal(instance: &VmInstance, machine: &Machine, seen: &Seen) -> Turn<Action> {
    match seen.confirmed {
        Confirmed::Unknown => return Turn::LookAgain(Action::Confirm(machine.moref.clone())),
        Confirmed::Reading => {
            return wait(reason::REMOVING, "the vCenter is asked for the machine's present state");
        }
        Confirmed::Changed => {
            return Turn::Wait {
                reason: reason::REMOVING,
                message: "the vCenter does not show the machine as the inventory does, which is read again"
                    .to_owned(),
                after: Some(CHANGED_PAUSE),
            };
        }
        Confirmed::Unread => return out_of_reach(instance, &machine.moref),
        Confirmed::Same => {}
    }
    match machine.power {
        Some(PowerState::Off) => Turn::Act(Action::Destroy(machine.moref.clone())),
        Some(_) => Turn::Act(Action::PowerOff(machine.moref.clone())),
        None => unclear(instance, &machine.moref, None),
    }
}

/// Returns the next step where the inventory shows no machine of the instance.
fn plan_absent(instance: &VmInstance, deleting: bool, seen: &Seen) -> Turn<Action> {
    if let Some(moref) = &seen.unread {
        return unclear(instance, moref, None);
    }
    match &seen.missing {
        Missing::No | Missing::Gone => {}
        Missing::Unknown(moref) => return Turn::LookAgain(Action::LookUp(moref.clone())),
        Missing::LookingUp => {
            return wait(reason::REFRESHING, "the vCenter is asked where the virtual machine is");
        }
        // No change reports that it can be read.
        Missing::Unclear(moref) => return unclear(instance, moref, Some(UNCLEAR_PAUSE)),
        // Never destroyed outside the folder: the administrator who moved it owns it now.
        Missing::Elsewhere(moref) if deleting => return plan_release(seen, Some(moref.clone())),
        Missing::Elsewhere(moref) => {
            let name = &instance.spec.vm_name;
            let message = format!(
                "{name} ({moref}) is not in the operator's folder any more: move it back, or set VC_FOLDER back if that was changed, or \
                 delete this VmInstance to have another machine in its place; the operator leaves {moref} as it is"
            );
            return Turn::Blocked { reason: reason::MACHINE_MOVED, message };
        }
    }
    if seen.remembers {
        // Else the vCenter would be asked for it again and again.
        return Turn::LookAgain(Action::ForgetMachine);
    }
    match &seen.doubt {
        // `plan_request` deals with a lost response.
        InDoubt::No | InDoubt::ResponseLost => {}
        // Only clones of the instance's template may be its own.
        InDoubt::Unexamined(found) => {
            return match seen.template {
                Template::Unknown => Turn::LookAgain(Action::FindTemplate),
                Template::LookingUp => wait_for_template(seen),
                _ => Turn::LookAgain(Action::SetDoubt(Doubt::Watching(found.clone()))),
            };
        }
        InDoubt::Watching(0) => {
            // A clone that has just ended may not be in the inventory yet.
            return refreshed(seen, || Turn::LookAgain(Action::SetDoubt(Doubt::None)));
        }
        InDoubt::Watching(_) => {
            return wait(
                reason::WAITING_FOR_EARLIER_CLONE,
                "clones that were in flight before a restart or a lost response may be this machine's",
            );
        }
    }
    if deleting {
        // Its own, as far as it still shows: with another marker, it is not removed, and an event has to say that it stays.
        let lost = seen.stranger.clone().filter(|_| seen.lost.is_some());
        return plan_release(seen, lost);
    }
    plan_clone(instance, seen)
}

fn plan_clone(instance: &VmInstance, seen: &Seen) -> Turn<Action> {
    if seen.group.is_none() {
        let message =
            "the VmGroup of this name and UID does not exist, so no machine is made: delete this VmInstance";
        return Turn::Blocked { reason: reason::NO_GROUP, message: message.to_owned() };
    }
    if seen.has_surplus {
        // An instance without a machine is the first that goes: no other is destroyed then.
        let message = "the VmGroup has more VmInstances than replicas: no machine is made before it has chosen those to remove";
        return Turn::Wait { reason: reason::SCALING, message: message.to_owned(), after: Some(CHOSEN) };
    }
    if let Some(stranger) = &seen.stranger {
        let message = texts::describe_stranger(instance, stranger, seen);
        return Turn::Blocked { reason: reason::NAME_CONFLICT, message };
    }
    if seen.vcenter_unrecorded {
        // Else a restart with another vCenter would clone the machine there as well.
        let message = "the status of the VmGroup is about to name the vCenter";
        return wait(reason::RECORDING, message);
    }
    let Some(folder) = &seen.folder else {
        return wait(reason::WAITING_FOR_FOLDER, "the group's folder does not exist yet");
    };
    let template = match &seen.template {
        Template::Known(template) => template,
        Template::Unknown => return Turn::LookAgain(Action::FindTemplate),
        Template::LookingUp => return wait_for_template(seen),
        Template::Failed(fault) => return Turn::Act(Action::FailTemplate(fault.clone())),
    };
    match seen.place {
        Place::None => Turn::Act(Action::Enqueue),
        Place::Waiting => {
            let (reason, message) = queued(seen.jam);
            Turn::Wait { reason, message, after: Some(QUEUED_PAUSE) }
        }
        Place::Held => Turn::Act(Action::Clone { template: template.clone(), folder: folder.clone() }),
    }
}

/// Returns whether the machine was destroyed, by a task of this process that ended well.
#[must_use]
pub fn is_destroyed(seen: &Seen) -> bool {
    matches!(seen.request, Some((TaskKind::Destroy, Progress::Succeeded))) && seen.is_absent()
}

/// Returns whether the inventory shows the effect of a task of this kind.
fn shows(kind: TaskKind, seen: &Seen) -> bool {
    let power = seen.mine.first().and_then(|machine| machine.power);
    match kind {
        TaskKind::Clone => !seen.mine.is_empty(),
        TaskKind::PowerOn => seen.mine.is_empty() || power == Some(PowerState::On),
        TaskKind::PowerOff => seen.mine.is_empty() || power == Some(PowerState::Off),
        TaskKind::Destroy => seen.mine.is_empty(),
        TaskKind::Mark => seen.mine.iter().all(|machine| machine.marked),
        TaskKind::Unknown => true,
    }
}

/// Returns whether a fault only says that things are already as the task would have made them, or that the inventory knows better
/// what comes next.
fn is_harmless(task: TaskKind, fault: Kind, seen: &Seen) -> bool {
    match (task, fault) {
        (TaskKind::PowerOn | TaskKind::PowerOff, Kind::InvalidPowerState | Kind::NotFound)
        | (TaskKind::Destroy | TaskKind::Mark, Kind::NotFound) => true,
        (TaskKind::Clone, Kind::DuplicateName) => !seen.mine.is_empty() || seen.stranger.is_some(),
        _ => false,
    }
}

/// Waits for the look-up of the template that another instance requested, or this one.
fn wait_for_template(seen: &Seen) -> Turn<Action> {
    if seen.awaits_template {
        wait(reason::WAITING_FOR_TEMPLATE, "the template is being looked up")
    } else {
        Turn::LookAgain(Action::FindTemplate)
    }
}

fn wait(reason: &'static str, message: &str) -> Turn<Action> {
    Turn::Wait { reason, message: message.to_owned(), after: None }
}

fn wait_for((reason, message): (&'static str, String)) -> Turn<Action> {
    Turn::Wait { reason, message, after: None }
}

fn unclear(instance: &VmInstance, moref: &MoRef, after: Option<Duration>) -> Turn<Action> {
    let name = &instance.spec.vm_name;
    let message = format!(
        "the vCenter cannot tell the configuration or power state of {name} ({moref}): its host is disconnected or its files are out of \
         reach; bring them back, or remove the machine from the vCenter's inventory to give it up"
    );
    Turn::Wait { reason: reason::MACHINE_UNCLEAR, message, after }
}

/// Says that a machine is not removed, as the vCenter does not say where it is.
fn out_of_reach(instance: &VmInstance, moref: &MoRef) -> Turn<Action> {
    let name = &instance.spec.vm_name;
    let message = format!(
        "the vCenter does not say in which folder {name} ({moref}) is, so it is not removed: if it is in a vApp, move it into a folder; \
         else let the operator's account read the machine and the folders above it"
    );
    Turn::Wait { reason: reason::MACHINE_UNCLEAR, message, after: Some(OUT_OF_REACH_PAUSE) }
}

#[cfg(test)]
mod tests;
