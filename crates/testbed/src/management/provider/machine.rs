//! TestbedMachine: a machine that boots immediately and whose kubelet joins the workload cluster.
//!
//! When it is deleted, its kubelet ends. The Node stays until Cluster API deletes it, as for a real machine.

use std::sync::Arc;

use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{CONTROL_PLANE_LABEL, Context, RETRY, cluster_of, is_deleting, is_held};
use crate::management::api::{Address, TestbedMachine};
use crate::management::machines;
use crate::nodes::Node;

/// The next step; a reconcile carries out one.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Ends the kubelet and removes the finalizer.
    Release,
    /// Adds the finalizer and writes the provider id. This comes before `provisioned`, because Cluster API retries only
    /// after seconds if a provisioned machine has no provider id.
    Prepare(String),
    /// Sets `provisioned` and the addresses.
    Provision,
    /// Lets the kubelet join.
    Join(Node),
    /// Waits until the Machine has set its owner reference and the workload cluster is registered.
    Wait,
    Nothing,
}

/// The observed state.
#[derive(Debug, Clone, Default)]
struct Observed {
    /// The name of the Machine.
    owner: Option<String>,
    /// Whether the workload cluster is registered.
    site: bool,
    /// Whether the kubelet runs.
    joined: bool,
}

/// Chooses the next step.
fn plan(machine: &TestbedMachine, observed: &Observed) -> Step {
    if is_deleting(machine) {
        return if is_held(machine) { Step::Release } else { Step::Nothing };
    }
    let Some(name) = observed.owner.as_ref().filter(|_| observed.site) else {
        return Step::Wait;
    };
    let (true, Some(provider_id)) = (is_held(machine), &machine.spec.provider_id) else {
        let namespace = machine.namespace().unwrap_or_default();
        return Step::Prepare(format!("testbed:///{namespace}/{}", machine.name_any()));
    };
    match &machine.status {
        Some(status) if status.initialization.provisioned => {
            if observed.joined {
                return Step::Nothing;
            }
            let addresses = status.addresses.iter().filter(|address| address.kind == "InternalIP");
            Step::Join(Node {
                name: name.clone(),
                provider_id: Some(provider_id.clone()),
                addresses: addresses.map(|address| address.address.clone()).collect(),
                control_plane: machine.labels().contains_key(CONTROL_PLANE_LABEL),
                ..Node::default()
            })
        }
        _ => Step::Provision,
    }
}

/// Reconciles a TestbedMachine.
pub(super) async fn reconcile(machine: Arc<TestbedMachine>, context: Arc<Context>) -> kube::Result<Action> {
    let owner = machine.owner_references().iter().find(|owner| owner.kind == "Machine");
    let owner = owner.map(|owner| owner.name.clone());
    let site = cluster_of(machine.as_ref()).and_then(|key| context.sites.get(&key));
    let joined = match (&site, &owner) {
        (Some(site), Some(name)) => site.nodes.names().contains(name),
        _ => false,
    };
    let step = plan(&machine, &Observed { owner: owner.clone(), site: site.is_some(), joined });
    match (step, site) {
        (Step::Release, site) => {
            if let (Some(site), Some(name)) = (site, owner) {
                site.nodes.leave(&name);
            }
            context.patch(machine.as_ref(), false, json!({})).await?;
        }
        (Step::Prepare(id), _) => {
            context.patch(machine.as_ref(), true, json!({"providerID": id})).await?;
        }
        (Step::Provision, Some(site)) => {
            let address = site.next_address().to_string();
            // The same address with both types, because operators look for either.
            let addresses = ["InternalIP", "ExternalIP"]
                .map(|kind| Address { kind: kind.to_owned(), address: address.clone() });
            let status = json!({"initialization": {"provisioned": true}, "addresses": addresses});
            context.patch_status(machine.as_ref(), status).await?;
        }
        (Step::Join(node), Some(site)) => {
            let version = machine_version(&context, &machine, &node.name).await?;
            site.nodes.join(Node { version, ..node }).await?;
        }
        (Step::Wait | Step::Provision | Step::Join(_), _) => return Ok(Action::requeue(RETRY)),
        (Step::Nothing, _) => {}
    }
    Ok(Action::await_change())
}

/// Returns the version of the Machine, which is that of the kubelet.
async fn machine_version(
    context: &Context,
    machine: &TestbedMachine,
    name: &str,
) -> kube::Result<Option<String>> {
    let namespace = machine.namespace().unwrap_or_default();
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), &namespace, &machines());
    Ok(api.get(name).await?.data["spec"]["version"].as_str().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::FINALIZER;
    use super::*;

    fn machine(metadata: &Value, spec: &Value, status: &Value) -> TestbedMachine {
        let mut object = json!({"metadata": metadata, "spec": spec, "status": status});
        object["metadata"]["name"] = "w-1".into();
        object["metadata"]["namespace"] = "ns".into();
        object["apiVersion"] = "infrastructure.cluster.x-k8s.io/v1".into();
        object["kind"] = "TestbedMachine".into();
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_machine_is_prepared_provisioned_joined_and_released() {
        let ready = Observed { owner: Some("m-1".to_owned()), site: true, joined: false };
        let new = machine(&json!({}), &json!({}), &json!({}));
        assert_eq!(plan(&new, &Observed::default()), Step::Wait);
        assert_eq!(plan(&new, &Observed { owner: None, ..ready.clone() }), Step::Wait);
        assert_eq!(plan(&new, &ready), Step::Prepare("testbed:///ns/w-1".to_owned()));

        let held = json!({"finalizers": [FINALIZER], "labels": {CONTROL_PLANE_LABEL: ""}});
        let spec = json!({"providerID": "testbed:///ns/w-1"});
        assert_eq!(plan(&machine(&held, &spec, &json!({})), &ready), Step::Provision);
        let status = json!({"initialization": {"provisioned": true}, "addresses": [
            {"type": "InternalIP", "address": "10.20.0.1"}, {"type": "ExternalIP", "address": "10.20.0.1"},
        ]});
        let provisioned = machine(&held, &spec, &status);
        let node = Node {
            name: "m-1".to_owned(),
            provider_id: Some("testbed:///ns/w-1".to_owned()),
            addresses: vec!["10.20.0.1".to_owned()],
            control_plane: true,
            ..Node::default()
        };
        assert_eq!(plan(&provisioned, &ready), Step::Join(node));
        assert_eq!(plan(&provisioned, &Observed { joined: true, ..ready.clone() }), Step::Nothing);

        let mut going = held;
        going["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        // Also after the workload cluster has stopped.
        assert_eq!(plan(&machine(&going, &spec, &status), &Observed::default()), Step::Release);
    }
}
