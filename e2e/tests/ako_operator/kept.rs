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
    walk.rig.site().apply(None, &config).await.unwrap();
    stays(&walk, "AKOInstalled").await;
    assert_eq!(on_avi(&walk, "virtualservice"), made);

    // Without its label it leaves, as the AKODeploymentConfig has recorded it again.
    let label = format!("{}-", crate::LABEL);
    walk.rig.management.kubectl(&["label", "cluster", CLUSTER, &label]).await.unwrap();
    walk.says("AKOInstalled", "").await;
    walk.cluster_has(false).await;
    assert_eq!(on_avi(&walk, "virtualservice"), <[String; 0]>::default());
    assert_eq!(walk.users(), <[String; 0]>::default());
}
