//! The files and objects that follow from whole objects of both kinds.

use infra_clients::Secret;
use serde_json::{Value, json};

use super::*;
use crate::api::{VSphereConnectionSpec, VsphereCloudConfigSpec};
use crate::choose::{self, History};
use crate::config::Account;

fn account() -> Account {
    Account { username: "csi@vsphere.local".to_owned(), password: Secret::new("pw") }
}

/// The drivers that both kinds can ask for.
const DRIVERS: [Driver; 3] = [Driver::Cni, Driver::Cpi, Driver::Csi];

fn of_vdo_config(spec: Value) -> Desired {
    Desired::of_vdo_config(&serde_json::from_value(spec).unwrap())
}

fn of_driver_set(spec: Value) -> Result<Desired, Vec<Problem>> {
    Desired::of_driver_set(&serde_json::from_value(spec).unwrap())
}

fn states(desired: &Desired) -> [ManagementState; 3] {
    DRIVERS.map(|driver| desired.drivers.get(driver).state)
}

/// Returns what a user wants of each driver, where it is not known how it is to run.
fn wanted(desired: &Desired, is_deleted: bool) -> [&'static str; 3] {
    DRIVERS.map(|driver| {
        let hold = Hold { reason: reason::NO_VERSION_FITS, message: String::new() };
        match desired.wanted(driver, is_deleted, Err(hold)) {
            Wanted::Unmanaged => "Unmanaged",
            Wanted::Present(_) => "Present",
            Wanted::Unclear(_) => "Unclear",
            Wanted::Removed => "Removed",
            Wanted::Released => "Released",
        }
    })
}

fn csi_text(desired: &Desired, version: &str, vcenters: Vec<Vcenter>) -> String {
    let id = ClusterId::Write("uid".to_owned());
    let files = desired.csi(version.parse().unwrap(), vcenters, id).files().unwrap();
    files.data["csi-vsphere.conf"].expose().to_owned()
}

#[test]
fn a_vdo_config_asks_for_what_the_original_did() {
    let desired = of_vdo_config(json!({
        "cloudProvider": {"vsphereCloudConfigs": ["a", "b"], "topology": {"zone": "k8s-zone", "region": "k8s-region"}},
        "storageProvider": {
            "vsphereCloudConfig": "a", "clusterDistribution": "OpenShift", "customKubeletPath": "/var/data/kubelet",
            "fileVolumes": {"netPermissions": [{"ips": "*", "permissions": "READ_ONLY", "rootSquash": true}]},
        },
    }));
    assert_eq!(
        states(&desired),
        [ManagementState::Unmanaged, ManagementState::Managed, ManagementState::Managed]
    );
    assert_eq!(desired.drivers.cpi.connections, ["a", "b"]);
    assert_eq!(desired.drivers.csi.connections, ["a"]);
    let spec = VsphereCloudConfigSpec {
        vc_ip: "10.0.0.1".to_owned(),
        insecure: true,
        credentials: "a-creds".to_owned(),
        thumbprint: None,
        datacenters: vec!["DC0".to_owned()],
    };
    let vcenter = Vcenter::read(&spec, account(), None).unwrap();
    let text = csi_text(&desired, "3.7.3", vec![vcenter.clone()]);
    assert!(text.contains("cluster-distribution = \"OpenShift\"\n"), "{text}");
    assert!(
        text.contains(
            "[NetPermissions \"A\"]\nips = \"*\"\npermissions = \"READ_ONLY\"\nrootsquash = \"true\"\n"
        ),
        "{text}"
    );
    let cpi = desired.cpi(vec![vcenter]).files().unwrap().config.data.unwrap();
    assert!(cpi["vsphere.conf"].ends_with("labels:\n    region: \"k8s-region\"\n    zone: \"k8s-zone\"\n"));
    let settings = desired.settings(Driver::Csi, Version::new(3, 7, 3), 3);
    assert_eq!(settings.kubelet.as_deref(), Some("/var/data/kubelet"));
    let installed = Version::new(3, 6, 0);
    let policy = |auto_upgrade| desired.drivers.csi.policy.policy(auto_upgrade, Some(&installed));
    assert_eq!((policy(true), policy(false)), (Policy::Latest, Policy::Pinned(installed.clone())));
    assert_eq!(wanted(&desired, true), ["Unmanaged", "Removed", "Removed"]);
    assert_eq!(wanted(&desired, false), ["Unmanaged", "Unclear", "Unclear"]);
}

