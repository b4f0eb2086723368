//! Simulated Nodes: what kubelets and a scheduler do to Nodes and Pods, without machines.
//!
//! Pods are bound to Nodes whose kubelet runs, become Ready immediately, and disappear when they are deleted. No container
//! runs, probes are not executed, addresses do not respond. Deployments, StatefulSets and DaemonSets need the controllers
//! that create their Pods: [`ControlPlaneBuilder::all_controllers`](crate::ControlPlaneBuilder::all_controllers). A
//! [`PodRunner`](crate::PodRunner) takes over Pods whose programs it has.

mod pods;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use k8s_openapi::api::storage::v1::CSINode;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::controllers;
use crate::pod_runner::is_of;

/// The interval in which a kubelet renews its Lease.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// The duration of a kubelet's Lease.
const LEASE_SECONDS: u64 = 40;
/// The label of a control-plane Node, and its taint against other Pods.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The taint of a Node that waits for its cloud controller manager.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
/// The taint that the API server adds to every new Node. It is removed when the Node is Ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// A Node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// The name.
    pub name: String,
    /// `spec.providerID`, of the form `<provider>://<id>`. Default: none.
    pub provider_id: Option<String>,
    /// The addresses of the type `InternalIP`. Default: none.
    pub addresses: Vec<String>,
    /// Whether it is a control-plane Node, on which only Pods with a toleration run. Default: false.
    pub control_plane: bool,
    /// `status.nodeInfo.systemUUID`, the UUID of the machine's BIOS. Default: the name.
    pub system_uuid: Option<String>,
    /// Whether a cloud controller manager initialises the Node: until then it has a taint against other Pods. Default: false.
    pub external_cloud: bool,
    /// The kubelet's version, for example `v1.36.1`. Default: that of the API server.
    pub version: Option<String>,
}

impl Node {
    /// Returns a worker with a name and defaults.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// The kubelets and the scheduler of a control plane. Dropping it stops them; the objects that they wrote stay.
pub struct Nodes {
    client: Client,
    version: String,
    members: Members,
    images: Images,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("names", &self.names()).finish_non_exhaustive()
    }
}

/// The running kubelets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members(Arc<Mutex<BTreeMap<String, Node>>>);

impl Members {
    /// Returns whether the kubelet of a Node runs.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all().contains_key(name)
    }

    fn names(&self) -> BTreeSet<String> {
        self.all().keys().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The images whose Pods a [`PodRunner`](crate::PodRunner) runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Images(Arc<Mutex<Vec<String>>>);

impl Images {
    pub(crate) fn add(&self, images: impl IntoIterator<Item = String>) {
        self.all().extend(images);
    }

    pub(crate) fn clear(&self) {
        self.all().clear();
    }

    /// Returns whether the Pod has a container of one of the images.
    pub(crate) fn runs(&self, pod: &Pod) -> bool {
        let images = self.all();
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let mut used = containers.filter_map(|container| container.image.as_deref());
        used.any(|image| images.iter().any(|known| is_of(image, known)))
    }

    fn all(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes {
    /// Starts the scheduler, without Nodes.
    ///
    /// # Errors
    /// If the version of the API server cannot be read.
    pub async fn start(client: Client) -> kube::Result<Self> {
        let version = client.apiserver_version().await?.git_version;
        let (members, images) = (Members::default(), Images::default());
        let mut tasks = JoinSet::new();
        let controller = controllers::all::<Pod>(&client);
        let context = pods::Context {
            client: client.clone(),
            pods: controller.store(),
            members: members.clone(),
            images: images.clone(),
            addresses: AtomicU32::new(0),
        };
        tasks.spawn(controllers::run(controller, pods::reconcile, Arc::new(context)));
        tasks.spawn(send_heartbeats(client.clone(), version.clone(), members.clone()));
        Ok(Self { client, version, members, images, _tasks: tasks })
    }

    /// Returns the running kubelets.
    pub(crate) fn members(&self) -> Members {
        self.members.clone()
    }

    /// Returns the images whose Pods these Nodes leave to others once they are bound.
    pub(crate) fn images(&self) -> Images {
        self.images.clone()
    }

    /// Returns the names of the Nodes whose kubelet runs.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.members.names()
    }

    /// Starts a kubelet. Its Node exists and is Ready when this returns.
    ///
    /// # Errors
    /// If the API server refuses the Node.
    pub async fn join(&self, node: Node) -> kube::Result<()> {
        let api: Api<NodeObject> = Api::all(self.client.clone());
        api.patch(&node.name, &kubelet(), &Patch::Apply(node_object(&node))).await?;
        renew_lease(&self.client, &node.name).await?;
        report_ready(&api, &node, &self.version).await?;
        self.members.all().insert(node.name.clone(), node);
        Ok(())
    }

    /// Registers a CSI driver at a Node, as its kubelet does when the driver's node plugin says who the Node is and where: the Node gets the
    /// topology as labels. Replaces what was registered there before.
    ///
    /// # Errors
    /// If the API server refuses it, as for a Node that does not exist.
    pub async fn register_driver(
        &self,
        node: &str,
        driver: &str,
        node_id: &str,
        topology: &BTreeMap<String, String>,
    ) -> kube::Result<()> {
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let labels = Patch::Merge(json!({"metadata": {"labels": topology}}));
        let owner = nodes.patch(node, &PatchParams::default(), &labels).await?.uid();
        let keys: Vec<_> = topology.keys().collect();
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": owner});
        let object = json!({
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": node, "ownerReferences": [owner]},
            "spec": {"drivers": [{"name": driver, "nodeID": node_id, "topologyKeys": keys}]},
        });
        let api: Api<CSINode> = Api::all(self.client.clone());
        api.patch(node, &kubelet(), &Patch::Apply(object)).await.map(drop)
    }

    /// Leaves the Pods with a container of this image, given with or without a tag, as they are once they are bound, for a test that reports
    /// how they fare.
    pub fn leave_pods(&self, image: &str) {
        self.images.add([image.to_owned()]);
    }

    /// Stops a kubelet as if its machine had failed: the Node and its Pods stay, even deleted Pods. If all controllers run,
    /// they set the Node to not Ready after 40 s.
    pub fn leave(&self, name: &str) {
        self.members.all().remove(name);
    }
}

/// Returns the parameters of a kubelet's server-side apply.
fn kubelet() -> PatchParams {
    PatchParams::apply("testbed-kubelet").force()
}

/// Reports a Node as Ready and removes the taint of new Nodes.
async fn report_ready(api: &Api<NodeObject>, node: &Node, default_version: &str) -> kube::Result<()> {
    let version = node.version.as_deref().unwrap_or(default_version);
    let ready = api.patch_status(&node.name, &kubelet(), &Patch::Apply(node_status(node, version))).await?;
    let mut taints = ready.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    taints.retain(|taint| taint.key != NOT_READY);
    let patch = json!({
        "metadata": {"resourceVersion": ready.resource_version()},
        "spec": {"taints": taints},
    });
    match api.patch(&node.name, &PatchParams::default(), &Patch::Merge(patch)).await {
        // The node lifecycle controller has removed the taint.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

/// Returns the Node object without its status.
fn node_object(node: &Node) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    });
    let mut spec = json!({});
    if let Some(id) = &node.provider_id {
        spec["providerID"] = id.as_str().into();
    }
    let mut taints = Vec::new();
    if node.control_plane {
        labels[CONTROL_PLANE] = "".into();
        taints.push(json!({"key": CONTROL_PLANE, "effect": "NoSchedule"}));
    }
    if node.external_cloud {
        taints.push(json!({"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"}));
    }
    if !taints.is_empty() {
        spec["taints"] = taints.into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": spec,
    })
}

