//! `spec.vcenter` and `spec.portGroups`: networks of the virtual services that the operator makes in a vCenter.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adc::SecretRef;

/// The vCenter of the AVI cloud.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Vcenter {
    /// Address: `name[:port]`. Default of the port: 443.
    pub server: String,
    /// Secret with `username` and `password` of an account that may create, modify and delete distributed port groups.
    pub credential_ref: SecretRef,
    /// Secret with `certificateAuthorityData`: PEM certificates that the vCenter's certificate is checked with. Default: the system's
    /// authorities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_ref: Option<SecretRef>,
}

/// A distributed port group. AVI finds it in its vCenter by itself, and has a network of its name then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortGroup {
    /// Its name. `dataNetwork` or `controlPlaneNetwork` with this name use it.
    #[schemars(length(min = 1, max = 80))]
    pub name: String,
    /// The distributed switch: its name, or its inventory path, such as `DC0/network/DVS0`.
    #[schemars(length(min = 1))]
    pub switch: String,
    /// Its VLAN, 0 to 4094. Default: 0, untagged traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4094))]
    pub vlan: Option<i32>,
    /// Ranges of VLANs whose traffic it carries with their tags, in place of `vlan`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunk: Vec<VlanRange>,
    /// Number of its ports, 1 to 8192. With the binding `ephemeral` it has as many as are used. Default: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 8192))]
    pub ports: Option<i32>,
    /// Whether it gets more ports when all are taken. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_expand: Option<bool>,
    /// How an adapter gets its port. Default: `earlyBinding`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<PortBinding>,
    /// Description, up to 160 characters. The operator adds its mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160))]
    pub description: Option<String>,
}

/// A range of VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct VlanRange {
    /// First VLAN, 0 to 4094.
    #[schemars(range(min = 0, max = 4094))]
    pub start: i32,
    /// Last VLAN, 0 to 4094.
    #[schemars(range(min = 0, max = 4094))]
    pub end: i32,
}

/// How an adapter gets a port of a port group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PortBinding {
    /// It has one from when it is attached.
    #[default]
    EarlyBinding,
    /// A port exists while the adapter is connected.
    Ephemeral,
}

/// A port group that the operator has made, or is about to make.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddedPortGroup {
    /// Its name.
    pub name: String,
    /// Which vCenter has it: `about.instanceUuid`.
    pub vcenter: String,
    /// Reference of its switch in the vCenter.
    pub switch: String,
    /// Its reference in the vCenter, such as `DistributedVirtualPortgroup:dvportgroup-81`. Absent until it is seen there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// When the operator decided to make it, in seconds since 1970.
    pub since: i64,
}
