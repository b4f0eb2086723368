//! What can go wrong in a reconcile, and what follows.

use infra_clients::{Class, Failure, avi, capi, vsphere};
use operator_kit::{Disposition, KitError, ReconcileError};

use crate::api::{AkoDeploymentConfigSpec, SecretRef, reason};

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
    /// Objects of a workload cluster are not as they were written, each time.
    #[error(
        "workload cluster: another program changes these objects again each time they are written: {0}: end that; they are written again \
         after some minutes"
    )]
    Reverted(String),
    /// AVI refused a request or did not answer.
    #[error("AVI: {error}: {}{about}", error.remedy())]
    Avi {
        /// What failed.
        error: avi::Error,
        /// Which fields and Secrets it is about; empty where that is not known.
        about: String,
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
    /// AVI has a user of the name that a new Cluster's is to have.
    #[error("{0}")]
    UserTaken(String),
    /// A Secret went while it was used.
    #[error("{0}")]
    Credentials(String),
}

impl Error {
    /// Names the fields of an AKODeploymentConfig, and its Secrets, that a failure of AVI is about.
    #[must_use]
    pub fn naming(self, spec: &AkoDeploymentConfigSpec) -> Self {
        let Self::Avi { error, .. } = self else { return self };
        let controller = format!("spec.controller is {:?}", spec.controller);
        let secret = |field: &str, SecretRef { namespace, name }: &SecretRef| {
            format!("spec.{field} names the Secret {namespace}/{name}")
        };
        let authority = secret("certificateAuthorityRef", &spec.certificate_authority_ref);
        let about = match error.kind() {
            avi::Kind::Config | avi::Kind::Tls => format!(" ({controller}; {authority})"),
            avi::Kind::Unreachable
            | avi::Kind::Timeout
            | avi::Kind::Unavailable
            | avi::Kind::Protocol
            | avi::Kind::Upgrading => format!(" ({controller})"),
            avi::Kind::Unauthorized => {
                format!(" ({})", secret("adminCredentialRef", &spec.admin_credential_ref))
            }
            _ => String::new(),
        };
        Self::Avi { error, about }
    }
}

impl From<avi::Error> for Error {
    fn from(error: avi::Error) -> Self {
        Self::Avi { error, about: String::new() }
    }
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
            Self::Avi { error, .. } => (error.reason(), disposition(error)),
            Self::Vcenter { error } => (error.reason(), disposition(error)),
            Self::PortGroupNotKept(_) => (reason::PORT_GROUP_NOT_KEPT, Disposition::TRANSIENT),
            Self::PortGroupInUse(_) => (reason::PORT_GROUP_IN_USE, Disposition::TRANSIENT),
            Self::NotKept(_) => (reason::NOT_KEPT, Disposition::TRANSIENT),
            Self::Reverted(_) => (reason::OBJECTS_REVERTED, Disposition::NEEDS_HELP),
            Self::Randomness(_) => (reason::NO_RANDOMNESS, Disposition::TRANSIENT),
            Self::PlaceMissing { reason, .. } => (reason, Disposition::NEEDS_HELP),
            Self::UserTaken(_) => (reason::USER_TAKEN, Disposition::NEEDS_HELP),
            Self::Credentials(_) => (reason::CREDENTIALS_MISSING, Disposition::NEEDS_HELP),
        }
    }

    fn reasons() -> Vec<&'static str> {
        let own = &[
            reason::CREDENTIALS_MISSING,
            reason::USER_TAKEN,
            reason::CLOUD_NOT_FOUND,
            reason::TENANT_NOT_FOUND,
            reason::NOT_KEPT,
            reason::OBJECTS_REVERTED,
            reason::NO_RANDOMNESS,
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

/// Returns whether AVI refuses what one object was asked for, or fails with it, and may grant what others are.
pub(crate) fn is_refused(error: &avi::Error) -> bool {
    use avi::Kind;
    let kinds =
        [Kind::Conflict, Kind::Stale, Kind::Invalid, Kind::Ambiguous, Kind::Forbidden, Kind::NotFound];
    // One object may have AVI fail, or not answer; where AVI fails with all, the rest says so.
    let fails = [Kind::Unavailable, Kind::Timeout].contains(&error.kind());
    fails || kinds.contains(&error.kind()) && !error.in_doubt()
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
    fn failures_of_avi_name_the_field_and_the_secret() {
        let secret = |name| serde_json::json!({"name": name, "namespace": "ns"});
        let spec: AkoDeploymentConfigSpec = serde_json::from_value(serde_json::json!({
            "controller": "avi:x", "cloudName": "c", "serviceEngineGroup": "g",
            "dataNetwork": {"name": "n", "cidr": "10.0.0.0/24"},
            "adminCredentialRef": secret("admin"), "certificateAuthorityRef": secret("ca"),
        }))
        .unwrap();
        let ca = " (spec.controller is \"avi:x\"; spec.certificateAuthorityRef names the Secret ns/ca)";
        for (kind, wanted) in [
            (avi::Kind::Config, ca),
            (avi::Kind::Tls, ca),
            (avi::Kind::Timeout, "between (spec.controller is \"avi:x\")"),
            (avi::Kind::Unauthorized, " (spec.adminCredentialRef names the Secret ns/admin)"),
            (avi::Kind::Conflict, "uses this one"),
        ] {
            let error = Error::from(avi::Error::new(kind, "as the test wants it")).naming(&spec).to_string();
            assert!(error.ends_with(wanted), "{error}");
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
