//! What can go wrong in a reconcile, and what follows.

use infra_clients::{Class, Failure, vsphere};
use operator_kit::apply_set::{self, SetError};
use operator_kit::{Disposition, KitError, ReconcileError};

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every reconcile may fail with.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// A vCenter refused a request or did not answer.
    #[error("{error}: {}", error.remedy())]
    Vcenter {
        /// What failed.
        #[from]
        error: vsphere::Error,
    },
    /// Objects of a driver cannot be applied or removed.
    #[error(transparent)]
    Set(#[from] SetError),
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
            Self::Set(error) => error.classify(),
            Self::Vcenter { error } => {
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
        [vsphere::REASONS, apply_set::ALL].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_a_vcenter_keep_their_reason() {
        for (kind, reason, disposition) in [
            (vsphere::Kind::Unreachable, "VCenterUnreachable", Disposition::TRANSIENT),
            (vsphere::Kind::Unauthorized, "VCenterLoginRefused", Disposition::NEEDS_HELP),
        ] {
            let error = Error::from(vsphere::Error::new(kind, "as the test wants it"));
            assert_eq!(error.classify(), (reason, disposition));
            assert!(Error::reasons().contains(&reason));
            assert!(error.to_string().starts_with("as the test wants it: "), "{error}");
        }
    }
}
