//! A control plane, a simulated vCenter, and vm-operator installed but not yet started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{ControlPlane, Vcsim, VcsimBuilder, Workdir, eventually, project_root};

use crate::operator::{Launch, OperatorProcess};

/// Where vm-operator is installed.
pub const NAMESPACE: &str = "codeconnect-vm-operator-system";
/// Its ServiceAccount.
const ACCOUNT: &str = "vm-operator";
/// Long enough for a busy machine; nothing waits this long that goes well.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// What a scenario stands on.
pub struct Rig {
    /// The Kubernetes control plane.
    pub control_plane: ControlPlane,
    /// The vCenter.
    pub vcenter: Vcsim,
    workdir: Workdir,
    kubeconfig: PathBuf,
    installed: String,
}

/// How a rig differs from the default.
#[derive(Default)]
pub struct RigBuilder {
    vcenter: Option<VcsimBuilder>,
    audit: bool,
}

impl RigBuilder {
    /// Another vCenter than the default with the template `photon`.
    #[must_use]
    pub fn vcenter(mut self, vcenter: VcsimBuilder) -> Self {
        self.vcenter = Some(vcenter);
        self
    }

    /// Record every request to the API server.
    #[must_use]
    pub fn audit(mut self) -> Self {
        self.audit = true;
        self
    }

    /// Starts both, and installs vm-operator from `deploy/vm-operator/base` as a user would.
    pub async fn start(self) -> Result<Rig> {
        let vcenter = self.vcenter.unwrap_or_else(Vcsim::builder);
        let (control_plane, vcenter) =
            tokio::try_join!(ControlPlane::builder().audit(self.audit).start(), vcenter.start())?;
        let base = project_root()?.join("deploy/vm-operator/base");
        let base = base.to_str().context("the project's path is not UTF-8")?;
        let installed = control_plane.kubectl(&["apply", "--server-side", "-k", base]).await?;
        control_plane
            .kubectl(&["wait", "--for=condition=Established", "--timeout=180s", "crd", "--all"])
            .await?;
        let kubeconfig = control_plane.service_account_kubeconfig(NAMESPACE, ACCOUNT).await?;
        Ok(Rig { control_plane, vcenter, workdir: Workdir::new("vm-operator")?, kubeconfig, installed })
    }
}

impl Rig {
    /// The default rig.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// A rig with this vCenter.
    pub async fn with(vcenter: VcsimBuilder) -> Result<Self> {
        Self::builder().vcenter(vcenter).start().await
    }

    /// A rig whose vCenter takes this long for each clone.
    pub async fn with_clones_of(time: Duration) -> Result<Self> {
        Self::with(Vcsim::builder().clone_time(time)).await
    }

    /// For a rig that differs from the default.
    #[must_use]
    pub fn builder() -> RigBuilder {
        RigBuilder::default()
    }

    /// What `kubectl apply` said when vm-operator was installed.
    #[must_use]
    pub fn installed(&self) -> &str {
        &self.installed
    }

    /// How the operator is started: the environment of the Secret `vc-creds`, the simulator's CA trusted.
    #[must_use]
    pub fn launch(&self) -> Launch {
        Launch::default()
            .env("VC_HOST", self.vcenter.host())
            .env("VC_USER", self.vcenter.user())
            .env("VC_PASS", self.vcenter.password())
            .env("VC_CA_FILE", self.vcenter.ca_file())
            .env("POD_NAMESPACE", NAMESPACE)
            // As in the Deployment.
            .env("MALLOC_ARENA_MAX", "1")
            .env("RUST_LOG", "info,vm_operator=debug,operator_kit=debug,infra_clients=debug")
    }

    /// Starts the operator under its ServiceAccount, with `launch`. Its log continues the last one's.
    pub fn operator_with(&self, launch: &Launch) -> Result<OperatorProcess> {
        OperatorProcess::start(ACCOUNT, &self.kubeconfig, self.log_path(), launch)
    }

    /// Starts the operator with `launch` and waits until it is ready.
    pub async fn ready_operator(&self, launch: &Launch) -> Result<OperatorProcess> {
        let mut operator = self.operator_with(launch)?;
        operator.ready().await?;
        Ok(operator)
    }

    /// The default operator, ready.
    pub async fn operator(&self) -> Result<OperatorProcess> {
        self.ready_operator(&self.launch()).await
    }

