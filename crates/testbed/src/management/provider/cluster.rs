//! TestbedCluster: sets the address of the API server, and removes its finalizer when it is deleted.

use std::sync::Arc;

use kube::runtime::controller::Action;
use serde_json::json;

use super::{Context, RETRY, cluster_of, is_deleting, is_held};
use crate::management::api::{Endpoint, TestbedCluster};

/// The next step; a reconcile carries out one.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Removes the finalizer.
    Release,
    /// Adds the finalizer and writes the endpoint, if any.
    Prepare(Option<Endpoint>),
    /// Sets `provisioned`.
    Provision,
    /// Waits until the workload cluster is registered.
    Wait,
    Nothing,
}

/// Chooses the next step. `known`: whether the workload cluster is registered. `endpoint`: the address to write, if the
/// provider writes it.
fn plan(cluster: &TestbedCluster, known: bool, endpoint: Option<&Endpoint>) -> Step {
    if is_deleting(cluster) {
        return if is_held(cluster) { Step::Release } else { Step::Nothing };
    }
    if !known {
        return Step::Wait;
    }
    let differs = endpoint.is_some() && cluster.spec.control_plane_endpoint.as_ref() != endpoint;
    if !is_held(cluster) || differs {
        return Step::Prepare(endpoint.cloned());
    }
    if cluster.status.as_ref().is_some_and(|status| status.initialization.provisioned) {
        return Step::Nothing;
    }
    Step::Provision
}

/// Reconciles a TestbedCluster.
pub(super) async fn reconcile(cluster: Arc<TestbedCluster>, context: Arc<Context>) -> kube::Result<Action> {
    let site = cluster_of(cluster.as_ref()).and_then(|key| context.sites.get(&key));
    let endpoint = site.as_ref().and_then(|site| site.endpoint.as_ref());
    match plan(&cluster, site.is_some(), endpoint) {
        Step::Release => context.patch(cluster.as_ref(), false, json!({})).await?,
        Step::Prepare(endpoint) => {
            let spec = endpoint.map_or(json!({}), |endpoint| json!({"controlPlaneEndpoint": endpoint}));
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::FINALIZER;
    use super::*;

    fn cluster(metadata: &Value, spec: &Value, provisioned: bool) -> TestbedCluster {
        let status = json!({"initialization": {"provisioned": provisioned}});
        let mut object = json!({"metadata": metadata, "spec": spec, "status": status});
        object["apiVersion"] = "infrastructure.cluster.x-k8s.io/v1".into();
        object["kind"] = "TestbedCluster".into();
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_cluster_is_prepared_provisioned_and_released() {
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: 6443 };
        let (held, spec) = (json!({"finalizers": [FINALIZER]}), json!({"controlPlaneEndpoint": endpoint}));
        let new = cluster(&json!({}), &json!({}), false);
        assert_eq!(plan(&new, false, None), Step::Wait);
        assert_eq!(plan(&new, true, Some(&endpoint)), Step::Prepare(Some(endpoint.clone())));
        assert_eq!(plan(&cluster(&held, &spec, false), true, Some(&endpoint)), Step::Provision);
        assert_eq!(plan(&cluster(&held, &spec, true), true, Some(&endpoint)), Step::Nothing);
        // Without an endpoint to write, the provider keeps one that another client wrote.
        assert_eq!(plan(&cluster(&held, &spec, true), true, None), Step::Nothing);

        let going = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [FINALIZER]});
        assert_eq!(plan(&cluster(&going, &spec, true), false, None), Step::Release);
        let others = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["other"]});
        assert_eq!(plan(&cluster(&others, &spec, true), false, None), Step::Nothing);
    }
}
