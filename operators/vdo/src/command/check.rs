//! `vdo check`: the preflight checks, now.

use std::fmt::Write as _;

use clap::ValueEnum;
use operator_kit::Key;
use serde::Serialize;
use serde_json::json;

use super::access::{Access, Select, Sources};
use super::error::Error;
use super::look::{Asked, Look, VcenterSeen};
use super::plan::vcenter_line;
use super::{Done, Ends};
use crate::preflight::{Check, Finding, Severity};

/// Runs the preflight checks now, with the accounts that the drivers use
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Checks {
    #[command(flatten)]
    select: Select,

    /// End with 3 if anything is found that is at least as bad
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = Limit::BlockUpgrade)]
    fail_on: Limit,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    pub(super) access: Access,
}

/// From which severity on a command ends with 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Limit {
    /// Anything that is found
    Warning,
    /// What forbids that versions change
    BlockUpgrade,
    /// What forbids that a driver is installed
    BlockInstall,
    /// What harms a driver that runs
    Degraded,
}

impl Limit {
    fn severity(self) -> Severity {
        match self {
            Self::Warning => Severity::Warning,
            Self::BlockUpgrade => Severity::BlockUpgrade,
            Self::BlockInstall => Severity::BlockInstall,
            Self::Degraded => Severity::Degraded,
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    vcenters: Vec<VcenterSeen>,
    objects: Vec<Checked>,
}

/// What the checks have found for an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Checked {
    object: String,
    /// Whether the checks have run: they need an account that each vCenter accepts.
    ran: bool,
    findings: Vec<Found>,
    /// Checks that have found nothing.
    passed: Vec<&'static str>,
    /// Checks of which nothing is known, as a vCenter does not answer.
    unknown: Vec<&'static str>,
    /// Checks that are switched off.
    skipped: Vec<&'static str>,
}

/// What a check has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Found {
    pub(super) check: &'static str,
    pub(super) severity: &'static str,
    pub(super) object: String,
    pub(super) message: String,
    pub(super) remediation: &'static str,
    pub(super) docs: String,
}

impl From<&Finding> for Found {
    fn from(finding: &Finding) -> Self {
        Self {
            check: finding.check.name(),
            severity: finding.severity.word(),
            object: finding.object.clone(),
            message: finding.message.clone(),
            remediation: finding.remediation,
            docs: finding.docs(),
        }
    }
}

impl Checks {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        let look = Look::new(self.access.client().await?, &self.access, &self.sources).await?;
        let asked = look.asked(|key: &Key| self.select.is_meant(key)).await?;
        if asked.is_empty() {
            return Err(self.select.nothing());
        }
        let ends = ends(asked.iter().map(|of| of.findings.as_deref()), self.fail_on.severity());
        let report = Report { vcenters: look.vcenters, objects: asked.iter().map(checked).collect() };
        Ok(Done { text: text(&report), json: json!(report), ends })
    }
}

/// Returns how the command ends: what has not run has not passed.
fn ends<'a>(mut all: impl Iterator<Item = Option<&'a [Finding]>>, limit: Severity) -> Ends {
    let is_bad = |findings: Option<&[Finding]>| {
        findings.is_none_or(|findings| findings.iter().any(|finding| finding.severity >= limit))
    };
    if all.any(is_bad) { Ends::NotAsAsked } else { Ends::Well }
}

fn checked(asked: &Asked) -> Checked {
    let order = asked.seen.checkup.as_ref().map(|(order, _)| order);
    let skipped: Vec<Check> =
        order.map(|order| order.desired.skipped.iter().copied().collect()).unwrap_or_default();
    let findings = asked.findings.as_deref().unwrap_or_default();
    sorted(asked.object.clone(), asked.findings.is_some(), findings, &skipped)
}

