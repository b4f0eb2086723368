//! Management clusters that serve less than the newest Cluster API does, and TKG's kinds beside it.

use anyhow::{Context, Result, ensure};
use infra_clients::Secret;
use infra_clients::capi::{
    AddonForm, AddonSecret, CORE_GROUP, Capi, Cluster, ClusterBootstrap, Error, Kind, KubeadmControlPlane,
    Version, patch, read_addon,
};
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use testbed::{ControlPlane, eventually};

use crate::{SOON, filled, put};

/// A CRD that takes anything, in one version.
fn definition(group: &str, version: &str, kind: &str) -> CustomResourceDefinition {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("{plural}.{group}"),
            // The API server asks for it in these groups; ours is no approved API, only a test's.
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
    assert_eq!((nothing.kind(), nothing.retryable()), (Kind::NotInstalled, false));
    assert!(nothing.to_string().contains("Cluster API is not installed"), "{nothing}");
    only_old_versions(&client).await.unwrap();
    tkg(&client).await.unwrap();
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
    ensure!(capi.version() == Version::V1Beta1 && capi.control_plane_version().is_none(), "{capi:?}");
    let none = capi.all::<KubeadmControlPlane>().err().context("no such kind")?;
    ensure!(none.kind() == Kind::NotInstalled, "{none:?}");

    // Each group has versions of its own.
    define(client, "controlplane.cluster.x-k8s.io", "v1beta2", "KubeadmControlPlane").await?;
    eventually("KubeadmControlPlanes are served", SOON, async || {
        let version = Capi::discover(client.clone()).await?.control_plane_version();
        Ok((version == Some(Version::V1Beta2)).then_some(()))
    })
    .await?;

    let before = create(
        client,
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
                        {"name": "first", "value": {"a": [1]}, "definitionFrom": "inline"},
                        {"name": "port", "value": 1},
                    ],
                },
            },
            "status": {
                "infrastructureReady": true,
                "conditions": [{"type": "Ready", "status": "False", "severity": "Error", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            },
        }),
    )
    .await?;

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
    ensure!(stale.kind() == Kind::Conflict && stale.retryable(), "{stale:?}");

    let mut expected = before.data.clone();
    expected["spec"]["topology"]["variables"][1]["value"] = json!(6443);
    put(&mut expected["spec"]["topology"]["variables"], 2, json!({"name": "host", "value": "h"}));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(CORE_GROUP, "v1beta1", "Cluster"));
    let after = Api::<DynamicObject>::default_namespaced_with(client.clone(), &resource).get("old").await?;
    ensure!(after.data == expected, "{:#} is not {expected:#}", after.data);
    ensure!(after.finalizers() == ["others/one", "ours/x"] && after.annotations() == before.annotations());
    Ok(())
}

async fn tkg(client: &Client) -> Result<()> {
    const PACKAGE: &str = "load-balancer-and-ingress-service.tanzu.vmware.com";
    define(client, "run.tanzu.vmware.com", "v1alpha3", "ClusterBootstrap").await?;
    let mut expected = create(
        client,
        json!({
            "apiVersion": "run.tanzu.vmware.com/v1alpha3",
            "kind": "ClusterBootstrap",
            "metadata": {"name": "w1"},
            "spec": {
                "cni": {"refName": "antrea.1", "valuesFrom": {"providerRef": {"kind": "AntreaConfig", "name": "w1"}}},
                "additionalPackages": [{"refName": "metrics-server.1", "valuesFrom": {"inline": {"a": [1]}}}],
            },
        }),
    )
    .await?
    .data;

    let api: Api<ClusterBootstrap> = Api::default_namespaced(client.clone());
    let bootstrap = api.get("w1").await?;
    let name = AddonSecret::name_of("w1", "load-balancer-and-ingress-service");
    let package =
        bootstrap.set_additional_package(PACKAGE, &format!("{PACKAGE}.1.2"), &name).context("is there")?;
    let bootstrap = api.patch("w1", &PatchParams::default(), &package).await?;
    ensure!(bootstrap.set_additional_package(PACKAGE, &format!("{PACKAGE}.1.2"), &name).is_none());
    let skip = bootstrap.skip_deletion("load-balancer-and-ingress-service").context("is there")?;
    let bootstrap = api.patch("w1", &PatchParams::default(), &skip).await?;
    ensure!(bootstrap.deletion_skipped().collect::<Vec<_>>() == ["load-balancer-and-ingress-service"]);
    let entry = json!({"refName": format!("{PACKAGE}.1.2"), "valuesFrom": {"secretRef": name}});
    put(&mut expected["spec"]["additionalPackages"], 1, entry);
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("run.tanzu.vmware.com", "v1alpha3", "ClusterBootstrap"));
    let after = Api::<DynamicObject>::default_namespaced_with(client.clone(), &resource).get("w1").await?;
    ensure!(after.data == expected, "{:#} is not {expected:#}", after.data);

    let values = Secret::new("loadBalancerAndIngressService:\n    name: ako\n");
    let secret = AddonSecret {
        namespace: "default",
        cluster: "w1",
        category: "networking",
        addon: "load-balancer-and-ingress-service",
        form: AddonForm::Legacy,
        values: &values,
    }
    .to_kubernetes();
    let secrets: Api<KubernetesSecret> = Api::default_namespaced(client.clone());
    let applied = secrets.patch(&name, &PatchParams::apply("test"), &Patch::Apply(&secret)).await?;
    let again = secrets.patch(&name, &PatchParams::apply("test"), &Patch::Apply(&secret)).await?;
    ensure!(
        applied.metadata.resource_version == again.metadata.resource_version,
        "a second apply changes something"
    );
    let (form, held) = read_addon(&again)?;
    ensure!(form == AddonForm::Legacy && held.expose() == values.expose());
    Ok(())
}
