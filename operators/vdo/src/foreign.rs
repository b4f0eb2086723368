//! Drivers that another tool installed: found by the images that run, and by the objects that only such a driver has.
//!
//! Pure: from the workloads of the cluster to what shows a driver. Ours are those with the label of our set.

use kube::ResourceExt;
use kube::core::DynamicObject;

use crate::matrix::Driver;
use crate::plan::Drivers;
use crate::render::images_of;
use crate::version::Version;

/// Label of the members of a set of objects.
const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// Parts of the images of networks, in lower case.
const NETWORKS: &[&str] = &[
    "antrea/antrea-agent",
    "calico/node",
    "cilium/cilium",
    "flannel/flannel",
    "flannel-io/flannel",
    "kube-ovn",
    "kube-router",
    "openshift-ovn-kubernetes",
    "ovn-kubernetes",
    "tigera/operator",
    "weaveworks/weave-kube",
];
const CLOUD_PROVIDERS: &[&str] = &[
    "cloud-pv-vsphere/cloud-provider-vsphere",
    "cloud-provider-vsphere/cpi/release/manager",
    "vsphere-cloud-controller-manager",
];
const SNAPSHOT_CONTROLLERS: &[&str] = &["snapshot-controller"];
const STORAGE_DRIVERS: &[&str] =
    &["csi-vsphere/driver", "cloud-provider-vsphere/csi/release/driver", "vsphere-csi-driver"];

/// What the workloads of the cluster show of drivers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workloads {
    /// Drivers that are not of our sets.
    pub foreign: Drivers<Option<Foreign>>,
    /// The newest version that a workload of our set has in its images; empty if they do not say it.
    pub ours: Drivers<Option<String>>,
}

/// A driver that another tool installed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Foreign {
    /// Its first workload, such as `DaemonSet kube-system/calico-node`.
    pub what: String,
    /// The newest version that its workloads have in their images, if they say it.
    pub version: Option<Version>,
}

/// Finds drivers. `sets` has the ids of our sets, in the order of the drivers, and `workloads` DaemonSets and Deployments.
#[must_use]
pub fn find(workloads: &[DynamicObject], sets: &[String]) -> Workloads {
    let foreign = |driver| {
        let theirs = || workloads.iter().filter(|of| runs(of, driver) && !is_ours(of, sets));
        let version = theirs().filter_map(|workload| version(workload, driver)).max();
        Some(Foreign { what: theirs().map(name_of).min()?, version })
    };
    let newest = |driver: Driver| {
        let set = Driver::ALL.iter().position(|of| *of == driver).and_then(|at| sets.get(at))?;
        let ours = workloads.iter().filter(|workload| workload.labels().get(PART_OF) == Some(set));
        let versions = ours.map(|workload| version(workload, driver));
        versions.max().map(|version| version.map_or_else(String::new, |version| version.to_string()))
    };
    Workloads { foreign: Drivers::of(foreign), ours: Drivers::of(newest) }
}

/// Returns the version of a driver in the images of a workload.
fn version(workload: &DynamicObject, driver: Driver) -> Option<Version> {
    let tag = |image: &str| {
        let (name, _) = image.split_once('@').unwrap_or((image, ""));
        let (_, tag) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
        tag.parse().ok()
    };
    images_of(workload).iter().filter(|image| is_of(image, driver)).filter_map(|image| tag(image)).max()
}

/// Returns whether a workload is of a driver. Of the others, nothing has to be kept.
pub(crate) fn matters(workload: &DynamicObject, sets: &[String]) -> bool {
    is_ours(workload, sets) || Driver::ALL.into_iter().any(|driver| runs(workload, driver))
}

/// Returns whether a workload runs an image of a driver.
pub(crate) fn runs(workload: &DynamicObject, driver: Driver) -> bool {
    images_of(workload).iter().any(|image| is_of(image, driver))
}

fn is_of(image: &str, driver: Driver) -> bool {
    let parts = match driver {
        Driver::Cni => NETWORKS,
        Driver::Cpi => CLOUD_PROVIDERS,
        Driver::Snapshots => SNAPSHOT_CONTROLLERS,
        Driver::Csi => STORAGE_DRIVERS,
    };
    let image = image.to_lowercase();
    parts.iter().any(|part| image.contains(part))
}

/// Returns whether a workload is a member of one of these sets.
pub(crate) fn is_ours(workload: &DynamicObject, sets: &[String]) -> bool {
    workload.labels().get(PART_OF).is_some_and(|id| sets.contains(id))
}

/// Returns a name such as `DaemonSet kube-system/calico-node`.
pub(crate) fn name_of(workload: &DynamicObject) -> String {
    let kind = workload.types.as_ref().map_or("", |types| types.kind.as_str());
    format!("{kind} {}/{}", workload.namespace().unwrap_or_default(), workload.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn workload(kind: &str, name: &str, image: &str, set: Option<&str>) -> DynamicObject {
        let labels = set.map(|set| json!({PART_OF: set}));
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "kube-system", "labels": labels},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
        }))
        .unwrap()
    }

    #[test]
    fn drivers_are_found_by_their_images() {
        let workloads = [
            workload("DaemonSet", "calico-node", "docker.io/calico/node:v3.30.0", None),
            workload(
                "DaemonSet",
                "cpi",
                "mirror.example.com/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0",
                None,
            ),
            workload("Deployment", "controller", "registry.k8s.io/csi-vsphere/driver:v3.7.3", Some("other")),
            workload("DaemonSet", "node", "registry.k8s.io/csi-vsphere/driver:v3.7.3", Some("other")),
            workload("Deployment", "web", "nginx", None),
        ];
        let found = find(&workloads, &["ours".to_owned()]).foreign;
        let of = |what: &str, version: &str| {
            Some(Foreign { what: format!("DaemonSet kube-system/{what}"), version: version.parse().ok() })
        };
        let wanted = Drivers {
            cni: of("calico-node", "3.30.0"),
            cpi: of("cpi", "1.36.0"),
            csi: of("node", "3.7.3"),
            ..Drivers::default()
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn ours_are_not_foreign() {
        let workloads = [
            workload("DaemonSet", "antrea-agent", "antrea/antrea-agent-ubuntu:v2.7.0", Some("ours")),
            workload(
                "DaemonSet",
                "cpi",
                "registry.k8s.io/cloud-pv-vsphere/cloud-provider-vsphere:v1.36.0",
                Some("ours"),
            ),
        ];
        let sets = ["ours", "others", "third"].map(str::to_owned);
        let found = find(&workloads, &sets);
        assert_eq!(found.foreign, Drivers { cpi: None, ..Drivers::default() });
        // Which driver it is says the set.
        let cni = Some("2.7.0".to_owned());
        assert_eq!(found.ours, Drivers { cni, ..Drivers::default() });
        assert!(find(&workloads, &[]).foreign.cni.is_some());
    }
}
