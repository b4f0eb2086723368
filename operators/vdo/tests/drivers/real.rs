//! The real CPI and CSI, run from exactly what vdo makes, against the simulated vCenter. `cargo xtask test drivers` runs this: it needs root
//! and programs whose builds take minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node as NodeObject, PersistentVolumeClaim};
use kube::Api;
use serde_json::json;
use testbed::{ControlPlane, Guest, NewVm, Node, Nodes, PodRunner, Program, Tools, Vcsim, eventually};
use vdo::api::VsphereCloudConfigSpec;
use vdo::matrix::{Driver, Matrix};
use vdo::plan::{Drivers, Found, Step};

use crate::operator::{CSI_DRIVER, Connection, Operator};

/// Bounds each wait, on a busy machine.
const SOON: Duration = Duration::from_mins(4);
const FOLDER: &str = "/DC0/vm";
/// All that the drivers' formats have to escape.
const PASSWORD: &str = r#" p"a\ss#;wörd"#;
const NEXT_PASSWORD: &str = "next\\\"#=[x]; ✓ ";
const SOCKET: &str = "/csi/csi.sock";
const CPI_PORT: u16 = 10258;
const MATRIX: &str = r#"{
    "CPI": {"1.36.0": {"vSphere": {"min": "6.7.3"}, "k8s": {"skewVersion": "1.36"}, "deploymentPath": ["file"]}},
    "CSI": {"3.3.1": {"vSphere": {"min": "7.0"}, "isCPIRequired": true, "deploymentPath": ["file"]}}
}"#;

fn uuid(number: u8) -> String {
    format!("4230{number:04x}-aaaa-4bbb-8ccc-00000000000{number}")
}

/// Returns the serial number of a machine, as its BIOS shows it.
fn serial(uuid: &str) -> String {
    let digits: Vec<char> = uuid.chars().filter(|digit| *digit != '-').collect();
    let bytes: Vec<String> = digits.chunks(2).map(|byte| byte.iter().collect()).collect();
    format!("VMware-{}-{}", bytes[..8].join(" "), bytes[8..].join(" "))
}

/// Returns how a vCenter is reached, its certificate checked by the thumbprint or with its authority.
fn connection(vcsim: &Vcsim, credentials: &str, by_thumbprint: bool) -> Connection {
    let spec = VsphereCloudConfigSpec {
        vc_ip: vcsim.host(),
        insecure: false,
        credentials: credentials.to_owned(),
        thumbprint: by_thumbprint.then(|| vcsim.thumbprint_sha1()),
        datacenters: vec!["DC0".to_owned()],
    };
    Connection { spec, authority: (!by_thumbprint).then(|| vcsim.ca_pem().to_owned()) }
}

/// A cluster whose Nodes are machines of a vCenter, and wait for a cloud provider.
struct Site {
    // The control plane after what runs in it.
    nodes: Nodes,
    plane: ControlPlane,
    vcsim: Vcsim,
    /// A second vCenter, in which the machine of the last Node stands.
    second: Option<Vcsim>,
}

impl Site {
    async fn start(has_second: bool) -> Self {
        let vcenter = || Vcsim::builder().hosts(3).release("8.0.3", "8.0.3.0", "24022515");
        let plane = ControlPlane::builder().all_controllers(true);
        let (vcsim, plane) = tokio::join!(vcenter().password(PASSWORD).start(), plane.start());
        let (vcsim, plane) = (vcsim.unwrap(), plane.unwrap());
        let mut second = None;
        if has_second {
            second = Some(vcenter().password(NEXT_PASSWORD).start().await.unwrap());
        }
        let nodes = Nodes::start(plane.client()).await.unwrap();
        for number in 1..=3 {
            let (name, uuid) = (format!("node-{number}"), uuid(number));
            let vcsim = second.as_ref().filter(|_| number == 3).unwrap_or(&vcsim);
            vcsim.add_vms(FOLDER, &[NewVm::new(&name)]).await.unwrap();
            let address = format!("10.0.0.{number}");
            let guest = Guest::named(&name).uuid(&uuid).addresses(&[&address]);
            vcsim.set_guest(&format!("{FOLDER}/{name}"), &guest).await.unwrap();
            let node = Node {
                control_plane: number == 1,
                system_uuid: Some(uuid),
                external_cloud: true,
                ..Node::named(&name)
            };
            nodes.join(node).await.unwrap();
        }
        Self { nodes, plane, vcsim, second }
    }

