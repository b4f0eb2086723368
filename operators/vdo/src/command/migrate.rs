//! `vdo migrate`: takes over from the original vdo. Its kinds and objects are used on, its Deployment and its rights go, and the drivers that it
//! has installed are adopted as they run.
//!
//! ```text
//!   what the original has, what the operator would adopt ──▶ report ──▶ confirm
//!   original stops ──▶ adopt (annotation) ──▶ operator is deployed ──▶ leftovers go ──▶ drivers are adopted ──▶ Pods are compared
//! ```

mod original;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use operator_kit::names::first_few;
use operator_kit::{Guarded, Key};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::access::{Access, Select, Sources, duration};
use super::error::Error;
use super::look::{Look, own};
use super::plan::{DriverPlan, Held, ObjectPlan, Touched, object, object_text};
use super::terminal::Terminal;
use super::{Done, Ends, deploy, status};
use crate::api::{ADOPT, VdoConfig};
use crate::foreign::{is_ours, name_of, runs};
use crate::installer::drivers;
use crate::matrix::Driver;
use original::Original;

/// How often is looked whether something is done.
const PAUSE: Duration = Duration::from_secs(1);
/// The drivers that the original installs.
const ALL: &str = "CPI,CSI";
/// Kinds of objects that have Pods.
const WORKLOADS: [&str; 2] = ["DaemonSet ", "Deployment "];
/// Field of what their Pods are made of.
const TEMPLATE: &str = "spec.template";

/// Takes over from the original vdo, with the drivers that it has installed
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    program: deploy::Program,

    /// Show what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Go on also where Pods of drivers are replaced, or where it is not known whether they are
    #[arg(long)]
    replace_pods: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    /// How long to wait, such as 90s, 10m or 1h
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = duration)]
    timeout: Duration,

    #[command(flatten)]
    sources: Sources,

    #[command(flatten)]
    pub(super) access: Access,
}

/// What is done, or would be.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// Whether nothing was changed.
    dry_run: bool,
    /// What of the original is deleted.
    removed: Vec<String>,
    /// What the operator does with the drivers.
    objects: Vec<ObjectPlan>,
    /// Workloads whose Pods are replaced.
    replaced: Vec<String>,
    /// Drivers of which it is not known whether their Pods are replaced, and why.
    unknown: Vec<String>,
    /// What is not done yet, and why.
    left: Vec<String>,
}

