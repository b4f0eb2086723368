//! Explicit-state search: visits every state that a model can reach, and checks each.
//!
//! A [`Model`] has states and steps between them. A step is either a *fault*, which is anything that may happen and need not
//! (a crash, a lost response, an edit by a user), or it belongs to the system, which takes it within finite time. [`explore`]
//! finds the shortest way to
//!
//! - a state that is [broken](Model::broken),
//! - a *dead end*: a state outside the goal without a step of the system,
//! - a *livelock*: a cycle of the system's steps outside the goal that a fair scheduler may follow without end,
//! - an *unstable goal*: a step of the system that leaves the goal.
//!
//! Where there is none, the system reaches the goal and keeps it from every state, once faults have ended. That is eventually
//! stable reconciliation, and holds for every order of steps that the model has, not for a sample.
//!
//! Owns the search and its report, and knows no operator. The models are in the tests of each operator.

mod graph;
mod hash;
mod report;
mod search;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::hash::Hash;

pub use hash::{Map, Mixer};
pub use report::{Defect, Report, TraceStep, Violation, parse_total, print_total};
pub use search::explore;

/// One step from a state to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<S, L> {
    /// Whether the step may happen and need not. The system takes every other step unless it is disabled in between.
    pub is_fault: bool,
    /// What happens. The scheduler is fair to labels: one that is enabled from some state on is taken within finite time.
    pub label: L,
    /// The state after the step.
    pub next: S,
}

/// A system with finitely many states.
///
/// `steps` must return the same steps in the same order each time: a trace is found again by their numbers.
pub trait Model {
    /// Everything that decides what can happen next.
    type State: Clone + Eq + Hash;
    /// What a step is called. Steps of one label are one to the scheduler.
    type Label: Copy + Eq + Hash + Display;

    /// Returns the states in which the system may begin.
    fn initial(&self) -> Vec<Self::State>;

    /// Returns what may happen in a state.
    fn steps(&self, state: &Self::State) -> Vec<Step<Self::State, Self::Label>>;

    /// Returns which invariant a state violates.
    fn broken(&self, state: &Self::State) -> Option<String>;

    /// Returns whether the system is as it should be.
    fn goal(&self, state: &Self::State) -> bool;

    /// Describes a state for a trace, one fact in a line; a trace shows the lines that a step changed.
    fn describe(&self, state: &Self::State) -> String;
}