fn sorted(object: String, ran: bool, findings: &[Finding], skipped: &[Check]) -> Checked {
    let is_lost = !ran || findings.iter().any(|finding| finding.check == Check::Connection);
    let silent = Check::ALL
        .iter()
        .filter(|check| !skipped.contains(check) && !findings.iter().any(|finding| finding.check == **check));
    let silent: Vec<_> = silent.map(|check| check.name()).collect();
    let (passed, unknown) = if is_lost { (Vec::new(), silent) } else { (silent, Vec::new()) };
    let skipped = skipped.iter().map(|check| check.name()).collect();
    Checked { object, ran, findings: findings.iter().map(Found::from).collect(), passed, unknown, skipped }
}

fn text(report: &Report) -> String {
    let mut text: String = report.vcenters.iter().map(vcenter_line).collect();
    for object in &report.objects {
        text += &object_text(object);
    }
    text
}

fn object_text(checked: &Checked) -> String {
    let Checked { object, ran, findings, passed, unknown, skipped } = checked;
    let mut text = format!("\n{object}\n");
    if !ran {
        text += "  the checks have not run: they need vCenters that accept the accounts, and settings that can be used\n";
        return text;
    }
    for check in Check::ALL {
        let name = check.name();
        let sign = match () {
            () if skipped.contains(&name) => 'o',
            () if unknown.contains(&name) => '?',
            () if passed.contains(&name) => '+',
            () => '-',
        };
        let _ = writeln!(text, "  {sign} {name:25} {}", check.says());
        for Found { severity, object, message, remediation, docs, .. } in
            findings.iter().filter(|of| of.check == name)
        {
            let _ = writeln!(text, "      [{severity}] {object}: {message}");
            let _ = writeln!(text, "        {remediation}; see {docs}");
        }
    }
    let count =
        |what: &str, number: usize| if number == 0 { String::new() } else { format!(", {number} {what}") };
    let _ = writeln!(
        text,
        "  {} passed{}{}{}",
        passed.len(),
        count(
            "found something",
            findings.iter().map(|of| of.check).collect::<std::collections::BTreeSet<_>>().len()
        ),
        count("are not known", unknown.len()),
        count("are switched off", skipped.len()),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: Check, severity: Severity) -> Finding {
        Finding {
            check,
            severity,
            object: "node-1".to_owned(),
            message: "why".to_owned(),
            remediation: "do this",
        }
    }

    #[test]
    fn a_check_that_has_not_run_has_not_passed() {
        let warns = [finding(Check::Tools, Severity::Warning)];
        let forbids = [finding(Check::DiskUuid, Severity::BlockInstall)];
        for (findings, limit, wanted) in [
            (Some(&[][..]), Severity::Warning, Ends::Well),
            (None, Severity::Degraded, Ends::NotAsAsked),
            (Some(&warns[..]), Severity::BlockUpgrade, Ends::Well),
            (Some(&warns[..]), Severity::Warning, Ends::NotAsAsked),
            (Some(&forbids[..]), Severity::BlockUpgrade, Ends::NotAsAsked),
            (Some(&forbids[..]), Severity::Degraded, Ends::Well),
        ] {
            assert_eq!(ends([findings].into_iter(), limit), wanted, "{findings:?} {limit:?}");
        }
    }

    #[test]
    fn every_check_has_its_line() {
        let all = [finding(Check::Tools, Severity::Warning), finding(Check::Tools, Severity::Degraded)];
        let text = object_text(&sorted("VDOConfig a/b".to_owned(), true, &all, &[Check::Clock]));
        for part in [
            "  + Connection                A vCenter answers, and lets the account log in\n",
            "  o Clock",
            "  - Tools",
            "      [warning] node-1: why\n        do this; see https://",
            "36 passed, 1 found something, 1 are switched off\n",
        ] {
            assert!(text.contains(part), "no {part}: {text}");
        }
        let lost = sorted(
            "VDOConfig a/b".to_owned(),
            true,
            &[finding(Check::Connection, Severity::BlockInstall)],
            &[],
        );
        assert!(lost.passed.is_empty() && lost.unknown.len() == Check::ALL.len() - 1);
    }
}
