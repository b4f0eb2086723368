//! `vdo plan`: what the operator would do next, and with which objects.

use std::fmt::Write as _;

use operator_kit::Key;
use operator_kit::apply_set::{self, Preview};
use serde::Serialize;
use serde_json::json;

use super::access::{Access, Select, Sources};
use super::diff::{self, Field};
use super::error::Error;
use super::look::{Asked, Look, VcenterSeen};
use super::{Done, Ends};
use crate::api::reason;
use crate::choose::Choice;
use crate::installer::{DriverSeen, set};
use crate::matrix::Driver;
use crate::plan::{Change, Found, Hold, Step, Wanted};
use crate::preflight::Severity;

/// Shows what the operator would do next, and with which objects; changes nothing
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Plan {
    #[command(flatten)]
    select: Select,

    /// End with 3 if anything would change, waits or is blocked
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    pub(super) access: Access,
}

/// What the operator would do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    vcenters: Vec<VcenterSeen>,
    objects: Vec<ObjectPlan>,
    /// Objects that would be created, changed and deleted.
    summary: Summary,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    create: usize,
    change: usize,
    delete: usize,
    /// Objects that cannot be applied.
    refused: usize,
    /// Drivers that wait, or are blocked.
    held: usize,
}

/// What would be done for an object that asks for drivers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectPlan {
    object: String,
    /// Why what it asks for is not clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    unusable: Option<Held>,
    pub(super) drivers: Vec<DriverPlan>,
    /// Findings of the preflight checks that forbid something.
    forbidden_by: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Held {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl From<&Hold> for Held {
    fn from(hold: &Hold) -> Self {
        Self { reason: hold.reason, message: hold.message.clone() }
    }
}

/// What would be done with a driver.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DriverPlan {
    pub(super) driver: &'static str,
    /// The version that was applied last.
    pub(super) installed: Option<String>,
    /// What another tool has installed.
    pub(super) foreign: Option<String>,
    /// The version that was chosen.
    pub(super) chosen: Option<String>,
    /// What happens next.
    pub(super) step: &'static str,
    /// What is waited for, or what a person has to do.
    pub(super) held: Option<Held>,
    /// All versions that were not chosen, newest first.
    pub(super) rejected: Vec<Rejected>,
    /// The objects that would be touched; of a driver that waits, later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) objects: Option<Vec<Touched>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Rejected {
    pub(super) version: String,
    /// What speaks against it; empty for one that fits, where a higher one was chosen.
    pub(super) reasons: Vec<String>,
}

/// An object that would be touched.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Touched {
    /// `create`, `change`, `delete` or `refused`.
    pub(super) action: &'static str,
    pub(super) object: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fields: Vec<Field>,
    /// Why it cannot be applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
}

impl Plan {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        let look = Look::new(self.access.client().await?, &self.access, &self.sources).await?;
        let asked = look.asked(|key: &Key| self.select.is_meant(key)).await?;
        if asked.is_empty() {
            return Err(self.select.nothing());
        }
        let mut objects = Vec::new();
        for of in &asked {
            objects.push(object(&look, of).await?);
        }
        let summary = summary(&objects);
        let ends =
            if self.exit_code && summary != Summary::default() { Ends::NotAsAsked } else { Ends::Well };
        let report = Report { vcenters: look.vcenters, objects, summary };
        Ok(Done { text: text(&report), json: json!(report), ends })
    }
}

/// Returns what would be done for an object that asks for drivers.
pub(super) async fn object(look: &Look, asked: &Asked) -> Result<ObjectPlan, Error> {
    let seen = &asked.seen;
    let steps = seen.steps();
    let mut drivers = Vec::new();
    for driver in Driver::ALL {
        let of = seen.drivers.get(driver);
        if seen.unusable.is_some() || (of.wanted == Wanted::Unmanaged && of.record.is_none()) {
            continue;
        }
        let objects = touched(look, driver, of).await?;
        drivers.push(driver_plan(driver, of, steps.get(driver), Some(objects)));
    }
    let forbids = asked.findings.iter().flatten().filter(|finding| finding.severity > Severity::Warning);
    Ok(ObjectPlan {
        object: asked.object.clone(),
        unusable: seen.unusable.as_ref().map(Held::from),
        drivers,
        forbidden_by: forbids.map(|of| format!("[{}] {of}", of.severity.word())).collect(),
    })
}

