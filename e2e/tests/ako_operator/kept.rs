//! An AKODeploymentConfig that cannot be read, or is gone, takes AKO from no Cluster.

use e2e::Rig;
use serde_json::json;

use crate::{CLUSTER, Walk, on_avi};

async fn patch(walk: &Walk, patch: serde_json::Value) {
    let patch = ["patch", "akodeploymentconfig", "adc", "--type=merge", "-p", &patch.to_string()];
    walk.rig.management.kubectl(&patch).await.unwrap();
}

/// Waits until the Cluster says why AKO stays, and compares what AKO has made.
async fn stays(walk: &Walk, reason: &str) {
    walk.says("AKOInstalled", &format!("True {reason}")).await;
    walk.says("AviResourceCleanupSucceeded", "").await;
    assert_eq!(on_avi(walk, "virtualservice").len(), 1);
    assert_eq!(walk.ako.starts(), 1, "it was not rolled");
}

#[tokio::test]
async fn ako_stays_while_its_adc_cannot_be_read_or_is_gone() {
    let walk = Walk::start().await;
    let made = on_avi(&walk, "virtualservice");
    assert_eq!(made.len(), 1);

    let annotate = |value: Option<String>| {
        let all: serde_json::Map<_, _> =
            (0..70).map(|n| (format!("example.com/large-{n}"), json!(value))).collect();
        json!({ "metadata": { "annotations": all } })
    };
    patch(&walk, annotate(Some("x".repeat(1024)))).await;
    stays(&walk, "AKODeploymentConfigInvalid").await;
    patch(&walk, annotate(None)).await;
    stays(&walk, "AKOInstalled").await;

    let config = walk.rig.config();
    let wrong = json!({ "matchLabels": null, "matchExpressions": [{ "key": "a", "operator": "Is" }] });
    patch(&walk, json!({ "spec": { "clusterSelector": wrong } })).await;
    stays(&walk, "AKODeploymentConfigInvalid").await;
    let mut right = config["spec"]["clusterSelector"].clone();
    right["matchExpressions"] = right["matchExpressions"].take();
    patch(&walk, json!({ "spec": { "clusterSelector": right } })).await;
    stays(&walk, "AKOInstalled").await;

    // As where its kind is deleted, or where a backup without it is restored.
    walk.rig.management.kubectl(&["delete", "akodeploymentconfig", "adc", "--wait=false"]).await.unwrap();
    patch(&walk, json!({ "metadata": { "finalizers": null } })).await;
    stays(&walk, "AKODeploymentConfigMissing").await;

    // One for another place takes nothing over, and what is recorded goes on to be true.
    let mut all = config.clone();
    all["metadata"]["name"] = "install-ako-for-all".into();
    all["spec"]["clusterSelector"] = json!({});
    all["spec"]["dataNetwork"]["ipPools"] = json!([]);
    all["spec"]["tenant"] = json!({ "name": "tkg", "scope": "Cluster" });
    walk.rig.site().apply(None, &all).await.unwrap();
    stays(&walk, "PlaceChanged").await;
    is_recorded(&walk, "install-ako-for-all", "").await;
    walk.rig.site().apply(None, &config).await.unwrap();
    stays(&walk, "AKOInstalled").await;
    is_recorded(&walk, "adc", CLUSTER).await;
    assert_eq!(on_avi(&walk, "virtualservice"), made);

    // Without its label the default one selects it, and it moves there once it is asked to.
    let label = format!("{}-", crate::LABEL);
    walk.rig.management.kubectl(&["label", "cluster", CLUSTER, &label]).await.unwrap();
    stays(&walk, "PlaceChanged").await;
    gets_its_finalizer_again(&walk).await;
    moves_once_it_can(&walk, &config).await;
    is_recorded(&walk, "install-ako-for-all", CLUSTER).await;
    is_recorded(&walk, "adc", "").await;
    walk.says("AKOInstalled", "True AKOInstalled").await;
    let tenant =
        ["get", "configmap", "avi-k8s-config", "-n", "avi-system", "-o", "jsonpath={.data.tenantName}"];
    walk.workload_shows(&tenant, "tkg-default-w1").await;
    let left = walk.rig.simulator.control().store(|store| {
        let of_admin =
            |pool: &&serde_json::Value| pool["tenant_ref"].as_str().is_some_and(|of| of.contains("admin"));
        store.objects("pool").filter(of_admin).count()
    });
    assert_eq!(left, 0, "nothing of it is left where it was");
}

