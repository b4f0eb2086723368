//! The driver: runs a reconciler over the objects of a watch.
//!
//! Owns what surrounds the four steps: the queue, the finalizer, the look-again loop with its limits of looks and of time, back-off, the status write
//! on success and on every error (progress is written once it has lasted), one Warning event per transition into a reason
//! that needs help, metrics and the tracing span. No pass begins before every cache of the process is complete, nor for
//! an object of a namespace that the operator may not read. A panic in
//! a step becomes the error `InternalError` of that object, counted and backed off like any other, and does not end the
//! process: one object that meets a bug must not stop the operator for every tenant.

mod finalizer;
mod memory;
mod report;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use kube::{Resource, ResourceExt, api::ObjectMeta, core::object::HasStatus};
use tokio::time::Instant;
use tracing::{Instrument, debug, error, info, info_span, warn};

use self::finalizer::{Held, is_deleting, is_held};
use self::memory::{BackOff, Basis, Failing, Memory, Version, lock};
use crate::{
    backoff::shorten,
    cache::Cache,
    error::{Chain, Disposition, Error, KitError, ReconcileError},
    events::Notice,
    guarded::Guarded,
    key::Key,
    metrics::ControllerMetrics,
    objects::Objects,
    queue::{Queue, Taken},
    reconcile::{AUDIT, Outcome, PROGRESSING, Reconciler, Turn},
    run::Kit,
    triggers::Triggers,
    watch::{Kind, Watch},
};

/// Reason of the event and the metric for an object that does not parse.
pub const INVALID_OBJECT: &str = "InvalidObject";
/// Reason for the status of an object that is being deleted, where only finalizers of others keep it.
pub const FINALIZERS_LEFT: &str = "FinalizersLeft";
/// Reason for the status of an object that is being deleted, where [`Reconciler::confirm_gone`] finds something that the pass did not.
pub const OBJECTS_LEFT: &str = "ObjectsLeft";
/// How often one pass may observe: each look after the first follows a change that takes effect at once. For models of an operator.
pub const LOOKS: usize = 20;
/// Of what share of the workers objects may take whose passes exceed their time: one in so many.
const SLOW_SHARE: usize = 4;
/// When an object is looked at again that waits for something, or was changed, if nothing wakes it before.
const RECHECK: Duration = Duration::from_mins(5);
/// How soon an object is looked at again whose finalizer or status could not be written because it had changed itself.
const STALE: Duration = Duration::from_secs(1);
/// How soon an object of a namespace that the operator may not read is looked for again. Nothing is asked for it.
const UNSERVED: Duration = Duration::from_secs(5);

/// Runs a reconciler until the kit shuts down, then lets running passes end.
///
/// `triggers` wakes objects of this kind beside the changes of `watch`: of spec, finalizers, deletion and controller, of a status by
/// another client, and of what [`Reconciler::reads`] returns.
///
/// # Errors
/// Never returns one; the type fits `tokio::try_join!`.
pub async fn run<R: Reconciler>(
    kit: &Kit,
    watch: Watch<R::Object>,
    triggers: Triggers<R::Object>,
    reconciler: Arc<R>,
) -> Result<(), Error> {
    let running = beside(kit, &watch, &triggers, reconciler);
    let watching = watch.spawn();
    running.await?;
    drop(watching);
    Ok(())
}

/// As [`run`], for a further reconciler of the objects of one watch, which another `run` takes: each has a name, a queue and a finalizer
/// of its own. To be called before the watch is spawned; nothing is reconciled before the result is awaited.
pub fn beside<R: Reconciler>(
    kit: &Kit,
    watch: &Watch<R::Object>,
    triggers: &Triggers<R::Object>,
    reconciler: Arc<R>,
) -> impl Future<Output = Result<(), Error>> + use<R> {
    let driver = Driver::new(kit, watch, triggers, reconciler);
    driver.subscribe(watch);
    async move {
        driver.run().await;
        Ok(())
    }
}

