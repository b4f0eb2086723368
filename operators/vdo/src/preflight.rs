//! Preflight checks: what keeps drivers from working, found before they are installed, and while they run.
//!
//! ```text
//!   vCenters ── gather ──▶ Facts ──▶ run ──▶ findings ──▶ verdict
//!   objects of the cluster ── read ──▲
//! ```
//!
//! Pure, but for [`gather()`]: from facts to findings, and from findings to what they forbid. The worst severity counts. A driver that runs
//! is maintained whatever the findings. What is not known is no finding: only [`Check::Connection`] reports it.

mod check;
mod cluster;
mod facts;
mod gather;
mod nodes;
mod privileges;
mod read;
mod schedule;
mod storage;
mod vcenter;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use check::{Check, Severity};
pub use facts::{
    Facts, Known, Lacking, MachineFacts, NodeFacts, OpenShift, Seen, StorageClassFacts, VcenterFacts,
};
pub(crate) use gather::swapped;
pub use gather::{Gathered, Search, assign, gather};
pub use privileges::{Kind, needed};
pub(crate) use read::is_control_plane;
pub use read::{attached, lost, uuids};
pub use schedule::Schedule;

/// What is wrong. Formats as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check that found it.
    pub check: Check,
    /// What it forbids.
    pub severity: Severity,
    /// Where it is: a vCenter, a Node, a StorageClass, or the cluster.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remediation: &'static str,
}

impl Finding {
    fn new(
        check: Check,
        severity: Severity,
        object: impl Into<String>,
        message: impl Into<String>,
        remediation: &'static str,
    ) -> Self {
        Self { check, severity, object: object.into(), message: message.into(), remediation }
    }

    /// Returns where the check is explained.
    #[must_use]
    pub fn docs(&self) -> String {
        self.check.docs()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}: {}", self.check.name(), self.object, self.message, self.remediation)
    }
}

/// Runs the checks that are not switched off; returns what they find, the worst first.
#[must_use]
pub fn run(facts: &Facts, switched_off: &BTreeSet<Check>) -> Vec<Finding> {
    let mut findings = Vec::new();
    vcenter::run(facts, &mut findings);
    nodes::run(facts, &mut findings);
    storage::run(facts, &mut findings);
    cluster::run(facts, &mut findings);
    findings.retain(|finding| !switched_off.contains(&finding.check));
    findings.sort_by(|a, b| {
        b.severity.cmp(&a.severity).then(a.check.cmp(&b.check)).then_with(|| a.object.cmp(&b.object))
    });
    findings
}

/// Returns how many findings there are of each check and severity, for metrics.
#[must_use]
pub fn counts(findings: &[Finding]) -> BTreeMap<(Check, Severity), usize> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry((finding.check, finding.severity)).or_default() += 1;
    }
    counts
}

/// What findings forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The worst severity.
    pub worst: Option<Severity>,
    /// Whether a driver may be installed.
    pub may_install: bool,
    /// Whether the version of a driver that runs may change; `None`: a vCenter does not answer, and what it would say is not known.
    pub may_upgrade: Option<bool>,
    /// Whether a person has to act.
    pub is_degraded: bool,
}

impl Verdict {
    /// Judges findings. `is_installed`: what prevents an installation degrades nothing that runs.
    #[must_use]
    pub fn of(findings: &[Finding], is_installed: bool) -> Self {
        let worst = findings.iter().map(|finding| finding.severity).max();
        // What else is found is certain.
        let certain = findings.iter().filter(|finding| finding.check != Check::Connection);
        let forbidden = certain.map(|finding| finding.severity).max() >= Some(Severity::BlockUpgrade);
        let is_lost = findings.iter().any(|finding| finding.check == Check::Connection);
        let limit = if is_installed { Severity::Degraded } else { Severity::BlockInstall };
        Self {
            worst,
            may_install: worst < Some(Severity::BlockInstall),
            may_upgrade: if forbidden { Some(false) } else { (!is_lost).then_some(true) },
            is_degraded: worst >= Some(limit),
        }
    }
}

#[cfg(test)]
mod tests;
