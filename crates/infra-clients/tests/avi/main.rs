//! The AVI client against a simulated controller, over the real wire.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation fails the test"
)]

mod bad_days;
mod cases;
mod front;
mod in_time;
mod logins;
mod mutations;
mod raw;
mod reuse;
mod rig;
mod secrets;
mod writers;
