//! Statuses of `VDOConfig` and `DriverSet`: a pure function of the old one, and of what was seen and decided.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_kit::conditions::{self, READY, Status};

use crate::api::{CpiStatus, CsiStatus, DriverSetStatus, DriverStatus, Phase, VdoConfigStatus, reason};
use crate::installer::CHECKS_PASSED;
use crate::matrix::Driver;
use crate::nodes::{State, Summary};
use crate::plan::{Change, Drivers, Found, Health, Hold, Installed, Step, with_left};

/// Nodes that the status of a `VDOConfig` lists. Of more, those that are ready are left out first.
const LISTED: usize = 500;

/// What was seen of a driver, and decided.
#[derive(Clone, Debug)]
pub struct Report {
    /// What there is.
    pub found: Found,
    /// What happens next.
    pub step: Step,
    /// Why its version was chosen.
    pub choice: Option<String>,
    /// How far the Nodes are with it.
    pub nodes: Summary,
    /// Which upgrade was rolled back, why, and how it is tried again.
    pub rolled_back: Option<String>,
    /// Which upgrade has failed and is not rolled back, why, and what a person has to do.
    pub failing: Option<String>,
}

/// How far a driver is, in words.
struct Verdict {
    phase: Phase,
    reason: &'static str,
    message: String,
}

impl Verdict {
    /// Returns whether the driver serves all Nodes.
    fn is_available(&self) -> bool {
        self.phase == Phase::Configured
    }
}

impl Report {
    /// Returns how far the driver is; `None` if it is not managed.
    fn verdict(&self) -> Option<Verdict> {
        let verdict =
            |phase, reason, message: &str| Some(Verdict { phase, reason, message: message.to_owned() });
        match &self.step {
            Step::Rest => None,
            Step::Blocked(Hold { reason, message }) => verdict(Phase::Failed, reason, message),
            Step::Remove | Step::Release => {
                let left = match &self.found {
                    Found::Ours(Installed { health: Health::Removing(left), .. }) => left.as_str(),
                    _ => "",
                };
                let message = with_left("it is being removed", left);
                verdict(Phase::Configuring, reason::ROLLING_OUT, &message)
            }
            Step::Wait(Hold { reason, message }) => {
                let is_there = matches!(self.found, Found::Ours(_));
                verdict(if is_there { Phase::Configuring } else { Phase::Deploying }, reason, message)
            }
            Step::Apply(Change::Maintain) => Some(self.maintained()),
            Step::Apply(Change::Rollback) => {
                let why = self.rolled_back.as_deref().unwrap_or_default();
                verdict(Phase::Deploying, reason::ROLLED_BACK, &format!("it is being rolled back: {why}"))
            }
            Step::Apply(_) => verdict(Phase::Deploying, reason::ROLLING_OUT, "it is being applied"),
        }
    }

    /// Returns how far a driver is whose version and settings are as they should be.
    fn maintained(&self) -> Verdict {
        if let Found::Ours(Installed { health: Health::Progressing(why), .. }) = &self.found {
            return match (&self.failing, &self.rolled_back) {
                (Some(failing), _) => {
                    let (reason, message) = (reason::UPGRADE_FAILED, failing.clone());
                    Verdict { phase: Phase::Failed, reason, message }
                }
                (None, Some(rolled_back)) => {
                    let message = format!("{why}; it was rolled back: {rolled_back}");
                    Verdict { phase: Phase::Deploying, reason: reason::ROLLED_BACK, message }
                }
                (None, None) => {
                    let message = why.clone();
                    Verdict { phase: Phase::Deploying, reason: reason::ROLLING_OUT, message }
                }
            };
        }
        let (phase, reason) = match &self.nodes {
            Summary { total: 0, .. } => {
                let message = "its Pods run; no Node is known yet".to_owned();
                return Verdict { phase: Phase::Deployed, reason: reason::SETTING_UP_NODES, message };
            }
            nodes if nodes.is_complete() => (Phase::Configured, reason::AS_ASKED),
            nodes if nodes.has_failed => (Phase::Failed, reason::NODES_FAILING),
            _ => (Phase::Configuring, reason::SETTING_UP_NODES),
        };
        match &self.rolled_back {
            Some(rolled_back) if phase == Phase::Configured => {
                let message = format!("{}; it was rolled back: {rolled_back}", self.nodes);
                Verdict { phase, reason: reason::ROLLED_BACK, message }
            }
            _ => Verdict { phase, reason, message: self.nodes.to_string() },
        }
    }
}

