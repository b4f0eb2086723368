//! When the operator waits for AKO no longer: what follows is what follows when AKO says that it gave up.
//!
//! A deadline ends only the wait that the condition of the Cluster names: one that has just begun, as after an outage, is in it first. The
//! condition says the end of that wait as well, with an event, before anything is done: a process that starts in the middle goes on there.

use std::time::Duration;

use infra_clients::capi;
use jiff::Timestamp;
use operator_kit::conditions::Status;
use operator_kit::{Notice, Turn};

use super::Plan;
use crate::api::condition::{RESOURCES_CLEANED_UP, USER_CLEANED_UP};
use crate::api::{FORCE_ANNOTATION, reason};
use crate::cluster::report::Report;
use crate::cluster::seen::{Left, Purge, Seen};
use crate::conditions::Said;
use crate::error::Error;

/// How long the Pods of AKO have to end. Those on a node that is gone never do.
const ENDING: Duration = Duration::from_mins(10);

/// How a condition says that a change failed in the workload cluster.
pub(in crate::cluster) const NOT_TAKEN: &str =
    "the workload cluster does not take a change that the cleanup needs";

/// Whether the time for a cleanup is over.
#[derive(Debug)]
pub(super) enum Overdue {
    /// No, or only a person can end the wait.
    No,
    /// Yes, and the conditions do not say so yet.
    Said(Box<Report>),
    /// Yes.
    Yes,
}

/// A wait that the deadline ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum End {
    /// That for the answer of AKO.
    Silent,
    /// That for a workload cluster that cannot be read.
    Unreachable,
    /// That for the Pods of AKO.
    Ending,
    /// That for a workload cluster that takes no change.
    Refused,
}

impl End {
    const ALL: [Self; 4] = [Self::Silent, Self::Unreachable, Self::Ending, Self::Refused];

    /// Returns the end that the conditions of a Cluster say.
    pub(in crate::cluster) fn said(said: &[Said]) -> Option<Self> {
        let said = find(said).filter(|said| said.reason == reason::CLEANUP_OVERDUE)?;
        Self::ALL.into_iter().find(|end| said.message.starts_with(end.message()))
    }

    /// Returns what the condition says.
    pub(in crate::cluster) fn message(self) -> &'static str {
        match self {
            Self::Silent => {
                "AKO has not answered within the time of --cleanup-deadline: the operator removes AKO, then what it made on AVI, by its \
                 marks"
            }
            Self::Unreachable => {
                "the workload cluster was not reached within the time of --cleanup-deadline: the operator removes the AVI user of the \
                 Cluster, then what AKO made on AVI, by its marks"
            }
            Self::Ending => {
                "the Pods of AKO do not end, and the time of --cleanup-deadline is over: the operator removes the AVI user of the \
                 Cluster, then what AKO made on AVI, by its marks"
            }
            Self::Refused => {
                "the workload cluster has not taken what the cleanup changes within the time of --cleanup-deadline: the operator removes the \
                 AVI user of the Cluster, then what AKO made on AVI, by its marks; AKO stays in the workload cluster"
            }
        }
    }

    /// Returns what the condition says while something is in the way of what follows. The reason stays: it shows that the end has been said.
    pub(in crate::cluster) fn hindered(self, by: &str) -> String {
        format!("{}; {by}", self.message())
    }

    /// Returns whether another wait is over as well: an AKO that has not answered is what a workload cluster may not have removed.
    fn includes(self, other: Self) -> bool {
        self == other || (self, other) == (Self::Refused, Self::Silent)
    }

    /// Returns whether a condition names the wait. For a workload cluster its reason may change: each says that a request has failed before.
    fn is_wait(self, said: &Said) -> bool {
        match self {
            Self::Silent => said.reason == reason::CLEANING_UP,
            Self::Unreachable => capi::REASONS.contains(&&*said.reason),
            Self::Ending => said.reason == reason::AKO_ENDING,
            Self::Refused => says_refused(said),
        }
    }

    /// Returns whether a wait is over whose time is.
    fn look(self, seen: &Seen) -> Overdue {
        match find(&seen.said) {
            // What is said to be clean is not waited for again, as in the last steps of a Cluster that is lost.
            Some(said) if said.status == Status::True => Overdue::Yes,
            Some(_) if Self::said(&seen.said).is_some_and(|end| end.includes(self)) => Overdue::Yes,
            Some(said) if self.is_wait(said) => self.say(),
            // The wait has just begun, or a failure was in its way.
            _ => Overdue::No,
        }
    }

    fn say(self) -> Overdue {
        let (why, message) = (reason::CLEANUP_OVERDUE, self.message());
        Overdue::Said(Box::new(Report {
            set: vec![Said::new(RESOURCES_CLEANED_UP, Status::False, why, message)],
            remove: Vec::new(),
            notice: Some(Notice::warning(why, message)),
        }))
    }
}

