//! What to do about an AKODeploymentConfig: a pure function of what was seen.
//!
//! ```text
//!   ask AVI ──▶ checks ──▶ record into the status ──▶ change AVI ──▶ ask AVI ──▶ AviInfraSetting ──▶ settled
//!
//!   deleted: waits until no Cluster takes AKO from it, then the same with nothing wished, until the record is empty
//! ```

use std::time::Duration;

use infra_clients::avi::Version;
use jiff::Timestamp;
use operator_kit::Turn;

use super::port_groups;
use super::port_groups::plan::{DISCOVERY, make, remove, undiscovered};
use super::record::{Change, Items, present, settle, wished};
use super::seen::{Facts, Seen};
use crate::api::{
    Added, AddedPortGroup, AkoDeploymentConfig, AkoDeploymentConfigSpec, FORCE_ANNOTATION, Place, reason,
};
use crate::infra_setting;

/// How long an answer of AVI is good for. Shorter than the time after which the driver looks again by itself.
pub(super) const FRESH: Duration = Duration::from_mins(10);
/// How many Clusters a message names.
const NAMED: usize = 5;

/// What `apply` does.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Asks AVI what it has.
    Ask,
    /// Writes the record of what is added.
    Record(Added),
    /// Writes the record of the Clusters that AKO is delivered to, and where on AVI they work.
    Deliver {
        /// The Clusters.
        to: Vec<String>,
        /// The place; `None` where nothing is.
        place: Option<Place>,
    },
    /// Asks the vCenter what it has.
    AskVcenter,
    /// Writes the record of port groups.
    RecordGroups(Vec<AddedPortGroup>),
    /// Makes, changes or removes a port group.
    ChangeGroup(port_groups::Change),
    /// Looks at the task of such a change.
    LookAtTask,
    /// Changes AVI.
    Configure(Box<Change>),
    /// Changes the AviInfraSetting in the management cluster.
    Infra(infra_setting::Change),
}

/// Decides what to do next.
#[must_use]
pub fn decide(adc: &AkoDeploymentConfig, seen: &Seen, now: Timestamp) -> Turn<Plan> {
    let mine = adc.status.as_ref().and_then(|status| status.added.as_ref());
    let mine = mine.map(Items::from).unwrap_or_default();
    let is_deleting = seen.basis.is_deleting;
    if let Some(turn) = before_avi(adc, seen, &mine, now) {
        return turn;
    }
    let awaited = |facts: &Facts| {
        let name = undiscovered(&adc.spec, &seen.groups.basis.record, facts);
        name.filter(|_| !is_deleting).map(str::to_owned)
    };
    let known = seen.answer.as_ref().filter(|answer| {
        let fresh = if awaited(&answer.facts).is_some() { DISCOVERY } else { FRESH };
        let age = now.duration_since(answer.at).unsigned_abs();
        let asked = |uuid: &&str| answer.facts.asked.contains(*uuid);
        answer.basis == seen.basis
            && age < fresh
            && mine.networks().iter().all(asked)
            && mine.profiles().iter().all(asked)
            && mine.roles.iter().all(|name| asked(&&**name))
    });
    let Some(answer) = known else { return Turn::Act(Plan::Ask) };
    let facts = &answer.facts;
    let problem = (!is_deleting).then(|| problem(&adc.spec, facts)).flatten();
    match (problem, awaited(facts)) {
        (None | Some((reason::NETWORK_NOT_FOUND, _)), Some(name)) => return waiting(&name, facts),
        (Some((reason, message)), _) => return Turn::Blocked { reason, message },
        (None, None) => {}
    }
    let wished = if is_deleting { Items::default() } else { wished(&adc.spec, facts) };
    let present = present(facts);
    let record = settle(&mine, &wished, &present, &seen.claimed, &seen.released);
    if record != mine {
        return Turn::LookAgain(Plan::Record(Added::from(&record)));
    }
    let Some(change) = Change::of(&record, wished, facts) else {
        if let Some(change) = seen.infra.as_ref().and_then(|live| infra_setting::change(adc, live)) {
            return Turn::LookAgain(Plan::Infra(change));
        }
        return remove(&adc.spec, &seen.groups, now, false).unwrap_or(Turn::Settled);
    };
    for (uuid, subnets) in &facts.networks {
        let mut network = infra_clients::avi::objects::Network {
            configured_subnets: subnets.clone(),
            ..Default::default()
        };
        if let Err(overlap) = change.edit_network(uuid, &mut network) {
            return Turn::Blocked { reason: reason::POOLS_OVERLAP, message: overlap.to_string() };
        }
    }
    Turn::Act(Plan::Configure(Box::new(change)))
}

/// Decides what has to be done before AVI is asked, if anything.
fn before_avi(adc: &AkoDeploymentConfig, seen: &Seen, mine: &Items, now: Timestamp) -> Option<Turn<Plan>> {
    let is_deleting = seen.basis.is_deleting;
    if let Some(turn) = record_deliveries(adc, seen, mine) {
        return Some(turn);
    }
    if is_deleting && !seen.delivered.is_empty() {
        return Some(in_use(&seen.delivered));
    }
    if is_deleting && seen.is_forced {
        return Some(Turn::Gone);
    }
    if is_deleting && mine.is_empty() {
        return Some(remove(&adc.spec, &seen.groups, now, true).unwrap_or(Turn::Gone));
    }
    let recorded = adc.status.as_ref().and_then(|status| status.place.as_ref());
    if let Some(place) = recorded.filter(|place| **place != Place::from(&adc.spec)) {
        return Some(moved(place));
    }
    if let Some(problem) = &seen.problem {
        let hint = if is_deleting {
            format!(
                "; or remove what status.added names on AVI by hand, then annotate the AKODeploymentConfig with {FORCE_ANNOTATION}=true"
            )
        } else {
            String::new()
        };
        let message = format!("{}{hint}", problem.message);
        return Some(Turn::Blocked { reason: problem.reason, message });
    }
    (!is_deleting).then(|| make(&adc.spec, &seen.groups, now)).flatten()
}

