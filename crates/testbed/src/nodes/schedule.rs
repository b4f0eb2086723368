//! Choice of a Node for a Pod. Pure functions.
//!
//! Supports `nodeSelector`, required node affinity, taints and tolerations, and cordons. Ignores resources, affinity between
//! Pods, preferences and priorities.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};
use kube::ResourceExt;

/// The taint of a cordoned Node; Pods of DaemonSets tolerate it.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Returns the fitting Node with the fewest Pods; of several the first by name.
pub(super) fn choose<'a>(
    pod: &Pod,
    nodes: impl IntoIterator<Item = &'a Node>,
    pods: &BTreeMap<String, usize>,
) -> Option<&'a Node> {
    let spec = pod.spec.as_ref()?;
    let fitting = nodes.into_iter().filter(|node| fits(spec, node));
    fitting.min_by_key(|node| (pods.get(&node.name_any()).copied().unwrap_or_default(), node.name_any()))
}

/// Returns whether a Pod may run on a Node.
fn fits(pod: &PodSpec, node: &Node) -> bool {
    let tolerations = pod.tolerations.as_deref().unwrap_or_default();
    let tolerated = |taint: &Taint| tolerations.iter().any(|toleration| tolerates(toleration, taint));
    let spec = node.spec.clone().unwrap_or_default();
    let mut taints = spec.taints.unwrap_or_default();
    if spec.unschedulable == Some(true) {
        taints.push(Taint {
            key: UNSCHEDULABLE.to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        });
    }
    let repels = |taint: &Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let selector = pod.node_selector.iter().flatten();
    let affinity = pod.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    taints.iter().all(|taint| !repels(taint) || tolerated(taint))
        && selector.into_iter().all(|(key, value)| node.labels().get(key) == Some(value))
        && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| selects(term, node)))
}

/// Returns whether a toleration matches a taint.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let any_value = toleration.operator.as_deref() == Some("Exists");
    let key = match toleration.key.as_deref() {
        None | Some("") => any_value,
        Some(key) => key == taint.key,
    };
    let effect =
        toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == taint.effect);
    let value = any_value
        || toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    key && effect && value
}

/// Returns whether a Node meets all requirements of a term. A term without requirements selects no Node.
fn selects(term: &NodeSelectorTerm, node: &Node) -> bool {
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let name = node.name_any();
    let field = |key: &str| (key == "metadata.name").then_some(name.as_str());
    let label = |key: &str| node.labels().get(key).map(String::as_str);
    !(fields.is_empty() && expressions.is_empty())
        && fields.iter().all(|requirement| is_met(requirement, field(&requirement.key)))
        && expressions.iter().all(|requirement| is_met(requirement, label(&requirement.key)))
}

/// Returns whether a value meets a requirement.
fn is_met(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|one| one == value));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // Gt and Lt: no Node of the testbed has a numeric label.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, labels: &Value, spec: &Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}, "spec": spec})).unwrap()
    }

    fn chosen(spec: &Value, pods: &[(&str, usize)]) -> Option<String> {
        let control_plane = json!({"taints": [{"key": "control-plane", "effect": "NoSchedule"}]});
        let nodes = [
            node("a", &json!({"disk": "ssd"}), &control_plane),
            node("b", &json!({"disk": "hdd"}), &json!({})),
            node("c", &json!({"disk": "ssd"}), &json!({})),
            node("d", &json!({}), &json!({"unschedulable": true})),
        ];
        let mut pod = json!({"metadata": {}, "spec": {"containers": []}});
        pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let pods = pods.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        choose(&serde_json::from_value(pod).unwrap(), &nodes, &pods).map(ResourceExt::name_any)
    }

    #[test]
    fn the_node_with_the_fewest_pods_is_chosen() {
        assert_eq!(chosen(&json!({}), &[]).as_deref(), Some("b"));
        assert_eq!(chosen(&json!({}), &[("b", 2), ("c", 1)]).as_deref(), Some("c"));
    }

    #[test]
    fn selectors_taints_and_affinity_are_respected() {
        assert_eq!(chosen(&json!({"nodeSelector": {"disk": "ssd"}}), &[]).as_deref(), Some("c"));
        assert_eq!(chosen(&json!({"nodeSelector": {"disk": "tape"}}), &[]), None);
        let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
        assert_eq!(chosen(&tolerant, &[]).as_deref(), Some("a"));
        let value = json!({"tolerations": [{"key": "control-plane", "value": "other"}]});
        assert_eq!(chosen(&value, &[]).as_deref(), Some("b"));
        let daemon = |name: &str| {
            let requirement = json!({"key": "metadata.name", "operator": "In", "values": [name]});
            json!({
                "tolerations": [{"key": UNSCHEDULABLE, "operator": "Exists", "effect": "NoSchedule"}],
                "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchFields": [requirement]}],
                }}},
            })
        };
        assert_eq!(chosen(&daemon("d"), &[]).as_deref(), Some("d"));
        assert_eq!(chosen(&daemon("a"), &[]), None);
        let nothing = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{}],
        }}}});
        assert_eq!(chosen(&nothing, &[]), None);
    }
}
