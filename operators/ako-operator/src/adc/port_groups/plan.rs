//! What to do about port groups: pure functions of what was seen. Each decides the next step, or that there is none.

use std::time::Duration;

use infra_clients::vsphere::networks::PortGroup as Found;
use jiff::Timestamp;
use operator_kit::Turn;
use operator_kit::names::first_few;

use super::super::plan::{FRESH, Plan};
use super::super::seen::Facts as AviFacts;
use super::{Facts, PortGroupChange, Seen, WantedGroup, is_marked, is_network_of};
use crate::api::{
    AddedPortGroup, AkoDeploymentConfigSpec, FORCE_ANNOTATION, PORT_GROUP_MARK, PortGroup, reason,
};

/// Time between two looks at who uses a port group.
const USE: Duration = Duration::from_secs(15);
/// Time between two looks whether AVI has found a port group.
pub const DISCOVERY: Duration = Duration::from_secs(10);
/// How long a creation whose task is not known may take. An answer of the vCenter that was lost says nothing of its end.
const CREATION: Duration = Duration::from_mins(2);

/// Decides the next step until every port group of the spec is as it asks.
#[must_use]
pub fn make(spec: &AkoDeploymentConfigSpec, seen: &Seen, now: Timestamp) -> Option<Turn<Plan>> {
    if spec.port_groups.is_empty() {
        return None;
    }
    let facts = match known(seen, now, false) {
        Ok(facts) => facts,
        Err(turn) => return Some(turn),
    };
    spec.port_groups.iter().find_map(|group| make_one(group, seen, facts, now))
}

/// Decides the next step until none of the record is left that the spec does not ask for; with `all`, none at all.
#[must_use]
pub fn remove(spec: &AkoDeploymentConfigSpec, seen: &Seen, now: Timestamp, all: bool) -> Option<Turn<Plan>> {
    let surplus: Vec<&AddedPortGroup> =
        seen.basis.record.iter().filter(|added| all || !asks_for(spec, added)).collect();
    if surplus.is_empty() {
        return None;
    }
    let facts = match known(seen, now, all) {
        Ok(facts) => facts,
        Err(turn) => return Some(turn),
    };
    surplus.into_iter().map(|added| remove_one(added, seen, facts, now)).next()
}

/// Returns the port group that `dataNetwork` or `controlPlaneNetwork` names and that AVI has not found yet, if there is one.
#[must_use]
pub fn undiscovered<'a>(
    spec: &'a AkoDeploymentConfigSpec,
    record: &[AddedPortGroup],
    facts: &AviFacts,
) -> Option<&'a str> {
    spec.networks().find(|name| {
        let added = record.iter().find(|added| added.name == **name);
        let reference = added.and_then(|added| added.reference.as_deref());
        reference.is_some_and(|reference| {
            !facts.names.get(*name).is_some_and(|network| is_network_of(network, reference))
        })
    })
}

/// Returns whether the spec asks for a port group of the record.
pub(super) fn asks_for(spec: &AkoDeploymentConfigSpec, added: &AddedPortGroup) -> bool {
    spec.port_groups.iter().any(|group| group.name == added.name)
}

/// Returns what is known of the vCenter, or what has to be done to know it.
fn known(seen: &Seen, now: Timestamp, is_deleting: bool) -> Result<&Facts, Turn<Plan>> {
    let hint = if is_deleting {
        format!(
            "; or remove what status.portGroups names in the vCenter by hand, then annotate the AKODeploymentConfig with \
             {FORCE_ANNOTATION}=true"
        )
    } else {
        String::new()
    };
    if let Some(problem) = &seen.problem {
        let message = format!("{}{hint}", problem.message);
        return Err(Turn::Blocked { reason: problem.reason, message });
    }
    if let Some(task) = &seen.task {
        if now.duration_since(task.looked).unsigned_abs() >= task.pause() {
            return Err(Turn::Act(Plan::LookAtTask));
        }
        let message = format!("vCenter {}", task.change.describe());
        return Err(Turn::Wait { reason: reason::PORT_GROUP_TASK, message, after: Some(task.pause()) });
    }
    let fresh = seen.answer.as_ref().filter(|answer| {
        let most = if answer.facts.users.values().any(|users| !users.is_empty()) { USE } else { FRESH };
        answer.basis == seen.basis && now.duration_since(answer.at).unsigned_abs() < most
    });
    let Some(answer) = fresh else { return Err(Turn::Act(Plan::AskVcenter)) };
    let there = &answer.facts.vcenter;
    if let Some(added) = seen.basis.record.iter().find(|added| added.vcenter != *there) {
        let message = format!(
            "spec.vcenter: the vCenter there has the instanceUuid {there}, and the port group {:?} is in the vCenter {}: write that one \
             back{hint}",
            added.name, added.vcenter
        );
        return Err(Turn::Blocked { reason: reason::PORT_GROUPS_ELSEWHERE, message });
    }
    Ok(&answer.facts)
}

