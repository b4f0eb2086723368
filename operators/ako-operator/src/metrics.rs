//! What metrics say of objects: the conditions of AKODeploymentConfigs, and those that the operator writes on Clusters.

use infra_clients::capi::Cluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use operator_kit::conditions::Status;
use operator_kit::{Foreign, Metrics, Objects, ShownCondition};

use crate::api::AkoDeploymentConfig;
use crate::api::condition::{ENDPOINT_READY, OWNED};
use crate::conditions::said;

/// Shows the conditions of all objects from now on.
pub(crate) fn show_conditions(
    metrics: &Metrics,
    adcs: &Objects<AkoDeploymentConfig>,
    clusters: &Objects<Foreign<Cluster>>,
) {
    metrics.show_conditions("AKODeploymentConfig", adcs.cache().clone(), |adc| {
        adc.status.iter().flat_map(|status| &status.conditions).map(of_config).collect()
    });
    metrics.show_conditions("Cluster", clusters.cache().clone(), |cluster| of_cluster(cluster));
}

fn of_config(condition: &Condition) -> ShownCondition {
    let status = match condition.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    ShownCondition { type_: condition.type_.clone(), status, reason: condition.reason.clone() }
}

/// Those of Cluster API are not the operator's to show.
fn of_cluster(cluster: &Cluster) -> Vec<ShownCondition> {
    let types: Vec<_> = OWNED.into_iter().chain([ENDPOINT_READY]).collect();
    let shown = said(cluster, &types).into_iter().map(|said| ShownCondition {
        type_: said.type_.to_owned(),
        status: said.status,
        reason: said.reason,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use operator_kit::ReconcileError as _;
    use serde_json::json;
    use testbed::Monitoring;

    use super::*;
    use crate::api::{condition, reason};
    use crate::error::Error;

    const ALERTS: &str = include_str!("../../../deploy/ako-operator/components/monitoring/alerts.yaml");
    const DASHBOARD: &str = include_str!("../../../deploy/ako-operator/components/monitoring/dashboard.json");
    const PAGE: &str = include_str!("../../../docs/ako-operator/metrics.md");

    fn monitoring() -> Monitoring {
        Monitoring::read(ALERTS, DASHBOARD, PAGE).unwrap()
    }

    /// A metric, a reason or a type that does not exist never fires an alert.
    #[test]
    fn alerts_and_dashboard_read_what_the_operator_writes() {
        let of_adcs = [condition::READY, condition::TENANTS_READY, condition::LOST_CLEANED_UP];
        let known = [
            ("type", OWNED.into_iter().chain([ENDPOINT_READY]).chain(of_adcs).collect()),
            (
                "reason",
                reason::ALL.iter().copied().chain(Error::reasons()).chain(["InternalError"]).collect(),
            ),
            ("kind", ["AKODeploymentConfig", "Cluster"].into()),
            ("status", ["True", "False", "Unknown", "2.."].into()),
            ("operator", ["ako-operator"].into()),
        ];
        assert_eq!(monitoring().unknown(&["operator_", "process_"], &known), [""; 0]);
    }

    #[test]
    fn each_alert_says_what_to_do_and_is_on_the_page() {
        assert_eq!(monitoring().unexplained("AKOOperator"), [""; 0]);
    }

    #[test]
    fn a_cluster_shows_the_conditions_of_the_operator_only() {
        let condition = |type_: &str, status: &str, reason: &str| {
            let at = "2026-01-01T00:00:00Z";
            json!({ "type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": at })
        };
        let cluster = serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "metadata": { "name": "w1", "namespace": "team" },
            "spec": {},
            "status": { "conditions": [
                condition("Available", "True", "Available"),
                condition("AKOInstalled", "Unknown", "ClusterUnreachable"),
                condition("AviControlPlaneEndpointReady", "True", "ControlPlaneEndpointReady"),
            ] },
        }))
        .unwrap();
        let shown = |type_: &str, status, reason: &str| ShownCondition {
            type_: type_.to_owned(),
            status,
            reason: reason.to_owned(),
        };
        assert_eq!(
            of_cluster(&cluster),
            [
                shown("AKOInstalled", Status::Unknown, "ClusterUnreachable"),
                shown("AviControlPlaneEndpointReady", Status::True, "ControlPlaneEndpointReady"),
            ]
        );
    }
}
