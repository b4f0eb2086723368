//! What an instance says of what it waits for, for people.

use infra_clients::vsphere::MoRef;

use crate::api::{OWNER_MARKER, TaskKind, VmInstance, reason};
use crate::memory::Jam;
use crate::vminstance::seen::{Lost, Seen};

/// What an instance waits for in the clone queue.
const QUEUE: &str = "as many clones as --max-clones allows are in flight";

/// Returns reason and message of an instance that waits in the clone queue.
pub(super) fn queued(jam: Option<Jam>) -> (&'static str, String) {
    let Some(Jam { clones, since }) = jam else { return (reason::QUEUED, QUEUE.to_owned()) };
    let clones =
        if clones == 1 { "1 of another group".to_owned() } else { format!("{clones} of other groups") };
    let message = format!(
        "{QUEUE}, {clones} among them, the oldest since {since:.0}; a clone keeps its place for at most an hour: look at the \
         tasks in the vCenter, and cancel those that hang"
    );
    (reason::QUEUE_HELD, message)
}

/// Reason and message of a request that is in flight.
pub(super) fn describe(kind: TaskKind, template: &str) -> (&'static str, String) {
    match kind {
        TaskKind::Clone => (reason::CLONING, format!("being cloned from template {template:?}")),
        TaskKind::PowerOn => (reason::POWERING_ON, "being powered on".to_owned()),
        TaskKind::PowerOff | TaskKind::Destroy => {
            (reason::REMOVING, "being powered off and removed".to_owned())
        }
        TaskKind::Mark => (reason::ADOPTING, "being marked as this VmInstance's".to_owned()),
        TaskKind::Unknown => (reason::REFRESHING, "a task of a newer operator is running".to_owned()),
    }
}

/// Reason and message of a request that the vCenter has not answered, and may not have got yet.
#[must_use]
pub fn to_be(kind: TaskKind, template: &str) -> (&'static str, String) {
    let (reason, message) = describe(kind, template);
    let message = message.strip_prefix("being ").map(|rest| format!("to be {rest}")).unwrap_or(message);
    (reason, format!("{message}; the vCenter has not answered yet"))
}

/// Says what is wrong with a machine that has the name of the instance's, and what to do.
pub(super) fn describe_stranger(instance: &VmInstance, stranger: &MoRef, seen: &Seen) -> String {
    let name = &instance.spec.vm_name;
    if let Some(other) = &seen.stranger_of {
        return format!(
            "{stranger} in the group's folder is called {name:?} but is the machine of VmInstance {other}: give it the name that \
             spec.vmName of {other} says; the operator does not touch it"
        );
    }
    match &seen.lost {
        None if seen.stranger_of_namesake => format!(
            "{stranger} in the group's folder is called {name:?} and is left of an earlier group of this name: rename or move it, or \
             delete it; the operator does not touch it"
        ),
        None => format!(
            "{stranger} in the group's folder is called {name:?} but is not this VmInstance's machine: rename or move it; the operator \
             does not touch it"
        ),
        Some(Lost::OtherCluster(cluster)) => format!(
            "{stranger} is this VmInstance's machine, but its owner marker names the cluster {cluster}, which this operator is not: \
             set CLUSTER_ID={cluster} if the operator's id was changed; the operator does not touch it"
        ),
        Some(Lost::NoMarker(marker)) => format!(
            "{stranger} has this VmInstance's instanceUuid, but not its owner marker: set the advanced configuration parameter \
             {OWNER_MARKER} of the machine to {marker}, or rename or move {stranger} and delete this VmInstance to have another \
             machine in its place; the operator does not touch it"
        ),
    }
}