    /// Writes a Secret of the user.
    async fn write_account(&self, name: &str, password: &str) {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "kube-system"},
            "stringData": {"username": self.vcsim.user(), "password": password},
        });
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &secret.to_string()).await.unwrap();
    }

    fn run_drivers(&self, tools: &Tools) -> PodRunner {
        let path = |name: &str| tools.path(name).unwrap();
        let programs = vec![
            Program::new("cloud-provider-vsphere", path("vsphere-cloud-controller-manager"))
                .ready_at_port(CPI_PORT),
            Program::new("csi/release/driver", path("vsphere-csi")).ready_at_socket(SOCKET),
            Program::new("csi/release/syncer", path("syncer")),
            Program::new("csi-provisioner", path("csi-provisioner")),
        ];
        let runner = PodRunner::start(&self.plane, &self.nodes, programs).unwrap();
        for number in 1..=3 {
            let file = "/sys/class/dmi/id/product_serial";
            runner.machine_file(&format!("node-{number}"), file, &serial(&uuid(number)));
        }
        runner
    }

    fn operator(&self, tools: &Tools) -> Operator {
        let file = |module: &str, file: &str| {
            std::fs::read_to_string(tools.manifests(module).unwrap().join(file)).unwrap()
        };
        let csi = file("csi", "manifests/vanilla/vsphere-csi-driver.yaml");
        // The csi-provisioner that runs here is newer than the manifest's, and takes the driver's word for topology.
        let flag = "            - \"--default-fstype=ext4\"\n";
        let csi = csi.replace(flag, &format!("{flag}            - \"--feature-gates=Topology=false\"\n"));
        let cpi = file("cpi", "releases/v1.36/vsphere-cloud-controller-manager.yaml");
        let first = connection(&self.vcsim, "vc-creds", true);
        let second = self.second.iter().map(|vcsim| connection(vcsim, "vc-creds-2", false));
        let config = json!({"cloudProvider": {"vsphereCloudConfigs": ["vc"]}, "storageProvider": {"vsphereCloudConfig": "vc"}});
        Operator {
            client: self.plane.client(),
            config: serde_json::from_value(config).unwrap(),
            vcenters: std::iter::once(first).chain(second).collect(),
            matrix: Matrix::parse(MATRIX).unwrap(),
            manifests: BTreeMap::from([(Driver::Cpi, cpi), (Driver::Csi, csi)]),
            is_deleted: false,
            found: Drivers::default(),
            log: Vec::new(),
        }
    }

    /// Checks that each Node has the ID of its machine.
    async fn is_initialised(&self) {
        let nodes: Api<NodeObject> = Api::all(self.plane.client());
        for number in 1..=3 {
            let spec = nodes.get(&format!("node-{number}")).await.unwrap().spec.unwrap();
            assert_eq!(spec.provider_id, Some(format!("vsphere://{}", uuid(number))));
        }
    }

    /// Claims a volume, and waits until it is bound.
    async fn claim(&self, name: &str) {
        let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "vsphere"}, "provisioner": CSI_DRIVER},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "vsphere",
                "resources": {"requests": {"storage": "16Mi"}},
            }},
        ]});
        self.plane.kubectl_stdin(&["apply", "-f", "-"], &objects.to_string()).await.unwrap();
        let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(self.plane.client());
        let bound = async || {
            let phase = claims.get(name).await?.status.and_then(|status| status.phase);
            anyhow::ensure!(phase.as_deref() == Some("Bound"), "{phase:?}");
            Ok(Some(()))
        };
        eventually("the claim is bound", SOON, bound).await.unwrap();
    }
}

