//! Pods that run as processes: a program that shows what it has been given.
#![allow(clippy::unwrap_used, reason = "the functions here are part of the tests")]

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use testbed::{ControlPlane, Node, Nodes, PodRunner, Program, RunningContainer, Tools, eventually};

const SOON: Duration = Duration::from_mins(2);

struct Site {
    plane: ControlPlane,
    nodes: Nodes,
    runner: PodRunner,
    pods: Api<Pod>,
}

impl Site {
    /// Starts a cluster of one Node; `None`, with a message, where Pods cannot run.
    async fn start() -> Option<Self> {
        if let Some(why) = PodRunner::lacks() {
            eprintln!("skipped: {why}");
            return None;
        }
        let plane = ControlPlane::start().await.unwrap();
        let nodes = Nodes::start(plane.client()).await.unwrap();
        nodes.join(Node::named("node-1")).await.unwrap();
        let tools = tokio::task::spawn_blocking(|| Tools::of(&["container"])).await.unwrap().unwrap();
        let program = Program::new("container", tools.path("container").unwrap())
            .ready_at_socket("/run/sockets/socket");
        let runner = PodRunner::start(&plane, &nodes, vec![program]).unwrap();
        runner.machine_file("node-1", "/sys/class/dmi/id/product_serial", "VMware-42");
        let pods = Api::default_namespaced(plane.client());
        Some(Self { plane, nodes, runner, pods })
    }

    async fn apply(&self, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &list).await.unwrap();
    }

    fn container(&self) -> RunningContainer {
        self.runner.named("real").remove(0)
    }

    /// Waits until the log has the text.
    async fn prints(&self, text: &str) {
        let has_it = async || {
            let container = self.runner.named("real").into_iter().next();
            let log = container.map(|container| container.log()).unwrap_or_default();
            anyhow::ensure!(log.contains(text), "the log is {log}");
            Ok(Some(()))
        };
        eventually(&format!("{text} is printed"), SOON, has_it).await.unwrap();
    }

    /// Waits until the container's status is as the function wants it.
    async fn status(&self, what: &str, is: impl Fn(&ContainerStatus) -> bool) -> Pod {
        let look = async || {
            let pod = self.pods.get("p").await?;
            let statuses = pod.status.clone().unwrap_or_default().container_statuses.unwrap_or_default();
            let real = statuses.iter().find(|status| status.name == "real");
            anyhow::ensure!(real.is_some_and(&is), "{real:?}");
            Ok(Some(pod))
        };
        eventually(what, SOON, look).await.unwrap()
    }
}

fn object(kind: &str, name: &str, data: Value) -> Value {
    let field = if kind == "Secret" { "stringData" } else { "data" };
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
    object[field] = data;
    object
}

