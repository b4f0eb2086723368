//! What to do about a group whose status names another vCenter than the connected one. A part of `plan`, and pure.

use operator_kit::Turn;

use super::{Plan, RECORDED};
use crate::api::{VmGroup, reason};
use crate::detach::is_detached;
use crate::vmgroup::Seen;

/// Stops at a group whose machines, or folder, are in a vCenter that cannot be asked; `None` for any other.
///
/// A group that wants machines and has no VmInstance moves to the connected vCenter: in the other it has at most an empty
/// folder. One that wants none has no reason to move, and keeps its record.
#[must_use]
pub fn plan(group: &VmGroup, seen: &Seen) -> Option<Turn<Plan>> {
    let other = seen.other_vcenter.as_ref()?;
    let is_deleted = group.metadata.deletion_timestamp.is_some();
    if is_deleted && is_detached(group) {
        return None;
    }
    if seen.members.is_empty() && group.spec.replicas > 0 && !is_deleted {
        // A VmInstance that is made before the status names this vCenter would count as one of the other.
        let message = format!("the group moves to the connected vCenter (instanceUuid {})", other.connected);
        return Some(Turn::Wait { reason: reason::MOVING_TO_VCENTER, message, after: Some(RECORDED) });
    }
    let message =
        format!("{} and delete it, or its VmInstances to keep the VmGroup", other.advice("VmGroup"));
    Some(Turn::Blocked { reason: reason::IN_ANOTHER_VCENTER, message })
}
