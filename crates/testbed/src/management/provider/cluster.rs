//! TestbedCluster: says where the API server is, and goes when it is told to.

use std::sync::Arc;

use kube::runtime::controller::Action;
use serde_json::{Value, json};

use super::{Context, RETRY, cluster_of, is_deleting, is_held};
use crate::management::api::{Endpoint, TestbedCluster};

/// What is to be done next. One thing a pass.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Let it be deleted.
    Release,
    /// Write the endpoint, and keep it until its infrastructure is gone.
    Prepare(Endpoint),
    /// Say that it is provisioned.
    Provision,
    /// The API server is not known yet.
    Wait,
    Nothing,
}

fn plan(cluster: &TestbedCluster, endpoint: Option<Endpoint>) -> Step {
    if is_deleting(cluster) {
        return if is_held(cluster) { Step::Release } else { Step::Nothing };
    }
    let Some(endpoint) = endpoint else {
        return Step::Wait;
    };
    if !is_held(cluster) || cluster.spec.control_plane_endpoint.as_ref() != Some(&endpoint) {
        return Step::Prepare(endpoint);
    }
    if cluster.status.as_ref().is_some_and(|status| status.initialization.provisioned) {
        return Step::Nothing;
    }
    Step::Provision
}

pub(super) async fn reconcile(cluster: Arc<TestbedCluster>, context: Arc<Context>) -> kube::Result<Action> {
    let site = cluster_of(cluster.as_ref()).and_then(|key| context.sites.get(&key));
    match plan(&cluster, site.map(|site| site.endpoint.clone())) {
        Step::Release => context.patch(cluster.as_ref(), false, json!({})).await?,
        Step::Prepare(endpoint) => {
            let spec: Value = json!({"controlPlaneEndpoint": endpoint});
            context.patch(cluster.as_ref(), true, spec).await?;
        }
        Step::Provision => {
            context.patch_status(cluster.as_ref(), json!({"initialization": {"provisioned": true}})).await?;
        }
        Step::Wait => return Ok(Action::requeue(RETRY)),
        Step::Nothing => {}
    }
    Ok(Action::await_change())
}