/// A Pod with a real container and a simulated one.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {
            "securityContext": {"runAsUser": 1001},
            "containers": [
                {
                    "name": "real",
                    "image": "registry.example:5000/a/container:v1",
                    "args": [
                        "--file=/etc/config/key", "--file=/sys/class/dmi/id/product_serial", "--end=/run/sockets/end",
                        "--file=/var/run/secrets/kubernetes.io/serviceaccount/namespace",
                        "--socket=$(SOCKETS)/socket", "left", "$(NODE)",
                    ],
                    "env": [
                        {"name": "SOCKETS", "value": "/run/sockets"},
                        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "password"}}},
                    ],
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/etc/config"}, {"name": "sockets", "mountPath": "/run/sockets"},
                    ],
                },
                {"name": "sidecar", "image": "registry.example/sidecar:v1"},
            ],
            "volumes": [
                {"name": "config", "secret": {"secretName": "s"}}, {"name": "sockets", "emptyDir": {}},
            ],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_its_volumes_environment_and_token() {
    let Some(site) = Site::start().await else { return };
    site.apply(&[pod()]).await;
    let missing = |status: &ContainerStatus| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.message.as_deref() == Some(r#"secret "s" not found"#))
    };
    let waiting = site.status("the Secret is missing", missing).await;
    assert_eq!(waiting.status.unwrap().phase.as_deref(), Some("Pending"));

    site.apply(&[object("Secret", "s", json!({"key": "one", "password": "p\"a\\ss"}))]).await;
    let ready = site.status("the container is ready", |status| status.ready).await.status.unwrap();
    assert_eq!(ready.phase.as_deref(), Some("Running"));
    assert!(ready.container_statuses.unwrap().iter().all(|status| status.ready && status.restart_count == 0));
    for line in [
        "user 1001 0",
        "arguments [left node-1]",
        "variable PASSWORD=p\"a\\ss",
        "variable KUBERNETES_SERVICE_HOST=127.0.0.1",
        r#"file /etc/config/key "one""#,
        r#"file /sys/class/dmi/id/product_serial "VMware-42""#,
        r#"file /var/run/secrets/kubernetes.io/serviceaccount/namespace "default""#,
    ] {
        site.prints(&format!("{line}\n")).await;
    }
    let root = site.container().root;
    let mut volumes = root.join("volumes").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let is_access =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("kube-api-access");
    let access = volumes.find(is_access).unwrap();
    let token = std::fs::read_to_string(access.join("token")).unwrap();
    assert_eq!(token.split('.').count(), 3, "a JSON Web Token");

    // Another content in the same process.
    let pid = site.container().pid;
    site.apply(&[object("Secret", "s", json!({"key": "two", "password": "p"}))]).await;
    site.prints(r#"file /etc/config/key "two""#).await;
    assert_eq!(site.container().pid, pid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_is_started_again_until_the_pod_goes() {
    let Some(site) = Site::start().await else { return };
    site.apply(&[object("Secret", "s", json!({"key": "one", "password": "p"})), pod()]).await;
    site.status("the container is ready", |status| status.ready).await;
    let end = site.container().root.join("volumes/sockets/end");
    std::fs::write(&end, "3").unwrap();
    let crashed = |status: &ContainerStatus| {
        let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
    };
    let pod = site.status("the program crashes again and again", crashed).await;
    let statuses = pod.status.unwrap().container_statuses.unwrap();
    let last = statuses[0].last_state.as_ref().unwrap().terminated.as_ref().unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    std::fs::remove_file(&end).unwrap();
    site.status("it runs again", |status| status.ready && status.restart_count > 0).await;

    // A machine that fails takes its processes with it, and leaves the Pod.
    let running = site.container().pid.unwrap();
    site.nodes.leave("node-1");
    let gone = |pid: u32| {
        eventually("the process is gone", SOON, async move || {
            Ok((!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(()))
        })
    };
    gone(running).await.unwrap();
    site.nodes.join(Node::named("node-1")).await.unwrap();
    let back = async || Ok(site.container().pid.filter(|pid| *pid != running));
    let running = eventually("it runs again", SOON, back).await.unwrap();

    site.pods.delete("p", &DeleteParams::default()).await.unwrap();
    gone(running).await.unwrap();
    let removed = async || Ok(site.pods.get_opt("p").await?.is_none().then_some(()));
    eventually("the Pod is removed", SOON, removed).await.unwrap();
    assert!(site.runner.containers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_not_restarted_ends() {
    let Some(site) = Site::start().await else { return };
    let mut pod = pod();
    pod["spec"]["restartPolicy"] = "Never".into();
    pod["spec"]["containers"].as_array_mut().unwrap().pop();
    site.apply(&[object("Secret", "s", json!({"key": "one", "password": "p"}))]).await;
    let pod: Pod = serde_json::from_value(pod).unwrap();
    site.pods.create(&PostParams::default(), &pod).await.unwrap();
    site.status("the container is ready", |status| status.ready).await;
    std::fs::write(site.container().root.join("volumes/sockets/end"), "0").unwrap();
    let phase = async || {
        let pod = site.pods.get("p").await?;
        Ok(pod.status.and_then(|status| status.phase).filter(|phase| phase == "Succeeded"))
    };
    eventually("the Pod has succeeded", SOON, phase).await.unwrap();
}
