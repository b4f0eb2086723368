//! Typed async clients for the systems the operators talk to: one module and one Cargo feature per system, so that an
//! operator links only what it uses.
//!
//! Owns connections, sessions, wire formats and typed errors. Every error implements [`Failure`]. Runs no controllers
//! and decides no policy: an operator decides what a failure means for an object.

mod failure;
#[cfg(any(feature = "avi", feature = "download", feature = "vsphere"))]
mod https;
mod secret;

#[cfg(feature = "avi")]
pub mod avi;
#[cfg(feature = "capi")]
pub mod capi;
#[cfg(feature = "download")]
pub mod download;
#[cfg(feature = "vsphere")]
pub mod vsphere;

pub use failure::{Class, Failure};
#[cfg(any(feature = "avi", feature = "download", feature = "vsphere"))]
pub use https::{SettingError, Thumbprint, Trust};
pub use secret::Secret;
