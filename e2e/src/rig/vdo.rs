//! vdo with a simulated vCenter, Nodes whose machines stand in it, and a server of manifests.

mod command;
mod drivers;
mod job;
mod objects;
mod real;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data_encoding::HEXLOWER;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testbed::{FileReply, FileServer, Guest, NewVm, Node, Nodes, Vcsim, eventually};

pub use self::command::Printed;
use super::{PASSWORD, Rig as _};
use crate::install::Plane;
use crate::site::{PATIENCE, Site};

/// The driver's name, as Nodes register it.
const CSI: &str = "csi.vsphere.vmware.com";
const FOLDER: &str = "/DC0/vm";
/// The name of the VDOConfig, and of the VsphereCloudConfig.
const NAME: &str = "vdo";

/// A control plane, a simulated vCenter, three Nodes, and vdo installed but not yet started.
pub struct VdoRig {
    // What runs in the control plane before the control plane.
    nodes: Nodes,
    site: Site,
    /// The vCenter.
    pub vcenter: Vcsim,
    files: FileServer,
    published: Arc<Mutex<BTreeMap<String, String>>>,
}

impl VdoRig {
    /// Starts a rig with a control plane of its own: the drivers' objects have fixed names.
    ///
    /// # Errors
    /// If a server does not start or the operator cannot be installed.
    pub async fn start() -> Result<Self> {
        Self::on(Plane::alone(&Self::SUBJECT).await?, true).await
    }

    /// Starts a rig. `external_cloud`: its Nodes wait for a cloud provider.
    async fn on(plane: Arc<Plane>, external_cloud: bool) -> Result<Self> {
        let published: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
        let serving = Arc::clone(&published);
        let answer = move |request: &testbed::FileRequest| {
            let files = serving.lock().unwrap_or_else(PoisonError::into_inner);
            files.get(&request.path).map_or_else(FileReply::not_found, |text| FileReply::file(text.as_str()))
        };
        let vcenter = Vcsim::builder().release("8.0.3", "8.0.3.0", "24022515").password(PASSWORD);
        let (vcenter, files) = tokio::try_join!(vcenter.start(), FileServer::plain(answer))?;
        let site = Site::new(&Self::SUBJECT, plane).await?;
        let nodes = Nodes::start(site.client()).await?;
        let rig = Self { nodes, site, vcenter, files, published };
        for number in 1..=3 {
            rig.add_machine(number).await?;
            rig.add_node(number, external_cloud).await?;
        }
        Ok(rig)
    }

    /// Adds the machine of a Node to the vCenter.
    ///
    /// # Errors
    /// If the simulator refuses.
    pub async fn add_machine(&self, number: u16) -> Result<()> {
        self.add_machine_to(&self.vcenter, number).await
    }

    /// Adds the machine of a Node to another vCenter.
    ///
    /// # Errors
    /// If the simulator refuses.
    pub async fn add_machine_to(&self, vcenter: &Vcsim, number: u16) -> Result<()> {
        let name = node(number);
        vcenter.add_vms(FOLDER, &[NewVm::new(&name)]).await?;
        let address = format!("10.0.{}.{}", number / 256, number % 256);
        let guest = Guest::named(&name).uuid(&uuid(number)).addresses(&[&address]);
        let path = format!("{FOLDER}/{name}");
        vcenter.set_guest(&path, &guest).await?;
        vcenter.set_hardware(&path, "vmx-19", false).await?;
        vcenter.set_extra_config(&path, "disk.enableUUID", Some("TRUE")).await
    }

