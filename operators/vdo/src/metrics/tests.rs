use std::collections::{BTreeMap, BTreeSet};

use operator_kit::ReconcileError as _;
use prometheus::TextEncoder;
use serde::Deserialize;
use serde_json::Value;

use super::*;
use crate::api::reason;
use crate::error::Error;
use crate::installer::CHECKS_PASSED;

const ALERTS: &str = include_str!("../../../../deploy/vdo/components/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../../deploy/vdo/components/monitoring/dashboard.json");
const PAGE: &str = include_str!("../../../../docs/vdo/metrics.md");

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
    let available = Driver::ALL.map(|driver| format!("{driver}Available"));
    let types = available.iter().map(String::as_str).chain(["Ready", CHECKS_PASSED]).collect();
    let reasons = reason::ALL.iter().copied().chain(Error::reasons()).chain(["InternalError"]).collect();
    let kinds = ["VDOConfig", "DriverSet", "VsphereCloudConfig", "VSphereConnection", "CompatibilityMatrix"];
    for expression in expressions() {
        let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let is_metric =
            |word: &&str| ["operator_", "process_", "vdo_"].iter().any(|start| word.starts_with(start));
        let metrics: Vec<_> = words.filter(is_metric).collect();
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics {
            assert!(rows.contains_key(metric), "{metric} of {expression} is not in metrics.md");
        }
        let known: [(&str, &BTreeSet<&str>); 7] = [
            ("type", &types),
            ("reason", &reasons),
            ("kind", &kinds.into()),
            ("status", &["True", "False", "Unknown"].into()),
            ("severity", &["warning", "block-upgrade", "block-install", "degraded"].into()),
            ("state", &["ready", "other"].into()),
            ("operator", &["vdo"].into()),
        ];
        for (label, known) in known {
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
    let listed = rows.keys().filter(|name| name.starts_with("VDO")).count();
    assert_eq!(listed, alerts.len());
    for Rule { alert, r#for, labels, annotations, .. } in alerts {
        assert_eq!(rows.get(&*alert), Some(&&*r#for), "{alert}");
        assert!(["critical", "warning"].contains(&&*labels["severity"]), "{alert}");
        assert!(!annotations["summary"].is_empty() && annotations["description"].ends_with('.'), "{alert}");
    }
}

fn text(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

/// An alert on a counter that does not exist never fires.
#[test]
fn every_counter_is_0_from_the_start() {
    let registry = Registry::new();
    let _meters = Meters::register(&registry).unwrap();
    let text = text(&registry);
    for line in [
        r#"vdo_rollouts_total{change="install",driver="CNI"} 0"#,
        r#"vdo_rollouts_total{change="remove",driver="CSI"} 0"#,
        r#"vdo_put_backs_total{driver="CPI"} 0"#,
        r#"vdo_driver_failures_total{driver="CPI",reason="FieldConflict"} 0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in {text}");
    }
}

#[test]
fn gauges_show_the_last_state_and_nothing_of_an_earlier_one() {
    let registry = Registry::new();
    let meters = Meters::register(&registry).unwrap();
    let checkups = Checkups::default();
    let version = |patch| Some(Version::new(1, 36, patch));
    let nodes = Summary { total: 3, ready: 2, ..Summary::default() };
    meters.show(Driver::Cpi, Shown { installed: version(0), wanted: version(1), nodes });
    meters.set_gauges(&checkups);
    let before = text(&registry);
    for line in [
        r#"vdo_driver_installed_info{driver="CPI",version="1.36.0"} 1"#,
        r#"vdo_driver_wanted_info{driver="CPI",version="1.36.1"} 1"#,
        r#"vdo_driver_nodes{driver="CPI",state="ready"} 2"#,
        r#"vdo_driver_nodes{driver="CPI",state="other"} 1"#,
    ] {
        assert!(before.lines().any(|found| found == line), "no {line} in {before}");
    }
    meters.show(Driver::Cpi, Shown { wanted: version(1), ..Shown::default() });
    meters.set_gauges(&checkups);
    let after = text(&registry);
    assert!(!after.contains("1.36.0") && !after.contains("vdo_driver_nodes{"), "{after}");
}
