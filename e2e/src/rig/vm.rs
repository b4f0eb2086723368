//! vm-operator with a simulated vCenter.

mod history;
mod job;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{Vcsim, VcsimBuilder, eventually};

use super::Rig;
use crate::install::Plane;
use crate::objects::Id;
use crate::site::{PATIENCE, Site};

/// The operator's folder in the vCenter.
const ROOT: &str = "/DC0/vm/vm-operator";

/// A part of a control plane, a simulated vCenter, and vm-operator installed but not yet started.
pub struct VmRig {
    site: Site,
    /// The vCenter.
    pub vcenter: Vcsim,
}

/// The settings of a rig.
#[derive(Default)]
pub struct VmRigBuilder {
    vcenter: Option<VcsimBuilder>,
    alone: bool,
}

impl VmRigBuilder {
    /// Sets another vCenter than the default with the template `photon`.
    #[must_use]
    pub fn vcenter(mut self, vcenter: VcsimBuilder) -> Self {
        self.vcenter = Some(vcenter);
        self
    }

    /// Starts a control plane for this rig alone, in which the operator watches all namespaces and the rig's is `default`.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Starts what the rig needs, and installs vm-operator from `deploy/vm-operator/base` as a user would.
    ///
    /// # Errors
    /// If a server does not start or the operator cannot be installed.
    pub async fn start(self) -> Result<VmRig> {
        let plane =
            async { if self.alone { Plane::alone(&VmRig::SUBJECT).await } else { Plane::shared().await } };
        let vcenter = self.vcenter.unwrap_or_else(Vcsim::builder);
        let (plane, vcenter) = tokio::try_join!(plane, vcenter.start())?;
        VmRig::new(plane, vcenter).await
    }
}

impl VmRig {
    /// Starts the default rig, in the plane that the tests of this process share.
    ///
    /// # Errors
    /// Those of [`VmRigBuilder::start`].
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Starts a rig with this vCenter.
    ///
    /// # Errors
    /// Those of [`VmRigBuilder::start`].
    pub async fn with(vcenter: VcsimBuilder) -> Result<Self> {
        Self::builder().vcenter(vcenter).start().await
    }

    /// Starts a rig whose vCenter takes this long for each clone.
    ///
    /// # Errors
    /// Those of [`VmRigBuilder::start`].
    pub async fn with_clones_of(time: Duration) -> Result<Self> {
        Self::with(Vcsim::builder().clone_time(time)).await
    }

    /// Returns a builder, for a rig that differs from the default.
    #[must_use]
    pub fn builder() -> VmRigBuilder {
        VmRigBuilder::default()
    }

    async fn new(plane: Arc<Plane>, vcenter: Vcsim) -> Result<Self> {
        let site = Site::new(&Self::SUBJECT, plane).await?;
        Ok(Self { site, vcenter })
    }

    /// Applies a group of 1 core and 1 GB machines.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply<'a>(&self, id: impl Into<Id<'a>>, replicas: usize, template: &str) -> Result<()> {
        let id = id.into();
        self.site.apply(id.namespace, &group(id.name, replicas, template)).await
    }

    /// Applies a group of machines of the template `photon`, and waits until it is ready. Returns its status.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply) and [`settled`](Self::settled).
    pub async fn apply_and_settle<'a>(&self, id: impl Into<Id<'a>>, replicas: usize) -> Result<Value> {
        let id = id.into();
        self.apply(id, replicas, "photon").await?;
        self.settled(id, replicas).await
    }

    /// Waits until a group is ready with that many machines, by a status that answers its present spec.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`]; the error has the status.
    pub async fn settled<'a>(&self, id: impl Into<Id<'a>>, replicas: usize) -> Result<Value> {
        self.settled_within(id, replicas, PATIENCE).await
    }

    /// Waits like [`settled`](Self::settled), with another patience.
    ///
    /// # Errors
    /// If that takes longer than `patience`; the error has the status.
    pub async fn settled_within<'a>(
        &self,
        id: impl Into<Id<'a>>,
        replicas: usize,
        patience: Duration,
    ) -> Result<Value> {
        let has_all = |status: &Value| status["readyReplicas"] == replicas && status["replicas"] == replicas;
        self.site.ready_within(id, patience, has_all).await
    }

    /// Returns the folder in the vCenter of a group in the rig's namespace.
    #[must_use]
    pub fn folder(&self, group: &str) -> String {
        format!("{ROOT}/{}.{group}", self.namespace())
    }

    /// Returns the machines under the operator's folder, by inventory path: on or not.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn machines(&self) -> Result<BTreeMap<String, bool>> {
        let vms = self.vcenter.vms().await?;
        let ours = vms.into_iter().filter(|vm| vm.folder.starts_with(ROOT));
        Ok(ours.map(|vm| (vm.path.clone(), vm.is_on())).collect())
    }

    /// Waits until a machine exists and is on, by its inventory path.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`].
    pub async fn on(&self, path: &str) -> Result<()> {
        eventually(&format!("{path} is on"), PATIENCE, async || {
            Ok((self.machines().await?.get(path) == Some(&true)).then_some(()))
        })
        .await
    }

    /// Returns how often a method was called at the vCenter since the last reset.
    ///
    /// # Errors
    /// If the simulator does not answer.
    pub async fn called(&self, method: &str) -> Result<u64> {
        Ok(self.vcenter.calls().await?.get(method).copied().unwrap_or(0))
    }

    /// Waits until a method was called that often.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`].
    pub async fn called_often(&self, method: &str, times: u64) -> Result<()> {
        eventually(&format!("{times} calls of {method}"), PATIENCE, async || {
            Ok((self.called(method).await? >= times).then_some(()))
        })
        .await
    }
}

impl Deref for VmRig {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for VmRig {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

/// Returns a group of machines with 1 core and 1 GB.
#[must_use]
pub fn group(name: &str, replicas: usize, template: &str) -> Value {
    json!({
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
        "kind": "VmGroup",
        "metadata": { "name": name },
        "spec": { "cpu": 1, "memory": 1, "replicas": replicas, "template": template },
    })
}
