//! Cluster API's objects and clients of workload clusters, against real API servers and the real Cluster API.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends with what it did not expect"
)]

mod clients;
mod cluster_api;
mod definitions;
mod kubeadm;
mod proxy;
mod tkg;
mod versions;

use std::hash::Hash;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::{Stream, StreamExt, future};
use infra_clients::capi::Limits;
use kube::Resource;
use kube::runtime::reflector::Store;
use serde_json::Value;

/// Limit for what takes seconds, on a machine that is busy otherwise.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// Limits for clusters that answer, on such a machine.
pub(crate) const PATIENT: Limits = Limits {
    connect: Duration::from_mins(2),
    answer: Duration::from_mins(2),
    // An unreachable cluster stays so for the test.
    remember: Duration::from_hours(1),
    waits: 8,
    probes: 8,
    answer_size: 1 << 20,
    definition_size: 1 << 20,
    clients: 8,
};

/// Adds an entry to a JSON list, which is created if it is missing.
pub(crate) fn put(list: &mut Value, position: usize, entry: Value) {
    let list = list.as_array_mut().expect("a list");
    if position == list.len() {
        list.push(entry);
    } else {
        list[position] = entry;
    }
}

/// Runs a reflector until its store is complete.
pub(crate) async fn filled<K>(store: &Store<K>, reflector: impl Stream) -> Result<()>
where
    K: Resource<DynamicType: Eq + Hash + Clone> + Clone + 'static,
{
    tokio::select! {
        () = reflector.for_each(|_| future::ready(())) => bail!("the watch ended"),
        ready = tokio::time::timeout(SOON, store.wait_until_ready()) => Ok(ready??),
    }
}
