//! `vdo explain`: why this version and not another, what each condition means, and what to do.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_kit::Key;
use serde::Serialize;
use serde_json::json;

use super::access::{Access, Select, Sources};
use super::check::Found;
use super::error::Error;
use super::look::{Look, VcenterSeen};
use super::plan::{DriverPlan, Held, Rejected, driver_plan, vcenter_line};
use super::{Done, Ends, pages, status};
use crate::matrix::Driver;
use crate::plan::Wanted;
use crate::preflight::Check;

/// Explains why versions were chosen or rejected, what conditions mean, and what to do
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Explain {
    /// A reason such as NodesUninitialized, or a preflight check such as Tools [default: explains the drivers of the cluster]
    #[arg(value_name = "WORD")]
    word: Option<String>,

    /// Name of a VDOConfig or DriverSet [default: all]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Namespace of the VDOConfigs and DriverSets [default: all]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    pub(super) access: Access,
}

#[derive(Debug, Serialize)]
struct Report {
    vcenters: Vec<VcenterSeen>,
    objects: Vec<Explained>,
    /// Conditions that are not True, of all objects.
    conditions: Vec<Open>,
}

#[derive(Debug, Serialize)]
struct Explained {
    object: String,
    drivers: Vec<DriverPlan>,
    findings: Vec<Found>,
}

/// A condition that is not True, and what its reason means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Open {
    object: String,
    condition: String,
    reason: String,
    message: String,
    /// What the reason means, and what to do.
    explanation: Option<String>,
}

impl Explain {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        if let Some(word) = &self.word {
            return of_word(word);
        }
        let client = self.access.client().await?;
        let select = Select { name: self.name.clone(), namespace: self.namespace.clone() };
        let statuses = status::statuses(&client, &select).await?;
        let look = Look::new(client, &self.access, &self.sources).await?;
        let mut objects = Vec::new();
        for asked in look.asked(|key: &Key| select.is_meant(key)).await? {
            let steps = asked.seen.steps();
            let managed = Driver::ALL.into_iter().filter(|driver| {
                let seen = asked.seen.drivers.get(*driver);
                seen.wanted != Wanted::Unmanaged || seen.record.is_some()
            });
            let drivers = managed
                .map(|driver| driver_plan(driver, asked.seen.drivers.get(driver), steps.get(driver), None))
                .collect();
            let findings = asked.findings.iter().flatten().map(Found::from).collect();
            objects.push(Explained { object: asked.object, drivers, findings });
        }
        let conditions = statuses.iter().flat_map(|seen| open(&seen.object, &seen.conditions)).collect();
        let report = Report { vcenters: look.vcenters, objects, conditions };
        Ok(Done { text: text(&report), json: json!(report), ends: Ends::Well })
    }
}

/// Explains a reason or a check.
fn of_word(word: &str) -> Result<Done, Error> {
    let check = word.parse::<Check>().ok().map(|check| (check.name().to_owned(), pages::check(check)));
    let Some((name, explanation)) = pages::reason(word).or(check) else {
        let checks = Check::ALL.iter().map(|check| check.name().to_owned());
        let known: Vec<_> = pages::reasons().into_iter().chain(checks).collect();
        return Err(Error::Usage(format!(
            "{word:?} is no reason and no check; write one of {}",
            known.join(", ")
        )));
    };
    let text = format!("{name}: {explanation}\n");
    Ok(Done { text, json: json!({ "word": name, "explanation": explanation }), ends: Ends::Well })
}

/// Returns the conditions that are not True.
fn open(object: &str, conditions: &[Condition]) -> Vec<Open> {
    let open = conditions.iter().filter(|condition| condition.status != "True");
    open.map(|Condition { type_, reason, message, .. }| Open {
        object: object.to_owned(),
        condition: type_.clone(),
        reason: reason.clone(),
        message: message.clone(),
        explanation: pages::reason(reason).map(|(_, text)| text),
    })
    .collect()
}

fn text(report: &Report) -> String {
    let mut text: String = report.vcenters.iter().map(vcenter_line).collect();
    for Explained { object, drivers, findings } in &report.objects {
        let _ = writeln!(text, "\n{object}");
        for driver in drivers {
            text += &driver_text(driver);
        }
        for Found { check, severity, object, message, remediation, .. } in findings {
            let _ = writeln!(text, "  [{severity}] {check}: {object}: {message}: {remediation}");
        }
    }
    if !report.conditions.is_empty() {
        text += "\nWhat the operator says is open\n";
    }
    for Open { object, condition, reason, message, explanation } in &report.conditions {
        let _ = writeln!(text, "  {object}: {condition}: {reason}: {}", message.replace('\n', "\n    "));
        if let Some(explanation) = explanation {
            let _ = writeln!(text, "    {explanation}");
        }
    }
    text
}

fn driver_text(plan: &DriverPlan) -> String {
    let mut text = format!("  {}", plan.driver);
    let _ = match &plan.installed {
        Some(version) => writeln!(text, ": {version} is installed"),
        None => writeln!(text, ": vdo has not installed it"),
    };
    if let Some(Held { reason, message }) = &plan.held {
        let _ = writeln!(text, "    {} ({reason}): {}", plan.step, message.replace('\n', "\n      "));
        if let Some((_, explanation)) = pages::reason(reason) {
            let _ = writeln!(text, "      {explanation}");
        }
    }
    let mut chosen = plan.chosen.as_deref();
    for Rejected { version, reasons } in &plan.rejected {
        if let Some(version) = chosen.filter(|chosen| !super::plan::is_above(version, Some(chosen))) {
            let _ = writeln!(text, "    + {version}: the highest version that fits");
            chosen = None;
        }
        let why =
            if reasons.is_empty() { "fits, and is not the highest".to_owned() } else { reasons.join("; ") };
        let _ = writeln!(text, "    - {version}: {why}");
    }
    if let Some(version) = chosen {
        let _ = writeln!(text, "    + {version}: the highest version that fits");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_explained_or_the_words_are_named() {
        for (word, wanted) in [
            ("nodesuninitialized", "NodesUninitialized: Nodes have the taint"),
            ("Tools", "Tools: "),
            ("vcenterloginrefused", "VCenterLoginRefused: "),
        ] {
            let done = of_word(word).unwrap_or_else(|error| panic!("{error}"));
            assert!(done.text.starts_with(wanted), "{}", done.text);
        }
        let error = of_word("nonsense").err().unwrap().to_string();
        assert!(
            error.starts_with("\"nonsense\" is no reason and no check; write one of AsAsked, "),
            "{error}"
        );
    }

    #[test]
    fn the_chosen_version_stands_among_the_others() {
        let of = |version: &str, reasons: &[&str]| Rejected {
            version: version.to_owned(),
            reasons: reasons.iter().map(|text| (*text).to_owned()).collect(),
        };
        let plan = DriverPlan {
            driver: "CPI",
            installed: Some("1.35.0".to_owned()),
            foreign: None,
            chosen: Some("1.36.0".to_owned()),
            step: "wait",
            held: Some(Held { reason: "OutsideOfWindow", message: "later".to_owned() }),
            rejected: vec![of("1.37.0", &["a", "b"]), of("1.35.1", &[]), of("1.35.0", &["c"])],
            objects: None,
        };
        let wanted = "  CPI: 1.35.0 is installed\n    wait (OutsideOfWindow): later\n      The version changes in the next maintenance \
                      window.\n    - 1.37.0: a; b\n    + 1.36.0: the highest version that fits\n    - 1.35.1: fits, and is not the \
                      highest\n    - 1.35.0: c\n";
        assert_eq!(driver_text(&plan), wanted);
    }
}
