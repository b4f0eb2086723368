//! The contract of every operator, on a real control plane.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod planes;

use e2e::contract;

e2e::rigs!(contract);
