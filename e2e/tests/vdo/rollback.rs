//! Upgrades to a version of CPI whose Pods never become ready: the version before runs again, unless it cannot.

use e2e::{PATIENCE, Rig as _, VdoRig};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::eventually;

use crate::manifests::{matrix, with_object};

/// How long an upgrade may take in these tests. Pods are looked at before.
const TIMEOUT: &str = "--upgrade-timeout=15s";
/// The image that no Node can pull.
const BROKEN: &str = "cloud-provider-vsphere:v1.36.1";

/// Returns the Pod with the broken image once it is bound, or is to go.
async fn broken(rig: &VdoRig, is_to_go: bool) -> Pod {
    let pods: Api<Pod> = Api::namespaced(rig.client(), "kube-system");
    eventually("there is a Pod with the broken image", PATIENCE, async || {
        let pods = pods.list(&ListParams::default()).await?.items;
        let is_meant = |pod: &&Pod| {
            let spec = pod.spec.as_ref().filter(|spec| spec.node_name.is_some());
            let image = spec.and_then(|spec| spec.containers[0].image.as_deref());
            let is_broken = image.is_some_and(|image| image.ends_with(BROKEN));
            is_broken && pod.metadata.deletion_timestamp.is_some() == is_to_go
        };
        Ok(pods.iter().find(is_meant).cloned())
    })
    .await
    .unwrap()
}

/// Ends the Pod with the broken image, as the kubelet does.
async fn end(rig: &VdoRig) {
    let (pod, at_once) = (broken(rig, true).await, DeleteParams::default().grace_period(0));
    let pods: Api<Pod> = Api::namespaced(rig.client(), "kube-system");
    pods.delete(&pod.name_any(), &at_once).await.unwrap();
}

/// Says of the Pod with the broken image that it cannot be pulled, as the kubelet does.
async fn image_is_missing(rig: &VdoRig) {
    let pods: Api<Pod> = Api::namespaced(rig.client(), "kube-system");
    let pod = broken(rig, false).await;
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let failed = json!({"status": {"containerStatuses": [{
        "name": container.name, "image": container.image, "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}},
    }]}});
    pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(failed)).await.unwrap();
}

/// Installs CPI 1.36.0 and CSI by this matrix, with CPI 1.36.1 to come that never becomes ready.
async fn installed(rig: &VdoRig, matrix: &Value) {
    rig.leave_pods(BROKEN);
    rig.write_matrix(matrix).await.unwrap();
    rig.apply_configs().await.unwrap();
    rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    rig.set_up_nodes().await.unwrap();
    rig.register_csi().await.unwrap();
    rig.settled(PATIENCE).await.unwrap();
    eventually("it is noted that CPI runs", PATIENCE, async || {
        let notes = rig.get("kube-system", "configmap", "vdo-cpi").await?.unwrap_or_default();
        Ok((notes["data"]["complete"] == "true").then_some(()))
    })
    .await
    .unwrap();
}

