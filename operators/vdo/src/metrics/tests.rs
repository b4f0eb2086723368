use operator_kit::ReconcileError as _;
use prometheus::TextEncoder;
use testbed::Monitoring;

use super::*;
use crate::api::reason;
use crate::error::Error;
use crate::installer::CHECKS_PASSED;

const ALERTS: &str = include_str!("../../../../deploy/vdo/components/monitoring/alerts.yaml");
const DASHBOARD: &str = include_str!("../../../../deploy/vdo/components/monitoring/dashboard.json");
const PAGE: &str = include_str!("../../../../docs/vdo/metrics.md");

fn monitoring() -> Monitoring {
    Monitoring::read(ALERTS, DASHBOARD, PAGE).unwrap()
}

/// A metric, a reason or a type that does not exist never fires an alert.
#[test]
fn alerts_and_dashboard_read_what_the_operator_writes() {
    let available = Driver::ALL.map(|driver| format!("{driver}Available"));
    let kinds = ["VDOConfig", "DriverSet", "VsphereCloudConfig", "VSphereConnection", "CompatibilityMatrix"];
    let known = [
        ("type", available.iter().map(String::as_str).chain(["Ready", CHECKS_PASSED]).collect()),
        ("reason", reason::ALL.iter().copied().chain(Error::reasons()).chain(["InternalError"]).collect()),
        ("kind", kinds.into()),
        ("status", ["True", "False", "Unknown"].into()),
        ("severity", ["warning", "block-upgrade", "block-install", "degraded"].into()),
        ("state", ["ready", "other"].into()),
        ("operator", ["vdo"].into()),
    ];
    assert_eq!(monitoring().unknown(&["operator_", "process_", "vdo_"], &known), [""; 0]);
}

#[test]
fn each_alert_says_what_to_do_and_is_on_the_page() {
    assert_eq!(monitoring().unexplained("VDO"), [""; 0]);
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
