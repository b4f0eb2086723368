//! What a platform team watches: the metrics, and what the alerts read.

use std::collections::BTreeSet;

use anyhow::ensure;
use testbed::project_root;

use super::*;

/// Waits until the operator shows a series with the value 1.
pub(crate) async fn shows(operator: &OperatorProcess, series: &str) {
    eventually(series, PATIENCE, async || {
        let (_, text) = operator.get("/metrics").await?;
        let is_there = text.lines().any(|line| line.strip_prefix(series) == Some(" 1"));
        ensure!(is_there, "not in\n{text}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

fn condition(kind: &str, object: &str, reason: &str, status: &str, type_: &str) -> String {
    format!(
        r#"operator_condition{{kind="{kind}",object="{object}",reason="{reason}",status="{status}",type="{type_}"}}"#
    )
}

/// Checks that the page has each metric, and none that does not exist.
async fn documented(operator: &OperatorProcess) {
    let page = std::fs::read_to_string(project_root().unwrap().join("docs/ako-operator/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let is_metric = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let listed: BTreeSet<&str> = rows.map(|(name, _)| name).filter(is_metric).collect();
    let (_, text) = operator.get("/metrics").await.unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let exist: BTreeSet<&str> = types.map(|(name, _)| name).collect();
    // Only what has happened has a series, and what the webhook does only with it.
    let rare = BTreeSet::from([
        "operator_watch_errors_total",
        "operator_webhook_certificate_usable",
        "operator_webhook_requests_total",
        "operator_reconcile_waits_total",
    ]);
    assert_eq!(&listed - &rare, &exist - &rare);
}

/// An object that goes leaves no series, and a standby has what the alerts need that do not depend on a leader.
#[tokio::test]
async fn conditions_follow_their_objects_and_each_metric_is_documented() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let launch = |name: &str| rig.launch().arg("--enable-leader-election").env("POD_NAME", name);
    let leader = rig.operator_with(&launch("leader")).await.unwrap();
    shows(&leader, "operator_leader").await;
    rig.site().apply(None, &rig.config()).await.unwrap();
    shows(&leader, &condition("AKODeploymentConfig", "adc", "AsAsked", "True", "Ready")).await;

    let standby = rig.operator_with(&launch("standby")).await.unwrap();
    let (_, text) = standby.get("/metrics").await.unwrap();
    for line in ["operator_leader 0", r#"ako_operator_avi_logins_total{result="refused"} 0"#] {
        assert!(text.lines().any(|found| found == line), "no {line:?} in {text}");
    }
    assert!(!text.contains("operator_condition"), "{text}");
    drop(standby);

    rig.simulator.control().unavailable(true);
    rig.site().apply(None, &rig.config_with(60)).await.unwrap();
    shows(&leader, &condition("AKODeploymentConfig", "adc", "AviUnreachable", "False", "Ready")).await;
    documented(&leader).await;
    rig.simulator.control().unavailable(false);
    rig.site().remove("adc").await.unwrap();
    eventually("no series of an object that is gone", PATIENCE, async || {
        let (_, text) = leader.get("/metrics").await?;
        ensure!(!text.contains(r#"object="adc""#), "{text}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}
