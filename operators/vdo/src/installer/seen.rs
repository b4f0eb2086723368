//! What was seen of the drivers, and of what they depend on.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkup::{Known, Order};
use crate::choose::{self, Choice, Failure, Rejection};
use crate::fetch::Source;
use crate::matrix::Driver;
use crate::nodes::{State, Summary};
use crate::plan::{Change, Cluster, Drivers, Found, Health, Hold, Installed, Step, Wanted, plan};
use crate::render::Rendered;
use crate::status::Report;
use crate::version::Version;

use super::aim::Sight;
use super::record::Record;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Why what is asked for is not clear.
    pub(crate) unusable: Option<Hold>,
    pub(crate) drivers: Drivers<DriverSeen>,
    pub(crate) cluster: Cluster,
    /// How far the Nodes are with CPI, by name.
    pub(crate) cpi_nodes: BTreeMap<String, State>,
    /// Files that have to be downloaded first.
    pub(crate) files: Vec<File>,
    /// UIDs and names of connections whose answers are not new enough.
    pub(crate) outdated: Vec<(String, String)>,
    /// What the preflight checks look at, and what they have found; `None` while an account has not been verified.
    pub(crate) checkup: Option<(Order, Known)>,
}

/// A file, and where it is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) source: Source,
    /// Namespace of ConfigMaps that are sources.
    pub(crate) namespace: String,
}

/// What was seen of one driver.
#[derive(Debug, Default)]
pub(crate) struct DriverSeen {
    pub(crate) wanted: Wanted,
    pub(crate) found: Found,
    pub(crate) record: Option<Record>,
    /// The upgrade to this version, if it has failed and is not rolled back yet.
    pub(crate) failing: Option<Failure>,
    /// Upgrades to newer versions that have failed before, and are not tried again by themselves.
    pub(crate) failed: Vec<Failure>,
    /// Which version was chosen, and why not the others.
    pub(crate) choice: Option<Choice>,
    /// Its objects, as they are to be.
    pub(crate) rendered: Option<Arc<Rendered>>,
    pub(crate) nodes: Summary,
    /// Whether its objects are to be compared with those that are there.
    pub(crate) is_due: bool,
    /// Whether it is installed, and this process has not looked at it.
    pub(crate) is_unknown: bool,
}

impl DriverSeen {
    /// Returns the version that ran completely before another one is applied.
    pub(super) fn ran(&self) -> Option<Version> {
        let record = self.record.as_ref()?;
        let runs = match &self.found {
            Found::Ours(Installed { health: Health::Available, .. }) => true,
            _ => self.is_unknown && record.is_complete,
        };
        // What is rolled back to ran before it was upgraded.
        if runs || record.failed.iter().any(|failure| failure.from == record.version) {
            return Some(record.version.clone());
        }
        record.previous.clone()
    }

    /// Returns which upgrade is or was rolled back, why, and how it is tried again.
    fn rolled_back(&self) -> Option<String> {
        let rolls_back = self.choice.as_ref().is_some_and(|choice| choice.step == choose::Step::Rollback);
        let newest = self.failed.iter().max_by_key(|failure| &failure.version);
        let failure = self.failing.as_ref().filter(|_| rolls_back).or(newest)?;
        Some(format!("{} {}", failure.version, Rejection::Failed(failure.clone())))
    }

    /// Returns that the upgrade has failed and is not rolled back, with what a person has to do.
    pub(crate) fn stays(&self) -> Option<String> {
        let (failing, stays) = (self.failing.as_ref()?, self.choice.as_ref()?.stays.as_ref()?);
        Some(format!("{} {failing}; {stays}", failing.version))
    }
}

impl Seen {
    /// Creates one of an object that does not say what it asks for.
    pub(crate) fn unusable(hold: Hold) -> Self {
        Self { unusable: Some(hold), ..Self::default() }
    }

    /// Returns what is to be checked now.
    pub(crate) fn checkup_due(&self) -> Option<&Order> {
        self.checkup.as_ref().filter(|(_, known)| known.is_due).map(|(order, _)| order)
    }

    /// Returns what the checks have found, as the condition says it.
    pub(crate) fn checked(&self) -> Option<(bool, &'static str, String)> {
        self.checkup.as_ref().and_then(|(_, known)| known.condition())
    }

    /// Returns whether a driver that is installed has not been looked at yet, or files are to be fetched first.
    pub(crate) fn is_incomplete(&self) -> bool {
        !self.files.is_empty() || Driver::ALL.iter().any(|driver| self.drivers.get(*driver).is_unknown)
    }

    /// Returns whether it has to be known what uses a driver: its removal has not begun.
    pub(crate) fn is_guarded(&self, driver: Driver) -> bool {
        let seen = self.drivers.get(driver);
        seen.wanted == Wanted::Removed && seen.record.as_ref().is_some_and(|record| !record.is_removing)
    }

    /// Takes in what the vCenters of CPI show. Where CPI would be changed, what they have shown some time ago does not count: it deletes
    /// Nodes.
    pub(crate) fn take_sight(&mut self, sight: Sight) {
        let Sight { invisible, old, is_recent } = sight;
        let is_clear = invisible.as_ref().is_some_and(Vec::is_empty);
        self.cluster.invisible = invisible;
        let changes = |step: &Step| matches!(step, Step::Apply(change) if *change != Change::Maintain);
        let is_decisive = is_clear && !is_recent && !self.cluster.keeps_nodes && changes(&self.steps().cpi);
        if is_decisive {
            self.cluster.invisible = None;
        }
        self.outdated = if is_clear && !is_decisive { Vec::new() } else { old };
    }

    /// Returns the step of each driver.
    pub(crate) fn steps(&self) -> Drivers<Step> {
        let wanted = Drivers::of(|driver| self.drivers.get(driver).wanted.clone());
        let found = Drivers::of(|driver| self.drivers.get(driver).found.clone());
        plan(&wanted, &found, &self.cluster)
    }

    /// Returns what the status says of each driver.
    pub(crate) fn reports(&self) -> Drivers<Report> {
        let steps = self.steps();
        Drivers::of(|driver: Driver| {
            let seen = self.drivers.get(driver);
            Report {
                found: seen.found.clone(),
                step: steps.get(driver).clone(),
                choice: seen.choice.as_ref().map(Choice::explain),
                nodes: seen.nodes.clone(),
                rolled_back: seen.rolled_back(),
                failing: seen.stays(),
            }
        })
    }
}
