//! The one error of this client: what kind of failure it was, which vim fault if any, and what a person can do. Owns
//! the table from kinds to answers; the mapping from vim faults to kinds is [`super::fault`]'s.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::fault::Fault;
use super::moref::MoRef;
use super::power::PowerState;
use crate::failure::{Class, Failure};

/// What went wrong, as far as a caller has to tell failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// This client's own settings cannot work, or name something that does not exist.
    Config,
    /// No connection to the vCenter, or it was cut.
    Unreachable,
    /// The server's certificate is not trusted, or TLS could not be agreed on.
    Tls,
    /// No answer in time.
    Timeout,
    /// The server, or a host behind it, cannot serve now (HTTP 503 and similar).
    Unavailable,
    /// Too many requests (HTTP 429).
    RateLimited,
    /// User name or password refused. The client keeps refused logins far apart, because five of them lock an account.
    Unauthorized,
    /// The session has ended. Another login may help; that of a call is sent by the client.
    SessionEnded,
    /// The server is another vCenter than the one that this client connected to first.
    AnotherVCenter,
    /// The root folder does not exist, and VMs of this client do: it was renamed or moved, or another is set.
    RootFolderMoved,
    /// The root folder does not exist, and the record that would tell whether it was renamed or moved cannot be read.
    RootFolderUnknown,
    /// The account lacks a privilege.
    Forbidden,
    /// The object does not exist.
    NotFound,
    /// A name fits several objects.
    Ambiguous,
    /// The name is taken in that folder; [`Error::object`] is the object that has it.
    DuplicateName,
    /// The VM is in that power state already, or cannot change to it; see [`Error::existing_power`].
    InvalidPowerState,
    /// The object or the server is busy with another operation, which will end.
    Busy,
    /// Something uses the object, so that it cannot be removed.
    InUse,
    /// The object was changed since it was read.
    Outdated,
    /// No host, memory, space or licence for it.
    NoResources,
    /// vCenter refused what was asked for.
    Invalid,
    /// This vCenter or host cannot do it, or not with this licence.
    NotSupported,
    /// The task or call was cancelled, or this client was closed.
    Canceled,
    /// Another vim fault.
    Fault,
    /// An answer that could not be understood.
    Protocol,
    /// An answer larger than this client reads.
    AnswerTooLarge,
}

const UNREACHABLE: &str = "VCenterUnreachable";
const PLACEMENT_UNCLEAR: &str = "VCenterPlacementUnclear";
const TEMPLATE_NOT_FOUND: &str = "TemplateNotFound";
const TEMPLATE_AMBIGUOUS: &str = "TemplateAmbiguous";
const FAULT: &str = "VCenterFault";

/// Every [`Failure::reason`] of this client.
pub const REASONS: &[&str] = &[
    UNREACHABLE,
    "VCenterCertificateRefused",
    "VCenterLoginRefused",
    "VCenterSessionEnded",
    "AnotherVCenter",
    "VCenterRootFolderMoved",
    PLACEMENT_UNCLEAR,
    "PermissionDenied",
    "VCenterObjectNotFound",
    TEMPLATE_NOT_FOUND,
    TEMPLATE_AMBIGUOUS,
    "NameConflict",
    "NoResources",
    "Busy",
    "VCenterRequestInvalid",
    FAULT,
];

