//! vSphere's CSI driver, with the real csi-provisioner. Its other sidecars are simulated.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use serde::Deserialize;
use serde_json::json;
use testbed::{PodRunner, Program, Tools, eventually};

use crate::{SOON, Site, tools, uuid};

const NAMESPACE: &str = "vmware-system-csi";
const DRIVER: &str = "csi.vsphere.vmware.com";
const SOCKET: &str = "/csi/csi.sock";

/// Starts the runner of the driver's Pods.
fn runner(site: &Site, tools: &Tools) -> PodRunner {
    let path = |name: &str| tools.path(name).unwrap();
    let programs = vec![
        Program::new("csi/release/driver", path("vsphere-csi")).ready_at_socket(SOCKET),
        Program::new("csi/release/syncer", path("syncer")),
        Program::new("csi-provisioner", path("csi-provisioner")),
    ];
    let runner = PodRunner::start(&site.plane, &site.nodes, programs).unwrap();
    for number in 1..=3 {
        runner.machine_file(
            &format!("node-{number}"),
            "/sys/class/dmi/id/product_serial",
            &serial(&uuid(number)),
        );
    }
    runner
}

/// Returns a machine's serial number as its BIOS shows it: `VMware-42 30 00 01 aa aa 4b bb-8c cc 00 00 00 00 00 01`.
fn serial(uuid: &str) -> String {
    let digits: Vec<char> = uuid.chars().filter(|digit| *digit != '-').collect();
    let bytes: Vec<String> = digits.chunks(2).map(|byte| byte.iter().collect()).collect();
    format!("VMware-{}-{}", bytes[..8].join(" "), bytes[8..].join(" "))
}

impl Site {
    /// Writes the namespace and the Secret that the manifest expects, in the format that its documentation describes. `categories` are those
    /// of the tags that say where a machine is.
    async fn configure_csi(&self, categories: &[&str]) {
        let vcsim = &self.vcsim;
        let (host, port) =
            vcsim.host().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
        let password = vcsim.password().replace('\\', "\\\\").replace('"', "\\\"");
        let labels = match categories {
            [] => String::new(),
            categories => format!("\n[Labels]\ntopology-categories = \"{}\"\n", categories.join(", ")),
        };
        let config = format!(
            "[Global]\ncluster-id = \"testbed\"\n\n[VirtualCenter \"{host}\"]\ninsecure-flag = \"false\"\n\
             thumbprint = \"{}\"\nuser = \"{}\"\npassword = \"{password}\"\nport = \"{port}\"\ndatacenters = \"DC0\"\n{labels}",
            vcsim.thumbprint_sha1(),
            vcsim.user(),
        );
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vsphere-config-secret", "namespace": NAMESPACE},
                "stringData": {"csi-vsphere.conf": config}},
        ]});
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &objects.to_string()).await.unwrap();
    }

    /// Claims a volume, and returns it when it is bound.
    async fn claim(&self, name: &str) -> PersistentVolume {
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "vsphere"}, "provisioner": DRIVER},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "vsphere",
                "resources": {"requests": {"storage": "16Mi"}},
            }},
        ]});
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &objects.to_string()).await.unwrap();
        let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(self.plane.client());
        let volumes: Api<PersistentVolume> = Api::all(self.plane.client());
        let bound = async || {
            let claim = claims.get(name).await?;
            let phase = claim.status.and_then(|status| status.phase);
            anyhow::ensure!(phase.as_deref() == Some("Bound"), "{phase:?}");
            let volume = claim.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
            Ok(Some(volumes.get(&volume).await?))
        };
        eventually("the claim is bound", SOON, bound).await.unwrap()
    }
}

/// What a node plugin says of its Node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    node_id: String,
    max_volumes: u32,
    topology: Option<BTreeMap<String, String>>,
}

/// A cluster with the real CSI driver in it.
struct Installed {
    // What runs in the cluster before it.
    runner: PodRunner,
    tools: Tools,
    site: Site,
}

