//! ako-operator with a real Cluster API, a workload cluster, a stand-in for AKO in it, and a simulated AVI controller.
//!
//! Not a [`Rig`](super::Rig) yet: the contract and the perturbation do not know of the second cluster.

use anyhow::{Context, Result, ensure};
use avi_simulator::{Config, Simulator};
use serde_json::{Value, json};
use testbed::{Ako, Management, Workdir, Workload, eventually, project_root};

use crate::operator::{Launch, OperatorProcess};
use crate::site::PATIENCE;

const NAME: &str = "ako-operator";
const NAMESPACE: &str = "ako-operator-system";
/// Name of the workload Cluster, in the namespace `default`.
pub const CLUSTER: &str = "w1";

/// A network to take addresses from.
const SEED: &str = include_str!("../../../crates/avi-simulator/samples/vips.yaml");

/// All that ako-operator works with, and ako-operator installed but not started.
pub struct AkoRig {
    // Clients before servers.
    /// The stand-in for AKO.
    pub ako: Ako,
    /// The workload cluster [`CLUSTER`].
    pub workload: Workload,
    /// The management cluster.
    pub management: Management,
    /// The AVI controller.
    pub simulator: Simulator,
    workdir: Workdir,
}

impl AkoRig {
    /// Starts everything, installs the operator, and creates an AKODeploymentConfig that selects Clusters with seed 000's label.
    ///
    /// # Errors
    /// If a server does not start, or refuses an object.
    pub async fn start() -> Result<Self> {
        let (management, simulator) =
            tokio::try_join!(Management::start(), Simulator::start(Config::default()))?;
        simulator.control().seed(SEED)?;
        let workload = management.with_workload(CLUSTER).await?;
        let ako = Ako::start(workload.plane().client());
        let rig = Self { ako, workload, management, simulator, workdir: Workdir::new(NAME)? };
        rig.install().await?;
        rig.configure().await?;
        Ok(rig)
    }

    /// Installs what `deploy/ako-operator` has, and a ServiceAccount for it.
    async fn install(&self) -> Result<()> {
        let account = json!({ "name": NAME, "namespace": NAMESPACE });
        self.apply(&json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } }))
            .await?;
        self.apply(&json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": account })).await?;
        for file in ["crds/crds.yaml", "base/rbac.yaml"] {
            let file = project_root()?.join("deploy").join(NAME).join(file);
            let file = file.to_str().context("the project's path is not UTF-8")?;
            self.management.kubectl(&["apply", "--server-side", "-f", file]).await?;
        }
        let rbac = "rbac.authorization.k8s.io";
        let subjects = json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }]);
        self.apply(&json!({ "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRoleBinding", "metadata": { "name": NAME },
            "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": NAME }, "subjects": subjects }))
        .await?;
        let established = ["wait", "--for=condition=Established", "--timeout=180s", "crd", "--all"];
        self.management.kubectl(&established).await?;
        Ok(())
    }

    async fn configure(&self) -> Result<()> {
        let secret = |name: &str, data: Value| {
            json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": name, "namespace": NAMESPACE }, "stringData": data })
        };
        let credentials = json!({ "username": "admin", "password": self.simulator.admin_password() });
        self.apply(&secret("avi-admin", credentials)).await?;
        self.apply(&secret("avi-ca", json!({ "certificateAuthorityData": self.simulator.ca_pem() }))).await?;
        let reference = |name: &str| json!({ "name": name, "namespace": NAMESPACE });
        self.apply(&json!({
            "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1", "kind": "AKODeploymentConfig",
            "metadata": { "name": "adc" },
            "spec": {
                "clusterSelector": { "matchLabels": { "cluster-service.network.tkg.tanzu.vmware.com/avi": "" } },
                "controller": self.simulator.url().trim_start_matches("https://"), "controllerVersion": "30.2.1",
                "cloudName": "Default-Cloud", "serviceEngineGroup": "Default-Group",
                "dataNetwork": { "name": "vips", "cidr": "10.92.0.0/24" },
                "adminCredentialRef": reference("avi-admin"), "certificateAuthorityRef": reference("avi-ca"),
            },
        }))
        .await
    }

    /// Starts the operator under its ServiceAccount, and waits until it is ready.
    ///
    /// # Errors
    /// If it ends.
    pub async fn operator(&self) -> Result<OperatorProcess> {
        let kubeconfig = self.management.plane().service_account_kubeconfig(NAMESPACE, NAME).await?;
        let launch = Launch::default()
            .env("POD_NAMESPACE", NAMESPACE)
            .env("AKO_IMAGE", "registry.example.com/ako:2.2.1")
            .env("RUST_LOG", "info,ako_operator=debug,operator_kit=debug,infra_clients=debug");
        let log = self.workdir.path().join("operator.log");
        let mut operator = OperatorProcess::start(NAME, &kubeconfig, log, &launch)?;
        operator.ready().await?;
        Ok(operator)
    }

    /// Applies an object to the management cluster.
    async fn apply(&self, object: &Value) -> Result<()> {
        let plane = self.management.plane();
        plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &object.to_string()).await?;
        Ok(())
    }

    /// Runs `kubectl` on the management cluster until it prints this.
    ///
    /// # Errors
    /// If it does not, in time.
    pub async fn shows(&self, args: &[&str], wanted: &str) -> Result<()> {
        shows(async || self.management.kubectl(args).await, args, wanted).await
    }

    /// Runs `kubectl` on the workload cluster until it prints this.
    ///
    /// # Errors
    /// If it does not, in time.
    pub async fn workload_shows(&self, args: &[&str], wanted: &str) -> Result<()> {
        shows(async || self.workload.plane().kubectl(args).await, args, wanted).await
    }
}

async fn shows(run: impl AsyncFn() -> Result<String>, args: &[&str], wanted: &str) -> Result<()> {
    eventually(&format!("kubectl {} prints {wanted:?}", args.join(" ")), PATIENCE, async || {
        let printed = run().await?;
        ensure!(printed.trim() == wanted, "it prints {printed:?}");
        Ok(Some(()))
    })
    .await
}
