//! The objects of the rig, as users would write them, and the manifests that it publishes.

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};
use testbed::Account;

use super::VdoRig;
use crate::rig::Rig as _;

/// Manifests of small drivers, each with an object of every kind that vdo may write.
const CPI: [&str; 2] =
    [include_str!("../../../../operators/vdo/src/render/tests/cpi.yaml"), include_str!("cpi.yaml")];
const CSI: [&str; 2] =
    [include_str!("../../../../operators/vdo/src/render/tests/csi.yaml"), include_str!("csi.yaml")];
const CNI: [&str; 2] = [include_str!("antrea.yaml"), include_str!("calls.yaml")];
const SNAPSHOTS: &str = include_str!("snapshots.yaml");

/// What samples say instead of what differs from rig to rig.
const VCENTER: &str = "vcenter.example.com";
const THUMBPRINT: &str = "00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33";
const MATRIX: &str = "http://files.example.com/matrix.json";
const CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Returns an object of the operator's kinds.
pub(super) fn object(version: &str, kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": format!("vdo.vmware.com/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Returns a VDOConfig with the drivers of a vCenter.
pub(super) fn config(name: &str, vcenter: &str) -> Value {
    let spec = json!({"cloudProvider": {"vsphereCloudConfigs": [vcenter]}, "storageProvider": {"vsphereCloudConfig": vcenter}});
    object("v1alpha1", "VDOConfig", name, &spec)
}

impl VdoRig {
    /// Publishes the manifests of small drivers, and returns a matrix with these versions of CPI.
    #[must_use]
    pub fn matrix(&self, cpi: &[&str]) -> Value {
        let release = |file: String| json!({"vSphere": {"min": "7.0"}, "k8s": {"min": "1.30"}, "deploymentPath": [file]});
        let cloud = self.publish("/cpi.yaml", &CPI.join("---\n"));
        let mut csi = release(self.publish("/csi.yaml", &CSI.join("---\n")));
        csi["isCPIRequired"] = true.into();
        let cpi: serde_json::Map<_, _> =
            cpi.iter().map(|version| ((*version).to_owned(), release(cloud.clone()))).collect();
        let cni = json!({"deploymentPath": [self.publish("/antrea.yaml", &CNI.join("---\n"))]});
        let snapshots = json!({"deploymentPath": [self.publish("/snapshots.yaml", SNAPSHOTS)]});
        json!({"CNI": {"2.7.0": cni}, "CPI": cpi, "SnapshotController": {"8.2.0": snapshots}, "CSI": {"3.7.3": csi}})
    }

    /// Returns the objects of a cluster with one vCenter, as a List: matrix, VsphereCloudConfig and VDOConfig. The account is not among
    /// them: see [`write_account`](Self::write_account).
    #[must_use]
    pub fn seed(&self) -> Value {
        let cloud = json!({"vcIp": VCENTER, "insecure": false, "credentials": "vc-creds",
            "thumbprint": THUMBPRINT, "datacenters": ["DC0"]});
        let items = [
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "compat-matrix-config", "namespace": self.namespace()},
                "data": {"auto-upgrade": "enabled", "versionConfigContent": self.matrix(&["1.36.0"]).to_string()}}),
            object("v1alpha1", "VsphereCloudConfig", "vdo", &cloud),
            config("vdo", "vdo"),
        ];
        self.here(&json!({"apiVersion": "v1", "kind": "List", "items": items}))
    }

    /// Writes what the samples name: an account that is not that of the main job, connections, a matrix.
    pub(super) async fn prepare(&self) -> Result<()> {
        let (user, password) = ("drivers@vsphere.local", "drivers");
        self.vcenter.set_account(&Account::new(user, password)).await?;
        self.vcenter.attach_tag("zone", "one", "/DC0").await?;
        let account = |namespace: &str| {
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "drivers", "namespace": namespace},
                "stringData": {"username": user, "password": password}})
        };
        let map = |name: &str, data: Value| {
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": self.namespace()}, "data": data})
        };
        let matrix = self.matrix(&["1.36.0"]).to_string();
        let cloud =
            json!({"vcIp": VCENTER, "insecure": true, "credentials": "drivers", "datacenters": ["DC0"]});
        let connection =
            json!({"server": VCENTER, "credentials": "drivers", "certificateAuthority": "authority"});
        let items = [
            account("kube-system"),
            account(self.namespace()),
            map("authority", json!({"ca.crt": self.vcenter.ca_pem()})),
            map("matrix-file", json!({"matrix.json": matrix})),
            object("v1alpha1", "VsphereCloudConfig", "vc", &cloud),
            object("v1beta1", "VSphereConnection", "vc", &connection),
            object("v1beta1", "CompatibilityMatrix", "matrix", &json!({"inline": matrix})),
        ];
        // The cache of files of an earlier rig.
        let cache: Api<ConfigMap> = Api::namespaced(self.client(), Self::SUBJECT.namespace);
        cache.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items.map(|item| self.here(&item))});
        self.apply_text(&list).await?;
        self.write_matrix(&self.matrix(&["1.36.0"])).await
    }

    /// Returns an object with what differs from rig to rig.
    pub(super) fn here(&self, object: &Value) -> Value {
        let matrix = self.publish("/matrix.json", &self.matrix(&["1.36.0"]).to_string());
        let (url, checksum) = matrix.split_once("#sha256=").unwrap_or_default();
        let text = object.to_string().replace(VCENTER, &self.vcenter.host());
        let text = text.replace(THUMBPRINT, &self.vcenter.thumbprint_sha1());
        let text = text.replace(MATRIX, url).replace(CHECKSUM, checksum);
        serde_json::from_str(&text).unwrap_or_else(|_| object.clone())
    }
}

