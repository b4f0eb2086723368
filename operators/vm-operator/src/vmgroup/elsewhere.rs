//! What to do about a group whose status names another vCenter than the connected one. A part of `plan`, and pure.

use infra_clients::vsphere::ANOTHER_VCENTER;
use operator_kit::Turn;

use crate::api::{VmGroup, reason};
use crate::detach::is_detached;

use super::plan::{Plan, RECORDED, Seen};

/// Stops at a group whose machines, or folder, are in a vCenter that cannot be asked; `None` for any other.
#[must_use]
pub fn plan(group: &VmGroup, seen: &Seen) -> Option<Turn<Plan>> {
    let elsewhere = seen.elsewhere.as_ref()?;
    if group.metadata.deletion_timestamp.is_some() && is_detached(group) {
        return None;
    }
    // A VmInstance that is made before the status names this vCenter would count as one of the other.
    if is_moving(group, seen) {
        let message = "this vCenter is being recorded in the status as the group's".to_owned();
        return Some(Turn::Wait { reason: reason::SCALING, message, after: Some(RECORDED) });
    }
    let message = format!(
        "{}: let VC_HOST name that one again; if it is gone for good, annotate this VmGroup with \
         vm.codeconnect.vmworld.com/detach=true and delete it, or its VmInstances to keep the VmGroup",
        elsewhere.message()
    );
    Some(Turn::Blocked { reason: ANOTHER_VCENTER, message })
}

/// Returns whether a group moves to the connected vCenter: without VmInstances it has no machine in the other.
#[must_use]
pub fn is_moving(group: &VmGroup, seen: &Seen) -> bool {
    seen.elsewhere.is_some() && seen.members.is_empty() && group.metadata.deletion_timestamp.is_none()
}
