//! Nodes without machines: what kubelets and a scheduler would do, as far as a test sees it.
//!
//! Thin for now: a Node that joins is Ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

/// A Node that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// `spec.providerID`.
    pub provider_id: String,
    /// Its internal addresses.
    pub addresses: Vec<String>,
    /// Whether it has a control plane's role.
    pub control_plane: bool,
}

/// The Nodes of a control plane.
#[derive(Clone)]
pub struct Nodes {
    client: Client,
    members: Arc<Mutex<BTreeMap<String, Node>>>,
}

impl Nodes {
    /// None yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, members: Arc::default() }
    }

    /// Whether a Node has joined and not left.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.members().contains_key(name)
    }

    /// Makes the Node, Ready.
    ///
    /// # Errors
    /// If the API server does not take it.
    pub async fn join(&self, node: Node) -> kube::Result<()> {
        let api: Api<NodeObject> = Api::all(self.client.clone());
        let ours = PatchParams::apply("testbed-kubelet").force();
        let addresses: Vec<_> =
            node.addresses.iter().map(|address| json!({"type": "InternalIP", "address": address})).collect();
        let object = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name, "labels": {"kubernetes.io/hostname": node.name}},
            "spec": {"providerID": node.provider_id},
        });
        api.patch(&node.name, &ours, &Patch::Apply(object)).await?;
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": "",
                "lastHeartbeatTime": null, "lastTransitionTime": null})
        };
        let status = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "status": {
                "addresses": addresses,
                "conditions": [
                    condition("Ready", "True", "KubeletReady"),
                    condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                    condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                    condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                ],
            },
        });
        api.patch_status(&node.name, &ours, &Patch::Apply(status)).await?;
        self.members().insert(node.name.clone(), node);
        Ok(())
    }

    /// Ends the Node's kubelet; the Node object stays.
    pub fn leave(&self, name: &str) {
        self.members().remove(name);
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Node>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