/// Returns the message of a condition.
fn message(status: &Value, condition: &str) -> String {
    let condition = e2e::condition(status, condition).expect("a condition");
    condition["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_upgrade_that_fails_is_rolled_back_until_a_person_or_a_newer_version_comes() {
    let rig = VdoRig::start().await.unwrap();
    let launch = rig.launch().arg(TIMEOUT);
    let mut operator = rig.spawn(&launch).unwrap();
    operator.ready().await.unwrap();
    installed(&rig, &matrix(&rig, &["1.36.0"])).await;
    rig.write_matrix(&matrix(&rig, &["1.36.0", "1.36.1"])).await.unwrap();
    rig.cpi_becomes(":v1.36.1", PATIENCE).await.unwrap();
    image_is_missing(&rig).await;

    rig.cpi_becomes(":v1.36.0", PATIENCE).await.unwrap();
    rig.event("RolledBack").await.unwrap();
    end(&rig).await;
    let status = rig.settled(PATIENCE).await.unwrap();
    let said = message(&status, "CPIAvailable");
    for part in [
        "it was rolled back: 1.36.1 did not become available within 15 seconds after the upgrade from 1.36.0",
        "cannot be pulled",
        "vdo.vmware.com/retry-upgrade",
    ] {
        assert!(said.contains(part), "no {part}: {said}");
    }
    assert_eq!(e2e::ready(&status), Some(("True", "RolledBack")), "{status}");

    // It stays so for another process, and the commands say why.
    drop(operator);
    let mut operator = rig.spawn(&launch).unwrap();
    operator.ready().await.unwrap();
    let rejected = "1.36.1: did not become available within 15 seconds after the upgrade from 1.36.0: ";
    let plan = rig.run(&["plan", "--exit-code"]).await.unwrap();
    assert!(plan.code == 0 && plan.out.contains(&format!("not {rejected}")), "{plan:?}");
    let explained = rig.run(&["explain"]).await.unwrap();
    assert!(explained.out.contains(&format!("- {rejected}")), "{explained:?}");
    let status = rig.settled(PATIENCE).await.unwrap();
    assert_eq!(message(&status, "CPIAvailable"), said);
    assert!(
        rig.image("kube-system", "daemonset", "vsphere-cloud-controller-manager")
            .await
            .unwrap()
            .ends_with(":v1.36.0")
    );

    // A person has it tried again; a newer version is tried by itself.
    rig.kubectl(&["annotate", "vdoconfig", "vdo", "vdo.vmware.com/retry-upgrade=once"]).await.unwrap();
    rig.cpi_becomes(":v1.36.1", PATIENCE).await.unwrap();
    rig.cpi_becomes(":v1.36.0", PATIENCE).await.unwrap();
    end(&rig).await;
    rig.says("CPIAvailable", "RolledBack").await.unwrap();
    rig.write_matrix(&matrix(&rig, &["1.36.0", "1.36.1", "1.36.2"])).await.unwrap();
    rig.cpi_becomes(":v1.36.2", PATIENCE).await.unwrap();
    rig.says("CPIAvailable", "AsAsked").await.unwrap();
}

#[tokio::test]
async fn nothing_is_rolled_back_where_the_version_before_lacks_what_objects_are_stored_in() {
    let rig = VdoRig::start().await.unwrap();
    let mut operator = rig.spawn(&rig.launch().arg(TIMEOUT)).unwrap();
    operator.ready().await.unwrap();
    let definition = |versions: &[&str]| {
        let last = versions.last().copied();
        let version = |name: &&str| {
            json!({"name": name, "served": true, "storage": Some(*name) == last,
                "schema": {"openAPIV3Schema": {"type": "object"}}})
        };
        let versions: Vec<_> = versions.iter().map(version).collect();
        let names = json!({"kind": "Node", "plural": "nodes"});
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "nodes.cpi.example.com"},
            "spec": {"group": "cpi.example.com", "scope": "Cluster", "names": names, "versions": versions}})
    };
    let (old, new) = (definition(&["v1"]), definition(&["v1", "v2"]));
    let mut versions = matrix(&rig, &["1.36.0", "1.36.1"]);
    versions["CPI"]["1.36.0"]["deploymentPath"] = json!([with_object(&rig, "/old.yaml", &old)]);
    versions["CPI"]["1.36.1"]["deploymentPath"] = json!([with_object(&rig, "/new.yaml", &new)]);
    let mut before = versions.clone();
    before["CPI"].as_object_mut().unwrap().remove("1.36.1");
    installed(&rig, &before).await;
    rig.write_matrix(&versions).await.unwrap();
    rig.cpi_becomes(":v1.36.1", PATIENCE).await.unwrap();

    let status = rig.says("CPIAvailable", "UpgradeFailed").await.unwrap();
    let said = message(&status, "CPIAvailable");
    let why =
        "1.36.1 stays, as 1.36.0 lacks v2 of nodes.cpi.example.com, in which objects are or were stored";
    assert!(said.ends_with(why), "{said}");
    let plan = rig.run(&["plan", "--exit-code", TIMEOUT]).await.unwrap();
    assert!(
        plan.code == 3 && plan.out.contains("CPI 1.36.1: keep (UpgradeFailed): 1.36.1 did not"),
        "{plan:?}"
    );
    rig.event("UpgradeFailed").await.unwrap();
}
