//! vdo: the drivers of a Kubernetes cluster on vSphere.
//!
//! The pure part of the operator: what it decides and what it writes, from values to values. Nothing here talks to a cluster or to
//! a vCenter.
//!
//! ```text
//!   VDOConfig ─┐
//!   VsphereCloudConfig ─┤
//!   matrix ────┴──▶ choose: one version per driver, or why not ──▶ config: Secret and ConfigMap
//!                                                             └──▶ render: the driver's manifests, in waves
//! ```

pub mod api;
pub mod choose;
pub mod config;
pub mod matrix;
#[cfg(test)]
mod test_data;
pub mod version;
