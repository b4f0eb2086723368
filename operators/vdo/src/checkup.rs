//! The preflight checks of what asks for drivers: when they run, what they look at, and what they have found last.
//!
//! ```text
//!   observe ──▶ Order (verified accounts, settings) ──▶ Checkups: due? ──▶ run ──▶ findings ──▶ plan, status, metrics
//! ```
//!
//! Only accounts that their vCenter has accepted are used: a login that is refused again and again locks the account.

mod run;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use operator_kit::names::first_few;

pub(crate) use run::{Ran, run};

use crate::api::reason;
use crate::config::Vcenter;
use crate::desired::Desired;
use crate::plan::{Checks, Drivers};
use crate::preflight::{Check, Finding, Schedule, Severity, Verdict};
use crate::version::Version;

/// How long after a run Nodes that have come or gone are looked at: many come at once.
const SETTLING: SignedDuration = SignedDuration::from_mins(1);

/// What is checked for one object. Formats without what the object asks for.
#[derive(Clone)]
pub(crate) struct Order {
    /// UID of the object.
    pub(crate) uid: String,
    /// What the findings are valid for: of another one, the checks run at once.
    pub(crate) about: String,
    /// The Nodes. Of others, the checks run soon.
    pub(crate) nodes: u64,
    /// The vCenters, with UID and name of their connection.
    pub(crate) vcenters: Vec<(String, String, Vcenter)>,
    /// When the newest of them has answered.
    pub(crate) answered: Timestamp,
    /// What the object asks for.
    pub(crate) desired: Arc<Desired>,
    /// The version of CSI that is chosen.
    pub(crate) csi: Option<Version>,
    /// Which drivers are ours.
    pub(crate) ours: Drivers<bool>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<_> = self.vcenters.iter().map(|(_, _, vcenter)| &vcenter.server).collect();
        f.debug_struct("Order").field("uid", &self.uid).field("vcenters", &servers).finish_non_exhaustive()
    }
}

impl PartialEq for Order {
    fn eq(&self, other: &Self) -> bool {
        (&self.uid, &self.about, self.nodes) == (&other.uid, &other.about, other.nodes)
    }
}

/// What the checks of one object have found last.
#[derive(Clone, Debug)]
struct Last {
    about: String,
    nodes: u64,
    at: Timestamp,
    schedule: Schedule,
    findings: Arc<Vec<Finding>>,
}

/// What is known of the checks of one object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Whether they are to run.
    pub(crate) is_due: bool,
    /// What they have found; `None` while they have not run for what is asked for now.
    pub(crate) findings: Option<Arc<Vec<Finding>>>,
}

/// The findings of all objects, by their UIDs, as long as this process lives.
#[derive(Debug, Default)]
pub(crate) struct Checkups(Mutex<HashMap<String, Last>>);

impl Checkups {
    /// Returns what is known of the checks of an object.
    pub(crate) fn known(&self, order: &Order, now: Timestamp) -> Known {
        let all = self.all();
        let Some(last) = all.get(&order.uid).filter(|last| last.about == order.about) else {
            return Known { is_due: true, findings: None };
        };
        let is_lost = last.findings.iter().any(|finding| finding.check == Check::Connection);
        let has_healed = is_lost && order.answered > last.at;
        let has_others = order.nodes != last.nodes && now.duration_since(last.at) >= SETTLING;
        let is_due = has_healed || has_others || last.schedule.wait(now).is_zero();
        Known { is_due, findings: Some(Arc::clone(&last.findings)) }
    }

    /// Notes what was found; returns after which time the checks run again.
    fn note(&self, order: &Order, findings: Vec<Finding>, now: Timestamp) -> Duration {
        let mut all = self.all();
        let before = all.get(&order.uid).filter(|last| last.about == order.about);
        let schedule = before.map_or_else(Schedule::reset, |last| last.schedule);
        // What only warns may stay.
        let forbids = findings.iter().any(|finding| finding.severity > Severity::Warning);
        let schedule = schedule.after_run(forbids, now);
        let (about, nodes, findings) = (order.about.clone(), order.nodes, Arc::new(findings));
        all.insert(order.uid.clone(), Last { about, nodes, at: now, schedule, findings });
        schedule.wait(now).unsigned_abs()
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// Returns all findings.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        self.all().values().flat_map(|last| last.findings.iter().cloned()).collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Returns what the findings forbid.
    pub(crate) fn checks(&self) -> Checks {
        let Some(findings) = &self.findings else { return Checks::Running };
        let verdict = Verdict::of(findings, true);
        let (install, upgrade) = (verdict.may_install, verdict.may_upgrade == Some(true));
        if install && upgrade {
            Checks::Passed
        } else {
            Checks::Failed { install, upgrade, message: said(findings) }
        }
    }

    /// Returns what the condition says: whether nothing is forbidden, reason and message.
    pub(crate) fn condition(&self) -> Option<(bool, &'static str, String)> {
        let findings = self.findings.as_ref()?;
        let (passed, reason) = match findings.first().map(|finding| finding.severity) {
            None => return Some((true, reason::CHECKS_PASSED, "nothing was found".to_owned())),
            Some(Severity::Warning) => (true, reason::CHECKS_WARN),
            Some(_) => (false, reason::CHECKS_FAILED),
        };
        Some((passed, reason, said(findings)))
    }
}

/// Returns the first findings, the worst first.
fn said(findings: &[Finding]) -> String {
    let texts: Vec<_> =
        findings.iter().map(|finding| format!("[{}] {finding}", finding.severity.word())).collect();
    first_few(&texts)
}

#[cfg(test)]
mod tests;
