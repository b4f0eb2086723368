//! The stand-in for AKO on a real control plane, with the simulated AVI controller.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use anyhow::{Result, ensure};
use avi_simulator::{Config, Simulator};
use serde_json::{Value, json};
use testbed::{Ako, Cleanup, ControlPlane, Node, Nodes, eventually};

/// The time limit of a wait, far above the seconds that it takes on an idle machine.
const SOON: Duration = Duration::from_mins(3);

const SEED: &str = include_str!("../../avi-simulator/samples/vips.yaml");

struct Rig {
    plane: ControlPlane,
    simulator: Simulator,
    ako: Ako,
    _nodes: Nodes,
}

impl Rig {
    async fn start() -> Self {
        let (plane, simulator) = tokio::try_join!(
            ControlPlane::builder().all_controllers(true).start(),
            Simulator::start(Config::default())
        )
        .unwrap();
        simulator.control().seed(SEED).unwrap();
        let nodes = Nodes::start(plane.client()).await.unwrap();
        nodes.join(Node::named("n1")).await.unwrap();
        let ako = Ako::start(plane.client());
        Self { plane, simulator, ako, _nodes: nodes }
    }

    /// Installs AKO, as an operator does.
    async fn install(&self) {
        let meta = |name: &str| json!({"name": name, "namespace": "avi-system"});
        let settings = json!({
            "controllerIP": self.simulator.url().trim_start_matches("https://"), "controllerVersion": "30.2.1",
            "clusterName": "w1", "cloudName": "Default-Cloud", "tenantName": "admin", "serviceEngineGroupName": "Default-Group",
            "vipNetworkList": r#"[{"networkName":"vips","cidr":"10.92.0.0/24"}]"#, "deleteConfig": "false",
        });
        let credentials = json!({
            "username": "admin", "password": self.simulator.admin_password(),
            "certificateAuthorityData": self.simulator.ca_pem(),
        });
        let labels = json!({"app": "ako"});
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "avi-system"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("avi-k8s-config"), "data": settings},
            {"apiVersion": "v1", "kind": "Secret", "metadata": meta("avi-secret"), "stringData": credentials},
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("ako"), "spec": {
                "serviceName": "ako", "replicas": 1, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "ako", "image": "ako"}]}},
            }},
        ]}))
        .await;
    }

    async fn apply(&self, object: &Value) {
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &object.to_string()).await.unwrap();
    }

    async fn delete_config(&self, value: &str) {
        let patch = json!({"data": {"deleteConfig": value}}).to_string();
        let args = ["patch", "configmap", "avi-k8s-config", "-n", "avi-system", "--type=merge", "-p", &patch];
        self.plane.kubectl(&args).await.unwrap();
    }

    /// Waits until AKO says this of the removal of its objects.
    async fn says(&self, status: &str) {
        let path = "jsonpath={.metadata.annotations.AviObjectDeletionStatus}";
        let args = ["get", "statefulset", "ako", "-n", "avi-system", "-o", path];
        self.until(&format!("AKO says {status:?}"), async || Ok(self.plane.kubectl(&args).await? == status))
            .await;
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> Result<bool>) {
        eventually(what, SOON, async || {
            ensure!(holds().await?, "{:?}", self.ako.trouble());
            Ok(Some(()))
        })
        .await
        .unwrap();
    }

    async fn address(&self, service: &str) {
        let args = ["get", "service", service, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}"];
        self.until("the Service has an address", async || {
            Ok(self.plane.kubectl(&args).await?.starts_with("10.92.0."))
        })
        .await;
    }
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {
        "type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}],
    }})
}

#[tokio::test]
async fn services_get_virtual_services_which_go_with_delete_config() {
    let rig = Rig::start().await;
    let avi = rig.simulator.control();
    let before = avi.snapshot();
    rig.install().await;
    eventually("it waits for its kinds", SOON, async || {
        Ok(rig.ako.trouble().filter(|trouble| trouble.contains("AKO waits for its kinds in v1beta1")))
    })
    .await
    .unwrap();
    rig.apply(&json!({"apiVersion": "v1", "kind": "List", "items": Ako::definitions()})).await;
    for name in ["web", "api"] {
        rig.apply(&service(name)).await;
        rig.address(name).await;
    }
    let problems = avi.check();
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(rig.ako.starts(), 1);
    rig.plane.kubectl(&["delete", "service", "api"]).await.unwrap();
    rig.until("its objects are gone", async || Ok(avi.diff(&before).added.len() == 4)).await;

    // With deleteConfig it does what the test wants, and takes it back where that is taken back.
    for (cleanup, said, left) in
        [(Cleanup::Hangs, "Started", 4), (Cleanup::TimesOut, "Timeout", 4), (Cleanup::Prompt, "Done", 0)]
    {
        rig.ako.set_cleanup(cleanup);
        rig.delete_config("true").await;
        rig.says(said).await;
        assert_eq!(avi.diff(&before).added.len(), left, "{cleanup:?}");
        rig.delete_config("false").await;
        rig.says("").await;
        rig.until("the virtual service is there", async || Ok(avi.diff(&before).added.len() == 4)).await;
    }

    // A changed Secret ends it; one with a wrong password keeps it out.
    let wrong = r#"{"stringData":{"password":"wrong"}}"#;
    rig.plane.kubectl(&["patch", "secret", "avi-secret", "-n", "avi-system", "-p", wrong]).await.unwrap();
    eventually("it is refused", SOON, async || {
        Ok(rig.ako.trouble().filter(|trouble| trouble.contains("the login is refused")))
    })
    .await
    .unwrap();
    rig.install().await;
    // On a slow machine the wrong password was tried often enough to lock the account for 30 minutes.
    avi.advance_clock(Duration::from_mins(31));
    rig.until("it is back", async || Ok(rig.ako.trouble().is_none() && rig.ako.starts() == 2)).await;
}
