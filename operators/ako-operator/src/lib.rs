//! ako-operator: AKO (the AVI Kubernetes Operator) in the Cluster API clusters that an `AKODeploymentConfig` selects.
//!
//! Three controllers: [`adc`] sets AVI up as each AKODeploymentConfig asks; [`cluster`] delivers AKO and has it clean up; [`endpoint`] has
//! AVI balance control planes.
//!
//! ```text
//!   AKODeploymentConfig ──▶ validation: what is wrong with the spec, without AVI ◀── webhook: before it is stored
//!            │
//!            ├── selector, IP family ──▶ selection ◀── Cluster: which AKODeploymentConfig it takes AKO from
//!            │
//!            └── networks ──▶ adc ──▶ AVI: ranges of subnets, usable networks
//!
//!   Cluster, Machines ──▶ endpoint ──▶ Service, EndpointSlice ◀── AKO of the management cluster
//!   Cluster ──▶ user: its account on AVI, with a Secret ──▶ credentials
//!
//!   AKODeploymentConfig that is ready, Cluster, credentials ──▶ delivery: the objects that AKO consists of ──▶ cluster ──▶ workload cluster
//!   files of the user ──▶ bundle: the definitions of AKO's kinds ──▶ cluster
//! ```

pub mod adc;
pub mod api;
mod args;
pub mod bundle;
pub mod cluster;
mod conditions;
mod connections;
pub mod delivery;
pub mod endpoint;
pub mod error;
mod infra_setting;
mod metadata;
mod meters;
mod metrics;
#[cfg(test)]
mod model;
pub mod problem;
mod program;
pub mod purge;
pub mod ranges;
mod secrets;
pub mod selection;
mod sessions;
pub mod user;
pub mod validation;
mod vcenters;
mod wakes;
mod webhook;

pub use args::Args;
pub use program::AkoOperator;
