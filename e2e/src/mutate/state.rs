//! How an operator answers a spec, and what exists then.

use std::fmt;

use crate::snapshot::Snapshot;

/// How an operator answers a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ready, and the outside is as the spec asks.
    Settled {
        /// Whether all of it is: see [`Rig::is_in_sync`](crate::Rig::is_in_sync).
        in_sync: bool,
    },
    /// Not Ready, for this reason.
    Explained(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled { in_sync: true } => f.write_str("settled"),
            Self::Settled { in_sync: false } => f.write_str("settled, with something of an earlier spec"),
            Self::Explained(reason) => f.write_str(reason),
        }
    }
}

/// What exists at rest.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// How the operator answers the object.
    pub(super) verdict: Verdict,
    /// Without versions, of which a changed object has had more than a new one.
    pub(super) facts: Snapshot,
}