pub(super) fn driver_plan(
    driver: Driver,
    seen: &DriverSeen,
    step: &Step,
    objects: Option<Vec<Touched>>,
) -> DriverPlan {
    let held = match step {
        Step::Wait(hold) | Step::Blocked(hold) => Some(Held::from(hold)),
        _ => seen.stays().map(|message| Held { reason: reason::UPGRADE_FAILED, message }),
    };
    let foreign = if let Found::Foreign(what) = &seen.found { Some(what.clone()) } else { None };
    DriverPlan {
        driver: driver.name(),
        installed: seen.record.as_ref().map(|record| record.version.to_string()),
        foreign,
        chosen: seen.choice.as_ref().and_then(|choice| Some(choice.version.as_ref()?.to_string())),
        step: word(step),
        held,
        rejected: seen.choice.as_ref().map(rejected).unwrap_or_default(),
        objects,
    }
}

/// Returns the versions that were not chosen.
fn rejected(choice: &Choice) -> Vec<Rejected> {
    let others = choice.candidates.iter().filter(|(version, _)| Some(version) != choice.version.as_ref());
    others
        .map(|(version, against)| Rejected {
            version: version.to_string(),
            reasons: against.iter().map(ToString::to_string).collect(),
        })
        .collect()
}

fn word(step: &Step) -> &'static str {
    match step {
        Step::Rest => "rest",
        Step::Apply(Change::Install) => "install",
        Step::Apply(Change::Adopt) => "adopt",
        Step::Apply(Change::Upgrade) => "upgrade",
        Step::Apply(Change::Downgrade) => "downgrade",
        Step::Apply(Change::Rollback) => "rollback",
        Step::Apply(Change::Configure) => "configure",
        Step::Apply(Change::Maintain) => "keep",
        Step::Wait(_) => "wait",
        Step::Blocked(_) => "blocked",
        Step::Remove => "remove",
        Step::Release => "release",
    }
}

/// Asks the API server what applying or removing a driver would change.
async fn touched(look: &Look, driver: Driver, seen: &DriverSeen) -> Result<Vec<Touched>, Error> {
    let shared = &look.shared;
    let own = shared.sets.get(driver);
    let previews = match (&seen.wanted, &seen.rendered) {
        (Wanted::Removed, _) => own.preview(&[]).await?,
        (Wanted::Present(_), Some(rendered)) if matches!(seen.found, Found::Foreign(_)) => {
            let adopting = set(&shared.client, &shared.manager, driver).taking_over();
            adopting.preview(&rendered.waves).await?
        }
        (Wanted::Present(_), Some(rendered)) => own.preview(&rendered.waves).await?,
        _ => Vec::new(),
    };
    Ok(previews.into_iter().filter_map(touch).collect())
}

/// Returns how an object would be touched; `None` if it would stay as it is.
pub(super) fn touch(Preview { member, change }: Preview) -> Option<Touched> {
    let object = member.to_string();
    let of = |action, fields, message| Touched { action, object, fields, message };
    match change {
        apply_set::Change::Create => Some(of("create", Vec::new(), None)),
        apply_set::Change::Delete => Some(of("delete", Vec::new(), None)),
        apply_set::Change::Refuse(message) => Some(of("refused", Vec::new(), Some(message))),
        apply_set::Change::Update(before, after) => {
            let fields = diff::fields(&member.kind, &json!(before), &json!(after));
            (!fields.is_empty()).then(|| of("change", fields, None))
        }
    }
}

