//! An AVI (NSX Advanced Load Balancer) controller for tests: the REST API over HTTPS with its own CA, everything in
//! memory.
//!
//! Owns the behaviour that a client sees: sessions, tenants, roles, objects and their rules, injected faults. Never
//! balances load, and is never a normal dependency of an operator.
//!
//! # As a program
//!
//! ```sh
//! export AVI_SIMULATOR_ADMIN_PASSWORD=Correct-Horse-1
//! cargo run -p avi-simulator -- --ca-file /tmp/avi-ca.pem --seed crates/avi-simulator/samples/seed.yaml \
//!     --control-listen 127.0.0.1:9080
//! ```
//!
//! It prints one line of JSON when it is ready, and stops at SIGTERM or Ctrl-C. In another shell:
//!
//! ```sh
//! curl --cacert /tmp/avi-ca.pem -c /tmp/avi-cookies https://127.0.0.1:9443/login \
//!     --json '{"username": "admin", "password": "Correct-Horse-1"}'
//! curl --cacert /tmp/avi-ca.pem -b /tmp/avi-cookies -H 'X-Avi-Version: 30.2.1' https://127.0.0.1:9443/api/network
//! curl -X POST 127.0.0.1:9080/faults -d '{"path": "/api/pool", "times": 1, "what": {"status": {"code": 503}}}'
//! curl 127.0.0.1:9080/requests
//! ```
//!
//! A write also requires the headers `X-CSRFToken` (the value of the cookie `csrftoken`) and `Referer` (the controller's
//! URL), which every SDK sends. `--help` lists the other arguments, their environment variables and the control API
//! ([`CONTROL_HELP`]); the sample seed shows the form of a seed ([`Store::seed`]).
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
//! // For the client:
//! let (url, ca, user, password) = (sim.url(), sim.ca_pem(), ADMIN, sim.admin_password());
//! // For the test:
//! let control = sim.control();
//! let before = control.snapshot();
//! control.fault(Fault::new(Effect::CutAfter).on("POST", "/api/pool").times(1));
//! control.advance_clock(Duration::from_mins(15));
//! assert!(control.diff(&before).is_empty() && control.check().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! By default all rules are in force. [`Rules::without`] breaks one rule, to prove that the tests of a client detect the
//! difference. [`Assumptions`] has a switch for each behaviour that was inferred and not observed on a real controller,
//! and lists what else was inferred. The parts:
//!
//! - [`store`]: the controller's configuration and its rules; synchronous, without I/O and without a clock.
//! - [`server`]: HTTPS, sessions, accounts, permissions, faults, counters; calls the store.

mod caller;
mod error;
mod rights;
mod rules;
mod scope;
pub mod server;
pub mod store;
mod version;

pub use caller::Caller;
pub use error::ApiError;
pub use rights::{Grant, Level, Rights};
pub use rules::{Assumptions, Rule, Rules};
pub use scope::Scope;
pub use server::{
    ADMIN, CONTROL_HELP, Config, Control, Counters, Effect, Fault, LoggedRequest, Logins, Simulator,
};
pub use store::Store;
pub use version::Version;
