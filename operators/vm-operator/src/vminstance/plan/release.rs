//! Giving up machines: as a person asks, or since they are not the operator's to remove.

use infra_clients::vsphere::MoRef;
use operator_kit::Turn;

use super::{Action, plan_request, wait};
use crate::api::{TaskKind, VmInstance, reason};
use crate::detach::{self, Detach};
use crate::vminstance::identity::recorded;
use crate::vminstance::seen::{InDoubt, Missing, Seen};

/// Gives up the machine, as a person asks. Where its removal may have begun, the vCenter is asked first what has become of it, so that none
/// is said to stay that does not. A vCenter that is lost keeps no object.
pub(super) fn plan_detach(instance: &VmInstance, seen: &Seen) -> Turn<Action> {
    match &seen.blind {
        Some(blind) if !blind.reported => return wait(blind.reason, &blind.message),
        None if seen.other_vcenter.is_none() => {}
        _ => return plan_release(seen, recorded(instance)),
    }
    if !seen.tracked {
        return Turn::LookAgain(Action::Track);
    }
    let is_removed = matches!(seen.request, Some((TaskKind::PowerOff | TaskKind::Destroy, _)));
    if is_removed || seen.doubt == InDoubt::ResponseLost {
        return plan_request(instance, true, seen);
    }
    match &seen.missing {
        _ if seen.released => Turn::Gone,
        Missing::Gone => Turn::Gone,
        Missing::Unknown(moref) if recorded(instance).as_ref() == Some(moref) => {
            Turn::LookAgain(Action::LookUp(moref.clone()))
        }
        Missing::LookingUp => wait(reason::REMOVING, "the vCenter is asked whether the machine exists"),
        _ => plan_release(seen, recorded(instance)),
    }
}

/// Gives up the machine without touching it.
pub(super) fn plan_release(seen: &Seen, machine: Option<MoRef>) -> Turn<Action> {
    match machine.filter(|_| !seen.released) {
        Some(machine) => Turn::LookAgain(Action::Release(machine)),
        None => Turn::Gone,
    }
}

/// Returns what is wrong with the annotation `detach` of the instance or its group.
pub(super) fn unclear_detach(instance: &VmInstance, seen: &Seen) -> Option<String> {
    let of_group = || {
        let is_unclear = seen.group.is_some_and(|group| group.detach == Detach::Unclear);
        is_unclear.then(|| {
            "detach of the VmGroup is not \"true\": write \"true\", or remove the annotation; no virtual machine is removed until \
             then"
                .to_owned()
        })
    };
    detach::problem(instance).or_else(of_group)
}
