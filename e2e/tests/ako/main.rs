//! An unmodified AKO against the AVI simulator: starts, gives a Service of type LoadBalancer a virtual service and
//! an address, and takes everything back when told to.
//!
//! AKO is not a dependency of ours and is not published as a Go module, so the user gives its binary: `AKO_BIN`, and with its
//! CustomResourceDefinitions a directory in `AKO_CRDS`. `cargo xtask test ako` runs this where both are given.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use avi_simulator::{Config, Simulator};
use serde_json::{Value, json};
use testbed::{ControlPlane, Port, Process, ProcessSpec, Workdir, eventually};

/// AKO looks into things every few seconds; on a busy machine a step takes some of these rounds.
const PATIENCE: Duration = Duration::from_mins(2);

/// `controllerIP` and so on in the ConfigMap, and the environment variables AKO's StatefulSet makes of them.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("CTRL_IPADDRESS", "controllerIP"),
    ("CTRL_VERSION", "controllerVersion"),
    ("CNI_PLUGIN", "cniPlugin"),
    ("SHARD_VS_SIZE", "shardVSSize"),
    ("PASSTHROUGH_SHARD_SIZE", "passthroughShardSize"),
    ("FULL_SYNC_INTERVAL", "fullSyncFrequency"),
    ("PRIMARY_AKO_FLAG", "primaryInstance"),
    ("CLOUD_NAME", "cloudName"),
    ("TENANT_NAME", "tenantName"),
    ("CLUSTER_NAME", "clusterName"),
    ("DISABLE_STATIC_ROUTE_SYNC", "disableStaticRouteSync"),
    ("DEFAULT_ING_CONTROLLER", "defaultIngController"),
    ("SEG_NAME", "serviceEngineGroupName"),
    ("NODE_NETWORK_LIST", "nodeNetworkList"),
    ("VIP_NETWORK_LIST", "vipNetworkList"),
    ("AKO_API_PORT", "apiServerPort"),
    ("SERVICE_TYPE", "serviceType"),
    ("AUTO_L4_FQDN", "autoFQDN"),
];

/// AKO, what it serves and what it talks to.
struct Ako {
    plane: ControlPlane,
    simulator: Simulator,
    process: Process,
    _port: Port,
    _workdir: Workdir,
}

#[tokio::test]
#[ignore = "needs AKO's binary in AKO_BIN and its CRDs in AKO_CRDS: cargo xtask test ako"]
async fn ako_serves_a_load_balancer_and_cleans_up() {
    let ako = start().await.unwrap();
    if let Err(error) = scenario(&ako).await {
        panic!("{error:#}\n--- AKO\n{}\n--- requests\n{}", ako.process.log(), requests(&ako.simulator));
    }
    println!("requests of AKO:\n{}", requests(&ako.simulator));
}

