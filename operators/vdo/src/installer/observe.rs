//! Reads what is asked for, and what there is.

mod gather;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use operator_kit::Key;

use super::claims::{Claim, owners};
use super::known::{Known, failing, needs_workloads, recover};
use super::record::{Patience, Record};
use super::seen::{DriverSeen, Seen};
use super::{Asks, Shared, in_use, pods};
use crate::api::reason;
use crate::connection::said;
use crate::desired::Desired;
use crate::error::Error;
use crate::foreign::Foreign;
use crate::matrix::Driver;
use crate::metrics::Shown;
use crate::nodes::NodeSeen;
use crate::plan::{Drivers, Hold, Wanted};
use crate::window;
use gather::Aims;

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
    let mut records = records(shared).await?;
    let is_deleted = object.meta().deletion_timestamp.is_some();
    let foreign = foreign(shared, &desired, &mut records, is_deleted).await?;
    let (owners, nodes) = (owners(&shared.caches), nodes(shared));
    let patience = Patience { timeout: shared.upgrade_timeout, retry: &desired.retry, now };
    let failing = failing(&records, &shared.memory, patience);
    let known = Known {
        now,
        uid: object.meta().uid.as_deref(),
        is_deleted,
        is_window_open,
        desired: &desired,
        owners: &owners,
        records: &records,
        failing: &failing,
        foreign: &foreign,
        nodes: &nodes,
        memory: &shared.memory,
    };
    let mut aims = Aims::new(shared, object, &known);
    let mut found = Drivers::default();
    for driver in Driver::ALL {
        if known.other(driver).is_none() {
            *found.get_mut(driver) = Some(aims.aim(driver, is_deleted).await?);
        }
    }
    let mut seen = known.see(found);
    seen.files = std::mem::take(&mut aims.files);
    find_in_use(shared, &mut seen).await?;
    for driver in Driver::ALL {
        pods::explain(shared, driver, seen.drivers.get_mut(driver)).await;
    }
    show(shared, &seen, &owners, object);
    if let Some(order) = aims.order().filter(|_| !is_deleted) {
        let known = shared.checkups.known(&order, now);
        seen.cluster.checks = known.checks();
        seen.checkup = Some((order, known));
    }
    seen.take_sight(aims.sight());
    Ok(seen)
}

/// Finds what uses the drivers that are to be removed.
async fn find_in_use(shared: &Shared, seen: &mut Seen) -> Result<(), Error> {
    if seen.is_guarded(Driver::Csi) {
        seen.cluster.volumes = in_use::volumes(&shared.client).await?;
    }
    if seen.is_guarded(Driver::Snapshots) {
        seen.cluster.snapshots = in_use::snapshots(&shared.client).await?;
    }
    if seen.is_guarded(Driver::Cni) {
        seen.cluster.pods = in_use::pods(&shared.client).await?;
    }
    Ok(())
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

/// Returns the drivers of other tools, where it matters. Drivers that are ours and whose notes are gone get a record again.
async fn foreign(
    shared: &Shared,
    desired: &Desired,
    records: &mut Drivers<Option<Record>>,
    is_deleted: bool,
) -> Result<Drivers<Option<Foreign>>, Error> {
    if !needs_workloads(desired, records) {
        return Ok(Drivers::default());
    }
    let sets: Vec<_> = Driver::ALL.iter().map(|driver| shared.sets.get(*driver).id()).collect();
    Ok(recover(in_use::workloads(&shared.client, &sets).await?, records, is_deleted))
}

/// Returns what is known of the Nodes.
fn nodes(shared: &Shared) -> Vec<NodeSeen> {
    let all = shared.nodes.all();
    let read = |brief: &crate::watched::BriefNode| {
        let node: Node = brief.node();
        let name = node.metadata.name.clone().unwrap_or_default();
        NodeSeen::read(&node, shared.csi_nodes.valid(&Key::new("", &name)).as_deref())
    };
    all.iter().map(|brief| read(brief)).collect()
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
