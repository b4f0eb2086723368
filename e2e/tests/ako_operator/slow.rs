//! An AKO that takes long, and answers; API servers that do.

use std::time::Duration;

use futures::future::try_join_all;
use testbed::{Misbehavior, VirtualCluster};

use super::*;

/// Kinds of the Gateway API that AKO's gateway waits for, with their plurals and scopes.
const GATEWAY_KINDS: [(&str, &str, &str); 3] = [
    ("GatewayClass", "gatewayclasses", "Cluster"),
    ("Gateway", "gateways", "Namespaced"),
    ("HTTPRoute", "httproutes", "Namespaced"),
];
/// How often a pass has ended by waiting for AKO.
const WAITS: &str = r#"operator_reconcile_waits_total{controller="cluster",reason="AKOCleaningUp"}"#;

/// AKO removes all that it made itself, and the Cluster stays until its gateway has answered as well. No part of AKO plays the gateway: the
/// test writes its answer.
#[tokio::test]
async fn a_slow_ako_is_waited_for_and_so_is_its_gateway() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let plane = rig.site().control_plane();
    has_gateway_kinds(plane).await;
    let avi = rig.simulator.control();
    let before = avi.snapshot();
    let launch = rig.launch().env("AKO_GATEWAY_IMAGE", "registry.example.com/ako-gateway-api:2.2.1");
    let operator = rig.operator_with(&launch).await.unwrap();
    let mut config = rig.config();
    config["spec"]["extraConfigs"] = json!({ "featureGates": { "GatewayAPI": true } });
    rig.site().apply(None, &config).await.unwrap();
    let guest = rig.with_ako(rig.cluster(CLUSTER, true).await.unwrap()).await.unwrap();
    rig.condition(CLUSTER, "AKOInstalled", "True").await.unwrap();
    rig.balance(&guest).await.unwrap();

    guest.ako.set_cleanup(Cleanup::Slow);
    guest.workload.delete().await.unwrap();
    let system = guest.workload.plane().real_name("avi-system");
    let set = ["-n", &system, "get", "statefulset", "ako", "-o"];
    let answer = "jsonpath={.metadata.annotations.AviObjectDeletionStatus}";
    shows(async || plane.kubectl(&[&set[..], &[answer]].concat()).await, &["AKO's answer"], "Done").await;
    let answers = async |value: &str| {
        let annotation = format!("AviGatewayObjectDeletionStatus={value}");
        plane.kubectl(&["-n", &system, "annotate", "statefulset", "ako", "--overwrite", &annotation]).await
    };
    let known = waits(&operator).await.unwrap();
    answers("Started").await.unwrap();
    eventually("the operator has looked again", PATIENCE, async || {
        Ok((waits(&operator).await? > known).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(plane.kubectl(&[&set[..], &["name"]].concat()).await.unwrap().trim(), "statefulset.apps/ako");
    answers("Done").await.unwrap();
    guest.workload.deleted(PATIENCE).await.unwrap();

    // What AKO does itself, and within its time.
    let user = format!("{CLUSTER}-default-ako-user");
    let requests = avi.requests();
    let removed = requests.iter().filter(|it| it.method == "DELETE" && it.path.contains("/virtualservice/"));
    let by: Vec<_> = removed.filter_map(|it| it.user.as_deref()).collect();
    assert_eq!(by, [&*user], "{}", operator.process.log());
    for reason in ["AKOCleanupOverdue", "AviObjectsRemoved"] {
        let events = ["get", "events", "-A", &format!("--field-selector=reason={reason}"), "-o", "name"];
        assert_eq!(rig.management.kubectl(&events).await.unwrap(), "", "{reason}");
    }
    rig.site().remove("adc").await.unwrap();
    let left = avi.diff(&before);
    assert!(left.is_empty(), "{left:?}");
}

/// Has the API server serve the kinds of the Gateway API.
async fn has_gateway_kinds(plane: &ControlPlane) {
    for (kind, plural, scope) in GATEWAY_KINDS {
        let group = "gateway.networking.k8s.io";
        let name = format!("{plural}.{group}");
        let schema =
            json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let version =
            |name, storage| json!({"name": name, "served": true, "storage": storage, "schema": schema});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name, "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
            "spec": {"group": group, "scope": scope, "versions": [version("v1", true), version("v1beta1", false)],
                "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()}}});
        let definition = definition.to_string();
        plane.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &definition).await.unwrap();
        let established = ["wait", "--for=condition=Established", &format!("crd/{name}")];
        plane.kubectl(&established).await.unwrap();
    }
}

async fn waits(operator: &OperatorProcess) -> anyhow::Result<u64> {
    let (_, metrics) = operator.get("/metrics").await?;
    let line = metrics.lines().find_map(|line| line.strip_prefix(WAITS));
    Ok(line.map_or(Ok(0), |count| count.trim().parse())?)
}

/// As many as the operator has workers, each just below the time from which on few calls are waited for.
#[tokio::test]
async fn slow_api_servers_hold_up_no_other_cluster() {
    let _place = PLACES.acquire().await.unwrap();
    let rig = AkoRig::start().await.unwrap();
    let plane = rig.site().control_plane();
    let operator = rig.operator().await.unwrap();
    rig.site().apply(None, &rig.config()).await.unwrap();
    let names: Vec<_> = (0..12).map(|n| format!("slow-{n:02}")).collect();
    let slow = try_join_all(names.iter().map(|name| rig.cluster(name, false))).await.unwrap();
    let other = rig.with_ako(rig.cluster(CLUSTER, false).await.unwrap()).await.unwrap();
    for workload in &slow {
        workload.plane().slow_down(Duration::from_millis(1700));
    }
    let selected = format!("{LABEL}=");
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    rig.management.kubectl(&[&["label", "cluster"], &names[..], &[&*selected]].concat()).await.unwrap();
    // Each has a worker.
    let running = r#"operator_reconcile_in_flight{controller="cluster"} 12"#;
    eventually("all workers are busy", PATIENCE, async || {
        Ok(operator.get("/metrics").await?.1.contains(running).then_some(()))
    })
    .await
    .unwrap();
    rig.management.kubectl(&["label", "cluster", CLUSTER, &selected]).await.unwrap();
    rig.condition(CLUSTER, "AKOInstalled", "True").await.unwrap();
    let sets = ["get", "statefulsets", "-A", "-o", "jsonpath={.items[*].metadata.namespace}"];
    let sets = plane.kubectl(&sets).await.unwrap();
    let done = slow.iter().map(|workload| workload.plane().real_name("avi-system"));
    let done = done.filter(|namespace| sets.split(' ').any(|has| has == namespace)).count();
    assert!(done < names.len() / 2, "{done} of the slow ones were first: {}", operator.process.log());
    rig.balance(&other).await.unwrap();
    they_fill_no_memory(&rig, &operator, &slow).await;
}

/// Their users replace them by servers whose answers take a hundred times their size, of which each is one megabyte.
async fn they_fill_no_memory(rig: &AkoRig, operator: &OperatorProcess, hostile: &[Workload<VirtualCluster>]) {
    let before = operator.process.memory().unwrap().peak;
    for workload in hostile {
        workload.plane().misbehave(Some(Misbehavior::Floods));
        workload.plane().slow_down(Duration::ZERO);
    }
    let names: Vec<_> = hostile.iter().map(Workload::name).collect();
    let wake = "ako-operator.network.tkg.tanzu.vmware.com/rotate-credentials=again";
    rig.management.kubectl(&[&["annotate", "cluster"], &names[..], &[wake]].concat()).await.unwrap();
    let is_refused = |condition: &Value| {
        condition["message"].as_str().is_some_and(|message| message.contains("an answer of more than"))
    };
    try_join_all(names.iter().map(|name| rig.condition_is(name, "AKOInstalled", is_refused))).await.unwrap();
    let growth = operator.process.memory().unwrap().peak - before;
    assert!(growth < 48 << 20, "{growth} bytes more: {}", operator.process.log());
}
