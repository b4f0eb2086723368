//! Reads the facts that objects of the cluster hold. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use k8s_openapi::api::storage::v1::{CSINode, StorageClass, VolumeAttachment};
use kube::ResourceExt;

use super::facts::{NodeFacts, StorageClassFacts};
use crate::nodes::CSI_DRIVER;

/// Labels of Nodes of the control plane, which are the taints that the controllers tolerate as well.
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// Beginnings of taints that come and go with the state of a Node.
const STATES: [&str; 2] = ["node.kubernetes.io/", "node.cloudprovider.kubernetes.io/"];

impl NodeFacts {
    /// Reads a Node. `volumes`: how many are attached to it; `tolerations`: those that settings add to the controllers.
    #[must_use]
    pub fn read(node: &Node, csi_node: Option<&CSINode>, volumes: usize, tolerations: &[Toleration]) -> Self {
        let spec = node.spec.as_ref();
        let taints = spec.and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let stays = |taint: &&Taint| {
            taint.effect != "PreferNoSchedule"
                && !CONTROL_PLANE.contains(&taint.key.as_str())
                && !STATES.iter().any(|state| taint.key.starts_with(state))
                && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
        };
        let drivers = csi_node.map(|node| node.spec.drivers.as_slice()).unwrap_or_default();
        let driver = drivers.iter().find(|driver| driver.name == CSI_DRIVER);
        let limit = driver.and_then(|driver| driver.allocatable.as_ref()?.count);
        Self {
            name: node.name_any(),
            provider_id: spec.and_then(|spec| spec.provider_id.clone()).filter(|id| !id.is_empty()),
            is_control_plane: is_control_plane(node.labels()),
            taints: taints.iter().filter(stays).map(show).collect(),
            volumes,
            volume_limit: limit.and_then(|limit| usize::try_from(limit).ok()),
            ..Self::default()
        }
    }
}

/// Returns whether a Node with these labels is of the control plane.
pub(crate) fn is_control_plane(labels: &BTreeMap<String, String>) -> bool {
    CONTROL_PLANE.iter().any(|label| labels.contains_key(*label))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let is_effect =
        toleration.effect.as_ref().is_none_or(|effect| effect.is_empty() || *effect == taint.effect);
    let key = toleration.key.as_deref().unwrap_or_default();
    let exists = toleration.operator.as_deref() == Some("Exists");
    let value = |text: &Option<String>| text.clone().unwrap_or_default();
    is_effect
        && (key.is_empty() && exists
            || key == taint.key && (exists || value(&toleration.value) == value(&taint.value)))
}

fn show(taint: &Taint) -> String {
    match taint.value.as_deref() {
        Some(value) if !value.is_empty() => format!("{}={value}:{}", taint.key, taint.effect),
        _ => format!("{}:{}", taint.key, taint.effect),
    }
}

/// Returns the UUIDs of the Nodes' machines, by name of the Node.
#[must_use]
pub fn uuids<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> BTreeMap<String, String> {
    let uuid = |node: &Node| Some(node.status.as_ref()?.node_info.as_ref()?.system_uuid.clone());
    nodes.into_iter().filter_map(|node| Some((node.name_any(), uuid(node)?))).collect()
}

impl StorageClassFacts {
    /// Reads a StorageClass; `None` if it is not of CSI.
    #[must_use]
    pub fn read(class: &StorageClass) -> Option<Self> {
        if class.provisioner != CSI_DRIVER {
            return None;
        }
        let parameters = class.parameters.iter().flatten();
        let mut facts = Self { name: class.name_any(), ..Self::default() };
        for (key, value) in parameters.filter(|(_, value)| !value.is_empty()) {
            // CSI ignores the case of keys.
            match key.to_ascii_lowercase().as_str() {
                "storagepolicyname" => facts.policy = Some(value.clone()),
                "datastoreurl" => facts.datastore_url = Some(value.clone()),
                _ => {}
            }
        }
        Some(facts)
    }
}

/// Returns how many volumes of CSI are attached to each Node, by its name.
#[must_use]
pub fn attached(attachments: &[VolumeAttachment]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for attachment in attachments.iter().filter(|of| of.spec.attacher == CSI_DRIVER) {
        *counts.entry(attachment.spec.node_name.clone()).or_default() += 1;
    }
    counts
}