/// Returns valid objects of each kind.
pub(super) fn samples() -> Vec<Value> {
    let cloud = json!({"vcIp": VCENTER, "insecure": false, "credentials": "drivers", "thumbprint": THUMBPRINT,
        "datacenters": ["DC0"]});
    let by_thumbprint = json!({"server": VCENTER, "credentials": "drivers", "datacenters": ["DC0"], "insecure": false, "thumbprint": THUMBPRINT});
    let by_authority =
        json!({"server": VCENTER, "credentials": "drivers", "certificateAuthority": "authority"});
    let matrix = |spec: Value| object("v1beta1", "CompatibilityMatrix", "sample", &spec);
    vec![
        object("v1alpha1", "VDOConfig", "sample", &vdo_config()),
        object("v1beta1", "DriverSet", "sample", &driver_set()),
        object("v1alpha1", "VsphereCloudConfig", "sample", &cloud),
        object("v1beta1", "VSphereConnection", "sample", &by_thumbprint),
        object("v1beta1", "VSphereConnection", "sample", &by_authority),
        matrix(json!({"inline": "{}"})),
        matrix(json!({"configMap": {"name": "matrix-file", "key": "matrix.json"}})),
        matrix(json!({"url": {"url": MATRIX, "sha256": CHECKSUM}})),
    ]
}

fn vdo_config() -> Value {
    json!({
        "cloudProvider": {"vsphereCloudConfigs": ["vc"], "topology": {"zone": "zone", "region": "region"}},
        "storageProvider": {
            "vsphereCloudConfig": "vc", "clusterDistribution": "Ours", "customKubeletPath": "/data/kubelet",
            "fileVolumes": {"netPermissions": [{"ips": "10.0.0.0/8", "permissions": "READ_ONLY", "rootSquash": true}]},
        },
    })
}

fn driver_set() -> Value {
    let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    json!({
        "matrix": "matrix",
        "maintenanceWindow": {"days": days, "start": "00:00", "minutes": 1440},
        "deletionPolicy": "Uninstall",
        "skipChecks": ["SnapshotKinds"],
        "cni": driver("Unmanaged", "2.7.0", "docker.io", "antrea/antrea-agent-ubuntu:v2.7.0", "antrea-agent"),
        "snapshotController": driver("Unmanaged", "8.2.0", "registry.k8s.io",
            "registry.k8s.io/sig-storage/snapshot-controller:v8.2.0", "snapshot-controller"),
        "cpi": with(
            driver("Managed", "1.36.0", "registry.k8s.io", "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0",
                "vsphere-cloud-controller-manager"),
            &json!({
                "connections": ["vc"], "topology": {"zone": "zone", "region": "region"}, "keepNodes": false,
                "nodes": {
                    "internalNetworkSubnetCidr": "10.0.0.0/16", "externalNetworkSubnetCidr": "192.168.0.0/16",
                    "internalVmNetworkName": "VM Network", "externalVmNetworkName": "Outside",
                    "excludeInternalNetworkSubnetCidr": "10.0.9.0/24", "excludeExternalNetworkSubnetCidr": "192.168.9.0/24",
                },
            }),
        ),
        "csi": with(
            driver("Managed", "3.7.3", "registry.k8s.io", "registry.k8s.io/csi-vsphere/driver:v3.7.3", "vsphere-csi-controller"),
            &json!({
                "connections": ["vc"], "topologyCategories": [{"name": "zone", "label": "topology.csi.vmware.com/zone"}],
                "clusterDistribution": "Ours", "kubeletPath": "/data/kubelet", "fileServiceClusters": ["domain-c8"],
                "fileVolumes": {"netPermissions": [{"ips": "10.0.0.0/8", "permissions": "READ_ONLY", "rootSquash": true}]},
                "global": {"query-limit": 100}, "snapshot": {"global-max-snapshots-per-block-volume": 3},
                "features": {"trigger-csi-fullsync": false},
            }),
        ),
    })
}

/// Returns what is said of every driver.
fn driver(state: &str, version: &str, registry: &str, image: &str, container: &str) -> Value {
    let toleration = json!({"key": "dedicated", "operator": "Equal", "value": "drivers", "effect": "NoExecute", "tolerationSeconds": 60});
    json!({
        "managementState": state, "adopt": false, "versionPolicy": "Pinned", "version": version,
        "imageOverrides": {"registries": {registry: "mirror.example.com"}, "digests": {image: DIGEST}},
        "resources": {container: {"requests": {"cpu": "10m"}, "limits": {"memory": "64Mi"}}},
        "tolerations": [toleration],
    })
}

fn with(mut object: Value, more: &Value) -> Value {
    if let (Some(fields), Some(more)) = (object.as_object_mut(), more.as_object()) {
        fields.extend(more.clone());
    }
    object
}
