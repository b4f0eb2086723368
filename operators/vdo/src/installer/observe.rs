//! Reads what is asked for, and what there is.

mod aim;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use operator_kit::Key;

use super::claims::{Claim, owners};
use super::memory::Rollout;
use super::record::Record;
use super::seen::{DriverSeen, Seen};
use super::{Asks, Shared, in_use};
use crate::api::{ManagementState, reason};
use crate::connection::said;
use crate::desired::Desired;
use crate::error::Error;
use crate::matrix::Driver;
use crate::metrics::Shown;
use crate::nodes::{NodeSeen, State, Summary};
use crate::plan::{Cluster, Drivers, Found, Health, Hold, Installed, Wanted};
use crate::window;
use aim::{Aim, Aims};

/// Reads what is asked for, and what there is.
pub(crate) async fn observe<K: Asks>(shared: &Shared, object: &K) -> Result<Seen, Error> {
    let now = shared.clock.now();
    let desired = match object.desired() {
        Ok(desired) => desired,
        Err(problems) => {
            return Ok(Seen::unusable(Hold { reason: reason::INVALID_SETTINGS, message: said(&problems) }));
        }
    };
    let is_window_open = match is_window_open(&desired, now) {
        Ok(is_open) => is_open,
        Err(hold) => return Ok(Seen::unusable(hold)),
    };
    let records = records(shared).await?;
    let mut seen = Seen {
        cluster: Cluster { keeps_nodes: desired.keeps_nodes, is_window_open, ..Cluster::default() },
        ..Seen::default()
    };
    let is_deleted = object.meta().deletion_timestamp.is_some();
    let foreign = foreign(shared, &desired, &records, is_deleted).await?;
    let mut aims = Aims::new(shared, object, &desired, &records, foreign.cpi.is_some());
    let owners = owners(&shared.caches);
    for driver in Driver::ALL {
        let other =
            owners.get(driver).as_ref().filter(|owner| Some(&owner.uid) != object.meta().uid.as_ref());
        let aim = match other {
            // Another one decides: nothing is looked at.
            Some(other) => Aim::none(other.hold(driver)),
            None => aims.aim(driver, is_deleted).await?,
        };
        let wanted = match desired.wanted(driver, is_deleted, aim.target) {
            Wanted::Unclear(hold) => Wanted::Unclear(hold),
            _ if other.is_some() => Wanted::Unmanaged,
            wanted => wanted,
        };
        let record = records.get(driver).clone();
        let slot = seen.drivers.get_mut(driver);
        *slot = DriverSeen {
            wanted,
            record,
            choice: aim.choice,
            rendered: aim.rendered,
            ..DriverSeen::default()
        };
    }
    seen.files = std::mem::take(&mut aims.files);
    (seen.cluster.invisible, seen.outdated) = aims.invisible();
    let order = aims.order();
    found(shared, &mut seen, &foreign, now);
    nodes(shared, &desired, &mut seen, now);
    guards(shared, &mut seen).await?;
    show(shared, &seen, &owners, object);
    if let Some(order) = order.filter(|_| !is_deleted) {
        let known = shared.checkups.known(&order, now);
        seen.cluster.checks = known.checks();
        seen.checkup = Some((order, known));
    }
    Ok(seen)
}

fn is_window_open(desired: &Desired, now: Timestamp) -> Result<bool, Hold> {
    let invalid = |message: String| Hold { reason: reason::INVALID_SETTINGS, message };
    let is_open = desired.window.as_ref().map(|window| window::is_open(window, now));
    is_open.unwrap_or(Ok(true)).map_err(|problem| invalid(problem.to_string()))
}

async fn records(shared: &Shared) -> Result<Drivers<Option<Record>>, Error> {
    let mut records = Drivers::default();
    for driver in Driver::ALL {
        *records.get_mut(driver) = shared.sets.get(driver).notes().await?.as_ref().map(Record::read);
    }
    Ok(records)
}

/// Returns what shows drivers of other tools, where it matters.
async fn foreign(
    shared: &Shared,
    desired: &Desired,
    records: &Drivers<Option<Record>>,
    is_deleted: bool,
) -> Result<Drivers<Option<String>>, Error> {
    let is_open = |driver: &Driver| {
        records.get(*driver).is_none() && desired.drivers.get(*driver).state == ManagementState::Managed
    };
    if is_deleted || !Driver::ALL.iter().any(is_open) {
        return Ok(Drivers::default());
    }
    let sets: Vec<_> = Driver::ALL.iter().map(|driver| shared.sets.get(*driver).id()).collect();
    in_use::foreign(&shared.client, &sets).await
}

