//! What vdo decides and writes, carried out: on a real API server, and with the real drivers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod operator;
mod real;
mod rendered;
