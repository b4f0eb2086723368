//! How a driver is to run: decided from its connections, the matrix and what was rendered. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::record::Record;
use crate::api::{ManagementState, reason};
use crate::choose::{self, Choice, Failure, History, Policy, Rejection, Surroundings, choose};
use crate::connection::{Answer, Login};
use crate::desired::{Desired, VersionChoice};
use crate::foreign::Foreign;
use crate::matrix::{Driver, Matrix};
use crate::plan::{Drivers, Hold, Target};
use crate::problem::Problem;
use crate::render::{Rendered, Settings};
use crate::version::{Kubernetes, Version};

/// For how long it counts which machines a vCenter has shown, where CPI is to be changed.
const RECENT: SignedDuration = SignedDuration::from_secs(30);

/// How a driver is to run.
#[derive(Debug)]
pub(crate) struct Aim {
    /// Its version, or why it is not known how it is to run.
    pub(crate) target: Result<Target, Hold>,
    pub(crate) choice: Option<Choice>,
    pub(crate) rendered: Option<Arc<Rendered>>,
}

impl Aim {
    /// Returns that it is not known how the driver is to run.
    pub(crate) fn none(hold: Hold) -> Self {
        Self { target: Err(hold), choice: None, rendered: None }
    }

    /// Returns what is said of a driver that is not to run.
    pub(crate) fn unasked() -> Self {
        Self::none(Hold { reason: reason::AS_ASKED, message: String::new() })
    }
}

/// A connection, with what is known of its vCenter.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) login: Login,
    pub(crate) answer: Option<Arc<Answer>>,
    /// Whether a newer answer is requested.
    pub(crate) is_asked: bool,
}

impl Link {
    /// Returns whether the vCenter has accepted the account, in all datacenters.
    fn is_verified(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.verifies(&self.login))
    }
}

/// What decides how drivers are to run, beside their connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Basis<'a> {
    pub(crate) desired: &'a Desired,
    pub(crate) records: &'a Drivers<Option<Record>>,
    /// Upgrades that have failed and are not rolled back yet.
    pub(crate) failing: &'a Drivers<Option<Failure>>,
    /// Drivers of other tools.
    pub(crate) foreign: &'a Drivers<Option<Foreign>>,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) matrix: &'a Matrix,
    pub(crate) auto_upgrade: bool,
}

impl Basis<'_> {
    /// Chooses the version of a driver. `no_way_back`: what the API server has that speaks against the version before an upgrade.
    pub(crate) fn choose(
        &self,
        driver: Driver,
        links: &[Link],
        no_way_back: Option<&Rejection>,
    ) -> Result<Choice, Hold> {
        let vcenters = links.iter().filter_map(|link| {
            let server = link.login.vcenter.as_ref().ok()?.server.clone();
            Some(choose::Vcenter { server, version: link.answer.as_ref()?.version? })
        });
        let wants_cpi = self.desired.drivers.cpi.state == ManagementState::Managed;
        let has_cpi = wants_cpi || self.foreign.cpi.is_some() || self.records.cpi.is_some();
        let surroundings =
            Surroundings { kubernetes: self.kubernetes, vcenters: vcenters.collect(), has_cpi };
        let installed = self.installed(driver);
        let mut policy = self.desired.drivers.get(driver).policy.policy(self.auto_upgrade, installed);
        let mut failing = self.failing.get(driver).as_ref();
        if surroundings.vcenters.len() < links.len() {
            // A driver that runs is maintained also while a vCenter has not said which version it has.
            policy = Policy::Pinned(installed.ok_or_else(|| not_ready(links))?.clone());
            failing = None;
        }
        let failed = self.records.get(driver).as_ref().map(|record| record.failed.as_slice());
        let (failed, retry) = (failed.unwrap_or_default(), self.desired.retry.as_str());
        let history = History { installed, failed, failing, no_way_back, retry };
        let mut choice = choose(self.matrix, driver, &surroundings, &policy, &history);
        if let Some(stays) = choice.stays.as_mut().filter(|_| self.is_kept(driver)) {
            "auto-upgrade is not enabled, so the version stays: enable it to go back".clone_into(stays);
        }
        Ok(choice)
    }

    /// Returns whether the version is kept because of the original's `auto-upgrade`.
    fn is_kept(&self, driver: Driver) -> bool {
        self.desired.drivers.get(driver).policy == VersionChoice::AutoUpgrade && !self.auto_upgrade
    }

    /// Returns how the manifests of a driver are changed.
    pub(crate) fn settings(&self, driver: Driver, version: &Version, control_plane_nodes: usize) -> Settings {
        let mut settings = self.desired.settings(driver, version.clone(), control_plane_nodes);
        let record = self.records.get(driver).as_ref();
        settings.is_upgrade = record.is_some_and(|record| record.replaces(version));
        settings
    }

    /// Returns how a driver is to run, from its choice and from what was rendered for it.
    pub(crate) fn aim(
        &self,
        choice: &Choice,
        rendered: Result<Rendered, Vec<Problem>>,
        links: &[Link],
    ) -> Result<Aim, Hold> {
        // What a Secret is made of is not in the hash of its driver by itself.
        let mut sources: Vec<_> = links.iter().map(|link| link.login.identity.clone()).collect();
        if choice.driver == Driver::Csi {
            sources.push(self.desired.in_secret());
        }
        let target = self.desired.target(self.matrix, choice, &rendered, &sources);
        // No driver gets an account that the vCenter has not accepted. One that runs with the account that it has is maintained.
        let record = self.records.get(choice.driver).as_ref();
        let is_same = |target: &Target| record.is_some_and(|record| record.digest == target.digest);
        if target.as_ref().is_ok_and(|target| !is_same(target)) && !links.iter().all(Link::is_verified) {
            return Err(not_ready(links));
        }
        Ok(Aim { target, choice: Some(choice.clone()), rendered: rendered.ok().map(Arc::new) })
    }

    /// Returns the version that was applied, or, of a driver that is taken over, the one that runs, where the matrix has it.
    fn installed(&self, driver: Driver) -> Option<&Version> {
        let adopts = self.desired.drivers.get(driver).adopts;
        let adopted = self.foreign.get(driver).as_ref().filter(|_| adopts);
        let adopted = adopted.and_then(|foreign| foreign.version.as_ref());
        let adopted = adopted.filter(|version| self.matrix.release(driver, version).is_some());
        self.records.get(driver).as_ref().map(|record| &record.version).or(adopted)
    }
}

