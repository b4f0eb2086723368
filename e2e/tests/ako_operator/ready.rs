//! An AKODeploymentConfig says what is wrong before a Cluster takes AKO from it.

use super::*;

#[tokio::test]
async fn what_only_a_delivery_uses_is_checked_before_there_is_a_cluster() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let operator = rig.operator().await.unwrap();
    let namespace = AkoRig::SUBJECT.namespace;
    let mut config = rig.config();
    config["spec"]["workloadCredentialRef"] = json!({ "name": "for-ako", "namespace": namespace });
    config["spec"]["extraConfigs"] = json!({ "apiServerPort": 70_000 });
    rig.site().apply(None, &config).await.unwrap();
    says(&rig, "False InvalidSpec", "spec.extraConfigs.apiServerPort: 70000 is no TCP port").await;

    config["spec"]["extraConfigs"] = json!({ "featureGates": { "GatewayAPI": true } });
    rig.site().apply(None, &config).await.unwrap();
    says(&rig, "False InvalidSpec", "start it with AKO_GATEWAY_IMAGE").await;

    config["spec"].as_object_mut().unwrap().remove("extraConfigs");
    rig.site().apply(None, &config).await.unwrap();
    let missing = format!("spec.workloadCredentialRef: Secret {namespace}/for-ako does not exist: create it");
    says(&rig, "False CredentialsMissing", &missing).await;
    assert_eq!(rig.simulator.control().requests().len(), 0, "AVI is not asked before");

    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "for-ako", "namespace": namespace },
        "stringData": { "username": "ako", "password": "of a test" },
    });
    rig.site().control_plane().kubectl_stdin(&["apply", "-f", "-"], &secret.to_string()).await.unwrap();
    says(&rig, "True AsAsked", "").await;
    drop(operator);
}

/// Waits until the condition Ready has this status and reason, and its message contains this.
async fn says(rig: &AkoRig, wanted: &str, text: &str) {
    let args = [
        "get",
        "adc",
        "adc",
        "-o",
        r#"jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.reason} {.message}{end}"#,
    ];
    eventually(wanted, PATIENCE, async || {
        let found = rig.site().control_plane().kubectl(&args).await?;
        anyhow::ensure!(found.starts_with(wanted) && found.contains(text), "{found}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}
