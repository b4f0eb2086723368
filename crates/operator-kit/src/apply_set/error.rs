//! Why a set was not applied.

use super::Member;
use crate::error::{Disposition, classify_kube};

/// A field that another manager holds with another value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conflict {
    /// The other manager, as the API server names it.
    pub manager: String,
    /// The field, such as `.spec.replicas`.
    pub field: String,
}

/// Why a set was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// The Kubernetes API server refused a request or did not answer.
    #[error("{member}: {error}")]
    Kubernetes {
        /// The object.
        member: Member,
        /// The error.
        #[source]
        error: kube::Error,
    },
    /// The kind is not served by this cluster.
    #[error("{0}: the cluster does not serve this kind: install its CustomResourceDefinition first")]
    NotServed(Member),
    /// The object exists and belongs to something else.
    #[error(
        "{member} exists and belongs to {owner}: it is left alone; remove it, or rename the one of the set"
    )]
    NotOurs {
        /// The object.
        member: Member,
        /// Its owner.
        owner: String,
    },
    /// Other managers hold fields of the object with other values.
    #[error("{member}: {}: remove these fields from one of the two sources", list(.conflicts))]
    Conflicts {
        /// The object.
        member: Member,
        /// The fields.
        conflicts: Vec<Conflict>,
    },
}

crate::reasons! {
    /// The cluster does not serve a kind of the set.
    KIND_NOT_SERVED = "KindNotServed";
    /// An object of the set exists and belongs to something else.
    OBJECT_NOT_OURS = "ObjectNotOurs";
    /// Another field manager holds a field of the set with another value.
    FIELD_CONFLICT = "FieldConflict";
}

impl SetError {
    /// Returns reason and disposition, for an operator's [`ReconcileError::classify`](crate::ReconcileError::classify).
    #[must_use]
    pub fn classify(&self) -> (&'static str, Disposition) {
        match self {
            Self::Kubernetes { error, .. } => classify_kube(error),
            Self::NotServed(_) => (KIND_NOT_SERVED, Disposition::NEEDS_HELP),
            Self::NotOurs { .. } => (OBJECT_NOT_OURS, Disposition::NEEDS_HELP),
            Self::Conflicts { .. } => (FIELD_CONFLICT, Disposition::NEEDS_HELP),
        }
    }
}

fn list(conflicts: &[Conflict]) -> String {
    let text = conflicts.iter().map(|Conflict { manager, field }| format!("{manager} holds {field}"));
    text.collect::<Vec<_>>().join(", ")
}
