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
    use std::collections::{BTreeMap, BTreeSet};

    use operator_kit::ReconcileError as _;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{condition, reason};
    use crate::error::Error;

    const ALERTS: &str = include_str!("../../../deploy/ako-operator/components/monitoring/alerts.yaml");
    const DASHBOARD: &str = include_str!("../../../deploy/ako-operator/components/monitoring/dashboard.json");
    const PAGE: &str = include_str!("../../../docs/ako-operator/metrics.md");

    #[derive(Deserialize)]
    struct PrometheusRule {
        spec: Groups,
    }

    #[derive(Deserialize)]
    struct Groups {
        groups: Vec<Group>,
    }

    #[derive(Deserialize)]
    struct Group {
        rules: Vec<Rule>,
    }

    #[derive(Deserialize)]
    struct Rule {
        alert: String,
        expr: String,
        r#for: String,
        labels: BTreeMap<String, String>,
        annotations: BTreeMap<String, String>,
    }

    fn alerts() -> Vec<Rule> {
        let rule: PrometheusRule = serde_saphyr::from_str(ALERTS).unwrap();
        rule.spec.groups.into_iter().flat_map(|group| group.rules).collect()
    }

    /// Returns the first two cells of each row of the page's tables.
    fn rows() -> BTreeMap<&'static str, &'static str> {
        let row = |line: &'static str| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, rest.split_once(" |")?.0))
        };
        PAGE.lines().filter_map(row).collect()
    }

    fn expressions() -> Vec<String> {
        let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
        let panels = dashboard["panels"].as_array().unwrap().iter();
        let targets = panels.flat_map(|panel| {
            assert!(panel["title"].as_str().is_some_and(|title| !title.is_empty()), "{panel}");
            panel["targets"].as_array().unwrap()
        });
        let targets = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
        alerts().into_iter().map(|alert| alert.expr).chain(targets).collect()
    }

    /// Returns what an expression compares a label with.
    fn values<'a>(expression: &'a str, label: &str) -> Vec<&'a str> {
        let matches = expression.split(['{', ',']).filter_map(|part| {
            let rest = part.trim_start().strip_prefix(label)?.trim_start_matches(['=', '!', '~']);
            rest.strip_prefix('"')?.split_once('"').map(|(values, _)| values)
        });
        matches.flat_map(|values| values.split('|')).collect()
    }

    /// A metric, a reason or a type that does not exist never fires an alert.
    #[test]
    fn alerts_and_dashboard_read_what_the_operator_writes() {
        let rows = rows();
        let of_adcs = [condition::READY, condition::TENANTS_READY, condition::LOST_CLEANED_UP];
        let types: BTreeSet<_> = OWNED.into_iter().chain([ENDPOINT_READY]).chain(of_adcs).collect();
        let reasons: BTreeSet<_> =
            reason::ALL.iter().copied().chain(Error::reasons()).chain(["InternalError"]).collect();
        for expression in expressions() {
            let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            let metrics: Vec<_> = words
                .filter(|word| word.contains("operator_") || word.starts_with("process_"))
                .map(|word| word.trim_end_matches("_bucket"))
                .collect();
            assert!(!metrics.is_empty(), "{expression}");
            for metric in metrics {
                assert!(rows.contains_key(metric), "{metric} of {expression} is not in metrics.md");
            }
            for (label, known) in [
                ("type", &types),
                ("reason", &reasons),
                ("kind", &["AKODeploymentConfig", "Cluster"].into()),
                ("status", &["True", "False", "Unknown", "2.."].into()),
                ("operator", &["ako-operator"].into()),
            ] {
                for value in values(&expression, label) {
                    assert!(known.contains(value), "no {label} {value}: {expression}");
                }
            }
        }
    }

    #[test]
    fn each_alert_says_what_to_do_and_is_on_the_page() {
        let rows = rows();
        let alerts = alerts();
        let listed = rows.keys().filter(|name| name.starts_with("AKOOperator")).count();
        assert_eq!(listed, alerts.len());
        for Rule { alert, r#for, labels, annotations, .. } in alerts {
            assert_eq!(rows.get(&*alert), Some(&&*r#for), "{alert}");
            assert!(["critical", "warning"].contains(&&*labels["severity"]), "{alert}");
            assert!(
                !annotations["summary"].is_empty() && annotations["description"].ends_with('.'),
                "{alert}"
            );
        }
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
