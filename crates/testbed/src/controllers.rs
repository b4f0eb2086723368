//! Small controllers that run as tasks of this process: the parts real clusters have and a bare machine lacks.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryFuture};
use kube::runtime::controller::Action;
use kube::runtime::utils::Backoff;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// How long until what could not be done is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// A controller for all objects of a kind.
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
    // A conflict or an API server that is away: the next try sees how things are then.
    let retry = |_: Arc<K>, _: &kube::Error, _: Arc<Context>| Action::requeue(RETRY);
    controller.run(reconcile, retry, context).for_each(|_| std::future::ready(())).await;
}

/// A lost watch is tried again at a steady pace: tests stop API servers, and wait for what comes after.
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(RETRY)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}
