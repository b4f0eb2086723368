//! What a pass over the endpoint of a Cluster sees.

use std::net::IpAddr;
use std::sync::Arc;

use infra_clients::capi::{AddressType, IpFamily, Machine};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::Settings;
use crate::conditions::Said;

/// Condition of a Machine that its Node is ready.
pub(super) const READY: &str = "Ready";

/// What a pass sees.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What the operator's flags say.
    pub settings: Settings,
    /// Whether an AKODeploymentConfig selects the Cluster.
    pub has_adc: bool,
    /// Why it is not known which one does.
    pub unclear: Option<String>,
    /// The AviInfraSetting of that AKODeploymentConfig.
    pub infra: Infra,
    /// The subnet of the control planes, where the AKODeploymentConfig has one beside that of the data network.
    pub subnet: Option<IpNet>,
    /// The address families of the Cluster, or why AVI cannot balance its control plane.
    pub family: Result<IpFamily, String>,
    /// The Service.
    pub service: Option<Arc<Service>>,
    /// The EndpointSlice.
    pub slice: Option<Arc<EndpointSlice>>,
    /// Whether Kubernetes mirrors Endpoints of the original operator into a second EndpointSlice.
    pub is_mirrored: bool,
    /// Addresses of the host of the endpoint, or why there are none; only where they are needed.
    pub resolved: Option<Result<Vec<IpAddr>, String>>,
    /// The Machines of the control plane, by name.
    pub members: Vec<Member>,
    /// The condition of the Cluster that this controller owns.
    pub said: Option<Said>,
}

/// The AviInfraSetting that a new Service is to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Infra {
    /// None: the AKODeploymentConfig asks for none, or the Service has its address already.
    Unneeded,
    /// This one.
    There(String),
    /// This one, which AKO of the management cluster has not accepted: the address would be of the wrong subnet.
    Unaccepted {
        /// Its name.
        name: String,
        /// Why AKO refuses it.
        refused: Option<String>,
    },
    /// It does not exist.
    Missing {
        /// Its name.
        name: String,
        /// Whether the address would be of the wrong subnet without it.
        is_apart: bool,
        /// Whether its kind is served.
        is_installed: bool,
    },
}

/// A Machine of the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Whether it is ready.
    pub is_ready: bool,
}

impl Member {
    /// Returns a Machine as one of the control plane, if it gets traffic in this address family: at its first external address, or the
    /// first internal one if it has no external one.
    #[must_use]
    pub fn of(machine: &Machine, is_v4: bool) -> Option<Self> {
        let first = |of| machine.ips(of).find(|address| address.is_ipv4() == is_v4);
        if !machine.is_control_plane() || machine.is_deleting() {
            return None;
        }
        Some(Self {
            name: machine.name().to_owned(),
            address: first(AddressType::ExternalIp).or_else(|| first(AddressType::InternalIp))?,
            is_ready: machine.conditions.is_true(READY),
        })
    }
}

#[cfg(test)]
mod tests {
    use infra_clients::capi::CONTROL_PLANE_LABEL;
    use serde_json::{Value, json};

    use super::*;

    fn machine(labels: &Value, addresses: &[(&str, &str)], is_deleting: bool) -> Machine {
        let address = |(type_, address): &(&str, &str)| json!({ "type": type_, "address": address });
        let addresses: Vec<_> = addresses.iter().map(address).collect();
        serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "metadata": { "name": "m", "namespace": "n", "labels": labels,
                "deletionTimestamp": is_deleting.then_some("2026-01-01T00:00:00Z") },
            "spec": { "clusterName": "c" }, "status": { "addresses": addresses },
        }))
        .unwrap()
    }

    /// The cases of the original's `Test_CreateOrUpdateHAEndpoints` that concern one Machine.
    #[test]
    fn a_machine_of_the_control_plane_is_reached_at_an_address_of_the_family() {
        let (control_plane, worker) = (json!({ CONTROL_PLANE_LABEL: "" }), json!({}));
        let (external, internal) = ("ExternalIP", "InternalIP");
        let v6 = "fd01:3:4:2877:250:56ff:feb4:adaf";
        for (labels, addresses, is_deleting, is_v4, wanted) in [
            (&worker, vec![(external, "1.1.1.1")], false, true, None),
            (&control_plane, vec![(external, "1.1.1.1")], false, true, Some("1.1.1.1")),
            (&control_plane, vec![(external, "1.1.1.1")], true, true, None),
            (&control_plane, vec![], false, true, None),
            (&control_plane, vec![(external, "test123")], false, true, None),
            (
                &control_plane,
                vec![(internal, "1.1.1.3"), (external, "1.1.1.2"), (external, "test123")],
                false,
                true,
                Some("1.1.1.2"),
            ),
            (
                &control_plane,
                vec![(internal, "1.1.1.3"), (external, "test123")],
                false,
                true,
                Some("1.1.1.3"),
            ),
            (&control_plane, vec![(external, v6)], false, true, None),
            (&control_plane, vec![(external, "1.1.1.1"), (external, v6)], false, false, Some(v6)),
            (&control_plane, vec![(external, v6), (internal, "1.1.1.1")], false, true, Some("1.1.1.1")),
        ] {
            let member = Member::of(&machine(labels, &addresses, is_deleting), is_v4);
            let address = member.map(|member| member.address.to_string());
            assert_eq!(address.as_deref(), wanted, "{labels} {addresses:?} {is_deleting} {is_v4}");
        }
    }
}
