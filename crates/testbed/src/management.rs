//! A Cluster API management cluster: a real control plane with the real core controllers, and a provider with simulated
//! machines.
//!
//! Owns the manager's process, its webhooks and conversion, and the provider's controllers. A workload cluster is another
//! real control plane, or a share of one: see [`Workload`]. Knows nothing about operators.

mod api;
mod cluster_api;
mod manifests;
mod objects;
mod provider;
mod sites;
mod workload;

use std::fmt;
use std::sync::Arc;

use anyhow::Result;
use kube::Client;
use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use tokio::task::JoinSet;

use self::cluster_api::CORE;
pub use self::cluster_api::ClusterApi;
use self::provider::Provider;
use self::sites::Sites;
pub use self::workload::{VirtualHost, Workload, WorkloadBuilder};
use crate::{ControlPlane, Memory, Tools};

/// The field manager of objects that the testbed applies.
const FIELD_MANAGER: &str = "testbed";

/// A running management cluster. Dropping it stops it and deletes its Clusters.
pub struct Management {
    // Fields drop in this order: clients before servers, files last.
    _provider: Provider,
    _watchdog: JoinSet<()>,
    cluster_api: Arc<ClusterApi>,
    sites: Sites,
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("cluster_api", &self.cluster_api).finish_non_exhaustive()
    }
}

impl Management {
    /// Starts a management cluster on a control plane with the defaults.
    ///
    /// # Errors
    /// If a program cannot be built or a server does not become ready; the error has the end of its log.
    pub async fn start() -> Result<Self> {
        // Builds Cluster API first: each build uses all cores, so two at the same time are not faster.
        tokio::task::spawn_blocking(|| Tools::of(&[CORE])).await??;
        Self::on(ControlPlane::start().await?).await
    }

    /// Installs Cluster API into a given control plane and starts it.
    ///
    /// # Errors
    /// Those of [`Management::start`].
    pub async fn on(plane: impl Into<Arc<ControlPlane>>) -> Result<Self> {
        Self::with(Arc::new(ClusterApi::start(plane).await?)).await
    }

    /// Starts a management cluster with a Cluster API that runs, which no other one uses.
    ///
    /// # Errors
    /// If the plane's kubeconfig is gone.
    pub async fn with(cluster_api: Arc<ClusterApi>) -> Result<Self> {
        let sites = Sites::default();
        // A client ends with the runtime that made it, and rigs may share the control plane.
        let client = crate::client(cluster_api.plane.kubeconfig()).await?;
        let provider = Provider::start(&client, &sites);
        let mut watchdog = JoinSet::new();
        watchdog.spawn(Arc::clone(&cluster_api).keep_running());
        Ok(Self { _provider: provider, _watchdog: watchdog, cluster_api, sites })
    }

    /// Starts a workload cluster in the namespace `default`, with the defaults of [`WorkloadBuilder`].
    ///
    /// # Errors
    /// Those of [`WorkloadBuilder::start`].
    pub async fn with_workload(&self, name: &str) -> Result<Workload> {
        self.workload(name).start().await
    }

    /// Returns a builder, for a workload cluster with other settings.
    pub fn workload(&self, name: &str) -> WorkloadBuilder<'_> {
        WorkloadBuilder::new(self, name)
    }

    /// Returns the control plane of Cluster API.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        &self.cluster_api.plane
    }

    /// Returns a client with the administrator's rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.plane().client()
    }

    /// Runs `kubectl` on the control plane: see [`ControlPlane::kubectl`].
    ///
    /// # Errors
    /// If it fails; the error has its stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.plane().kubectl(args).await
    }

    /// Returns the log of the core manager.
    #[must_use]
    pub fn log(&self) -> String {
        self.cluster_api.process().log()
    }

    /// Returns the memory use of the core manager.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<Memory> {
        self.cluster_api.process().memory()
    }
}

/// Returns the resource of Machines, in the version that Cluster API stores.
fn machines() -> ApiResource {
    core_resource("Machine")
}

/// Returns the resource of a kind of Cluster API's core, in the version that it stores.
fn core_resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind))
}
