//! The real Cluster API: both of its versions are read alike, writes change nothing else,
//! and clients follow the cluster through rotation and outage.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use futures::future::join_all;
use infra_clients::capi::{
    AddressType, Capi, Cluster, Endpoint, Error, IpFamily, Kind, KubeadmControlPlane, Limits, Machine,
    MachineDeployment, ReadIn, Replicas, Version, WorkloadClients, connect, owning_cluster, patch,
};
use infra_clients::{Class, Failure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{ListParams, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::{Controller, WatchStreamExt, controller::Action, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};
use testbed::{Management, Workload, eventually};
use tokio::sync::Notify;

use crate::{PATIENT, SOON, filled, put};

const BOTH: [Version; 2] = [Version::V1Beta1, Version::V1Beta2];

/// Returns a kind of the default namespace in a chosen version.
fn read_in<K>(client: &Client, version: Version) -> Api<K>
where
    K: Resource<DynamicType = ReadIn, Scope = kube::core::DynamicResourceScope>,
{
    Api::namespaced_with(client.clone(), "default", &ReadIn(version))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_cluster_api() {
    let management = Management::start().await.unwrap();
    let (plain, classy) = tokio::join!(plain(&management), classy(&management));
    plain.unwrap();
    classy.unwrap();
}

async fn plain(management: &Management) -> Result<()> {
    let builder = management.workload("plain").label("adc", "one").pod_cidrs(&["10.1.0.0/16"]).workers(1);
    let mut workload = builder.start().await?;
    let client = management.client();
    let capi = Capi::discover(client.clone()).await?;
    ensure!(capi.version() == Version::V1Beta2, "{capi:?}");
    ensure!(capi.all::<KubeadmControlPlane>().err().context("no such kind")?.kind() == Kind::NotInstalled);
    both_versions(&client, &capi).await.context("both versions")?;
    watches(&client).await.context("watches")?;
    only_what_is_meant(&client).await.context("patches")?;
    endpoint(management, &client).await.context("endpoint")?;
    follow(management, &mut workload).await.context("clients")
}

async fn both_versions(client: &Client, capi: &Capi) -> Result<()> {
    for version in BOTH {
        let cluster = read_in::<Cluster>(client, version).get("plain").await?;
        check_cluster(&cluster, version)?;
        check_machines(client, version).await?;
        check_workers(client, version, &cluster).await?;
    }
    let cluster = capi.cluster("default", "plain").await?.context("no Cluster")?;
    let all = capi.machines(&cluster).await?;
    ensure!(all.len() == 2 && all.iter().filter(|machine| machine.is_control_plane()).count() == 1);
    ensure!(capi.cluster("default", "gone").await?.is_none());
    Ok(())
}

fn check_cluster(cluster: &Cluster, version: Version) -> Result<()> {
    ensure!(cluster.version == version, "{cluster:?}");
    ensure!((cluster.name(), cluster.namespace(), cluster.label("adc")) == ("plain", "default", Some("one")));
    ensure!(!cluster.is_deleting() && !cluster.is_paused() && !cluster.is_class_based());
    ensure!(cluster.infrastructure_provisioned() && cluster.control_plane_initialized(), "{cluster:?}");
    ensure!(cluster.status.phase == "Provisioned");
    ensure!(cluster.pod_cidrs()? == ["10.1.0.0/16".parse()?] && cluster.ip_family()? == IpFamily::V4);
    ensure!(cluster.control_plane_endpoint().context("no endpoint")?.host == "127.0.0.1");
    let infrastructure = cluster.spec.infrastructure_ref.as_ref().context("no reference")?;
    ensure!(
        infrastructure.group == "infrastructure.cluster.x-k8s.io" && infrastructure.kind == "TestbedCluster"
    );
    ensure!(cluster.spec.control_plane_ref.as_ref().context("no reference")?.kind == "TestbedControlPlane");
    // One condition by its type in contract v1beta2, one by its type in v1beta1, in either version.
    ensure!(cluster.conditions.is_true("Available"), "{:?}", cluster.conditions);
    ensure!(cluster.conditions.is_true("ControlPlaneInitialized"), "{:?}", cluster.conditions);
    let observed =
        cluster.conditions.current().iter().all(|condition| condition.observed_generation.is_some());
    ensure!(observed && !cluster.conditions.v1beta1().is_empty(), "{:?}", cluster.conditions);
    let owner = cluster.owner_ref(&ReadIn::default()).context("no reference")?;
    ensure!(owner.api_version == format!("cluster.x-k8s.io/{version}"));
    Ok(())
}

async fn check_machines(client: &Client, version: Version) -> Result<()> {
    let machines = read_in::<Machine>(client, version).list(&ListParams::default()).await?.items;
    let machines: Vec<_> = machines.iter().filter(|machine| machine.spec.cluster_name == "plain").collect();
    ensure!(machines.len() == 2, "{machines:?}");
    for machine in machines {
        let worker = machine.name().starts_with("plain-md-0");
        ensure!(machine.is_control_plane() != worker && machine.status.phase == "Running", "{machine:?}");
        ensure!(machine.ips(AddressType::InternalIp).any(|address| address.is_ipv4()), "{machine:?}");
        ensure!(machine.ips(AddressType::ExternalIp).count() <= machine.status.addresses.len());
        ensure!(machine.addresses(AddressType::Other).next().is_none(), "{machine:?}");
        ensure!(machine.node_name().is_some() && machine.spec.provider_id.is_some(), "{machine:?}");
        ensure!(
            machine.spec.version.as_ref().is_some_and(|version| version.starts_with("v1.")),
            "{machine:?}"
        );
        ensure!(machine.spec.infrastructure_ref.group == "infrastructure.cluster.x-k8s.io", "{machine:?}");
    }
    Ok(())
}

async fn check_workers(client: &Client, version: Version, cluster: &Cluster) -> Result<()> {
    let api = read_in::<MachineDeployment>(client, version);
    let workers = eventually("Cluster API has counted the workers", SOON, async || {
        let workers = api.get("plain-md-0").await?;
        let all = Replicas { replicas: 1, ready_replicas: 1, up_to_date_replicas: 1 };
        Ok((workers.status == all).then_some(workers))
    })
    .await?;
    ensure!(workers.spec.cluster_name == "plain" && workers.spec.replicas == Some(1) && !workers.is_paused());
    ensure!(owning_cluster(&workers).context("no owner")?.uid == cluster.uid().unwrap_or_default());
    Ok(())
}

/// kube's watcher, reflector and Controller work with the types in both versions, and so does a metadata-only watch.
async fn watches(client: &Client) -> Result<()> {
    for version in BOTH {
        let (reader, writer) = store::<Cluster>();
        let events = watcher(read_in::<Cluster>(client, version), watcher::Config::default());
        let events = events.reflect(writer).applied_objects();
        let reached = move |object: Arc<Cluster>, seen: Arc<Notify>| async move {
            if object.name() == "plain" && object.version == version {
                seen.notify_one();
            }
            Ok::<_, Infallible>(Action::await_change())
        };
        let seen = Arc::new(Notify::new());
        let controller = Controller::for_stream(events, reader.clone())
            .run(reached, |_, _, _| Action::await_change(), seen.clone())
            .for_each(|_| std::future::ready(()));
        tokio::select! {
            () = controller => anyhow::bail!("the controller ended"),
            found = tokio::time::timeout(SOON, seen.notified()) => found.context("never reconciled")?,
        }
        // It is the same object in any version.
        for reference in BOTH {
            let reference = ObjectRef::new_with("plain", ReadIn(reference)).within("default");
            ensure!(reader.get(&reference).is_some(), "{version} {reference:?}");
        }

        let (reader, writer) = store::<PartialObjectMeta<Machine>>();
        let api = read_in::<PartialObjectMeta<Machine>>(client, version);
        filled(&reader, watcher(api, watcher::Config::default()).reflect(writer)).await?;
        ensure!(reader.state().iter().any(|machine| machine.name_any().starts_with("plain")));
    }
    Ok(())
}

/// Returns an object without what changes by itself.
async fn whole(client: &Client, kind: &str, name: &str) -> Result<Value> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind));
    let mut object =
        Api::<DynamicObject>::default_namespaced_with(client.clone(), &resource).get(name).await?;
    object.metadata.managed_fields = None;
    object.metadata.resource_version = None;
    object.metadata.generation = None;
    // Cluster API writes conditions by itself, with the generation they were observed at.
    object.data["status"].take();
    Ok(serde_json::to_value(object)?)
}

