//! What to do about a Cluster: a pure function of what was seen.
//!
//! ```text
//!   selected ──▶ hooks on Machines ──▶ user on AVI ──▶ objects in the workload cluster, or the add-on Secret ──▶ settled
//!
//!   deleted, or not selected any more:
//!     deleteConfig ──▶ AKO says Done, and the operator finds nothing ──▶ StatefulSet, then the rest (where the Cluster lives on), or the
//!     add-on Secret ──▶ user off AVI ──▶ hooks off ──▶ finalizer off
//! ```
//!
//! Each step shows in the objects, so a process that starts in the middle goes on there.

mod config_deletion;
pub(super) mod deadline;
mod definitions;
mod leave;
mod waits;

use std::time::Duration;

use jiff::Timestamp;
use operator_kit::Turn;

pub(super) use self::config_deletion::explain;
pub(super) use self::definitions::find_missing;
use self::definitions::{before_ako, beside_ako, with_kinds};
use self::leave::{drop_user, leave, let_go, tell, wait_for_record, withdraw};
use self::waits::{wait_for_end, wait_for_workload};
use super::report::{Report, leaving, report};
use super::seen::{Delivery, Difference, ObjectWrite, Obstacle, Pending, Seen, Set, State, Want, Workload};
use crate::api::reason;
use crate::delivery::{NAMESPACE, Target};
use crate::problem::Problem;
use crate::selection::Skip;
use crate::user::account::{Account, Step};

/// The reason of a workload cluster whose kubeconfig is missing.
const NO_KUBECONFIG: &str = "ClusterKubeconfigMissing";
/// How often a workload cluster is tried that cannot be read, beside its watch.
const AGAIN: Duration = Duration::from_secs(15);
/// How often what a person has to change is looked for where no watch shows it.
const SELDOM: Duration = Duration::from_mins(1);

/// What `apply` does.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Watches AKO's StatefulSet.
    Watch,
    /// Adds hooks to Machines and removes them, by name.
    Hook {
        /// Machines that get the hook.
        add: Vec<String>,
        /// Machines that lose it.
        remove: Vec<String>,
    },
    /// Writes objects, in this order.
    Apply(Vec<ObjectWrite>),
    /// Tells AKO to remove what it made.
    DeleteConfig {
        /// The StatefulSet, if it has an answer of an earlier time: that goes first.
        stale: Option<Target>,
        /// The writes from which AKO learns it.
        changes: Vec<ObjectWrite>,
    },
    /// Removes objects.
    Remove(Vec<Target>),
    /// Writes conditions of the Cluster.
    Report(Report),
    /// Does a step towards the user of the Cluster on AVI.
    Account(Step),
    /// Removes the user from AVI, then its Secret.
    RemoveUser {
        /// Whether a failure ends it, too.
        once: bool,
    },
    /// Removes what AKO left on AVI.
    Purge {
        /// Whether a failure ends it, too.
        once: bool,
    },
}

/// What a turn is about, where its conditions differ from those of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// AKO, which is to come, to stay or to leave.
    Ako,
    /// AKO that is to make nothing, as the label of the Cluster says.
    ConfigDeletion,
    /// AKO that serves nothing, as it waits for kinds, or is still to make nothing.
    Idle,
    /// The user of the Cluster on AVI, once what AKO made is gone.
    User,
    /// The pause of the Cluster.
    Pause,
}

/// A turn, and what it is about.
struct Decision {
    turn: Turn<Plan>,
    about: About,
}

impl From<Turn<Plan>> for Decision {
    fn from(turn: Turn<Plan>) -> Self {
        Self { turn, about: About::Ako }
    }
}

/// Decides what to do next. A turn that ends the pass is in the conditions of the Cluster before.
#[must_use]
pub fn decide(seen: &Seen, now: Timestamp) -> Turn<Plan> {
    let Decision { turn, about } = next(seen, now);
    match report(seen, &turn, about) {
        Some(report) => Turn::LookAgain(Plan::Report(report)),
        None => turn,
    }
}

/// Decides what to do next, apart from the conditions.
fn next(seen: &Seen, now: Timestamp) -> Decision {
    if !seen.is_deleting && !seen.hooks.unneeded.is_empty() {
        // Whatever else is the matter: a Machine that is deleted alone waits for this, and a rolling upgrade for the Machine.
        let remove = seen.hooks.unneeded.clone();
        return Turn::LookAgain(Plan::Hook { add: Vec::new(), remove }).into();
    }
    if seen.is_paused && (seen.is_held || seen.want != Want::Nothing) {
        let message = "the Cluster is paused: nothing is done until it is not".to_owned();
        let turn = Turn::Wait { reason: reason::PAUSED, message, after: None };
        return Decision { turn, about: About::Pause };
    }
    if seen.is_deleting || seen.want == Want::Nothing {
        let decision = match leave(seen, now).or_else(|| withdraw(seen)).or_else(|| wait_for_record(seen)) {
            Some(turn) => turn.into(),
            None => drop_user(seen).unwrap_or_else(|| let_go(seen).into()),
        };
        return begin_to_leave(seen, decision);
    }
    match &seen.want {
        Want::Kept(skip) => keep(seen, skip).into(),
        Want::Ako if !seen.is_held => wait_to_be_recorded(seen).into(),
        Want::Ako | Want::Nothing => deliver(seen, now),
    }
}

