//! vSphere's CSI driver, with the real csi-provisioner. Its other sidecars are simulated.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
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
    /// Writes the namespace and the Secret that the manifest expects, in the format that its documentation describes.
    async fn configure_csi(&self) {
        let vcsim = &self.vcsim;
        let (host, port) =
            vcsim.host().rsplit_once(':').map(|(host, port)| (host.to_owned(), port.to_owned())).unwrap();
        let password = vcsim.password().replace('\\', "\\\\").replace('"', "\\\"");
        let config = format!(
            "[Global]\ncluster-id = \"testbed\"\n\n[VirtualCenter \"{host}\"]\ninsecure-flag = \"false\"\n\
             thumbprint = \"{}\"\nuser = \"{}\"\npassword = \"{password}\"\nport = \"{port}\"\ndatacenters = \"DC0\"\n",
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

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_csi_driver_provisions_a_volume() {
    if let Some(why) = PodRunner::lacks() {
        eprintln!("skipped: {why}");
        return;
    }
    let (tools, site) = tokio::join!(tools(&["csi", "csi-provisioner"]), Site::start(false));
    let runner = runner(&site, &tools);
    site.configure_csi().await;
    for number in 1..=3 {
        // As the kubelet and the sidecar node-driver-registrar do.
        site.nodes.register_driver(&format!("node-{number}"), DRIVER, &uuid(number), &[]).await.unwrap();
    }
    let release = tools.manifests("csi").unwrap().join("manifests/vanilla/vsphere-csi-driver.yaml");
    let release = std::fs::read_to_string(release).unwrap();
    // One Pod, because all listen on the ports of this machine. This csi-provisioner is newer than the manifest's: it takes the driver's
    // word for topology, of which there is none here.
    let release = release.replace("\n  replicas: 3\n", "\n  replicas: 1\n").replace(
        "            - \"--default-fstype=ext4\"\n",
        "            - \"--default-fstype=ext4\"\n            - \"--feature-gates=Topology=false\"\n",
    );
    site.plane.kubectl_stdin(&["apply", "-f", "-"], &release).await.unwrap();

    let volume = site.claim("data").await;
    let handle = volume.spec.and_then(|spec| spec.csi).unwrap().volume_handle;
    let calls = site.vcsim.calls().await.unwrap();
    assert!(!handle.is_empty() && calls["CnsCreateVolume"] == 1, "{handle}: {calls:?}");
    for workload in ["deployment/vsphere-csi-controller", "daemonset/vsphere-csi-node"] {
        let rollout = ["-n", NAMESPACE, "rollout", "status", "--timeout=180s", workload];
        site.plane.kubectl(&rollout).await.unwrap();
    }

    // The volume goes with its claim.
    site.plane.kubectl(&["delete", "persistentvolumeclaim", "data"]).await.unwrap();
    let deleted = async || Ok(site.vcsim.calls().await?.contains_key("CnsDeleteVolume").then_some(()));
    eventually("the volume is deleted", SOON, deleted).await.unwrap();
    for container in runner.containers() {
        assert!(!container.log().contains("is forbidden"), "{}: {}", container.container, container.log());
    }
}

#[test]
fn a_serial_number_is_written_as_a_bios_does() {
    assert_eq!(
        serial("42300001-aaaa-4bbb-8ccc-000000000001"),
        "VMware-42 30 00 01 aa aa 4b bb-8c cc 00 00 00 00 00 01"
    );
}
