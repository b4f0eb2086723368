//! The objects of the rig, as a user would write them.

use serde_json::{Value, json};

use super::NAMESPACE;

/// The controller of [`AkoRig::samples`].
pub(super) const CONTROLLER: &str = "avi.example.com";
/// The vCenter of [`AkoRig::samples`].
pub(super) const VCENTER: &str = "vcenter.example.com";

/// Returns pools of ten addresses from this one on.
pub(super) fn pool(start: u8) -> Value {
    json!([{ "start": format!("10.92.0.{start}"), "end": format!("10.92.0.{}", start + 9), "type": "V4" }])
}

/// Returns a reference to a Secret of the operator's namespace.
pub(super) fn reference(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE })
}

/// Returns an AKODeploymentConfig with pools.
pub(super) fn adc(name: &str, pools: &Value) -> Value {
    json!({
        "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
        "metadata": { "name": name },
        "spec": {
            "clusterSelector": { "matchLabels": { (super::AkoRig::LABEL): "" } },
            "controller": CONTROLLER, "cloudName": "Default-Cloud", "serviceEngineGroup": "Default-Group",
            "controlPlaneNetwork": { "name": "vips", "cidr": "10.92.0.0/24" },
            "dataNetwork": { "name": "vips", "cidr": "10.92.0.0/24", "ipPools": pools },
            "adminCredentialRef": reference("avi-admin"), "certificateAuthorityRef": reference("avi-ca"),
        },
    })
}
/// Returns an AKODeploymentConfig with each field.
pub(super) fn samples() -> Vec<Value> {
    let vcenter = json!({ "server": VCENTER, "credentialRef": reference("vcenter-account"),
        "certificateAuthorityRef": reference("vcenter-ca") });
    let mut all = adc("sample", &pool(50));
    let spec = json!({
        "clusterSelector": { "matchLabels": { "sample": "a" },
            "matchExpressions": [{ "key": "sample", "operator": "In", "values": ["a"] }] },
        "controllerVersion": "30.2.1",
        "controlPlaneNetwork": { "name": "vips", "cidr": "10.92.0.0/24" },
        "tenant": { "name": "admin", "context": "Provider", "scope": "Shared" },
        "workloadCredentialRef": { "name": "avi-admin", "namespace": NAMESPACE },
        "vcenter": vcenter,
        // Each has either a VLAN or a trunk.
        "portGroups": [
            { "name": "trunk", "switch": "DVS0", "binding": "ephemeral", "description": "Of a sample",
                "trunk": [{ "start": 100, "end": 199 }] },
            { "name": "tagged", "switch": "DVS0", "vlan": 7, "ports": 16, "autoExpand": false },
        ],
        "extraConfigs": {
            "primaryInstance": true, "replicaCount": 2, "fullSyncFrequency": "600", "apiServerPort": 9090,
            "disableStaticRouteSync": true, "cniPlugin": "antrea", "enableEVH": true, "layer7Only": true,
            "servicesAPI": false, "vipPerNamespace": true, "istioEnabled": false, "useDefaultSecretsOnly": false,
            "enableEvents": true, "blockedNamespaceList": ["a"], "ipFamily": "V4",
            "log": { "persistentVolumeClaim": "logs", "mountPath": "/log", "logFile": "avi.log",
                "akoGatewayLogFile": "gw.log", "logLevel": "INFO" },
            "namespaceSelector": { "labelKey": "k", "labelValue": "v" },
            "nodePortSelector": { "key": "k", "value": "v" },
            "featureGates": { "GatewayAPI": false },
            "networksConfig": { "enableRHI": false, "bgpPeerLabels": ["peer"], "nsxtT1LR": "t1" },
            "ingress": { "disableIngressClass": false, "defaultIngressController": false, "shardVSSize": "SMALL",
                "passthroughShardSize": "SMALL", "serviceType": "NodePort",
                "nodeNetworkList": [{ "networkName": "nodes", "cidrs": ["10.1.0.0/16"] }],
                "noPGForSNI": false, "enableMCI": false },
            "l4Config": { "defaultDomain": "example.com", "autoFQDN": "default" },
            "rbac": { "pspEnabled": false, "pspPolicyAPIVersion": "policy/v1beta1" },
        },
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        all["spec"][field] = value.clone();
    }
    vec![all]
}
