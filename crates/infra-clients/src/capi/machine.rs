//! Machine. Owns what the operators read of one, and the hooks that hold its deletion up.

use std::net::IpAddr;

use kube::api::Patch;
use serde::Deserialize;
use serde_json::Value;

use super::object::{CORE_GROUP, Object, Spec};
use super::patch;
use super::reference::Reference;

/// On the Machines of a control plane; with any value.
pub const CONTROL_PLANE_LABEL: &str = "cluster.x-k8s.io/control-plane";
/// Every annotation `<this>/<hook>` holds a deleted Machine's infrastructure up until it is removed.
pub const PRE_TERMINATE_HOOK_PREFIX: &str = "pre-terminate.delete.hook.machine.cluster.x-k8s.io";

/// One machine of a Cluster.
pub type Machine = Object<MachineSpec>;

/// What a Machine is to be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineSpec {
    /// The Cluster it belongs to, in its own namespace.
    pub cluster_name: String,
    /// The object that stands for the real machine.
    pub infrastructure_ref: Reference,
    /// The Kubernetes version.
    pub version: Option<String>,
    /// How its Node is recognised. The real machine's provider writes it.
    #[serde(rename = "providerID")]
    pub provider_id: Option<String>,
}

/// What a Machine is.
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
    /// What it is.
    #[serde(rename = "type")]
    pub type_: AddressType,
    /// The IP address or name.
    #[serde(default)]
    pub address: String,
}

/// What an address is, and who can use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AddressType {
    /// The host's own name.
    #[serde(rename = "Hostname")]
    HostName,
    /// An IP address from outside the cluster's network.
    #[serde(rename = "ExternalIP")]
    ExternalIp,
    /// An IP address within it.
    #[serde(rename = "InternalIP")]
    InternalIp,
    /// A name that resolves outside.
    #[serde(rename = "ExternalDNS")]
    ExternalDns,
    /// A name that resolves within.
    #[serde(rename = "InternalDNS")]
    InternalDns,
    /// One this module does not know.
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
    /// Whether it is one of its Cluster's control plane.
    #[must_use]
    pub fn is_control_plane(&self) -> bool {
        self.label(CONTROL_PLANE_LABEL).is_some()
    }

    /// Whether Cluster API's controllers leave this Machine alone; they do as well when its Cluster
    /// [is paused](super::Cluster::is_paused).
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused_by_annotation()
    }

    /// Its addresses of one type, in the provider's order.
    pub fn addresses(&self, of: AddressType) -> impl Iterator<Item = &str> {
        self.status
            .addresses
            .iter()
            .filter(move |address| address.type_ == of)
            .map(|address| address.address.as_str())
    }

    /// Those of its addresses of one type that are IP addresses.
    pub fn ips(&self, of: AddressType) -> impl Iterator<Item = IpAddr> {
        self.addresses(of).filter_map(|address| address.parse().ok())
    }

    /// Its Node in the workload cluster, once it has joined.
    #[must_use]
    pub fn node_name(&self) -> Option<&str> {
        let node = &self.status.node_ref;
        node.is_set().then_some(node.name.as_str())
    }

    /// Who put up the pre-terminate hook of that name.
    #[must_use]
    pub fn pre_terminate_hook(&self, hook: &str) -> Option<&str> {
        self.annotation(&hook_annotation(hook))
    }

    /// Puts up a pre-terminate hook: once deleted, the Machine loses its Node's pods but keeps running until the
    /// hook is removed. `owner` tells people who will do that. `None`: it is up already.
    #[must_use]
    pub fn add_pre_terminate_hook(&self, hook: &str, owner: &str) -> Option<Patch<Value>> {
        patch::set_annotation(self, &hook_annotation(hook), owner)
    }

    /// Removes a pre-terminate hook, and no other. `None`: it is not there.
    #[must_use]
    pub fn remove_pre_terminate_hook(&self, hook: &str) -> Option<Patch<Value>> {
        patch::remove_annotation(self, &hook_annotation(hook))
    }

    /// Whether its deletion has come as far as the pre-terminate hooks, and waits for them, ours or others'.
    #[must_use]
    pub fn waits_for_pre_terminate_hooks(&self) -> bool {
        let conditions = &self.conditions;
        let reason_is =
            |name, reason| conditions.get(name).is_some_and(|condition| condition.reason == reason);
        self.is_deleting()
            && (reason_is("Deleting", "WaitingForPreTerminateHook")
                || reason_is("PreTerminateDeleteHookSucceeded", "WaitingExternalHook"))
    }
}

fn hook_annotation(hook: &str) -> String {
    format!("{PRE_TERMINATE_HOOK_PREFIX}/{hook}")
}