fn summary(objects: &[ObjectPlan]) -> Summary {
    let drivers = || objects.iter().flat_map(|object| &object.drivers);
    let count = |action| {
        drivers().flat_map(|driver| driver.objects.iter().flatten()).filter(|of| of.action == action).count()
    };
    let unusable = objects.iter().filter(|object| object.unusable.is_some()).count();
    Summary {
        create: count("create"),
        change: count("change"),
        delete: count("delete"),
        refused: count("refused"),
        held: drivers().filter(|driver| driver.held.is_some()).count() + unusable,
    }
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for vcenter in &report.vcenters {
        text += &vcenter_line(vcenter);
    }
    text.extend(report.objects.iter().map(object_text));
    let Summary { create, change, delete, refused, held } = report.summary;
    let _ = write!(text, "\nPlan: {create} to create, {change} to change, {delete} to delete");
    if refused > 0 {
        let _ = write!(text, ", {refused} refused");
    }
    if held > 0 {
        let _ = write!(text, "; {held} held up");
    }
    text + "\n"
}

pub(super) fn object_text(object: &ObjectPlan) -> String {
    let mut text = format!("\n{}\n", object.object);
    if let Some(Held { reason, message }) = &object.unusable {
        let _ = writeln!(text, "  nothing is done ({reason}): {message}");
    }
    for finding in &object.forbidden_by {
        let _ = writeln!(text, "  {finding}");
    }
    text.extend(object.drivers.iter().map(driver_text));
    text
}

pub(super) fn vcenter_line(vcenter: &VcenterSeen) -> String {
    let VcenterSeen { object, server, version, machines, problem } = vcenter;
    let server = server.as_deref().unwrap_or("-");
    let version = version.as_deref().map(|version| format!(", vCenter {version}")).unwrap_or_default();
    let state = match problem {
        None => format!("the account is accepted, and sees {machines} machines"),
        Some(problem) => problem.clone(),
    };
    format!("{object} ({server}{version}): {state}\n")
}

fn driver_text(plan: &DriverPlan) -> String {
    let mut text = String::new();
    let objects = plan.objects.as_deref().unwrap_or_default();
    let chosen = plan.chosen.as_deref();
    let versions = match (plan.installed.as_deref(), chosen) {
        (Some(installed), Some(chosen)) if installed != chosen => format!(" {installed} -> {chosen}"),
        (Some(version), _) | (None, Some(version)) => format!(" {version}"),
        (None, None) => String::new(),
    };
    let _ = write!(text, "  {}{versions}: {}", plan.driver, plan.step);
    match &plan.held {
        Some(Held { reason, message }) => {
            let _ = writeln!(text, " ({reason}): {message}");
        }
        None if plan.step == "keep" && objects.is_empty() => text += ", nothing changes\n",
        None => text += "\n",
    }
    let is_newer = |of: &&Rejected| !of.reasons.is_empty();
    // Those below the chosen one are older, which says enough.
    let newer = plan.rejected.iter().take_while(is_newer);
    for Rejected { version, reasons } in newer.filter(|of| is_above(&of.version, chosen)) {
        let _ = writeln!(text, "    not {version}: {}", reasons.join("; "));
    }
    if plan.held.is_some() && !objects.is_empty() {
        text += "    then:\n";
    }
    text + &touched_text(objects)
}

/// Returns a line for each object, and one for each field that changes.
pub(super) fn touched_text(objects: &[Touched]) -> String {
    let mut text = String::new();
    for Touched { action, object, fields, message } in objects {
        let sign = match *action {
            "create" => '+',
            "delete" => '-',
            "change" => '~',
            _ => '!',
        };
        let message = message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        let _ = writeln!(text, "    {sign} {object}{message}");
        for line in fields.iter().flat_map(diff::lines) {
            let _ = writeln!(text, "        {line}");
        }
    }
    text
}

