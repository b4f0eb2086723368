//! `vdo deploy`: the operator's own manifests, as one set of objects that is applied, upgraded and removed together.

use std::fmt::Write as _;
use std::time::Duration;

use kube::core::DynamicObject;
use kube::{Client, ResourceExt as _};
use operator_kit::Program as _;
use operator_kit::apply_set::{ApplySet, Progress, described};
use serde_json::json;
use tokio::time::Instant;

use super::access::{Access, duration};
use super::error::Error;
use super::plan::{Touched, touch, touched_text};
use super::{Done, Ends};
use crate::installer::SETS;
use crate::program::{NAMESPACE, OPERATOR, Vdo};
use crate::render::parse;

/// What `kubectl apply -k deploy/vdo/base` applies, in the order of its waves.
const NAMESPACES: &[&str] = &[include_str!("../../../../deploy/vdo/base/namespace.yaml")];
const RIGHTS: &[&str] = &[
    include_str!("../../../../deploy/vdo/base/service-account.yaml"),
    include_str!("../../../../deploy/vdo/base/rbac.yaml"),
    include_str!("../../../../deploy/vdo/base/user-roles.yaml"),
];
const WORKLOADS: &[&str] = &[include_str!("../../../../deploy/vdo/base/deployment.yaml")];
/// Kinds of these manifests that have a namespace.
const NAMESPACED: [&str; 4] = ["Deployment", "Role", "RoleBinding", "ServiceAccount"];
/// Labels of all objects.
const LABELS: [(&str, &str); 2] =
    [("app.kubernetes.io/name", OPERATOR.name), ("app.kubernetes.io/part-of", "infra-operators")];
/// How often a wave is looked at.
const PAUSE: Duration = Duration::from_secs(1);

/// What of the operator's Deployment a person chooses.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Program {
    /// Image of the operator, such as registry.example.com/vdo:0.1.0
    #[arg(long, value_name = "IMAGE")]
    image: String,

    /// Replicas of the operator; one works, the others stand by
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    replicas: u16,
}

impl Program {
    /// Returns the operator's own objects, in waves.
    pub(super) fn waves(&self, namespace: &str) -> Result<Vec<Vec<DynamicObject>>, Error> {
        waves(namespace, &self.image, self.replicas)
    }
}

/// Installs or upgrades the operator: its kinds, its rights and its Deployment
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Deploy {
    #[command(flatten)]
    program: Program,

    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Wait until the operator runs
    #[arg(long)]
    wait: bool,

    /// How long to wait, such as 90s, 10m or 1h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,

    #[command(flatten)]
    pub(super) access: Access,
}

impl Deploy {
    pub(super) async fn run(&self) -> Result<Done, Error> {
        let waves = self.program.waves(&self.access.operator_namespace)?;
        let set = set(self.access.client().await?);
        if self.dry_run {
            let previews = set.preview(&waves).await?;
            let touched: Vec<Touched> = previews.into_iter().filter_map(touch).collect();
            let text =
                if touched.is_empty() { "nothing would change\n".to_owned() } else { touched_text(&touched) };
            return Ok(Done { text, json: json!({ "objects": touched }), ends: Ends::Well });
        }
        let (waiting, is_enough) = roll_out(&set, &waves, self.wait, Instant::now() + self.timeout).await?;
        Ok(self.done(&waiting, is_enough))
    }

    fn done(&self, waiting: &[String], is_enough: bool) -> Done {
        let namespace = &self.access.operator_namespace;
        let mut text = format!("vdo {} is applied in {namespace}\n", OPERATOR.version);
        for line in waiting {
            let _ = writeln!(text, "  {line}");
        }
        if waiting.is_empty() {
            text += "it runs; go on with `vdo configure drivers`\n";
        }
        let ends = if is_enough { Ends::Well } else { Ends::NotAsAsked };
        Done { text, json: json!({ "namespace": namespace, "waiting": waiting }), ends }
    }
}

