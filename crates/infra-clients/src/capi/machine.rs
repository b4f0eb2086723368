//! Machine. Owns what the operators read of one.

use std::net::IpAddr;

use serde::Deserialize;

use super::object::{CORE_GROUP, Object, Spec};
use super::reference::Reference;

/// Label of the Machines of a control plane, with any value.
pub const CONTROL_PLANE_LABEL: &str = "cluster.x-k8s.io/control-plane";

/// One machine of a Cluster.
pub type Machine = Object<MachineSpec>;

/// The spec of a Machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineSpec {
    /// The Cluster it belongs to, in its own namespace.
    pub cluster_name: String,
    /// The object of the real machine.
    pub infrastructure_ref: Reference,
    /// The Kubernetes version.
    pub version: Option<String>,
    /// What identifies its Node. The provider of the real machine writes it.
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
}

/// The status of a Machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineStatus {
    /// `Pending`, `Provisioning`, `Provisioned`, `Running`, `Updating`, `Deleting`, `Deleted`, `Failed` or
    /// `Unknown`; for people.
    pub phase: String,
    /// All addresses, in the provider's order.
    pub addresses: Vec<Address>,
    /// The Node; see [`Machine::node_name`].
    node_ref: Reference,
}

/// An address of a Machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Address {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: AddressType,
    /// The IP address or name.
    #[serde(default)]
    pub address: String,
}

/// The type of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AddressType {
    /// The name of the host.
    #[serde(rename = "Hostname")]
    HostName,
    /// An external IP address.
    #[serde(rename = "ExternalIP")]
    ExternalIp,
    /// An internal IP address.
    #[serde(rename = "InternalIP")]
    InternalIp,
    /// An external DNS name.
    #[serde(rename = "ExternalDNS")]
    ExternalDns,
    /// An internal DNS name.
    #[serde(rename = "InternalDNS")]
    InternalDns,
    /// A type this module does not know.
    #[serde(other)]
    Other,
}

impl Spec for MachineSpec {
    type Status = MachineStatus;
    const KIND: &'static str = "Machine";
    const GROUP: &'static str = CORE_GROUP;
    const PLURAL: &'static str = "machines";
}

impl Machine {
    /// Returns whether it belongs to the control plane of its Cluster.
    #[must_use]
    pub fn is_control_plane(&self) -> bool {
        self.label(CONTROL_PLANE_LABEL).is_some()
    }

    /// Returns whether Cluster API's controllers skip this Machine; they also do so when its Cluster [is
    /// paused](super::Cluster::is_paused).
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused_by_annotation()
    }

    /// Returns its addresses of one type, in the order of the provider.
    pub fn addresses(&self, of: AddressType) -> impl Iterator<Item = &str> {
        self.status
            .addresses
            .iter()
            .filter(move |address| address.type_ == of)
            .map(|address| address.address.as_str())
    }

    /// Returns those of its addresses of one type that are IP addresses.
    pub fn ips(&self, of: AddressType) -> impl Iterator<Item = IpAddr> {
        self.addresses(of).filter_map(|address| address.parse().ok())
    }

    /// Returns its Node in the workload cluster, once it has joined.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        let node = &self.status.node_ref;
        node.is_set().then_some(node.name.as_str())
    }
}
