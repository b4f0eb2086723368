//! What can go wrong in a reconcile, and what follows. Reasons and dispositions of a failing vCenter derive from the client's
//! own table.

use infra_clients::vsphere::{self, Error as Fault};
use infra_clients::{Class, Failure as _};
use operator_kit::{Disposition, KitError, ReconcileError};

use crate::api::{TaskKind, reason};

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What every reconcile may fail with.
    #[error(transparent)]
    Kit(#[from] KitError),
    /// A request to the vCenter failed, or its task.
    #[error("{}{}", prefix(doing, fault), with_remedy(fault))]
    VCenter {
        /// What was requested.
        doing: &'static str,
        /// What failed.
        fault: Fault,
    },
    /// The template cannot be used.
    #[error("{}", with_remedy(fault))]
    Template {
        /// What failed.
        fault: Fault,
    },
    /// A task ended well, and the machine is not as the task made it.
    #[error(
        "{0} ended well, but the vCenter does not show the virtual machine as it should be then: look at its events in the \
         vCenter; it is tried again"
    )]
    Unstable(&'static str),
    /// Nothing can be created in a namespace that is being deleted.
    #[error(
        "the namespace is being deleted, so no VmInstance can be created in it, not even to adopt a virtual machine: annotate the VmGroup \
         with vm.codeconnect.vmworld.com/detach=true to leave its machines, or remove them in the vCenter"
    )]
    NamespaceTerminating,
    /// A VmInstance of that name is not the group's.
    #[error(
        "VmInstance {0:?} belongs to another group or is a copy: wait until it is gone, or delete it if it was created by hand"
    )]
    Taken(String),
    /// A VmInstance of that name does not parse.
    #[error(
        "VmInstance {0:?} has the name of one of the group's, and does not parse: {1}; correct it, or remove it with kubectl delete vgi \
         {0} and its finalizers with kubectl edit, which leaves its virtual machine"
    )]
    Unreadable(String, String),
}

/// Returns the name of the request, unless the failure begins with it.
fn prefix(doing: &str, fault: &Fault) -> String {
    if fault.method().is_some() { String::new() } else { format!("{doing}: ") }
}

/// Returns what failed and what to do. A text may end with a question: which other template is meant.
fn with_remedy(fault: &Fault) -> String {
    let text = fault.to_string();
    let colon = if text.ends_with('?') { "" } else { ":" };
    format!("{text}{colon} {}", fault.remedy())
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kit(error.into())
    }
}

