//! The one road every reconcile takes.
//!
//! Owns what surrounds a reconcile: the finalizer, the tracing span, metrics, the delay after an error, the Warning event.
//! Never knows what is reconciled. A panic in a reconcile is not caught: it ends the process, which is restarted.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Debug,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt};
use kube::{
    Resource, ResourceExt,
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::Store,
    },
};
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::{
    backoff::{Backoff, PERMANENT},
    error::{Chain, Disposition, Error, ReconcileError},
    events::Events,
    finalizer::{self, Patched},
    metrics::ControllerMetrics,
    run::Kit,
    watch::{Guarded, Kind},
};

/// Objects of a kind reconciled at the same time. Each may take a connection to the API server with its buffers; more
/// than this made no burst faster.
pub const CONCURRENCY: u16 = 12;
/// Reason of the event and the metric for an object that does not parse.
pub const INVALID_OBJECT: &str = "InvalidObject";

/// When to look at an object again after all went well.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// When something happens.
    AwaitChange,
    /// When something happens, or after this time.
    After(Duration),
    /// The same, but what was begun may yet fail: earlier failures are not forgotten, so that something that fails each
    /// time it is begun is begun less and less often.
    Pending(Duration),
}

/// How far the cleanup of a deleted object is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cleanup {
    /// Nothing is left outside: the finalizer goes, and the object with it.
    Done,
    /// Something is still going; the finalizer stays.
    Later(Next),
}

/// What an operator writes for one kind: observe, plan, apply, status.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Object: Kind;
    /// What may go wrong.
    type Error: ReconcileError;

    /// Metric label and last part of the field manager, e.g. `vmgroup`.
    const NAME: &'static str;
    /// On every object before its first reconcile; `None` if nothing exists outside its namespace.
    const FINALIZER: Option<&'static str>;
    /// Objects reconciled at the same time.
    const CONCURRENCY: u16 = CONCURRENCY;

    /// The version the objects are read and written in, for a kind that has several. Default: the only one.
    fn kind(&self) -> <Self::Object as Resource>::DynamicType {
        Default::default()
    }

    /// Brings the world closer to what a live object wants. Writes its status itself, also on the way to an error it
    /// can explain; see [`report`](Self::report) for the others.
    fn reconcile(&self, object: Arc<Self::Object>) -> impl Future<Output = Result<Next, Self::Error>> + Send;

    /// Takes back what a deleted object caused. Called until it says [`Cleanup::Done`]; never without [`FINALIZER`](Self::FINALIZER).
    fn cleanup(&self, object: Arc<Self::Object>)
    -> impl Future<Output = Result<Cleanup, Self::Error>> + Send;

    /// Tells the object's status of the error `reconcile` or `cleanup` ended with. Default: nothing.
    fn report(&self, object: Arc<Self::Object>, error: &Self::Error) -> impl Future<Output = ()> + Send {
        let _ = (object, error);
        async {}
    }
}

/// Runs a controller until the kit shuts down, letting running reconciles end.
///
/// Poll it where a panic ends the process: in the future given to [`run`](crate::run()), not in a detached task.
pub async fn run<R: Reconciler>(
    controller: Controller<Guarded<R::Object>>,
    reconciler: Arc<R>,
    kit: &Kit,
) -> Result<(), Error> {
    let store = controller.store();
    let driver = Arc::new(Driver {
        reconciler,
        store: controller.store(),
        client: kit.client(),
        events: kit.events(),
        metrics: kit.metrics().controller(R::NAME),
        backoff: Mutex::default(),
        warned: Mutex::default(),
    });
    let results = controller
        .with_config(controller::Config::default().concurrency(R::CONCURRENCY))
        .graceful_shutdown_on(kit.shutdown().cancelled_owned())
        .run(
            |object, driver: Arc<Driver<R>>| async move { Ok::<_, Infallible>(driver.turn(&object).await) },
            // Errors are dealt with inside; there is none left to see here.
            |_, never: &Infallible, _| match *never {},
            driver,
        );
    let all = results.for_each(|result| async {
        // An object deleted between its trigger and its turn; the error is as good as none.
        if let Err(error) = result {
            debug!(controller = R::NAME, %error, "nothing to reconcile");
        }
    });
    // A controller begins, and so can end, only once its first list is complete.
    let not_begun = async {
        kit.shutdown().cancelled().await;
        if store.wait_until_ready().now_or_never().is_some() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = all => {}
        () = not_begun => {}
    }
    if kit.shutdown().is_cancelled() {
        info!(controller = R::NAME, "controller stopped");
        return Ok(());
    }
    Err(Error::ControllerEnded(R::NAME))
}

