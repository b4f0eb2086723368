//! vdo's binary, under its own ServiceAccount and shipped RBAC, against a real API server with the controllers of Deployments and DaemonSets,
//! and a simulated vCenter. What CPI and CSI do is done by the test: `e2e/tests/drivers` runs the real ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helper fails the test, as the test itself does"
)]

mod checks;
mod command;
mod driver_set;
mod guards;
mod killed;
mod lost_notes;
mod main_job;
mod manifests;
mod migration;
mod pods;
mod rollback;
mod setup;
mod snapshots;
