//! KubeadmControlPlanes, with Cluster API's CRD: its schema, its pruning and its defaults. Neither the provider nor
//! its conversion runs, so each version is served by itself.

use anyhow::{Context, Result, ensure};
use infra_clients::capi::{Capi, Error, Kind, KubeadmControlPlane, Version, patch};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use testbed::ControlPlane;

use crate::definitions;

const FILE: &str =
    "controlplane/kubeadm/config/crd/bases/controlplane.cluster.x-k8s.io_kubeadmcontrolplanes.yaml";
const GROUP: &str = "controlplane.cluster.x-k8s.io";

pub(crate) async fn control_planes(plane: &ControlPlane) -> Result<()> {
    let definition = definitions::read(plane, &definitions::file_of("capi", FILE).await?).await?;
    for version in [Version::V1Beta1, Version::V1Beta2] {
        definitions::serve(plane, &definition, &[version.as_str()]).await?;
        in_one_version(plane, version).await.with_context(|| version.to_string())?;
    }
    Ok(())
}

fn spec(version: Version) -> Value {
    let kubeadm = json!({
        "clusterConfiguration": {"apiServer": {"certSANs": ["avi.example"]}},
        "files": [{"path": "/etc/a", "content": "b", "permissions": "0600"}],
        "preKubeadmCommands": ["true"],
    });
    let mut spec = json!({"replicas": 3, "version": "v1.34.1", "kubeadmConfigSpec": kubeadm});
    match version {
        Version::V1Beta1 => {
            spec["machineTemplate"] = json!({
                "infrastructureRef": {"apiVersion": "infra.x-k8s.io/v1", "kind": "T", "name": "t", "namespace": "default"},
                "nodeDrainTimeout": "10s",
            });
            spec["rolloutStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}});
        }
        Version::V1Beta2 => {
            spec["machineTemplate"] = json!({"spec": {
                "infrastructureRef": {"apiGroup": "infra.x-k8s.io", "kind": "T", "name": "t"},
                "deletion": {"nodeDrainTimeoutSeconds": 10},
            }});
            spec["rollout"] =
                json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
        }
    }
    spec
}

fn status(version: Version) -> Value {
    let old = json!([{
        "type": "Available", "status": "False", "severity": "Info", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let current = json!([{
        "type": "ScalingUp", "status": "True", "reason": "ScalingUp", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }]);
    match version {
        Version::V1Beta1 => json!({
            "replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "unavailableReplicas": 1, "initialized": true,
            "conditions": old, "v1beta2": {"conditions": current, "upToDateReplicas": 1, "availableReplicas": 2},
        }),
        Version::V1Beta2 => json!({
            "replicas": 3, "readyReplicas": 2, "upToDateReplicas": 1, "availableReplicas": 2,
            "initialization": {"controlPlaneInitialized": true}, "conditions": current,
            "deprecated": {"v1beta1": {
                "conditions": old, "updatedReplicas": 2, "readyReplicas": 1, "unavailableReplicas": 2,
            }},
        }),
    }
}

async fn in_one_version(plane: &ControlPlane, version: Version) -> Result<()> {
    let client = plane.client();
    let capi = Capi::discover(client.clone()).await?;
    ensure!(capi.read_in::<KubeadmControlPlane>()?.0 == version, "{capi:?}");
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, version.as_str(), "KubeadmControlPlane"));
    let whole: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let name = format!("cp-{version}");
    let object = serde_json::from_value(json!({
        "apiVersion": format!("{GROUP}/{version}"),
        "kind": "KubeadmControlPlane",
        "metadata": {"name": name, "finalizers": ["others/one"], "annotations": {"a": "b"}},
        "spec": spec(version),
    }))?;
    let created = whole.create(&PostParams::default(), &object).await?;
    ensure!(
        created.data["spec"] == spec(version),
        "the schema took something away: {:#}",
        created.data["spec"]
    );
    let params = PatchParams::default();
    let before =
        whole.patch_status(&name, &params, &Patch::Merge(json!({"status": status(version)}))).await?;
    ensure!(before.data["status"] == status(version), "the schema took something away: {:#}", before.data);

    let api = capi.namespaced::<KubeadmControlPlane>("default")?;
    let read = api.get(&name).await?;
    ensure!(read.version == version && read.spec.replicas == Some(3) && read.spec.version == "v1.34.1");
    let counted = (read.status.replicas, read.status.ready_replicas, read.status.up_to_date_replicas);
    ensure!(counted == (3, 2, 1), "{read:?}");
    ensure!(read.conditions.is_true("ScalingUp") && read.conditions.current().len() == 1, "{read:?}");
    let severity = &read.conditions.get("Available").context("no condition")?.severity;
    ensure!(severity.as_deref() == Some("Info") && !read.is_paused() && !read.is_deleting(), "{read:?}");

    let finalizer = patch::add_finalizer(&read, "ours/x").context("is there")?;
    let held = api.patch(&name, &params, &finalizer).await?;
    let late = patch::add_finalizer(&read, "ours/y").context("is there")?;
    let stale = api.patch(&name, &params, &late).await.map_err(Error::from).unwrap_err();
    ensure!(stale.kind() == Kind::Conflict, "{stale:?}");
    let pause = patch::set_annotation(&held, "cluster.x-k8s.io/paused", "").context("is there")?;
    ensure!(api.patch(&name, &params, &pause).await?.is_paused());
    let after = whole.get(&name).await?;
    ensure!(after.data == before.data, "{:#} is not {:#}", after.data, before.data);
    ensure!(after.finalizers() == ["others/one", "ours/x"] && after.annotations().len() == 2);
    Ok(())
}
