//! What can go wrong in a reconcile, and what follows. Reasons and dispositions of a failing vCenter derive from the client's
//! own table.

use std::sync::Arc;

<<<<<<< HEAD
use infra_clients::vsphere::Error as Fault;
use infra_clients::{Class, Failure as _};
use operator_kit::{Disposition, Failure, ReconcileError};
=======
use infra_clients::Failure;
use infra_clients::vsphere::{self, Kind};
use operator_kit::error::{Disposition, ReconcileError};
>>>>>>> clients

use crate::api::{TaskKind, reason};

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every reconcile may fail with.
    #[error(transparent)]
    Kit(#[from] Failure),
    /// A request to the vCenter failed, or its task.
    #[error("{doing}: {fault}: {}", .fault.remedy())]
    VCenter {
        /// What was requested.
        doing: &'static str,
        /// What failed.
        fault: Arc<Fault>,
    },
    /// The template cannot be used.
    #[error("{0}: {}", .0.remedy())]
    Template(Arc<Fault>),
    /// A task ended well, and the machine is not as the task made it.
    #[error(
        "{0} ended well, but the virtual machine did not stay in that power state: look at its events in the vCenter; it is \
         tried again"
    )]
    Unstable(&'static str),
    /// A VmInstance of that name belongs to another group.
    #[error(
        "VmInstance {0} belongs to another group: wait until it is gone, or delete it if somebody created it by hand"
    )]
    Taken(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kit(error.into())
    }
}

impl ReconcileError for Error {
    fn classify(&self) -> (&'static str, Disposition) {
        match self {
<<<<<<< HEAD
            Self::Kit(failure) => failure.classify(),
            Self::VCenter { fault, .. } | Self::Template(fault) => (fault.reason(), disposition(fault)),
            Self::Unstable(_) => (reason::MACHINE_UNSTABLE, Disposition::TRANSIENT),
            Self::Taken(_) => (reason::WAITING_FOR_PREDECESSOR, Disposition::TRANSIENT),
=======
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
>>>>>>> clients
        }
    }
}

fn disposition(fault: &Fault) -> Disposition {
    let retry_after = fault.retry_after();
    match fault.class() {
        Class::Retry => Disposition::Transient { retry_after },
        Class::Refused | Class::NeedsHelp => Disposition::NeedsHelp { retry_after },
    }
}

/// The vCenter's name of what a task does, for messages.
#[must_use]
<<<<<<< HEAD
pub fn method(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Clone => "CloneVM_Task",
        TaskKind::PowerOn => "PowerOnVM_Task",
        TaskKind::PowerOff => "PowerOffVM_Task",
        TaskKind::Destroy => "Destroy_Task",
        TaskKind::Mark => "ReconfigVM_Task",
        TaskKind::Unknown => "a task of a newer operator",
=======
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
>>>>>>> clients
    }
}
