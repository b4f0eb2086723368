//! What to do about an AKODeploymentConfig: a pure function of what was seen.
//!
//! ```text
//!   ask AVI ──▶ checks ──▶ record into the status ──▶ change AVI ──▶ ask AVI ──▶ AviInfraSetting ──▶ settled
//!
//!   deleted: waits until no Cluster takes AKO from it, then the same with nothing wished, until the record is empty
//! ```

mod unread;

use std::collections::BTreeSet;
use std::time::Duration;

use infra_clients::avi::Version;
use infra_clients::avi::objects::Network;
use jiff::Timestamp;
use operator_kit::Turn;
use operator_kit::names::first_few;

pub(super) use self::unread::stays;
use super::lost::{self, Lost};
use super::port_groups;
use super::port_groups::plan::{DISCOVERY, make, remove, undiscovered};
use super::record::{AviChange, Clash, Items, present, settle, wished};
use super::seen::{Answer, Balanced, Facts, Seen};
use super::tenants;
use crate::api::{
    Added, AddedPortGroup, AkoDeploymentConfig, AkoDeploymentConfigSpec, FORCE_ANNOTATION, MOVE_ANNOTATION,
    Place, TenantContext, reason,
};
use crate::delivery::{Way, refusal};
use crate::infra_setting;
use crate::problem::Problem;

/// How long an answer of AVI is good for. Shorter than the time after which the driver looks again by itself.
pub(super) const FRESH: Duration = Duration::from_mins(10);
/// The same for an answer that lacks something: a person may have made it meanwhile. Shorter than the time after which the driver looks
/// again at what is blocked.
const LACKING: Duration = Duration::from_mins(4);
/// Time between two looks at what is in a tenant that a deletion waits for.
const CONTENT: Duration = Duration::from_mins(1);

/// What `apply` does.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Asks AVI what it has.
    Ask,
    /// Writes the record of what is added.
    Record(Box<Added>),
    /// Writes the record of the Clusters that AKO is delivered to, and where on AVI they work.
    Deliver {
        /// The Clusters.
        to: Vec<String>,
        /// Those of them that are being deleted.
        leaving: Vec<String>,
        /// The place; `None` where nothing is.
        place: Option<Box<Place>>,
    },
    /// Removes what a Cluster has left on AVI that is gone without having been let go, then drops it from the record.
    Settle(Lost),
    /// Asks the vCenter what it has.
    AskVcenter,
    /// Writes the record of port groups.
    RecordGroups(Vec<AddedPortGroup>),
    /// Makes, changes or removes a port group.
    ChangeGroup(port_groups::PortGroupChange),
    /// Looks at the task of such a change.
    LookAtTask,
    /// Asks AVI about tenants.
    AskTenants,
    /// Makes and removes tenants.
    Tenants(tenants::TenantChange),
    /// Changes AVI.
    Configure(Box<AviChange>),
    /// Changes the AviInfraSetting in the management cluster, or removes it.
    Infra(infra_setting::InfraSettingChange),
    /// Lets the AviInfraSetting stay.
    ReleaseInfra {
        /// The change of it.
        change: infra_setting::InfraSettingChange,
        /// The Services that name it.
        services: Vec<String>,
    },
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
    let Some(answer) = fresh_answer(adc, seen, &mine, now) else { return Turn::Act(Plan::Ask) };
    let facts = &answer.facts;
    let needed = needed(adc, &seen.delivered);
    if !tenants::are_known(facts, &needed, &mine.tenants) {
        return Turn::LookAgain(Plan::AskTenants);
    }
    let unless_deleting = |problem: Option<Problem>| problem.filter(|_| !is_deleting);
    let of_place = unless_deleting(problem_of_place(&adc.spec, &seen.ways, facts));
    if let Some(Problem { reason, message }) = of_place {
        return Turn::Blocked { reason, message };
    }
    if let Some(name) = awaited(adc, seen, facts) {
        return wait_for_discovery(name, facts);
    }
    if let Some(Problem { reason, message }) = unless_deleting(missing_network(&adc.spec, facts)) {
        return Turn::Blocked { reason, message };
    }
    let wished = asked_for(adc, facts, &needed, is_deleting);
    let present = present(facts);
    let mut record = settle(&mine, &wished, &present, &seen.claimed, &seen.released);
    record.tenants.retain(|name| !tenants::is_of_others(facts, name));
    record.roles.retain(|name| !seen.kept_roles.contains(name) || wished.roles.contains(name));
    if record != mine {
        return Turn::LookAgain(Plan::Record(Box::new(Added::from(&record))));
    }
    // What another one may claim that cannot be read stays, and holds nothing up but what it is in the way of.
    let kept = if seen.unread.is_empty() { Items::default() } else { record.without(&wished) };
    let record = record.without(&kept);
    let Some(change) = AviChange::of(&record, wished, facts) else {
        return after_avi(adc, seen, &OnAvi { facts, needed: &needed, record: &record }, now);
    };
    if let Some((network, clash)) = find_clash(&change, facts) {
        if clash.is_with(network, &kept) {
            return unread::block_change(seen, &clash);
        }
        let message = describe_clash(network, &clash, &seen.others);
        return Turn::Blocked { reason: reason::POOLS_OVERLAP, message };
    }
    Turn::Act(Plan::Configure(Box::new(change)))
}