impl Installed {
    /// Installs the driver from its released manifest and waits until it runs; `None`, with a message, where Pods cannot run. With
    /// `categories`, csi-provisioner respects where the Nodes are.
    async fn start(site: Site, categories: &[&str]) -> Self {
        let tools = tools(&["csi", "csi-provisioner"]).await;
        let runner = runner(&site, &tools);
        site.configure_csi(categories).await;
        let release = tools.manifests("csi").unwrap().join("manifests/vanilla/vsphere-csi-driver.yaml");
        let mut release = std::fs::read_to_string(release).unwrap();
        // One Pod, because all listen on the ports of this machine.
        release = release.replace("\n  replicas: 3\n", "\n  replicas: 1\n");
        if categories.is_empty() {
            // The manifest's csi-provisioner is an older one, which ignores topology unless it is asked not to.
            let last = "            - \"--default-fstype=ext4\"\n";
            release =
                release.replace(last, &format!("{last}            - \"--feature-gates=Topology=false\"\n"));
        }
        site.plane.kubectl_stdin(&["apply", "-f", "-"], &release).await.unwrap();
        for workload in ["deployment/vsphere-csi-controller", "daemonset/vsphere-csi-node"] {
            let rollout = ["-n", NAMESPACE, "rollout", "status", "--timeout=300s", workload];
            site.plane.kubectl(&rollout).await.unwrap();
        }
        Self { runner, tools, site }
    }

    /// Registers the node plugins, as the kubelets do with the sidecar node-driver-registrar. Returns what they say, in the order of the Nodes.
    async fn register(&self) -> Vec<NodeInfo> {
        let mut plugins = self.runner.named("vsphere-csi-node");
        plugins.sort_by(|one, other| one.node.cmp(&other.node));
        let mut infos = Vec::new();
        for plugin in plugins {
            let socket = plugin.root.join("volumes/plugin-dir/csi.sock");
            let mut ask = tokio::process::Command::new(self.tools.path("nodeinfo").unwrap());
            let answer = ask.arg("-socket").arg(socket).output().await.unwrap();
            let failure = String::from_utf8_lossy(&answer.stderr).into_owned();
            assert!(answer.status.success(), "{failure}\n{}", plugin.log());
            let info: NodeInfo = serde_json::from_slice(&answer.stdout).unwrap();
            let topology = info.topology.clone().unwrap_or_default();
            self.site.nodes.register_driver(&plugin.node, DRIVER, &info.node_id, &topology).await.unwrap();
            infos.push(info);
        }
        infos
    }

    fn assert_nothing_is_forbidden(&self) {
        for container in self.runner.containers() {
            assert!(
                !container.log().contains("is forbidden"),
                "{}: {}",
                container.container,
                container.log()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_csi_driver_provisions_a_volume() {
    if let Some(why) = PodRunner::lacks() {
        eprintln!("skipped: {why}");
        return;
    }
    let csi = Installed::start(Site::start(false).await, &[]).await;
    for (number, info) in (1..).zip(csi.register().await) {
        assert_eq!((info.node_id, info.max_volumes), (uuid(number), 59));
    }
    let volume = csi.site.claim("data").await;
    let handle = volume.spec.and_then(|spec| spec.csi).unwrap().volume_handle;
    let calls = csi.site.vcsim.calls().await.unwrap();
    assert!(!handle.is_empty() && calls["CnsCreateVolume"] == 1, "{handle}: {calls:?}");

    // The volume goes with its claim.
    csi.site.plane.kubectl(&["delete", "persistentvolumeclaim", "data"]).await.unwrap();
    let deleted = async || Ok(csi.site.vcsim.calls().await?.contains_key("CnsDeleteVolume").then_some(()));
    eventually("the volume is deleted", SOON, deleted).await.unwrap();
    csi.assert_nothing_is_forbidden();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_csi_driver_places_a_volume_where_the_nodes_are() {
    if let Some(why) = PodRunner::lacks() {
        eprintln!("skipped: {why}");
        return;
    }
    let site = Site::start(false).await;
    site.vcsim.attach_tag("k8s-region", "region-a", "/DC0").await.unwrap();
    site.vcsim.attach_tag("k8s-zone", "zone-a", "/DC0/host/DC0_C0").await.unwrap();
    let csi = Installed::start(site, &["k8s-region", "k8s-zone"]).await;
    let place = [("k8s-region", "region-a"), ("k8s-zone", "zone-a")];
    let place = place.map(|(category, tag)| (format!("topology.csi.vmware.com/{category}"), tag.to_owned()));
    let place = BTreeMap::from(place);
    for info in csi.register().await {
        assert_eq!(info.topology.as_ref(), Some(&place));
    }
    let volume = csi.site.claim("data").await;
    let affinity = serde_json::to_value(volume.spec.and_then(|spec| spec.node_affinity)).unwrap().to_string();
    assert!(
        place.iter().all(|(key, value)| affinity.contains(key) && affinity.contains(value)),
        "{affinity}"
    );
    csi.assert_nothing_is_forbidden();
}

#[test]
fn a_serial_number_is_written_as_a_bios_does() {
    assert_eq!(
        serial("42300001-aaaa-4bbb-8ccc-000000000001"),
        "VMware-42 30 00 01 aa aa 4b bb-8c cc 00 00 00 00 00 01"
    );
}
