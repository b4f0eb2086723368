//! The controller over real HTTPS, with a client that knows nothing of AVI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod access;
mod accounts;
mod control;
mod faults;
mod fixed;
mod labels;
mod rig;
mod session;
