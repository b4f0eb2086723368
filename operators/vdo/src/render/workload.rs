//! Pods: replicas, resources, tolerations, environment.

use std::collections::BTreeSet;

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::{Settings, kind_of};
use crate::matrix::Driver;
use crate::problem::Problem;

/// The most replicas of a controller.
const MOST_REPLICAS: usize = 3;
/// CPI looks only whether it is set.
const SKIP_NODE_DELETION: &str = "SKIP_NODE_DELETION";

/// Returns the spec of the Pods of a workload.
pub(super) fn pod_spec(object: &mut DynamicObject) -> Option<&mut Value> {
    let is_workload =
        matches!(kind_of(object), "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "StatefulSet");
    if !is_workload {
        return None;
    }
    object.data.get_mut("spec")?.get_mut("template")?.get_mut("spec")
}

/// Returns the images of a workload, init containers first.
#[must_use]
pub fn images_of(object: &DynamicObject) -> Vec<String> {
    let spec = &object.data["spec"]["template"]["spec"];
    let containers = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| spec[list].as_array().into_iter().flatten());
    containers.filter_map(|container| container["image"].as_str()).map(str::to_owned).collect()
}

/// Calls `change` with each container of a Pod.
pub(super) fn each_container(spec: &mut Value, mut change: impl FnMut(&mut Value)) {
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(&mut change);
    }
}

pub(super) fn change(objects: &mut [DynamicObject], settings: &Settings) -> Vec<Problem> {
    let mut names = BTreeSet::new();
    for object in objects {
        limit_replicas(object, settings.control_plane_nodes);
        let Some(spec) = pod_spec(object) else { continue };
        tolerate(spec, settings);
        each_container(spec, |container| {
            let name = container["name"].as_str().unwrap_or_default().to_owned();
            if let Some(resources) = settings.resources.get(&name) {
                container["resources"] = json!(resources);
            }
            if settings.driver == Driver::Cpi && settings.keeps_nodes {
                set_variable(container, SKIP_NODE_DELETION, "true");
            }
            names.insert(name);
        });
    }
    let unknown = settings.resources.keys().filter(|name| !names.contains(*name));
    unknown
        .map(|name| {
            let known = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!("{} has no such container: write one of {known}", settings.driver);
            Problem::new(format!("resources.{name}"), message)
        })
        .collect()
}

/// Controllers keep apart from each other: a replica without a Node for it would stay pending.
fn limit_replicas(object: &mut DynamicObject, control_plane_nodes: usize) {
    if kind_of(object) != "Deployment" {
        return;
    }
    let most = control_plane_nodes.clamp(1, MOST_REPLICAS);
    if let Some(replicas) = object.data.get_mut("spec").and_then(|spec| spec.get_mut("replicas"))
        && replicas.as_u64().is_some_and(|replicas| replicas > most as u64)
    {
        *replicas = most.into();
    }
}

/// Taints of Nodes that have no network yet, or that no cloud provider has set up. Both drivers that change this must run on them:
/// else each would wait for the other.
const EARLY: [&str; 2] = ["node.cloudprovider.kubernetes.io/uninitialized", "node.kubernetes.io/not-ready"];

fn tolerate(spec: &mut Value, settings: &Settings) {
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    let tolerates_all = tolerations.iter().any(|toleration| {
        toleration["key"].is_null()
            && toleration["operator"] == "Exists"
            && toleration["effect"] == "NoSchedule"
    });
    let early = EARLY.iter().filter(|key| {
        let is_needed = matches!(settings.driver, Driver::Cni | Driver::Cpi) && !tolerates_all;
        is_needed && tolerations.iter().all(|toleration| toleration["key"] != **key)
    });
    let early: Vec<_> =
        early.map(|key| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"})).collect();
    tolerations.extend(early);
    for toleration in &settings.tolerations {
        let toleration = json!(toleration);
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    if !tolerations.is_empty() {
        spec["tolerations"] = tolerations.into();
    }
}

fn set_variable(container: &mut Value, name: &str, value: &str) {
    let mut variables = container["env"].as_array().cloned().unwrap_or_default();
    variables.retain(|variable| variable["name"] != name);
    variables.push(json!({"name": name, "value": value}));
    container["env"] = variables.into();
}