struct Driver<R: Reconciler> {
    kit: Kit,
    reconciler: Arc<R>,
    cache: Cache<R::Object>,
    objects: Objects<R::Object>,
    kind: <R::Object as Resource>::DynamicType,
    queue: Arc<Queue>,
    triggers: Triggers<R::Object>,
    manager: String,
    metrics: ControllerMetrics,
    memory: Arc<Memory<R::Error>>,
}

impl<R: Reconciler> Driver<R> {
    fn new(kit: &Kit, watch: &Watch<R::Object>, triggers: &Triggers<R::Object>, reconciler: Arc<R>) -> Self {
        let (cache, kind) = watch.parts();
        let metrics = kit.metrics().controller(R::NAME, &R::Error::reasons());
        let queue = triggers.queue();
        kit.metrics().watch_queue(R::NAME, {
            let queue = Arc::clone(&queue);
            move || queue.depth()
        });
        Self {
            kit: kit.clone(),
            reconciler,
            cache,
            objects: watch.objects(),
            kind,
            queue,
            triggers: triggers.clone(),
            manager: kit.field_manager(R::NAME),
            metrics,
            memory: Arc::new(Memory::default()),
        }
    }

    async fn run(&self) {
        let stop = self.kit.shutdown();
        tokio::select! {
            () = self.kit.caches() => {}
            () = stop.cancelled() => return,
        }
        // What appeared before this driver subscribed; later changes wake by themselves.
        self.cache.keys().iter().for_each(|key| self.queue.wake(key));
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(()) = running.next() => {}
                () = stop.cancelled() => break,
                taken = self.queue.take(R::CONCURRENCY.div_ceil(SLOW_SHARE)), if running.len() < R::CONCURRENCY => {
                    running.push(self.turn(taken));
                }
            }
        }
        while running.next().await.is_some() {}
        info!(controller = R::NAME, "controller stopped");
    }

    /// Wakes objects that changed in a way that matters, and forgets those that are gone.
    fn subscribe(&self, watch: &Watch<R::Object>) {
        let (queue, reconciler) = (Arc::clone(&self.queue), Arc::clone(&self.reconciler));
        let memory = Arc::clone(&self.memory);
        watch.subscribe(move |change| match (&change.before, &change.after) {
            (Some(before), None) => {
                let key = Key::of(before);
                queue.forget(&key);
                memory.forget(&key);
                if let Some(uid) = before.meta().uid.as_deref() {
                    reconciler.forget(uid);
                }
            }
            (before, Some(after)) if before.as_ref().map(relevant::<R>) != Some(relevant::<R>(after)) => {
                queue.wake(&Key::of(after));
            }
            // Another client has written the status: it is computed again.
            (Some(before), Some(after)) if status_of(before) != status_of(after) => {
                let key = Key::of(after);
                if !lock(&memory.reporting).contains(&key) {
                    queue.wake(&key);
                }
            }
            _ => {}
        });
    }

    /// Reconciles one object and makes the next appointment.
    async fn turn(&self, taken: Taken) {
        self.metrics.waited(taken.waited);
        let key = taken.key;
        if self.kit.lacks(key.namespace()) {
            if let Some(object) = self.cache.get(&key) {
                self.set_aside(&key, object.meta());
            }
            return self.queue.done(&key, Some(shorten(UNSERVED)), false);
        }
        if self.triggers.take_retry(&key) {
            lock(&self.memory.failing).remove(&key);
            lock(&self.memory.unwritten).remove(&key);
        }
        // What ends all back-offs during this pass also ends the one that follows from it.
        lock(&self.memory.eras).insert(key.clone(), self.triggers.era());
        let span = info_span!("reconcile", controller = R::NAME, object = %key);
        let pause = async {
            match self.cache.get(&key) {
                None => None,
                Some(object) => {
                    let pause = match object.object() {
                        Ok(valid) => self.valid(&key, valid).await,
                        Err(problem) => self.invalid(&key, &object, problem),
                    };
                    self.forget_if_gone(&key, object.meta().uid.as_deref());
                    pause
                }
            }
        };
        let began = Instant::now();
        let pause = pause.instrument(span).await;
        lock(&self.memory.eras).remove(&key);
        self.queue.done(&key, pause, began.elapsed() > R::BUDGET);
    }

    /// Forgets an object that went during the pass: the pass may have remembered it after the watch had it forgotten.
    fn forget_if_gone(&self, key: &Key, uid: Option<&str>) {
        if self.cache.get(key).is_none_or(|now| now.meta().uid.as_deref() != uid) {
            self.memory.forget(key);
            if let Some(uid) = uid {
                self.reconciler.forget(uid);
            }
        }
    }

    async fn valid(&self, key: &Key, object: &Arc<R::Object>) -> Option<Duration> {
        let timer = self.metrics.start();
        lock(&self.memory.invalid).remove(key);
        // Other controllers are still at work on it; this one's part is done.
        if is_deleting(&**object) && !is_held::<R>(object) {
            self.set_aside(key, object.meta());
            return None;
        }
        let mut object = Arc::clone(object);
        let (seen, pass) = self.pass(key, &mut object).await;
        self.end(key, &object, seen.as_ref(), pass, timer).await
    }

    /// Observes, plans and applies until the turn ends; what was seen last, and how it ended.
    async fn pass(&self, key: &Key, object: &mut Arc<R::Object>) -> (Option<R::Seen>, Pass<R>) {
        let (mut last, end) = (None, Instant::now() + R::BUDGET);
        for look in 0..LOOKS {
            if look > 0 && Instant::now() >= end {
                return (last, self.unfinished());
            }
            // A step may have written the object.
            if let Some(newest) = self.cache.valid(key).filter(|newest| newest.uid() == object.uid()) {
                *object = newest;
            }
            if let Err(pass) = self.hold(key, object, None).await {
                return (last, pass);
            }
            let seen = match caught(self.reconciler.observe(object)).await {
                Ok(seen) => seen,
                Err(error) => return (last, self.failed(key, object, error)),
            };
            match self.hold(key, object, Some(&seen)).await {
                Ok(Held::Before) => {}
                // What was seen may depend on it.
                Ok(Held::Now) => continue,
                Err(pass) => return (Some(seen), pass),
            }
            let turn = match caught(async { Ok(R::plan(object, &seen, self.kit.clock().now())) }).await {
                Ok(turn) => turn,
                Err(error) => return (Some(seen), self.failed(key, object, error)),
            };
            debug!(?turn, "planned");
            let pass = match turn {
                Turn::LookAgain(plan) => {
                    last = Some(seen);
                    match self.apply(object, plan).await {
                        Ok(_) if self.is_lost(key, object) => return (last, Pass::Lost),
                        Ok(_) => continue,
                        Err(error) => return (last, self.failed(key, object, error)),
                    }
                }
                Turn::Act(plan) => match self.held(key, object) {
                    Some(held) => held,
                    None => match self.apply(object, plan).await {
                        Ok(done) => Pass::looked(Outcome::Acted(done), RECHECK),
                        Err(error) => self.failed(key, object, error),
                    },
                },
                Turn::Wait { reason, message, after } => {
                    self.metrics.wait(reason);
                    Pass::looked(Outcome::Waiting(reason, message), after.unwrap_or(RECHECK))
                }
                Turn::Blocked { reason, message } => {
                    self.metrics.wait(reason);
                    Pass::looked(Outcome::Blocked(reason, message), RECHECK)
                }
                Turn::Settled => {
                    lock(&self.memory.failing).remove(key);
                    Pass::looked(Outcome::Settled, AUDIT)
                }
                Turn::Gone => Pass::Gone,
            };
            return (Some(seen), pass);
        }
        (last, self.failed(key, object, KitError::StillChanging.into()))
    }

    /// Ends a pass that goes on behind the objects that wait.
    fn unfinished(&self) -> Pass<R> {
        self.metrics.wait(PROGRESSING);
        let message = "it takes long: other objects are looked at in between".to_owned();
        Pass::looked(Outcome::Waiting(PROGRESSING, message), Duration::ZERO)
    }

    fn set_aside(&self, key: &Key, meta: &ObjectMeta) {
        self.reconciler.set_aside(key, meta.uid.as_deref().unwrap_or_default());
    }

    /// Returns whether a step has found that the object does not exist any more.
    fn is_lost(&self, key: &Key, object: &R::Object) -> bool {
        self.cache.get(key).is_none_or(|now| now.meta().uid != object.meta().uid)
    }

    /// Applies a plan while this process leads, and publishes the event for what was done.
    async fn apply(&self, object: &R::Object, plan: R::Plan) -> Result<R::Done, R::Error> {
        self.kit.check_leadership().map_err(KitError::from)?;
        let done = caught(self.reconciler.apply(object, plan)).await?;
        self.publish(object, R::event(&done));
        Ok(done)
    }

    fn publish(&self, object: &R::Object, notices: impl IntoIterator<Item = Notice>) {
        for notice in notices {
            self.kit.events().publish(notice, object.object_ref(&self.kind));
        }
    }

    /// Returns the outcome of an object in back-off: its last error, until the time has come or something relevant
    /// has changed.
    fn held(&self, key: &Key, object: &R::Object) -> Option<Pass<R>> {
        let version = Version::of(object.meta(), reads::<R>(object));
        let failing = lock(&self.memory.failing);
        let failing = failing.get(key)?;
        let left = failing.back_off.left(&Basis { version, era: self.triggers.era() })?;
        Some(Pass::looked(Outcome::Failed(Arc::clone(&failing.error)), left))
    }

    /// Counts a failure.
    fn failed(&self, key: &Key, object: &R::Object, error: R::Error) -> Pass<R> {
        let disposition = self.report_error(&error);
        let (basis, error) = (self.basis(key, object), Arc::new(error));
        let mut failing = lock(&self.memory.failing);
        let before = failing.get(key).map(|known| &known.back_off);
        let (back_off, pause) = BackOff::after(before, basis, disposition);
        failing.insert(key.clone(), Failing { back_off, error: Arc::clone(&error) });
        Pass::Ended { outcome: Outcome::Failed(error), pause, label: disposition.label() }
    }

    /// Counts an error in the metrics and writes it to the log; returns what follows.
    fn report_error(&self, error: &impl ReconcileError) -> Disposition {
        let (reason, disposition) = error.classify();
        self.metrics.error(reason);
        let text = Chain(error).to_string();
        if disposition.needs_help() {
            error!(reason, error = text, "failed, a person has to act");
        } else {
            warn!(reason, error = text, "failed, it will be tried again");
        }
        disposition
    }

    /// Returns what ends a back-off that follows from this pass when it changes.
    fn basis(&self, key: &Key, object: &R::Object) -> Basis {
        let era = lock(&self.memory.eras).get(key).copied().unwrap_or_else(|| self.triggers.era());
        Basis { version: Version::of(object.meta(), reads::<R>(object)), era }
    }

    /// Writes the status or removes the finalizer; the time until the next look.
    async fn end(
        &self,
        key: &Key,
        object: &Arc<R::Object>,
        seen: Option<&R::Seen>,
        pass: Pass<R>,
        timer: crate::metrics::Timer,
    ) -> Option<Duration> {
        let pass = match pass {
            Pass::Gone => self.confirm_gone(key, object, seen).await,
            pass => pass,
        };
        let pass = match pass {
            Pass::Gone => match self.remove_finalizer(key, object, seen).await {
                Ok(pause) => {
                    timer.end("ok");
                    return pause;
                }
                Err(failed) => failed,
            },
            pass => pass,
        };
        let (outcome, pause, label) = match pass {
            Pass::Gone | Pass::Lost | Pass::Stale => {
                timer.end("ok");
                return matches!(pass, Pass::Stale).then_some(STALE);
            }
            Pass::Ended { outcome, pause, label } => (outcome, pause, label),
        };
        if matches!(outcome, Outcome::Failed(_)) {
            self.set_aside(key, object.meta());
        }
        let (pause, label) = match self.write_status(key, object, seen, &outcome).await {
            Ok(postponed) => (postponed.map_or(pause, |postponed| postponed.min(pause)), label),
            Err(error) => {
                let (next, failed) = self.unwritten(key, object, &error);
                (next.min(pause), failed)
            }
        };
        timer.end(label);
        Some(pause)
    }

    /// Reports an object that does not parse, once; it is looked at again when it changes.
    fn invalid(&self, key: &Key, object: &Guarded<R::Object>, problem: &str) -> Option<Duration> {
        self.metrics.start().end("invalid");
        self.metrics.error(INVALID_OBJECT);
        self.set_aside(key, object.meta());
        let version = Version::of(object.meta(), None);
        if lock(&self.memory.invalid).insert(key.clone(), version.clone()) != Some(version) {
            let message = format!("the object does not parse and is left alone until it changes: {problem}");
            self.kit.events().publish_warning(INVALID_OBJECT, &message, object.object_ref(&self.kind));
        }
        None
    }
}

