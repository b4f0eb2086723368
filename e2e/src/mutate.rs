//! Mutation, after Acto: what an operator does with each value that its CRDs let users write, or should not let them write.
//!
//! [`Mutation::all`] enumerates the changes of a sample's spec from the CRD's schema. It never talks to a server.

mod mutation;
mod rules;
mod schema;
#[cfg(test)]
mod tests;

pub use mutation::Mutation;
pub use schema::{Path, Place, Shape, Step, places, unset};
