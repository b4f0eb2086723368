//! Checks of the cluster.

use super::{Check, Facts, Finding, Severity};
use crate::matrix::Driver;

const CLUSTER: &str = "cluster";
const MULTI_VCENTER: &str = "multi-vcenter-csi-topology";

pub(super) fn run(facts: &Facts, findings: &mut Vec<Finding>) {
    for driver in Driver::ALL {
        if let Some(what) = facts.foreign.get(driver) {
            findings.push(Finding::new(
                Check::ForeignDriver,
                Severity::BlockInstall,
                what,
                format!("another tool has installed {driver}"),
                "remove it, have vdo adopt it, or set managementState to Unmanaged",
            ));
        }
    }
    let mut add = |check, severity, message: String, remediation| {
        findings.push(Finding::new(check, severity, CLUSTER, message, remediation));
    };
    if let Some(message) = unschedulable(facts) {
        let remediation = "add tolerations for the taints to the driver's settings, or remove the taints";
        add(Check::ControllerPlacement, Severity::BlockInstall, message, remediation);
    }
    let is_off = facts.features.get(MULTI_VCENTER) == Some(&false);
    let is_3_1 = facts.csi.as_ref().is_some_and(|csi| csi.minor() == (3, 1));
    if facts.vcenters.len() > 1 && is_3_1 && is_off {
        let message = format!("CSI 3.1 ends with several vCenters while its feature {MULTI_VCENTER} is off");
        add(
            Check::MultiVcenter,
            Severity::BlockInstall,
            message,
            "switch the feature on, or choose a newer version",
        );
    }
    if !facts.has_snapshot_kinds {
        add(
            Check::SnapshotKinds,
            Severity::Warning,
            "the kinds of snapshots do not exist, so that the csi-snapshotter of CSI keeps failing"
                .to_owned(),
            "have vdo install them by spec.snapshotController of a DriverSet, or install the snapshot CRDs and controller yourself",
        );
    }
    let Some(openshift) = facts.openshift else { return };
    if openshift.manages_csi {
        add(
            Check::ManagedByOpenShift,
            Severity::BlockInstall,
            "OpenShift manages CSI: two operators would undo each other's changes".to_owned(),
            "set managementState of CSI to Unmanaged, or Removed in OpenShift's ClusterCSIDriver",
        );
    }
    if !openshift.admits_pods {
        add(
            Check::SecurityContext,
            Severity::BlockInstall,
            "the drivers' ServiceAccounts may not use the SecurityContextConstraints privileged, so that OpenShift refuses their Pods".to_owned(),
            "bind the ClusterRole system:openshift:scc:privileged to them",
        );
    }
}

/// Returns why no controller can be scheduled.
fn unschedulable(facts: &Facts) -> Option<String> {
    if facts.nodes.is_empty() {
        return None;
    }
    let planes: Vec<_> = facts.nodes.iter().filter(|node| node.is_control_plane).collect();
    if planes.is_empty() {
        return Some("no Node is of the control plane, where the controllers run".to_owned());
    }
    let first = planes.first().filter(|_| planes.iter().all(|node| !node.taints.is_empty()))?;
    let taints = first.taints.join(", ");
    Some(format!(
        "every Node of the control plane has taints that the controllers do not tolerate, such as {taints} of {}",
        first.name
    ))
}
