//! An operator's process from start to end: two replicas of one that does nothing.
//!
//! The process is this test program itself, told to run `operator` alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    env,
    process::{Command, exit},
    time::Duration,
};

use clap::Parser;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ConfigMap};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use operator_kit::{
    Cleanup, CommonArgs, Disposition, Kit, Next, Operator, ReconcileError, Reconciler, Watch, driver,
};
use serde_json::{Value, json};
use testbed::{ControlPlane, Process, ProcessSpec, Workdir, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const OPERATOR: Operator = Operator { name: "idle-operator", group: "kit.example.com", version: "1.0.0" };
const PATIENCE: Duration = Duration::from_mins(3);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: CommonArgs,
}

struct Idle;

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

impl ReconcileError for Never {
    fn disposition(&self) -> Disposition {
        Disposition::Permanent
    }

    fn reason(&self) -> &'static str {
        "Never"
    }
}

impl Reconciler for Idle {
    type Object = ConfigMap;
    type Error = Never;

    const NAME: &'static str = "configmap";
    const FINALIZER: Option<&'static str> = None;

    async fn reconcile(&self, config: std::sync::Arc<ConfigMap>) -> Result<Next, Never> {
        assert_ne!(config.metadata.name.as_deref(), Some("bomb"), "as the test wants it");
        Ok(Next::AwaitChange)
    }

    async fn cleanup(&self, _: std::sync::Arc<ConfigMap>) -> Result<Cleanup, Never> {
        Ok(Cleanup::Done)
    }
}

/// No test of its own but the process the other tests start.
#[test]
fn operator() {
    let Ok(arguments) = env::var("OPERATOR_ARGUMENTS") else { return };
    let arguments = ["operator"].into_iter().chain(arguments.split_whitespace());
    let cli = Cli::parse_from(operator_kit::args::go_style(arguments.map(Into::into)));
    let result = operator_kit::run(OPERATOR, &cli.common, |kit: Kit| async move {
        kit.lead().await;
        let watch = Watch::<ConfigMap>::new(&kit, Api::all(kit.client()), watcher::Config::default());
        driver::run(watch.controller(), std::sync::Arc::new(Idle), &kit).await
    });
    exit(match result {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    });
}

/// One replica.
struct Replica {
    process: Process,
    _workdir: Workdir,
}

impl Replica {
    fn start(control_plane: &ControlPlane, arguments: &str) -> Self {
        let workdir = Workdir::new("idle-operator").unwrap();
        let arguments = format!("-metrics-addr=127.0.0.1:0 -log-format=json {arguments}");
        let program = env::current_exe().unwrap();
        let log = workdir.path().join("log");
        let options = ["--exact", "operator", "--nocapture"];
        let mut spec = ProcessSpec::new("idle-operator", program, options, log);
        spec.env = vec![
            ("KUBECONFIG".to_owned(), control_plane.kubeconfig().into()),
            ("OPERATOR_ARGUMENTS".to_owned(), arguments.into()),
        ];
        Self { process: Process::spawn(spec).unwrap(), _workdir: workdir }
    }

    /// The log lines that are JSON: all but the test harness's.
    fn lines(&self) -> Vec<Value> {
        self.process.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    async fn says(&self, message: &str) -> Value {
        let said = async || Ok(self.lines().into_iter().find(|line| line["message"] == message));
        eventually(message, PATIENCE, said).await.unwrap()
    }

    async fn get(&self, path: &str) -> String {
        let address = self.says("admin server listens").await["address"].as_str().unwrap().to_owned();
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        response
    }

    async fn is_ready(&self, because: &str) {
        eventually("ready", PATIENCE, async || {
            let response = self.get("/readyz").await;
            Ok((response.starts_with("HTTP/1.1 200") && response.contains(because)).then_some(()))
        })
        .await
        .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_live_and_die() {
    let control_plane = ControlPlane::start().await.unwrap();
    let leases: Api<Lease> = Api::default_namespaced(control_plane.client());

    // Without election: ready at once, ends well.
    let mut alone = Replica::start(&control_plane, "");
    alone.is_ready("[+] watch ConfigMap").await;
    assert!(alone.get("/metrics").await.contains("operator_leader 1"));
    assert!(alone.process.terminate(PATIENCE).await.unwrap().success());
    assert!(leases.get_opt("idle-operator").await.unwrap().is_none());

    // The leader works, the standby answers its probes.
    let election = "-enable-leader-election -leader-election-namespace=default";
    let mut first = Replica::start(&control_plane, election);
    first.is_ready("[+] watch ConfigMap").await;
    let mut second = Replica::start(&control_plane, election);
    second.is_ready("[+] leader election").await;
    assert!(second.get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(second.get("/metrics").await.contains("operator_leader 0"));

    // Asked to go, the leader gives up the Lease last and the standby takes over without waiting for it to expire.
    assert!(first.process.terminate(PATIENCE).await.unwrap().success(), "{}", first.process.log());
    first.says("leader Lease released").await;
    second.says("leading").await;
    second.is_ready("[+] watch ConfigMap").await;

    // A standby has nothing to end: it would not end well if it were waited for.
    let mut third = Replica::start(&control_plane, election);
    third.is_ready("[+] leader election").await;
    assert!(third.process.terminate(PATIENCE).await.unwrap().success());

    // SIGUSR1 raises the log level.
    let pid = second.process.pid().to_string();
    assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
    second.says("log level changed by SIGUSR1").await;
    control_plane.kubectl(&["create", "configmap", "seen"]).await.unwrap();
    second.says("reconciled").await;

    // Deposed, it ends at once and says so.
    let thief = json!({"spec": {"holderIdentity": "thief"}});
    leases.patch("idle-operator", &PatchParams::default(), &Patch::Merge(thief)).await.unwrap();
    let status = tokio::time::timeout(PATIENCE, second.process.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1), "{}", second.process.log());
    assert!(second.process.log().contains("the leader Lease was lost"));

    // A panic in a reconcile ends the process: no controller dies in silence.
    let mut doomed = Replica::start(&control_plane, "");
    doomed.is_ready("[+] watch ConfigMap").await;
    control_plane.kubectl(&["create", "configmap", "bomb"]).await.unwrap();
    let status = tokio::time::timeout(PATIENCE, doomed.process.wait()).await.unwrap();
    assert!(!status.success());
    assert!(doomed.process.log().contains("as the test wants it"));
}