impl ReconcileError for Error {
    fn reasons() -> Vec<&'static str> {
        let own = [
            reason::INVALID_INSTANCE,
            reason::MACHINE_UNSTABLE,
            reason::NAMESPACE_TERMINATING,
            reason::WAITING_FOR_PREDECESSOR,
        ];
        [vsphere::REASONS, &own].concat()
    }

    fn classify(&self) -> (&'static str, Disposition) {
        match self {
            Self::Kit(failure) => failure.classify(),
            Self::VCenter { fault, .. } | Self::Template { fault } => (fault.reason(), disposition(fault)),
            Self::Unstable(_) => (reason::MACHINE_UNSTABLE, Disposition::TRANSIENT),
            Self::NamespaceTerminating => (reason::NAMESPACE_TERMINATING, Disposition::NEEDS_HELP),
            Self::Taken(_) => (reason::WAITING_FOR_PREDECESSOR, Disposition::TRANSIENT),
            Self::Unreadable(..) => (reason::INVALID_INSTANCE, Disposition::NEEDS_HELP),
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

/// Returns the vCenter's name of what a task does, for messages.
#[must_use]
pub fn method(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Clone => "CloneVM_Task",
        TaskKind::PowerOn => "PowerOnVM_Task",
        TaskKind::PowerOff => "PowerOffVM_Task",
        TaskKind::Destroy => "Destroy_Task",
        TaskKind::Mark => "ReconfigVM_Task",
        TaskKind::Unknown => "a task of a newer operator",
    }
}

#[cfg(test)]
mod tests {
    use infra_clients::vsphere::Kind;

    use super::*;

    /// Reason, and whether a person has to act, for every kind of failure of the vCenter.
    #[test]
    fn every_failure_of_the_vcenter_has_a_reason_and_a_remedy() {
        let rows = [
            (Kind::Config, "VCenterPlacementUnclear", true),
            (Kind::Unreachable, "VCenterUnreachable", false),
            (Kind::Tls, "VCenterCertificateRefused", true),
            (Kind::Timeout, "VCenterUnreachable", false),
            (Kind::Unavailable, "VCenterUnreachable", false),
            (Kind::RateLimited, "Busy", false),
            (Kind::Unauthorized, "VCenterLoginRefused", true),
            (Kind::SessionEnded, "VCenterSessionEnded", false),
            (Kind::AnotherVCenter, "AnotherVCenter", true),
            (Kind::RootFolderMoved, "VCenterRootFolderMoved", true),
            (Kind::RootFolderUnknown, "VCenterRootFolderMoved", true),
            (Kind::Forbidden, "PermissionDenied", true),
            (Kind::NotFound, "VCenterObjectNotFound", false),
            (Kind::Ambiguous, "VCenterPlacementUnclear", true),
            (Kind::DuplicateName, "NameConflict", true),
            (Kind::InvalidPowerState, "Busy", false),
            (Kind::Busy, "Busy", false),
            (Kind::InUse, "Busy", false),
            (Kind::Outdated, "Busy", false),
            (Kind::NoResources, "NoResources", true),
            (Kind::Invalid, "VCenterRequestInvalid", true),
            (Kind::NotSupported, "VCenterRequestInvalid", true),
            (Kind::Canceled, "VCenterFault", false),
            (Kind::Fault, "VCenterFault", false),
            (Kind::Protocol, "VCenterUnreachable", false),
            (Kind::AnswerTooLarge, "VCenterUnreachable", false),
        ];
        assert_eq!(rows.map(|(kind, ..)| kind), Kind::ALL);
        for (kind, reason, needs_help) in rows {
            let fault = Fault::new(kind, "as the test wants it");
            let (remedy, doing) = (fault.remedy(), "CloneVM_Task");
            assert!(!remedy.is_empty(), "{kind:?}");
            let disposition = if needs_help { Disposition::NEEDS_HELP } else { Disposition::TRANSIENT };
            let template = Error::Template { fault: fault.clone() };
            let request = Error::VCenter { doing, fault };
            assert_eq!(template.to_string(), format!("as the test wants it: {remedy}"), "{kind:?}");
            assert_eq!(request.to_string(), format!("{doing}: as the test wants it: {remedy}"), "{kind:?}");
            for error in [template, request] {
                assert!(Error::reasons().contains(&reason), "{kind:?} is counted from the start");
                assert_eq!(error.classify(), (reason, disposition), "{kind:?}");
                // A group shows the trouble of its instances under the same reason.
                assert_eq!(reason::needs_help(reason), needs_help, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_question_is_followed_by_no_colon() {
        let fault = Fault::new(Kind::NotFound, "no template \"a\"; did you mean \"A\"?");
        let text = Error::Template { fault }.to_string();
        assert!(text.starts_with("no template \"a\"; did you mean \"A\"? check the name"), "{text}");
    }

    #[test]
    fn failures_that_are_not_the_vcenters() {
        let rows = [
            (Error::Unstable("PowerOnVM_Task"), "MachineUnstable", false, "look at its events"),
            (Error::NamespaceTerminating, "NamespaceTerminating", true, "detach=true"),
            (Error::Taken("web-0".into()), "WaitingForPredecessor", false, "\"web-0\""),
            (
                Error::Unreadable("web-0".into(), "spec: no".into()),
                "InvalidInstance",
                true,
                "does not parse: spec: no; correct",
            ),
        ];
        for (error, reason, needs_help, text) in rows {
            let disposition = if needs_help { Disposition::NEEDS_HELP } else { Disposition::TRANSIENT };
            assert_eq!(error.classify(), (reason, disposition));
            assert!(Error::reasons().contains(&reason), "{reason} is counted from the start");
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn tasks_have_the_names_that_the_vcenter_shows() {
        for (kind, wanted) in [
            (TaskKind::Clone, "CloneVM_Task"),
            (TaskKind::PowerOn, "PowerOnVM_Task"),
            (TaskKind::PowerOff, "PowerOffVM_Task"),
            (TaskKind::Destroy, "Destroy_Task"),
            (TaskKind::Mark, "ReconfigVM_Task"),
        ] {
            assert_eq!(method(kind), wanted);
        }
    }
}