async fn only_what_is_meant(client: &Client) -> Result<()> {
    let params = PatchParams::default();
    for version in BOTH {
        let api = read_in::<Cluster>(client, version);
        let before = whole(client, "Cluster", "plain").await?;
        let add = async || {
            // Cluster API writes as well: what was read a moment ago may be stale, as for an operator.
            eventually("the finalizer is added", SOON, async || {
                let cluster = api.get("plain").await?;
                let Some(patch) = patch::add_finalizer(&cluster, "ours/x") else { return Ok(Some(cluster)) };
                Ok(Some(api.patch("plain", &params, &patch).await?))
            })
            .await
        };
        let stale = api.get("plain").await?;
        let with = add().await?;
        ensure!(patch::add_finalizer(&with, "ours/x").is_none());
        let late = patch::add_finalizer(&stale, "ours/y").context("is there")?;
        let error = api.patch("plain", &params, &late).await.map_err(Error::from).unwrap_err();
        ensure!(error.kind() == Kind::Conflict && error.class() == Class::Retry, "{error:?}");

        let label = patch::set_label(&with, "ours/label", "1").context("is there")?;
        api.patch("plain", &params, &label).await?;
        let mut expected = before.clone();
        expected["metadata"]["finalizers"].as_array_mut().context("no finalizers")?.push("ours/x".into());
        expected["metadata"]["labels"]["ours/label"] = "1".into();
        let after = whole(client, "Cluster", "plain").await?;
        ensure!(after == expected, "{version}: {after:#} is not {expected:#}");

        eventually("both are removed", SOON, async || {
            let cluster = api.get("plain").await?;
            let label = patch::remove_label(&cluster, "ours/label");
            let Some(patch) = label.or_else(|| patch::remove_finalizer(&cluster, "ours/x")) else {
                return Ok(Some(()));
            };
            api.patch("plain", &params, &patch).await?;
            Ok(None)
        })
        .await?;
        ensure!(whole(client, "Cluster", "plain").await? == before);
    }
    Ok(())
}

