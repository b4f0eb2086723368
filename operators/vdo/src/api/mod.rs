//! The Kubernetes API of vdo: group `vdo.vmware.com`.
//!
//! Owns the kinds and the names of what belongs to them. Never talks to anything.
//!
//! - `v1alpha1`, as the original operator has it: `VDOConfig`, `VsphereCloudConfig`, `CompatibilityConfig`. What was valid under its
//!   definitions is valid here: no field is removed, none is restricted further. What cannot be used becomes a condition.
//! - `v1beta1`, for what these cannot say: `DriverSet`, `VSphereConnection`, `CompatibilityMatrix`.

mod compatibility_config;
mod compatibility_matrix;
mod driver_set;
pub mod reason;
mod vdo_config;
mod vsphere_cloud_config;
mod vsphere_connection;

pub use compatibility_config::{CompatibilityConfig, CompatibilityConfigSpec, CompatibilityConfigStatus};
pub use compatibility_matrix::{
    CompatibilityMatrix, CompatibilityMatrixSpec, CompatibilityMatrixStatus, ConfigMapKey, Download,
};
pub use driver_set::{
    CpiSpec, CsiSpec, Day, DeletionPolicy, DriverSet, DriverSetSpec, DriverSetStatus, DriverSpec,
    DriverStatus, ImageOverrides, MaintenanceWindow, ManagementState, NodeAddresses, TopologyCategory,
    VersionPolicy,
};
pub use vdo_config::{
    CloudProvider, CpiStatus, CsiStatus, FileVolumes, NetPermission, Phase, StorageProvider, Topology,
    VdoConfig, VdoConfigSpec, VdoConfigStatus,
};
pub use vsphere_cloud_config::{
    Verification, VsphereCloudConfig, VsphereCloudConfigSpec, VsphereCloudConfigStatus,
};
pub use vsphere_connection::{VSphereConnection, VSphereConnectionSpec, VSphereConnectionStatus};

/// API group of the kinds.
pub const GROUP: &str = "vdo.vmware.com";

/// Annotation of a [`VdoConfig`]: the preflight checks that are switched off, with commas between their names.
pub const SKIP_CHECKS: &str = "vdo.vmware.com/skip-checks";

/// Annotation of a [`VdoConfig`]: the drivers that are taken over where another tool has installed them, with commas between their names.
pub const ADOPT: &str = "vdo.vmware.com/adopt";

/// Annotation of a [`VdoConfig`] or [`DriverSet`]: any text. Another text lets versions be tried again whose upgrade has failed.
pub const RETRY_UPGRADE: &str = "vdo.vmware.com/retry-upgrade";

/// Names that the ConfigMap with the compatibility matrix may have: in the original's code, and in its README.
pub const MATRIX_CONFIG_MAPS: [&str; 2] = ["compat-matrix-config", "comp-matrix-config"];

/// Namespace of the Secrets that a [`VsphereCloudConfig`] names.
pub const CREDENTIALS_NAMESPACE: &str = "kube-system";

#[cfg(test)]
mod tests;
