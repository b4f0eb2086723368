//! What decides whether AKO moves to another place.

use super::steps::Steps;
use super::world::{Label, State};

/// Returns whether AKO has a reason to begin to leave for another place.
pub(super) fn may_move(state: &State) -> bool {
    let (cluster, workload, others) = (state.cached.0, state.workload, state.others);
    let is_possible = !others.is_unready && !others.is_namesake;
    let works_here = workload.config.is_some() && !workload.is_first;
    cluster.is_asked && is_possible && (!works_here || others.has_recorded)
}

/// Adds what people, other Clusters and a restore do about it.
/// `is_with_ako`: as its condition says.
pub(super) fn move_steps(state: &State, is_with_ako: bool, steps: &mut Steps<'_>) {
    let (cluster, others) = (state.cluster, state.others);
    let lives = cluster.exists && !cluster.is_deleting;
    let is_unrecorded = cluster.is_held && !state.is_recorded && !others.has_recorded;
    let (has_config, has_set) = (state.workload.config.is_some(), state.workload.set.is_some());
    // As the condition asks for: after what AKO made was removed by hand, and its StatefulSet.
    let may_ask = lives && (has_config || !has_set || !is_unrecorded);
    steps.fault(
        |left| &mut left.moves,
        may_ask,
        Label::UserAsks,
        |next| {
            next.cluster.is_asked ^= true;
            if is_unrecorded && !has_config {
                remove_by_hand(next);
            }
        },
    );
    // An annotation that is left has the next AKODeploymentConfig take over what has no AKO.
    let may_be_lost = lives && (!cluster.is_asked || has_config);
    steps.fault(
        |left| &mut left.losses,
        may_be_lost,
        Label::RecordLost,
        |next| {
            (next.is_recorded, next.others.has_recorded) = (false, false);
        },
    );
    // No pass that began before says that AKO is not installed.
    let is_quiet = state.is_cached() && state.process.is_some_and(|process| process.pending.is_none());
    steps.fault(
        |left| &mut left.strips,
        lives && is_with_ako && cluster.is_held && !cluster.is_paused && is_quiet,
        Label::FinalizerTaken,
        |next| {
            (next.cluster.is_held, next.cached.0.is_held) = (false, false);
        },
    );
    // As the condition asks for, with its Secret, and what AKO may have left.
    let is_user = is_unrecorded && !has_set;
    steps.fault(|left| &mut left.moves, is_user, Label::UserRemovesUser, remove_by_hand);
    loss_steps(state, is_with_ako, steps);
}

/// Adds the loss of the status, and what keeps AKO from coming.
fn loss_steps(state: &State, is_with_ako: bool, steps: &mut Steps<'_>) {
    let (cluster, others) = (state.cluster, state.others);
    let lives = cluster.exists && !cluster.is_deleting;
    // As where it is restored.
    let is_stripped = is_with_ako && !cluster.is_held;
    let is_said =
        lives && cluster.is_labelled && (cluster.is_initialized || cluster.said != 0) && !is_stripped;
    steps.fault(
        |left| &mut left.losses,
        is_said,
        Label::StatusLost,
        |next| {
            (next.cluster.is_initialized, next.cluster.said) = (false, 0);
        },
    );
    steps.fault(
        |left| &mut left.unready,
        !others.is_unready,
        Label::ConfigIsUnready,
        |next| {
            next.others.is_unready = true;
        },
    );
    // A Cluster that is recorded keeps its name.
    let may_come = !others.is_namesake && !state.is_recorded && !others.has_recorded;
    steps.fault(
        |left| &mut left.namesakes,
        may_come,
        Label::NamesakeComes,
        |next| {
            next.others.is_namesake = true;
        },
    );
}

fn remove_by_hand(next: &mut State) {
    (next.avi.has_user, next.first.has_user) = (false, false);
    (next.avi.has_objects, next.first.has_objects) = (false, false);
}