/// Decides the next step until a port group is as the spec asks.
fn make_one(group: &PortGroup, seen: &Seen, facts: &Facts, now: Timestamp) -> Option<Turn<Plan>> {
    let name = &group.name;
    let switch = match facts.switches.get(&group.switch) {
        Some(Ok(switch)) => switch,
        Some(Err(why)) => {
            let message = format!("spec.portGroups: {name:?}: {why}");
            return Some(Turn::Blocked { reason: reason::SWITCH_NOT_FOUND, message });
        }
        None => return Some(Turn::Act(Plan::AskVcenter)),
    };
    let wanted = WantedGroup::of(group, &seen.uid);
    let added = seen.basis.record.iter().find(|added| added.name == *name);
    let intent = AddedPortGroup {
        name: name.clone(),
        vcenter: facts.vcenter.clone(),
        switch: switch.clone(),
        reference: None,
        since: now.as_second(),
    };
    if let Some(reference) = added.and_then(|added| added.reference.as_deref()) {
        // One that is gone is made again.
        let Some(found) = facts.groups.get(reference) else { return Some(recorded(seen, intent)) };
        return keep(reference, found, switch, wanted, seen);
    }
    if let Some(found) = facts.named(switch, name) {
        if !is_marked(found, &seen.uid) {
            return Some(of_others(name));
        }
        let reference = Some(found.moref.as_str().to_owned());
        return Some(recorded(seen, AddedPortGroup { reference, ..intent }));
    }
    match added.filter(|added| added.switch == *switch) {
        Some(_) => Some(Turn::Act(Plan::ChangeGroup(PortGroupChange::Create(switch.clone(), wanted)))),
        None => Some(recorded(seen, intent)),
    }
}

/// Decides how a port group of the record becomes as wanted.
fn keep(
    reference: &str,
    found: &Found,
    switch: &str,
    wanted: WantedGroup,
    seen: &Seen,
) -> Option<Turn<Plan>> {
    if !is_marked(found, &seen.uid) {
        return Some(of_others(&wanted.name));
    }
    if found.switch.as_ref().is_some_and(|has| has.as_str() != switch) {
        let message = format!(
            "spec.portGroups: {:?} is on another switch, and a port group cannot move: give the one on the other switch another name",
            wanted.name
        );
        return Some(Turn::Blocked { reason: reason::PORT_GROUP_OF_OTHERS, message });
    }
    let reference = reference.to_owned();
    if found.name != wanted.name {
        return Some(Turn::Act(Plan::ChangeGroup(PortGroupChange::Rename(reference, wanted))));
    }
    let wanted = wanted.grown(found);
    (!wanted.is_met(found))
        .then_some(Turn::Act(Plan::ChangeGroup(PortGroupChange::Reconfigure(reference, wanted))))
}

/// Decides the next step until a port group is out of the record.
fn remove_one(added: &AddedPortGroup, seen: &Seen, facts: &Facts, now: Timestamp) -> Turn<Plan> {
    let name = &added.name;
    let Some(reference) = &added.reference else {
        let found = facts.named(&added.switch, name).filter(|found| is_marked(found, &seen.uid));
        if let Some(found) = found {
            let reference = Some(found.moref.as_str().to_owned());
            return recorded(seen, AddedPortGroup { reference, ..added.clone() });
        }
        let age = now.as_second().saturating_sub(added.since);
        if u64::try_from(age).unwrap_or_default() < CREATION.as_secs() {
            let message = format!("vCenter may still be making the port group {name}");
            return Turn::Wait { reason: reason::PORT_GROUP_TASK, message, after: Some(DISCOVERY) };
        }
        return forgotten(seen, name);
    };
    // One whose mark a person has removed is theirs.
    let Some(found) = facts.groups.get(reference).filter(|found| is_marked(found, &seen.uid)) else {
        return forgotten(seen, name);
    };
    if seen.used_on_avi.iter().any(|network| is_network_of(network, reference)) {
        let message = format!(
            "other AKODeploymentConfigs have addresses in the network of the port group {name} on AVI"
        );
        return Turn::Wait { reason: reason::PORT_GROUP_IN_USE, message, after: Some(USE) };
    }
    let users = facts.users.get(reference).map(Vec::as_slice).unwrap_or_default();
    if !users.is_empty() {
        return Turn::Wait {
            reason: reason::PORT_GROUP_IN_USE,
            message: in_use(name, users),
            after: Some(USE),
        };
    }
    Turn::Act(Plan::ChangeGroup(PortGroupChange::Destroy(reference.clone(), found.name.clone())))
}

/// Returns who uses a port group, in words.
#[must_use]
pub fn in_use(name: &str, users: &[String]) -> String {
    if users.is_empty() {
        return format!("the port group {name} is in use, as vCenter says: detach what uses it");
    }
    format!("the port group {name} is in use by the VMs {}: detach them", first_few(users))
}

fn of_others(name: &str) -> Turn<Plan> {
    let message = format!(
        "spec.portGroups: vCenter has a port group {name:?} without the mark of this AKODeploymentConfig in its description \
         ({PORT_GROUP_MARK}): remove it from spec.portGroups to use it as it is, or choose another name"
    );
    Turn::Blocked { reason: reason::PORT_GROUP_OF_OTHERS, message }
}

/// Writes an entry of the record, in place of one of its name.
fn recorded(seen: &Seen, entry: AddedPortGroup) -> Turn<Plan> {
    let mut record = seen.basis.record.clone();
    match record.iter_mut().find(|added| added.name == entry.name) {
        Some(added) => *added = entry,
        None => record.push(entry),
    }
    Turn::LookAgain(Plan::RecordGroups(record))
}

fn forgotten(seen: &Seen, name: &str) -> Turn<Plan> {
    let record = seen.basis.record.iter().filter(|added| added.name != *name);
    Turn::LookAgain(Plan::RecordGroups(record.cloned().collect()))
}

#[cfg(test)]
mod tests;
