//! Faults of storage and of the cluster.

use super::super::Severity::{BlockInstall, Warning};
use super::*;

pub(super) static CLUSTER: &[Row] = &[
    (
        |f| {
            known(f).shared.clear();
            f.storage_classes.clear();
        },
        Check::SharedDatastore,
        BlockInstall,
        VC,
        "no accessible datastore is mounted by the hosts of all Nodes, those of the control plane included: mount one on all of these hosts",
    ),
    (
        |f| known(f).shared[0].is_accessible = false,
        Check::SharedDatastore,
        BlockInstall,
        VC,
        "no accessible datastore",
    ),
    (
        |f| known(f).shared[0].moved_by = Some("pod".to_owned()),
        Check::StorageDrs,
        Warning,
        "vc.example.com one",
        "the storage cluster pod moves disks by itself, and volumes are lost where their path changes: switch Storage DRS off",
    ),
    (
        |f| f.storage_classes[0].policy = Some("silver".to_owned()),
        Check::StorageClasses,
        Warning,
        "StorageClass fast",
        "no vCenter has the storage policy \"silver\": correct storagepolicyname, or create the policy",
    ),
    (
        |f| f.storage_classes[0].datastore_url = Some("ds:///x/".to_owned()),
        Check::StorageClasses,
        Warning,
        "StorageClass fast",
        "the hosts of the Nodes do not share a datastore with the URL ds:///x/: correct datastoreurl",
    ),
    (
        |f| f.lost_attachments = vec![("csi-1".to_owned(), "gone".to_owned())],
        Check::Attachments,
        Warning,
        "VolumeAttachment csi-1",
        "the Node gone does not exist any more, so that CSI cannot detach the volume: if its machine is gone for good, detach the disk",
    ),
    (
        |f| f.foreign.csi = Some("DaemonSet kube-system/x".to_owned()),
        Check::ForeignDriver,
        BlockInstall,
        "DaemonSet kube-system/x",
        "another tool has installed CSI: remove it, have vdo adopt it, or set managementState to Unmanaged",
    ),
    (
        |f| f.nodes.iter_mut().for_each(|node| node.taints = vec!["team=a".to_owned()]),
        Check::ControllerPlacement,
        BlockInstall,
        "cluster",
        "every Node of the control plane has taints that the controllers do not tolerate, such as team=a of node-1: add tolerations",
    ),
    (
        |f| f.nodes.iter_mut().for_each(|node| node.is_control_plane = false),
        Check::ControllerPlacement,
        BlockInstall,
        "cluster",
        "no Node is of the control plane, where the controllers run",
    ),
    (
        |f| {
            f.vcenters.push(vcenter("vc2"));
            f.csi = Some("3.1.0".parse().unwrap());
            f.features.insert("multi-vcenter-csi-topology".to_owned(), false);
        },
        Check::MultiVcenter,
        BlockInstall,
        "cluster",
        "CSI 3.1 ends with several vCenters while its feature multi-vcenter-csi-topology is off: switch the feature on",
    ),
    (
        |f| f.has_snapshot_kinds = false,
        Check::SnapshotKinds,
        Warning,
        "cluster",
        "the kinds of snapshots do not exist, so that the csi-snapshotter of CSI keeps failing: have vdo install them by spec.snapshotController of a DriverSet",
    ),
    (
        |f| f.openshift.as_mut().unwrap().manages_csi = true,
        Check::ManagedByOpenShift,
        BlockInstall,
        "cluster",
        "OpenShift manages CSI: two operators would undo each other's changes: set managementState of CSI to Unmanaged",
    ),
    (
        |f| f.openshift.as_mut().unwrap().admits_pods = false,
        Check::SecurityContext,
        BlockInstall,
        "cluster",
        "so that OpenShift refuses their Pods: bind the ClusterRole system:openshift:scc:privileged to them",
    ),
];
