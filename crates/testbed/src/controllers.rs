//! Small controllers that run as tasks of this process, for parts of a cluster that a single machine lacks.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryFuture};
use kube::runtime::controller::Action;
use kube::runtime::utils::Backoff;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// The delay before a retry.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// Returns a controller of all objects of a kind.
pub(crate) fn all<K>(client: &Client) -> Controller<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Controller::new(Api::all(client.clone()), watcher::Config::default()).trigger_backoff(Steady)
}

/// Runs a controller until it is dropped.
pub(crate) async fn run<K, Reconcile, Future, Context>(
    controller: Controller<K>,
    reconcile: Reconcile,
    context: Arc<Context>,
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    Reconcile: FnMut(Arc<K>, Arc<Context>) -> Future,
    Future: TryFuture<Ok = Action, Error = kube::Error> + Send + 'static,
{
    // A conflict or an unreachable API server: the next reconcile reads the current state.
    let retry = |_: Arc<K>, _: &kube::Error, _: Arc<Context>| Action::requeue(RETRY);
    controller.run(reconcile, retry, context).for_each(|_| std::future::ready(())).await;
}

/// The back-off of a watch: constant, because tests stop API servers and wait for the effect of a restart.
#[derive(Debug)]
pub(crate) struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(RETRY)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}