/// How a pass ended.
enum Pass<R: Reconciler> {
    Ended {
        outcome: Outcome<R::Done, R::Error>,
        pause: Duration,
        label: &'static str,
    },
    /// Nothing is left outside: the finalizer goes.
    Gone,
    /// The object does not exist any more, or nothing is to be done about it.
    Lost,
    /// The object has changed while it was to be changed.
    Stale,
}

impl<R: Reconciler> Pass<R> {
    /// Returns a pass without a failure of its own.
    fn looked(outcome: Outcome<R::Done, R::Error>, pause: Duration) -> Self {
        let (label, pause) = match &outcome {
            Outcome::Acted(_) | Outcome::Settled => ("ok", shorten(pause)),
            Outcome::Waiting(..) => ("wait", shorten(pause)),
            Outcome::Blocked(..) => ("blocked", shorten(pause)),
            // The rest of a delay that has its jitter, and ends before no Retry-After.
            Outcome::Failed(_) => ("held", pause),
        };
        Self::Ended { outcome, pause, label }
    }
}

/// Runs a step; a panic in it becomes an error.
async fn caught<T, E: ReconcileError>(step: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    // What a step shares with others is behind locks that no panicking code holds half changed.
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(KitError::panicked(&*panic).into()),
    }
}

fn status_of<K: Kind + HasStatus>(object: &Guarded<K>) -> Option<&K::Status> {
    object.valid().and_then(|object| object.status())
}

/// Returns what makes a controller look again at an object of its own kind.
fn relevant<R: Reconciler>(object: &Guarded<R::Object>) -> impl PartialEq + use<R> {
    let meta = object.meta();
    let problem = object.object().err().map(str::to_owned);
    let controller =
        meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).cloned();
    let reads = object.valid().and_then(|object| reads::<R>(object));
    (Version::of(meta, reads), meta.finalizers.clone(), meta.deletion_timestamp.clone(), controller, problem)
}

/// Returns the hash of what the reconciler reads beside the spec; `None` if it panics, which must not end the watch.
fn reads<R: Reconciler>(object: &R::Object) -> Option<u64> {
    let hash = || {
        let mut hasher = DefaultHasher::new();
        R::reads(object).hash(&mut hasher);
        hasher.finish()
    };
    panic::catch_unwind(AssertUnwindSafe(hash)).ok()
}
