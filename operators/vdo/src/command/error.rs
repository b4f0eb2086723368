//! Why a command fails.

use infra_clients::SettingError;

/// Why a command fails. Formats with what to do.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// What the operator fails with as well.
    #[error(transparent)]
    Operator(Box<crate::error::Error>),
    /// The cluster is not reached.
    #[error(transparent)]
    Kit(Box<operator_kit::Error>),
    /// The kinds of the operator do not exist.
    #[error("the cluster has no kind {0}: install vdo first, or choose another cluster with --context")]
    NotInstalled(String),
    /// No object is meant.
    #[error("{0}: create one, or correct the name")]
    NothingAsked(String),
    /// What the user wrote cannot be used.
    #[error("{0}")]
    Usage(String),
    /// Downloads cannot be set up.
    #[error("downloads: {0}")]
    Downloads(#[from] SettingError),
    /// A bug.
    #[error("a bug of vdo, please report it: {0}")]
    Internal(String),
    /// The output cannot be written.
    #[error("the output: {0}")]
    Output(#[from] std::io::Error),
}

impl From<crate::error::Error> for Error {
    fn from(error: crate::error::Error) -> Self {
        Self::Operator(Box::new(error))
    }
}

impl From<operator_kit::Error> for Error {
    fn from(error: operator_kit::Error) -> Self {
        Self::Kit(Box::new(error))
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        crate::error::Error::from(error).into()
    }
}

impl From<operator_kit::apply_set::SetError> for Error {
    fn from(error: operator_kit::apply_set::SetError) -> Self {
        crate::error::Error::from(error).into()
    }
}

impl From<prometheus::Error> for Error {
    fn from(error: prometheus::Error) -> Self {
        Self::Internal(error.to_string())
    }
}