/// Says what there is of each driver.
fn found(shared: &Shared, seen: &mut Seen, foreign: &Drivers<Option<String>>, now: Timestamp) {
    for driver in Driver::ALL {
        let slot = seen.drivers.get_mut(driver);
        let Some(record) = &slot.record else {
            slot.found = foreign.get(driver).clone().map_or(Found::Absent, Found::Foreign);
            continue;
        };
        let rollout = shared.memory.rollout(driver, &record.digest);
        slot.is_unknown = rollout == Rollout::Unknown;
        let health = match rollout {
            _ if record.is_removing => Health::Removing,
            Rollout::Complete => Health::Available,
            Rollout::Waiting(why) => Health::Progressing(why),
            Rollout::Unknown => Health::Progressing("it has not been looked at yet".to_owned()),
        };
        slot.is_due = match slot.wanted {
            _ if record.is_removing => shared.memory.is_removal_due(driver, now),
            Wanted::Removed => shared.memory.is_removal_due(driver, now),
            _ => shared.memory.is_due(driver, &record.digest, now),
        };
        let (version, digest) = (record.version.clone(), record.digest.clone());
        slot.found = Found::Ours(Installed { version, digest, health });
    }
}

/// Says how far the Nodes are.
fn nodes(shared: &Shared, desired: &Desired, seen: &mut Seen, now: Timestamp) {
    let all = shared.nodes.all();
    let csi_nodes = &shared.csi_nodes;
    let nodes: Vec<NodeSeen> = all
        .iter()
        .map(|brief| {
            let node: Node = brief.node();
            let name = node.metadata.name.clone().unwrap_or_default();
            NodeSeen::read(&node, csi_nodes.valid(&Key::new("", &name)).as_deref())
        })
        .collect();
    seen.cluster.uninitialized =
        nodes.iter().filter(|node| node.is_uninitialized).map(|node| node.name.clone()).collect();
    seen.cluster.uninitialized.sort_unstable();
    for driver in Driver::ALL {
        let slot = seen.drivers.get_mut(driver);
        let Some(since) = slot.record.as_ref().map(|record| record.since) else { continue };
        let states: BTreeMap<String, State> = nodes
            .iter()
            .map(|node| {
                let state = match driver {
                    // What it runs on each Node is waited for in its rollout.
                    Driver::Cni => State::Ready,
                    Driver::Cpi => node.cpi(since, now),
                    Driver::Csi => node.csi(desired.zones.is_some(), since, now),
                };
                (node.name.clone(), state)
            })
            .collect();
        slot.nodes = Summary::of(states.iter().map(|(name, state)| (name.as_str(), state)));
        if driver == Driver::Cpi && matches!(slot.wanted, Wanted::Present(_) | Wanted::Unclear(_)) {
            seen.cpi_nodes = states;
        }
    }
}

/// Shows in metrics what the drivers are and are to be, but those about which another object decides.
fn show<K: Asks>(shared: &Shared, seen: &Seen, owners: &Drivers<Option<Claim>>, object: &K) {
    for driver in Driver::ALL {
        if owners.get(driver).as_ref().is_some_and(|owner| Some(&owner.uid) != object.meta().uid.as_ref()) {
            continue;
        }
        let DriverSeen { wanted, record, nodes, .. } = seen.drivers.get(driver);
        let wanted = if let Wanted::Present(target) = wanted { Some(target.version.clone()) } else { None };
        let installed = record.as_ref().map(|record| record.version.clone());
        shared.meters.show(driver, Shown { installed, wanted, nodes: nodes.clone() });
    }
}

/// Looks for what is in the way of a removal that has not begun.
async fn guards(shared: &Shared, seen: &mut Seen) -> Result<(), Error> {
    let is_removed = |driver| {
        let seen: &DriverSeen = seen.drivers.get(driver);
        seen.wanted == Wanted::Removed && seen.record.as_ref().is_some_and(|record| !record.is_removing)
    };
    let (is_storage, is_network) = (is_removed(Driver::Csi), is_removed(Driver::Cni));
    if is_storage {
        seen.cluster.volumes = in_use::volumes(&shared.client).await?;
    }
    if is_network {
        seen.cluster.pods = in_use::pods(&shared.client).await?;
    }
    Ok(())
}
