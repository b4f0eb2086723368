//! vdo: the drivers of a Kubernetes cluster on vSphere.
//!
//! Three controllers: `connection` asks vCenters, `installer` installs and removes drivers, `matrices` says whether a matrix can be used. What they decide and write is made by pure
//! functions, from values to values. [`fetch`] talks to servers.
//!
//! ```text
//!   matrix, vCenters, Kubernetes ──▶ choose ──▶ version, and why not the others
//!                                                  │
//!   VDOConfig, VsphereCloudConfig ──▶ config ──────┤ what the driver reads
//!   fetch, manifests of the version ▶ render ──────┴──▶ objects in waves
//!   what is there ──────────────────▶ plan ─────────────▶ install, change, remove, or wait: one step per driver
//! ```

pub mod api;
mod args;
mod checkup;
pub mod choose;
mod command;
pub mod config;
mod connection;
pub mod desired;
mod error;
pub mod failures;
pub mod fetch;
pub mod foreign;
mod installer;
mod matrices;
pub mod matrix;
mod metrics;
#[cfg(test)]
mod model;
pub mod nodes;
pub mod plan;
pub mod preflight;
pub mod problem;
mod program;
pub mod render;
pub mod status;
#[cfg(test)]
mod test_data;
pub mod version;
mod wakes;
mod watched;
pub mod window;

pub use args::Args;
pub use program::Vdo;
