//! Reasons: the one word a condition, an event and a metric share. `docs/vm-operator/reasons.md`
//! says what to do about each; a test holds the two together.

/// Declares the reasons, and [`ALL`] of them for the test that compares them with the docs.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $value:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: &str = $value;)+
        /// Every reason there is.
        pub const ALL: &[&str] = &[$($value),+];
    };
}

reasons! {
    /// The object is as asked.
    AS_ASKED = "AsAsked";
    /// Virtual machines are being made, powered on or removed.
    SCALING = "Scaling";
    /// Nothing is left to do.
    IDLE = "Idle";
    /// The machine is being cloned.
    CLONING = "Cloning";
    /// The machine waits for its turn: as many clones as `--max-clones` allows are under way.
    QUEUED = "Queued";
    /// The machine is being powered on.
    POWERING_ON = "PoweringOn";
    /// The machine is being powered off and destroyed.
    REMOVING = "Removing";
    /// The group's folder is not there yet.
    WAITING_FOR_FOLDER = "WaitingForFolder";
    /// A clone that may be this one's, asked for before a restart or a lost reply, is still running.
    WAITING_FOR_EARLIER_CLONE = "WaitingForEarlierClone";
    /// Other objects stand where this one's should: the predecessor is not gone yet.
    WAITING_FOR_PREDECESSOR = "WaitingForPredecessor";
    /// Some machines were made from an earlier spec.
    OUTDATED_MACHINES = "OutdatedMachines";
    /// The folder held things that are not ours and was left.
    FOLDER_KEPT = "FolderKept";

    /// The vCenter does not answer.
    VCENTER_UNREACHABLE = "VCenterUnreachable";
    /// The vCenter's certificate is not trusted.
    VCENTER_CERTIFICATE_REFUSED = "VCenterCertificateRefused";
    /// The vCenter refuses the user name or password.
    VCENTER_LOGIN_REFUSED = "VCenterLoginRefused";
    /// The vCenter's inventory does not allow a choice: two datacenters, no pool, no folder.
    VCENTER_PLACEMENT_UNCLEAR = "VCenterPlacementUnclear";
    /// The vCenter user lacks a privilege.
    PERMISSION_DENIED = "PermissionDenied";
    /// There is no such template.
    TEMPLATE_NOT_FOUND = "TemplateNotFound";
    /// Several virtual machines bear the template's name.
    TEMPLATE_AMBIGUOUS = "TemplateAmbiguous";
    /// A virtual machine that is not ours bears the name.
    NAME_CONFLICT = "NameConflict";
    /// Several virtual machines bear the same owner marker.
    DUPLICATE_MACHINES = "DuplicateMachines";
    /// The machine was moved out of the operator's folder.
    MACHINE_MOVED = "MachineMoved";
    /// There is no group of the instance's name and UID.
    NO_GROUP = "NoGroup";
    /// The vCenter cannot tell the machine's configuration or power state.
    MACHINE_UNCLEAR = "MachineUnclear";
    /// No capacity: memory, CPU, licences or disk space.
    NO_RESOURCES = "NoResources";
    /// The machine or its host is busy with something else.
    BUSY = "Busy";
    /// A vCenter task or call failed.
    VCENTER_FAULT = "VCenterFault";
    /// The Kubernetes API server refused or did not answer.
    KUBERNETES_API = "KubernetesApi";
    /// This process is not, or no longer, the leader.
    NOT_LEADER = "NotLeader";
}

/// Whether an instance whose Ready condition has this reason needs help, as against time.
#[must_use]
pub fn needs_help(reason: &str) -> bool {
    matches!(
        reason,
        VCENTER_CERTIFICATE_REFUSED
            | VCENTER_LOGIN_REFUSED
            | VCENTER_PLACEMENT_UNCLEAR
            | PERMISSION_DENIED
            | TEMPLATE_NOT_FOUND
            | TEMPLATE_AMBIGUOUS
            | NAME_CONFLICT
            | DUPLICATE_MACHINES
            | MACHINE_MOVED
            | MACHINE_UNCLEAR
            | NO_RESOURCES
            | VCENTER_FAULT
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ALL;

    /// Every reason has its line in the docs, and every line there is a reason.
    #[test]
    fn the_docs_know_every_reason() {
        let docs = include_str!("../../../../docs/vm-operator/reasons.md");
        let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let described: BTreeSet<&str> = rows.map(|(reason, _)| reason).collect();
        assert_eq!(described, ALL.iter().copied().collect());
    }
}
