//! `CompatibilityMatrix`: which version of a driver works with which vSphere and Kubernetes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where a matrix is.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1beta1",
    kind = "CompatibilityMatrix",
    plural = "compatibilitymatrices",
    singular = "compatibilitymatrix",
    namespaced,
    status = "CompatibilityMatrixStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    doc = "CompatibilityMatrix says which version of a driver works with which vSphere and Kubernetes."
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = source_rules()))]
pub struct CompatibilityMatrixSpec {
    /// The matrix itself, in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<String>,
    /// A key of a ConfigMap in this namespace with the matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// A file with the matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Download>,
    /// An artifact of a registry that is one file, the matrix, such as `registry.example.com/vdo/matrix:v1`; with a digest it is read
    /// once only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oci: Option<String>,
}

fn source_rules() -> Value {
    json!([{
        "rule": "(has(self.inline) ? 1 : 0) + (has(self.configMap) ? 1 : 0) + (has(self.url) ? 1 : 0) + (has(self.oci) ? 1 : 0) == 1",
        "message": "the matrix is in one place: set one of inline, configMap, url and oci",
    }])
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    pub name: String,
    /// The key.
    pub key: String,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Download {
    /// Where it is, with https or http.
    #[schemars(regex(pattern = "^https?://.+$"))]
    pub url: String,
    /// SHA-256 of the file, in hexadecimal.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// Whether the matrix can be used.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompatibilityMatrixStatus {
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
