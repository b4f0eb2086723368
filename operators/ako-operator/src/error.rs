//! What can go wrong in a reconcile, and what follows.

use infra_clients::{Class, Failure, avi, capi, vsphere};
use operator_kit::{Disposition, KitError, ReconcileError};

use crate::api::reason;

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
    /// AVI refused a request or did not answer.
    #[error("AVI: {error}: {}", error.remedy())]
    Avi {
        /// What failed.
        #[from]
        error: avi::Error,
    },
    /// A vCenter refused a request or did not answer.
    #[error("vCenter: {error}: {}", error.remedy())]
    Vcenter {
        /// What failed.
        #[from]
        error: vsphere::Error,
    },
    /// A vCenter has not kept a change.
    #[error(
        "vCenter does not keep what the operator writes, or another client reverts it: {0}: look at the tasks of the port group; it is \
         tried again"
    )]
    PortGroupNotKept(String),
    /// A port group that is to be removed is in use.
    #[error("{0}")]
    PortGroupInUse(String),
    /// AVI refuses to remove a tenant.
    #[error("AVI refuses to remove the tenant {0}: remove what is in it; it is tried again")]
    TenantInUse(String),
    /// AVI has not kept a change.
    #[error(
        "AVI does not keep what the operator writes, or another client reverts it: {0}: look who writes these objects; it is tried again"
    )]
    NotKept(String),
    /// The operating system has no randomness for a password.
    #[error("the operating system gives no random bytes for a password: {0}; it is tried again")]
    Randomness(getrandom::Error),
    /// AVI does not have the cloud or the tenant where AKO worked, and what AKO made is elsewhere.
    #[error("{message}")]
    PlaceMissing {
        /// What is missing.
        reason: &'static str,
        /// What was found, and what to do.
        message: String,
    },
    /// A Secret went while it was used.
    #[error("{0}")]
    Credentials(String),
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
            Self::Workload { error } => (error.reason(), disposition(error)),
            Self::Avi { error } => (error.reason(), disposition(error)),
            Self::Vcenter { error } => (error.reason(), disposition(error)),
            Self::PortGroupNotKept(_) => (reason::PORT_GROUP_NOT_KEPT, Disposition::TRANSIENT),
            Self::PortGroupInUse(_) => (reason::PORT_GROUP_IN_USE, Disposition::TRANSIENT),
            Self::TenantInUse(_) => (reason::TENANT_IN_USE, Disposition::TRANSIENT),
            Self::NotKept(_) => (reason::NOT_KEPT, Disposition::TRANSIENT),
            Self::Randomness(_) => (reason::NO_RANDOMNESS, Disposition::TRANSIENT),
            Self::PlaceMissing { reason, .. } => (reason, Disposition::NEEDS_HELP),
            Self::Credentials(_) => (reason::CREDENTIALS_MISSING, Disposition::NEEDS_HELP),
        }
    }

    fn reasons() -> Vec<&'static str> {
        let own = &[
            reason::CREDENTIALS_MISSING,
            reason::CLOUD_NOT_FOUND,
            reason::TENANT_NOT_FOUND,
            reason::NOT_KEPT,
            reason::NO_RANDOMNESS,
            reason::TENANT_IN_USE,
            reason::PORT_GROUP_NOT_KEPT,
            reason::PORT_GROUP_IN_USE,
        ];
        [capi::REASONS, avi::REASONS, vsphere::REASONS, own].concat()
    }
}

fn disposition(error: &impl Failure) -> Disposition {
    let retry_after = error.retry_after();
    match error.class() {
        Class::Retry => Disposition::Transient { retry_after },
        Class::Refused | Class::NeedsHelp => Disposition::NeedsHelp { retry_after },
    }
}

#[cfg(test)]
mod tests {
    use infra_clients::capi::Kind;

    use super::*;

    #[test]
    fn failures_of_avi_keep_their_reason() {
        for (kind, reason, disposition) in [
            (avi::Kind::Unreachable, "AviUnreachable", Disposition::TRANSIENT),
            (avi::Kind::Unauthorized, "AviLoginRefused", Disposition::NEEDS_HELP),
        ] {
            let error = Error::from(avi::Error::new(kind, "as the test wants it"));
            assert_eq!(error.classify(), (reason, disposition));
            assert!(Error::reasons().contains(&reason));
            assert!(error.to_string().starts_with("AVI: as the test wants it: "), "{error}");
        }
    }

    #[test]
    fn failures_of_a_vcenter_keep_their_reason() {
        for (kind, reason, disposition) in [
            (vsphere::Kind::Outdated, "Busy", Disposition::TRANSIENT),
            (vsphere::Kind::Forbidden, "PermissionDenied", Disposition::NEEDS_HELP),
        ] {
            let error = Error::from(vsphere::Error::new(kind, "as the test wants it"));
            assert_eq!(error.classify(), (reason, disposition));
            assert!(Error::reasons().contains(&reason));
        }
        let in_use = Error::PortGroupInUse("by a".into());
        assert_eq!(in_use.classify(), ("PortGroupInUse", Disposition::TRANSIENT));
    }

    #[test]
    fn a_tenant_that_is_in_use_is_tried_again() {
        let error = Error::TenantInUse("t: of a test".into());
        assert_eq!(error.classify(), ("AviTenantInUse", Disposition::TRANSIENT));
        assert!(Error::reasons().contains(&error.classify().0));
    }

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