/// A person takes the finalizer off while another place is said: the record stays, and AKO.
async fn gets_its_finalizer_again(walk: &Walk) {
    let strip = json!({ "metadata": { "finalizers": ["cluster.cluster.x-k8s.io"] } }).to_string();
    walk.rig.management.kubectl(&["patch", "cluster", CLUSTER, "--type=merge", "-p", &strip]).await.unwrap();
    let finalizers = ["get", "cluster", CLUSTER, "-o", "jsonpath={.metadata.finalizers[*]}"];
    walk.shows(&finalizers, "cluster.cluster.x-k8s.io ako-operator.network.tkg.tanzu.vmware.com").await;
    stays(walk, "PlaceChanged").await;
    is_recorded(walk, "adc", CLUSTER).await;
}

/// Asks for AKO to move to a place that does not work: it stays until that does.
async fn moves_once_it_can(walk: &Walk, config: &serde_json::Value) {
    let network = |name: &str| json!({ "spec": { "dataNetwork": { "name": name } } }).to_string();
    let change = ["patch", "akodeploymentconfig", "install-ako-for-all", "--type=merge", "-p"];
    let works = config["spec"]["dataNetwork"]["name"].as_str().unwrap();
    walk.rig.management.kubectl(&[&change[..], &[&*network("missing")]].concat()).await.unwrap();
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].reason}"#;
    walk.shows(&["get", "akodeploymentconfig", "install-ako-for-all", "-o", ready], "AviNetworkNotFound")
        .await;
    let moves = "ako-operator.network.tkg.tanzu.vmware.com/move-to=install-ako-for-all";
    walk.rig.management.kubectl(&["annotate", "cluster", CLUSTER, moves]).await.unwrap();
    walk.explains("has no effect until \"install-ako-for-all\" is Ready (AviNetworkNotFound").await;
    stays(walk, "PlaceChanged").await;
    // It is Ready, and the tenant that would be made for the Cluster has another group.
    let group = |name: &str, context: Option<&str>| json!({ "spec": { "serviceEngineGroup": name, "tenant": { "context": context } } });
    let mut elsewhere = group("of-tenants", Some("Tenant"));
    elsewhere["spec"]["dataNetwork"] = json!({ "name": works });
    walk.rig.management.kubectl(&[&change[..], &[&*elsewhere.to_string()]].concat()).await.unwrap();
    walk.explains("spec.serviceEngineGroup: the tenant \"tkg-default-w1\" does not exist yet").await;
    stays(walk, "PlaceChanged").await;
    let back = group(config["spec"]["serviceEngineGroup"].as_str().unwrap(), None);
    walk.rig.management.kubectl(&[&change[..], &[&*back.to_string()]].concat()).await.unwrap();
}

/// A Cluster is restored without its status, and one that selects it without its record: where AKO works is read before anything is recorded.
#[tokio::test]
async fn ako_stays_where_it_works_after_a_restore() {
    let walk = Walk::start().await;
    let made = on_avi(&walk, "virtualservice");
    let moves = "ako-operator.network.tkg.tanzu.vmware.com/move-to=adc";
    walk.rig.management.kubectl(&["annotate", "cluster", CLUSTER, moves]).await.unwrap();
    let config = walk.rig.config();
    let forgotten = async || {
        walk.rig.management.kubectl(&["delete", "akodeploymentconfig", "adc", "--wait=false"]).await.unwrap();
        patch(&walk, json!({ "metadata": { "finalizers": null } })).await;
        stays(&walk, "AKODeploymentConfigMissing").await;
        let status = json!({ "status": { "initialization": null, "conditions": null } }).to_string();
        let strip = ["patch", "cluster", CLUSTER, "--subresource=status", "--type=merge", "-p", &status];
        walk.rig.management.kubectl(&strip).await.unwrap();
    };
    // The annotation is kept, and AKO works where it says.
    forgotten().await;
    walk.rig.site().apply(None, &config).await.unwrap();
    is_recorded(&walk, "adc", CLUSTER).await;
    stays(&walk, "AKOInstalled").await;

    let unmoved = ["annotate", "cluster", CLUSTER, "ako-operator.network.tkg.tanzu.vmware.com/move-to-"];
    walk.rig.management.kubectl(&unmoved).await.unwrap();
    forgotten().await;
    let mut other = config.clone();
    other["spec"]["tenant"] = json!({ "name": "tkg", "scope": "Cluster" });
    walk.rig.site().apply(None, &other).await.unwrap();
    stays(&walk, "PlaceChanged").await;
    is_recorded(&walk, "adc", "").await;
    assert_eq!(on_avi(&walk, "virtualservice"), made);
}

/// Waits until an AKODeploymentConfig has recorded this Cluster; empty: none.
async fn is_recorded(walk: &Walk, adc: &str, cluster: &str) {
    let recorded = ["get", "akodeploymentconfig", adc, "-o", "jsonpath={.status.deliveredTo[*]}"];
    let wanted = if cluster.is_empty() { String::new() } else { format!("default/{cluster}") };
    walk.shows(&recorded, &wanted).await;
}