/// Applies the operator's objects, and waits until its Deployment is applied, or ready as well; returns what is waited for at the end, and whether
/// that is enough.
pub(super) async fn roll_out(
    set: &ApplySet,
    waves: &[Vec<DynamicObject>],
    wait: bool,
    end: Instant,
) -> Result<(Vec<String>, bool), Error> {
    loop {
        let waiting = match set.apply(waves).await? {
            Progress::Complete(_) => Vec::new(),
            Progress::Waiting(members) => members,
        };
        let is_last = waiting.iter().all(|(member, _)| member.kind == "Deployment");
        let is_enough = waiting.is_empty() || (is_last && !wait);
        if is_enough || Instant::now() >= end {
            return Ok((described(&waiting), is_enough));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the set of the operator's own objects.
pub(super) fn set(client: Client) -> ApplySet {
    ApplySet::new(client, SETS, "vdo-operator", &OPERATOR.field_manager("deploy")).taking_over()
}

/// Returns the operator's own objects, in waves.
pub(super) fn waves(namespace: &str, image: &str, replicas: u16) -> Result<Vec<Vec<DynamicObject>>, Error> {
    let mut kinds = read(NAMESPACES)?;
    for crd in Vdo::crds() {
        let crd = serde_json::to_value(crd).and_then(serde_json::from_value);
        kinds.push(crd.map_err(|error| Error::Internal(error.to_string()))?);
    }
    let mut waves = vec![kinds, read(RIGHTS)?, read(WORKLOADS)?];
    for object in waves.iter_mut().flatten() {
        place(object, namespace);
        if object.types.as_ref().is_some_and(|types| types.kind == "Deployment") {
            object.data["spec"]["replicas"] = json!(replicas);
            object.data["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
        }
    }
    Ok(waves)
}

fn read(texts: &[&str]) -> Result<Vec<DynamicObject>, Error> {
    let mut objects = Vec::new();
    for text in texts {
        objects.extend(parse(text).map_err(|problem| Error::Internal(problem.to_string()))?);
    }
    Ok(objects)
}

/// Puts an object into the namespace, with the labels of all.
fn place(object: &mut DynamicObject, namespace: &str) {
    let kind = object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default();
    if kind == "Namespace" && object.name_any() == NAMESPACE {
        object.metadata.name = Some(namespace.to_owned());
    }
    if NAMESPACED.contains(&kind.as_str()) {
        object.metadata.namespace = Some(namespace.to_owned());
    }
    if let Some(subjects) = object.data.get_mut("subjects").and_then(serde_json::Value::as_array_mut) {
        for subject in subjects {
            subject["namespace"] = json!(namespace);
        }
    }
    object.labels_mut().extend(LABELS.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_goes_where_it_is_asked_to() {
        let waves = waves("elsewhere", "registry.example.com/vdo:1", 2).unwrap();
        let all: Vec<_> = waves.iter().flatten().collect();
        let of =
            |kind: &str| all.iter().filter(|of| of.types.as_ref().unwrap().kind == kind).collect::<Vec<_>>();
        assert_eq!(of("CustomResourceDefinition").len(), 6);
        assert_eq!(of("Namespace")[0].name_any(), "elsewhere");
        let deployment = of("Deployment")[0];
        assert_eq!(deployment.namespace().as_deref(), Some("elsewhere"));
        assert_eq!(deployment.data["spec"]["replicas"], 2);
        let container = &deployment.data["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "registry.example.com/vdo:1");
        assert!(of("ClusterRoleBinding").iter().chain(&of("RoleBinding")).all(|of| {
            of.data["subjects"].as_array().unwrap().iter().all(|subject| subject["namespace"] == "elsewhere")
        }));
        let text = serde_json::to_string(&all).unwrap();
        assert!(!text.contains("registry.invalid") && !text.contains(NAMESPACE), "{text}");
    }
}
