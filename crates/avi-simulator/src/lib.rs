//! An AVI (NSX Advanced Load Balancer) controller for tests: the REST API over HTTPS under a CA of its own, everything
//! in memory.
//!
//! Owns the behaviour a client sees: sessions, tenants, roles, objects and their rules, faults on demand. Never
//! balances any load, and is never a normal dependency of an operator.
//!
//! # As a program
//!
//! ```sh
//! export AVI_SIMULATOR_ADMIN_PASSWORD=Correct-Horse-1
//! cargo run -p avi-simulator -- --ca-file /tmp/avi-ca.pem --seed crates/avi-simulator/samples/seed.yaml \
//!     --control-listen 127.0.0.1:9080
//! ```
//!
//! It prints one line of JSON once it answers, and ends at SIGTERM or Ctrl-C. In another shell:
//!
//! ```sh
//! curl --cacert /tmp/avi-ca.pem -c /tmp/avi-cookies https://127.0.0.1:9443/login \
//!     --json '{"username": "admin", "password": "Correct-Horse-1"}'
//! curl --cacert /tmp/avi-ca.pem -b /tmp/avi-cookies -H 'X-Avi-Version: 30.2.1' https://127.0.0.1:9443/api/network
//! curl -X POST 127.0.0.1:9080/faults -d '{"path": "/api/pool", "times": 1, "what": {"status": {"code": 503}}}'
//! curl 127.0.0.1:9080/requests
//! ```
//!
//! A write asks besides for the headers `X-CSRFToken` (the cookie `csrftoken`) and `Referer` (the controller's URL), as
//! every SDK sends them. `--help` tells the other arguments, their environment variables and the control API
//! ([`CONTROL_HELP`]); the sample seed shows the form of an inventory ([`Store::seed`]).
//!
//! # In a test
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use avi_simulator::{ADMIN, Config, Effect, Fault, Simulator};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let seed = "pool: [{name: web}]".to_owned();
//! let sim = Simulator::start(Config { seed: Some(seed), ..Config::default() }).await?;
//! // What a client needs to know:
//! let (url, ca, user, password) = (sim.url(), sim.ca_pem(), ADMIN, sim.admin_password());
//! // What the test sees and does besides; see `Control` for all of it:
//! let control = sim.control();
//! let before = control.snapshot();
//! control.fault(Fault::new(Effect::CutAfter).on("POST", "/api/pool").times(1));
//! control.advance_clock(Duration::from_mins(15));
//! assert!(control.diff(&before).is_empty() && control.check().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Everything starts with the rules in force and the assumptions at their defaults. [`Rules::without`] breaks one rule, to
//! prove that a client's tests would notice; [`Assumptions`] switches what no one has seen a real controller do, and
//! lists what is inferred besides. The parts:
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
