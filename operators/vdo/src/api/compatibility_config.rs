//! `CompatibilityConfig`: where the compatibility matrix is.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the compatibility matrix is.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1alpha1",
    kind = "CompatibilityConfig",
    plural = "compatibilityconfigs",
    singular = "compatibilityconfig",
    namespaced,
    status = "CompatibilityConfigStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    doc = "CompatibilityConfig says where the compatibility matrix is: which version of a driver works with which vSphere and Kubernetes."
)]
#[serde(rename_all = "camelCase")]
pub struct CompatibilityConfigSpec {
    /// URL of the matrix, in JSON.
    #[serde(default, rename = "matrixURL", skip_serializing_if = "Option::is_none")]
    pub matrix_url: Option<String>,
}

/// Whether the matrix can be used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompatibilityConfigStatus {
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
