//! What has to be known of all machines of a group before some are chosen to be removed.

use std::time::Duration;

use infra_clients::vsphere::MoRef;
use operator_kit::Turn;

use super::Plan;
use crate::api::{VmGroup, reason};
use crate::vmgroup::seen::{Answer, Member, Seen};
use crate::vminstance::Refresh;

/// When to look whether the vCenter has answered.
const ANSWERED: Duration = Duration::from_secs(1);

/// Brings up to date what decides which VmInstances go: the inventory, then each machine by itself. What was known before may be of a time when a
/// machine was there that is gone, and one that works would be destroyed in its place.
pub(super) fn plan(group: &VmGroup, seen: &Seen) -> Option<Turn<Plan>> {
    if !chooses(group) {
        return None;
    }
    let live = seen.members.iter().filter(|member| !member.deleting);
    let machines = live.filter_map(|member| Some((member, member.machine.as_ref()?)));
    match seen.census {
        Refresh::None => {
            Some(Turn::LookAgain(Plan::TakeCensus(machines.map(|(_, moref)| moref.clone()).collect())))
        }
        Refresh::Requested => {
            let message = "the inventory is brought up to date before VmInstances to remove are chosen";
            Some(wait_for_answer(message.to_owned()))
        }
        Refresh::Served => plan_look_up(machines),
    }
}

/// Returns whether VmInstances to remove have to be chosen: where all go, nothing has to be known of them.
pub(in crate::vmgroup) fn chooses(group: &VmGroup) -> bool {
    group.spec.replicas > 0 && group.metadata.deletion_timestamp.is_none()
}

fn plan_look_up<'a>(machines: impl Iterator<Item = (&'a Member, &'a MoRef)>) -> Option<Turn<Plan>> {
    let (mut new, mut asked, mut outdated) = (Vec::new(), Vec::new(), Vec::new());
    for (member, moref) in machines {
        let machine = (member.key.clone(), moref.clone());
        match member.answer {
            Answer::None => new.push(machine),
            Answer::Awaited => asked.push(machine),
            Answer::Outdated => outdated.push(machine),
            Answer::Given { .. } => {}
        }
    }
    if !new.is_empty() {
        return Some(Turn::LookAgain(Plan::LookUp(new)));
    }
    if let Some((key, moref)) = asked.first() {
        let (machine, of) = (moref.value(), key.name());
        return Some(wait_for_answer(format!(
            "the vCenter is asked for the machine {machine} of {of}, before VmInstances to remove are chosen"
        )));
    }
    (!outdated.is_empty()).then_some(Turn::LookAgain(Plan::LookUpAgain(outdated)))
}

fn wait_for_answer(message: String) -> Turn<Plan> {
    Turn::Wait { reason: reason::SCALING, message, after: Some(ANSWERED) }
}
