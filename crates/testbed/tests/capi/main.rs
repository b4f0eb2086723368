//! Tests of the management cluster: Clusters become Available, hooks block the deletion of Machines, deletion has its order,
//! both API versions are served.
//!
//! All scenarios share a management cluster. Each has its own workload cluster, and they run concurrently.
#![allow(clippy::unwrap_used, reason = "tests")]

mod objects;
mod rollout;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use testbed::{Management, Workload, eventually};

use objects::{Objects, condition};

/// The time limit of a wait, far above the seconds that it takes on an idle machine.
const SOON: Duration = Duration::from_mins(10);
const PRE_TERMINATE: &str = "pre-terminate.delete.hook.machine.cluster.x-k8s.io/test";
const PRE_DRAIN: &str = "pre-drain.delete.hook.machine.cluster.x-k8s.io/test";

#[tokio::test(flavor = "multi_thread")]
async fn cluster_api_manages_workload_clusters() {
    let management = Management::start().await.unwrap();
    let (lifecycle, deletion, topology, rollout) = tokio::join!(
        check_lifecycle(&management),
        check_deletion(&management),
        check_topology(&management),
        rollout::check_standalone(&management)
    );
    // Runs all scenarios before it fails.
    let failed =
        [("lifecycle", lifecycle), ("deletion", deletion), ("topology", topology), ("rollout", rollout)];
    let failed: Vec<_> =
        failed.into_iter().filter_map(|(name, result)| Some((name, result.err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Reads a cluster in both versions, replaces a Machine with a hook, suspends the API server, rotates the credentials, and
/// deletes the cluster while its API server is stopped.
async fn check_lifecycle(management: &Management) -> Result<()> {
    let mut workload = management
        .workload("life")
        .label("adc", "one")
        .pod_cidrs(&["10.1.0.0/16"])
        .workers(2)
        .start()
        .await?;
    let objects = Objects::of(management, &workload);
    check_both_versions(&objects).await?;
    check_hook(&objects, &workload).await?;

    // With a suspended API server a machine boots, but its Node cannot join.
    workload.plane_mut().suspend_apiserver()?;
    objects.patch("MachineDeployment", "life-md-0", json!({"spec": {"replicas": 3}})).await?;
    let late = eventually("the third worker's machine runs", SOON, async || {
        let machines = objects.list("Machine").await?;
        Ok(machines.into_iter().find(|machine| machine.data["status"]["phase"] == "Provisioned"))
    });
    let late = late.await?.name_any();
    ensure!(!workload.nodes().names().contains(&late), "{late} has joined a suspended API server");
    workload.plane_mut().resume_apiserver()?;
    objects.phase(&late, "Running").await?;

    // After a rotation the old credentials get Unauthorized, and the Secret has the new ones.
    let (secrets, secret) =
        (Api::<Secret>::default_namespaced(management.client()), workload.kubeconfig_secret());
    let old = with_kubeconfig(&secrets.get(&secret).await?).await?;
    Api::<Node>::all(old.clone())
        .list(&ListParams::default())
        .await
        .context("the old credentials before the rotation")?;
    workload.rotate_kubeconfig().await?;
    match Api::<Node>::all(old).list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 401 => {}
        other => bail!("the old credentials after the rotation: {other:?}"),
    }
    let new = with_kubeconfig(&secrets.get(&secret).await?).await?;
    let nodes = Api::<Node>::all(new).list(&ListParams::default()).await?.items.len();
    ensure!(nodes == 4, "{nodes} Nodes");

    workload.plane_mut().stop_apiserver().await?;
    workload.delete().await?;
    workload.deleted(SOON).await
}

/// Checks that v1beta1 is converted from and to v1beta2.
async fn check_both_versions(objects: &Objects) -> Result<()> {
    let (old, new) = (objects.cluster("v1beta1").await?, objects.cluster("v1beta2").await?);
    ensure!(old.uid() == new.uid() && old.labels()["adc"] == "one");
    ensure!(new.data["spec"]["infrastructureRef"]["apiGroup"] == "infrastructure.cluster.x-k8s.io");
    ensure!(old.data["spec"]["infrastructureRef"]["apiVersion"] == "infrastructure.cluster.x-k8s.io/v1");
    ensure!(new.data["status"]["initialization"]["infrastructureProvisioned"] == true);
    ensure!(old.data["status"]["infrastructureReady"] == true);
    for cluster in [&old, &new] {
        ensure!(cluster.data["spec"]["clusterNetwork"]["pods"]["cidrBlocks"] == json!(["10.1.0.0/16"]));
        ensure!(cluster.data["status"]["phase"] == "Provisioned");
    }
    let patch = Patch::Merge(json!({"spec": {"clusterNetwork": {"serviceDomain": "older.local"}}}));
    objects.api("Cluster", "v1beta1").patch("life", &PatchParams::default(), &patch).await?;
    let seen = objects.cluster("v1beta2").await?;
    ensure!(seen.data["spec"]["clusterNetwork"]["serviceDomain"] == "older.local");
    Ok(())
}

/// Checks that a pre-terminate hook blocks the deletion of a Machine and of its infrastructure.
async fn check_hook(objects: &Objects, workload: &Workload) -> Result<()> {
    let nodes: Api<Node> = Api::all(workload.plane().client());
    let machine = objects.worker().await?;
    objects.annotate(&machine, PRE_TERMINATE, Some("me")).await?;
    objects.api("Machine", "v1beta2").delete(&machine, &DeleteParams::default()).await?;
    objects.deleting(&machine, "WaitingForPreTerminateHook").await?;
    // Meanwhile a Machine without a hook is deleted and replaced.
    let free = objects
        .workers()
        .await?
        .into_iter()
        .find(|name| *name != machine)
        .context("there is only one worker")?;
    objects.api("Machine", "v1beta2").delete(&free, &DeleteParams::default()).await?;
    objects.gone("Machine", &free).await?;
    let all = objects.running_workers(2).await?;
    ensure!(all.contains(&machine), "{machine} has a hook, but is not among {all:?}");
    objects.deleting(&machine, "WaitingForPreTerminateHook").await?;
    let infrastructure = objects.api("TestbedMachine", "v1").get(&machine).await?;
    ensure!(
        infrastructure.metadata.deletion_timestamp.is_none(),
        "the infrastructure is being deleted in spite of the hook"
    );
    ensure!(nodes.get_opt(&machine).await?.is_some() && workload.nodes().names().contains(&machine));

    objects.annotate(&machine, PRE_TERMINATE, None).await?;
    objects.gone("Machine", &machine).await?;
    objects.gone("TestbedMachine", &machine).await?;
    // Cluster API deletes the Node of a deleted Machine, unless its Cluster is being deleted.
    ensure!(nodes.get_opt(&machine).await?.is_none() && !workload.nodes().names().contains(&machine));
    objects.running_workers(2).await?;
    Ok(())
}

/// Checks the order in which a Cluster is deleted: workers, control plane, infrastructure. Pre-terminate hooks block each,
/// pre-drain hooks are ignored; Nodes and the Secret of the kubeconfig stay.
async fn check_deletion(management: &Management) -> Result<()> {
    let workload = management.workload("order").namespace("order").start().await?;
    let objects = Objects::of(management, &workload);
    let (worker, master) = (objects.worker().await?, "order-control-plane-0");
    for machine in [&worker, master] {
        objects.annotate(machine, PRE_TERMINATE, Some("me")).await?;
        objects.annotate(machine, PRE_DRAIN, Some("me")).await?;
    }

    workload.delete().await?;
    objects.deleting(&worker, "WaitingForPreTerminateHook").await?;
    objects.cluster_deleting("WaitingForWorkersDeletion").await?;
    for (kind, name) in [("Machine", master), ("TestbedControlPlane", "order"), ("TestbedCluster", "order")] {
        ensure!(!objects.is_deleting(kind, name).await?, "{kind} is being deleted while a worker has a hook");
    }
    ensure!(workload.nodes().names().len() == 2, "a kubelet has ended although its Machine has a hook");

    objects.annotate(&worker, PRE_TERMINATE, None).await?;
    objects.deleting(master, "WaitingForPreTerminateHook").await?;
    objects.gone("Machine", &worker).await?;
    objects.cluster_deleting("WaitingForControlPlaneDeletion").await?;
    ensure!(objects.is_deleting("TestbedControlPlane", "order").await?);
    ensure!(
        !objects.is_deleting("TestbedCluster", "order").await?,
        "the infrastructure is being deleted before the Machines"
    );

    objects.annotate(master, PRE_TERMINATE, None).await?;
    workload.deleted(SOON).await?;
    for (kind, name) in [("Machine", master), ("TestbedControlPlane", "order"), ("TestbedCluster", "order")] {
        ensure!(objects.find(kind, name).await?.is_none(), "{kind} exists after the Cluster");
    }
    let secrets: Api<Secret> = Api::namespaced(management.client(), "order");
    secrets.get(&workload.kubeconfig_secret()).await.context("the Secret of the kubeconfig")?;
    let nodes = Api::<Node>::all(workload.plane().client()).list(&ListParams::default()).await?.items;
    ensure!(nodes.len() == 2, "Cluster API has deleted Nodes of a deleted Cluster");
    ensure!(workload.nodes().names().is_empty(), "a kubelet runs after its machine was deleted");
    Ok(())
}

/// Checks a Cluster with a ClusterClass: its variables are set and validated.
async fn check_topology(management: &Management) -> Result<()> {
    let workload = management
        .workload("topology")
        .namespace("topology")
        .control_plane_machines(2)
        .workers(1)
        .endpoint(false)
        .variable("highlyAvailable", true)
        .unset_variable("endpoint", "string");
    let workload = workload.start().await?;
    let objects = Objects::of(management, &workload);
    let cluster = objects.cluster("v1beta2").await?;
    ensure!(
        cluster.data["spec"]["topology"]["variables"] == json!([{"name": "highlyAvailable", "value": true}])
    );
    ensure!(cluster.data["spec"]["controlPlaneEndpoint"].is_null(), "the provider has written the endpoint");
    ensure!(objects.list("Machine").await?.len() == 3);

    // The provider replaces a deleted control-plane Machine.
    let one = objects
        .find("Machine", "topology-control-plane-1")
        .await?
        .context("control-plane Machines are numbered from 0")?;
    objects.newest("Machine").delete(&one.name_any(), &DeleteParams::default()).await?;
    eventually("a new Machine has replaced it", SOON, async || {
        let other = objects.find("Machine", &one.name_any()).await?.context("none yet")?;
        ensure!(other.uid() != one.uid() && other.data["status"]["phase"] == "Running");
        Ok(Some(()))
    })
    .await?;

    let set = |value: Value| {
        let both = json!([{"name": "highlyAvailable", "value": true}, {"name": "endpoint", "value": value}]);
        objects.patch("Cluster", "topology", json!({"spec": {"topology": {"variables": both}}}))
    };
    let error = set(json!(7)).await.unwrap_err();
    ensure!(format!("{error:#}").contains("endpoint"), "refused for another reason: {error:#}");
    set(json!("10.0.0.1")).await?;
    let endpoint = json!({"host": "10.0.0.1", "port": 6443});
    objects.patch("Cluster", "topology", json!({"spec": {"controlPlaneEndpoint": endpoint}})).await?;
    let generation = objects.cluster("v1beta2").await?.metadata.generation;
    eventually("the topology is reconciled", SOON, async || {
        let cluster = objects.cluster("v1beta2").await?;
        let reconciled = condition(&cluster, "TopologyReconciled");
        ensure!(reconciled["observedGeneration"] == json!(generation), "{reconciled}");
        ensure!(reconciled["status"] == "True", "{reconciled}");
        Ok(Some(()))
    })
    .await?;

    rollout::check(&objects, &workload).await?;
    // The number of workers follows the topology.
    let two = json!([{"class": "worker", "name": "md-0", "replicas": 2}]);
    let workers = json!({"topology": {"workers": {"machineDeployments": two}}});
    objects.patch("Cluster", "topology", json!({"spec": workers})).await?;
    objects.running_workers(2).await?;
    workload.delete().await?;
    workload.deleted(SOON).await
}

async fn with_kubeconfig(secret: &Secret) -> Result<Client> {
    let value =
        secret.data.as_ref().and_then(|data| data.get("value")).context("the Secret has no kubeconfig")?;
    let config = Kubeconfig::from_yaml(std::str::from_utf8(&value.0)?)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?)
}
