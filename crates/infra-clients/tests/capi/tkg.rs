//! TKG's kinds: ClusterBootstraps, with Tanzu Framework's CRD, and add-on Secrets.

use anyhow::{Context, Result, ensure};
use infra_clients::Secret;
use infra_clients::capi::{AddonForm, AddonSecret, ClusterBootstrap, Error, Kind, read_addon};
use k8s_openapi::api::core::v1::Secret as KubernetesSecret;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::json;
use testbed::ControlPlane;

use crate::{definitions, put};

const FILE: &str = "config/crd/bases/run.tanzu.vmware.com_clusterbootstraps.yaml";
const ADDON: &str = "load-balancer-and-ingress-service";
const PACKAGE: &str = "load-balancer-and-ingress-service.tanzu.vmware.com";

pub(crate) async fn kinds(plane: &ControlPlane) -> Result<()> {
    let definition = definitions::read(plane, &definitions::file_of("tanzu", FILE).await?).await?;
    definitions::serve(plane, &definition, &["v1alpha3"]).await?;
    bootstrap(plane).await.context("ClusterBootstrap")?;
    addon(plane).await.context("add-on Secret")
}

async fn bootstrap(plane: &ControlPlane) -> Result<()> {
    let resource =
        ApiResource::from_gvk(&GroupVersionKind::gvk("run.tanzu.vmware.com", "v1alpha3", "ClusterBootstrap"));
    let whole: Api<DynamicObject> = Api::default_namespaced_with(plane.client(), &resource);
    let provider = json!({"apiGroup": "cni.tanzu.vmware.com", "kind": "AntreaConfig", "name": "w1"});
    // The values of a package can be anything.
    let inline = json!({"a": [1, null, {"b": null}], "none": null, "third": 0.333_333_333_333_333_3, "big": 9_007_199_254_740_993_i64});
    let object = serde_json::from_value(json!({
        "apiVersion": "run.tanzu.vmware.com/v1alpha3",
        "kind": "ClusterBootstrap",
        "metadata": {"name": "w1"},
        "spec": {
            "kapp": {"refName": "kapp-controller.1"},
            "cni": {"refName": "antrea.1", "valuesFrom": {"providerRef": provider}},
            "additionalPackages": [
                {"refName": "metrics-server.1", "valuesFrom": {"inline": inline}},
                {"refName": "secretgen-controller.1"},
            ],
        },
    }))?;
    let mut expected = whole.create(&PostParams::default(), &object).await?.data;
    ensure!(expected["spec"]["additionalPackages"][0]["valuesFrom"]["inline"] == inline, "{expected:#}");

    let api: Api<ClusterBootstrap> = Api::default_namespaced(plane.client());
    let params = PatchParams::default();
    let read = api.get("w1").await?;
    let secret = AddonSecret::name_of("w1", ADDON);
    let package =
        read.set_additional_package(PACKAGE, &format!("{PACKAGE}.1.2"), &secret).context("is so")?;
    let bootstrap = api.patch("w1", &params, &package).await?;
    ensure!(bootstrap.set_additional_package(PACKAGE, &format!("{PACKAGE}.1.2"), &secret).is_none());
    let stale = api.patch("w1", &params, &package).await.map_err(Error::from).unwrap_err();
    ensure!(stale.kind() == Kind::Conflict, "{stale:?}");
    let skip = bootstrap.skip_deletion(ADDON).context("is there")?;
    let bootstrap = api.patch("w1", &params, &skip).await?;
    ensure!(bootstrap.skip_deletion(ADDON).is_none());
    let entry = json!({"refName": format!("{PACKAGE}.1.2"), "valuesFrom": {"secretRef": secret}});
    put(&mut expected["spec"]["additionalPackages"], 2, entry);
    let after = whole.get("w1").await?.data;
    ensure!(after == expected, "{after:#} is not {expected:#}");

    let newer =
        bootstrap.set_additional_package(PACKAGE, &format!("{PACKAGE}.1.3"), &secret).context("is so")?;
    api.patch("w1", &params, &newer).await?;
    expected["spec"]["additionalPackages"][2]["refName"] = format!("{PACKAGE}.1.3").into();
    let after = whole.get("w1").await?.data;
    ensure!(after == expected, "{after:#} is not {expected:#}");

    Ok(())
}

async fn addon(plane: &ControlPlane) -> Result<()> {
    let values = Secret::new("loadBalancerAndIngressService:\n    name: ako\n");
    let secret = AddonSecret {
        namespace: "default",
        cluster: "w1",
        category: "networking",
        addon: ADDON,
        form: AddonForm::Legacy,
        values: &values,
    }
    .to_kubernetes();
    let name = AddonSecret::name_of("w1", ADDON);
    let secrets: Api<KubernetesSecret> = Api::default_namespaced(plane.client());
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
