//! A model of the Cluster controller for the explorer, `crates/model`: the operator's own functions (what the caches say, the comparison of the
//! workload cluster, the decision, the conditions) between an API server, a workload cluster with AKO in it, and AVI, which are models.
//!
//! ```text
//! world ── states and labels      operator ── a pass of the operator, from a state to a turn
//! steps ── what may happen        check ── invariants and goal
//! ```

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, missing_docs, reason = "tests")]

mod check;
mod operator;
mod steps;
mod tests;
mod world;

use model::{Model, Step};

use operator::Operator;
use world::{Budget, Label, State};

/// The operator and its surroundings as a model.
pub struct Deletion {
    operator: Operator,
    /// What may happen beside the work of the system.
    budget: Budget,
}

impl Deletion {
    pub fn new(budget: Budget) -> Self {
        Self { operator: Operator::new(), budget }
    }
}

impl Model for Deletion {
    type State = State;
    type Label = Label;

    fn initial(&self) -> Vec<State> {
        vec![State::new(self.budget)]
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
        let State { cluster, machine, cached, is_recorded, is_unread, workload, avi, process, .. } = state;
        let (said, pending) = (self.operator.said(cluster.said), process.and_then(|process| process.pending));
        let pending = pending.map(|turn| format!("{:?}", self.operator.turn(turn)));
        format!(
            "cluster {cluster:?}\nsaid {said:?}\nmachine {machine:?}\ncached {cached:?}\nrecorded {is_recorded}, unread {is_unread}\nworkload {workload:?}\n\
             AVI {avi:?}\nprocess {process:?}\npending {pending:?}"
        )
    }
}
