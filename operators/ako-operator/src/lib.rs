//! ako-operator: AKO (the AVI Kubernetes Operator) in the Cluster API clusters that an `AKODeploymentConfig` selects.
//!
//! So far this crate owns the API and pure decisions. It has no binary and no controller: nothing here talks to Kubernetes or to AVI.
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
pub mod delivery;
pub mod ranges;
pub mod selection;
pub mod validation;
