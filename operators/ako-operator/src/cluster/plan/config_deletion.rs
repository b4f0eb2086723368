//! An AKO that is to remove what it made and to make nothing, although it stays, as the label of its Cluster says.
//!
//! Nothing else of it is changed until the label goes, as it needs its password until the end. One that starts meanwhile makes nothing, and
//! neither removes nor answers anything: for that, and for one that does not answer in time, the operator ends it, removes what it made, and
//! installs it again.

use jiff::Timestamp;
use operator_kit::Turn;
use operator_kit::conditions::Status;

use super::deadline::{self, Overdue};
use super::{About, Decision, Plan, tell};
use crate::api::condition::RESOURCES_CLEANED_UP;
use crate::api::{DELETE_CONFIG_LABEL, reason};
use crate::cluster::report::Report;
use crate::cluster::seen::{Cleanup, Obstacle, Purge, Seen, Set, State};
use crate::delivery::NAMESPACE;
use crate::problem::Problem;

/// Decides what is next for an AKO that is installed; `None` if the Cluster has no such label, or AKO does not learn of it.
pub(super) fn of_installed(seen: &Seen, state: &State, now: Timestamp) -> Option<Decision> {
    let set = state.installed.set.as_ref().filter(|_| seen.deletes_config)?;
    let turn = match (state.installed.delete_config?, set.answer) {
        (false, _) => forget(seen).unwrap_or_else(|| tell(state, Some(set))),
        (true, _) if is_done(seen) => say_done(),
        (true, Cleanup::Done) => say_done(),
        (true, Cleanup::Timeout) => purge(seen).unwrap_or_else(say_timed_out),
        (true, Cleanup::Silent | Cleanup::Started) => wait_for_answer(seen, set, now),
    };
    Some(about(turn))
}

/// Decides what is next before AKO is installed, or installed again with another configuration: what an earlier one made goes before.
pub(super) fn before_delivery(seen: &Seen, state: &State) -> Option<Decision> {
    if !seen.deletes_config {
        return forget(seen).map(Decision::from);
    }
    let turn = if is_done(seen) || state.installed.set.is_some() { None } else { purge(seen) };
    turn.map(about)
}

/// Says what keeps an AKO from serving again that was to make nothing, once its label has gone; `None` if it serves.
pub(super) fn hold_back(seen: &Seen, state: &State, obstacle: &Obstacle) -> Option<Decision> {
    let is_idle = state.installed.set.is_some() && state.installed.delete_config == Some(true);
    if !is_idle || seen.deletes_config {
        return None;
    }
    let Problem { reason, message } = obstacle.problem();
    let message = format!(
        "AKO still makes nothing on AVI, as the label {DELETE_CONFIG_LABEL} of the Cluster had asked, or as AKO was to leave; it serves again \
         once this ends: {message}"
    );
    let turn = match obstacle {
        Obstacle::Lasting(_) | Obstacle::Unwatched(_) => Turn::Blocked { reason, message },
        Obstacle::Brief(_) | Obstacle::Passing(_) => Turn::Wait { reason, message, after: None },
    };
    Some(Decision { turn, about: About::Idle })
}

fn about(turn: Turn<Plan>) -> Decision {
    Decision { turn, about: About::ConfigDeletion }
}

fn is_done(seen: &Seen) -> bool {
    seen.said.iter().any(|said| said.type_ == RESOURCES_CLEANED_UP && said.status == Status::True)
}

/// Removes what is said of an earlier cleanup: its time would be that of the deadline.
fn forget(seen: &Seen) -> Option<Turn<Plan>> {
    let is_said = seen.said.iter().any(|said| said.type_ == RESOURCES_CLEANED_UP);
    let report = Report { set: Vec::new(), remove: vec![RESOURCES_CLEANED_UP], notice: None };
    is_said.then_some(Turn::LookAgain(Plan::Report(report)))
}

/// Removes what an AKO left that makes nothing more; `None` if nothing says where that is.
fn purge(seen: &Seen) -> Option<Turn<Plan>> {
    match seen.purge {
        Purge::Impossible => None,
        Purge::Possible => Some(Turn::Act(Plan::Purge { once: false })),
        Purge::Done => Some(say_done()),
    }
}

fn wait_for_answer(seen: &Seen, set: &Set, now: Timestamp) -> Turn<Plan> {
    match deadline::silent(seen, now) {
        Overdue::No => {}
        Overdue::Said(report) => return Turn::LookAgain(Plan::Report(*report)),
        Overdue::Yes if set.is_ours => return Turn::LookAgain(Plan::Remove(vec![set.target.clone()])),
        // An add-on manager would install it at once.
        Overdue::Yes => return purge(seen).unwrap_or_else(say_done),
    }
    let what = if set.is_ready {
        "AKO removes what it made on AVI"
    } else {
        "AKO is to remove what it made on AVI, and none of its Pods is ready"
    };
    let message = format!(
        "{what}; if that does not end, look at the StatefulSet ako and the log of Pod ako-0 in {NAMESPACE} of the workload cluster"
    );
    Turn::Wait { reason: reason::CLEANING_UP, message, after: seen.patience.next_look(now) }
}

fn say_done() -> Turn<Plan> {
    Turn::Wait { reason: reason::CONFIG_DELETED, message: explain(), after: None }
}

fn say_timed_out() -> Turn<Plan> {
    let message = format!(
        "AKO gave up removing what it made on AVI: look at its log, and delete Pod {NAMESPACE}/ako-0 in the workload cluster to let it try \
         again, or remove what is left on AVI by hand"
    );
    Turn::Blocked { reason: reason::CLEANUP_TIMED_OUT, message }
}

/// Returns why AKO makes nothing, and how that ends.
pub fn explain() -> String {
    format!(
        "AKO makes nothing on AVI, as the Cluster has the label {DELETE_CONFIG_LABEL}=true: remove the label to have its Services served \
         again. Nothing of AKO is changed until then"
    )
}
