//! From what was read to what is seen of the drivers. Pure but for what this process remembers.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::aim::Aim;
use super::claims::Claim;
use super::memory::{Memory, Rollout};
use super::record::{Patience, Record};
use super::seen::{DriverSeen, Seen};
use crate::api::ManagementState;
use crate::choose::{Failure, Policy};
use crate::desired::{Desired, VersionChoice};
use crate::foreign::{Foreign, Workloads};
use crate::matrix::Driver;
use crate::nodes::{NodeSeen, State, Summary};
use crate::plan::{Cluster, Drivers, Found, Health, Installed, Wanted};

/// What was read for one object that asks for drivers.
pub(crate) struct Known<'a> {
    pub(crate) now: Timestamp,
    /// UID of the object.
    pub(crate) uid: Option<&'a str>,
    pub(crate) is_deleted: bool,
    pub(crate) is_window_open: bool,
    pub(crate) desired: &'a Desired,
    pub(crate) owners: &'a Drivers<Option<Claim>>,
    pub(crate) records: &'a Drivers<Option<Record>>,
    /// Upgrades that have failed and are not rolled back yet.
    pub(crate) failing: &'a Drivers<Option<Failure>>,
    /// Drivers of other tools.
    pub(crate) foreign: &'a Drivers<Option<Foreign>>,
    pub(crate) nodes: &'a [NodeSeen],
    pub(crate) memory: &'a Memory,
}

/// Returns whether it matters what workloads there are: of a driver that is managed or removed, nothing is noted.
pub(crate) fn needs_workloads(desired: &Desired, records: &Drivers<Option<Record>>) -> bool {
    let is_asked = |driver: Driver| desired.drivers.get(driver).state != ManagementState::Unmanaged;
    Driver::ALL.into_iter().any(|driver| records.get(driver).is_none() && is_asked(driver))
}

/// Returns the upgrades that have failed and are not rolled back yet.
pub(crate) fn failing(
    records: &Drivers<Option<Record>>,
    memory: &Memory,
    patience: Patience<'_>,
) -> Drivers<Option<Failure>> {
    Drivers::of(|driver| records.get(driver).as_ref()?.failure(driver, memory, patience))
}

/// Gives drivers of ours whose notes are gone a record, and returns those of other tools.
pub(crate) fn recover(
    found: Workloads,
    records: &mut Drivers<Option<Record>>,
    is_deleted: bool,
) -> Drivers<Option<Foreign>> {
    for driver in Driver::ALL {
        let record = records.get_mut(driver);
        if record.is_none() {
            *record = found.ours.get(driver).as_deref().map(Record::recovered);
        }
    }
    if is_deleted { Drivers::default() } else { found.foreign }
}

impl Known<'_> {
    /// Returns the object that decides about a driver, if it is another one.
    pub(crate) fn other(&self, driver: Driver) -> Option<&Claim> {
        self.owners.get(driver).as_ref().filter(|owner| Some(owner.uid.as_str()) != self.uid)
    }

    /// Returns what is seen. `aims`: how the drivers are to run about which no other object decides.
    pub(crate) fn see(&self, aims: Drivers<Option<Aim>>) -> Seen {
        let Drivers { cni, cpi, snapshots, csi } = aims;
        let mut seen = Seen {
            cluster: Cluster {
                keeps_nodes: self.desired.keeps_nodes,
                is_window_open: self.is_window_open,
                is_cpi_kept: self.owners.cpi.is_some(),
                ..Cluster::default()
            },
            drivers: Drivers {
                cni: self.driver(Driver::Cni, cni),
                cpi: self.driver(Driver::Cpi, cpi),
                snapshots: self.driver(Driver::Snapshots, snapshots),
                csi: self.driver(Driver::Csi, csi),
            },
            ..Seen::default()
        };
        self.nodes(&mut seen);
        seen
    }

    fn driver(&self, driver: Driver, aim: Option<Aim>) -> DriverSeen {
        let other = self.other(driver);
        let Aim { target, choice, rendered } = match (other, aim) {
            (Some(other), _) => Aim::none(other.hold(driver)),
            (None, Some(aim)) => aim,
            (None, None) => Aim::unasked(),
        };
        let wanted = match self.desired.wanted(driver, self.is_deleted, target) {
            Wanted::Unclear(hold) => Wanted::Unclear(hold),
            _ if other.is_some() => Wanted::Unmanaged,
            wanted => wanted,
        };
        let record = self.records.get(driver).clone();
        let seen = DriverSeen { wanted, choice, rendered, ..DriverSeen::default() };
        let Some(record) = record else {
            let foreign = self.foreign.get(driver).clone();
            return DriverSeen {
                found: foreign.map_or(Found::Absent, |foreign| Found::Foreign(foreign.what)),
                ..seen
            };
        };
        let rollout = self.memory.rollout(driver, &record.digest);
        // Of a driver that is being removed, the status says what is left.
        let is_unknown = rollout == Rollout::Unknown && !record.is_removing;
        let health = match rollout {
            _ if record.is_removing => Health::Removing(self.memory.left(driver)),
            Rollout::Complete => Health::Available,
            Rollout::Waiting(why) => Health::Progressing(why),
            Rollout::Unknown => Health::Progressing("it has not been looked at yet".to_owned()),
        };
        let is_due = if record.is_removing || seen.wanted == Wanted::Removed {
            self.memory.is_removal_due(driver, self.now)
        } else {
            self.memory.is_due(driver, &record.digest, self.now)
        };
        let (version, digest) = (record.version.clone(), record.digest.clone());
        let needs_cpi = record.needs_cpi;
        let found = Found::Ours(Installed { version, digest, needs_cpi, health });
        let (failing, failed) = (self.failing.get(driver).clone(), self.failed(driver, &record));
        DriverSeen { found, record: Some(record), failing, failed, is_due, is_unknown, ..seen }
    }

    /// Returns the upgrades to newer versions that are not tried again. Where a version is pinned, a person decides about it.
    fn failed(&self, driver: Driver, record: &Record) -> Vec<Failure> {
        let is_pinned =
            matches!(self.desired.drivers.get(driver).policy, VersionChoice::Policy(Policy::Pinned(_)));
        let failed = record.failed.iter().filter(|failure| {
            !is_pinned && failure.version > record.version && failure.retry == self.desired.retry
        });
        failed.cloned().collect()
    }

    /// Says how far the Nodes are.
    fn nodes(&self, seen: &mut Seen) {
        seen.cluster.uninitialized =
            self.nodes.iter().filter(|node| node.is_uninitialized).map(|node| node.name.clone()).collect();
        seen.cluster.uninitialized.sort_unstable();
        for driver in Driver::ALL {
            let slot = seen.drivers.get_mut(driver);
            let Some(since) = slot.record.as_ref().map(|record| record.since) else { continue };
            let states: BTreeMap<String, State> = self
                .nodes
                .iter()
                .map(|node| {
                    let state = match driver {
                        // What it runs is waited for in its rollout.
                        Driver::Cni | Driver::Snapshots => State::Ready,
                        Driver::Cpi => node.cpi(since, self.now),
                        Driver::Csi => node.csi(self.desired.zones.is_some(), since, self.now),
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
}