/// A Cluster that no provider provisions: the test sets its endpoint.
async fn endpoint(management: &Management, client: &Client) -> Result<()> {
    let bare = json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": {"name": "bare"},
        "spec": {
            "paused": true,
            "clusterNetwork": {
                "apiServerPort": 6443,
                "pods": {"cidrBlocks": ["fd00:1::/64", "10.1.0.0/16"]},
                "services": {"cidrBlocks": ["fd00:2::/108", "10.2.0.0/16"]},
            },
            "infrastructureRef": {"apiGroup": "infrastructure.cluster.x-k8s.io", "kind": "TestbedCluster", "name": "none"},
        },
    });
    management.plane().kubectl_stdin(&["apply", "-f", "-"], &bare.to_string()).await?;
    for (n, version) in BOTH.into_iter().enumerate() {
        let api = read_in::<Cluster>(client, version);
        // From then on Cluster API changes nothing but its conditions.
        let cluster = eventually("Cluster API has taken note of the pause", SOON, async || {
            let cluster = api.get("bare").await?;
            Ok(cluster.conditions.is_true("Paused").then_some(cluster))
        })
        .await?;
        ensure!(
            cluster.is_paused()
                && cluster.ip_family()? == IpFamily::V6V4
                && cluster.api_server_port() == Some(6443)
        );
        ensure!(cluster.control_plane_endpoint().is_some() == (n > 0), "{cluster:?}");
        let endpoint = Endpoint { host: format!("avi-{n}.example"), port: 6443 };
        let mut expected = whole(client, "Cluster", "bare").await?;
        let cluster = eventually("the endpoint is set", SOON, async || {
            let cluster = api.get("bare").await?;
            let Some(patch) = cluster.set_control_plane_endpoint(&endpoint) else { return Ok(Some(cluster)) };
            Ok(Some(api.patch("bare", &PatchParams::default(), &patch).await?))
        })
        .await?;
        ensure!(cluster.control_plane_endpoint() == Some(&endpoint));
        ensure!(cluster.set_control_plane_endpoint(&endpoint).is_none());
        expected["spec"]["controlPlaneEndpoint"] = json!({"host": endpoint.host, "port": 6443});
        let after = whole(client, "Cluster", "bare").await?;
        ensure!(after == expected, "{after:#} is not {expected:#}");
    }
    Ok(())
}

/// Counts the nodes by a request to the workload cluster.
async fn nodes(client: &Client) -> Result<usize, Error> {
    Ok(Api::<Node>::all(client.clone()).list(&ListParams::default()).await?.items.len())
}