    /// Where the operator logs.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.workdir.path().join("vm-operator.log")
    }

    /// A folder for the scenario's own files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.workdir.path()
    }

    /// Objects of vm-operator's API in a namespace.
    #[must_use]
    pub fn api(&self, namespace: &str, kind: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk("vm.codeconnect.vmworld.com", "v1alpha1", kind);
        Api::namespaced_with(self.control_plane.client(), namespace, &ApiResource::from_gvk(&gvk))
    }

    /// Makes the namespace if it is not there.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(self.control_plane.client());
        let manifest = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        namespaces.patch(name, &PatchParams::apply("rig"), &Patch::Apply(manifest)).await?;
        Ok(())
    }

    /// Applies a group of 1 core and 1 GB machines.
    pub async fn apply(&self, namespace: &str, name: &str, replicas: usize, template: &str) -> Result<()> {
        let manifest = group(name, replicas, template);
        self.api(namespace, "VmGroup")
            .patch(name, &PatchParams::apply("rig").force(), &Patch::Apply(manifest))
            .await?;
        Ok(())
    }

    /// Asks for a group's end.
    pub async fn delete(&self, namespace: &str, name: &str) -> Result<()> {
        self.api(namespace, "VmGroup").delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// A group's status; an empty object where there is none.
    pub async fn status(&self, namespace: &str, name: &str) -> Result<Value> {
        let group = self.api(namespace, "VmGroup").get(name).await?;
        Ok(group.data.get("status").cloned().unwrap_or_else(|| json!({})))
    }

    /// Waits until a group is ready with that many machines, by a status that answers its present spec.
    pub async fn settled(&self, namespace: &str, name: &str, replicas: usize) -> Result<Value> {
        self.settled_within(namespace, name, replicas, PATIENCE).await
    }

    /// The same, with another patience.
    pub async fn settled_within(
        &self,
        namespace: &str,
        name: &str,
        replicas: usize,
        patience: Duration,
    ) -> Result<Value> {
        eventually(&format!("{namespace}/{name} has {replicas} ready"), patience, async || {
            let group = self.api(namespace, "VmGroup").get(name).await?;
            let status = group.data.get("status").cloned().unwrap_or_default();
            let answered = status["observedGeneration"].as_i64() == group.metadata.generation;
            ensure!(answered && ready(&status) == Some(("True", "AsAsked")), "its status is {status}");
            ensure!(
                status["readyReplicas"] == replicas && status["replicas"] == replicas,
                "its status is {status}"
            );
            Ok(Some(status))
        })
        .await
    }

    /// Waits until a group's Ready condition has this reason.
    pub async fn reason(&self, namespace: &str, name: &str, reason: &str) -> Result<Value> {
        eventually(&format!("{namespace}/{name} says {reason}"), PATIENCE, async || {
            let status = self.status(namespace, name).await?;
            ensure!(ready(&status).is_some_and(|(_, r)| r == reason), "its status is {status}");
            Ok(Some(status))
        })
        .await
    }

    /// Waits until a group is gone.
    pub async fn gone(&self, namespace: &str, name: &str) -> Result<()> {
        eventually(&format!("{namespace}/{name} is gone"), PATIENCE, async || {
            let found = self.api(namespace, "VmGroup").get_opt(name).await?;
            ensure!(
                found.is_none(),
                "its status is {}",
                found.map(|f| f.data["status"].to_string()).unwrap_or_default()
            );
            Ok(Some(()))
        })
        .await
    }

    /// Machines under the operator's folder, by inventory path: on or not.
    pub async fn machines(&self) -> Result<BTreeMap<String, bool>> {
        let vms = self.vcenter.vms().await?;
        let ours = vms.into_iter().filter(|vm| vm.folder.starts_with("/DC0/vm/vm-operator"));
        Ok(ours.map(|vm| (vm.path.clone(), vm.is_on())).collect())
    }

    /// Waits until a machine is there and on, by its inventory path.
    pub async fn on(&self, path: &str) -> Result<()> {
        eventually(&format!("{path} is on"), PATIENCE, async || {
            Ok((self.machines().await?.get(path) == Some(&true)).then_some(()))
        })
        .await
    }

    /// How often a method was called at the vCenter since the last reset.
    pub async fn called(&self, method: &str) -> Result<u64> {
        Ok(self.vcenter.calls().await?.get(method).copied().unwrap_or(0))
    }

    /// Waits until a method was called that often.
    pub async fn called_often(&self, method: &str, times: u64) -> Result<()> {
        eventually(&format!("{times} calls of {method}"), PATIENCE, async || {
            Ok((self.called(method).await? >= times).then_some(()))
        })
        .await
    }

    /// Calls at the vCenter since the last reset, but for the long poll and what keeps the session alive.
    pub async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let mut calls = self.vcenter.calls().await?;
        calls.retain(|method, n| *n > 0 && !matches!(method.as_str(), "WaitForUpdatesEx" | "CurrentTime"));
        Ok(calls)
    }
}

/// A group of machines with 1 core and 1 GB.
#[must_use]
pub fn group(name: &str, replicas: usize, template: &str) -> Value {
    json!({
        "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1",
        "kind": "VmGroup",
        "metadata": { "name": name },
        "spec": { "cpu": 1, "memory": 1, "replicas": replicas, "template": template },
    })
}

/// Status and reason of the Ready condition.
#[must_use]
pub fn ready(status: &Value) -> Option<(&str, &str)> {
    let conditions = status["conditions"].as_array()?;
    let ready = conditions.iter().find(|c| c["type"] == "Ready")?;
    Some((ready["status"].as_str()?, ready["reason"].as_str()?))
}