/// Looks at a cleanup of an AKO that was asked, and has not answered.
pub(super) fn silent(seen: &Seen, now: Timestamp) -> Overdue {
    if is_over(seen, now) { End::Silent.look(seen) } else { Overdue::No }
}

/// Keeps the reason of an AKO that has not answered while others have to end it.
pub(super) fn keep_reason(turn: Turn<Plan>) -> Turn<Plan> {
    match turn {
        Turn::Wait { message, after, .. } => {
            let message = End::Silent.hindered(&message);
            Turn::Wait { reason: reason::CLEANUP_OVERDUE, message, after }
        }
        turn => turn,
    }
}

/// Looks at a cleanup whose workload cluster cannot be read. That of a Cluster that lives on is waited for: it comes back, or the Cluster is
/// deleted.
pub(super) fn unreachable(seen: &Seen, now: Timestamp) -> Overdue {
    if seen.is_deleting && is_over(seen, now) { End::Unreachable.look(seen) } else { Overdue::No }
}

/// Looks at a cleanup whose AKO ends since this time.
pub(super) fn ending(seen: &Seen, since: Timestamp, now: Timestamp) -> Overdue {
    let is_long = Duration::try_from(now.duration_since(since)).is_ok_and(|time| time >= ENDING);
    if seen.is_deleting && is_long && is_over(seen, now) { End::Ending.look(seen) } else { Overdue::No }
}

/// Looks at a cleanup whose workload cluster answers, and takes no change: AKO runs on there. That of a Cluster that lives on is waited for.
pub(super) fn refused(seen: &Seen, now: Timestamp) -> Overdue {
    // What is said to be clean may be so as the label of the Cluster had asked for it, and its AKO goes now.
    let is_clean = find(&seen.said).is_some_and(|said| said.status == Status::True);
    let is_users_turn = seen.said.iter().any(|said| said.type_ == USER_CLEANED_UP);
    let is_done = is_users_turn || seen.user == Left::No && seen.purge == Purge::Done;
    if !seen.is_deleting || is_clean && !is_done || !is_over(seen, now) {
        return Overdue::No;
    }
    End::Refused.look(seen)
}

/// Returns whether a person need not wait for a change in the workload cluster: it was refused, or all that follows is done.
pub(super) fn is_refused(seen: &Seen) -> bool {
    find(&seen.said).is_some_and(|said| says_refused(said) || said.reason == reason::LEFT_ON_AVI)
}

/// The change may have failed while another wait was over.
fn says_refused(said: &Said) -> bool {
    said.message.contains(NOT_TAKEN)
}

/// Returns what a condition says of a change that failed in the workload cluster.
pub(in crate::cluster) fn not_taken(error: &Error) -> String {
    format!(
        "{NOT_TAKEN}: {error}; --cleanup-deadline of the operator ends that for a Cluster that is being deleted, and the annotation \
         {FORCE_ANNOTATION}=true at once: the operator then removes what AKO made by its marks"
    )
}

fn is_over(seen: &Seen, now: Timestamp) -> bool {
    let is_clean = find(&seen.said).is_some_and(|said| said.status == Status::True);
    seen.purge != Purge::Impossible && (is_clean || seen.patience.is_over(now))
}

/// Returns the condition that says whether the Cluster is cleaned up.
fn find(said: &[Said]) -> Option<&Said> {
    said.iter().find(|said| said.type_ == RESOURCES_CLEANED_UP)
}
