//! What can go wrong in a reconcile, and what that means for the object.

use std::sync::Arc;
use std::time::Duration;

use infra_clients::Failure;
use infra_clients::vsphere::{self, Kind};
use operator_kit::error::{Disposition, ReconcileError};

use crate::api::reason;

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API server refused or did not answer.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    /// A vCenter call or task failed.
    #[error("{0}")]
    VCenter(Arc<vsphere::Error>),
    /// The template cannot be told.
    #[error("{0}")]
    Template(Arc<vsphere::Error>),
    /// Somebody must act before this object can be as asked; its status says what.
    #[error("{message}")]
    NeedsHelp {
        /// One of [`reason`].
        reason: &'static str,
        /// What to do.
        message: String,
    },
    /// Something is not there yet.
    #[error("{message}")]
    Wait {
        /// One of [`reason`].
        reason: &'static str,
        /// What is awaited.
        message: String,
        /// When to look again. None: an event tells.
        after: Option<Duration>,
    },
    /// Another replica leads now.
    #[error("not the leader: {0}")]
    NotLeader(#[from] operator_kit::lease::NotLeader),
    /// The object lacks what the API server always gives it.
    #[error("the object has no {0}")]
    Incomplete(&'static str),
}

impl From<vsphere::Error> for Error {
    fn from(error: vsphere::Error) -> Self {
        Self::VCenter(Arc::new(error))
    }
}

impl ReconcileError for Error {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Kubernetes(error) => operator_kit::error::kubernetes(error),
            Self::Wait { after, .. } => Disposition::Wait { after: *after },
            // A template may be uploaded at any time, and looking is one call.
            Self::NotLeader(_) | Self::Incomplete(_) | Self::Template(_) => Disposition::TRANSIENT,
            Self::NeedsHelp { .. } => Disposition::Permanent,
            Self::VCenter(error) => match error.kind() {
                Kind::Unauthorized => Disposition::Auth,
                Kind::Forbidden | Kind::Invalid | Kind::NotSupported => Disposition::Permanent,
                _ => Disposition::TRANSIENT,
            },
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes(_) | Self::Incomplete(_) => reason::KUBERNETES_API,
            Self::NotLeader(_) => reason::NOT_LEADER,
            Self::NeedsHelp { reason, .. } | Self::Wait { reason, .. } => reason,
            Self::Template(error) => match error.kind() {
                Kind::NotFound => reason::TEMPLATE_NOT_FOUND,
                Kind::Ambiguous => reason::TEMPLATE_AMBIGUOUS,
                _ => vcenter_reason(error),
            },
            Self::VCenter(error) => vcenter_reason(error),
        }
    }
}

/// The reason for a vCenter error, whether of a call, a task or the link.
#[must_use]
pub fn vcenter_reason(error: &vsphere::Error) -> &'static str {
    match error.kind() {
        Kind::Unreachable | Kind::Timeout | Kind::Unavailable | Kind::Protocol => reason::VCENTER_UNREACHABLE,
        Kind::Tls => reason::VCENTER_CERTIFICATE_REFUSED,
        Kind::Unauthorized => reason::VCENTER_LOGIN_REFUSED,
        Kind::Config | Kind::Ambiguous => reason::VCENTER_PLACEMENT_UNCLEAR,
        Kind::Forbidden => reason::PERMISSION_DENIED,
        Kind::DuplicateName => reason::NAME_CONFLICT,
        Kind::NoResources => reason::NO_RESOURCES,
        Kind::Busy => reason::BUSY,
        _ => reason::VCENTER_FAULT,
    }
}

/// What an administrator of this operator can do about a vCenter that is out of sight.
#[must_use]
pub fn advice(error: &vsphere::Error) -> &'static str {
    match error.kind() {
        Kind::Unreachable | Kind::Timeout | Kind::Unavailable | Kind::Protocol => {
            "check VC_HOST, the network and the vCenter; it is tried again"
        }
        Kind::Tls => "set VC_CA_FILE or VC_THUMBPRINT; for a lab, --insecure",
        Kind::Unauthorized => "correct VC_USER and VC_PASS in the Secret vc-creds and restart the operator",
        Kind::Config | Kind::Ambiguous => "choose with VC_DATACENTER and VC_RESOURCE_POOL",
        _ => error.remedy(),
    }
}
