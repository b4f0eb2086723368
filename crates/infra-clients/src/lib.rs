//! Typed async clients for the systems the operators talk to: one module and one Cargo feature per
//! system, so that an operator links only what it uses.
//!
//! Owns connections, sessions, wire formats and typed errors. Knows no Kubernetes and decides no
//! policy: what a failure means for an object is the operator's business, this crate only says
//! what kind of failure it was.

mod secret;

#[cfg(feature = "vsphere")]
pub mod vsphere;

pub use secret::Secret;