#[test]
fn a_vdo_config_without_a_cloud_provider_leaves_it_alone() {
    for spec in [
        json!({"storageProvider": {"vsphereCloudConfig": "a"}}),
        json!({"cloudProvider": {}, "storageProvider": {"vsphereCloudConfig": "a", "customKubeletPath": "", "clusterDistribution": ""}}),
    ] {
        let desired = of_vdo_config(spec);
        assert_eq!(
            states(&desired),
            [ManagementState::Unmanaged, ManagementState::Unmanaged, ManagementState::Managed]
        );
        assert_eq!((&desired.kubelet, &desired.distribution), (&None, &None));
    }
}

#[test]
fn a_driver_set_says_more() {
    let desired = of_driver_set(json!({
        "deletionPolicy": "Orphan",
        "maintenanceWindow": {"days": ["Sunday"], "start": "02:00", "minutes": 60},
        "cni": {"versionPolicy": "Patch"},
        "cpi": {
            "connections": ["a"], "managementState": "Removed", "keepNodes": true,
            "nodes": {"internalVmNetworkName": "VM Network"},
        },
        "csi": {
            "connections": ["a", "b"], "adopt": true, "versionPolicy": "Pinned", "version": "v3.7.3",
            "imageOverrides": {"registries": {"registry.k8s.io": "mirror.example.com"}},
            "topologyCategories": [{"name": "k8s-region"}, {"name": "k8s-zone", "label": "topology.kubernetes.io/zone"}],
            "fileServiceClusters": ["domain-c8"], "global": {"query-limit": 100}, "features": {"trigger-csi-fullsync": true},
            "snapshot": {"global-max-snapshots-per-block-volume": 4},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "resources": {"vsphere-syncer": {"requests": {"cpu": "100m"}}},
        },
    }))
    .unwrap();
    assert_eq!(
        states(&desired),
        [ManagementState::Managed, ManagementState::Removed, ManagementState::Managed]
    );
    let policies = DRIVERS.map(|driver| desired.drivers.get(driver).policy.policy(false, None));
    assert_eq!(policies, [Policy::Patch, Policy::Latest, Policy::Pinned(Version::new(3, 7, 3))]);
    assert!(desired.drivers.csi.adopts && desired.window.is_some());
    let vcenters: Vec<_> = ["a.example.com", "b.example.com:8443"]
        .map(|server| {
            let spec =
                VSphereConnectionSpec { server: server.to_owned(), ..VSphereConnectionSpec::default() };
            Vcenter::read_connection(&spec, account(), Some("PEM")).unwrap()
        })
        .into();
    let text = csi_text(&desired, "3.7.3", vcenters.clone());
    for part in [
        "query-limit = \"100\"\n",
        "[VirtualCenter \"b.example.com\"]\ninsecure-flag = \"false\"\n",
        "ca-file = \"/etc/cloud/ca-a.example.com.crt\"\n",
        "targetvSANFileShareClusters = \"domain-c8\"\n",
        "[Snapshot]\nglobal-max-snapshots-per-block-volume = \"4\"\n",
        "topology-categories = \"k8s-region,k8s-zone\"\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let cpi = desired.cpi(vcenters).files().unwrap().config.data.unwrap();
    assert!(cpi["vsphere.conf"].ends_with("nodes:\n    internalVmNetworkName: \"VM Network\"\n"));
    let settings = desired.settings(Driver::Csi, Version::new(3, 7, 3), 1);
    assert_eq!((settings.features.len(), settings.tolerations.len(), settings.resources.len()), (1, 1, 1));
    assert_eq!(settings.images.registries["registry.k8s.io"], "mirror.example.com");
    let settings = desired.settings(Driver::Cpi, Version::new(1, 36, 0), 1);
    assert!(settings.keeps_nodes && settings.features.is_empty());
    // What is removed already is not kept by the deletion of the object.
    assert_eq!(wanted(&desired, true), ["Released", "Removed", "Released"]);
}

#[test]
fn a_pinned_version_must_be_one() {
    let set = |version: Value| {
        of_driver_set(
            json!({"cni": {"versionPolicy": "Pinned", "version": version}, "csi": {"connections": []}}),
        )
    };
    for bad in [json!("latest"), json!(""), Value::Null] {
        let problems = set(bad).unwrap_err();
        assert_eq!((problems.len(), problems[0].field.as_str()), (1, "spec.cni.version"));
    }
    assert!(set(json!("2.7.0")).is_ok());
}

#[test]
fn the_problems_of_a_connection_name_its_fields() {
    let spec = VSphereConnectionSpec {
        server: "https://vc".to_owned(),
        thumbprint: Some("AA".to_owned()),
        ..VSphereConnectionSpec::default()
    };
    let problems = Vcenter::read_connection(&spec, account(), None).unwrap_err();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["spec.server", "spec.thumbprint"]);
}

