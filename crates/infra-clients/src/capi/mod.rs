//! Cluster API, as far as operators read and write it, and the workload clusters behind it.
//!
//! Owns views of Cluster API's and TKG's objects in the version that is served, patches that change one thing and
//! preserve everything else, and the clients of workload clusters. Runs no controllers and decides nothing: an
//! operator decides whether a hook is added or a cluster is given up.
//!
//! ```text
//!   Capi::discover ──▶ Api<Cluster>, Api<Machine> …  ──▶ Object<…>: what it is, is_deleting(), ip_family() …
//!                                  ▲                          │
//!                                  └────── Patch<Value> ◀─────┘ add_finalizer(), set_variables() …
//!   WorkloadClients ──▶ Client of a Cluster
//! ```
//!
//! Objects are read in v1beta2 where that is served, else in v1beta1, into the same types. They cannot be
//! serialized: see [`patch`].

mod addon;
mod bootstrap;
mod circuit_breaker;
mod clients;
mod cluster;
mod condition;
mod discovery;
mod error;
mod kubeconfig;
mod machine;
mod network;
mod object;
pub mod patch;
mod reference;
mod release;
mod sets;
mod tkg;
mod topology;
mod version;

pub use addon::{
    ADDON_CLUSTER_LABEL, ADDON_NAME_LABEL, ADDON_TYPE_ANNOTATION, AddonForm, AddonSecret, MOVE_LABEL,
    VALUES_KEY, read_addon,
};
pub use bootstrap::{
    BootstrapSpec, BootstrapStatus, ClusterBootstrap, Package, SKIP_DELETION_ANNOTATION, ValuesFrom,
};
pub use clients::{Limits, Stats, WorkloadClients, connect, secret_name};
pub use cluster::{Cluster, ClusterSpec, ClusterStatus, Endpoint};
pub use condition::{Condition, ConditionStatus, Conditions};
pub use discovery::{Addons, Capi};
pub use error::{Error, Kind, REASONS};
pub use machine::{Address, AddressType, CONTROL_PLANE_LABEL, Machine, MachineSpec, MachineStatus};
pub use network::IpFamily;
pub use object::{
    CLUSTER_NAME_LABEL, CORE_GROUP, Object, PAUSED_ANNOTATION, Spec, cluster_name, owning_cluster,
};
pub use reference::Reference;
pub use release::TanzuKubernetesRelease;
pub use sets::{
    CONTROL_PLANE_GROUP, KubeadmControlPlane, KubeadmControlPlaneSpec, MachineDeployment,
    MachineDeploymentSpec, Replicas,
};
pub use topology::{Topology, Variable};
pub use version::{ReadIn, Version};
