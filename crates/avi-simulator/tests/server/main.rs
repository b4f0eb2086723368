//! Tests of the simulator over HTTPS, with a plain HTTP client.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod access;
mod accounts;
mod control;
mod faults;
mod fixed;
mod labels;
mod rig;
mod session;
