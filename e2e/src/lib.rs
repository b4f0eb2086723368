//! Scenarios driven as a user would drive them: `kubectl`, a vCenter's inventory, the operator's binary as
//! a process under its own ServiceAccount.
//!
//! Owns the [`Rig`] that the tests, the demo and the benchmarks share. Knows an operator by its binary and
//! its manifests only, never by its code.

mod operator;
mod rig;

pub use operator::{Launch, OperatorProcess};
pub use rig::{NAMESPACE, PATIENCE, Rig, RigBuilder, group, ready};
