//! Tests of the store alone, without server, clock and network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod ako;
mod bodies;
mod discovery;
mod fuzz;
mod hostile;
mod lists;
mod macros;
mod rig;
mod rules;
mod scale;
mod seeds;
mod tenancy;
mod versions;
mod vips;
mod walk;
mod writes;
