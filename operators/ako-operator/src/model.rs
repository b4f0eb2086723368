//! A model of the Cluster controller for the explorer, `crates/model`: the operator's own functions (what the caches say, the comparison of the
//! workload cluster, the decision, the conditions) between an API server, a workload cluster with AKO in it, and AVI, which are models.
//!
//! ```text
//! world ── states and labels      operator ── a pass of the operator, from a state to a turn
//! steps ── what may happen        check ── invariants and goal
//! ```

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs, reason = "tests")]

mod check;
mod moves;
mod operator;
mod steps;
mod tests;
mod world;

use model::{Model, Step};

use operator::Operator;
use world::{Label, State};

/// The operator and its surroundings as a model.
pub struct Deletion {
    operator: Operator,
    /// Where it begins.
    begin: State,
}

impl Deletion {
    pub fn new(mut begin: State) -> Self {
        let operator = Operator::new();
        if begin.workload.set.is_some() {
            begin.cluster.said = operator.installed();
            begin.cached.0 = begin.cluster;
        }
        Self { operator, begin }
    }
}

impl Model for Deletion {
    type State = State;
    type Label = Label;

    fn initial(&self) -> Vec<State> {
        vec![self.begin.clone()]
    }

    fn steps(&self, state: &State) -> Vec<Step<State, Label>> {
        // What must never happen is reported once.
        if state.wrong.is_some() { Vec::new() } else { self.all_steps(state) }
    }

    fn broken(&self, state: &State) -> Option<String> {
        state.wrong.map(|wrong| wrong.to_string())
    }

    fn goal(&self, state: &State) -> bool {
        self.is_goal(state)
    }

    fn describe(&self, state: &State) -> String {
        let State {
            cluster,
            machine,
            cached,
            is_recorded,
            is_unread,
            others,
            workload,
            avi,
            first,
            process,
            ..
        } = state;
        let (said, pending) = (self.operator.said(cluster.said), process.and_then(|process| process.pending));
        let pending = pending.map(|turn| format!("{:?}", self.operator.turn(turn)));
        format!(
            "cluster {cluster:?}\nsaid {said:?}\nmachine {machine:?}\ncached {cached:?}\nrecorded {is_recorded}, unread {is_unread}, others {others:?}\nworkload {workload:?}\n\
             AVI {avi:?}, first {first:?}\nprocess {process:?}\npending {pending:?}"
        )
    }
}