#[test]
fn the_target_is_what_was_chosen_and_rendered() {
    let desired = of_driver_set(json!({"cpi": {"connections": ["a"], "adopt": true}})).unwrap();
    let matrix =
        Matrix::parse(r#"{"CPI": {"1.36.0": {"deploymentPath": ["a"], "isCPIRequired": true}}}"#).unwrap();
    let surroundings = crate::choose::Surroundings {
        kubernetes: "1.36".parse().unwrap(),
        vcenters: Vec::new(),
        has_cpi: true,
    };
    let choose = |matrix: &Matrix| {
        choose::choose(matrix, Driver::Cpi, &surroundings, &Policy::Latest, &History::default())
    };
    let rendered = |image: &str| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"}, "data": {"k": image}});
        let map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}});
        let objects = [secret, map].map(|object| serde_json::from_value(object).unwrap());
        Ok(Rendered { waves: vec![objects.into()], images: Vec::new() })
    };
    let target = |rendered: &Result<Rendered, Vec<Problem>>, sources: &[&str]| {
        let sources: Vec<_> = sources.iter().map(|source| (*source).to_owned()).collect();
        desired.target(&matrix, &choose(&matrix), rendered, &sources)
    };
    let first = target(&rendered("YQ=="), &["uid/1"]).unwrap();
    assert_eq!((first.version.to_string().as_str(), first.needs_cpi, first.adopts), ("1.36.0", true, true));
    assert_eq!(first.digest.len(), 64);
    assert_eq!(target(&rendered("Yg=="), &["uid/1"]).unwrap(), first, "credentials are not hashed");
    assert_ne!(
        target(&rendered("YQ=="), &["uid/2"]).unwrap().digest,
        first.digest,
        "where they come from is"
    );
    let problem = Err(vec![Problem { field: "features.x".to_owned(), message: "it is unknown".to_owned() }]);
    let hold = target(&problem, &[]).unwrap_err();
    assert_eq!((hold.reason, hold.message.as_str()), (reason::INVALID_SETTINGS, "features.x: it is unknown"));
    let none = choose(&Matrix::default());
    let hold = desired.target(&matrix, &none, &rendered("YQ=="), &[]).unwrap_err();
    assert_eq!(
        (hold.reason, hold.message.as_str()),
        (reason::NO_VERSION_FITS, "the matrix has no version of CPI")
    );
}

/// What is in a Secret is in no hash: a change of it would not be rolled out.
#[test]
fn what_only_the_secret_of_csi_has_differs() {
    let with = |change: fn(&mut Desired)| {
        let mut desired = Desired::default();
        change(&mut desired);
        desired.in_secret()
    };
    let changed = [
        with(|_| {}),
        with(|desired| desired.distribution = Some("a".to_owned())),
        with(|desired| desired.zones = Some(Zones::Categories(Vec::new()))),
        with(|desired| desired.shares.clusters.push("a".to_owned())),
        with(|desired| drop(desired.global.insert("a".to_owned(), "1".to_owned()))),
        with(|desired| drop(desired.snapshot.insert("a".to_owned(), "1".to_owned()))),
    ];
    let distinct: std::collections::BTreeSet<_> = changed.iter().collect();
    assert_eq!(distinct.len(), changed.len(), "{changed:?}");
}