/// Returns what AVI is to have: nothing, of one that is being deleted. `needed`: the tenants.
fn asked_for(
    adc: &AkoDeploymentConfig,
    facts: &Facts,
    needed: &BTreeSet<String>,
    is_deleting: bool,
) -> Items {
    let mut wished = if is_deleting { Items::default() } else { wished(&adc.spec, facts) };
    if Place::from(&adc.spec).scope.is_some() {
        wished.tenants.clone_from(needed);
    }
    wished
}

/// Returns the port group that AVI has to find first.
fn awaited<'a>(adc: &'a AkoDeploymentConfig, seen: &Seen, facts: &Facts) -> Option<&'a str> {
    let name = undiscovered(&adc.spec, &seen.groups.basis.record, facts);
    name.filter(|_| !seen.basis.is_deleting)
}

/// Returns what AVI has, if it was asked not long ago, and for all that matters. `mine`: what the record names.
fn fresh_answer<'a>(
    adc: &AkoDeploymentConfig,
    seen: &'a Seen,
    mine: &Items,
    now: Timestamp,
) -> Option<&'a Answer> {
    let is_deleting = seen.basis.is_deleting;
    seen.answer.as_deref().filter(|answer| {
        let fresh = match &answer.facts {
            facts if awaited(adc, seen, facts).is_some() => DISCOVERY,
            facts if is_deleting && tenants::has_content(facts) => CONTENT,
            facts if !is_deleting && problem(&adc.spec, &seen.ways, facts).is_some() => LACKING,
            _ => FRESH,
        };
        let age = now.duration_since(answer.at).unsigned_abs();
        let asked = |uuid: &&str| answer.facts.asked.contains(*uuid);
        answer.basis == seen.basis
            && age < fresh
            && mine.networks().iter().all(asked)
            && mine.profiles().iter().all(asked)
            && mine.roles.iter().all(|name| asked(&&**name))
    })
}

/// Returns the network where a change would overlap what others have, and what that is.
fn find_clash<'a>(change: &AviChange, facts: &'a Facts) -> Option<(&'a str, Clash)> {
    facts.networks.iter().find_map(|(uuid, subnets)| {
        let mut network = Network { configured_subnets: subnets.clone(), ..Network::default() };
        Some((&**uuid, change.edit_network(uuid, &mut network).err()?))
    })
}

/// Says what overlaps, whose it is, and what to do. `others`: what other AKODeploymentConfigs have added.
fn describe_clash(network: &str, clash: &Clash, others: &[(String, Items)]) -> String {
    let owner = others.iter().find(|(_, items)| clash.is_with(network, items)).map(|(name, _)| name);
    match (clash, owner) {
        (Clash::Pool(_), Some(name)) => format!(
            "{clash} of the network, which the AKODeploymentConfig {name:?} has added: change ipPools of one of them"
        ),
        (Clash::Pool(_), None) => format!(
            "{clash} of the network, which the operator did not add: change ipPools, or remove that range on AVI"
        ),
        (Clash::Subnet { other, .. }, Some(name)) => format!(
            "spec.dataNetwork.cidr: {clash} of the network, which the AKODeploymentConfig {name:?} has added: write {other}, or correct \
             cidr there"
        ),
        (Clash::Subnet { other, .. }, None) => format!(
            "spec.dataNetwork.cidr: {clash} that the network has on AVI: write {other}, or remove that subnet on AVI"
        ),
    }
}

/// Returns the tenants that are needed: none any more, while the AKODeploymentConfig is being deleted.
pub(super) fn needed(adc: &AkoDeploymentConfig, clusters: &[String]) -> BTreeSet<String> {
    let is_deleting = adc.metadata.deletion_timestamp.is_some();
    if is_deleting { BTreeSet::new() } else { tenants::needed(&adc.spec, clusters) }
}

/// What AVI has, and what of it is needed.
struct OnAvi<'a> {
    facts: &'a Facts,
    /// Names of the tenants that are needed.
    needed: &'a BTreeSet<String>,
    /// What the operator added.
    record: &'a Items,
}

