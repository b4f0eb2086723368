//! `VSphereConnection`: a vCenter, with everything that a `VsphereCloudConfig` cannot say.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A vCenter, and the account with which drivers log in to it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1beta1",
    kind = "VSphereConnection",
    plural = "vsphereconnections",
    singular = "vsphereconnection",
    namespaced,
    status = "VSphereConnectionStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Server","type":"string","jsonPath":".spec.server"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.version"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    doc = "VSphereConnection is a vCenter, and the account with which drivers log in to it."
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = trust_rules()))]
pub struct VSphereConnectionSpec {
    /// Host name or IP address of the vCenter, without a scheme; with a port, if it is not 443.
    #[schemars(length(min = 1))]
    pub server: String,
    /// Name of a Secret in this namespace with the keys `username` and `password`.
    #[schemars(length(min = 1))]
    pub credentials: String,
    /// Names of the datacenters in which the machines and volumes of the cluster are. Default: all that the account sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datacenters: Vec<String>,
    /// Whether the vCenter's certificate is trusted whatever it is. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure: Option<bool>,
    /// SHA-1 or SHA-256 fingerprint of the vCenter's certificate, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
    /// Name of a ConfigMap in this namespace with the key `ca.crt`: authorities, in PEM, that the certificate is checked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
}

fn trust_rules() -> Value {
    json!([{
        "rule": "(has(self.insecure) && self.insecure ? 1 : 0) + (has(self.thumbprint) ? 1 : 0) \
                 + (has(self.certificateAuthority) ? 1 : 0) <= 1",
        "message": "the certificate is checked in one way: set one of insecure, thumbprint and certificateAuthority",
    }])
}

/// What is known of the vCenter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VSphereConnectionStatus {
    /// Version of the vCenter, such as `8.0.3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
