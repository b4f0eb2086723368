//! Cluster. Owns what the operators read of one and the patches for it; topology variables are in
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

/// A cluster that Cluster API creates and maintains.
pub type Cluster = Object<ClusterSpec>;

/// The spec of a Cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterSpec {
    /// See [`Cluster::is_paused`].
    paused: bool,
    /// See [`Cluster::pod_cidrs`] and [`Cluster::service_cidrs`].
    cluster_network: Network,
    /// See [`Cluster::control_plane_endpoint`].
    control_plane_endpoint: Endpoint,
    /// The object of the control plane, such as a KubeadmControlPlane.
    pub control_plane_ref: Option<Reference>,
    /// The object of the infrastructure.
    pub infrastructure_ref: Option<Reference>,
    /// Set if the Cluster is created from a ClusterClass.
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

/// The address of an API server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// TCP port; 0 means not set.
    pub port: u16,
}

/// The status of a Cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterStatus {
    /// `Pending`, `Provisioning`, `Provisioned`, `Deleting`, `Failed` or `Unknown`; for people.
    pub phase: String,
    initialization: Initialization,
    /// Only in v1beta1.
    infrastructure_ready: bool,
    /// Only in v1beta1.
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
    /// Returns whether Cluster API's controllers skip it and all that belongs to it, as other controllers should.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.spec.paused || self.is_paused_by_annotation()
    }

    /// Returns the address of its API server, once that is known.
    #[must_use]
    pub fn control_plane_endpoint(&self) -> Option<&Endpoint> {
        let endpoint = &self.spec.control_plane_endpoint;
        (!endpoint.host.is_empty()).then_some(endpoint)
    }

    /// Returns the patch that sets the address of its API server. `None`: it is set so already.
    #[must_use]
    pub fn set_control_plane_endpoint(&self, endpoint: &Endpoint) -> Option<Patch<Value>> {
        if self.spec.control_plane_endpoint == *endpoint {
            return None;
        }
        let body = json!({"spec": {"controlPlaneEndpoint": {"host": endpoint.host, "port": endpoint.port}}});
        Some(patch::of_this_version(&self.metadata, body))
    }

    /// Returns the TCP port its API servers listen on, if it is not the default of the provider.
    #[must_use]
    pub fn api_server_port(&self) -> Option<u16> {
        // v1beta2 leaves out the field if there is no port, but 0 is not a port in any version.
        self.spec.cluster_network.api_server_port.filter(|port| *port != 0)
    }

    /// Returns the address ranges of the pods, those of the primary family first.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`](super::Kind::InvalidSpec): they are not CIDRs.
    pub fn pod_cidrs(&self) -> Result<Vec<IpNet>, Error> {
        parse_cidrs("pods", &self.spec.cluster_network.pods.cidr_blocks)
    }

    /// Returns the address ranges of the Services, those of the primary family first.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`](super::Kind::InvalidSpec): they are not CIDRs.
    pub fn service_cidrs(&self) -> Result<Vec<IpNet>, Error> {
        parse_cidrs("services", &self.spec.cluster_network.services.cidr_blocks)
    }

    /// Returns the address families of its network, the primary one first: those of the pods, else of the Services,
    /// else V4.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`](super::Kind::InvalidSpec): they are not CIDRs, there are more than two of them, or pods
    /// and Services have different families.
    pub fn ip_family(&self) -> Result<IpFamily, Error> {
        IpFamily::of_cluster(&self.pod_cidrs()?, &self.service_cidrs()?)
    }

    /// Returns whether it is created from a ClusterClass, so that its parts are set through its topology.
    #[must_use]
    pub fn is_class_based(&self) -> bool {
        self.topology().is_some()
    }

    /// Returns the Kubernetes version of its topology.
    #[must_use]
    pub fn topology_version(&self) -> Option<&str> {
        self.topology().map(|topology| topology.version.as_str())
    }

    pub(super) fn topology(&self) -> Option<&Topology> {
        self.spec.topology.as_ref().filter(|topology| !topology.class().is_empty())
    }

    /// Returns whether its infrastructure has been provisioned.
    #[must_use]
    pub fn infrastructure_provisioned(&self) -> bool {
        self.status.initialization.infrastructure_provisioned || self.status.infrastructure_ready
    }

    /// Returns whether its API server has accepted requests.
    #[must_use]
    pub fn control_plane_initialized(&self) -> bool {
        self.status.initialization.control_plane_initialized || self.status.control_plane_ready
    }
}
