//! What is kept of the Nodes: little, as there may be thousands.

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, NodeSystemInfo};
use kube::ResourceExt as _;
use kube::core::ObjectMeta;
use serde::Deserialize;

use crate::preflight::is_control_plane;

/// A Node without what only the scheduler and the kubelet read.
#[derive(Clone, Debug, Deserialize, kube::Resource)]
#[resource(inherit = Node)]
pub(crate) struct BriefNode {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: BriefSpec,
    #[serde(default)]
    status: BriefStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BriefSpec {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
    taints: Vec<k8s_openapi::api::core::v1::Taint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BriefStatus {
    node_info: BriefInfo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BriefInfo {
    #[serde(rename = "systemUUID")]
    system_uuid: String,
}

impl BriefNode {
    /// Returns the Node with what is known of it.
    pub(crate) fn node(&self) -> Node {
        let node_info = NodeSystemInfo { system_uuid: self.uuid().to_owned(), ..NodeSystemInfo::default() };
        Node {
            metadata: ObjectMeta {
                name: self.metadata.name.clone(),
                creation_timestamp: self.metadata.creation_timestamp.clone(),
                ..ObjectMeta::default()
            },
            spec: Some(NodeSpec {
                provider_id: self.spec.provider_id.clone(),
                taints: Some(self.spec.taints.clone()),
                ..NodeSpec::default()
            }),
            status: Some(NodeStatus { node_info: Some(node_info), ..NodeStatus::default() }),
        }
    }

    /// Returns the Node with its labels as well.
    pub(crate) fn labelled(&self) -> Node {
        let mut node = self.node();
        node.metadata.labels = Some(self.labels().clone());
        node
    }

    /// Returns the UUID of its machine, as the BIOS shows it; empty if the kubelet has not reported it.
    pub(crate) fn uuid(&self) -> &str {
        &self.status.node_info.system_uuid
    }

    /// Returns whether it is of the control plane.
    pub(crate) fn is_control_plane(&self) -> bool {
        is_control_plane(self.labels())
    }

    /// Returns what of a Node the drivers depend on, and what they change.
    pub(crate) fn relevant(&self) -> impl PartialEq + use<> {
        let taints: Vec<_> =
            self.spec.taints.iter().map(|taint| (taint.key.clone(), taint.effect.clone())).collect();
        (
            self.metadata.uid.clone(),
            self.spec.provider_id.clone(),
            taints,
            self.uuid().to_owned(),
            self.is_control_plane(),
        )
    }
}