    /// Has a Node join, which waits for a cloud provider. The first is of the control plane.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn join(&self, number: u16) -> Result<()> {
        self.add_node(number, true).await
    }

    async fn add_node(&self, number: u16, external_cloud: bool) -> Result<()> {
        let node = Node {
            control_plane: number == 1,
            system_uuid: Some(uuid(number)),
            provider_id: (!external_cloud).then(|| format!("vsphere://{}", uuid(number))),
            external_cloud,
            ..Node::named(&node(number))
        };
        Ok(self.nodes.join(node).await?)
    }

    /// Leaves the Pods with a container of this image to the test: what they do is not played.
    pub fn leave_pods(&self, image: &str) {
        self.nodes.leave_pods(image);
    }

    /// Publishes a file; returns the source with its checksum.
    pub fn publish(&self, path: &str, text: &str) -> String {
        let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.insert(path.to_owned(), text.to_owned());
        format!("{}{path}#sha256={}", self.files.url(), HEXLOWER.encode(&Sha256::digest(text)))
    }

    /// Returns the paths that were asked of the server of manifests.
    #[must_use]
    pub fn downloads(&self) -> Vec<String> {
        self.files.requests().into_iter().map(|request| request.path).collect()
    }

    /// Writes the Secret with the account.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn write_account(&self, password: &str) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vc-creds", "namespace": "kube-system"},
            "stringData": {"username": self.vcenter.user(), "password": password},
        });
        self.apply_text(&secret).await
    }

    /// Writes the matrix, with `auto-upgrade`.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn write_matrix(&self, matrix: &Value) -> Result<()> {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "compat-matrix-config", "namespace": self.site.namespace()},
            "data": {"auto-upgrade": "enabled", "versionConfigContent": matrix.to_string()},
        });
        self.apply_text(&map).await
    }

    async fn apply_text(&self, object: &Value) -> Result<()> {
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.site.control_plane().kubectl_stdin(&apply, &object.to_string()).await.map(drop)
    }

    /// Sets the first Nodes up, as CPI does.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn set_up_nodes(&self) -> Result<()> {
        for number in 1..=3 {
            self.set_up(number).await?;
        }
        Ok(())
    }

    /// Sets a Node up, as CPI does.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn set_up(&self, number: u16) -> Result<()> {
        let patch = json!({"spec": {"providerID": format!("vsphere://{}", uuid(number)), "taints": null}});
        let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(self.site.client());
        nodes.patch(&node(number), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Registers CSI on the first Nodes, as the kubelet does.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn register_csi(&self) -> Result<()> {
        for number in 1..=3 {
            self.register(number).await?;
        }
        Ok(())
    }

    /// Registers CSI on a Node, as the kubelet does.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn register(&self, number: u16) -> Result<()> {
        let zone = BTreeMap::from([("topology.csi.vmware.com/zone".to_owned(), "one".to_owned())]);
        Ok(self.nodes.register_driver(&node(number), CSI, &uuid(number), &zone).await?)
    }

    /// Returns what `kubectl get` prints of an object in JSON; `None` if it does not exist.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn get(&self, namespace: &str, kind: &str, name: &str) -> Result<Option<Value>> {
        let get = ["get", kind, name, "-n", namespace, "-o", "json", "--ignore-not-found"];
        let text = self.site.control_plane().kubectl(&get).await?;
        if text.trim().is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&text)?)) }
    }

    /// Returns the image of a workload's first container.
    ///
    /// # Errors
    /// If it does not exist.
    pub async fn image(&self, namespace: &str, kind: &str, name: &str) -> Result<String> {
        let object = self.get(namespace, kind, name).await?;
        let object = object.with_context(|| format!("no {kind} {namespace}/{name}"))?;
        let image = &object["spec"]["template"]["spec"]["containers"][0]["image"];
        Ok(image.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the image of CPI ends so.
    ///
    /// # Errors
    /// If that takes longer than `patience`; the error has the image.
    pub async fn cpi_becomes(&self, end: &str, patience: Duration) -> Result<()> {
        eventually(&format!("the image of CPI ends with {end}"), patience, async || {
            let image = self.image("kube-system", "daemonset", "vsphere-cloud-controller-manager").await?;
            ensure!(image.ends_with(end), "it is {image}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a condition of the VDOConfig has this reason.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`]; the error has the status.
    pub async fn says(&self, condition: &str, reason: &str) -> Result<Value> {
        eventually(&format!("{condition} says {reason}"), PATIENCE, async || {
            let status = self.site.status(NAME).await?;
            let found = crate::objects::condition(&status, condition);
            ensure!(found.is_some_and(|found| found["reason"] == reason), "its status is {status}");
            Ok(Some(status))
        })
        .await
    }

    /// Waits until the VDOConfig is Ready by a status that answers its present spec.
    ///
    /// # Errors
    /// If that takes longer than `patience`; the error has the status.
    pub async fn settled(&self, patience: Duration) -> Result<Value> {
        self.site.ready_within(NAME, patience, |_| true).await
    }
}

impl Deref for VdoRig {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

fn node(number: u16) -> String {
    format!("node-{number}")
}

fn uuid(number: u16) -> String {
    format!("4230{number:04x}-aaaa-4bbb-8ccc-{number:012}")
}
