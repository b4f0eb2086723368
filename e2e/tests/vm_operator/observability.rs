//! What an administrator reads: metrics, JSON logs, and why the process ended.

use std::collections::BTreeSet;

use anyhow::ensure;
use e2e::{Launch, OperatorProcess, PATIENCE, Rig, VmRig};
use serde_json::Value;
use testbed::{Outage, eventually, project_root};

use crate::{place, start_web};

/// Returns the value of a metric without labels, or with these; 0 where it does not exist.
async fn metric(operator: &OperatorProcess, series: &str) -> f64 {
    let (_, text) = operator.get("/metrics").await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}

async fn becomes(operator: &OperatorProcess, series: &str, wanted: f64) {
    eventually(&format!("{series} is {wanted}"), PATIENCE, async || {
        let value = metric(operator, series).await;
        ensure!((value - wanted).abs() < 1e-9, "it is {value}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_shows_in_the_metrics_and_each_metric_is_documented() {
    let (_place, rig, operator) = start_web(3).await;
    rig.apply("bad", 1, "Photon").await.unwrap();
    let status = rig.reason("bad", "TemplateNotFound").await.unwrap();
    let message = status["lastMessage"].as_str().unwrap();
    assert!(
        message.contains(r#"no template "Photon""#) && message.contains(r#"did you mean "photon"?"#),
        "{message}"
    );

    for (series, wanted) in [
        ("vm_operator_vcenter_up", 1.0),
        ("vm_operator_vcenter_session", 1.0),
        (r#"vm_operator_vcenter_logins_total{result="ok"}"#, 1.0),
        (r#"vm_operator_vcenter_calls_total{method="CloneVM_Task",result="ok"}"#, 3.0),
        (r#"vm_operator_vcenter_call_duration_seconds_count{method="CloneVM_Task"}"#, 3.0),
        ("vm_operator_clone_duration_seconds_count", 3.0),
        ("vm_operator_machines_desired", 4.0),
        ("vm_operator_machines_ready", 3.0),
        ("vm_operator_clones_queued", 0.0),
        ("operator_leader", 1.0),
    ] {
        becomes(&operator, series, wanted).await;
    }
    assert!(
        metric(&operator, r#"operator_reconcile_total{controller="vminstance",result="wait"}"#).await > 0.0
    );
    let waits = r#"operator_reconcile_waits_total{controller="vmgroup",reason="TemplateNotFound"}"#;
    assert!(metric(&operator, waits).await > 0.0);
    documented(&operator).await;

    rig.vcenter.outage(Outage::Refuse).await.unwrap();
    becomes(&operator, "vm_operator_vcenter_up", 0.0).await;
    becomes(&operator, "vm_operator_machines_ready", 0.0).await;
    let failed = r#"vm_operator_vcenter_calls_total{method="WaitForUpdatesEx",result="unreachable"}"#;
    assert!(metric(&operator, failed).await > 0.0);
    rig.vcenter.outage(Outage::None).await.unwrap();
    becomes(&operator, "vm_operator_vcenter_up", 1.0).await;
    drop(operator);

    let operator = rig.spawn(&rig.launch().env("VC_PASS", "wrong")).unwrap();
    rig.reason("web", "VCenterLoginRefused").await.unwrap();
    becomes(&operator, r#"vm_operator_vcenter_logins_total{result="refused"}"#, 1.0).await;
    becomes(&operator, "vm_operator_vcenter_session", 0.0).await;
}

/// An alert on a gauge that does not exist never fires.
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_has_the_gauges_that_alerts_read() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    let launch = |name: &str| rig.launch().arg("--enable-leader-election").env("POD_NAME", name);
    let leader = rig.operator_with(&launch("leader")).await.unwrap();
    becomes(&leader, "vm_operator_vcenter_up", 1.0).await;
    let standby = rig.operator_with(&launch("standby")).await.unwrap();
    let (_, text) = standby.get("/metrics").await.unwrap();
    for line in [
        "operator_leader 0",
        "vm_operator_vcenter_up 0",
        "vm_operator_machines_ready 0",
        "vm_operator_machines_desired 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
    }
}

/// Checks that the page has each metric, and none that does not exist.
async fn documented(operator: &OperatorProcess) {
    let page = std::fs::read_to_string(project_root().unwrap().join("docs/vm-operator/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let listed: BTreeSet<&str> = rows
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    let (_, text) = operator.get("/metrics").await.unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let exist: BTreeSet<&str> = types.map(|(name, _)| name).collect();
    assert_eq!(listed, exist);
}

/// Returns the JSON objects in a log; fails if a line is none.
fn lines(log: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).expect(line);
    log.lines().map(parse).collect()
}

/// Starts the operator, which is to end by itself with this code, and returns what that run logged.
async fn ends(rig: &VmRig, launch: &Launch, code: i32) -> String {
    let before = std::fs::read_to_string(rig.log_path()).unwrap_or_default().len();
    let mut operator = rig.spawn(launch).unwrap();
    let status = tokio::time::timeout(PATIENCE, operator.process.wait()).await.unwrap();
    let log = std::fs::read_to_string(rig.log_path()).unwrap()[before..].to_owned();
    assert_eq!(status.code(), Some(code), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_is_json_and_names_its_object() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    let json = rig.launch().arg("--log-format=json");
    for (launch, code, says) in [
        (json.clone().without("VC_HOST"), 1, "VC_HOST not set"),
        (json.clone().env("VC_CA_FILE", "/no/such"), 1, "VC_CA_FILE (--vc-ca-file) /no/such: No such file"),
        (json.clone().arg("--max-clones=0"), 2, "write a whole number from 1"),
        (json.clone().env("RUST_LOG", "nonsense"), 2, "write error, warn, info"),
    ] {
        let log = ends(&rig, &launch, code).await;
        let last = lines(&log).pop().unwrap();
        assert_eq!(last["level"], "ERROR", "{log}");
        assert!(last["message"].as_str().unwrap().contains(says), "{log}");
    }
    std::fs::write(rig.log_path(), "").unwrap();
    let operator = rig.operator_with(&json).await.unwrap();
    rig.apply_and_settle("web", 1).await.unwrap();
    let all = lines(&operator.process.log());
    let object = format!("{}/web-0", rig.namespace());
    let in_span = all.iter().find(|line| line["span"]["object"] == object.as_str());
    assert_eq!(in_span.expect("a line of a reconcile")["span"]["name"], "reconcile");
    let request =
        all.iter().find(|line| line["message"] == "request accepted" && line["object"] == object.as_str());
    assert_eq!(request.expect("a line of a request")["method"], "CloneVM_Task");
    drop(operator);

    // The refused certificate is in the operator's own words only.
    std::fs::write(rig.log_path(), "").unwrap();
    let operator = rig.spawn(&json.clone().without("VC_CA_FILE")).unwrap();
    rig.reason("web", "VCenterCertificateRefused").await.unwrap();
    let all = lines(&operator.process.log());
    let is_foreign =
        |line: &&Value| line["target"].as_str().is_some_and(|target| target.starts_with("rustls"));
    assert_eq!(all.iter().find(is_foreign), None);
    drop(operator);

    // An API server that does not answer is named.
    std::fs::write(rig.log_path(), "").unwrap();
    let nowhere = rig.directory().join("nowhere");
    let mut config: Value =
        serde_json::from_str(&std::fs::read_to_string(rig.kubeconfig()).unwrap()).unwrap();
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1".into();
    std::fs::write(&nowhere, config.to_string()).unwrap();
    let mut operator = rig.spawn_with(&nowhere, &json).unwrap();
    tokio::time::timeout(PATIENCE, operator.process.wait()).await.unwrap();
    let last = lines(&operator.process.log()).pop().unwrap();
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("no answer from https://127.0.0.1:1"), "{message}");
}
