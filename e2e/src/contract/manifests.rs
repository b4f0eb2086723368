//! The manifests apply without a warning, and have nothing of another operator.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testbed::{ControlPlane, project_root};

use crate::install::{Manifests, Plane};
use crate::operator::binary;
use crate::rig::{Rig, SUBJECTS};

/// The kinds of other projects that overlays may use, by API group: of cert-manager, and of the Prometheus Operator.
const OTHERS: [(&str, &[&str]); 2] = [
    ("cert-manager.io", &["Certificate", "Issuer"]),
    ("monitoring.coreos.com", &["PodMonitor", "PrometheusRule"]),
];

/// Checks that the base and each overlay build, pass the API server's validation without a warning (such as one about the
/// Pod security standard `restricted` that the namespace enforces), and have nothing of another operator.
///
/// # Errors
/// If one does not.
pub async fn manifests_apply_alone<R: Rig>() -> Result<()> {
    let rig = R::start_on(Plane::of(&R::SUBJECT).await?).await?;
    let kubectl = rig.site().control_plane();
    let Manifests::Deploy(directory) = R::SUBJECT.manifests else {
        let printed = Command::new(binary(R::SUBJECT.name)?).arg("manifests").output()?;
        return has_nothing_of_others::<R>("what it prints", &String::from_utf8(printed.stdout)?);
    };
    let directory = project_root()?.join(directory);
    let mut kustomizations = vec![directory.join("base")];
    let overlays = fs::read_dir(directory.join("overlays")).context("no directory overlays")?;
    for overlay in overlays {
        kustomizations.push(overlay?.path());
    }
    for kustomization in kustomizations {
        let path = kustomization.to_str().context("the project's path is not UTF-8")?;
        let built = kubectl.kubectl(&["kustomize", path]).await?;
        has_nothing_of_others::<R>(path, &built)?;
        for (group, kinds) in OTHERS {
            if built.contains(&format!("apiVersion: {group}/v1\n")) {
                define(kubectl, group, kinds).await?;
            }
        }
        let apply = ["apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-k", path];
        let applied = kubectl.kubectl(&apply).await.with_context(|| format!("{path} does not apply"))?;
        ensure!(applied.contains("deployment.apps/"), "{path} has no Deployment: {applied}");
    }
    Ok(())
}

/// Defines kinds of another project that overlays use, which a cluster with it has.
async fn define(plane: &ControlPlane, group: &str, kinds: &[&str]) -> Result<()> {
    let any = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    for kind in kinds {
        let (singular, plural) = (kind.to_lowercase(), format!("{}s", kind.to_lowercase()));
        let version =
            json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": any } });
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.{group}") },
            "spec": { "group": group, "scope": "Namespaced", "versions": [version],
                "names": { "kind": kind, "plural": plural, "singular": singular } },
        });
        plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &definition.to_string()).await?;
    }
    plane.kubectl(&["wait", "--for=condition=Established", "--timeout=180s", "crd", "--all"]).await?;
    Ok(())
}

fn has_nothing_of_others<R: Rig>(place: &str, manifests: &str) -> Result<()> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
    for other in SUBJECTS.iter().map(|subject| subject.name).filter(|other| *other != R::SUBJECT.name) {
        let line = manifests.lines().find(|line| line.split(|c| !is_word(c)).any(|word| word == other));
        ensure!(line.is_none(), "{place} has something of {other}: {line:?}");
    }
    ensure!(manifests.contains(R::SUBJECT.name), "{place} has nothing of {}", R::SUBJECT.name);
    Ok(())
}