/// Returns the Node object with the status of a Ready Node.
fn node_status(node: &Node, version: &str) -> Value {
    let now = Timestamp::now();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "",
            "lastHeartbeatTime": now, "lastTransitionTime": now})
    };
    let address = |address: &String| json!({"type": "InternalIP", "address": address});
    let capacity = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name},
        "status": {
            "addresses": node.addresses.iter().map(address).collect::<Vec<_>>(),
            "allocatable": capacity,
            "capacity": capacity,
            "conditions": [
                condition("Ready", "True", "KubeletReady"),
                condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": node.name,
                "containerRuntimeVersion": "testbed://0",
                "kernelVersion": "0",
                "kubeProxyVersion": "",
                "kubeletVersion": version,
                "machineID": node.name,
                "operatingSystem": "linux",
                "osImage": "testbed",
                "systemUUID": node.system_uuid.as_ref().unwrap_or(&node.name),
            },
        },
    })
}

/// Sends the heartbeats of all kubelets until dropped.
async fn send_heartbeats(client: Client, version: String, members: Members) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    loop {
        ticks.tick().await;
        for name in members.names() {
            // If the API server is unreachable, the next tick retries, as a kubelet does.
            let _ = send_heartbeat(&client, &name, &version, &members).await;
        }
    }
}

/// Renews a Node's Lease. Reports the Node as Ready if the controllers have set it to not Ready, which they do when the API
/// server was unreachable for longer than the Lease's duration.
async fn send_heartbeat(client: &Client, name: &str, version: &str, members: &Members) -> kube::Result<()> {
    renew_lease(client, name).await?;
    let api: Api<NodeObject> = Api::all(client.clone());
    let seen = api.get(name).await?;
    let conditions = seen.status.and_then(|status| status.conditions).unwrap_or_default();
    let is_ready = conditions.iter().any(|is| is.type_ == "Ready" && is.status == "True");
    let node = members.all().get(name).cloned();
    match node.filter(|_| !is_ready) {
        Some(node) => report_ready(&api, &node, version).await,
        None => Ok(()),
    }
}

/// Renews a Node's Lease.
async fn renew_lease(client: &Client, node: &str) -> kube::Result<()> {
    let api: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": MicroTime(Timestamp::now()),
        },
    });
    api.patch(node, &kubelet(), &Patch::Apply(lease)).await?;
    Ok(())
}
