//! Clusters and AKODeploymentConfigs with the marks of the original operator's later versions.

use super::*;

const LATER_LABEL: &str = "networking.tkg.tanzu.vmware.com/avi";
const LATER_FINALIZER: &str = "ako-operator.networking.tkg.tanzu.vmware.com";

/// The label keeps the choice, the finalizers go with their objects. On the way, the address families do not fit, then they do.
#[tokio::test]
async fn a_cluster_of_a_later_operator_is_taken_over_and_let_go() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let avi = rig.simulator.control();
    let before = avi.snapshot();
    let guest = rig.with_ako(rig.cluster(CLUSTER, false).await.unwrap()).await.unwrap();
    let marks = ["label", "cluster", CLUSTER, &format!("{LATER_LABEL}=second"), "for=all"];
    rig.management.kubectl(&marks).await.unwrap();
    let add =
        json!([{ "op": "add", "path": "/metadata/finalizers/-", "value": LATER_FINALIZER }]).to_string();
    rig.management.kubectl(&["patch", "cluster", CLUSTER, "--type=json", "-p", &add]).await.unwrap();
    let config = |name: &str, first: u8, family: &str| {
        let mut config = rig.config_with(first);
        config["metadata"]["name"] = name.into();
        config["metadata"]["finalizers"] = json!([LATER_FINALIZER]);
        config["spec"]["clusterSelector"] = json!({ "matchLabels": { "for": "all" } });
        config["spec"]["extraConfigs"] = json!({ "ipFamily": family });
        config
    };
    rig.site().apply(None, &config("first", 50, "V4")).await.unwrap();
    rig.site().apply(None, &config("second", 60, "V6")).await.unwrap();
    let operator = rig.operator().await.unwrap();

    let is_refused =
        |condition: &Value| condition["status"] == "False" && condition["reason"] == "IPFamilyUnsupported";
    for type_ in ["ClusterIpFamilyValidationSucceeded", "AKOInstalled"] {
        rig.condition_is(CLUSTER, type_, is_refused).await.unwrap();
    }
    rig.site().apply(None, &config("second", 60, "V4")).await.unwrap();
    let is_supported =
        |condition: &Value| condition["status"] == "True" && condition["reason"] == "IPFamilySupported";
    rig.condition_is(CLUSTER, "ClusterIpFamilyValidationSucceeded", is_supported).await.unwrap();
    rig.condition(CLUSTER, "AKOInstalled", "True").await.unwrap();
    rig.balance(&guest).await.unwrap();

    // By name, the other one would have been the first.
    let recorded = async |adc| rig.site().status(adc).await.unwrap()["deliveredTo"].clone();
    assert_eq!(recorded("second").await, json!(["default/w1"]));
    assert!(recorded("first").await.as_array().is_none_or(Vec::is_empty));
    let label = format!("jsonpath={{.metadata.labels.{}}}", LATER_LABEL.replace('.', r"\."));
    assert_eq!(rig.management.kubectl(&["get", "cluster", CLUSTER, "-o", &label]).await.unwrap(), "second");

    guest.workload.delete().await.unwrap();
    guest.workload.deleted(PATIENCE).await.unwrap();
    for adc in ["first", "second"] {
        rig.site().remove(adc).await.unwrap();
    }
    let left = avi.diff(&before);
    assert!(left.is_empty(), "{left:?}\n{}", operator.process.log());
}
