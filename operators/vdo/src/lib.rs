//! vdo: the drivers of a Kubernetes cluster on vSphere.
//!
//! The pure part of the operator: what it decides and what it writes, from values to values. Only [`fetch`] talks to a cluster and to
//! servers, and only [`preflight::gather()`] to a vCenter.
//!
//! ```text
//!   matrix, vCenters, Kubernetes ──▶ choose ──▶ version, and why not the others
//!                                                  │
//!   VDOConfig, VsphereCloudConfig ──▶ config ──────┤ what the driver reads
//!   fetch, manifests of the version ▶ render ──────┴──▶ objects in waves
//!   what is there ──────────────────▶ plan ─────────────▶ install, change, remove, or wait: one step per driver
//! ```

pub mod api;
pub mod choose;
pub mod config;
pub mod desired;
pub mod failures;
pub mod fetch;
pub mod foreign;
pub mod matrix;
pub mod nodes;
pub mod plan;
pub mod preflight;
pub mod problem;
pub mod render;
pub mod status;
#[cfg(test)]
mod test_data;
pub mod version;
pub mod window;
