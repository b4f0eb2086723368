//! What is said about an instance: a pure function of its old status, what was seen and what came of it.
//! The last of the four steps; the patch is sent by the controller.

use infra_clients::vsphere::PowerState;
use k8s_openapi::jiff::Timestamp;
use operator_kit::conditions::{self, Status};

use crate::api::{TaskKind, TaskStatus, VmInstanceSpec, VmInstanceStatus, condition, reason};

use super::plan::{Observed, Step};

/// The Ready condition's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the machine exists and is on.
    pub ready: Status,
    /// One of [`reason`].
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Verdict {
    /// Not ready, for this reason.
    pub fn not_ready(reason: &'static str, message: impl Into<String>) -> Self {
        Self { ready: Status::False, reason, message: message.into() }
    }

    /// What a step that was reached, and carried out where it asks for something, says about the machine.
    #[must_use]
    pub fn of(step: &Step, spec: &VmInstanceSpec) -> Self {
        let no = |reason: &'static str, message: &str| Self::not_ready(reason, message);
        match step {
            Step::Settled => {
                Self { ready: Status::True, reason: reason::AS_ASKED, message: "powered on".into() }
            }
            Step::Clone(_) | Step::Await(TaskKind::Clone) => {
                no(reason::CLONING, &format!("being cloned from template {:?}", spec.template))
            }
            Step::PowerOn(_) | Step::Await(TaskKind::PowerOn) => no(reason::POWERING_ON, "being powered on"),
            Step::PowerOff(_) | Step::Await(TaskKind::PowerOff) => {
                no(reason::REMOVING, "being powered off to be removed")
            }
            Step::Destroy(_) | Step::Await(TaskKind::Destroy) | Step::Gone => {
                no(reason::REMOVING, "being removed")
            }
            Step::AwaitEarlierClone => no(
                reason::WAITING_FOR_EARLIER_CLONE,
                "clones that were under way before a restart or a lost reply may be this machine's; waiting for them to end",
            ),
            Step::AwaitClarity(moref) => Self {
                ready: Status::Unknown,
                reason: reason::MACHINE_UNCLEAR,
                message: format!(
                    "the vCenter cannot tell the configuration or power state of {moref}: its host is disconnected \
                     or its files are out of reach"
                ),
            },
            Step::AwaitGroup => no(
                reason::NO_GROUP,
                "no VmGroup of its name and UID is there, so no machine is made: delete this VmInstance, and scale \
                 a VmGroup instead",
            ),
            Step::AwaitFolder => no(reason::WAITING_FOR_FOLDER, "the group's folder is not there yet"),
            Step::Conflict(moref) => no(
                reason::NAME_CONFLICT,
                &format!(
                    "{moref} in the group's folder is called {:?} but was not made by this group: rename or move it; \
                     it will not be touched",
                    spec.vm_name
                ),
            ),
            Step::Duplicates(morefs) => {
                let list = morefs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                no(
                    reason::DUPLICATE_MACHINES,
                    &format!(
                        "{list} all bear this instance's owner marker: delete the copies, or their extraConfig entry vmgroup/owner"
                    ),
                )
            }
            Step::Moved(moref) => no(
                reason::MACHINE_MOVED,
                &format!(
                    "{moref} was moved out of the operator's folder: move it back, or delete this VmInstance to have it replaced"
                ),
            ),
            Step::Failed(fault) => no(reason::VCENTER_FAULT, &fault.to_string()),
            // The pass never ends on one of these.
            Step::Blind | Step::Refresh | Step::LookFor(_) => {
                Self { ready: Status::Unknown, reason: reason::VCENTER_UNREACHABLE, message: String::new() }
            }
        }
    }
}

/// Computes the status of an instance of this generation.
#[must_use]
pub fn status(
    old: Option<&VmInstanceStatus>,
    generation: i64,
    seen: &Observed,
    task: Option<TaskStatus>,
    verdict: &Verdict,
    now: Timestamp,
) -> VmInstanceStatus {
    let mut status = old.cloned().unwrap_or_default();
    if let [machine, ..] = seen.mine.as_slice() {
        status.vm_ref = Some(machine.moref.value().to_owned());
        status.power = machine.power.map(|p| power(p).to_owned());
        status.revision.clone_from(&machine.revision);
    } else if seen.synced && seen.moved.is_none() && seen.vanished.is_none() && seen.unread.is_none() {
        (status.vm_ref, status.power, status.revision) = (None, None, None);
    }
    status.task = task;
    status.observed_generation = Some(generation);
    let Verdict { ready, reason, message } = verdict;
    conditions::set(&mut status.conditions, condition::READY, *ready, reason, message, Some(generation), now);
    status
}

/// A power state as vSphere spells it.
fn power(state: PowerState) -> &'static str {
    match state {
        PowerState::On => "poweredOn",
        PowerState::Off => "poweredOff",
        PowerState::Suspended => "suspended",
    }
}
