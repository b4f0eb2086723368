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

/// AVI gives no addresses without an IPAM. One of another vendor has no list of networks: it stays as it is, and the pools are added.
#[tokio::test]
async fn an_ipam_of_another_vendor_stays_as_it_is() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let cloud =
        |profile: &Value| json!({ "cloud": [{ "name": "Default-Cloud", "ipam_provider_ref": profile }] });
    avi.seed_value(cloud(&Value::Null)).unwrap();
    let operator = rig.operator().await.unwrap();
    rig.site().apply(None, &rig.config_with(50)).await.unwrap();
    says(&rig, "False AviIpamProfileMissing", "doesn't have any ipam profile configured").await;

    let profile = json!({ "name": "infoblox", "type": "IPAMDNS_TYPE_INFOBLOX",
        "infoblox_profile": { "ip_address": { "addr": "10.0.0.53", "type": "V4" }, "username": "u", "password": "p" } });
    avi.seed_value(json!({ "ipamdnsproviderprofile": [profile] })).unwrap();
    avi.seed_value(cloud(&"/api/ipamdnsproviderprofile/?name=infoblox".into())).unwrap();
    let before = avi.snapshot();
    let config = rig.config_with(60);
    rig.site().apply(None, &config).await.unwrap();
    says(&rig, "True AsAsked", "").await;
    assert_eq!(rig.mismatch(&config).await.unwrap(), None);
    let added = avi.diff(&before);
    let kinds: Vec<_> = added.changed.iter().map(|change| change.kind.clone()).collect();
    assert_eq!(kinds, ["network"], "{added:?}");
    rig.site().remove("adc").await.unwrap();
    let left = avi.diff(&before);
    assert!(left.is_empty(), "{left:?}\n{}", operator.process.log());
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