/// Returns who has to act about errors with this [`Failure::reason`]; `None` for a reason that is not one of [`REASONS`].
#[must_use]
pub fn class_of(reason: &str) -> Option<Class> {
    match reason {
        TEMPLATE_NOT_FOUND | TEMPLATE_AMBIGUOUS => Some(Class::NeedsHelp),
        _ => Kind::ALL
            .iter()
            .map(|kind| kind.class_and_reason())
            .find(|(_, listed)| *listed == reason)
            .map(|(class, _)| class),
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Config,
        Self::Unreachable,
        Self::Tls,
        Self::Timeout,
        Self::Unavailable,
        Self::RateLimited,
        Self::Unauthorized,
        Self::SessionEnded,
        Self::AnotherVCenter,
        Self::RootFolderMoved,
        Self::RootFolderUnknown,
        Self::Forbidden,
        Self::NotFound,
        Self::Ambiguous,
        Self::DuplicateName,
        Self::InvalidPowerState,
        Self::Busy,
        Self::InUse,
        Self::Outdated,
        Self::NoResources,
        Self::Invalid,
        Self::NotSupported,
        Self::Canceled,
        Self::Fault,
        Self::Protocol,
        Self::AnswerTooLarge,
    ];

    fn class_and_reason(self) -> (Class, &'static str) {
        match self {
            Self::Config | Self::Ambiguous => (Class::NeedsHelp, PLACEMENT_UNCLEAR),
            Self::Unreachable | Self::Timeout | Self::Unavailable | Self::Protocol | Self::AnswerTooLarge => {
                (Class::Retry, UNREACHABLE)
            }
            Self::Tls => (Class::NeedsHelp, "VCenterCertificateRefused"),
            Self::Unauthorized => (Class::Refused, "VCenterLoginRefused"),
            Self::SessionEnded => (Class::Retry, "VCenterSessionEnded"),
            Self::RootFolderMoved | Self::RootFolderUnknown => (Class::NeedsHelp, "VCenterRootFolderMoved"),
            Self::AnotherVCenter => (Class::NeedsHelp, "AnotherVCenter"),
            Self::Forbidden => (Class::NeedsHelp, "PermissionDenied"),
            Self::NotFound => (Class::Retry, "VCenterObjectNotFound"),
            Self::DuplicateName => (Class::NeedsHelp, "NameConflict"),
            Self::NoResources => (Class::NeedsHelp, "NoResources"),
            Self::Busy | Self::InUse | Self::Outdated | Self::RateLimited | Self::InvalidPowerState => {
                (Class::Retry, "Busy")
            }
            Self::Invalid | Self::NotSupported => (Class::NeedsHelp, "VCenterRequestInvalid"),
            Self::Canceled | Self::Fault => (Class::Retry, FAULT),
        }
    }

    /// Returns whether a login that failed like this was refused, rather than not answered.
    #[must_use]
    pub fn is_refused_login(self) -> bool {
        matches!(self, Self::Unauthorized | Self::SessionEnded | Self::Forbidden)
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Config => "correct the operator's vCenter settings",
            Self::Unreachable => {
                "check the vCenter's address and port, its DNS name, and the network and firewalls in between"
            }
            Self::Tls => {
                "give the CA certificate that signed the vCenter's certificate or the right thumbprint, and use the host name the certificate was issued for"
            }
            Self::Timeout => "check the vCenter's load and the network; the operation is retried",
            Self::Unavailable => {
                "wait until the vCenter's services or the host are up again; the operation is retried"
            }
            Self::RateLimited => "the operation is retried more slowly",
            Self::Unauthorized => {
                "correct user name and password, check that the account is not locked or expired; logins are retried at most three times in 30 minutes, so as not to lock it"
            }
            Self::SessionEnded => {
                "look in the vCenter's events who ends the sessions of the account; the client logs in again by itself"
            }
            Self::RootFolderMoved => {
                "set the root folder to the path of the folder that has them; if that one was renamed or moved, give it its name and place again instead"
            }
            Self::RootFolderUnknown => "let the record of VMs be read",
            Self::AnotherVCenter => {
                "let the address lead to that vCenter again; if the other one is meant, restart the operator"
            }
            Self::Forbidden => {
                "have a vCenter administrator grant the account the missing privilege on the object"
            }
            Self::NotFound => "check the name, and that the object has not been removed",
            Self::Ambiguous => {
                "name the object by its inventory path, or set the option that chooses between them"
            }
            Self::DuplicateName => {
                "look at the object that has the name: if it is the operator's own, grant its account the right to read it, and do not remove it; else rename it"
            }
            Self::InvalidPowerState => "if it lasts, check the VM's power state in vCenter",
            Self::Busy => "the operation is retried when the other one has ended",
            Self::InUse => "detach what uses it; the operation is retried",
            Self::Outdated => "the operation is retried with what is there now",
            Self::NoResources => "free or add hosts, memory, disk space or licences, or ask for less",
            Self::Invalid => "correct the value that vCenter refused",
            Self::NotSupported => "check the vCenter's and the hosts' version and licence",
            Self::Canceled => "the operation is retried unless it was stopped on purpose",
            Self::Fault => "look at the task and the events of the object in vCenter",
            Self::AnswerTooLarge => {
                "look for VMs with large advanced parameters, such as guestinfo; fewer objects are requested at once"
            }
            Self::Protocol => "check that the address is a vCenter's and that no proxy answers in its place",
        }
    }
}