/// Computes the status of a VDOConfig. `cpi_nodes` has the states of the Nodes by name.
#[must_use]
pub fn vdo_config(
    old: Option<&VdoConfigStatus>,
    generation: Option<i64>,
    reports: &Drivers<Report>,
    cpi_nodes: &BTreeMap<String, State>,
    now: Timestamp,
) -> VdoConfigStatus {
    let phase = |driver| {
        let verdict = reports.get(driver).verdict();
        verdict.map(|Verdict { phase, message, .. }| {
            (Some(phase), Some(conditions::bounded(&message).to_owned()))
        })
    };
    let node_status = listed(cpi_nodes);
    VdoConfigStatus {
        cpi: phase(Driver::Cpi).map(|(phase, status_msg)| CpiStatus { phase, status_msg, node_status }),
        csi: phase(Driver::Csi).map(|(phase, status_msg)| CsiStatus { phase, status_msg }),
        conditions: all_conditions(old.map(|old| old.conditions.as_slice()), generation, reports, now),
    }
}

/// Computes the status of a DriverSet.
#[must_use]
pub fn driver_set(
    old: Option<&DriverSetStatus>,
    generation: Option<i64>,
    reports: &Drivers<Report>,
    now: Timestamp,
) -> DriverSetStatus {
    let driver = |driver| {
        let report = reports.get(driver);
        let verdict = report.verdict()?;
        let installed = if let Found::Ours(installed) = &report.found { Some(installed) } else { None };
        let nodes =
            (report.nodes.total > 0).then(|| format!("{}/{}", report.nodes.ready, report.nodes.total));
        Some(DriverStatus {
            version: installed.map(|installed| installed.version.to_string()),
            digest: installed.map(|installed| installed.digest.clone()),
            choice: report.choice.as_deref().map(|text| conditions::bounded(text).to_owned()),
            nodes,
            failing: if verdict.is_available() { Vec::new() } else { report.nodes.failing.clone() },
        })
    };
    DriverSetStatus {
        cni: driver(Driver::Cni),
        cpi: driver(Driver::Cpi),
        snapshot_controller: driver(Driver::Snapshots),
        csi: driver(Driver::Csi),
        observed_generation: generation,
        conditions: all_conditions(old.map(|old| old.conditions.as_slice()), generation, reports, now),
    }
}

/// Returns the words of the Nodes, at most [`LISTED`].
fn listed(nodes: &BTreeMap<String, State>) -> BTreeMap<String, String> {
    let not_ready = nodes.iter().filter(|(_, state)| **state != State::Ready);
    let ready = nodes.iter().filter(|(_, state)| **state == State::Ready);
    let first = not_ready.chain(ready).take(LISTED);
    first.map(|(name, state)| (name.clone(), state.word().to_owned())).collect()
}

/// Returns Ready, and the condition of each driver that is managed. Ready has the reason of the first driver that needs help, else of
/// the first that is not as it should be.
fn all_conditions(
    old: Option<&[Condition]>,
    generation: Option<i64>,
    reports: &Drivers<Report>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut all = old.map(<[Condition]>::to_vec).unwrap_or_default();
    let verdicts: Vec<_> =
        Driver::ALL.into_iter().filter_map(|driver| Some((driver, reports.get(driver).verdict()?))).collect();
    let type_of = |driver: Driver| format!("{driver}Available");
    all.retain(|condition| {
        [READY, CHECKS_PASSED].contains(&condition.type_.as_str())
            || verdicts.iter().any(|(driver, _)| condition.type_ == type_of(*driver))
    });
    for (driver, verdict) in &verdicts {
        let Verdict { reason, message, .. } = verdict;
        let status = Status::from(verdict.is_available());
        conditions::set(&mut all, &type_of(*driver), status, reason, message, generation, now);
    }
    let open = open(reports);
    let is_ready = open.is_none();
    let (reason, message) = match open {
        Some(Open { reason, message, .. }) => (reason, message),
        None => match verdicts.iter().find(|(_, verdict)| verdict.reason == reason::ROLLED_BACK) {
            Some((driver, verdict)) => (verdict.reason, format!("{driver}: {}", verdict.message)),
            None => (reason::AS_ASKED, "every driver that is managed runs".to_owned()),
        },
    };
    conditions::set(&mut all, READY, Status::from(is_ready), reason, &message, generation, now);
    all
}

/// What is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Whether a person has to act.
    pub needs_help: bool,
    /// Constant of [`reason`].
    pub reason: &'static str,
    /// Which driver it is, and what is waited for, or what a person has to do.
    pub message: String,
}

/// Returns what is said of the first driver that needs help, else of the first that is not as it should be.
#[must_use]
pub fn open(reports: &Drivers<Report>) -> Option<Open> {
    let verdicts =
        Driver::ALL.into_iter().filter_map(|driver| Some((driver, reports.get(driver).verdict()?)));
    let open: Vec<_> = verdicts.filter(|(_, verdict)| !verdict.is_available()).collect();
    let failed = open.iter().find(|(_, verdict)| verdict.phase == Phase::Failed);
    let (driver, verdict) = failed.or(open.first())?;
    Some(Open {
        needs_help: verdict.phase == Phase::Failed,
        reason: verdict.reason,
        message: format!("{driver}: {}", verdict.message),
    })
}

#[cfg(test)]
mod tests;
