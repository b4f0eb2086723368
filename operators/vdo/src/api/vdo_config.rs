//! `VDOConfig`: which drivers the cluster gets, and with which vCenters.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which drivers the cluster gets, and with which vCenters.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1alpha1",
    kind = "VDOConfig",
    root = "VdoConfig",
    plural = "vdoconfigs",
    singular = "vdoconfig",
    namespaced,
    status = "VdoConfigStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"CPI","type":"string","jsonPath":".status.cpi.phase"}"#,
    printcolumn = r#"{"name":"CSI","type":"string","jsonPath":".status.csi.phase"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    doc = "VDOConfig says which vSphere drivers the cluster gets, and with which vCenters."
)]
#[serde(rename_all = "camelCase")]
pub struct VdoConfigSpec {
    /// The cloud provider (CPI), which gives Nodes their addresses and provider IDs. Default: none is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_provider: Option<CloudProvider>,
    /// The storage driver (CSI), which makes volumes.
    pub storage_provider: StorageProvider,
}

/// The cloud provider.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CloudProvider {
    /// Names of the VsphereCloudConfigs in this namespace: the vCenters in which the machines of the Nodes stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vsphere_cloud_configs: Vec<String>,
    /// The vCenter's tag categories that say in which zone and region a Node is. Default: Nodes get no such labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
}

/// Tag categories of zones and regions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Topology {
    /// Tag category of zones.
    pub zone: String,
    /// Tag category of regions.
    pub region: String,
}

/// The storage driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StorageProvider {
    /// Name of the VsphereCloudConfig in this namespace: the vCenter in which volumes are made.
    pub vsphere_cloud_config: String,
    /// Name of the Kubernetes distribution, which the vCenter shows beside volumes, such as `OpenShift`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_distribution: Option<String>,
    /// Volumes that several Nodes can use at the same time. Default: on every vSAN file service that the account sees, for every
    /// address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_volumes: Option<FileVolumes>,
    /// Directory of the kubelet on every Node. Default: `/var/lib/kubelet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_kubelet_path: Option<String>,
}

/// Volumes that several Nodes can use at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileVolumes {
    /// URLs of the vSAN datastores with file services, such as `ds:///vmfs/volumes/vsan:1/`. Only CSI before 3.2.0 knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vsan_data_store_url: Vec<String>,
    /// Who may use the volumes. Default: every address, for reading and writing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub net_permissions: Vec<NetPermission>,
}

/// What clients of an address range may do with file volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetPermission {
    /// An IP address, range or subnet, such as `10.20.30.0/24`, or `*`.
    pub ips: String,
    /// `READ_WRITE`, `READ_ONLY` or `NO_ACCESS`. Default: `READ_WRITE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
    /// Whether root of a client has no rights of root on the volume. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_squash: Option<bool>,
}

/// How far the drivers are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VdoConfigStatus {
    /// The cloud provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpi: Option<CpiStatus>,
    /// The storage driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<CsiStatus>,
    /// Ready, and for each driver that is managed: CPIAvailable, CSIAvailable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How far the cloud provider is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpiStatus {
    /// What happens with the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The phase in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<String>,
    /// `pending`, `ready` or `failed`, by name of the Node. The key ends with a blank, as that of the original.
    #[serde(default, rename = "nodeStatus ", skip_serializing_if = "BTreeMap::is_empty")]
    pub node_status: BTreeMap<String, String>,
}

/// How far the storage driver is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsiStatus {
    /// What happens with the driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The phase in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<String>,
}

/// What happens with a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// Its objects are being applied.
    Deploying,
    /// Its objects are applied, and its Pods run.
    Deployed,
    /// Its Nodes are being set up.
    Configuring,
    /// It does its work.
    Configured,
    /// A person has to act.
    Failed,
}