/// Decides what is left to do where AVI has the rest.
fn after_avi(adc: &AkoDeploymentConfig, seen: &Seen, avi: &OnAvi<'_>, now: Timestamp) -> Turn<Plan> {
    let OnAvi { facts, needed, record } = avi;
    if let Some(change) = tenants::change(facts, needed, &record.tenants) {
        return Turn::LookAgain(Plan::Tenants(change));
    }
    let infra = seen.infra.as_ref().filter(|_| !seen.basis.is_deleting);
    if let Some(change) = infra.and_then(|live| infra_setting::change(adc, live)) {
        return Turn::LookAgain(Plan::Infra(change));
    }
    if let Some(turn) = remove_groups(adc, seen, now) {
        return turn;
    }
    match tenants::in_use(facts, needed, &record.tenants) {
        // Else the condition of the tenants says it, and holds nothing up.
        Some(message) if seen.basis.is_deleting => {
            let message = format!(
                "{message}; or annotate the AKODeploymentConfig with {FORCE_ANNOTATION}=true to leave them as they are"
            );
            Turn::Wait { reason: reason::TENANT_IN_USE, message, after: Some(CONTENT) }
        }
        _ => Turn::Settled,
    }
}

/// Decides what has to be done before AVI is asked, if anything.
fn before_avi(adc: &AkoDeploymentConfig, seen: &Seen, mine: &Items, now: Timestamp) -> Option<Turn<Plan>> {
    let is_deleting = seen.basis.is_deleting;
    // Before anything is waited for.
    if let Some(change) = seen.infra.as_ref().and_then(|live| infra_setting::release(adc, live)) {
        return Some(Turn::LookAgain(Plan::Infra(change)));
    }
    if let Some(turn) = record_deliveries(adc, seen, mine) {
        return Some(turn);
    }
    if let Some(lost) = lost::next(seen, now) {
        return Some(Turn::Act(Plan::Settle(lost)));
    }
    if is_deleting && !seen.delivered.is_empty() {
        return Some(lost::block_deletion(seen).unwrap_or_else(|| block_deletion(&seen.delivered)));
    }
    if let Some(turn) = leave_setting(seen).filter(|_| is_deleting) {
        return Some(turn);
    }
    if is_deleting && seen.is_forced {
        return Some(Turn::Gone);
    }
    if is_deleting && mine.is_empty() {
        return Some(remove_groups(adc, seen, now).unwrap_or(Turn::Gone));
    }
    if is_deleting && !seen.unread.is_empty() {
        return Some(unread::block_deletion(seen));
    }
    let recorded = adc.status.as_ref().and_then(|status| status.place.as_ref());
    if let Some(place) = recorded.filter(|place| **place != Place::from(&adc.spec)) {
        return Some(block_move(place));
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

/// Decides how port groups go that are not asked for any more.
fn remove_groups(adc: &AkoDeploymentConfig, seen: &Seen, now: Timestamp) -> Option<Turn<Plan>> {
    let turn = remove(&adc.spec, &seen.groups, now, seen.basis.is_deleting)?;
    if seen.unread.is_empty() {
        return Some(turn);
    }
    // Else the condition says that it waits, and nothing else does.
    seen.basis.is_deleting.then(|| unread::block_deletion(seen))
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
    let leaving = &seen.departing.leaving;
    let is_same = seen.delivered == status.delivered_to && *leaving == status.leaving;
    if place == status.place && (is_same || is_moved && added) {
        return None;
    }
    let (to, leaving, place) = (seen.delivered.clone(), leaving.clone(), place.map(Box::new));
    Some(Turn::LookAgain(Plan::Deliver { to, leaving, place }))
}

/// Waits until AVI has found a port group.
fn wait_for_discovery(name: &str, facts: &Facts) -> Turn<Plan> {
    let is_of_vcenter = facts.cloud.as_ref().is_some_and(|cloud| cloud.is_of_vcenter);
    let hint =
        if is_of_vcenter { "some minutes are normal" } else { "only clouds of the type vCenter do that" };
    let message = format!("AVI has not found the port group {name} in the vCenter of its cloud yet; {hint}");
    Turn::Wait { reason: reason::PORT_GROUP_UNDISCOVERED, message, after: Some(DISCOVERY) }
}

fn block_move(place: &Place) -> Turn<Plan> {
    let Place { controller, cloud, tenant, scope } = place;
    let scope = scope.unwrap_or_default();
    let message = format!(
        "Clusters have AKO, or AVI has ranges and networks, at controller {controller:?}, cloud {cloud:?}, tenant {tenant:?} ({scope:?}): write these back; \
         for another place create another AKODeploymentConfig that selects the Clusters, and annotate these with {MOVE_ANNOTATION}=<its name>"
    );
    Turn::Blocked { reason: reason::PLACE_CHANGED, message }
}

fn block_deletion(clusters: &[String]) -> Turn<Plan> {
    let message = format!(
        "Clusters take AKO from it, and keep it meanwhile: {}; remove their labels, delete them, or let another \
         AKODeploymentConfig select them",
        first_few(clusters)
    );
    Turn::Blocked { reason: reason::IN_USE, message }
}

/// Removes the AviInfraSetting of a deleted one. It stays where Services of control planes name it: without it, AKO would move them to the
/// network of its own settings. Those that go are waited for, unless a person ends the wait.
fn leave_setting(seen: &Seen) -> Option<Turn<Plan>> {
    let Balanced { ending, lasting } = &seen.balanced;
    let mut services = lasting.clone();
    if seen.is_forced {
        services.extend_from_slice(ending);
    }
    let change = infra_setting::leave(seen.infra.as_ref()?, !services.is_empty())?;
    if services.is_empty() && !ending.is_empty() {
        let message = format!(
            "Services of control planes that are being deleted name its AviInfraSetting: {}; if that lasts, look at what holds them, or their \
             Clusters, up; or annotate the AKODeploymentConfig with {FORCE_ANNOTATION}=true to leave the AviInfraSetting",
            first_few(ending)
        );
        return Some(Turn::Wait { reason: reason::INFRA_SETTING_IN_USE, message, after: None });
    }
    Some(Turn::LookAgain(if services.is_empty() {
        Plan::Infra(change)
    } else {
        Plan::ReleaseInfra { change, services }
    }))
}

/// Returns what of the spec AVI does not have.
fn problem(spec: &AkoDeploymentConfigSpec, ways: &[Way], facts: &Facts) -> Option<Problem> {
    problem_of_place(spec, ways, facts).or_else(|| missing_network(spec, facts))
}

/// Returns what is wrong with the controller, also for AKO, the cloud or the tenant of the spec.
fn problem_of_place(spec: &AkoDeploymentConfigSpec, ways: &[Way], facts: &Facts) -> Option<Problem> {
    let asked = spec.controller_version.as_deref();
    let asked = asked.and_then(|version| version.parse::<Version>().ok());
    if let (Some(asked), Some(has)) = (asked, facts.version)
        && asked > has
    {
        let message = format!(
            "spec.controllerVersion is {asked}, and the controller has {has}: leave it empty, or write a version that is not newer"
        );
        return Some(Problem { reason: reason::CONTROLLER_UNSUPPORTED, message });
    }
    // What was wrong with the bundle, AVI was not asked for.
    if let Some(refusal) = refusal(spec, ways, None, facts.version) {
        return Some(refusal);
    }
    let cloud_name = &spec.cloud_name;
    let Some(cloud) = &facts.cloud else {
        let message =
            format!("spec.cloudName: AVI has no cloud {cloud_name:?}: correct the name, or create it");
        return Some(Problem { reason: reason::CLOUD_NOT_FOUND, message });
    };
    if cloud.profile.is_none() {
        let message = format!(
            "the cloud {cloud_name:?} doesn't have any ipam profile configured, so AVI has no addresses for virtual services: \
             give it one on AVI"
        );
        return Some(Problem { reason: reason::IPAM_MISSING, message });
    }
    problem_of_tenant(spec, facts)
}

/// Returns the network of the spec that the cloud does not have.
fn missing_network(spec: &AkoDeploymentConfigSpec, facts: &Facts) -> Option<Problem> {
    let cloud_name = &spec.cloud_name;
    spec.networks().find(|name| !facts.names.contains_key(*name)).map(|name| {
        let is_of_data = name == spec.data_network.name;
        let field = if is_of_data { "spec.dataNetwork.name" } else { "spec.controlPlaneNetwork.name" };
        let message = format!(
            "{field}: the cloud {cloud_name:?} has no network {name:?}: correct the name; a new port group of a vCenter shows after some \
             minutes"
        );
        Problem { reason: reason::NETWORK_NOT_FOUND, message }
    })
}

/// Returns what is wrong with the tenant that all Clusters share, or with the provider's service engines. What is wrong with the tenant of
/// one Cluster holds up only that.
fn problem_of_tenant(spec: &AkoDeploymentConfigSpec, facts: &Facts) -> Option<Problem> {
    let Place { tenant: name, scope, .. } = Place::from(spec);
    if scope.is_some() {
        let is_missing = spec.tenant_context() == TenantContext::Provider && !facts.has_group;
        return is_missing
            .then(|| Problem { reason: reason::SE_GROUP_NOT_FOUND, message: tenants::no_group(spec) });
    }
    let Some(Some(tenant)) = facts.tenants.get(&name) else {
        return tenants::refusal_of_missing(spec, &name);
    };
    tenants::refusal(spec, &name, tenant, facts)
}

#[cfg(test)]
mod tests;
