//! On a real API server: objects of the original are accepted, the new kinds check themselves, and what is rendered is applied, rolled
//! out, and applied again without a write.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use infra_clients::Secret;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, PostParams};
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use operator_kit::apply_set::{ApplySet, Progress};
use serde_json::{Value, json};
use testbed::{ControlPlane, Node, Nodes, eventually};
use vdo::api::{
    CompatibilityConfig, CompatibilityMatrix, DriverSet, VSphereConnection, VdoConfig, VsphereCloudConfig,
};
use vdo::config::{Account, ClusterId, Trust, Vcenter};
use vdo::desired::Desired;
use vdo::matrix::Driver;
use vdo::render::{Rendered, Settings, parse, render};
use vdo::version::Version;

const PATIENCE: Duration = Duration::from_mins(3);
const MANAGER: &str = "vdo.vmware.com/drivers";
/// Own manifests, small: those of the projects are used where they are given.
const CPI: &str = include_str!("../src/render/tests/cpi.yaml");
const CSI: &str = include_str!("../src/render/tests/csi.yaml");

/// Returns the manifests of a project, where `MANIFESTS_DIR` has them.
fn real(file: &str) -> Option<String> {
    let directory = std::env::var_os("MANIFESTS_DIR").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/manifests")),
        PathBuf::from,
    );
    let text = std::fs::read_to_string(directory.join(file)).ok();
    if text.is_none() {
        eprintln!("not tested: {file}: set MANIFESTS_DIR to a folder that has it");
    }
    text
}

async fn install_kinds(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crds = [
        CompatibilityConfig::crd(),
        CompatibilityMatrix::crd(),
        DriverSet::crd(),
        VSphereConnection::crd(),
        VdoConfig::crd(),
        VsphereCloudConfig::crd(),
    ];
    for crd in &crds {
        api.create(&PostParams::default(), crd)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", crd.name_any()));
    }
    eventually("the kinds are served", PATIENCE, async || {
        let served = api.list(&ListParams::default()).await?.into_iter().filter(|crd| {
            let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
            conditions
                .is_some_and(|all| all.iter().any(|of| of.type_ == "Established" && of.status == "True"))
        });
        Ok::<_, anyhow::Error>((served.count() == crds.len()).then_some(()))
    })
    .await
    .unwrap();
}

