//! The objects of a workload cluster in the management cluster, and waits for their state.

use anyhow::{Context, Result, ensure};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use testbed::{Management, Workload, eventually};

use crate::SOON;

/// The objects of one Cluster in the management cluster.
pub(crate) struct Objects {
    client: Client,
    namespace: String,
    cluster: String,
}

impl Objects {
    pub(crate) fn of(management: &Management, workload: &Workload) -> Self {
        Self {
            client: management.client(),
            namespace: workload.namespace().to_owned(),
            cluster: workload.name().to_owned(),
        }
    }

    pub(crate) fn api(&self, kind: &str, version: &str) -> Api<DynamicObject> {
        let group = match kind {
            "TestbedControlPlane" => "controlplane.cluster.x-k8s.io",
            kind if kind.starts_with("Testbed") => "infrastructure.cluster.x-k8s.io",
            _ => "cluster.x-k8s.io",
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    pub(crate) fn newest(&self, kind: &str) -> Api<DynamicObject> {
        self.api(kind, if kind.starts_with("Testbed") { "v1" } else { "v1beta2" })
    }

    pub(crate) async fn cluster(&self, version: &str) -> Result<DynamicObject> {
        Ok(self.api("Cluster", version).get(&self.cluster).await?)
    }

    pub(crate) async fn find(&self, kind: &str, name: &str) -> Result<Option<DynamicObject>> {
        Ok(self.newest(kind).get_opt(name).await?)
    }

    pub(crate) async fn list(&self, kind: &str) -> Result<Vec<DynamicObject>> {
        let ours = ListParams::default().labels(&format!("cluster.x-k8s.io/cluster-name={}", self.cluster));
        Ok(self.newest(kind).list(&ours).await?.items)
    }

    pub(crate) async fn patch(&self, kind: &str, name: &str, patch: Value) -> Result<()> {
        self.newest(kind).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    pub(crate) async fn annotate(&self, machine: &str, key: &str, value: Option<&str>) -> Result<()> {
        self.patch("Machine", machine, json!({"metadata": {"annotations": {key: value}}})).await
    }

    /// Returns the name of a worker.
    pub(crate) async fn worker(&self) -> Result<String> {
        self.workers().await?.pop().context("no worker")
    }

    pub(crate) async fn workers(&self) -> Result<Vec<String>> {
        let machines = self.list("Machine").await?;
        Ok(machines.iter().map(ResourceExt::name_any).filter(|name| name.contains("-md-0-")).collect())
    }

    /// Waits until there are `count` workers that are Running or Deleting. Returns their names.
    pub(crate) async fn running_workers(&self, count: usize) -> Result<Vec<String>> {
        eventually(&format!("{count} workers run"), SOON, async || {
            let machines = self.list("Machine").await?.into_iter();
            let workers: Vec<_> = machines.filter(|machine| machine.name_any().contains("-md-0-")).collect();
            let is_up = |worker: &&DynamicObject| {
                worker.data["status"]["phase"] == "Running" || worker.data["status"]["phase"] == "Deleting"
            };
            let (all, up) = (workers.len(), workers.iter().filter(is_up).count());
            ensure!(all == count && up == count, "{up} of {all} workers are Running or Deleting");
            Ok(Some(workers.iter().map(ResourceExt::name_any).collect()))
        })
        .await
    }

    pub(crate) async fn is_deleting(&self, kind: &str, name: &str) -> Result<bool> {
        let object = self.find(kind, name).await?;
        Ok(object.context("it does not exist")?.metadata.deletion_timestamp.is_some())
    }

    pub(crate) async fn gone(&self, kind: &str, name: &str) -> Result<()> {
        let what = format!("{kind} {name} is gone");
        eventually(&what, SOON, async || Ok(self.find(kind, name).await?.is_none().then_some(()))).await
    }

    pub(crate) async fn phase(&self, machine: &str, phase: &str) -> Result<()> {
        eventually(&format!("{machine} is {phase}"), SOON, async || {
            let machine = self.find("Machine", machine).await?.context("it does not exist")?;
            ensure!(machine.data["status"]["phase"] == phase, "{}", machine.data["status"]);
            Ok(Some(()))
        })
        .await
    }

    pub(crate) async fn deleting(&self, machine: &str, reason: &str) -> Result<()> {
        self.await_deleting("Machine", machine, reason).await
    }

    pub(crate) async fn cluster_deleting(&self, reason: &str) -> Result<()> {
        self.await_deleting("Cluster", &self.cluster, reason).await
    }

    /// Waits until the object's condition `Deleting` is true with `reason`.
    pub(crate) async fn await_deleting(&self, kind: &str, name: &str, reason: &str) -> Result<()> {
        eventually(&format!("{kind} {name}: {reason}"), SOON, async || {
            let object = self.find(kind, name).await?.context("it does not exist")?;
            let deleting = condition(&object, "Deleting");
            ensure!(deleting["status"] == "True" && deleting["reason"] == reason, "{deleting}");
            Ok(Some(()))
        })
        .await
    }
}

pub(crate) fn condition(object: &DynamicObject, kind: &str) -> Value {
    let all = object.data["status"]["conditions"].as_array().into_iter().flatten();
    all.into_iter().find(|is| is["type"] == kind).cloned().unwrap_or_default()
}
