//! `Reconciler`: the four steps that an operator writes for one kind.
//!
//! ```text
//!            ┌──────────── look again ────────────┐
//!            ▼                                    │
//! wake ─▶ observe ──▶ plan ──▶ apply ─────────────┤──▶ status ──▶ one patch, or none
//!          reads       pure     writes            │     pure
//! ```
//!
//! [`driver::run`](crate::driver::run) calls them and does everything around them.

use std::{fmt, future::Future, hash::Hash, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::object::HasStatus;
use serde::Serialize;

use crate::{conditions::Status, error::ReconcileError, events::Notice, key::Key, watch::Kind};

/// Objects of a kind reconciled at the same time, unless a reconciler says otherwise.
pub const CONCURRENCY: usize = 12;
/// How long a pass may take before it goes on behind other objects, unless a reconciler says otherwise.
pub const BUDGET: Duration = Duration::from_secs(10);
/// How often an object is reconciled although nothing happened.
pub const AUDIT: Duration = Duration::from_mins(20);

/// Reason of a Ready condition while a plan that was applied takes effect. An operator that uses [`Outcome::ready`] explains it
/// in its docs.
pub const PROGRESSING: &str = "Progressing";

/// What `plan` decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Turn<P> {
    /// Apply this plan. What it starts ends with an event that wakes the object. While the object is in back-off, the
    /// plan is not applied.
    Act(P),
    /// Apply this plan, whose effect is there when `apply` returns, and observe again at once.
    LookAgain(P),
    /// Something is not there yet and needs no help.
    Wait {
        /// CamelCase constant for conditions.
        reason: &'static str,
        /// What is awaited, for people; without times and ids that change from pass to pass.
        message: String,
        /// When to look again if no event comes first; `None`: after 5 minutes.
        after: Option<Duration>,
    },
    /// A person has to act; an event wakes the object then. One Warning event is published when the reason changes.
    Blocked {
        /// CamelCase constant for conditions and events.
        reason: &'static str,
        /// What is wrong, where, and what to do.
        message: String,
    },
    /// The object is as its spec asks. Ends the back-off.
    Settled,
    /// Nothing of a deleted object is left outside: its finalizer is removed. Where finalizers of others keep it, a last
    /// status is written before, for [`Outcome::Waiting`] with the reason [`FINALIZERS_LEFT`](crate::driver::FINALIZERS_LEFT).
    ///
    /// Also for an object that lives on and that [`Reconciler::holds`] says no to: its finalizer is removed. Without one, as
    /// [`Settled`](Self::Settled).
    Gone,
}

/// How a pass ended, for `status`.
#[derive(Debug)]
pub enum Outcome<D, E> {
    /// The plan was applied.
    Acted(D),
    /// [`Turn::Wait`].
    Waiting(&'static str, String),
    /// [`Turn::Blocked`].
    Blocked(&'static str, String),
    /// [`Turn::Settled`].
    Settled,
    /// A step failed; also while the object is in back-off after that.
    Failed(Arc<E>),
}

impl<D, E: ReconcileError> Outcome<D, E> {
    /// Returns reason and message if a person has to act.
    #[must_use]
    pub fn help(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Blocked(reason, message) => Some((reason, message.clone())),
            Self::Failed(error) if error.disposition().needs_help() => {
                Some((error.reason(), error.to_string()))
            }
            _ => None,
        }
    }

    /// Returns status, reason and message of a Ready condition that says how the pass ended; with the reason `settled`
    /// where the object is as its spec asks.
    #[must_use]
    pub fn ready(&self, settled: &'static str) -> (Status, &'static str, String) {
        match self {
            Self::Settled => (Status::True, settled, String::new()),
            Self::Acted(_) => (Status::False, PROGRESSING, String::new()),
            Self::Waiting(reason, message) | Self::Blocked(reason, message) => {
                (Status::False, reason, message.clone())
            }
            Self::Failed(error) => (Status::False, error.reason(), error.to_string()),
        }
    }
}

/// The status of an object.
pub type StatusOf<R> = <<R as Reconciler>::Object as HasStatus>::Status;

/// What an operator writes for one kind.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Object: Kind + HasStatus<Status: Clone + PartialEq + Serialize + Send + Sync>;
    /// What `observe` saw.
    type Seen: Send + Sync;
    /// What `apply` does.
    type Plan: fmt::Debug + Send;
    /// What `apply` did.
    type Done: Send + Sync;
    /// What may go wrong.
    type Error: ReconcileError;

