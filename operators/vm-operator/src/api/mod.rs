//! The Kubernetes API of vm-operator: group `vm.codeconnect.vmworld.com`, version `v1alpha1`.
//!
//! Owns the two kinds, the strings users meet (labels, annotations, finalizers, condition types, reasons) and the names
//! derived from an object. Never talks to anything.

pub mod names;
pub mod reason;
mod vmgroup;
mod vminstance;

pub use vmgroup::{VmGroup, VmGroupSpec, VmGroupStatus, phase};
pub use vminstance::{TaskKind, TaskStatus, VmInstance, VmInstanceSpec, VmInstanceStatus};

/// API group of both kinds.
pub const GROUP: &str = "vm.codeconnect.vmworld.com";

/// Finalizer of both kinds.
pub const FINALIZER: &str = "vm.codeconnect.vmworld.com/vm-operator";

/// Finalizer of the original operator. A [`VmGroup`] that has it was managed by the original: its machines are adopted, then
/// the finalizer is removed.
pub const ORIGINAL_FINALIZER: &str = "vm-operator";

/// Annotation of a [`VmGroup`] or [`VmInstance`] with the value `true`: once the object is deleted, the operator lets go of
/// its machines without touching the vCenter, e.g. because the vCenter no longer exists. Any other value stops the removal.
pub const DETACH: &str = "vm.codeconnect.vmworld.com/detach";

/// Label of a [`VmInstance`]: the group it belongs to, as `operator_kit::names::label_value` writes it.
pub const GROUP_LABEL: &str = "vm.codeconnect.vmworld.com/group";

/// Key of the extraConfig entry that marks a virtual machine as ours: see [`names::Marker`].
pub const OWNER_MARKER: &str = "vmgroup/owner";

/// Key of the extraConfig entry that says what a virtual machine was made from: see
/// [`VmInstanceSpec::revision`].
pub const REVISION_MARKER: &str = "vmgroup/revision";

/// Prefix of all extraConfig keys of the operator.
pub const MARKER_PREFIX: &str = "vmgroup/";

/// Condition types.
pub mod condition {
    /// The object is as its spec asks, as far as the vCenter says now.
    pub const READY: &str = "Ready";
    /// Work is in flight that needs no help.
    pub const PROGRESSING: &str = "Progressing";
    /// Every virtual machine was made from the present spec.
    pub const CONFIG_SYNCED: &str = "ConfigSynced";
    /// Virtual machines have the marker of this group, but are not machines of it: copies, or machines without VmInstance.
    pub const ORPHANS_FOUND: &str = "OrphansFound";
    /// The virtual machines stay when the object is deleted. Absent without the annotation `detach`.
    pub const DETACHED: &str = "Detached";
}

/// Finalizer with which the garbage collector orphans dependents: `kubectl delete --cascade=orphan`.
const ORPHAN_FINALIZER: &str = "orphan";

/// Returns whether a group has this finalizer.
#[must_use]
pub fn has_finalizer(group: &VmGroup, finalizer: &str) -> bool {
    use kube::ResourceExt;
    group.finalizers().iter().any(|held| held == finalizer)
}

/// Returns whether a group is being deleted with `--cascade=orphan`: its machines are to stay.
#[must_use]
pub fn is_orphaning(group: &VmGroup) -> bool {
    group.metadata.deletion_timestamp.is_some() && has_finalizer(group, ORPHAN_FINALIZER)
}
