//! Mutation, after Acto: what an operator does with each value that its CRDs let users write, or should not let them write.
//!
//! Owns the values, the oracle and the choice of cases; knows an operator by its [`Rig`](crate::Rig) only.
//!
//! ```text
//!  CRD, sample ──▶ schema ──▶ rules ──▶ Mutation ─┐
//!                                       Scenario ─┼─▶ suite ──▶ Lane (judge, revert, from scratch) ──▶ Report
//!                                       walk ─────┘
//! ```

mod lane;
mod mutation;
mod rules;
mod scenario;
mod schema;
mod state;
mod suite;
#[cfg(test)]
mod tests;
mod walk;

pub use mutation::Mutation;
pub use scenario::Scenario;
pub use schema::{Path, Place, Shape, Step, places, unset};
pub use state::Verdict;
pub use suite::{Case, Catalogue, Report, catalogues, each_value_is_answered, run};
