//! The projects' CPI and CSI in place of played ones: their programs run as the Pods that vdo has made.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node as NodeObject, PersistentVolumeClaim};
use kube::Api;
use serde_json::{Value, json};
use testbed::{PodRunner, Program, Tools, eventually};

use super::{CSI, VdoRig, node, uuid};
use crate::site::PATIENCE;

/// What has the drivers and their manifests.
const TOOLS: [&str; 3] = ["cpi", "csi", "csi-provisioner"];
/// Where CPI listens.
const CPI_PORT: u16 = 10258;
const SOCKET: &str = "/csi/csi.sock";

impl VdoRig {
    /// Builds the drivers, which takes minutes the first time.
    ///
    /// # Errors
    /// If a registry does not have them, or this machine cannot build them.
    pub async fn build_drivers() -> Result<Tools> {
        tokio::task::spawn_blocking(|| Tools::of(&TOOLS)).await?
    }

    /// Runs the drivers wherever their Pods are, from now on. Needs root: [`PodRunner::lacks`].
    ///
    /// # Errors
    /// If a program was not built.
    pub fn run_drivers(&self, tools: &Tools) -> Result<PodRunner> {
        let programs = vec![
            Program::new("cloud-provider-vsphere", tools.path("vsphere-cloud-controller-manager")?)
                .ready_at_port(CPI_PORT),
            Program::new("csi/release/driver", tools.path("vsphere-csi")?).ready_at_socket(SOCKET),
            Program::new("csi/release/syncer", tools.path("syncer")?),
            Program::new("csi-provisioner", tools.path("csi-provisioner")?),
        ];
        let runner = PodRunner::start(self.site.control_plane(), &self.nodes, programs)?;
        for number in 1..=3 {
            // As the BIOS of the machine shows it.
            let digits: Vec<char> = uuid(number).chars().filter(|digit| *digit != '-').collect();
            let bytes: Vec<String> = digits.chunks(2).map(|byte| byte.iter().collect()).collect();
            let serial = format!("VMware-{}-{}", bytes[..8].join(" "), bytes[8..].join(" "));
            runner.machine_file(&node(number), "/sys/class/dmi/id/product_serial", &serial);
        }
        Ok(runner)
    }

    /// Publishes the drivers' released manifests, and returns a matrix with CSI 3.3.1 and these versions of CPI, all of which are 1.36.0.
    ///
    /// # Errors
    /// If a manifest cannot be read.
    pub fn real_matrix(&self, tools: &Tools, cpi: &[&str]) -> Result<Value> {
        let read = |module: &str, file: &str| -> Result<String> {
            let file = tools.manifests(module)?.join(file);
            fs::read_to_string(&file).with_context(|| file.display().to_string())
        };
        let cloud = read("cpi", "releases/v1.36/vsphere-cloud-controller-manager.yaml")?;
        let storage = read("csi", "manifests/vanilla/vsphere-csi-driver.yaml")?;
        // The csi-provisioner that runs here is newer than the manifest's, and takes the driver's word for topology.
        let flag = "            - \"--default-fstype=ext4\"\n";
        ensure!(storage.contains(flag), "the manifest of CSI has no {flag}");
        let storage =
            storage.replace(flag, &format!("{flag}            - \"--feature-gates=Topology=false\"\n"));
        let csi = self.publish("/real-csi.yaml", &storage);
        let cpi: serde_json::Map<_, _> = cpi
            .iter()
            .map(|version| {
                let text = cloud.replace(":v1.36.0", &format!(":v{version}"));
                let file = self.publish(&format!("/real-cpi-{version}.yaml"), &text);
                let release = json!({"vSphere": {"min": "6.7.3"}, "k8s": {"skewVersion": "1.36"}, "deploymentPath": [file]});
                ((*version).to_owned(), release)
            })
            .collect();
        Ok(json!({
            "CPI": cpi,
            "CSI": {"3.3.1": {"vSphere": {"min": "7.0"}, "isCPIRequired": true, "deploymentPath": [csi]}},
        }))
    }

    /// Waits until CPI has set a Node up.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`]; the error has what the Node lacks.
    pub async fn is_set_up(&self, number: u16) -> Result<()> {
        let nodes: Api<NodeObject> = Api::all(self.site.client());
        eventually(&format!("{} is set up", node(number)), PATIENCE, async || {
            let object = nodes.get(&node(number)).await?;
            let spec = object.spec.unwrap_or_default();
            let addresses = object.status.and_then(|status| status.addresses).unwrap_or_default();
            let taints = spec.taints.unwrap_or_default();
            let waits = taints.iter().any(|taint| taint.key.starts_with("node.cloudprovider.kubernetes.io"));
            let is_known = spec.provider_id == Some(format!("vsphere://{}", uuid(number)));
            let has_address = addresses.iter().any(|address| address.type_ == "InternalIP");
            ensure!(is_known && has_address && !waits, "{:?}, {addresses:?}, {taints:?}", spec.provider_id);
            Ok(Some(()))
        })
        .await
    }

    /// Claims a volume of CSI, and waits until it is bound.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`].
    pub async fn claim(&self, name: &str) -> Result<()> {
        let claim = json!({
            "accessModes": ["ReadWriteOnce"], "storageClassName": "vsphere", "resources": {"requests": {"storage": "16Mi"}},
        });
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "vsphere"}, "provisioner": CSI},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"}, "spec": claim},
        ]});
        self.apply_text(&objects).await?;
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.site.client(), "default");
        eventually(&format!("the claim {name} is bound"), PATIENCE, async || {
            let phase = claims.get(name).await?.status.and_then(|status| status.phase);
            ensure!(phase.as_deref() == Some("Bound"), "it is {phase:?}");
            Ok(Some(()))
        })
        .await
    }
}
