//! Cluster. Owns what the operators read of one and the patches they make; topology variables are in
//! [`topology`](super::topology), address families in [`network`](super::network).

use ipnet::IpNet;
use kube::api::Patch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::Error;
use super::network::{IpFamily, parse_cidrs};
use super::object::{CORE_GROUP, Object, Spec};
use super::patch;
use super::reference::Reference;
use super::topology::Topology;

/// A cluster that Cluster API makes and keeps.
pub type Cluster = Object<ClusterSpec>;

/// What a Cluster is to be.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterSpec {
    /// See [`Cluster::is_paused`].
    paused: bool,
    /// See [`Cluster::pod_cidrs`] and its neighbours.
    cluster_network: Network,
    /// See [`Cluster::control_plane_endpoint`].
    control_plane_endpoint: Endpoint,
    /// The object that stands for the control plane, such as a KubeadmControlPlane.
    pub control_plane_ref: Option<Reference>,
    /// The object that stands for the infrastructure.
    pub infrastructure_ref: Option<Reference>,
    /// Set where the Cluster is made from a ClusterClass.
    pub topology: Option<Topology>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Network {
    api_server_port: Option<u16>,
    pods: Ranges,
    services: Ranges,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ranges {
    cidr_blocks: Vec<String>,
}

/// Where an API server is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// TCP port; 0 is not set.
    pub port: u16,
}

/// What a Cluster is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterStatus {
    /// `Pending`, `Provisioning`, `Provisioned`, `Deleting`, `Failed` or `Unknown`; for people.
    pub phase: String,
    initialization: Initialization,
    /// v1beta1's.
    infrastructure_ready: bool,
    /// v1beta1's.
    control_plane_ready: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Initialization {
    infrastructure_provisioned: bool,
    control_plane_initialized: bool,
}

impl Spec for ClusterSpec {
    type Status = ClusterStatus;
    const KIND: &'static str = "Cluster";
    const GROUP: &'static str = CORE_GROUP;
    const PLURAL: &'static str = "clusters";
}

impl Cluster {
    /// Whether Cluster API's controllers leave it and all that belongs to it alone, and so should others.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.spec.paused || self.is_paused_by_annotation()
    }

    /// Where its API server is reached, once that is known.
    #[must_use]
    pub fn control_plane_endpoint(&self) -> Option<&Endpoint> {
        let endpoint = &self.spec.control_plane_endpoint;
        (!endpoint.host.is_empty()).then_some(endpoint)
    }

    /// Says where its API server is reached. `None`: it says so already.
    #[must_use]
    pub fn set_control_plane_endpoint(&self, endpoint: &Endpoint) -> Option<Patch<Value>> {
        if self.spec.control_plane_endpoint == *endpoint {
            return None;
        }
        let body = json!({"spec": {"controlPlaneEndpoint": {"host": endpoint.host, "port": endpoint.port}}});
        Some(patch::of_this_version(&self.metadata, body))
    }

    /// The TCP port its API servers listen at, where it is not the provider's default.
    #[must_use]
    pub fn api_server_port(&self) -> Option<u16> {
        // v1beta2 writes none as absent, but 0 is not a port in any.
        self.spec.cluster_network.api_server_port.filter(|port| *port != 0)
    }

    /// The pods' address ranges, the primary family's first.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`](super::Kind::InvalidSpec): not CIDRs.
    pub fn pod_cidrs(&self) -> Result<Vec<IpNet>, Error> {
        parse_cidrs("pods", &self.spec.cluster_network.pods.cidr_blocks)
    }

    /// The Services' address ranges, the primary family's first.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`](super::Kind::InvalidSpec): not CIDRs.
    pub fn service_cidrs(&self) -> Result<Vec<IpNet>, Error> {
        parse_cidrs("services", &self.spec.cluster_network.services.cidr_blocks)
    }

    /// The address families of its network, the primary one first: the pods', or else the Services', or else V4.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`](super::Kind::InvalidSpec): not CIDRs, more than two of them, or pods and Services
    /// of different families.
    pub fn ip_family(&self) -> Result<IpFamily, Error> {
        IpFamily::of_cluster(&self.pod_cidrs()?, &self.service_cidrs()?)
    }

    /// Whether it is made from a ClusterClass, so that its parts are set through its topology.
    #[must_use]
    pub fn is_class_based(&self) -> bool {
        self.topology().is_some()
    }

    /// The Kubernetes version its topology asks for.
    #[must_use]
    pub fn topology_version(&self) -> Option<&str> {
        self.topology().map(|topology| topology.version.as_str())
    }

    pub(super) fn topology(&self) -> Option<&Topology> {
        self.spec.topology.as_ref().filter(|topology| !topology.class().is_empty())
    }

    /// Whether its infrastructure was provisioned once.
    #[must_use]
    pub fn infrastructure_provisioned(&self) -> bool {
        self.status.initialization.infrastructure_provisioned || self.status.infrastructure_ready
    }

    /// Whether its API server has taken requests once.
    #[must_use]
    pub fn control_plane_initialized(&self) -> bool {
        self.status.initialization.control_plane_initialized || self.status.control_plane_ready
    }
}