    /// Metric label and last part of the field manager, e.g. `vmgroup`.
    const NAME: &'static str;
    /// Finalizer that every object has before its first `observe`, unless [`holds`](Self::holds) says otherwise: `<group>/<name>`.
    /// `None` if nothing exists outside the object's namespace.
    const FINALIZER: Option<&'static str>;
    /// Finalizers under which an earlier operator, or an earlier version of this one, held objects: an object that is being
    /// deleted and has only one of these is reconciled as well, and [`Turn::Gone`] removes all of them.
    const FORMER_FINALIZERS: &'static [&'static str] = &[];
    /// Objects reconciled at the same time.
    const CONCURRENCY: usize = CONCURRENCY;
    /// How long a pass may take: it ends before the next `observe` then, with the reason `Progressing`, and goes on behind the objects that
    /// wait. Of objects whose last pass took longer, a quarter of [`CONCURRENCY`](Self::CONCURRENCY) are reconciled at the same time, so that
    /// they leave room for others. No step is interrupted: each has to end by itself.
    const BUDGET: Duration = BUDGET;

    /// Returns what this reconciler reads of an object beside its spec, such as some labels: a change of it wakes the object and ends
    /// its back-off, a change of the rest of the metadata does neither. Nothing that the operator writes itself. A
    /// [lean](crate::Watch::lean) watch drops labels and most annotations before this sees them, and every watch cuts annotations to
    /// 1 KiB. Default: nothing.
    fn reads(object: &Self::Object) -> impl Hash {
        let _ = object;
    }

    /// Decides whether an object that is not being deleted is to have [`FINALIZER`](Self::FINALIZER): a pure function, asked before
    /// the `observe` (`seen` is `None`) and after it. An object that has the finalizer keeps it until a plan says [`Turn::Gone`].
    ///
    /// Default: `true`, for a kind of the operator's own. For a kind of others: only of objects that `seen` says are to be held.
    fn holds(object: &Self::Object, seen: Option<&Self::Seen>) -> bool {
        let _ = (object, seen);
        true
    }

    /// Reads caches, memory and the outside system. Writes nothing, not even what this process remembers, and waits for
    /// nothing that takes seconds. Absence is data, not an error.
    fn observe(&self, object: &Self::Object) -> impl Future<Output = Result<Self::Seen, Self::Error>> + Send;

    /// Decides what to do: a total, pure function. Deletion is decided here as well: an object with a deletion timestamp
    /// ends in [`Turn::Gone`].
    fn plan(object: &Self::Object, seen: &Self::Seen, now: Timestamp) -> Turn<Self::Plan>;

    /// Asks the API server, not a cache, whether nothing is left of an object before its finalizer is removed after
    /// [`Turn::Gone`]: a cache may be behind, above all after a start. `false` keeps the finalizer, and an error as well; the caches have
    /// what was found then, and the status says so. Default: `true`.
    fn confirm_gone(&self, object: &Self::Object) -> impl Future<Output = Result<bool, Self::Error>> + Send {
        let _ = object;
        async { Ok(true) }
    }

    /// Carries out a plan: idempotent steps that wait for nothing that takes seconds.
    fn apply(
        &self,
        object: &Self::Object,
        plan: Self::Plan,
    ) -> impl Future<Output = Result<Self::Done, Self::Error>> + Send;

    /// Computes the status: a pure function of the old one, what was seen and how the pass ended. `None` leaves the status
    /// as it is; where there is none, a reason that needs help has its Warning all the same. `seen` is `None` where `observe` failed.
    fn status(
        old: Option<&StatusOf<Self>>,
        object: &Self::Object,
        seen: Option<&Self::Seen>,
        outcome: &Outcome<Self::Done, Self::Error>,
        now: Timestamp,
    ) -> Option<StatusOf<Self>>;

    /// Says on an object of others, whose status the driver does not write, that a pass has failed: in conditions, say. Called after each pass
    /// that fails where [`status`](Self::status) returns `None`; writes nothing if the object says so already. Default: nothing.
    fn report_failure(
        &self,
        object: &Self::Object,
        error: &Self::Error,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (object, error);
        async { Ok(()) }
    }

    /// Returns whether other objects wait for what a new status says: it is written at once then, also where it reports progress, which
    /// otherwise has to last. Default: never.
    fn is_awaited(old: Option<&StatusOf<Self>>, new: &StatusOf<Self>) -> bool {
        let _ = (old, new);
        false
    }

    /// Returns the conditions of a status, of which `Ready` is one.
    fn conditions(status: &StatusOf<Self>) -> &[Condition];

    /// Returns the event for what was done. Default: none.
    fn event(done: &Self::Done) -> Option<Notice> {
        let _ = done;
        None
    }

    /// Returns the events for what a new status reports and the old one did not, published once it is written. As statuses
    /// outlive the process, a restart neither repeats nor loses them. A reason of `Ready` that needs help has its event
    /// already. Default: none.
    fn news(object: &Self::Object, old: Option<&StatusOf<Self>>, new: &StatusOf<Self>) -> Vec<Notice> {
        let _ = (object, old, new);
        Vec::new()
    }

    /// Returns the event for an object that has gone or is not held any more, published once the finalizer is removed. Default: none.
    fn last_event(object: &Self::Object, seen: &Self::Seen) -> Option<Notice> {
        let _ = (object, seen);
        None
    }

    /// Leaves the queues of the operator, where others wait behind an object that does not parse, whose namespace the operator may not
    /// read, that finalizers of others keep, or whose pass failed: nothing is done for it before that is over, or its delay. What was
    /// requested for it goes on. Called after each pass that failed, and whenever an object is woken that no pass looks at. Default:
    /// nothing.
    fn set_aside(&self, key: &Key, uid: &str) {
        let _ = (key, uid);
    }

    /// Forgets an object that is gone, however it went: also when its finalizer was removed by hand. Also one that is not held any
    /// more, after [`Turn::Gone`].
    fn forget(&self, uid: &str) {
        let _ = uid;
    }
}
