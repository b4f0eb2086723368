//! Tests of simulated Nodes with real controllers and kubectl.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use anyhow::ensure;
use testbed::{ControlPlane, Node, Nodes, eventually};

/// The time limit of a wait, far above the seconds that it takes on an idle machine.
const SOON: Duration = Duration::from_mins(5);

const WORKLOADS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: ako, namespace: default}
spec:
  serviceName: ako
  replicas: 2
  selector: {matchLabels: {app: ako}}
  template:
    metadata: {labels: {app: ako}}
    spec: {containers: [{name: ako, image: 'ako:1'}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: default}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      tolerations: [{operator: Exists}]
      containers: [{name: agent, image: 'agent:1'}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: default}
spec:
  template:
    spec: {restartPolicy: Never, containers: [{name: once, image: 'once:1'}]}
";

/// Returns the Nodes of the Pods with a label, sorted.
async fn nodes_of(plane: &ControlPlane, app: &str) -> anyhow::Result<Vec<String>> {
    let template = "jsonpath={range .items[*]}{.spec.nodeName}{'\\n'}{end}";
    let selector = format!("app={app}");
    let out = plane.kubectl(&["get", "pod", "-l", &selector, "-o", template]).await?;
    let mut places: Vec<_> = out.lines().map(str::to_owned).collect();
    places.sort();
    Ok(places)
}

#[tokio::test]
async fn workloads_roll_out_move_and_are_deleted() {
    let mut plane = ControlPlane::builder().all_controllers(true).start().await.unwrap();
    let nodes = Nodes::start(plane.client()).await.unwrap();
    for node in [Node { control_plane: true, ..Node::named("cp") }, Node::named("n1"), Node::named("n2")] {
        nodes.join(node).await.unwrap();
    }
    let all_ready = plane.kubectl(&["wait", "--for=condition=Ready", "node", "--all", "--timeout=5m"]).await;
    assert_eq!(all_ready.unwrap().lines().count(), 3);

    plane.kubectl_stdin(&["apply", "-f", "-"], WORKLOADS).await.unwrap();
    for workload in ["deployment/web", "statefulset/ako", "daemonset/agent"] {
        plane.kubectl(&["rollout", "status", workload, "--timeout=5m"]).await.unwrap();
    }
    plane.kubectl(&["wait", "--for=condition=Complete", "job/once", "--timeout=5m"]).await.unwrap();
    assert_eq!(nodes_of(&plane, "agent").await.unwrap(), ["cp", "n1", "n2"]);
    assert_eq!(nodes_of(&plane, "ako").await.unwrap().len(), 2);
    let web = nodes_of(&plane, "web").await.unwrap();
    assert!(web.len() == 3 && !web.contains(&"cp".to_owned()), "{web:?}");

    // A new image is rolled out and deletion completes, also after a restart of the API server.
    plane.stop_apiserver().await.unwrap();
    plane.start_apiserver().await.unwrap();
    plane.kubectl(&["set", "image", "statefulset/ako", "ako=ako:2"]).await.unwrap();
    plane.kubectl(&["rollout", "status", "statefulset/ako", "--timeout=5m"]).await.unwrap();
    plane.kubectl(&["drain", "n1", "--ignore-daemonsets", "--force", "--timeout=5m"]).await.unwrap();
    eventually("everything but the agent is on n2", SOON, async || {
        for app in ["web", "ako"] {
            let places = nodes_of(&plane, app).await?;
            ensure!(!places.is_empty() && places.iter().all(|node| node == "n2"), "{app}: {places:?}");
        }
        Ok(Some(()))
    })
    .await
    .unwrap();
    plane.kubectl(&["delete", "statefulset", "ako", "--timeout=5m"]).await.unwrap();
    plane.kubectl(&["wait", "--for=delete", "pod", "-l", "app=ako", "--timeout=5m"]).await.unwrap();

    // The Pods of a kubelet that has ended stay.
    nodes.leave("n2");
    plane.kubectl(&["delete", "pod", "-l", "app=web", "--wait=false"]).await.unwrap();
    plane.kubectl(&["uncordon", "n1"]).await.unwrap();
    plane.kubectl(&["rollout", "status", "deployment/web", "--timeout=5m"]).await.unwrap();
    // The rollout's status may be older than the deletion.
    eventually("the new Pods run on n1, the old ones stay on n2", SOON, async || {
        let left = nodes_of(&plane, "web").await?;
        ensure!(left == ["n1", "n1", "n1", "n2", "n2", "n2"], "{left:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();

    // A running kubelet reports its Node as Ready after the controllers set it to Unknown, as after a long outage.
    let dead = r#"{"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}"#;
    plane.kubectl(&["patch", "node", "n1", "--subresource=status", "-p", dead]).await.unwrap();
    plane.kubectl(&["wait", "--for=condition=Ready", "node/n1", "--timeout=5m"]).await.unwrap();
}