/// Lets the operator work until both drivers are available, and nothing is left to do.
async fn settle(operator: &mut Operator) {
    let settled = async || {
        let steps = operator.pass().await?;
        let idle = |step: &Step| *step == Step::Apply(vdo::plan::Change::Maintain);
        let is_settled = idle(&steps.cpi) && idle(&steps.csi);
        anyhow::ensure!(
            is_settled && operator.is_available(Driver::Cpi) && operator.is_available(Driver::Csi),
            "{steps:?} {:?}",
            operator.found
        );
        Ok(Some(()))
    };
    eventually("both drivers are available", SOON, settled).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_drivers_run_from_what_vdo_makes() {
    if let Some(why) = PodRunner::lacks() {
        eprintln!("skipped: {why}");
        return;
    }
    let build = tokio::task::spawn_blocking(|| Tools::of(&["cpi", "csi", "csi-provisioner"]));
    let (tools, mut site) = tokio::join!(build, Site::start(false));
    let tools = tools.unwrap().unwrap();
    let runner = site.run_drivers(&tools);
    for number in 1..=3 {
        // As the kubelet and the sidecar node-driver-registrar do.
        site.nodes
            .register_driver(&format!("node-{number}"), CSI_DRIVER, &uuid(number), &BTreeMap::new())
            .await
            .unwrap();
    }
    let mut operator = site.operator(&tools);
    site.write_account("vc-creds", PASSWORD).await;
    settle(&mut operator).await;
    assert_eq!(operator.log, ["CPI Install", "CSI Install"]);
    site.is_initialised().await;
    site.claim("data").await;

    // Another password, and the certificate checked with an authority: both drivers go on.
    site.vcsim.set_password(NEXT_PASSWORD).await.unwrap();
    site.write_account("vc-creds", NEXT_PASSWORD).await;
    operator.vcenters = vec![connection(&site.vcsim, "vc-creds", false)];
    settle(&mut operator).await;
    assert_eq!(operator.log[2..], ["CPI Configure", "CSI Configure"]);
    // From here on only the new password logs in.
    site.vcsim.expire_sessions().await.unwrap();
    site.claim("more").await;

    // The removal waits for the volumes, and goes from the storage to the cloud provider.
    operator.is_deleted = true;
    let steps = operator.pass().await.unwrap();
    let Step::Blocked(hold) = &steps.csi else { panic!("{steps:?}") };
    assert!(hold.reason == "VolumesInUse" && hold.message.contains("PersistentVolume pvc-"), "{hold:?}");
    site.plane.kubectl(&["delete", "persistentvolumeclaim", "data", "more"]).await.unwrap();
    let gone = async || {
        let steps = operator.pass().await?;
        let nothing = Drivers { cni: Found::Absent, cpi: Found::Absent, csi: Found::Absent };
        anyhow::ensure!(operator.found == nothing, "{steps:?}");
        Ok(Some(()))
    };
    eventually("nothing is left", SOON, gone).await.unwrap();
    assert_eq!(operator.log[4..], ["CSI Remove", "CPI Remove"]);
    for container in runner.containers() {
        assert!(!container.log().contains("is forbidden"), "{}: {}", container.container, container.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "cargo xtask test drivers runs it"]
async fn the_real_cpi_sets_up_nodes_of_two_vcenters() {
    if let Some(why) = PodRunner::lacks() {
        eprintln!("skipped: {why}");
        return;
    }
    let build = tokio::task::spawn_blocking(|| Tools::of(&["cpi", "csi", "csi-provisioner"]));
    let (tools, site) = tokio::join!(build, Site::start(true));
    let tools = tools.unwrap().unwrap();
    let _runner = site.run_drivers(&tools);
    let mut operator = site.operator(&tools);
    // CPI tells vCenters apart by their host, and both listen on this machine.
    let second = &mut operator.vcenters[1].spec.vc_ip;
    *second = second.replace("127.0.0.1", "localhost");
    site.write_account("vc-creds", PASSWORD).await;
    site.write_account("vc-creds-2", NEXT_PASSWORD).await;
    let set_up = async || {
        operator.pass().await?;
        // It comes when every Node is set up.
        let is_begun = operator.log.iter().any(|line| line == "CSI Install");
        anyhow::ensure!(is_begun, "{:?} {:?}", operator.log, operator.found);
        Ok(Some(()))
    };
    eventually("all Nodes are set up", SOON, set_up).await.unwrap();
    site.is_initialised().await;
}
