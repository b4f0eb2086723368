//! An AVI controller for tests: the REST API over HTTPS under a CA of its own, everything in memory.
//!
//! Owns the behaviour a client sees: sessions, tenants, roles, objects and their rules, faults on demand. Never
//! balances any load, and is never a normal dependency of an operator.
//!
//! - [`store`]: the controller's configuration and its rules; synchronous, no I/O, no clock.
//! - [`server`]: HTTPS, sessions, accounts, permissions, faults, counters; calls the store.

mod caller;
mod error;
mod rights;
mod rules;
pub mod server;
pub mod store;
mod version;

pub use caller::{Caller, Scope};
pub use error::ApiError;
pub use rights::{Grant, Level, Rights};
pub use rules::{Assumptions, Rule, Rules};
pub use server::{
    ADMIN, CONTROL_HELP, Config, Control, Counters, Effect, Fault, LoggedRequest, Logins, Simulator,
};
pub use store::Store;
pub use version::Version;