/// Returns the attachments of CSI whose Node is not one of these: names of the VolumeAttachment and the Node.
#[must_use]
pub fn lost<'a>(
    attachments: &[VolumeAttachment],
    nodes: impl IntoIterator<Item = &'a Node>,
) -> Vec<(String, String)> {
    let names: Vec<String> = nodes.into_iter().map(ResourceExt::name_any).collect();
    let ours = attachments.iter().filter(|of| of.spec.attacher == CSI_DRIVER);
    let lost = ours.filter(|of| !names.contains(&of.spec.node_name));
    lost.map(|of| (of.name_any(), of.spec.node_name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    fn object<T: DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    fn node(taints: &Value) -> Node {
        object(json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"providerID": "vsphere://x", "taints": taints},
            "status": {"nodeInfo": {"architecture": "", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "4230"}},
        }))
    }

    #[test]
    fn taints_count_that_stay_and_are_not_tolerated() {
        let taint =
            |key: &str, value: &str, effect: &str| json!({"key": key, "value": value, "effect": effect});
        let toleration = |of: Value| vec![object::<Toleration>(of)];
        let team = taint("team", "a", "NoSchedule");
        for (taint, tolerations, wanted) in [
            (team.clone(), vec![], &["team=a:NoSchedule"][..]),
            (taint("team", "", "NoExecute"), vec![], &["team:NoExecute"]),
            (taint("team", "a", "PreferNoSchedule"), vec![], &[]),
            (taint("node-role.kubernetes.io/control-plane", "", "NoSchedule"), vec![], &[]),
            (taint("node.kubernetes.io/not-ready", "", "NoExecute"), vec![], &[]),
            (taint("node.cloudprovider.kubernetes.io/uninitialized", "true", "NoSchedule"), vec![], &[]),
            (team.clone(), toleration(json!({"operator": "Exists"})), &[]),
            (team.clone(), toleration(json!({"key": "team", "operator": "Exists"})), &[]),
            (team.clone(), toleration(json!({"key": "team", "value": "a", "effect": "NoSchedule"})), &[]),
            (team.clone(), toleration(json!({"key": "team", "value": "b"})), &["team=a:NoSchedule"]),
            (
                team,
                toleration(json!({"key": "team", "operator": "Exists", "effect": "NoExecute"})),
                &["team=a:NoSchedule"],
            ),
        ] {
            assert_eq!(
                NodeFacts::read(&node(&json!([taint])), None, 0, &tolerations).taints,
                wanted,
                "{taint}"
            );
        }
    }

    #[test]
    fn a_node_says_what_it_is() {
        let csi = json!({"metadata": {"name": "n"}, "spec": {"drivers": [
            {"name": CSI_DRIVER, "nodeID": "x", "allocatable": {"count": 20}}]}});
        let node = node(&json!(null));
        let facts = NodeFacts::read(&node, Some(&object(csi)), 3, &[]);
        assert_eq!((facts.name.as_str(), facts.provider_id.as_deref()), ("n", Some("vsphere://x")));
        assert_eq!((facts.is_control_plane, facts.volumes, facts.volume_limit), (true, 3, Some(20)));
        assert_eq!(uuids([&node]), BTreeMap::from([("n".to_owned(), "4230".to_owned())]));
    }

    #[test]
    fn classes_and_attachments_of_csi_count() {
        let class = |provisioner: &str| {
            object::<StorageClass>(json!({"metadata": {"name": "c"}, "provisioner": provisioner,
            "parameters": {"StoragePolicyName": "gold", "datastoreurl": "", "fstype": "ext4"}}))
        };
        let facts = StorageClassFacts::read(&class(CSI_DRIVER)).unwrap();
        assert_eq!((facts.policy.as_deref(), facts.datastore_url), (Some("gold"), None));
        assert_eq!(StorageClassFacts::read(&class("other")), None);
        let attachment = |name: &str, attacher: &str, node: &str| {
            object::<VolumeAttachment>(json!({
            "metadata": {"name": name}, "spec": {"attacher": attacher, "nodeName": node, "source": {}}}))
        };
        let all = [
            attachment("a", CSI_DRIVER, "n"),
            attachment("b", CSI_DRIVER, "gone"),
            attachment("c", "other", "gone"),
        ];
        assert_eq!(attached(&all), BTreeMap::from([("n".to_owned(), 1), ("gone".to_owned(), 1)]));
        assert_eq!(lost(&all, [&node(&json!([]))]), [("b".to_owned(), "gone".to_owned())]);
    }
}
