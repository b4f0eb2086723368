//! TestbedMachine: a machine that boots at once and whose kubelet joins the workload cluster.
//!
//! When it is deleted its kubelet ends with it; the Node object stays, as after any machine that was taken
//! away, until Cluster API removes it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use serde_json::json;

use super::{CONTROL_PLANE_LABEL, Context, RETRY, cluster_of, is_deleting, is_held};
use crate::management::api::{Address, TestbedMachine};
use crate::nodes::Node;

/// What is to be done next. One thing a pass.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Power off, and let it be deleted.
    Release,
    /// Give it its identity. Before it is provisioned: Cluster API looks again after seconds only when it
    /// finds a provisioned machine without.
    Prepare(String),
    /// Say that it runs, and where.
    Provision,
    /// Let its kubelet join.
    Join(Node),
    /// Its Machine or its cluster's API server is not known yet.
    Wait,
    Nothing,
}

/// What else matters: the Machine's name, whether the cluster's API server is known, whether the kubelet runs.
#[derive(Debug, Default)]
struct Observed {
    owner: Option<String>,
    site: bool,
    joined: bool,
}

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
            })
        }
        _ => Step::Provision,
    }
}

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
            // One interface, known by both names: operators look for either.
            let addresses = ["InternalIP", "ExternalIP"]
                .map(|kind| Address { kind: kind.to_owned(), address: address.clone() });
            let status = json!({"initialization": {"provisioned": true}, "addresses": addresses});
            context.patch_status(machine.as_ref(), status).await?;
        }
        (Step::Join(node), Some(site)) => site.nodes.join(node).await?,
        (Step::Wait | Step::Provision | Step::Join(_), _) => return Ok(Action::requeue(RETRY)),
        (Step::Nothing, _) => {}
    }
    Ok(Action::await_change())
}
