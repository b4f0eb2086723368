//! The objects of a workload cluster in the management cluster. Pure functions.

use serde_json::{Value, json};

use super::provider::CLUSTER_LABEL;
use super::workload::{Variable, WorkloadBuilder};

const CORE: &str = "cluster.x-k8s.io/v1beta2";
const INFRASTRUCTURE: &str = "infrastructure.cluster.x-k8s.io/v1";
const BOOTSTRAP: &str = "bootstrap.cluster.x-k8s.io/v1";
const CONTROL_PLANE: &str = "controlplane.cluster.x-k8s.io/v1";
/// The class of the workers in the ClusterClass.
const WORKER: &str = "worker";
/// The name of the only MachineDeployment within its cluster.
const DEPLOYMENT: &str = "md-0";

/// Returns the objects in the order in which they must be applied. `version` is the Kubernetes version.
pub(super) fn objects_of(cluster: &WorkloadBuilder<'_>, version: &str) -> Vec<Value> {
    let template =
        |version: &str, kind: &str| object(cluster, version, kind, &json!({"template": {"spec": {}}}));
    let mut objects = if cluster.variables.is_empty() {
        vec![
            object(cluster, INFRASTRUCTURE, "TestbedCluster", &json!({})),
            object(
                cluster,
                CONTROL_PLANE,
                "TestbedControlPlane",
                &json!({"replicas": cluster.control_plane, "version": version}),
            ),
        ]
    } else {
        vec![
            template(INFRASTRUCTURE, "TestbedClusterTemplate"),
            template(INFRASTRUCTURE, "TestbedMachineTemplate"),
            template(BOOTSTRAP, "TestbedBootstrapConfigTemplate"),
            template(CONTROL_PLANE, "TestbedControlPlaneTemplate"),
            object(cluster, CORE, "ClusterClass", &class(cluster)),
        ]
    };
    objects.push(object(cluster, CORE, "Cluster", &spec(cluster, version)));
    if cluster.workers > 0 && cluster.variables.is_empty() {
        objects.extend(workers(cluster, version));
    }
    objects
}

/// Returns an object with the cluster's name. A Cluster also gets the builder's labels and annotations.
fn object(cluster: &WorkloadBuilder<'_>, version: &str, kind: &str, spec: &Value) -> Value {
    let mut metadata = json!({"name": cluster.name, "namespace": cluster.namespace});
    if kind == "Cluster" {
        metadata["labels"] = json!(cluster.labels);
        metadata["annotations"] = json!(cluster.annotations);
    }
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

fn spec(cluster: &WorkloadBuilder<'_>, version: &str) -> Value {
    let mut spec = json!({
        "clusterNetwork": {
            "pods": {"cidrBlocks": cluster.pods},
            "services": {"cidrBlocks": cluster.services},
        },
    });
    if cluster.variables.is_empty() {
        spec["infrastructureRef"] = reference("infrastructure", "TestbedCluster", &cluster.name);
        spec["controlPlaneRef"] = reference("controlplane", "TestbedControlPlane", &cluster.name);
    } else {
        let set =
            |variable: &Variable| Some(json!({"name": variable.name, "value": variable.value.as_ref()?}));
        spec["topology"] = json!({
            "classRef": {"name": cluster.name},
            "version": version,
            "controlPlane": {"replicas": cluster.control_plane},
            "variables": cluster.variables.iter().filter_map(set).collect::<Vec<_>>(),
        });
        if cluster.workers > 0 {
            let workers = json!({"class": WORKER, "name": DEPLOYMENT, "replicas": cluster.workers});
            spec["topology"]["workers"] = json!({"machineDeployments": [workers]});
        }
    }
    spec
}

/// Returns a reference to an object of a provider.
fn reference(group: &str, kind: &str, name: &str) -> Value {
    json!({"apiGroup": format!("{group}.cluster.x-k8s.io"), "kind": kind, "name": name})
}

fn class(cluster: &WorkloadBuilder<'_>) -> Value {
    let template = |version: &str, kind: &str| json!({"templateRef": {"apiVersion": version, "kind": kind, "name": cluster.name}});
    let declared = |variable: &Variable| {
        // The contents of arrays and objects are not restricted.
        let schema = json!({"type": variable.kind, "x-kubernetes-preserve-unknown-fields": true});
        let schema = match variable.kind {
            "array" => json!({"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": true}}),
            "object" => schema,
            scalar => json!({"type": scalar}),
        };
        json!({"name": variable.name, "required": false, "schema": {"openAPIV3Schema": schema}})
    };
    json!({
        "infrastructure": template(INFRASTRUCTURE, "TestbedClusterTemplate"),
        "controlPlane": template(CONTROL_PLANE, "TestbedControlPlaneTemplate"),
        "workers": {"machineDeployments": [{
            "class": WORKER,
            "bootstrap": template(BOOTSTRAP, "TestbedBootstrapConfigTemplate"),
            "infrastructure": template(INFRASTRUCTURE, "TestbedMachineTemplate"),
            "naming": {"template": "{{ .cluster.name }}-{{ .machineDeployment.topologyName }}"},
        }]},
        "variables": cluster.variables.iter().map(declared).collect::<Vec<_>>(),
    })
}

fn workers(cluster: &WorkloadBuilder<'_>, version: &str) -> [Value; 2] {
    let WorkloadBuilder { name, namespace, .. } = cluster;
    let deployment = format!("{name}-{DEPLOYMENT}");
    let template = json!({
        "apiVersion": INFRASTRUCTURE,
        "kind": "TestbedMachineTemplate",
        "metadata": {"name": deployment, "namespace": namespace},
        "spec": {"template": {"spec": {}}},
    });
    let machine = json!({
        "clusterName": name,
        "version": version,
        "bootstrap": {"dataSecretName": format!("{deployment}-bootstrap")},
        "infrastructureRef": reference("infrastructure", "TestbedMachineTemplate", &deployment),
    });
    let labels = json!({CLUSTER_LABEL: name, "cluster.x-k8s.io/deployment-name": deployment});
    let deployment = json!({
        "apiVersion": CORE,
        "kind": "MachineDeployment",
        "metadata": {"name": deployment, "namespace": namespace, "labels": {CLUSTER_LABEL: name}},
        "spec": {
            "clusterName": name,
            "replicas": cluster.workers,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": machine},
        },
    });
    [template, deployment]
}
