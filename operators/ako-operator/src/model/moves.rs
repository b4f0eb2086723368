//! What decides whether AKO moves to another place.

use super::steps::Steps;
use super::world::{Label, State};

/// Returns whether AKO has a reason to begin to leave for another place.
pub(super) fn may_move(state: &State) -> bool {
    let (cluster, workload, others) = (state.cached.0, state.workload, state.others);
    let is_there = workload.set.is_some() || workload.config.is_some() || workload.has_rest;
    let is_possible = !others.is_unready && !others.is_namesake;
    let works_here = workload.config.is_some() && !workload.is_first;
    let is_empty = !is_there && others.has_recorded;
    is_empty || cluster.is_asked && is_possible && (!works_here || others.has_recorded)
}

/// Adds what people, other Clusters and a restore do about it.
pub(super) fn move_steps(state: &State, steps: &mut Steps<'_>) {
    let (cluster, others) = (state.cluster, state.others);
    let lives = cluster.exists && !cluster.is_deleting;
    steps.fault(|left| &mut left.moves, lives, Label::UserAsks, |next| next.cluster.is_asked ^= true);
    steps.fault(
        |left| &mut left.losses,
        lives,
        Label::RecordLost,
        |next| {
            (next.is_recorded, next.others.has_recorded) = (false, false);
        },
    );
    // As where it is restored.
    let is_said = lives && cluster.is_labelled && (cluster.is_initialized || cluster.said != 0);
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
    // As the condition asks for, with its Secret, and what AKO may have left.
    let is_unrecorded = cluster.is_held && !state.is_recorded && !others.has_recorded;
    let is_user = is_unrecorded && state.workload.set.is_none();
    steps.fault(
        |left| &mut left.moves,
        is_user,
        Label::UserRemovesUser,
        |next| {
            (next.avi.has_user, next.first.has_user) = (false, false);
            (next.avi.has_objects, next.first.has_objects) = (false, false);
        },
    );
}