async fn scenario(ako: &Ako) -> Result<()> {
    let Ako { plane, simulator, process, .. } = ako;
    let before = simulator.control().snapshot();
    eventually("AKO is ready", PATIENCE, async || {
        ensure!(!process.log().contains("FATAL"), "AKO gave up");
        Ok(process.log().contains("AKO is now listening").then_some(()))
    })
    .await?;

    plane.kubectl_stdin(&["apply", "-f", "-"], &service().to_string()).await?;
    let vip = address(plane, "service/web").await?;
    ensure!(vip.starts_with("10.92.0."), "{vip} is not of the VIP network");
    plane.kubectl_stdin(&["apply", "-f", "-"], &ingress().to_string()).await?;
    address(plane, "ingress/web").await?;
    let problems = simulator.control().check();
    ensure!(problems.is_empty(), "AKO and the simulator left {problems:#?}");

    // What ako-operator relies on when a cluster goes: AKO takes all of its objects back and says so.
    let patch = json!({"data": {"deleteConfig": "true"}}).to_string();
    plane
        .kubectl(&["patch", "configmap", "avi-k8s-config", "-n", "avi-system", "--type=merge", "-p", &patch])
        .await?;
    eventually("AKO says that it has cleaned up", PATIENCE, async || {
        let done = plane
            .kubectl(&[
                "get",
                "statefulset",
                "ako",
                "-n",
                "avi-system",
                "-o",
                "jsonpath={.metadata.annotations}",
            ])
            .await?;
        Ok(done.contains(r#""AviObjectDeletionStatus":"Done""#).then_some(()))
    })
    .await?;
    let left = simulator.control().diff(&before);
    let created: Vec<_> = left.added.iter().collect();
    ensure!(created.is_empty(), "AKO left {created:#?}");
    Ok(())
}

/// Returns the address that AKO gives an object of the default namespace.
async fn address(plane: &ControlPlane, object: &str) -> Result<String> {
    let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    eventually(&format!("{object} has an address"), PATIENCE, async || {
        let ip = plane.kubectl(&["get", object, "-o", path]).await?;
        Ok((!ip.is_empty()).then_some(ip))
    })
    .await
}

async fn start() -> Result<Ako> {
    let binary = PathBuf::from(env::var_os("AKO_BIN").context("AKO_BIN names no binary")?);
    let crds = env::var("AKO_CRDS").context("AKO_CRDS names no directory of CRDs")?;
    let workdir = Workdir::new("ako")?;
    let (plane, simulator) = tokio::try_join!(
        ControlPlane::builder().all_controllers(true).start(),
        Simulator::start(Config::default())
    )?;
    simulator.control().seed(include_str!("../../../crates/avi-simulator/samples/vips.yaml"))?;
    plane.kubectl(&["apply", "--server-side", "-f", &crds]).await?;

    let port = Port::reserve()?;
    let address = simulator.url().trim_start_matches("https://").to_owned();
    let settings: BTreeMap<&str, String> = [
        ("controllerIP", address.as_str()),
        ("controllerVersion", "30.2.1"),
        ("cniPlugin", ""),
        ("shardVSSize", "SMALL"),
        ("passthroughShardSize", "SMALL"),
        ("fullSyncFrequency", "1800"),
        ("primaryInstance", "true"),
        ("cloudName", "Default-Cloud"),
        ("tenantName", "admin"),
        ("clusterName", "w1"),
        ("disableStaticRouteSync", "true"),
        ("defaultIngController", "true"),
        ("serviceEngineGroupName", "Default-Group"),
        ("nodeNetworkList", "[]"),
        ("vipNetworkList", r#"[{"networkName":"vips","cidr":"10.92.0.0/24"}]"#),
        ("apiServerPort", &port.number().to_string()),
        ("serviceType", "NodePort"),
        ("autoFQDN", "disabled"),
        ("deleteConfig", "false"),
        ("logLevel", "INFO"),
        ("enableEvents", "true"),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .into();
    plane.kubectl_stdin(&["apply", "-f", "-"], &cluster(&settings, &simulator).to_string()).await?;

    let log = workdir.path().join("ako.log");
    // Outside a cluster AKO looks for `~/.kube/config` and nowhere else; it parses no arguments.
    let kube = workdir.path().join(".kube");
    fs::create_dir(&kube)?;
    fs::copy(plane.kubeconfig(), kube.join("config"))?;
    let mut spec = ProcessSpec::new("ako", binary, [""; 0], log);
    spec.env =
        ENVIRONMENT.iter().map(|(name, key)| ((*name).to_owned(), settings[key].clone().into())).collect();
    spec.env.push(("HOME".to_owned(), workdir.path().into()));
    spec.env.push(("POD_NAME".to_owned(), "ako-0".into()));
    spec.env.push(("POD_NAMESPACE".to_owned(), "avi-system".into()));
    let process = Process::spawn(spec)?;
    Ok(Ako { plane, simulator, process, _port: port, _workdir: workdir })
}

/// Returns what an installation of AKO puts beside its binary, a node, and the Pod that AKO takes itself for.
fn cluster(settings: &BTreeMap<&str, String>, simulator: &Simulator) -> Value {
    let meta = |name: &str| json!({"name": name, "namespace": "avi-system"});
    let pod = json!({"containers": [{"name": "ako", "image": "ako"}]});
    let credentials = json!({
        "username": "admin",
        "password": simulator.admin_password(),
        "certificateAuthorityData": simulator.ca_pem(),
    });
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "avi-system"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("avi-k8s-config"), "data": settings},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta("avi-secret"), "stringData": credentials},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta("ako-0"), "spec": pod},
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("ako"), "spec": {
            "serviceName": "ako", "replicas": 0, "selector": {"matchLabels": {"app": "ako"}},
            "template": {"metadata": {"labels": {"app": "ako"}}, "spec": pod},
        }},
        {"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "avi-lb"},
         "spec": {"controller": "ako.vmware.com/avi-lb"}},
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
         "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.11"}],
                    "conditions": [{"type": "Ready", "status": "True"}]}},
    ]})
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": {
        "type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}],
    }})
}

/// Returns an Ingress with a host by itself, and one under TLS: shared virtual service, pool group, policies, certificate.
fn ingress() -> Value {
    let rule = |host: &str| {
        json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix",
            "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}})
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web-tls", "namespace": "default"},
         "type": "kubernetes.io/tls", "stringData": {"tls.crt": "CERT", "tls.key": "KEY"}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web", "namespace": "default"},
         "spec": {"ingressClassName": "avi-lb", "rules": [rule("web.avi.test"), rule("secure.avi.test")],
                  "tls": [{"hosts": ["secure.avi.test"], "secretName": "web-tls"}]}},
    ]})
}

/// Returns what AKO asked for, a line each.
fn requests(simulator: &Simulator) -> String {
    let requests = simulator.control().requests();
    let lines: Vec<_> = requests
        .iter()
        .map(|request| format!("{} {} {}", request.status, request.method, request.path))
        .collect();
    lines.join("\n")
}
