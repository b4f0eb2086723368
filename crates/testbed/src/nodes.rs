//! Nodes without machines: what kubelets and a scheduler would do, as far as a test sees it.
//!
//! Pods are bound to Nodes whose kubelet runs, become Ready at once, and go when they are deleted. No
//! container runs, no probe is asked, no address answers. Deployments, StatefulSets and DaemonSets need the
//! controllers that make Pods of them: [`ControlPlaneBuilder::all_controllers`](crate::ControlPlaneBuilder::all_controllers).

mod pods;
mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::controllers;

/// How often a kubelet renews its Lease, and for how long it holds.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASE_SECONDS: u64 = 40;
/// The role's label on a Node of the control plane, and the taint that keeps other Pods off it.
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// The API server puts it on every new Node; whoever finds the Node Ready takes it away.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// A Node that joins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `spec.providerID`, of the form `<provider>://<id>`. Default: none.
    pub provider_id: Option<String>,
    /// Its addresses of the type `InternalIP`. Default: none.
    pub addresses: Vec<String>,
    /// Whether it has the control plane's role: only Pods that tolerate it run there. Default: no.
    pub control_plane: bool,
    /// Its kubelet's version, such as `v1.36.1`. Default: the API server's.
    pub version: Option<String>,
}

impl Node {
    /// A worker with nothing but a name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// The kubelets and the scheduler of one control plane. Dropped = all ended; what they wrote stays.
pub struct Nodes {
    client: Client,
    version: String,
    members: Members,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("names", &self.names()).finish_non_exhaustive()
    }
}

/// The kubelets that run.
#[derive(Debug, Clone, Default)]
struct Members(Arc<Mutex<BTreeMap<String, Node>>>);

impl Members {
    fn names(&self) -> BTreeSet<String> {
        self.all().keys().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes {
    /// Starts the scheduler; there is no Node yet.
    ///
    /// # Errors
    /// If the API server does not say its version.
    pub async fn start(client: Client) -> kube::Result<Self> {
        let version = client.apiserver_version().await?.git_version;
        let members = Members::default();
        let mut tasks = JoinSet::new();
        let controller = controllers::all::<Pod>(&client);
        let context = pods::Context {
            client: client.clone(),
            pods: controller.store(),
            members: members.clone(),
            addresses: AtomicU32::new(0),
        };
        tasks.spawn(controllers::run(controller, pods::reconcile, Arc::new(context)));
        tasks.spawn(beat(client.clone(), version.clone(), members.clone()));
        Ok(Self { client, version, members, _tasks: tasks })
    }

    /// The names of the Nodes whose kubelet runs.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.members.names()
    }

    /// Starts a kubelet; its Node is there and Ready when this returns.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub async fn join(&self, node: Node) -> kube::Result<()> {
        let api: Api<NodeObject> = Api::all(self.client.clone());
        api.patch(&node.name, &kubelet(), &Patch::Apply(object(&node))).await?;
        renew(&self.client, &node.name).await?;
        report(&api, &node, &self.version).await?;
        self.members.all().insert(node.name.clone(), node);
        Ok(())
    }

    /// Ends a kubelet, as a machine's end does: the Node stays, and so do its Pods, even deleted ones. Where all
    /// controllers run, they say after 40 s that it is not Ready.
    pub fn leave(&self, name: &str) {
        self.members.all().remove(name);
    }
}

fn kubelet() -> PatchParams {
    PatchParams::apply("testbed-kubelet").force()
}

/// Says that a Node is Ready.
async fn report(api: &Api<NodeObject>, node: &Node, default_version: &str) -> kube::Result<()> {
    let version = node.version.as_deref().unwrap_or(default_version);
    let ready = api.patch_status(&node.name, &kubelet(), &Patch::Apply(status(node, version))).await?;
    let mut taints = ready.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    taints.retain(|taint| taint.key != NOT_READY);
    let patch = json!({
        "metadata": {"resourceVersion": ready.resource_version()},
        "spec": {"taints": taints},
    });
    match api.patch(&node.name, &PatchParams::default(), &Patch::Merge(patch)).await {
        // The node lifecycle controller has just done the same.
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(()),
        other => other.map(drop),
    }
}

fn object(node: &Node) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
    });
    let mut spec = json!({});
    if let Some(id) = &node.provider_id {
        spec["providerID"] = id.as_str().into();
    }
    if node.control_plane {
        labels[CONTROL_PLANE] = "".into();
        spec["taints"] = json!([{"key": CONTROL_PLANE, "effect": "NoSchedule"}]);
    }
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": spec,
    })
}

fn status(node: &Node, version: &str) -> Value {
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
                "systemUUID": node.name,
            },
        },
    })
}

/// What kubelets do for as long as they run.
async fn beat(client: Client, version: String, members: Members) {
    let mut ticks = tokio::time::interval(HEARTBEAT);
    loop {
        ticks.tick().await;
        for name in members.names() {
            // An API server that is away: again at the next tick, as a kubelet does.
            let _ = keep(&client, &name, &version, &members).await;
        }
    }
}

/// Renews a Node's Lease; a Node that was taken for dead, as all are after an API server was away for longer than
/// the Lease holds, says that it is Ready.
async fn keep(client: &Client, name: &str, version: &str, members: &Members) -> kube::Result<()> {
    renew(client, name).await?;
    let api: Api<NodeObject> = Api::all(client.clone());
    let seen = api.get(name).await?;
    let conditions = seen.status.and_then(|status| status.conditions).unwrap_or_default();
    let is_ready = conditions.iter().any(|is| is.type_ == "Ready" && is.status == "True");
    let node = members.all().get(name).cloned();
    match node.filter(|_| !is_ready) {
        Some(node) => report(&api, &node, version).await,
        None => Ok(()),
    }
}

async fn renew(client: &Client, node: &str) -> kube::Result<()> {
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
