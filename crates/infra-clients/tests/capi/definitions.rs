//! CRDs of other projects, taken from their Go modules, and served in the versions that a test requires.
//!
//! No conversion webhook runs: objects keep the fields of the version they were written in, so a test serves one
//! version at a time or takes that into account.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{ControlPlane, Tools, eventually};

use crate::SOON;

/// Returns a file of the Go module that `e2e/tools/<module>` pins.
pub(crate) async fn file_of(module: &'static str, file: &str) -> Result<PathBuf> {
    let tools = tokio::task::spawn_blocking(move || Tools::of(&[module])).await??;
    Ok(tools.manifests(module)?.join(file))
}

/// Reads a CRD's YAML.
pub(crate) async fn read(plane: &ControlPlane, file: &Path) -> Result<Value> {
    let file = file.to_str().context("a path that is text")?;
    let json = plane.kubectl(&["create", "--dry-run=client", "--output=json", "--filename", file]).await?;
    Ok(serde_json::from_str(&json)?)
}

/// Serves `definition` in these versions and no others, and stores it in the first; returns when it is served.
pub(crate) async fn serve(plane: &ControlPlane, definition: &Value, versions: &[&str]) -> Result<()> {
    let mut definition = definition.clone();
    let name = definition["metadata"]["name"].as_str().context("no name")?.to_owned();
    // What kubectl adds to objects.
    definition["metadata"] = json!({"name": name});
    for version in definition["spec"]["versions"].as_array_mut().context("no versions")? {
        let name = version["name"].as_str().unwrap_or_default().to_owned();
        version["served"] = versions.contains(&name.as_str()).into();
        version["storage"] = (versions.first() == Some(&name.as_str())).into();
    }
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&definition)).await?;
    let spec = &definition["spec"];
    let (group, plural) = (spec["group"].as_str(), spec["names"]["plural"].as_str());
    let (group, plural) = (group.context("no group")?, plural.context("no plural")?);
    eventually(&format!("{name} is served in {versions:?}"), SOON, async || {
        for version in definition["spec"]["versions"].as_array().context("no versions")? {
            let version = version["name"].as_str().unwrap_or_default();
            let path = format!("/apis/{group}/{version}");
            let lists = plane.kubectl(&["get", "--raw", &format!("{path}/{plural}")]).await.is_ok();
            let discovered = plane.kubectl(&["get", "--raw", &path]).await;
            let discovered = discovered.is_ok_and(|list| list.contains(&format!("\"{plural}\"")));
            ensure!((lists, discovered) == (versions.contains(&version), versions.contains(&version)));
        }
        Ok(Some(()))
    })
    .await
}