/// A failed call, task or connection. Cheap to clone.
#[derive(Clone)]
pub struct Error(Arc<Repr>);

#[derive(Clone)]
struct Repr {
    kind: Kind,
    message: String,
    method: Option<String>,
    fault: Option<Fault>,
    retry_after: Option<Duration>,
    in_doubt: bool,
    /// The call was not made.
    unsent: bool,
    /// The error is the result of looking for a template.
    template: bool,
}

impl Error {
    /// Creates an error that is no vim fault.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Repr {
            kind,
            message: message.into(),
            method: None,
            fault: None,
            retry_after: None,
            in_doubt: false,
            unsent: false,
            template: false,
        }))
    }

    pub(super) fn of_fault(fault: Fault) -> Self {
        let mut message = brief(&fault.name);
        for part in fault.detail.iter().chain((!fault.text.is_empty()).then_some(&fault.text)) {
            message.push_str(": ");
            message.push_str(&brief(part));
        }
        Self::new(fault.kind(), message).with(|repr| repr.fault = Some(fault))
    }

    /// Creates the error of a session that is gone: the one that a call or a watch belongs to does not exist any more.
    pub(super) fn session_lost() -> Self {
        Self::of_fault(Fault { name: "NotAuthenticated".to_owned(), ..Fault::default() })
            .explained("the session was replaced")
    }

    /// Creates the error of a change that was not made, since its session had ended.
    pub(super) fn unsent() -> Self {
        let lost =
            Self::session_lost().explained("not sent: the session had ended, and there is another one");
        lost.with(|repr| repr.unsent = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Repr)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(super) fn in_method(self, method: &str) -> Self {
        self.with(|repr| repr.method = Some(method.to_owned()))
    }

    pub(super) fn doubtful(self) -> Self {
        self.with(|repr| repr.in_doubt = true)
    }

    /// Returns the same failure of a request that changes nothing.
    pub(super) fn harmless(self) -> Self {
        if self.0.in_doubt { self.with(|repr| repr.in_doubt = false) } else { self }
    }

    pub(super) fn after(self, pause: Duration) -> Self {
        self.with(|repr| repr.retry_after = Some(pause))
    }

    /// Returns the same failure, as the result of looking for a template.
    pub(super) fn of_template(self) -> Self {
        self.with(|repr| repr.template = true)
    }

    /// Returns the same failure, as the answer to a login: the account may lack the right to log in.
    pub(super) fn of_login(self) -> Self {
        self.with(|repr| repr.kind = Kind::Unauthorized)
    }

    /// Returns the same failure with a message that says what it was about.
    pub(super) fn explained(self, message: impl Into<String>) -> Self {
        self.with(|repr| repr.message = message.into())
    }

    /// Returns what kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the vim fault's type name, if vCenter answered with one.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.0.fault.as_ref().map(|fault| fault.name.as_str())
    }

    /// Returns the vCenter method that failed; none for tasks and for errors before any call.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.0.method.as_deref()
    }

    /// Returns the object the fault names: for [`Kind::DuplicateName`] the one that has the name already.
    #[must_use]
    pub fn object(&self) -> Option<&MoRef> {
        self.0.fault.as_ref()?.object.as_ref()
    }

    /// Returns, for [`Kind::InvalidPowerState`], the state the VM is in.
    #[must_use]
    pub fn existing_power(&self) -> Option<PowerState> {
        self.0.fault.as_ref()?.existing
    }

    pub(super) fn is_fault(&self, name: &str) -> bool {
        self.fault() == Some(name)
    }

    /// Returns whether the session has ended, so that a new login may help.
    pub(super) fn is_session_lost(&self) -> bool {
        self.is_fault("NotAuthenticated")
    }

    /// Returns whether a change was not made, since its session had ended and another one began: the caller decides again, by what is there
    /// now.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.0.unsent
    }

    /// Returns whether vCenter says that an object the request named does not exist.
    pub(super) fn is_object_missing(&self) -> bool {
        self.is_fault("ManagedObjectNotFound")
    }
}

