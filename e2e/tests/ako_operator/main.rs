//! ako-operator's binary, under its own ServiceAccount and shipped RBAC, with a real Cluster API, a workload cluster, a stand-in for
//! AKO in it, and a simulated AVI controller. Each test has its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helper fails the test, as the test itself does"
)]

use avi_simulator::store::Snapshot;
use e2e::{AkoRig, CLUSTER, OperatorProcess, PATIENCE};
use serde_json::json;
use testbed::{Cleanup, eventually};
use tokio::sync::Semaphore;

const LABEL: &str = "cluster-service.network.tkg.tanzu.vmware.com/avi";
const FINALIZER: &str = "ako-operator.network.tkg.tanzu.vmware.com";
const HOOK: &str =
    r"{.items[*].metadata.annotations.pre-terminate\.delete\.hook\.machine\.cluster\.x-k8s\.io/avi-cleanup}";
/// Each rig has two control planes.
static PLACES: Semaphore = Semaphore::const_new(1);

/// A rig in which the first half of seed 000's walk-through has come true.
struct Walk {
    rig: AkoRig,
    operator: OperatorProcess,
    before: Snapshot,
    _place: tokio::sync::SemaphorePermit<'static>,
}

impl Walk {
    async fn start() -> Self {
        let place = PLACES.acquire().await.unwrap();
        let rig = AkoRig::start().await.unwrap();
        let before = rig.simulator.control().snapshot();
        let operator = rig.operator().await.unwrap();
        let walk = Self { rig, operator, before, _place: place };
        walk.label().await;
        walk
    }

    async fn cluster_has(&self, finalizer: bool) {
        let path = "jsonpath={.metadata.finalizers}";
        eventually(&format!("the finalizer is there: {finalizer}"), PATIENCE, async || {
            let printed = self.rig.management.kubectl(&["get", "cluster", CLUSTER, "-o", path]).await?;
            anyhow::ensure!(
                printed.contains(FINALIZER) == finalizer,
                "{printed}\n{}",
                self.operator.process.log()
            );
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    /// Labels the Cluster, and follows the walk-through to the address of a Service.
    async fn label(&self) {
        let Self { rig, .. } = self;
        rig.management.kubectl(&["label", "cluster", CLUSTER, &format!("{LABEL}=")]).await.unwrap();
        self.cluster_has(true).await;
        let pod = ["get", "pod", "ako-0", "-n", "avi-system", "-o", "jsonpath={.status.phase}"];
        rig.workload_shows(&pod, "Running").await.unwrap();
        let config =
            ["get", "configmap", "avi-k8s-config", "-n", "avi-system", "-o", "jsonpath={.data.clusterName}"];
        rig.workload_shows(&config, "default-w1").await.unwrap();
        rig.shows(&["get", "machines", "-o", &format!("jsonpath={HOOK}")], "ako-operator ako-operator")
            .await
            .unwrap();

        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        rig.workload.plane().kubectl_stdin(&["apply", "-f", "-"], &service.to_string()).await.unwrap();
        let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
        eventually("the Service has an address", PATIENCE, async || {
            let address = rig.workload.plane().kubectl(&["get", "service", "web", "-o", path]).await?;
            anyhow::ensure!(address.starts_with("10.92.0."), "{address:?}: {:?}", rig.ako.trouble());
            Ok(Some(()))
        })
        .await
        .unwrap();
        assert!(!rig.simulator.control().diff(&self.before).is_empty());
        let label = [
            "get",
            "cluster",
            CLUSTER,
            "-o",
            r"jsonpath={.metadata.labels.cluster-service\.network\.tkg\.tanzu\.vmware\.com/avi}",
        ];
        rig.shows(&label, "").await.unwrap();
    }

    /// Nothing is on AVI that was not there before, the operator has met no bug, and AKO was started once.
    fn nothing_is_left(&self) {
        let left = self.rig.simulator.control().diff(&self.before);
        assert!(left.is_empty(), "{left:?}");
        let log = self.operator.process.log();
        assert!(!log.contains("panicked") && !log.contains("InternalError"), "{log}");
        assert_eq!(self.rig.ako.starts(), 1, "a change of the Secret ends AKO");
    }
}

/// Seed 000's walk-through, line by line.
#[tokio::test]
async fn the_walk_through_comes_true() {
    let walk = Walk::start().await;
    walk.rig.workload.delete().await.unwrap();
    walk.rig.workload.deleted(PATIENCE).await.unwrap();
    walk.nothing_is_left();
}

#[tokio::test]
async fn a_cluster_waits_for_an_ako_that_hangs() {
    let walk = Walk::start().await;
    walk.rig.ako.set_cleanup(Cleanup::Hangs);
    walk.rig.workload.delete().await.unwrap();
    let status = "jsonpath={.metadata.annotations.AviObjectDeletionStatus}";
    walk.rig
        .workload_shows(&["get", "statefulset", "ako", "-n", "avi-system", "-o", status], "Started")
        .await
        .unwrap();
    let events = [
        "get",
        "events",
        "--field-selector=reason=AKOCleaningUp",
        "-o",
        "jsonpath={.items[*].involvedObject.name}",
    ];
    walk.rig.shows(&events, CLUSTER).await.unwrap();
    walk.cluster_has(true).await;
    walk.rig.ako.set_cleanup(Cleanup::Prompt);
    walk.rig.workload.deleted(PATIENCE).await.unwrap();
    walk.nothing_is_left();
}

#[tokio::test]
async fn removing_the_label_takes_ako_away_in_order() {
    let walk = Walk::start().await;
    walk.rig.management.kubectl(&["label", "cluster", CLUSTER, &format!("{LABEL}-")]).await.unwrap();
    walk.cluster_has(false).await;
    walk.nothing_is_left();
    walk.rig.shows(&["get", "machines", "-o", &format!("jsonpath={HOOK}")], "").await.unwrap();
    let ours = "app.kubernetes.io/managed-by=ako-operator.network.tkg.tanzu.vmware.com";
    let kinds =
        "statefulsets,secrets,configmaps,serviceaccounts,clusterroles,clusterrolebindings,ingressclasses";
    walk.rig.workload_shows(&["get", kinds, "-A", "-l", ours, "-o", "name"], "").await.unwrap();
    walk.rig.workload.delete().await.unwrap();
    walk.rig.workload.deleted(PATIENCE).await.unwrap();
}
