//! When the operator waits for AKO no longer: what follows is what follows when AKO says that it gave up.
//!
//! A deadline ends only the wait that the condition of the Cluster names: one that has just begun, as after an outage, is in it first. The
//! condition says the end of the wait as well, with an event, before anything is done: a process that starts in the middle goes on there.

use std::time::Duration;

use infra_clients::capi;
use jiff::Timestamp;
use operator_kit::Notice;
use operator_kit::conditions::Status;

use crate::api::condition::RESOURCES_CLEANED_UP;
use crate::api::reason;
use crate::cluster::report::Report;
use crate::cluster::seen::{Purge, Seen};
use crate::conditions::Said;

/// How long the Pods of AKO have to end. Those on a node that is gone never do.
const ENDING: Duration = Duration::from_mins(10);

/// Whether the time for a cleanup is over.
pub(super) enum Overdue {
    /// No, or only a person can end the wait.
    No,
    /// Yes, and the conditions do not say so yet.
    Said(Box<Report>),
    /// Yes.
    Yes,
}

/// Looks at a cleanup of an AKO that was asked, and has not answered.
pub(super) fn silent(seen: &Seen, now: Timestamp) -> Overdue {
    if !is_over(seen, now) {
        return Overdue::No;
    }
    let message = "AKO has not answered within the time of --cleanup-deadline: the operator removes AKO, then what it made on AVI, by its \
                   marks";
    match said(seen) {
        None => Overdue::No,
        // Until now it could not be asked.
        Some(why) if capi::REASONS.contains(&why) => Overdue::No,
        Some(reason::CLEANING_UP) => say(message),
        Some(_) => Overdue::Yes,
    }
}

/// Looks at a cleanup whose workload cluster cannot be read for this reason. That of a Cluster that lives on is waited for: it comes back, or
/// the Cluster is deleted.
pub(super) fn unreachable(seen: &Seen, reason: &str, now: Timestamp) -> Overdue {
    if !seen.is_deleting || !is_over(seen, now) {
        return Overdue::No;
    }
    let message = "the workload cluster was not reached within the time of --cleanup-deadline: the operator removes the AVI user of the \
                   Cluster, then what AKO made on AVI, by its marks";
    match said(seen) {
        // One request that fails is not enough.
        None | Some(reason::CLEANING_UP | reason::AKO_ENDING) => Overdue::No,
        Some(why) if why == reason => say(message),
        Some(_) => Overdue::Yes,
    }
}

/// Looks at a cleanup whose AKO ends since this time.
pub(super) fn ending(seen: &Seen, since: Timestamp, now: Timestamp) -> Overdue {
    let is_long = Duration::try_from(now.duration_since(since)).is_ok_and(|time| time >= ENDING);
    if !seen.is_deleting || !is_long || !is_over(seen, now) {
        return Overdue::No;
    }
    let message = "the Pods of AKO do not end, and the time of --cleanup-deadline is over: the operator removes the AVI user of the Cluster, \
                   then what AKO made on AVI, by its marks";
    match said(seen) {
        Some(reason::AKO_ENDING) => say(message),
        _ => Overdue::Yes,
    }
}

fn is_over(seen: &Seen, now: Timestamp) -> bool {
    // What is said to be clean is not waited for again, as in the last steps of a Cluster that is lost.
    let is_clean = condition(seen).is_some_and(|said| said.status == Status::True);
    seen.purge != Purge::Impossible && (is_clean || seen.patience.is_over(now))
}

/// Returns why the Cluster is said to be cleaned up, or not to be.
fn said(seen: &Seen) -> Option<&str> {
    condition(seen).map(|said| &*said.reason)
}

fn condition(seen: &Seen) -> Option<&Said> {
    seen.said.iter().find(|said| said.type_ == RESOURCES_CLEANED_UP)
}

fn say(message: &str) -> Overdue {
    let why = reason::CLEANUP_OVERDUE;
    Overdue::Said(Box::new(Report {
        set: vec![Said::new(RESOURCES_CLEANED_UP, Status::False, why, message)],
        remove: Vec::new(),
        notice: Some(Notice::warning(why, message)),
    }))
}
