//! Why a file cannot be used: where it is, what is wrong, and what to do.

use infra_clients::download;
use infra_clients::{Class, Failure};

use crate::api::reason;
use crate::plan::Hold;

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be downloaded.
    #[error("{0}: {remedy}", remedy = .0.remedy())]
    Download(#[from] download::Error),
    /// It has another checksum.
    #[error(
        "{of} has the SHA-256 {found}, not {wanted}: look at what has changed, and write the new checksum only if the file is right"
    )]
    Checksum {
        /// Where it is.
        of: String,
        /// Its checksum.
        found: String,
        /// The checksum that it must have.
        wanted: String,
    },
    /// It is no text.
    #[error("{of} cannot be used, as {why}: name the manifest or matrix itself, not an archive")]
    Unusable {
        /// Where it is.
        of: String,
        /// What is wrong.
        why: String,
    },
    /// A ConfigMap does not have it.
    #[error("the ConfigMap {namespace}/{name} {why}: create it, or correct the source")]
    ConfigMap {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is missing.
        why: String,
    },
    /// A directory does not have it.
    #[error("{of} cannot be read ({why}): mount the directory with the file, or correct the source")]
    File {
        /// Where it is.
        of: String,
        /// What is wrong.
        why: String,
    },
    /// The Secret for registries cannot be used.
    #[error("the pull Secret {namespace}/{name} cannot be used, as {why}")]
    PullSecret {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The API server refuses something, or does not answer.
    #[error("cannot {what}: {error}")]
    Kube {
        /// What was tried.
        what: &'static str,
        /// What it says.
        error: Box<kube::Error>,
    },
}

impl Error {
    pub(super) fn kube(what: &'static str) -> impl Fn(kube::Error) -> Self {
        move |error| Self::Kube { what, error: Box::new(error) }
    }

    /// Returns whether it may succeed without help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Download(error) => error.class() == Class::Retry,
            Self::Kube { .. } => true,
            _ => false,
        }
    }

    /// Returns why a driver is left as it is.
    #[must_use]
    pub fn hold(&self) -> Hold {
        let reason = if self.is_transient() { reason::FILE_UNREACHABLE } else { reason::FILE_UNUSABLE };
        Hold { reason, message: self.to_string() }
    }
}