/// Says that AKO leaves a Cluster that lives on before anything is changed for that: what has begun goes on to its end, whatever selects the
/// Cluster then.
fn begin_to_leave(seen: &Seen, decision: Decision) -> Decision {
    let is_change = match &decision.turn {
        Turn::Act(plan) | Turn::LookAgain(plan) => {
            !matches!(plan, Plan::Watch | Plan::Report(_) | Plan::Hook { .. })
        }
        _ => false,
    };
    match leaving(seen).filter(|_| is_change) {
        Some(report) => Turn::LookAgain(Plan::Report(report)).into(),
        None => decision,
    }
}

/// Waits until the AKODeploymentConfig of a Cluster without the finalizer has recorded it: before that, nothing is made.
fn wait_to_be_recorded(seen: &Seen) -> Turn<Plan> {
    if matches!(seen.workload, Workload::NotInitialized) && seen.namesake.is_none() {
        return wait_for_control_plane();
    }
    find_obstacle(seen).map_or_else(wait_for_control_plane, explain_obstacle)
}

fn wait_for_control_plane() -> Turn<Plan> {
    let message = "the API server of the workload cluster has accepted no request yet".to_owned();
    Turn::Wait { reason: reason::CLUSTER_NOT_READY, message, after: None }
}

/// Decides about a Cluster that stays as it is.
fn keep(seen: &Seen, skip: &Skip) -> Turn<Plan> {
    let is_empty = match &seen.workload {
        Workload::Unread => true,
        // One with the finalizer was in a record, and has lost that and its status: AKO may run.
        Workload::NotInitialized => !seen.is_held,
        Workload::Closed { .. } => false,
        Workload::Open(state) => state.installed.is_empty(),
    };
    if *skip == Skip::Unrecorded && is_empty {
        // Its label went before anything was recorded.
        return let_go(seen);
    }
    if seen.is_held && !seen.hooks.missing.is_empty() {
        // It may have AKO, and a new Machine.
        return Turn::LookAgain(Plan::Hook { add: seen.hooks.missing.clone(), remove: Vec::new() });
    }
    let (reason, message) = (skip.reason(), skip.message());
    if skip.needs_help() {
        Turn::Blocked { reason, message }
    } else {
        Turn::Wait { reason, message, after: None }
    }
}

fn deliver(seen: &Seen, now: Timestamp) -> Decision {
    let hooks = &seen.hooks;
    if !hooks.missing.is_empty() {
        return Turn::LookAgain(Plan::Hook { add: hooks.missing.clone(), remove: Vec::new() }).into();
    }
    let state = match &seen.workload {
        Workload::Unread | Workload::NotInitialized => return wait_for_control_plane().into(),
        Workload::Closed { reason, message } => return wait_for_workload(seen, reason, message).into(),
        Workload::Open(state) => state,
    };
    if seen.needs_watch {
        return Turn::LookAgain(Plan::Watch).into();
    }
    if state.installed.set.as_ref().is_some_and(Set::is_ending) {
        return wait_for_end().into();
    }
    if let Some(decision) = config_deletion::of_installed(seen, state, now) {
        return decision;
    }
    match &state.delivery {
        Delivery::None => Turn::Settled.into(),
        Delivery::Refused(obstacle) => {
            // Another place, above all: whatever else is missing, that comes first.
            let lasts = |obstacle: &Obstacle| !matches!(obstacle, Obstacle::Brief(_) | Obstacle::Passing(_));
            let obstacle = find_obstacle(seen).filter(lasts).unwrap_or_else(|| obstacle.clone());
            config_deletion::hold_back(seen, state, &obstacle)
                .unwrap_or_else(|| hold_back(state, obstacle, false).into())
        }
        Delivery::Of(difference) => {
            let decision = complete(seen, state, difference);
            // An AKO of another place waits for what that one's AKODeploymentConfig says.
            if is_elsewhere(seen) { decision } else { with_kinds(&difference.definitions, decision) }
        }
    }
}

