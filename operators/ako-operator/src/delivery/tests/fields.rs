//! Each field of the AKODeploymentConfig alone: which keys it changes, and whether AKO's Pods roll.

use serde_json::{Value, json};

use super::*;

/// A field, its value, and the keys that then have other values than in the minimal delivery.
struct Row(&'static str, Value, &'static [(&'static str, &'static str)]);

fn rows() -> Vec<Row> {
    [of_controller(), of_ako(), of_pods(), of_networks(), of_ingresses()].into_iter().flatten().collect()
}

fn of_controller() -> Vec<Row> {
    vec![
        Row(
            "controller",
            json!("https://avi.example.com:8443/"),
            &[("controllerIP", "avi.example.com:8443")],
        ),
        Row("controller", json!("10.1.1.2"), &[("controllerIP", "10.1.1.2")]),
        Row("controllerVersion", json!("30.2.1"), &[("controllerVersion", "30.2.1")]),
        Row("cloudName", json!("c"), &[("cloudName", "c")]),
        Row("serviceEngineGroup", json!("g"), &[("serviceEngineGroupName", "g")]),
        Row("tenant", json!({"name": "t"}), &[("tenantName", "t")]),
        Row(
            "dataNetwork.name",
            json!("n"),
            &[("vipNetworkList", r#"[{"networkName":"n","cidr":"10.2.0.0/16"}]"#)],
        ),
        // The network address, not the address that was written.
        Row(
            "dataNetwork.cidr",
            json!("10.3.4.5/16"),
            &[("vipNetworkList", r#"[{"networkName":"VM Network","cidr":"10.3.0.0/16"}]"#)],
        ),
        Row(
            "dataNetwork.cidr",
            json!("fd00::5/64"),
            &[("vipNetworkList", r#"[{"networkName":"VM Network","v6cidr":"fd00::/64"}]"#)],
        ),
    ]
}

fn of_ako() -> Vec<Row> {
    vec![
        Row("extraConfigs.primaryInstance", json!(false), &[("primaryInstance", "false")]),
        Row("extraConfigs.log.logLevel", json!("WARN"), &[("logLevel", "WARN")]),
        Row("extraConfigs.fullSyncFrequency", json!("60"), &[("fullSyncFrequency", "60")]),
        Row("extraConfigs.apiServerPort", json!(9090), &[("apiServerPort", "9090")]),
        Row("extraConfigs.disableStaticRouteSync", json!(false), &[("disableStaticRouteSync", "false")]),
        Row("extraConfigs.cniPlugin", json!("ovn-kubernetes"), &[("cniPlugin", "ovn-kubernetes")]),
        Row("extraConfigs.enableEVH", json!(true), &[("enableEVH", "true")]),
        // Not enableEVH, where the original wrote these two.
        Row("extraConfigs.layer7Only", json!(true), &[("layer7Only", "true")]),
        Row("extraConfigs.enableEvents", json!(false), &[("enableEvents", "false")]),
        Row("extraConfigs.servicesAPI", json!(true), &[("servicesAPI", "true")]),
        Row("extraConfigs.vipPerNamespace", json!(true), &[("vipPerNamespace", "true")]),
        Row("extraConfigs.istioEnabled", json!(true), &[("istioEnabled", "true")]),
        Row("extraConfigs.useDefaultSecretsOnly", json!(true), &[("useDefaultSecretsOnly", "true")]),
        Row(
            "extraConfigs.blockedNamespaceList",
            json!(["a", "b"]),
            &[("blockedNamespaceList", r#"["a","b"]"#)],
        ),
        Row("extraConfigs.ipFamily", json!("V6"), &[("ipFamily", "V6")]),
        Row("extraConfigs.namespaceSelector.labelKey", json!("k"), &[("nsSyncLabelKey", "k")]),
        Row("extraConfigs.namespaceSelector.labelValue", json!("v"), &[("nsSyncLabelValue", "v")]),
        // Each into its own key; the original wrote the value into the key.
        Row("extraConfigs.nodePortSelector.key", json!("k"), &[("nodeKey", "k")]),
        Row("extraConfigs.nodePortSelector.value", json!("v"), &[("nodeValue", "v")]),
    ]
}

/// Fields that are no key of the ConfigMap.
fn of_pods() -> Vec<Row> {
    vec![
        Row("extraConfigs.replicaCount", json!(2), &[]),
        Row("extraConfigs.log.persistentVolumeClaim", json!("logs"), &[]),
        Row("extraConfigs.log.mountPath", json!("/logs"), &[]),
        Row("extraConfigs.log.logFile", json!("a.log"), &[]),
        Row("extraConfigs.log.akoGatewayLogFile", json!("g.log"), &[]),
        Row("extraConfigs.featureGates.GatewayAPI", json!(true), &[]),
        Row("extraConfigs.ingress.disableIngressClass", json!(true), &[]),
        // No Kubernetes that AKO 2.2 supports has PodSecurityPolicies.
        Row("extraConfigs.rbac.pspEnabled", json!(true), &[]),
        Row("extraConfigs.rbac.pspPolicyAPIVersion", json!("policy/v1beta1"), &[]),
    ]
}

fn of_networks() -> Vec<Row> {
    vec![
        Row("extraConfigs.networksConfig.enableRHI", json!(true), &[("enableRHI", "true")]),
        Row("extraConfigs.networksConfig.bgpPeerLabels", json!(["p"]), &[("bgpPeerLabels", r#"["p"]"#)]),
        Row("extraConfigs.networksConfig.nsxtT1LR", json!("t1"), &[("nsxtT1LR", "t1")]),
    ]
}

fn of_ingresses() -> Vec<Row> {
    vec![
        Row(
            "extraConfigs.ingress.defaultIngressController",
            json!(true),
            &[("defaultIngController", "true")],
        ),
        Row("extraConfigs.ingress.shardVSSize", json!("DEDICATED"), &[("shardVSSize", "DEDICATED")]),
        Row(
            "extraConfigs.ingress.passthroughShardSize",
            json!("LARGE"),
            &[("passthroughShardSize", "LARGE")],
        ),
        Row(
            "extraConfigs.ingress.serviceType",
            json!("NodePortLocal"),
            &[("nodeKey", "absent"), ("nodeValue", "absent"), ("serviceType", "NodePortLocal")],
        ),
        Row(
            "extraConfigs.ingress.nodeNetworkList",
            json!([{"networkName": "n", "cidrs": ["10.0.0.0/24"]}]),
            &[("nodeNetworkList", r#"[{"networkName":"n","cidrs":["10.0.0.0/24"]}]"#)],
        ),
        Row("extraConfigs.ingress.noPGForSNI", json!(true), &[("noPGForSNI", "true")]),
        Row("extraConfigs.ingress.enableMCI", json!(true), &[("enableMCI", "true")]),
        Row("extraConfigs.l4Config.defaultDomain", json!("d"), &[("defaultDomain", "d")]),
        Row("extraConfigs.l4Config.autoFQDN", json!("flat"), &[("autoFQDN", "flat")]),
    ]
}

/// Fields that AKO's Pods depend on without a key of the ConfigMap. The gateway's log is of its container, which the gate adds.
const OF_PODS: [&str; 4] = [
    "extraConfigs.log.persistentVolumeClaim",
    "extraConfigs.log.mountPath",
    "extraConfigs.log.logFile",
    "extraConfigs.featureGates.GatewayAPI",
];

fn with(path: &str, value: Value) -> Install {
    let mut spec: Value = serde_saphyr::from_str(MINIMAL).unwrap();
    let place = path.split('.').fold(&mut spec, |place, member| &mut place[member]);
    *place = value;
    let mut changed = install(MINIMAL);
    changed.spec = serde_json::from_value(spec).unwrap();
    changed
}

#[test]
fn each_field_changes_its_keys_and_rolls_the_pods_where_it_must() {
    let minimal = install(MINIMAL);
    let (before, pods_before) = (settings(&minimal).unwrap(), pods(&minimal));
    for Row(path, value, wanted) in rows() {
        let changed = with(path, value);
        let after = settings(&changed).unwrap();
        let of = |keys: &BTreeMap<String, String>, key: &str| {
            keys.get(key).cloned().unwrap_or("absent".to_owned())
        };
        let differing: Vec<_> = before
            .keys()
            .filter(|key| of(&before, key) != of(&after, key))
            .map(|key| (key.as_str(), of(&after, key)))
            .collect();
        let wanted: Vec<_> = wanted.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        assert_eq!(differing, wanted, "{path}");
        let rolls = OF_PODS.contains(&path) || wanted.iter().any(|(key, _)| !LIVE_KEYS.contains(key));
        assert_eq!(pods(&changed) != pods_before, rolls, "{path}");
    }
}

/// Every setting of the original's CRD has a row above.
#[test]
fn no_field_of_the_original_is_forgotten() {
    let original = include_str!("../../api/adc/original_fields.txt");
    let rows = rows();
    let mut seen = 0;
    for line in original.lines().filter_map(|line| line.strip_prefix("spec.extraConfigs.")) {
        let (path, kind) = line.split_once(' ').unwrap();
        if kind.starts_with("object") || path.contains("[]") {
            continue;
        }
        seen += 1;
        let path = format!("extraConfigs.{path}");
        assert!(rows.iter().any(|Row(row, ..)| *row == path), "{path}");
    }
    assert_eq!(seen, 40);
}

#[test]
fn deletion_of_the_configuration_rolls_nothing() {
    let mut deleting = install(FULL);
    deleting.delete_config = true;
    assert_eq!(settings(&deleting).unwrap()["deleteConfig"], "true");
    assert_eq!(pods(&deleting), pods(&install(FULL)));
}

#[test]
fn another_image_rolls_the_pods() {
    let mut other = install(MINIMAL);
    other.ako.image = "registry.example.com/ako:2.2.2".to_owned();
    assert_ne!(pods(&other), pods(&install(MINIMAL)));
}

#[test]
fn the_ingress_class_is_absent_where_it_is_disabled_and_then_obsolete() {
    let without = with("extraConfigs.ingress.disableIngressClass", json!(true));
    let delivery = objects(&without).unwrap();
    let obsolete: Vec<_> = delivery.obsolete.iter().map(Target::to_string).collect();
    assert_eq!(
        obsolete,
        ["GatewayClass avi-lb", "IngressClass avi-lb", "ClusterRoleBinding ako-crb-avi-system"]
    );
}
