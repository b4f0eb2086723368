//! The status of an instance: a pure function of the old one, what was seen and how the pass ended. The last of the four
//! steps; the driver writes it.

use infra_clients::vsphere::{MoRef, PowerState};
use k8s_openapi::jiff::Timestamp;
use operator_kit::Outcome;
use operator_kit::conditions::{self, Status};

use crate::api::{TaskKind, VmInstance, VmInstanceStatus, condition, reason};
use crate::detach;
use crate::error::Error;

use super::apply::Done;
use super::plan::{is_destroyed, to_be};
use super::seen::{Missing, Seen};

/// Computes the status.
#[must_use]
pub fn status(
    old: Option<&VmInstanceStatus>,
    instance: &VmInstance,
    seen: Option<&Seen>,
    outcome: &Outcome<Done, Error>,
    now: Timestamp,
) -> Option<VmInstanceStatus> {
    let (ready, reason, message) = ready(old, instance, seen, outcome)?;
    let generation = instance.metadata.generation;
    let mut status = old.cloned().unwrap_or_default();
    if let Some(seen) = seen.filter(|seen| seen.blind.is_none() && seen.other_vcenter.is_none()) {
        // Also of one that is paused: its group may leave this vCenter meanwhile.
        status.vcenter = seen.vcenter.clone().or(status.vcenter);
        if seen.tracked {
            record(&mut status, seen);
        }
    }
    if matches!(outcome, Outcome::Settled) {
        status.provisioned = Some(true);
    }
    status.observed_generation = generation;
    detach::set_condition(
        &mut status.conditions,
        instance,
        "its virtual machine stays when it is deleted",
        now,
    );
    conditions::set(&mut status.conditions, condition::READY, ready, reason, &message, generation, now);
    Some(status)
}

/// Records the machine and the clone task.
fn record(status: &mut VmInstanceStatus, seen: &Seen) {
    match seen.mine.as_slice() {
        [machine] => {
            status.vm_ref = Some(machine.moref.value().to_owned());
            status.power = machine.power.map(|power| spell(power).to_owned());
            status.revision.clone_from(&machine.revision);
            if machine.marked {
                status.marked = Some(true);
            }
        }
        // What a clone has made, and the inventory has never shown: the vCenter forgets its task.
        [] if let Some(moref) = unseen(seen) => status.vm_ref = Some(moref.value().to_owned()),
        // The reference is kept as long as anything may be behind it.
        [] if seen.unread.is_none()
            && seen.lost.is_none()
            && (is_destroyed(seen) || matches!(seen.missing, Missing::No | Missing::Gone)) =>
        {
            (status.vm_ref, status.power, status.revision) = (None, None, None);
        }
        _ => {}
    }
    status.task.clone_from(&seen.task);
}

/// Returns the machine of the instance that the inventory does not show. What was not looked up, or cannot be read, is the instance's only if
/// its own clone has made it.
fn unseen(seen: &Seen) -> Option<&MoRef> {
    match &seen.missing {
        Missing::Elsewhere(moref) => Some(moref),
        Missing::Unknown(moref) | Missing::Unclear(moref) if seen.task.is_some() => Some(moref),
        Missing::No | Missing::Gone | Missing::LookingUp | Missing::Unknown(_) | Missing::Unclear(_) => None,
    }
}

/// Status, reason and message of the Ready condition; `None` leaves the status as it is.
fn ready(
    old: Option<&VmInstanceStatus>,
    instance: &VmInstance,
    seen: Option<&Seen>,
    outcome: &Outcome<Done, Error>,
) -> Option<(Status, &'static str, String)> {
    match outcome {
        Outcome::Settled => Some((Status::True, reason::AS_ASKED, "powered on".to_owned())),
        Outcome::Acted(done) => match done.requested {
            // The response is about to arrive; the status of what it brings about is written then.
            Some(kind) if kind != TaskKind::Clone || claims_ready(old) => {
                let (reason, message) = to_be(kind, &instance.spec.template);
                Some((Status::False, reason, message))
            }
            None if is_gone(seen) && claims_ready(old) => {
                let message = "the vCenter shows no virtual machine of this VmInstance".to_owned();
                Some((Status::False, reason::CLONING, message))
            }
            _ => None,
        },
        Outcome::Waiting(reason::REFRESHING, _) if !is_gone(seen) || !claims_ready(old) => None,
        Outcome::Waiting(reason::CLONING, _)
            if seen.is_some_and(|seen| seen.task.is_none()) && !claims_ready(old) =>
        {
            None
        }
        Outcome::Waiting(reason, message) => {
            // Another reason, such as a pause, is known without the vCenter.
            let blind = seen.and_then(|seen| seen.blind.as_ref()).filter(|blind| blind.reason == *reason);
            if blind.is_some_and(|blind| !blind.reported) {
                return None;
            }
            let unknown = blind.is_some() || *reason == reason::MACHINE_UNCLEAR;
            Some((if unknown { Status::Unknown } else { Status::False }, reason, message.clone()))
        }
        Outcome::Blocked(..) | Outcome::Failed(_) => Some(outcome.ready(reason::AS_ASKED)),
    }
}

/// Returns whether the last status says that the machine is powered on.
fn claims_ready(old: Option<&VmInstanceStatus>) -> bool {
    let ready = old.and_then(|old| conditions::get(&old.conditions, condition::READY));
    ready.is_some_and(|ready| ready.status == "True")
}

/// Returns whether the vCenter shows no machine of the instance.
fn is_gone(seen: Option<&Seen>) -> bool {
    seen.is_some_and(|seen| seen.tracked && seen.blind.is_none() && seen.mine.is_empty())
}

fn spell(state: PowerState) -> &'static str {
    match state {
        PowerState::On => "poweredOn",
        PowerState::Off => "poweredOff",
        PowerState::Suspended => "suspended",
    }
}

#[cfg(test)]
mod tests;