async fn follow(management: &Management, workload: &mut Workload) -> Result<()> {
    let clients = WorkloadClients::new(management.client(), connect).with_limits(PATIENT);
    let old = clients.client("default", "plain").await?;
    ensure!(nodes(&old).await? >= 1);
    workload.rotate_kubeconfig().await?;
    let client = clients.client("default", "plain").await?;
    ensure!(nodes(&client).await? >= 1 && clients.stats().made == 2, "{:?}", clients.stats());
    let error = nodes(&old).await.unwrap_err();
    ensure!(error.kind() == Kind::Replaced, "{error:?}");

    // Cut off: connections are accepted, and nothing is answered.
    let with = |limits| WorkloadClients::new(management.client(), connect).with_limits(limits);
    let patience = Duration::from_secs(3);
    let remembering = with(Limits { connect: patience, answer: patience, ..PATIENT });
    let forgetting =
        with(Limits { connect: patience, answer: patience, remember: Duration::ZERO, ..PATIENT });
    workload.plane_mut().suspend_apiserver()?;
    let cut_off = remembering.client("default", "plain").await?;
    let first = nodes(&cut_off).await.unwrap_err();
    ensure!(first.kind() == Kind::Timeout && first.class() == Class::Retry, "{first:?}");
    for again in join_all((0..20).map(|_| nodes(&cut_off))).await {
        let again = again.unwrap_err();
        ensure!(again.kind() == Kind::Timeout && again.retry_after().is_some(), "{again:?}");
    }
    let finding_out = forgetting.client("default", "plain").await?;
    ensure!(nodes(&finding_out).await.unwrap_err().kind() == Kind::Timeout);
    workload.plane_mut().resume_apiserver()?;
    eventually("the cluster is back", SOON, async || Ok(Some(nodes(&finding_out).await?))).await?;
    // It answers now, but is not called for as long as the error said; another caller receives the same client.
    let error = nodes(&remembering.client("default", "plain").await?).await.unwrap_err();
    ensure!(error.kind() == Kind::Timeout, "{error:?}");

    // Stopped: it refuses connections at once, which is not remembered.
    workload.plane_mut().stop_apiserver().await?;
    let client = forgetting.client("default", "plain").await?;
    let refused = nodes(&client).await;
    ensure!(refused.as_ref().is_err_and(|error| error.kind() == Kind::Unreachable), "{refused:?}");
    workload.plane_mut().start_apiserver().await?;
    eventually("the cluster is back", SOON, async || Ok(Some(nodes(&client).await?))).await?;
    ensure!(forgetting.stats().made == 1, "{:?}", forgetting.stats());
    Ok(())
}

/// A Cluster that is created from a ClusterClass.
async fn classy(management: &Management) -> Result<()> {
    let _workload = management
        .workload("classy")
        .workers(0)
        .variable("aviAPIServerHAProvider", true)
        .variable("nodes", json!([{"a": 1}, {"b": [2]}]))
        .unset_variable("apiServerEndpoint", "string")
        .unset_variable("apiServerPort", "integer")
        .start()
        .await?;
    let client = management.client();
    for (n, version) in BOTH.into_iter().enumerate() {
        let api = read_in::<Cluster>(&client, version);
        let mut expected = whole(&client, "Cluster", "classy").await?;
        let host = format!("10.0.0.{n}");
        let port = 6443 + n;
        let cluster = eventually("the variables are set", SOON, async || {
            let cluster = api.get("classy").await?;
            let values = [("apiServerEndpoint", json!(host)), ("apiServerPort", json!(port))];
            let Some(patch) = cluster.set_variables(values)? else { return Ok(Some(cluster)) };
            Ok(Some(api.patch("classy", &PatchParams::default(), &patch).await?))
        })
        .await?;
        ensure!(
            cluster.is_class_based()
                && cluster.topology_version().is_some_and(|version| version.starts_with("v1."))
        );
        ensure!(cluster.spec.topology.as_ref().context("no topology")?.class() == "classy");
        ensure!(cluster.variable::<bool>("aviAPIServerHAProvider")? == Some(true));
        ensure!(cluster.variable::<IpAddr>("apiServerEndpoint")? == Some(host.parse()?));
        ensure!(cluster.variable::<usize>("apiServerPort")? == Some(port));
        let variables = &mut expected["spec"]["topology"]["variables"];
        put(variables, 2, json!({"name": "apiServerEndpoint", "value": host}));
        put(variables, 3, json!({"name": "apiServerPort", "value": port}));
        let after = whole(&client, "Cluster", "classy").await?;
        ensure!(after["spec"] == expected["spec"], "{version}: {after:#} is not {expected:#}");
        let wrong = cluster.set_variables([("apiServerPort", json!("text"))])?.context("is so")?;
        let error =
            api.patch("classy", &PatchParams::default(), &wrong).await.map_err(Error::from).unwrap_err();
        ensure!(matches!(error.kind(), Kind::Invalid | Kind::Conflict), "{error:?}");
    }
    Ok(())
}