async fn create(
    client: &Client,
    version: &str,
    kind: &str,
    name: &str,
    spec: Value,
) -> Result<DynamicObject, String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("vdo.vmware.com", version, kind));
    let resource = ApiResource {
        plural: if kind == "CompatibilityMatrix" {
            "compatibilitymatrices".to_owned()
        } else {
            resource.plural
        },
        ..resource
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let mut object = DynamicObject::new(name, &resource);
    object.data = json!({"spec": spec});
    api.create(&PostParams::default(), &object).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn the_api_server_takes_what_the_original_took_and_checks_the_new_kinds() {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    install_kinds(&client).await;
    let original = [
        ("VDOConfig", json!({"storageProvider": {"vsphereCloudConfig": ""}})),
        (
            "VDOConfig",
            json!({"cloudProvider": {}, "storageProvider": {"vsphereCloudConfig": "a", "fileVolumes": {
            "vsanDataStoreUrl": [], "netPermissions": [{"ips": "", "permissions": "anything", "rootSquash": true}]}}}),
        ),
        ("VsphereCloudConfig", json!({"vcIp": "", "insecure": true, "credentials": "", "datacenters": []})),
        (
            "VsphereCloudConfig",
            json!({"vcIp": "vc", "insecure": false, "credentials": "c", "datacenters": ["a,b"], "thumbprint": "no"}),
        ),
        ("CompatibilityConfig", json!({})),
    ];
    for (index, (kind, spec)) in original.into_iter().enumerate() {
        create(&client, "v1alpha1", kind, &format!("o{index}"), spec).await.unwrap();
    }
    let pinned = json!({"cni": {"versionPolicy": "Pinned", "version": "2.7.0"}, "cpi": {"connections": ["a"]}, "csi": {"connections": ["a"]}});
    create(&client, "v1beta1", "DriverSet", "good", pinned).await.unwrap();
    let sha = "ab".repeat(32);
    let file = json!({"url": {"url": "https://example.com/m.json", "sha256": sha}});
    create(&client, "v1beta1", "CompatibilityMatrix", "good", file).await.unwrap();
    let refused = [
        (
            "DriverSet",
            json!({"cni": {"versionPolicy": "Pinned"}}),
            "versionPolicy is Pinned: write the version",
        ),
        (
            "DriverSet",
            json!({"csi": {"connections": [], "version": "3.7.3"}}),
            "a version is pinned by versionPolicy Pinned",
        ),
        (
            "DriverSet",
            json!({"csi": {"connections": ["a", "b", "c", "d", "e", "f"]}}),
            "must have at most 5 items",
        ),
        (
            "DriverSet",
            json!({"maintenanceWindow": {"start": "24:00", "minutes": 60}}),
            "spec.maintenanceWindow.start",
        ),
        (
            "VSphereConnection",
            json!({"server": "vc", "credentials": "c", "insecure": true, "thumbprint": "AA"}),
            "the certificate is checked in one way",
        ),
        ("CompatibilityMatrix", json!({}), "the matrix is in one place"),
        ("CompatibilityMatrix", json!({"url": {"url": "ftp://example.com", "sha256": sha}}), "spec.url.url"),
    ];
    for (kind, spec, message) in refused {
        let error = create(&client, "v1beta1", kind, "bad", spec).await.unwrap_err();
        assert!(error.contains(message), "{kind}: {error}");
    }
}

/// A control plane with Nodes on which Pods become ready.
struct Rig {
    control_plane: ControlPlane,
    _nodes: Nodes,
}

impl Rig {
    async fn start() -> Self {
        let control_plane = ControlPlane::builder().all_controllers(true).audit(true).start().await.unwrap();
        let nodes = Nodes::start(control_plane.client()).await.unwrap();
        for name in ["cp-0", "cp-1"] {
            nodes.join(Node { control_plane: true, ..Node::named(name) }).await.unwrap();
        }
        nodes.join(Node::named("worker-0")).await.unwrap();
        Self { control_plane, _nodes: nodes }
    }

    fn set(&self, driver: Driver) -> ApplySet {
        let name = format!("vdo-{}", driver.name().to_lowercase());
        ApplySet::new(self.control_plane.client(), "kube-system", &name, MANAGER)
    }

    async fn complete(&self, set: &ApplySet, rendered: &Rendered) -> Vec<String> {
        let pruned = eventually("the driver is rolled out", PATIENCE, async || {
            Ok::<_, anyhow::Error>(match set.apply(&rendered.waves).await? {
                Progress::Complete(pruned) => Some(pruned),
                Progress::Waiting(_) => None,
            })
        });
        pruned.await.unwrap().iter().map(ToString::to_string).collect()
    }

    fn writes(&self) -> usize {
        let events = self.control_plane.audit_events().unwrap();
        events.iter().filter(|event| event.is_write() && event.user == "admin").count()
    }

    /// Installs a driver, applies it again, and removes it.
    async fn live(&self, driver: Driver, first: &Rendered, second: &Rendered) {
        let set = self.set(driver);
        self.complete(&set, first).await;
        let before = self.writes();
        self.complete(&set, first).await;
        assert_eq!(self.writes(), before, "{driver}: a second pass writes nothing");
        self.complete(&set, second).await;
        eventually("nothing is left", PATIENCE, async || {
            Ok::<_, anyhow::Error>(set.delete().await?.is_empty().then_some(()))
        })
        .await
        .unwrap();
    }
}

fn vcenter() -> Vcenter {
    let account =
        Account { username: "csi@vsphere.local".to_owned(), password: Secret::new(" p\"a\\ss#;wörd") };
    let trust = Trust::Authority("PEM\n".to_owned());
    Vcenter {
        server: "vc.example.com".to_owned(),
        port: 443,
        datacenters: vec!["DC0".to_owned()],
        account,
        trust,
    }
}

fn object(value: impl serde::Serialize) -> DynamicObject {
    serde_json::from_value(serde_json::to_value(value).unwrap()).unwrap()
}

/// Renders a driver as the operator does: manifests, with the files that it reads.
fn rendered(driver: Driver, version: &str, manifests: &str) -> Rendered {
    let version: Version = version.parse().unwrap();
    let desired = Desired::default();
    let files = match driver {
        Driver::Cni | Driver::Snapshots => Vec::new(),
        Driver::Cpi => {
            let files = desired.cpi(vec![vcenter()]).files().unwrap();
            vec![object(files.config), object(files.accounts.object())]
        }
        Driver::Csi => {
            let id = ClusterId::Write("uid".to_owned());
            vec![object(desired.csi(version.clone(), vec![vcenter()], id).files().unwrap().object())]
        }
    };
    render(parse(manifests).unwrap(), files, &Settings::new(driver, version, 2)).unwrap()
}

#[tokio::test]
async fn what_is_rendered_is_installed_upgraded_and_removed() {
    let rig = Rig::start().await;
    let cpi = rendered(Driver::Cpi, "1.36.0", CPI);
    let next = rendered(Driver::Cpi, "1.36.1", CPI);
    rig.live(Driver::Cpi, &cpi, &next).await;
    if let (Some(old), Some(new)) = (real("cpi/v1.34.yaml"), real("cpi/v1.36.yaml")) {
        let (old, new) = (rendered(Driver::Cpi, "1.34.0", &old), rendered(Driver::Cpi, "1.36.0", &new));
        rig.live(Driver::Cpi, &old, &new).await;
    }
    let small = rendered(Driver::Csi, "3.7.3", CSI);
    let (old, new) = match (real("csi/v3.6.0.yaml"), real("csi/v3.7.3.yaml")) {
        (Some(old), Some(new)) => {
            (rendered(Driver::Csi, "3.6.0", &old), rendered(Driver::Csi, "3.7.3", &new))
        }
        _ => (small.clone(), rendered(Driver::Csi, "3.7.4", CSI)),
    };
    rig.live(Driver::Csi, &old, &new).await;
    if let Some(manifests) = real("antrea/v2.7.0.yaml") {
        antrea(&rig, &rendered(Driver::Cni, "2.7.0", &manifests)).await;
    }
}

/// The last wave of Antrea needs its controller to answer, and here no container runs.
async fn antrea(rig: &Rig, rendered: &Rendered) {
    let set = rig.set(Driver::Cni);
    eventually("only calls to the controller are left", PATIENCE, async || {
        let Progress::Waiting(members) = set.apply(&rendered.waves).await? else { return Ok(None) };
        Ok::<_, anyhow::Error>(members.iter().all(|(member, _)| member.kind == "APIService").then_some(()))
    })
    .await
    .unwrap();
}
