//! Scenarios driven as a user would drive them: `kubectl`, the inventory of an outside system, the operator's binary as a
//! process under its own ServiceAccount.
//!
//! Owns what the tests, the demo and the benchmarks share. Knows an operator by its binary and its manifests only, never by
//! its code.
//!
//! ```text
//!  Plane (control plane, operators installed once) ──▶ Site (namespace, client, credentials) ──▶ Rig (+ outside systems)
//! ```

mod command;
pub mod contract;
mod follow;
mod install;
pub mod mutate;
mod objects;
mod operator;
pub mod perturb;
mod planes;
mod rig;
mod site;
mod snapshot;

pub use command::{Selection, print_list};
pub use install::{Installed, Kind, Manifests, Plane, Scope, Subject};
pub use objects::{Id, condition, is_answered, ready};
pub use operator::{Launch, OperatorProcess, binary};
pub use planes::Planes;
pub use rig::*;
pub use site::{PATIENCE, Site};
