//! vm-operator's binary, under its own ServiceAccount and shipped RBAC, against a real API server and a
//! simulated vCenter. The tests share a control plane, except where it is the subject; each has its own vCenter.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test's helper fails the test, as the test itself does"
)]

mod administrator;
mod admission;
mod api;
mod chaos;
mod columns;
mod confined;
mod counted;
mod events;
mod fairness;
mod install;
mod late_watch;
mod leftovers;
mod limits;
mod main_job;
mod migration;
mod observability;
mod other_vcenter;
mod outages;
mod ownership;
mod refusal;
mod release;
mod removal;
mod safety;
mod start;

use std::sync::LazyLock;

use e2e::{OperatorProcess, Rig as _, VmRig};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Rigs at a time: a rig waits most of its time.
const RIGS: usize = 8;
/// The places of a rig with many machines.
const LARGE: u32 = 3;
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(RIGS));

/// Waits for a place to run in, among the tests of this program.
async fn place() -> SemaphorePermit<'static> {
    PLACES.acquire().await.expect("it is never closed")
}

/// Waits for a place for a rig with many machines.
async fn large_place() -> SemaphorePermit<'static> {
    PLACES.acquire_many(LARGE).await.expect("it is never closed")
}

/// Starts the default rig in a place of its own, and the operator.
async fn start_operator() -> (SemaphorePermit<'static>, VmRig, OperatorProcess) {
    let place = place().await;
    let rig = VmRig::start().await.unwrap();
    let operator = rig.operator().await.unwrap();
    (place, rig, operator)
}

/// Starts the default rig in a place of its own, the operator, and the group `web`, which is ready with that many machines.
async fn start_web(replicas: usize) -> (SemaphorePermit<'static>, VmRig, OperatorProcess) {
    let (place, rig, operator) = start_operator().await;
    rig.apply_and_settle("web", replicas).await.unwrap();
    (place, rig, operator)
}