struct Driver<R: Reconciler> {
    reconciler: Arc<R>,
    store: Store<Guarded<R::Object>>,
    client: kube::Client,
    events: Events,
    metrics: ControllerMetrics,
    backoff: Mutex<Backoff>,
    /// By UID, the Warning last published.
    warned: Mutex<HashMap<String, Warned>>,
}

#[derive(Clone, Debug)]
struct Warned {
    generation: Option<i64>,
    reason: &'static str,
    at: Instant,
}

impl<R: Reconciler> Driver<R> {
    /// One pass over one object, from trigger to the next appointment.
    async fn turn(&self, object: &Guarded<R::Object>) -> Action {
        let meta = object.meta();
        let span = info_span!(
            "reconcile",
            controller = R::NAME,
            namespace = meta.namespace,
            name = meta.name,
            generation = meta.generation,
        );
        async {
            match object.object() {
                Ok(object) => self.valid(object).await,
                Err(problem) => self.invalid(object, problem).await,
            }
        }
        .instrument(span)
        .await
    }

    async fn valid(&self, object: &Arc<R::Object>) -> Action {
        let timer = self.metrics.start();
        let (label, next) = match self.pass(object).await {
            Ok(next) => {
                if !matches!(next, Next::Pending(_)) {
                    self.forget(object.meta().uid.as_deref().unwrap_or_default());
                }
                debug!(?next, "reconciled");
                ("ok", next)
            }
            Err(Failure::Kubernetes(error)) => {
                warn!(error = %Chain(&error), "finalizer not written");
                self.metrics.error("KubernetesApi");
                self.postponed(object, crate::error::kubernetes(&error))
            }
            Err(Failure::Reconcile(error)) => {
                self.tell(object, &error).await;
                self.reconciler.report(Arc::clone(object), &error).await;
                self.postponed(object, error.disposition())
            }
        };
        timer.end(label);
        match next {
            Next::AwaitChange => Action::await_change(),
            Next::After(delay) | Next::Pending(delay) => Action::requeue(delay),
        }
    }

    /// Finalizer outermost: nothing is made before it is on, nothing is left when it goes.
    async fn pass(&self, object: &Arc<R::Object>) -> Result<Next, Failure<R::Error>> {
        let deleted = object.meta().deletion_timestamp.is_some();
        let ours = R::FINALIZER.filter(|ours| object.finalizers().iter().any(|held| held == ours));
        match (R::FINALIZER, ours) {
            (_, Some(finalizer)) if deleted => {
                match self.reconciler.cleanup(Arc::clone(object)).await.map_err(Failure::Reconcile)? {
                    Cleanup::Later(next) => Ok(next),
                    Cleanup::Done => {
                        info!("cleaned up");
                        Ok(again(
                            finalizer::remove(&self.client, &self.reconciler.kind(), &**object, finalizer)
                                .await?,
                        ))
                    }
                }
            }
            // Others are still at work on it; our part is done.
            (_, None) if deleted => Ok(Next::AwaitChange),
            // The watch brings the object back with the finalizer on it.
            (Some(finalizer), None) => {
                Ok(again(finalizer::add(&self.client, &self.reconciler.kind(), &**object, finalizer).await?))
            }
            _ => self.reconciler.reconcile(Arc::clone(object)).await.map_err(Failure::Reconcile),
        }
    }

