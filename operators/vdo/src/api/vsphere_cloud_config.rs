//! `VsphereCloudConfig`: a vCenter, and the account with which drivers log in to it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vCenter, and the account with which drivers log in to it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1alpha1",
    kind = "VsphereCloudConfig",
    plural = "vspherecloudconfigs",
    singular = "vspherecloudconfig",
    namespaced,
    status = "VsphereCloudConfigStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"vCenter","type":"string","jsonPath":".spec.vcIp"}"#,
    printcolumn = r#"{"name":"Config","type":"string","jsonPath":".status.config"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    doc = "VsphereCloudConfig is a vCenter, and the account with which drivers log in to it."
)]
#[serde(rename_all = "camelCase")]
pub struct VsphereCloudConfigSpec {
    /// Host name or IP address of the vCenter, without a scheme.
    pub vc_ip: String,
    /// Whether the vCenter's certificate is trusted whatever it is. Then `thumbprint` is not used.
    pub insecure: bool,
    /// Name of a Secret in the namespace kube-system with the keys `username` and `password`. The user name needs its domain, such
    /// as `csi@vsphere.local`.
    pub credentials: String,
    /// SHA-1 or SHA-256 fingerprint of the vCenter's certificate, in hexadecimal with colons. Default: the certificate is checked
    /// with the authorities that the drivers trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
    /// Names of the datacenters in which the machines of the cluster stand.
    pub datacenters: Vec<String>,
}

/// What is known of the vCenter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VsphereCloudConfigStatus {
    /// Whether the drivers can log in, and see the datacenters. Absent until it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Verification>,
    /// Why they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Whether the drivers can use a vCenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// They can.
    Verified,
    /// They cannot.
    Failed,
}
