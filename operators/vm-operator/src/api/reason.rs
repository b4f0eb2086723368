//! Reasons: the CamelCase constants that conditions, events and metrics share. `docs/vm-operator/reasons.md` says what to do
//! about each; a test compares the two. Reasons of a failing vCenter are those of the client:
//! `infra_clients::vsphere::REASONS`.

use infra_clients::Class;
use operator_kit::error::{INTERNAL_ERROR, KUBERNETES_REFUSED};

operator_kit::reasons! {
    /// The object is as its spec asks.
    AS_ASKED = "AsAsked";
    /// Virtual machines are being made, powered on or removed.
    SCALING = "Scaling";
    /// No work is in flight.
    IDLE = "Idle";
    /// The machine is being cloned.
    CLONING = "Cloning";
    /// The machine waits in the clone queue: as many clones as `--max-clones` allows are in flight.
    QUEUED = "Queued";
    /// The machine waits in the clone queue, in which clones of other groups have held places for long.
    QUEUE_HELD = "QueueHeld";
    /// The group's status is about to name the vCenter, which it does before a machine is requested.
    RECORDING = "Recording";
    /// The machine is being powered on.
    POWERING_ON = "PoweringOn";
    /// The group moves to the connected vCenter: it has no VmInstance in the one that its status names.
    MOVING_TO_VCENTER = "MovingToVCenter";
    /// The machines or the folder of the object are in another vCenter than the connected one.
    IN_ANOTHER_VCENTER = "InAnotherVCenter";
    /// The machine is being powered off and destroyed.
    REMOVING = "Removing";
    /// A machine of the original operator is being marked as this instance's.
    ADOPTING = "Adopting";
    /// The inventory is being brought up to date.
    REFRESHING = "Refreshing";
    /// The group's folder does not exist yet.
    WAITING_FOR_FOLDER = "WaitingForFolder";
    /// The template is being looked up.
    WAITING_FOR_TEMPLATE = "WaitingForTemplate";
    /// A clone that may be this instance's, requested before a restart or with its response lost, is still running.
    WAITING_FOR_EARLIER_CLONE = "WaitingForEarlierClone";
    /// A VmInstance of the same name exists that belongs to another group.
    WAITING_FOR_PREDECESSOR = "WaitingForPredecessor";
    /// `spec.paused` is set.
    PAUSED = "Paused";
    /// Some machines were made from an earlier spec.
    OUTDATED_MACHINES = "OutdatedMachines";
    /// The folder held objects that are not the group's and was kept.
    FOLDER_KEPT = "FolderKept";
    /// The operator let go of a machine without destroying it.
    MACHINE_RELEASED = "MachineReleased";
    /// The annotation `detach` is `true`.
    DETACHED = "Detached";
    /// An event: the machine was made.
    CLONED = "Cloned";
    /// An event: the machine is powered on for the first time.
    POWERED_ON = "PoweredOn";
    /// An event: the machine was made again, or powered on again.
    REPAIRED = "Repaired";
    /// An event: the machine was destroyed.
    REMOVED = "Removed";
    /// Machines in the group's folders have a marker of its namespace in this cluster and no VmInstance.
    ORPHANS = "Orphans";
    /// No machine in the group's folders has a marker of its namespace in this cluster and no VmInstance.
    NO_ORPHANS = "NoOrphans";

    /// A virtual machine that is not ours has the name.
    NAME_CONFLICT = "NameConflict";
    /// Several virtual machines have the instance's marker and instanceUuid.
    DUPLICATE_MACHINES = "DuplicateMachines";
    /// The machine was moved out of the operator's folder.
    MACHINE_MOVED = "MachineMoved";
    /// The machine was turned into a template.
    MACHINE_IS_TEMPLATE = "MachineIsTemplate";
    /// The vCenter cannot tell the machine's configuration or power state.
    MACHINE_UNCLEAR = "MachineUnclear";
    /// A task ended well, but the machine is not as the task should have made it.
    MACHINE_UNSTABLE = "MachineUnstable";
    /// The VmInstance is not the one of its slot: it was copied or edited by hand.
    INVALID_INSTANCE = "InvalidInstance";
    /// The VmGroup of the VmInstance does not exist, or does not parse.
    NO_GROUP = "NoGroup";
    /// Machines need help for a reason that only a newer operator knows.
    MACHINES_NEED_HELP = "MachinesNeedHelp";
    /// The folder with the machines of the original operator does not exist.
    ORIGINALS_NOT_FOUND = "OriginalsNotFound";
    /// The finalizer of the original operator came back after the adoption.
    ORIGINAL_STILL_RUNS = "OriginalStillRuns";
    /// The namespace is being deleted, so nothing can be adopted in it.
    NAMESPACE_TERMINATING = "NamespaceTerminating";
    /// The annotation `detach` is neither `true` nor absent.
    DETACH_UNCLEAR = "DetachUnclear";
    /// `spec.replicas` is larger than `--max-replicas`.
    TOO_MANY_REPLICAS = "TooManyReplicas";
}

/// Returns whether a person has to act on an instance whose Ready condition is not True with this reason.
#[must_use]
pub fn needs_help(reason: &str) -> bool {
    matches!(
        reason,
        NAME_CONFLICT
            | DUPLICATE_MACHINES
            | MACHINE_MOVED
            | MACHINE_IS_TEMPLATE
            | MACHINE_UNCLEAR
            | INVALID_INSTANCE
            | NO_GROUP
            | DETACH_UNCLEAR
            | IN_ANOTHER_VCENTER
            | INTERNAL_ERROR
            | KUBERNETES_REFUSED
    ) || infra_clients::vsphere::class_of(reason).is_some_and(|class| class != Class::Retry)
}

/// Returns the constant of a reason that was read from a status; [`MACHINES_NEED_HELP`] where it is none of this version.
#[must_use]
pub fn intern(reason: &str) -> &'static str {
    let known = ALL.iter().chain(infra_clients::vsphere::REASONS).chain(operator_kit::reasons::KIT);
    known.copied().find(|known| *known == reason).unwrap_or(MACHINES_NEED_HELP)
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn the_docs_explain_every_reason() {
        let docs = include_str!("../../../../docs/vm-operator/reasons.md");
        let reasons = ALL.iter().chain(infra_clients::vsphere::REASONS);
        operator_kit::reasons::check_documented(docs, reasons).unwrap();
    }
}
