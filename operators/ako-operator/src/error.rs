//! What can go wrong in a reconcile, and what follows.

use infra_clients::{Class, Failure as _, capi};
use operator_kit::{Disposition, KitError, ReconcileError};

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every reconcile may fail with.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// A workload cluster refused a request or did not answer.
    #[error("workload cluster: {error}: {}", error.remedy())]
    Workload {
        /// What failed.
        #[from]
        error: capi::Error,
    },
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kit(error.into())
    }
}

impl ReconcileError for Error {
    fn classify(&self) -> (&'static str, Disposition) {
        match self {
            Self::Kit(error) => error.classify(),
            Self::Workload { error } => {
                let retry_after = error.retry_after();
                let disposition = match error.class() {
                    Class::Retry => Disposition::Transient { retry_after },
                    Class::Refused | Class::NeedsHelp => Disposition::NeedsHelp { retry_after },
                };
                (error.reason(), disposition)
            }
        }
    }

    fn reasons() -> Vec<&'static str> {
        capi::REASONS.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use infra_clients::capi::Kind;

    use super::*;

    #[test]
    fn failures_of_a_workload_cluster_keep_their_reason() {
        for (kind, reason, disposition) in [
            (Kind::Unreachable, "ClusterUnreachable", Disposition::TRANSIENT),
            (Kind::Forbidden, "ClusterPermissionDenied", Disposition::NEEDS_HELP),
        ] {
            let error = Error::from(capi::Error::new(kind, "as the test wants it"));
            assert_eq!(error.classify(), (reason, disposition));
            assert!(Error::reasons().contains(&reason));
        }
    }
}
