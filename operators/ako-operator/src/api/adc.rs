//! `AKODeploymentConfig`: how AKO is installed in the Clusters that it selects.

use infra_clients::capi::IpFamily;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::CustomResource;
use operator_kit::Key;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use super::extra::ExtraConfigs;
use super::place::Place;
use super::port_groups::{AddedPortGroup, PortGroup, Vcenter};

/// The settings that the AKOs of a set of Clusters share.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.tkg.tanzu.vmware.com",
    version = "v1alpha1",
    kind = "AKODeploymentConfig",
    root = "AkoDeploymentConfig",
    plural = "akodeploymentconfigs",
    singular = "akodeploymentconfig",
    shortname = "adc",
    status = "AkoDeploymentConfigStatus",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"Controller","type":"string","jsonPath":".spec.controller"}"#,
    printcolumn = r#"{"name":"Version","type":"string","jsonPath":".status.controllerVersion"}"#,
    printcolumn = r#"{"name":"Clusters","type":"integer","jsonPath":".status.selectedClusters"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    doc = "AKODeploymentConfig installs AKO in the Cluster API clusters that it selects, and sets AVI up for them."
)]
#[serde(rename_all = "camelCase")]
pub struct AkoDeploymentConfigSpec {
    /// Labels of the Clusters that get AKO. Empty only in the AKODeploymentConfig `install-ako-for-all`, which selects the Clusters
    /// that no other one selects. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-map-type" = "atomic"))]
    pub cluster_selector: Option<LabelSelector>,
    /// Address of the AVI controller: `[scheme://]address[:port]`. The scheme is `https` unless it is given.
    pub controller: String,
    /// Version of the AVI controller, such as `30.2.1`. Default: as the controller says.
    #[serde(default, deserialize_with = "unless_empty", skip_serializing_if = "Option::is_none")]
    pub controller_version: Option<String>,
    /// Name of the AVI cloud.
    pub cloud_name: String,
    /// Name of the AVI service engine group.
    pub service_engine_group: String,
    /// The network of the control planes' virtual services. Default: the data network. Immutable.
    #[serde(default, deserialize_with = "unless_empty", skip_serializing_if = "Option::is_none")]
    pub control_plane_network: Option<ControlPlaneNetwork>,
    /// The network of the virtual services.
    pub data_network: DataNetwork,
    /// The AVI tenant. Default: `admin`. Immutable.
    #[serde(default, deserialize_with = "unless_empty", skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
    /// Secret with `username` and `password` of a user of the tenant `admin`, with which the operator sets AVI up.
    pub admin_credential_ref: SecretRef,
    /// Secret with `certificateAuthorityData`: PEM certificates that the controller's certificate is checked with.
    pub certificate_authority_ref: SecretRef,
    /// Secret with `username` and `password` for AKO. Default: a user for each Cluster is made.
    #[serde(default, deserialize_with = "unless_empty", skip_serializing_if = "Option::is_none")]
    pub workload_credential_ref: Option<SecretRef>,
    /// Further settings of AKO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_configs: Option<ExtraConfigs>,
    /// The vCenter of the AVI cloud, for `portGroups`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcenter: Option<Vcenter>,
    /// Distributed port groups that the operator makes in the vCenter, and removes again. One that exists already is not listed here:
    /// `dataNetwork` names it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_groups: Vec<PortGroup>,
}

/// A value that a client in Go writes although it is not set.
trait MayBeEmpty {
    fn is_empty(&self) -> bool;
}

impl MayBeEmpty for String {
    fn is_empty(&self) -> bool {
        self.as_str().is_empty()
    }
}

impl MayBeEmpty for ControlPlaneNetwork {
    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.cidr.is_empty()
    }
}

impl MayBeEmpty for Tenant {
    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.context.is_none() && self.scope.is_none()
    }
}

impl MayBeEmpty for SecretRef {
    fn is_empty(&self) -> bool {
        self.name.is_empty() && self.namespace.is_empty()
    }
}

/// Reads an empty value as one that is not set.
fn unless_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + MayBeEmpty>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|value: &T| !value.is_empty()))
}

impl AkoDeploymentConfigSpec {
    /// Returns the address family that AKO is to use.
    #[must_use]
    pub fn ip_family(&self) -> IpFamily {
        match self.extra_configs.as_ref().and_then(|extra| extra.ip_family) {
            None | Some(IpType::V4) => IpFamily::V4,
            Some(IpType::V6) => IpFamily::V6,
        }
    }

    /// Returns where the service engines are of the tenants that the operator makes.
    #[must_use]
    pub fn tenant_context(&self) -> TenantContext {
        self.tenant.as_ref().and_then(|tenant| tenant.context).unwrap_or_default()
    }

    /// Returns the names of the networks: that of the virtual services, then that of the control planes, if they have one.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        let control_plane = self.control_plane_network.as_ref().map(|network| network.name.as_str());
        [self.data_network.name.as_str()].into_iter().chain(control_plane)
    }

    /// Returns whether AKO is a primary one, which also keeps what all AKOs of a cluster share.
    #[must_use]
    pub fn is_primary(&self) -> bool {
        self.extra_configs.as_ref().and_then(|extra| extra.primary_instance).unwrap_or(true)
    }

    /// Returns whether AKO has a gateway.
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        let gates = self.extra_configs.as_ref().and_then(|extra| extra.feature_gates.as_ref());
        gates.and_then(|gates| gates.gateway_api) == Some(true)
    }

    /// Returns the Secrets that are named.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretRef> {
        let own = [
            Some(&self.admin_credential_ref),
            Some(&self.certificate_authority_ref),
            self.workload_credential_ref.as_ref(),
        ];
        let of_vcenter = self
            .vcenter
            .iter()
            .flat_map(|vcenter| [Some(&vcenter.credential_ref), vcenter.certificate_authority_ref.as_ref()]);
        own.into_iter().chain(of_vcenter).flatten()
    }

    /// Returns whether the selector is absent or has no requirement.
    #[must_use]
    pub fn has_empty_selector(&self) -> bool {
        self.cluster_selector.as_ref().is_none_or(|selector| {
            selector.match_labels.as_ref().is_none_or(std::collections::BTreeMap::is_empty)
                && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
        })
    }
}