/// Decides whether the record of deliveries has to be written first: a Cluster gets AKO only once it is in it.
fn record_deliveries(adc: &AkoDeploymentConfig, seen: &Seen, mine: &Items) -> Option<Turn<Plan>> {
    let status = adc.status.clone().unwrap_or_default();
    let is_somewhere = !seen.delivered.is_empty() || !mine.is_empty();
    let place = match (status.place.clone(), is_somewhere || !seen.basis.is_deleting) {
        (Some(place), true) if is_somewhere => Some(place),
        (_, true) => Some(Place::from(&adc.spec)),
        (_, false) => None,
    };
    // A place that was changed is reported, not taken over.
    let is_moved = is_somewhere && place.as_ref().is_some_and(|place| *place != Place::from(&adc.spec));
    let added = seen.delivered.iter().any(|key| !status.delivered_to.contains(key));
    if place == status.place && (seen.delivered == status.delivered_to || is_moved && added) {
        return None;
    }
    Some(Turn::LookAgain(Plan::Deliver { to: seen.delivered.clone(), place }))
}

/// Waits until AVI has found a port group.
fn waiting(name: &str, facts: &Facts) -> Turn<Plan> {
    let is_of_vcenter = facts.cloud.as_ref().is_some_and(|cloud| cloud.is_of_vcenter);
    let hint =
        if is_of_vcenter { "some minutes are normal" } else { "only clouds of the type vCenter do that" };
    let message = format!("AVI has not found the port group {name} in the vCenter of its cloud yet; {hint}");
    Turn::Wait { reason: reason::PORT_GROUP_UNDISCOVERED, message, after: Some(DISCOVERY) }
}

fn moved(place: &Place) -> Turn<Plan> {
    let Place { controller, cloud, tenant } = place;
    let message = format!(
        "Clusters have AKO, or AVI has ranges and networks, at controller {controller:?}, cloud {cloud:?}, tenant {tenant:?}: write these back; \
         for another place create another AKODeploymentConfig, and let the Clusters take AKO from it after AKO has left them"
    );
    Turn::Blocked { reason: reason::PLACE_CHANGED, message }
}

fn in_use(clusters: &[String]) -> Turn<Plan> {
    let named = clusters.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = clusters.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!(
        "Clusters take AKO from it, and keep it meanwhile: {named}{more}; remove their labels, delete them, or let another \
         AKODeploymentConfig select them"
    );
    Turn::Blocked { reason: reason::IN_USE, message }
}

/// Returns what of the spec AVI does not have.
fn problem(spec: &AkoDeploymentConfigSpec, facts: &Facts) -> Option<(&'static str, String)> {
    let asked = spec.controller_version.as_deref().filter(|version| !version.is_empty());
    let asked = asked.and_then(|version| version.parse::<Version>().ok());
    if let (Some(asked), Some(has)) = (asked, facts.version)
        && asked > has
    {
        let message = format!(
            "spec.controllerVersion is {asked}, and the controller has {has}: leave it empty, or write a version that is not newer"
        );
        return Some((reason::CONTROLLER_UNSUPPORTED, message));
    }
    let cloud_name = &spec.cloud_name;
    let Some(cloud) = &facts.cloud else {
        let message =
            format!("spec.cloudName: AVI has no cloud {cloud_name:?}: correct the name, or create it");
        return Some((reason::CLOUD_NOT_FOUND, message));
    };
    if cloud.profile.is_none() {
        let message = format!(
            "the cloud {cloud_name:?} doesn't have any ipam profile configured, so AVI has no addresses for virtual services: \
             give it one on AVI"
        );
        return Some((reason::IPAM_MISSING, message));
    }
    if !facts.has_group {
        let message = format!(
            "spec.serviceEngineGroup: the cloud {cloud_name:?} has no service engine group {:?}: correct the name, or create it",
            spec.service_engine_group
        );
        return Some((reason::SE_GROUP_NOT_FOUND, message));
    }
    if facts.tenant.is_none() {
        let tenant = spec.tenant.as_ref().map(|tenant| &*tenant.name).unwrap_or_default();
        let message =
            format!("spec.tenant.name: AVI has no tenant {tenant:?}: correct the name, or create it");
        return Some((reason::TENANT_NOT_FOUND, message));
    }
    let control_plane = spec.control_plane_network.as_ref();
    let control_plane = control_plane.map(|network| ("spec.controlPlaneNetwork.name", &network.name));
    let names = [Some(("spec.dataNetwork.name", &spec.data_network.name)), control_plane];
    let missing = names.into_iter().flatten().find(|(_, name)| !facts.names.contains_key(*name));
    missing.map(|(field, name)| {
        let message = format!(
            "{field}: the cloud {cloud_name:?} has no network {name:?}: correct the name; a new port group of a vCenter shows after some \
             minutes"
        );
        (reason::NETWORK_NOT_FOUND, message)
    })
}

#[cfg(test)]
mod tests;
