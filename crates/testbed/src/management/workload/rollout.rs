//! Upgrades of a workload cluster's Machines to another Kubernetes version. Cluster API replaces the workers, the provider
//! the control plane.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Workload, conditions, is_true};
use crate::eventually;
use crate::management::api::TestbedControlPlane;
use crate::management::{core_resource, machines};

impl Workload {
    /// Starts to roll out another Kubernetes version, for example `v1.36.2`. Machines are replaced one by one, and the Nodes of
    /// the new ones report the version. The API server keeps its version. [`Workload::rolled_out`] waits for the end.
    ///
    /// # Errors
    /// If Cluster API refuses the version.
    pub async fn roll_out(&self, version: &str) -> Result<()> {
        let clusters = self.api(&core_resource("Cluster"));
        let patch = async |api: Api<DynamicObject>, name: &str, spec: Value| {
            api.patch(name, &PatchParams::default(), &Patch::Merge(json!({"spec": spec}))).await
        };
        if clusters.get(&self.name).await?.data["spec"]["topology"].is_object() {
            patch(clusters, &self.name, json!({"topology": {"version": version}})).await?;
            return Ok(());
        }
        let planes = Api::<TestbedControlPlane>::namespaced(self.management.clone(), &self.namespace);
        let spec = json!({"spec": {"version": version}});
        planes.patch(&self.name, &PatchParams::default(), &Patch::Merge(spec)).await?;
        let deployments = self.api(&core_resource("MachineDeployment"));
        for deployment in deployments.list(&self.of_cluster()).await?.items {
            let spec = json!({"template": {"spec": {"version": version}}});
            patch(deployments.clone(), &deployment.name_any(), spec).await?;
        }
        Ok(())
    }

    /// Waits until all Machines have the version and are Running, and the Cluster has finished the rollout.
    ///
    /// # Errors
    /// If the rollout is not finished after `deadline`; the error has the Machine or the Cluster's conditions.
    pub async fn rolled_out(&self, version: &str, deadline: Duration) -> Result<()> {
        let clusters = self.api(&core_resource("Cluster"));
        let machines = self.api(&machines());
        eventually(&format!("{version} is rolled out"), deadline, async || {
            for machine in machines.list(&self.of_cluster()).await?.items {
                let (is, phase) = (&machine.data["spec"]["version"], &machine.data["status"]["phase"]);
                ensure!(is == version && phase == "Running", "{}: {is} {phase}", machine.name_any());
            }
            let cluster = clusters.get(&self.name).await?;
            let done = is_true(&cluster, "Available")
                && !["RollingOut", "ScalingUp", "ScalingDown"].iter().any(|doing| is_true(&cluster, doing));
            ensure!(done, "{}", conditions(&cluster));
            Ok(Some(()))
        })
        .await
    }
}
