//! Real servers for tests, demos and benchmarks. Each is a handle; dropping it stops the server and removes its files.
//!
//! Owns how the servers are built, started and stopped. Contains no logic of an operator, and is never a normal dependency
//! of one.
//!
//! - [`Tools`]: the Go programs, pinned and built once per machine.
//! - [`Process`]: a supervised child process, which ends with its owner.
//! - [`ControlPlane`]: etcd, kube-apiserver and kube-controller-manager.
//! - [`ApiProxy`]: what goes wrong between a client and the API server, one thing at a time.
//! - [`Management`]: a control plane with Cluster API; [`Workload`]: a cluster it manages.
//! - [`Nodes`]: simulated Nodes, on which Pods become Ready.
//! - [`PodRunner`]: runs Pods of these Nodes as processes, for images whose program is known.
//! - [`Ako`]: a stand-in for AKO in a workload cluster.
//! - [`FileServer`]: a server of files in the test's process.
//! - [`Vcsim`]: a simulated vCenter, with faults, outages and counters.
//! - [`Monitoring`]: no server, but the check of an operator's alerts and dashboard.
//!
//! Without the feature `servers`, for the xtask, there are only [`Tools`], [`Random`] and the cache.

mod cache;
mod random;
mod tools;

pub use cache::{CacheKey, cache_root, lock};
pub use random::Random;
pub use tools::{Tools, project_root};

#[cfg(feature = "servers")]
mod ako;
#[cfg(feature = "servers")]
mod api_proxy;
#[cfg(feature = "servers")]
mod control_plane;
#[cfg(feature = "servers")]
mod controllers;
#[cfg(feature = "servers")]
mod file_server;
#[cfg(feature = "servers")]
mod management;
#[cfg(feature = "servers")]
mod monitoring;
#[cfg(feature = "servers")]
mod nodes;
#[cfg(feature = "servers")]
mod pod_runner;
#[cfg(feature = "servers")]
mod port;
#[cfg(feature = "servers")]
mod process;
#[cfg(feature = "servers")]
mod vcsim;
#[cfg(feature = "servers")]
mod virtual_cluster;
#[cfg(feature = "servers")]
mod workdir;

#[cfg(feature = "servers")]
pub use ako::{Ako, Cleanup};
#[cfg(feature = "servers")]
pub use api_proxy::{ApiProxy, CallFault, EventFault, Mark, Perturbation, Record, Subject};
#[cfg(feature = "servers")]
pub use control_plane::{AuditEvent, Backup, Baseline, ControlPlane, ControlPlaneBuilder, client};
#[cfg(feature = "servers")]
pub use file_server::{FileReply, FileRequest, FileServer};
#[cfg(feature = "servers")]
pub use management::{ClusterApi, Management, VirtualHost, Workload, WorkloadBuilder};
#[cfg(feature = "servers")]
pub use monitoring::Monitoring;
#[cfg(feature = "servers")]
pub use nodes::{Node, Nodes};
#[cfg(feature = "servers")]
pub use pod_runner::{PodRunner, Program, RunningContainer};
#[cfg(feature = "servers")]
pub use port::Port;
#[cfg(feature = "servers")]
pub use process::{Memory, Process, ProcessSpec, eventually};
#[cfg(feature = "servers")]
pub use vcsim::{
    Account, Connection, Discovery, Fault, Guest, Happened, NewVm, Outage, Sessions, SimPortGroup, SimVm,
    UpdateCounts, Vcsim, VcsimBuilder, VmEvent,
};
#[cfg(feature = "servers")]
pub use virtual_cluster::{Misbehavior, VirtualCluster};
#[cfg(feature = "servers")]
pub use workdir::Workdir;