impl Migrate {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        let client = self.access.client().await?;
        let end = Instant::now() + self.timeout;
        let original = Original::find(&client).await?;
        let configs = configs(&client).await?;
        let look = Look::with(client.clone(), &self.access, &self.sources, adopting).await?;
        let before = Workloads::read(&look).await?;
        let mut report = self.report(&look, &original, &before).await?;
        let is_marked = configs.iter().any(|(_, is_marked)| *is_marked);
        if report.removed.is_empty() && report.adopted().next().is_none() && !is_marked {
            let message = "nothing of the original vdo is here, and no VDOConfig asks for a driver that another tool has installed: choose \
                           another cluster with --context, or install with `vdo deploy`";
            return Err(Error::Usage(message.to_owned()));
        }
        if self.dry_run {
            return Ok(report.done());
        }
        self.confirm(&report)?;
        report.left = self.replace(&client, &original, &configs, end).await?;
        if report.left.is_empty() {
            report.left = self.wait(&look, &report, end).await?;
        }
        if report.left.is_empty() {
            for (key, _) in &configs {
                mark(&client, key, false).await?;
            }
        }
        let after = Workloads::read(&look).await?;
        let is_announced = !report.is_harmless();
        report.replaced = before.replaced(&after);
        if !is_announced {
            let replaced = report.replaced.iter();
            let surprise =
                |name| format!("{name}: its Pods are replaced, which the API server did not say before");
            report.left.extend(replaced.map(surprise));
        }
        Ok(report.done())
    }

    async fn report(&self, look: &Look, original: &Original, workloads: &Workloads) -> Result<Report, Error> {
        let mut report = Report { dry_run: self.dry_run, removed: original.names(), ..Report::default() };
        for asked in &look.asked(|_: &Key| true).await? {
            if asked.object.starts_with("VDOConfig ") {
                report.objects.push(object(look, asked).await?);
            }
        }
        for plan in report.objects.iter().flat_map(|object| &object.drivers) {
            if plan.foreign.is_none() {
                continue;
            }
            match (&plan.held, plan.objects.as_deref().unwrap_or_default()) {
                (Some(Held { reason, message }), []) => {
                    report.unknown.push(format!("{} ({reason}): {message}", plan.driver));
                }
                (_, objects) => {
                    if let Some(problem) = workloads.problem(plan, objects) {
                        return Err(Error::Usage(problem));
                    }
                    report
                        .replaced
                        .extend(objects.iter().filter(|of| replaces_pods(of)).map(|of| of.object.clone()));
                }
            }
        }
        Ok(report)
    }

    /// Asks whether to go on. Pods are replaced only where that was asked for.
    fn confirm(&self, report: &Report) -> Result<(), Error> {
        let is_harmless = report.is_harmless();
        if self.yes && (is_harmless || self.replace_pods) {
            return Ok(());
        }
        let pods = report.pods();
        let flags = if is_harmless { "--yes" } else { "--yes --replace-pods" };
        let mut terminal = Terminal::open().filter(|_| !self.yes).ok_or_else(|| {
            Error::Usage(format!(
                "{}write {flags} to go on, or --dry-run to see what is done",
                pods.replace('\n', "; ")
            ))
        })?;
        if terminal.agrees(&format!("{}Take over?", report.text()))? {
            return Ok(());
        }
        Err(Error::Usage("nothing was changed".to_owned()))
    }

    /// Puts the operator in the place of the original; returns what is left of it, or not there yet, at the end.
    async fn replace(
        &self,
        client: &Client,
        original: &Original,
        configs: &[(Key, bool)],
        end: Instant,
    ) -> Result<Vec<String>, Error> {
        let left = original.stop(end).await?;
        if !left.is_empty() {
            return Ok(left);
        }
        for (key, _) in configs {
            mark(client, key, true).await?;
        }
        let waves = self.program.waves(&self.access.operator_namespace)?;
        let (waiting, is_enough) = deploy::roll_out(&deploy::set(client.clone()), &waves, false, end).await?;
        if !is_enough {
            return Ok(waiting);
        }
        original.clear().await?;
        Ok(Vec::new())
    }

    /// Waits until the operator has adopted the drivers; returns what the objects say that ask for drivers that it has not.
    async fn wait(&self, look: &Look, report: &Report, end: Instant) -> Result<Vec<String>, Error> {
        let client = &look.shared.client;
        loop {
            let workloads = Workloads::read(look).await?;
            let mut left = Vec::new();
            for driver in report.adopted() {
                let is_noted = look.shared.sets.get(driver).notes().await?.is_some();
                let foreign = workloads.foreign(driver);
                if !is_noted || !foreign.is_empty() {
                    left.push(format!("{driver} is not adopted yet: {}", first_few(&foreign)));
                }
            }
            if left.is_empty() {
                return Ok(left);
            }
            if Instant::now() >= end {
                let all = Select { name: None, namespace: None };
                left.extend(status::asking(client, &all).await?.iter().map(status::Seen::brief));
                let operator = status::operator(client, &self.access.operator_namespace).await?;
                left.push(status::operator_line(&operator).trim_end().to_owned());
                return Ok(left);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Report {
    /// Returns the drivers that are adopted.
    fn adopted(&self) -> impl Iterator<Item = Driver> {
        let plans = || self.objects.iter().flat_map(|object| &object.drivers);
        Driver::ALL
            .into_iter()
            .filter(move |driver| plans().any(|plan| plan.driver == driver.name() && plan.foreign.is_some()))
    }

    /// Returns whether it is known that no Pod of a driver is replaced.
    fn is_harmless(&self) -> bool {
        self.replaced.is_empty() && self.unknown.is_empty()
    }

    /// Returns the lines that say whether Pods are replaced.
    fn pods(&self) -> String {
        let mut text = String::new();
        if !self.replaced.is_empty() {
            let _ = writeln!(text, "the Pods are replaced of {}", self.replaced.join(", "));
        }
        for driver in &self.unknown {
            let _ = writeln!(text, "it is not known whether Pods are replaced of {driver}");
        }
        text
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for name in &self.removed {
            let _ = writeln!(text, "- {name}");
        }
        for object in &self.objects {
            text += &object_text(object);
        }
        let pods = self.pods();
        text + if pods.is_empty() { "\nno Pod of a driver is replaced\n" } else { "\n" } + &pods
    }

    fn done(&self) -> Done {
        let mut text = if self.dry_run { self.text() } else { String::new() };
        if !self.dry_run {
            for name in &self.removed {
                let _ = writeln!(text, "removed: {name}");
            }
            for driver in self.adopted().filter(|_| self.left.is_empty()) {
                let _ = writeln!(text, "adopted: {driver}");
            }
            let is_quiet = self.replaced.is_empty();
            text +=
                if is_quiet { "no Pod of a driver was replaced\n" } else { "the Pods were replaced of\n" };
            for name in self.replaced.iter().chain(&self.left) {
                let _ = writeln!(text, "  {name}");
            }
            text += if self.left.is_empty() {
                "go on with `vdo status --wait`\n"
            } else {
                "run `vdo migrate` again\n"
            };
        }
        let ends = if self.left.is_empty() { Ends::Well } else { Ends::NotAsAsked };
        Done { text, json: json!(self), ends }
    }
}

/// The workloads of drivers.
struct Workloads {
    all: Vec<DynamicObject>,
    /// The ids of our sets.
    sets: Vec<String>,
}

impl Workloads {
    async fn read(look: &Look) -> Result<Self, Error> {
        let sets: Vec<_> = Driver::ALL.iter().map(|driver| look.shared.sets.get(*driver).id()).collect();
        Ok(Self { all: drivers(&look.shared.client, &sets).await?, sets })
    }

    /// Returns the workloads of a driver that other tools have installed.
    fn foreign(&self, driver: Driver) -> Vec<String> {
        let foreign = self.all.iter().filter(|of| runs(of, driver) && !is_ours(of, &self.sets));
        foreign.map(name_of).collect()
    }

    /// Returns why a driver cannot be adopted by applying these objects.
    fn problem(&self, plan: &DriverPlan, objects: &[Touched]) -> Option<String> {
        let driver = Driver::ALL.into_iter().find(|driver| driver.name() == plan.driver)?;
        if let Some(Touched { object, message: Some(message), .. }) =
            objects.iter().find(|of| of.message.is_some())
        {
            return Some(format!("{driver} cannot be adopted, as {object} is refused: {message}"));
        }
        let mut stray = self.foreign(driver);
        stray.retain(|name| objects.iter().all(|of| of.object != *name));
        let version = plan.chosen.as_deref().unwrap_or_default();
        (!stray.is_empty()).then(|| {
            format!(
                "{driver} would be installed a second time, as its version {version} does not have {}: have the matrix offer the version that \
                 runs, or remove that driver first",
                first_few(&stray)
            )
        })
    }

    /// Returns the workloads whose Pods are made of something else afterwards, or that are gone.
    fn replaced(&self, after: &Self) -> Vec<String> {
        let template = |of: &DynamicObject| of.data["spec"]["template"].clone();
        let after: BTreeMap<_, _> = after.all.iter().map(|of| (name_of(of), template(of))).collect();
        let before = self.all.iter().map(|of| (name_of(of), template(of)));
        before.filter(|(name, template)| after.get(name) != Some(template)).map(|(name, _)| name).collect()
    }
}

/// Returns whether applying an object replaces Pods.
fn replaces_pods(touched: &Touched) -> bool {
    WORKLOADS.iter().any(|kind| touched.object.starts_with(kind))
        && touched.fields.iter().any(|field| field.path.starts_with(TEMPLATE))
}

/// Returns the VDOConfigs, each with whether its drivers are being adopted.
async fn configs(client: &Client) -> Result<Vec<(Key, bool)>, Error> {
    let all = own::<VdoConfig>(client).await?;
    Ok(all.iter().map(|config| (Key::of(config), config.annotations().contains_key(ADOPT))).collect())
}

/// Has a VDOConfig ask for the drivers of other tools, as its annotation does.
fn adopting(config: &mut Guarded<VdoConfig>) {
    config.annotations_mut().insert(ADOPT.to_owned(), ALL.to_owned());
}

/// Has the operator adopt what a VDOConfig asks for, or not any more.
async fn mark(client: &Client, config: &Key, adopts: bool) -> Result<(), Error> {
    let api = Api::<VdoConfig>::namespaced(client.clone(), config.namespace());
    let patch = json!({"metadata": {"annotations": {ADOPT: adopts.then_some(ALL)}}});
    api.patch_metadata(config.name(), &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::diff::Field;
    use super::*;

    fn touched(object: &str, path: &str) -> Touched {
        let field = Field { path: path.to_owned(), before: Some(json!(1)), after: Some(json!(2)) };
        Touched { action: "change", object: object.to_owned(), fields: vec![field], message: None }
    }

    fn workload(name: &str, image: &str, set: Option<&str>) -> DynamicObject {
        let labels = set.map(|set| json!({"applyset.kubernetes.io/part-of": set}));
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
        }))
        .unwrap()
    }

    const CPI: &str = "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0";

    #[test]
    fn pods_are_replaced_by_another_template_only() {
        for (object, path, is_replaced) in [
            ("DaemonSet kube-system/cpi", "spec.template.spec.containers[0].image", true),
            ("Deployment a/b", "spec.template.metadata.labels.a", true),
            ("DaemonSet kube-system/cpi", "metadata.labels.a", false),
            ("Deployment a/b", "spec.replicas", false),
            ("ConfigMap a/b", "spec.template", false),
        ] {
            assert_eq!(replaces_pods(&touched(object, path)), is_replaced, "{object} {path}");
        }
        let before = ["a", "b", "c"].map(|name| workload(name, CPI, None)).to_vec();
        let after = vec![workload("a", CPI, Some("ours")), workload("b", "other", Some("ours"))];
        let of = |all| Workloads { all, sets: vec!["ours".to_owned()] };
        assert_eq!(of(before).replaced(&of(after)), ["DaemonSet kube-system/b", "DaemonSet kube-system/c"]);
    }

    #[test]
    fn no_driver_is_installed_a_second_time() {
        let plan = DriverPlan { driver: "CPI", chosen: Some("1.36.0".to_owned()), ..DriverPlan::default() };
        let workloads = Workloads { all: vec![workload("cpi", CPI, None)], sets: Vec::new() };
        let problem = |objects: &[Touched]| workloads.problem(&plan, objects).unwrap_or_default();
        assert_eq!(problem(&[touched("DaemonSet kube-system/cpi", "metadata.labels.a")]), "");
        let second = problem(&[touched("DaemonSet kube-system/another", "metadata.labels.a")]);
        assert!(second.starts_with("CPI would be installed a second time, as its version 1.36.0 does not have DaemonSet kube-system/cpi:"), "{second}");
        let refused =
            Touched { message: Some("immutable".to_owned()), ..touched("DaemonSet kube-system/cpi", "a") };
        assert_eq!(
            problem(&[refused]),
            "CPI cannot be adopted, as DaemonSet kube-system/cpi is refused: immutable"
        );
    }
}