/// The name of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
    /// Namespace of the Secret.
    pub namespace: String,
}

impl SecretRef {
    /// Returns the key of the Secret.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::new(&self.namespace, &self.name)
    }
}

/// The network of the control planes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ControlPlaneNetwork {
    /// Name of the AVI network.
    pub name: String,
    /// Its subnet, such as `10.0.0.0/24`.
    pub cidr: String,
}

/// The network of the virtual services.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataNetwork {
    /// Name of the AVI network.
    pub name: String,
    /// Its subnet, such as `10.0.0.0/24`.
    pub cidr: String,
    /// Ranges of addresses in the subnet that AVI hands out. Default: those that the subnet has on AVI.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ip_pools: Vec<IpPool>,
}

/// A range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct IpPool {
    /// First address.
    pub start: String,
    /// Last address.
    pub end: String,
    /// Family of both.
    #[serde(rename = "type")]
    pub kind: IpType,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum IpType {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// An AVI tenant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// Where the tenant's service engines are. Default: `Provider`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<TenantContext>,
    /// Which Clusters share a tenant. Default: `Shared`. With another value the operator makes the tenants, and removes them when they are
    /// empty; `name` is the beginning of their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<TenantScope>,
}

/// Which Clusters share a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TenantScope {
    /// All of the AKODeploymentConfig: the tenant `<name>`, which has to exist.
    #[default]
    Shared,
    /// Those of a namespace: the tenant `<name>-<namespace>`.
    Namespace,
    /// None: the tenant `<name>-<namespace>-<cluster>`.
    Cluster,
}

/// Where the service engines of a tenant are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TenantContext {
    /// In the tenant `admin`, for all tenants.
    #[default]
    Provider,
    /// In the tenant itself.
    Tenant,
}

/// What the operator found.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AkoDeploymentConfigStatus {
    /// The spec's generation that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of Clusters that take AKO from this AKODeploymentConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected_clusters: Option<i32>,
    /// Version of the AVI controller, as it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_version: Option<String>,
    /// Clusters that AKO was delivered to from this AKODeploymentConfig, or is about to be, as `namespace/name`. Written before the delivery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delivered_to: Vec<String>,
    /// Those of `deliveredTo` that were seen being deleted, and not paused. If one of them goes without having been let go, as where a person
    /// has removed its finalizer, the operator looks what it has left on AVI.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<String>,
    /// Where on AVI the operator and these Clusters' AKOs work. Written before the first change there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// What the operator added to the configuration of AVI, written before it is added. Only this is removed again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Added>,
    /// Port groups that the operator made in the vCenter, written before they are made. Only these are changed and removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub port_groups: Vec<AddedPortGroup>,
    /// Ready says whether the AKODeploymentConfig can be used as it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
}

impl AkoDeploymentConfigStatus {
    /// Returns the keys of the Clusters that AKO was delivered to, or is about to be.
    pub fn clusters(&self) -> impl Iterator<Item = Key> {
        self.delivered_to.iter().filter_map(|key| key.parse().ok())
    }
}

/// What the operator added to the configuration of AVI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Added {
    /// Subnets of networks.
    // Empty lists are written: a merge patch leaves what it does not have.
    #[serde(default)]
    pub subnets: Vec<AddedSubnet>,
    /// Static ranges of subnets.
    #[serde(default)]
    pub ranges: Vec<AddedRange>,
    /// Usable networks of IPAM profiles.
    #[serde(default)]
    pub usable_networks: Vec<AddedUsableNetwork>,
    /// Tenants, by name.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Roles of the tenant `admin`, by name.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A subnet of a network on AVI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct AddedSubnet {
    /// UUID of the network on AVI.
    pub network: String,
    /// The subnet, such as `10.0.0.0/24`.
    pub cidr: String,
}

/// A static range of a subnet on AVI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct AddedRange {
    /// UUID of the network on AVI.
    pub network: String,
    /// The subnet, such as `10.0.0.0/24`.
    pub cidr: String,
    /// First address.
    pub start: String,
    /// Last address.
    pub end: String,
}

/// A usable network of an IPAM profile on AVI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct AddedUsableNetwork {
    /// UUID of the IPAM profile on AVI.
    pub profile: String,
    /// UUID of the network on AVI.
    pub network: String,
}

/// Conditions of Cluster API's type were valid in the original, with a severity, without reason and message; each type once.
fn conditions_schema(_: &mut SchemaGenerator) -> Schema {
    let text = |about: &str| serde_json::json!({ "type": "string", "description": about });
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "status", "type"],
            "properties": {
                "type": text("Type of the condition, such as Ready."),
                "status": text("True, False or Unknown."),
                "reason": text("Why, as a CamelCase word."),
                "message": text("Why, for people."),
                "severity": text("Not written; accepted from conditions of Cluster API's type."),
                "observedGeneration": {
                    "type": "integer", "format": "int64",
                    "description": "The spec's generation that the condition answers.",
                },
                "lastTransitionTime": {
                    "type": "string", "format": "date-time",
                    "description": "When the status of the condition changed last.",
                },
            },
        },
    })
}

#[cfg(test)]
mod tests;