    /// An object that does not parse: said once, looked at again when it changes.
    async fn invalid(&self, object: &Guarded<R::Object>, problem: &str) -> Action {
        self.metrics.start().end("invalid");
        self.metrics.error(INVALID_OBJECT);
        let reference = object.object_ref(&self.reconciler.kind());
        if self.is_news(object.meta().uid.as_deref(), object.meta().generation, INVALID_OBJECT) {
            error!(problem, "the object does not parse, it is left alone until it changes");
            let message = format!("The object does not parse and is left alone until it changes: {problem}");
            self.events.warning(INVALID_OBJECT, &message, &reference).await;
        }
        Action::await_change()
    }

    async fn tell(&self, object: &Arc<R::Object>, error: &R::Error) {
        let (chain, reason) = (Chain(error).to_string(), error.reason());
        if !matches!(error.disposition(), Disposition::Wait { .. }) {
            self.metrics.error(reason);
        }
        match error.disposition() {
            Disposition::Wait { .. } => debug!(reason, chain, "waiting"),
            Disposition::Transient { .. } | Disposition::Auth => {
                warn!(reason, error = chain, "failed, will be tried again");
            }
            Disposition::Permanent => {
                error!(reason, error = chain, "failed, a person must put it right");
                let meta = object.meta();
                if self.is_news(meta.uid.as_deref(), meta.generation, reason) {
                    self.events.warning(reason, &chain, &object.object_ref(&self.reconciler.kind())).await;
                }
            }
        }
    }

    fn postponed(&self, object: &Arc<R::Object>, disposition: Disposition) -> (&'static str, Next) {
        let uid = object.meta().uid.as_deref().unwrap_or_default();
        let mut backoff = lock(&self.backoff);
        let delay = backoff.failed(uid, disposition);
        // Objects deleted without another pass leave entries behind.
        if backoff.len() > self.store.len() {
            let live = self.live();
            backoff.retain(|uid| live.contains(uid));
            lock(&self.warned).retain(|uid, _| live.contains(uid));
        }
        (disposition.label(), delay.map_or(Next::AwaitChange, Next::After))
    }

    /// Whether this Warning differs from the last about the object, or that one is as old as events get.
    fn is_news(&self, uid: Option<&str>, generation: Option<i64>, reason: &'static str) -> bool {
        let mut warned = lock(&self.warned);
        if warned.len() > self.store.len() {
            let live = self.live();
            warned.retain(|uid, _| live.contains(uid));
        }
        let uid = uid.unwrap_or_default();
        let known = warned.get(uid);
        let same = known.is_some_and(|last| {
            last.generation == generation && last.reason == reason && last.at.elapsed() < PERMANENT / 2
        });
        if !same {
            warned.insert(uid.to_owned(), Warned { generation, reason, at: Instant::now() });
        }
        !same
    }

    fn forget(&self, uid: &str) {
        lock(&self.backoff).clear(uid);
        lock(&self.warned).remove(uid);
    }

    fn live(&self) -> std::collections::HashSet<String> {
        self.store.state().iter().filter_map(|object| object.meta().uid.clone()).collect()
    }
}

enum Failure<E> {
    Kubernetes(kube::Error),
    Reconcile(E),
}

impl<E> From<kube::Error> for Failure<E> {
    fn from(error: kube::Error) -> Self {
        Self::Kubernetes(error)
    }
}

/// After a patch that fitted, the watch comes back by itself; one that did not fit was computed from an old object whose
/// newer version may have been passed over as unimportant.
fn again(patched: Patched) -> Next {
    match patched {
        Patched::Done => Next::AwaitChange,
        Patched::Stale => Next::After(Duration::from_secs(1)),
    }
}

fn lock<T: Debug>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