/// Decides how a workload cluster gets what it lacks.
fn complete(seen: &Seen, state: &State, difference: &Difference) -> Decision {
    if !difference.foreign.is_empty() {
        let names = difference.foreign.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let message = format!(
            "the workload cluster has an AKO that another program installed: remove it in order, then its objects: {names}"
        );
        return Turn::Blocked { reason: reason::AKO_OF_OTHERS, message }.into();
    }
    if let Some(obstacle) = find_obstacle(seen) {
        if let Some(decision) = config_deletion::hold_back(seen, state, &obstacle) {
            return decision;
        }
        // An AKO that runs goes on as it is: with wrong credentials it would lock the account.
        let is_behind = !difference.differing.is_empty();
        return beside_ako(&difference.definitions, hold_back(state, obstacle, is_behind)).into();
    }
    if let Some(decision) = config_deletion::before_delivery(seen, state) {
        return decision;
    }
    match &seen.account {
        Account::Do(step) => return Turn::LookAgain(Plan::Account(*step)).into(),
        Account::Refused(Problem { reason, message }) => {
            return Turn::Blocked { reason, message: message.clone() }.into();
        }
        Account::Waits(Problem { reason, message }, after) => {
            return Turn::Wait { reason, message: message.clone(), after: Some(*after) }.into();
        }
        Account::Ready | Account::Other => {}
    }
    if let Some(turn) = before_ako(&difference.definitions, state.installed.set.is_some()) {
        return turn.into();
    }
    if !difference.differing.is_empty() {
        return Turn::LookAgain(Plan::Apply(difference.differing.clone())).into();
    }
    if !difference.obsolete.is_empty() {
        return Turn::LookAgain(Plan::Remove(difference.obsolete.clone())).into();
    }
    if let Some(Pending { reason, message, is_watched }) = &difference.pending {
        let after = (!is_watched).then_some(AGAIN);
        return Turn::Wait { reason, message: message.clone(), after }.into();
    }
    beside_ako(&difference.definitions, check_pods(state)).into()
}

/// Decides whether an AKO that is as it is to be works.
fn check_pods(state: &State) -> Turn<Plan> {
    if state.installed.set.as_ref().is_none_or(|set| set.is_ready) {
        return Turn::Settled;
    }
    let message = format!(
        "no Pod of AKO is ready; if that lasts, look at the StatefulSet ako and its Pods in {NAMESPACE} of the workload cluster"
    );
    Turn::Wait { reason: reason::AKO_NOT_READY, message, after: None }
}

/// Returns why a delivery is held back.
fn find_obstacle(seen: &Seen) -> Option<Obstacle> {
    if let Some(taken) = find_namesake(seen) {
        return Some(taken);
    }
    if seen.is_service_missing {
        let message = "the Service of the management cluster's control plane does not exist yet, and without it AKO might give its address \
                       to another Service"
            .to_owned();
        return Some(Obstacle::Passing(Problem { reason: reason::SERVICE_MISSING, message }));
    }
    seen.offer.as_ref().err().cloned()
}

/// Returns whether AKO works at another place than the AKODeploymentConfig says that selects the Cluster.
fn is_elsewhere(seen: &Seen) -> bool {
    // What is at that other place is looked at before AKO leaves.
    let reasons = [reason::PLACE_CHANGED, reason::USER_TAKEN];
    seen.offer.as_ref().is_err_and(|obstacle| reasons.contains(&obstacle.problem().reason))
}

/// Returns why a Cluster gets no AKO whose name on AVI another one has.
fn find_namesake(seen: &Seen) -> Option<Obstacle> {
    let (other, name) = (seen.namesake.as_ref()?, &seen.avi_name);
    let message = format!(
        "the Cluster {other} has the same name on AVI as {name:?}, or its user has: give one of them another name"
    );
    Some(Obstacle::Lasting(Problem { reason: reason::NAME_TAKEN, message }))
}

/// Holds a delivery back. An AKO that is there is not changed by it. `is_behind`: it is not as it is to be.
fn hold_back(state: &State, obstacle: Obstacle, is_behind: bool) -> Turn<Plan> {
    let is_there = state.installed.set.is_some();
    match (obstacle, is_there) {
        (Obstacle::Brief(_), true) => check_pods(state),
        (Obstacle::Passing(_), true) if !is_behind => check_pods(state),
        (obstacle, _) => explain_obstacle(obstacle),
    }
}

fn explain_obstacle(obstacle: Obstacle) -> Turn<Plan> {
    match obstacle {
        Obstacle::Brief(Problem { reason, message }) | Obstacle::Passing(Problem { reason, message }) => {
            Turn::Wait { reason, message, after: None }
        }
        Obstacle::Lasting(Problem { reason, message }) => Turn::Blocked { reason, message },
        Obstacle::Unwatched(Problem { reason, message }) => {
            Turn::Wait { reason, message, after: Some(SELDOM) }
        }
    }
}

#[cfg(test)]
mod tests;
