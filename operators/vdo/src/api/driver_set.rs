//! `DriverSet`: the drivers of the cluster, with everything that a `VDOConfig` cannot say.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ResourceRequirements, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FileVolumes, Topology};
use crate::preflight::Check;

/// The drivers of the cluster.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "vdo.vmware.com",
    version = "v1beta1",
    kind = "DriverSet",
    plural = "driversets",
    singular = "driverset",
    namespaced,
    status = "DriverSetStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"CNI","type":"string","jsonPath":".status.cni.version"}"#,
    printcolumn = r#"{"name":"CPI","type":"string","jsonPath":".status.cpi.version"}"#,
    printcolumn = r#"{"name":"CSI","type":"string","jsonPath":".status.csi.version"}"#,
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    doc = "DriverSet says which network, cloud provider and storage driver the cluster runs, and how they are upgraded and removed."
)]
#[serde(rename_all = "camelCase")]
pub struct DriverSetSpec {
    /// Name of a CompatibilityMatrix in this namespace. Default: the one that is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matrix: Option<String>,
    /// When versions may change. Default: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_window: Option<MaintenanceWindow>,
    /// What happens with the drivers when this object is deleted. Default: `Uninstall`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Preflight checks that are switched off. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip_checks: Vec<Check>,
    /// The network: Antrea. Default: it is not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<DriverSpec>,
    /// The cloud provider. Default: it is not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpi: Option<CpiSpec>,
    /// The kinds of snapshots and their controller, which the csi-snapshotter of CSI needs. Default: they are not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_controller: Option<DriverSpec>,
    /// The storage driver. Default: it is not managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<CsiSpec>,
}

/// When versions may change: every week on these days, from a time on, in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// Days on which it begins. Default: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// Time at which it begins, in UTC, such as `02:00`.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// How long it lasts, in minutes: 30 to 1440.
    #[schemars(range(min = 30, max = 1440))]
    pub minutes: u32,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// What happens with the drivers when their object is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DeletionPolicy {
    /// They are removed, unless volumes or Pods use them.
    #[default]
    Uninstall,
    /// They stay, and the operator lets go of them.
    Orphan,
}

/// Whether the operator manages a driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ManagementState {
    /// It is installed, kept as it should be, and upgraded.
    #[default]
    Managed,
    /// It is left alone, whether it is there or not.
    Unmanaged,
    /// It is removed.
    Removed,
}

/// Which versions of a driver are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum VersionPolicy {
    /// The one of `version`, older or newer than the present one.
    Pinned,
    /// Patches of the present one.
    Patch,
    /// The highest that fits.
    #[default]
    Latest,
    /// The highest of those that the matrix marks as maintained for long.
    #[serde(rename = "LTS")]
    Lts,
}

fn version_rules() -> Value {
    json!([
        {
            "rule": "!has(self.versionPolicy) || self.versionPolicy != 'Pinned' || (has(self.version) && self.version.size() > 0)",
            "message": "versionPolicy is Pinned: write the version",
        },
        {
            "rule": "!has(self.version) || (has(self.versionPolicy) && self.versionPolicy == 'Pinned')",
            "message": "a version is pinned by versionPolicy Pinned: set it, or remove the version",
        },
    ])
}

/// What is said of every driver.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = version_rules()))]
pub struct DriverSpec {
    /// Whether the driver is managed. Default: `Managed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub management_state: Option<ManagementState>,
    /// Whether a driver that another tool installed is taken over. Default: false; it is reported, and left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt: Option<bool>,
    /// Which version is chosen. Default: `Latest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_policy: Option<VersionPolicy>,
    /// The version, such as `3.7.3`; with `versionPolicy` `Pinned` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// From where its images are pulled. Default: from where its project publishes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_overrides: Option<ImageOverrides>,
    /// What its containers request, by name of the container. Default: as its project says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resources: BTreeMap<String, ResourceRequirements>,
    /// Further tolerations of its Pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
}

/// From where images are pulled. An override changes the registry or pins the digest: never the version of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageOverrides {
    /// Registry, or registry and path, to the one that has a copy: `registry.k8s.io` to `mirror.example.com/k8s`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub registries: BTreeMap<String, String>,
    /// Digests by image and tag: `registry.k8s.io/csi-vsphere/driver:v3.7.3` to `sha256:…`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
}

/// The cloud provider.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CpiSpec {
    /// What is said of every driver.
    #[serde(flatten)]
    pub driver: DriverSpec,
    /// Names of VSphereConnections in this namespace: the vCenters in which the machines of the Nodes stand.
    pub connections: Vec<String>,
    /// The vCenter's tag categories of zones and regions. Default: Nodes get no such labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<Topology>,
    /// Which addresses of a machine become those of its Node. Default: the first ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeAddresses>,
    /// Whether Nodes whose machine is not seen are kept. Default: false; the cloud provider deletes them once they are not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_nodes: Option<bool>,
}

/// Which addresses of a machine become those of its Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeAddresses {
    /// Subnet of internal addresses, such as `10.0.0.0/16`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub internal_network_subnet_cidr: String,
    /// Subnet of external addresses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub external_network_subnet_cidr: String,
    /// Network of the vCenter with the internal address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub internal_vm_network_name: String,
    /// Network of the vCenter with the external address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub external_vm_network_name: String,
    /// Subnet whose addresses are never internal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exclude_internal_network_subnet_cidr: String,
    /// Subnet whose addresses are never external.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub exclude_external_network_subnet_cidr: String,
}

/// The storage driver.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsiSpec {
    /// What is said of every driver.
    #[serde(flatten)]
    pub driver: DriverSpec,
    /// Names of VSphereConnections in this namespace: the vCenters in which volumes are made. One to five.
    #[schemars(length(max = 5))]
    pub connections: Vec<String>,
    /// The vCenter's tag categories by which volumes find their Nodes. Required with several vCenters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub topology_categories: Vec<TopologyCategory>,
    /// Name of the Kubernetes distribution, which the vCenter shows beside volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_distribution: Option<String>,
    /// Directory of the kubelet on every Node. Default: `/var/lib/kubelet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_path: Option<String>,
    /// Volumes that several Nodes can use at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_volumes: Option<FileVolumes>,
    /// References of the vSAN clusters with file services, such as `domain-c8`. Default: all that the accounts see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_service_clusters: Vec<String>,
    /// Further keys of the section `Global`, such as `query-limit`: numbers. One that the version does not know is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub global: BTreeMap<String, u32>,
    /// Keys of the section `Snapshot`, such as `global-max-snapshots-per-block-volume`: numbers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub snapshot: BTreeMap<String, u32>,
    /// Features that are switched on or off. One that the version does not know is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, bool>,
}

/// A tag category.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologyCategory {
    /// Its name in the vCenter.
    pub name: String,
    /// Label of the Nodes that it becomes. Default: `topology.csi.vmware.com/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// How far the drivers are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverSetStatus {
    /// The network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<DriverStatus>,
    /// The cloud provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpi: Option<DriverStatus>,
    /// The kinds of snapshots and their controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_controller: Option<DriverStatus>,
    /// The storage driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub csi: Option<DriverStatus>,
    /// The spec's generation that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, and for each driver that is managed: CNIAvailable, CPIAvailable, SnapshotControllerAvailable, CSIAvailable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// How far a driver is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverStatus {
    /// The version that was applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Hash of the objects that were applied last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Why this version was chosen, and not a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// Nodes that it serves, of all: such as `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// The first 20 Nodes that it does not serve, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
}
