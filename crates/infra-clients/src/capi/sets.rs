//! MachineDeployment and KubeadmControlPlane, as far as the operators read them: how many Machines there should be,
//! and are.

use serde::Deserialize;

use super::object::{CORE_GROUP, Object, Spec};

/// The group of KubeadmControlPlane.
pub const CONTROL_PLANE_GROUP: &str = "controlplane.cluster.x-k8s.io";

/// A set of equal worker Machines.
pub type MachineDeployment = Object<MachineDeploymentSpec>;

/// The Machines of a control plane that kubeadm sets up.
pub type KubeadmControlPlane = Object<KubeadmControlPlaneSpec>;

/// The spec of a MachineDeployment.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineDeploymentSpec {
    /// The Cluster it belongs to, in its own namespace.
    pub cluster_name: String,
    /// How many Machines; the default of the API server is 1.
    pub replicas: Option<u32>,
    paused: bool,
}

/// The spec of a KubeadmControlPlane.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct KubeadmControlPlaneSpec {
    /// How many Machines; the default of the API server is 1.
    pub replicas: Option<u32>,
    /// The Kubernetes version.
    pub version: String,
}

/// How many Machines of a set there are. The contracts disagree on when one is ready: here it is only a figure for
/// people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Replicas {
    /// Machines that exist.
    pub replicas: u32,
    /// Machines that are ready.
    pub ready_replicas: u32,
    /// Machines that match the template of the set.
    #[serde(alias = "updatedReplicas")]
    pub up_to_date_replicas: u32,
}

impl Spec for MachineDeploymentSpec {
    type Status = Replicas;
    const KIND: &'static str = "MachineDeployment";
    const GROUP: &'static str = CORE_GROUP;
    const PLURAL: &'static str = "machinedeployments";
}

impl Spec for KubeadmControlPlaneSpec {
    type Status = Replicas;
    const KIND: &'static str = "KubeadmControlPlane";
    const GROUP: &'static str = CONTROL_PLANE_GROUP;
    const PLURAL: &'static str = "kubeadmcontrolplanes";
}

impl MachineDeployment {
    /// Returns whether Cluster API's controllers skip it; they also do so when its Cluster [is
    /// paused](super::Cluster::is_paused).
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.spec.paused || self.is_paused_by_annotation()
    }
}

impl KubeadmControlPlane {
    /// Returns whether Cluster API's controllers skip it; they also do so when its Cluster [is
    /// paused](super::Cluster::is_paused).
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused_by_annotation()
    }
}
