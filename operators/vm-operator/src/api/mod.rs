//! The Kubernetes API of vm-operator: group `vm.codeconnect.vmworld.com`, version `v1alpha1`.
//!
//! Owns the two kinds, the strings users meet (labels, finalizers, condition types, reasons) and the
//! names derived from an object. Never talks to anything.

pub mod names;
pub mod reason;
mod vmgroup;
mod vminstance;

pub use vmgroup::{VmGroup, VmGroupSpec, VmGroupStatus, phase};
pub use vminstance::{TaskKind, TaskStatus, VmInstance, VmInstanceSpec, VmInstanceStatus};

/// API group of both kinds.
pub const GROUP: &str = "vm.codeconnect.vmworld.com";

/// API version of both kinds.
pub const VERSION: &str = "v1alpha1";

/// Finalizer of both kinds; the name the original operator used.
pub const FINALIZER: &str = "vm-operator";

/// Label of a [`VmInstance`]: the group it belongs to, as [`names::label_value`] writes it.
pub const GROUP_LABEL: &str = "vm.codeconnect.vmworld.com/group";

/// Key of the extraConfig entry that marks a virtual machine as ours: see [`names::Marker`].
pub const OWNER_MARKER: &str = "vmgroup/owner";

/// Key of the extraConfig entry that says what a virtual machine was made from: see
/// [`VmInstanceSpec::revision`].
pub const REVISION_MARKER: &str = "vmgroup/revision";

/// What all our extraConfig keys begin with.
pub const MARKER_PREFIX: &str = "vmgroup/";

/// Condition types.
pub mod condition {
    /// The object is as its spec asks, as far as the vCenter says right now.
    pub const READY: &str = "Ready";
    /// Work is under way that needs no help.
    pub const PROGRESSING: &str = "Progressing";
    /// Every virtual machine was made from the present spec.
    pub const CONFIG_SYNCED: &str = "ConfigSynced";
}