/// Returns whether a version is above the one that was chosen.
pub(super) fn is_above(version: &str, chosen: Option<&str>) -> bool {
    let parsed = |text: &str| text.parse::<crate::version::Version>().ok();
    chosen.is_none_or(|chosen| parsed(version) > parsed(chosen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(installed: Option<&str>, chosen: Option<&str>, step: &Step, objects: Vec<Touched>) -> DriverPlan {
        let held = match step {
            Step::Wait(hold) | Step::Blocked(hold) => Some(Held::from(hold)),
            _ => None,
        };
        let rejected = |version: &str, reasons: &[&str]| Rejected {
            version: version.to_owned(),
            reasons: reasons.iter().map(|text| (*text).to_owned()).collect(),
        };
        DriverPlan {
            driver: "CPI",
            installed: installed.map(str::to_owned),
            foreign: None,
            chosen: chosen.map(str::to_owned),
            step: word(step),
            held,
            rejected: vec![rejected("1.37.0", &["is too new"]), rejected("1.35.0", &["is older"])],
            objects: Some(objects),
        }
    }

    fn touched(action: &'static str, object: &str) -> Touched {
        Touched { action, object: object.to_owned(), fields: Vec::new(), message: None }
    }

    #[test]
    fn each_step_has_its_line() {
        let hold = || Hold { reason: "WaitingForDriver", message: "CNI is not installed".to_owned() };
        let objects = || vec![touched("create", "Secret a/b")];
        for (plan, wanted) in [
            (
                plan(None, Some("1.36.0"), &Step::Apply(Change::Install), objects()),
                "  CPI 1.36.0: install\n    not 1.37.0: is too new\n    + Secret a/b\n",
            ),
            (
                plan(Some("1.35.0"), Some("1.36.0"), &Step::Apply(Change::Upgrade), Vec::new()),
                "  CPI 1.35.0 -> 1.36.0: upgrade\n    not 1.37.0: is too new\n",
            ),
            (
                plan(Some("1.36.0"), Some("1.36.0"), &Step::Apply(Change::Maintain), Vec::new()),
                "  CPI 1.36.0: keep, nothing changes\n    not 1.37.0: is too new\n",
            ),
            (
                plan(None, Some("1.36.0"), &Step::Wait(hold()), objects()),
                "  CPI 1.36.0: wait (WaitingForDriver): CNI is not installed\n    not 1.37.0: is too new\n    then:\n    + Secret a/b\n",
            ),
            (
                plan(Some("1.36.0"), None, &Step::Blocked(hold()), Vec::new()),
                "  CPI 1.36.0: blocked (WaitingForDriver): CNI is not installed\n    not 1.37.0: is too new\n    not 1.35.0: is older\n",
            ),
            (plan(Some("1.37.0"), Some("1.37.0"), &Step::Remove, Vec::new()), "  CPI 1.37.0: remove\n"),
        ] {
            assert_eq!(driver_text(&plan), wanted);
        }
    }

    #[test]
    fn what_is_touched_and_held_up_is_counted() {
        let hold = Hold { reason: "WaitingForDriver", message: String::new() };
        let objects =
            ["create", "create", "change", "delete", "refused"].map(|action| touched(action, "A b"));
        let object = ObjectPlan {
            object: "DriverSet a/b".to_owned(),
            unusable: None,
            drivers: vec![
                plan(None, None, &Step::Apply(Change::Install), objects.to_vec()),
                plan(None, None, &Step::Wait(hold.clone()), Vec::new()),
            ],
            forbidden_by: vec!["[degraded] Tools".to_owned()],
        };
        let unusable = ObjectPlan {
            object: "DriverSet a/c".to_owned(),
            unusable: Some(Held::from(&hold)),
            drivers: Vec::new(),
            forbidden_by: Vec::new(),
        };
        let objects = vec![object, unusable];
        let summary = summary(&objects);
        assert_eq!(summary, Summary { create: 2, change: 1, delete: 1, refused: 1, held: 2 });
        let text = text(&Report { vcenters: Vec::new(), objects, summary });
        assert!(
            text.ends_with("\nPlan: 2 to create, 1 to change, 1 to delete, 1 refused; 2 held up\n"),
            "{text}"
        );
        assert!(
            text.contains("DriverSet a/b\n  [degraded] Tools\n") && text.contains("nothing is done (Waiting"),
            "{text}"
        );
    }
}
