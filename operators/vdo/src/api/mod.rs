//! The Kubernetes API of vdo: group `vdo.vmware.com`, version `v1alpha1`, as the original operator has it.
//!
//! Owns the three kinds and the names of what belongs to them. Never talks to anything.
//!
//! What was valid under the original's definitions is valid here: no field is removed, none is restricted further. What cannot be
//! used becomes a condition.

mod compatibility_config;
mod vdo_config;
mod vsphere_cloud_config;

pub use compatibility_config::{CompatibilityConfig, CompatibilityConfigSpec, CompatibilityConfigStatus};
pub use vdo_config::{
    CloudProvider, CpiStatus, CsiStatus, FileVolumes, NetPermission, Phase, StorageProvider, Topology,
    VdoConfig, VdoConfigSpec, VdoConfigStatus,
};
pub use vsphere_cloud_config::{
    Verification, VsphereCloudConfig, VsphereCloudConfigSpec, VsphereCloudConfigStatus,
};

/// API group of the three kinds.
pub const GROUP: &str = "vdo.vmware.com";

/// Names that the ConfigMap with the compatibility matrix may have: in the original's code, and in its README.
pub const MATRIX_CONFIG_MAPS: [&str; 2] = ["compat-matrix-config", "comp-matrix-config"];

/// Namespace of the Secrets that a [`VsphereCloudConfig`] names.
pub const CREDENTIALS_NAMESPACE: &str = "kube-system";

#[cfg(test)]
mod tests;
