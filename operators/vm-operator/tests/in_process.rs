//! Both reconcilers in this process, against a real API server and the vCenter simulator. Dropping them is a crash.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use clap::Parser;
use infra_clients::vsphere::{self, Trust};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use operator_kit::{Clock, Kit, Program};
use serde_json::json;
use testbed::{ApiProxy, ControlPlane, Vcsim, eventually};
use tokio::task::JoinHandle;
use vm_operator::api::{FINALIZER, GROUP_LABEL, VmGroup, VmGroupSpec};
use vm_operator::args::Args;
use vm_operator::{VmOperator, operate};

const PATIENCE: Duration = Duration::from_mins(3);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

struct Bench {
    plane: ControlPlane,
    vcenter: Vcsim,
    groups: Api<VmGroup>,
}

impl Bench {
    async fn start() -> Self {
        let (plane, vcenter) =
            tokio::try_join!(ControlPlane::builder().audit(true).start(), Vcsim::start()).unwrap();
        let definitions: Api<CustomResourceDefinition> = Api::all(plane.client());
        for definition in VmOperator::crds() {
            definitions.create(&PostParams::default(), &definition).await.unwrap();
        }
        let established = ["wait", "--for=condition=Established", "--timeout=180s", "crd", "--all"];
        plane.kubectl(&established).await.unwrap();
        let groups = Api::default_namespaced(plane.client());
        Self { plane, vcenter, groups }
    }

    /// Starts both controllers.
    async fn operator(&self) -> Operator {
        self.operator_at(self.plane.kubeconfig()).await
    }

    async fn operator_at(&self, kubeconfig: &Path) -> Operator {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client: Client = operator_kit::client::build(config, "in-process/1").unwrap();
        let kit = Kit::with_client(VmOperator::OPERATOR, client, Clock::default()).unwrap();
        let (host, user) = (self.vcenter.host(), self.vcenter.user());
        let mut session = vsphere::Config::new(&host, user, self.vcenter.password().to_owned().into());
        session.trust = Trust::CaBundle(self.vcenter.ca_pem().as_bytes().to_vec());
        let args = Cli::parse_from(["vm-operator"]).args;
        let task = tokio::spawn(operate(kit.clone(), args, session));
        Operator { kit, task }
    }

