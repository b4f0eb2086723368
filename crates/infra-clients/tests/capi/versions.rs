//! Management clusters that serve less than the newest Cluster API does, and that begin to serve more.

use anyhow::{Context, Result, ensure};
use infra_clients::capi::{
    CORE_GROUP, Capi, Cluster, Error, Kind, KubeadmControlPlane, Machine, Version, patch,
};
use infra_clients::{Class, Failure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use testbed::{ControlPlane, eventually};

use crate::{SOON, filled, kubeadm, put, tkg};

/// Returns a CRD that accepts anything, in one version.
fn definition(group: &str, version: &str, kind: &str) -> CustomResourceDefinition {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("{plural}.{group}"),
            // The API server requires it in these groups; this is not an approved API.
            "annotations": {"api-approved.kubernetes.io": "unapproved, test only"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": singular},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": any}}],
        },
    }))
    .expect("a CRD")
}

async fn define(client: &Client, group: &str, version: &str, kind: &str) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.create(&PostParams::default(), &definition(group, version, kind)).await?;
    Ok(())
}

async fn create(client: &Client, object: Value) -> Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.as_ref().context("an object of no kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &resource);
    // A CRD is listed a moment before its objects can be written.
    eventually("the object is created", SOON, async || {
        Ok(Some(api.create(&PostParams::default(), &object).await?))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_used() {
    let plane = ControlPlane::start().await.unwrap();
    let client = plane.client();
    let nothing = Capi::discover(client.clone()).await.unwrap_err();
    assert_eq!((nothing.kind(), nothing.class() == Class::Retry), (Kind::NotInstalled, false));
    assert!(nothing.to_string().contains("Cluster API is not installed"), "{nothing}");
    only_old_versions(&client).await.unwrap();
    upgraded(&client).await.unwrap();
    kubeadm::control_planes(&plane).await.unwrap();
    tkg::kinds(&plane).await.unwrap();
}

/// Returns a Cluster in v1beta1, with fields that the types do not have.
fn old_cluster() -> Value {
    json!({
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": "old", "finalizers": ["others/one"], "annotations": {"a": "b"}},
        "spec": {
            "unknown": {"deep": [1, {"x": null}]},
            "infrastructureRef": {"apiVersion": "infra.x-k8s.io/v1", "kind": "Infra", "name": "i", "namespace": "default"},
            "topology": {
                "class": "c", "version": "v1.30.0", "rolloutAfter": "2030-01-01T00:00:00Z",
                "variables": [
                    {"name": "first", "value": {"a": [1, null], "none": null}, "definitionFrom": "inline"},
                    {"name": "port", "value": 1},
                ],
            },
        },
        "status": {
            "infrastructureReady": true,
            "conditions": [{"type": "Ready", "status": "False", "severity": "Error", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    })
}

async fn only_old_versions(client: &Client) -> Result<()> {
    define(client, CORE_GROUP, "v1alpha4", "Something").await?;
    let other = eventually("the group is there", SOON, async || {
        let error = Capi::discover(client.clone()).await.err().context("discovered")?;
        Ok(error.to_string().contains("v1alpha4").then_some(error))
    })
    .await?;
    ensure!(other.kind() == Kind::NotInstalled, "{other:?}");

    define(client, CORE_GROUP, "v1beta1", "Cluster").await?;
    let capi =
        eventually("Clusters are served", SOON, async || Ok(Some(Capi::discover(client.clone()).await?)))
            .await?;
    ensure!(capi.version() == Version::V1Beta1, "{capi:?}");
    let none = capi.all::<KubeadmControlPlane>().err().context("no such kind")?;
    ensure!(none.kind() == Kind::NotInstalled, "{none:?}");

    let before = create(client, old_cluster()).await?;

    // A watch in the version that is served finds it, under the same name as in any other.
    let (reader, writer) = store::<Cluster>();
    let events = watcher(capi.all::<Cluster>()?, watcher::Config::default()).reflect(writer);
    filled(&reader, events).await?;
    let cluster = reader.get(&ObjectRef::new("old").within("default")).context("not in the store")?;
    ensure!(cluster.version == Version::V1Beta1 && cluster.name() == "old");
    ensure!(cluster.infrastructure_provisioned() && !cluster.control_plane_initialized());
    ensure!(cluster.conditions.current().is_empty() && !cluster.conditions.is_true("Ready"));
    ensure!(cluster.conditions.get("Ready").context("no condition")?.severity.as_deref() == Some("Error"));
    ensure!(cluster.spec.infrastructure_ref.as_ref().context("no reference")?.group == "infra.x-k8s.io");

    let api = capi.namespaced::<Cluster>("default")?;
    let params = PatchParams::default();
    let finalizer = patch::add_finalizer(&*cluster, "ours/x").context("is there")?;
    let cluster = api.patch("old", &params, &finalizer).await?;
    let variables =
        cluster.set_variables([("port", json!(6443)), ("host", json!("h"))])?.context("are there")?;
    api.patch("old", &params, &variables).await?;
    let stale = api.patch("old", &params, &variables).await.map_err(Error::from).unwrap_err();
    ensure!(stale.kind() == Kind::Conflict && stale.class() == Class::Retry, "{stale:?}");

    let mut expected = before.data.clone();
    expected["spec"]["topology"]["variables"][1]["value"] = json!(6443);
    put(&mut expected["spec"]["topology"]["variables"], 2, json!({"name": "host", "value": "h"}));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(CORE_GROUP, "v1beta1", "Cluster"));
    let after = Api::<DynamicObject>::default_namespaced_with(client.clone(), &resource).get("old").await?;
    ensure!(after.data == expected, "{:#} is not {expected:#}", after.data);
    ensure!(after.finalizers() == ["others/one", "ours/x"] && after.annotations() == before.annotations());
    Ok(())
}

/// Cluster API is upgraded while an operator runs, first to serve both versions, then without the old one.
async fn upgraded(client: &Client) -> Result<()> {
    define(client, CORE_GROUP, "v1beta1", "Machine").await?;
    let before = Capi::discover(client.clone()).await?;
    ensure!(before.version() == Version::V1Beta1);
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (old_served, expected) in [(true, Version::V1Beta1), (false, Version::V1Beta2)] {
        for kind in ["Cluster", "Machine"] {
            let mut definition = serde_json::to_value(definition(CORE_GROUP, "v1beta1", kind))?;
            let name = definition["metadata"]["name"].as_str().context("no name")?.to_owned();
            let versions = &mut definition["spec"]["versions"];
            let mut new = versions[0].clone();
            new["name"] = "v1beta2".into();
            new["storage"] = false.into();
            versions[0]["served"] = old_served.into();
            put(versions, 1, new);
            let versions = json!({"spec": {"versions": versions}});
            definitions.patch(&name, &PatchParams::default(), &Patch::Merge(versions)).await?;
        }
        let after = eventually("the new version is served", SOON, async || {
            let capi = Capi::discover(client.clone()).await?;
            ensure!(capi.version() == Version::V1Beta2);
            let there = capi.cluster("default", "old").await?.context("not there")?;
            let machines = capi.all::<Machine>()?.list(&ListParams::default()).await;
            ensure!(machines.is_ok(), "{machines:?}");
            Ok(Some(there))
        })
        .await?;
        ensure!(after.version == Version::V1Beta2 && after.name() == "old");
        if expected == Version::V1Beta1 {
            let cluster = before.cluster("default", "old").await?.context("not there")?;
            ensure!(cluster.version == expected && before.machines(&cluster).await?.is_empty());
            ensure!(before.cluster("default", "gone").await?.is_none());
            continue;
        }
        eventually("the old version is gone", SOON, async || {
            let clusters = before.all::<Cluster>()?.list(&ListParams::default()).await;
            let machines = before.all::<Machine>()?.list(&ListParams::default()).await;
            Ok((clusters.is_err() && machines.is_err()).then_some(()))
        })
        .await?;
        // The Cluster and its Machines must not seem to be gone.
        for error in [before.cluster("default", "old").await.err(), before.machines(&after).await.err()] {
            let error = error.context("taken for gone")?;
            ensure!(error.kind() == Kind::NotInstalled && error.class() != Class::Retry, "{error:?}");
        }
    }
    Ok(())
}