/// What the vCenters of CPI show of the Nodes' machines.
#[derive(Debug, Default)]
pub(crate) struct Sight {
    /// Nodes whose machine no account sees; `None` while that is not known.
    pub(crate) invisible: Option<Vec<String>>,
    /// UIDs and names of connections whose answers are too old for a change of CPI.
    pub(crate) old: Vec<(String, String)>,
    /// Whether all answers are new enough for one.
    pub(crate) is_recent: bool,
}

impl Sight {
    /// Finds the Nodes, given by name and UUID of the machine, that the connections of CPI do not show. `count`: how many connections there
    /// are to be.
    pub(crate) fn of<'a>(
        links: &[&Link],
        count: usize,
        nodes: impl IntoIterator<Item = (String, &'a str)>,
        now: Timestamp,
    ) -> Self {
        let current: Vec<_> = links
            .iter()
            .filter_map(|link| link.answer.as_ref().filter(|answer| answer.identity == link.login.identity))
            .collect();
        if current.is_empty() || current.len() < count {
            return Self::default();
        }
        let is_seen = |uuid: &str| current.iter().any(|answer| answer.sees(uuid));
        let mut unseen: Vec<_> =
            nodes.into_iter().filter(|(_, uuid)| !is_seen(uuid)).map(|(name, _)| name).collect();
        unseen.sort_unstable();
        let is_old = |answer: &Answer| now.duration_since(answer.at) >= RECENT;
        let is_to_be_asked =
            |link: &&&Link| !link.is_asked && link.answer.as_ref().is_some_and(|answer| is_old(answer));
        let old = links.iter().filter(is_to_be_asked);
        let old = old.map(|link| (link.uid.clone(), link.name.clone())).collect();
        let is_recent = !current.iter().any(|answer| is_old(answer));
        Self { invisible: Some(unseen), old, is_recent }
    }
}

pub(super) fn not_ready(links: &[Link]) -> Hold {
    let is_ready = |link: &&Link| {
        link.is_verified() && link.answer.as_ref().is_some_and(|answer| answer.version.is_some())
    };
    let open = links.iter().filter(|link| !is_ready(link));
    let names: Vec<_> = open.map(|link| link.name.clone()).collect();
    let message =
        format!("the accounts of {} have not been verified: their conditions say why", names.join(", "));
    Hold { reason: reason::CONNECTION_NOT_READY, message }
}