    /// Waits until the group is ready with so many machines, by a status that answers its present spec.
    async fn settled(&self, replicas: i32) {
        eventually(&format!("{replicas} are ready"), PATIENCE, async || {
            let group = self.groups.get("web").await?;
            let status = group.status.unwrap_or_default();
            let answers = status.observed_generation == group.metadata.generation;
            Ok((answers && status.ready_replicas == Some(replicas)).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn create(&self, replicas: i32) -> VmGroup {
        let spec = VmGroupSpec { replicas, cpu: 1, memory: 1, template: "photon".to_owned(), paused: None };
        self.groups.create(&PostParams::default(), &VmGroup::new("web", spec)).await.unwrap()
    }

    async fn scale(&self, replicas: i32) {
        let replicas = format!("--replicas={replicas}");
        self.plane.kubectl(&["scale", "vg/web", &replicas]).await.unwrap();
    }

    /// Returns the number of the operator's writes so far.
    fn writes(&self) -> usize {
        let requests = self.plane.audit_events().unwrap().into_iter();
        requests.filter(|request| request.user_agent == "in-process/1" && request.is_write()).count()
    }
}

struct Operator {
    kit: Kit,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Operator {
    /// Waits until both kinds were reconciled since the start.
    async fn has_looked(&self) {
        eventually("both kinds are reconciled", PATIENCE, async || {
            let metrics = self.kit.metrics().registry().gather();
            let metrics = prometheus::TextEncoder::new().encode_to_string(&metrics)?;
            let settled = |kind: &str| {
                let line = format!("operator_reconcile_total{{controller=\"{kind}\",result=\"ok\"}}");
                metrics.lines().any(|metric| metric.starts_with(&line))
            };
            Ok((settled("vmgroup") && settled("vminstance")).then_some(()))
        })
        .await
        .unwrap();
    }

    async fn crash(self) {
        self.kit.shutdown().cancel();
        self.task.abort();
        let _ = self.task.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_starts_over_writes_nothing_and_a_crash_at_any_write_loses_nothing() {
    let bench = Bench::start().await;
    let operator = bench.operator().await;
    bench.create(2).await;
    bench.settled(2).await;
    bench.plane.kubectl(&["wait", "vgi", "--all", "--for=condition=Ready", "--timeout=180s"]).await.unwrap();
    operator.crash().await;

    let before = bench.writes();
    let mut operator = bench.operator().await;
    operator.has_looked().await;
    assert_eq!(bench.writes(), before, "a second process writes what the first has written");

    // Between the first write of a change and its last.
    for (count, replicas) in [(1, 3), (2, 5), (4, 2), (6, 6), (9, 3)] {
        let before = bench.writes();
        bench.scale(replicas).await;
        eventually("the writes before the crash", PATIENCE, async || {
            Ok((bench.writes() >= before + count).then_some(()))
        })
        .await
        .unwrap();
        operator.crash().await;
        operator = bench.operator().await;
        bench.settled(replicas).await;
    }
    bench.groups.delete("web", &DeleteParams::default()).await.unwrap();
    eventually("nothing is left", PATIENCE, async || {
        let left = bench.vcenter.vms_in("/DC0/vm/vm-operator/default.web").await?;
        Ok((bench.groups.get_opt("web").await?.is_none() && left.is_empty()).then_some(()))
    })
    .await
    .unwrap();
    let cloned = bench.vcenter.calls().await.unwrap()["CloneVM_Task"];
    let removed = bench.vcenter.removed_vms().await.unwrap().len();
    assert_eq!(cloned, u64::try_from(removed).unwrap(), "one clone for each machine that was removed");
}

/// The watch of the VmInstances stands still, as after a start from an old list. A group that went without its VmInstance would
/// leave the machine in the vCenter: the garbage collector deletes the VmInstance, whose group does not exist any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_stays_while_it_has_an_instance_that_no_watch_has_shown() {
    let bench = Bench::start().await;
    let account = bench.plane.service_account_kubeconfig("default", "default").await.unwrap();
    let admin = [
        "create",
        "clusterrolebinding",
        "a",
        "--clusterrole=cluster-admin",
        "--serviceaccount=default:default",
    ];
    bench.plane.kubectl(&admin).await.unwrap();
    let frozen = "frozen-99@added/vminstances/web-0#1".parse().unwrap();
    let proxy = ApiProxy::start(&bench.plane, &account, Some(frozen)).await.unwrap();
    let operator = bench.operator_at(proxy.kubeconfig()).await;
    let uid = bench.create(0).await.metadata.uid.unwrap();
    bench.settled(0).await;

    let kind = json!({ "apiVersion": "vm.codeconnect.vmworld.com/v1alpha1", "kind": "VmInstance" });
    let owner = json!({
        "apiVersion": kind["apiVersion"], "kind": "VmGroup", "name": "web", "uid": uid, "controller": true,
    });
    let instance = json!({
        "apiVersion": kind["apiVersion"], "kind": kind["kind"],
        "metadata": {
            "name": "web-0", "ownerReferences": [owner],
            "finalizers": [FINALIZER], "labels": { GROUP_LABEL: "web" },
        },
        "spec": {
            "vmName": "web-0", "instanceUuid": "11111111-2222-3333-4444-555555555555", "cpu": 1, "memory": 1,
            "template": "photon", "slot": 0, "group": "web", "groupUid": uid,
        },
    });
    bench.plane.kubectl_stdin(&["create", "-f", "-"], &instance.to_string()).await.unwrap();
    bench.groups.delete("web", &DeleteParams::default()).await.unwrap();
    eventually("the group is gone", PATIENCE, async || {
        Ok(bench.groups.get_opt("web").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    assert!(proxy.has_fired(), "the watch was never behind");
    let requests = bench.plane.audit_events().unwrap();
    let mut deletes = requests.iter().filter(|event| event.verb == "delete" && event.name == "web-0");
    assert!(deletes.any(|event| event.user_agent == "in-process/1"), "{:?}", deletes.collect::<Vec<_>>());
    operator.crash().await;
}
