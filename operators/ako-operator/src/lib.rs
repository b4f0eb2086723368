//! ako-operator: AKO (the AVI Kubernetes Operator) in the Cluster API clusters that an `AKODeploymentConfig` selects.
//!
//! One controller, [`cluster`], delivers AKO and has it clean up. Nothing here talks to AVI: AKO does.
//!
//! ```text
//!   AKODeploymentConfig ──▶ validation: what is wrong with the spec, without AVI
//!            │
//!            ├── selector, IP family ──▶ selection ◀── Cluster: which AKODeploymentConfig it takes AKO from
//!            │
//!            └── dataNetwork ──▶ ranges ◀── subnet on AVI, ranges of ours: which ranges the subnet is to have
//!
//!   AKODeploymentConfig, Cluster, credentials, versions ──▶ delivery: the objects that AKO consists of
//! ```

pub mod api;
mod args;
pub mod cluster;
pub mod delivery;
pub mod error;
mod program;
pub mod ranges;
pub mod selection;
pub mod validation;

pub use args::Args;
pub use program::AkoOperator;