impl Failure for Error {
    fn reason(&self) -> &'static str {
        match self.0.kind {
            Kind::NotFound if self.0.template => TEMPLATE_NOT_FOUND,
            Kind::Ambiguous if self.0.template => TEMPLATE_AMBIGUOUS,
            kind => kind.class_and_reason().1,
        }
    }

    fn remedy(&self) -> &'static str {
        self.0.kind.remedy()
    }

    /// Classifies by the kind. A template that is missing needs help; any other missing object is found again or dropped by
    /// the client, and the call is retried.
    fn class(&self) -> Class {
        match self.0.kind {
            Kind::NotFound if self.0.template => Class::NeedsHelp,
            kind => kind.class_and_reason().0,
        }
    }

    /// Returns, for a refused login, the time until the client sends another.
    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    fn in_doubt(&self) -> bool {
        self.0.in_doubt
    }
}

/// Returns the beginning of a server's text, for a message: at most 300 characters, none of which controls a terminal.
fn brief(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut brief: String = chars.by_ref().take(300).collect();
    if chars.next().is_some() {
        brief.push('…');
    }
    brief
}

impl From<crate::SettingError> for Error {
    fn from(error: crate::SettingError) -> Self {
        Self::new(Kind::Config, error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.0.method {
            write!(f, "{method}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)?;
        if self.0.in_doubt {
            f.write_str(" in doubt")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_listed_and_used() {
        let templates = [Kind::NotFound, Kind::Ambiguous].map(|kind| Error::new(kind, "").of_template());
        let all = Kind::ALL.iter().map(|kind| Error::new(*kind, "")).chain(templates);
        let used: BTreeSet<_> = all.map(|error| error.reason()).collect();
        assert_eq!(used, REASONS.iter().copied().collect());
    }

    /// A remedy follows `what is wrong: ` and says what is done, also where a person has to do nothing.
    #[test]
    fn remedies_complete_the_sentence() {
        for kind in Kind::ALL {
            let remedy = kind.remedy();
            assert!(!remedy.starts_with("nothing") && !remedy.contains("; nothing"), "{kind:?}: {remedy}");
        }
    }

    #[test]
    fn a_vm_config_fault_is_retried() {
        let error = Error::of_fault(Fault { name: "GenericVmConfigFault".into(), ..Fault::default() });
        assert_eq!((error.class(), error.reason()), (Class::Retry, FAULT));
    }

    #[test]
    fn texts_of_a_server_are_cut_and_harmless() {
        let text = "é\u{1b}[2J\n".repeat(1000);
        let error = Error::of_fault(Fault { name: "SystemError".into(), text, ..Fault::default() });
        let shown = error.to_string();
        assert!(shown.chars().count() < 400 && shown.ends_with('…'), "{shown}");
        assert!(!shown.contains(char::is_control));
    }

    #[test]
    fn display_names_method_fault_and_words() {
        let error = Error::of_fault(Fault {
            name: "NoPermission".into(),
            text: "Permission denied.".into(),
            detail: Some("VirtualMachine.Inventory.Create".into()),
            ..Fault::default()
        })
        .in_method("CloneVM_Task");
        assert_eq!(
            error.to_string(),
            "CloneVM_Task: NoPermission: VirtualMachine.Inventory.Create: Permission denied."
        );
        assert_eq!((error.class(), error.in_doubt()), (Class::NeedsHelp, false));
        assert!(error.clone().doubtful().in_doubt());
        assert!(!error.doubtful().harmless().in_doubt());
    }
}
