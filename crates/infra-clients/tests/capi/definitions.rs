//! The CRDs that others ship, taken from their Go modules, and made to serve the versions a test wants.
//!
//! No conversion webhook runs: objects keep the fields of the version they were written in, so a test serves one
//! version at a time, or knows what it does.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{ControlPlane, eventually, project_root};

use crate::SOON;

/// Cluster API's module, in the version of the manager the tests run.
pub(crate) async fn cluster_api(file: &str) -> Result<PathBuf> {
    let pinned = project_root()?.join("e2e/tools/capi");
    let module = download(&pinned, "sigs.k8s.io/cluster-api", &[]).await?;
    Ok(directory(&module)?.join(file))
}

/// Tanzu Framework's module of types: the last one with a ClusterBootstrap in it, 130 kB.
pub(crate) async fn tanzu(file: &str) -> Result<PathBuf> {
    const MODULE: &str =
        "github.com/vmware-tanzu/tanzu-framework/apis/run@v0.0.0-20230419030809-7081502ebf68";
    const SUM: &str = "h1:DMsg44rX3xSBDCoKYU7zfJGzs9dfPkMYmM7C5fFx7Es=";
    // Outside of any Go module, whose go.sum would not know it; what came is checked here.
    let nowhere = std::env::temp_dir();
    let module = download(&nowhere, MODULE, &[("GONOSUMDB", "github.com/vmware-tanzu/*")]).await?;
    ensure!(module["Sum"] == SUM, "{MODULE} is not what it was: {module}");
    Ok(directory(&module)?.join(file))
}

/// Has Go fetch a module, or find it in its cache, and tell about it.
async fn download(within: &Path, module: &str, environment: &[(&str, &str)]) -> Result<Value> {
    let mut go = Command::new("go");
    go.current_dir(within).args(["mod", "download", "-json", module]).envs(environment.iter().copied());
    let answer = tokio::task::spawn_blocking(move || go.output()).await?.context("cannot run go")?;
    let stderr = String::from_utf8_lossy(&answer.stderr);
    let told: Value =
        serde_json::from_slice(&answer.stdout).with_context(|| format!("{module}: {stderr}"))?;
    ensure!(answer.status.success(), "Go cannot fetch {module}: {told} {stderr}");
    Ok(told)
}

fn directory(module: &Value) -> Result<&Path> {
    Ok(Path::new(module["Dir"].as_str().with_context(|| format!("no directory: {module}"))?))
}

/// Reads a CRD's YAML.
pub(crate) async fn read(plane: &ControlPlane, file: &Path) -> Result<Value> {
    let file = file.to_str().context("a path that is text")?;
    let json = plane.kubectl(&["create", "--dry-run=client", "--output=json", "--filename", file]).await?;
    Ok(serde_json::from_str(&json)?)
}

/// Serves `definition` in these versions and no others, and stores it in the first; returns when it is so.
pub(crate) async fn serve(plane: &ControlPlane, definition: &Value, versions: &[&str]) -> Result<()> {
    let mut definition = definition.clone();
    let name = definition["metadata"]["name"].as_str().context("no name")?.to_owned();
    // What kubectl adds to what it reads.
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
