//! The one error of this client: what kind of failure it was, which vim fault if any, and what a
//! person can do. Owns the mapping from vim fault types to kinds; never looks at message texts.

use std::fmt;
use std::sync::Arc;

use vim_rs::types::struct_enum::StructType;

use super::inventory::PowerState;
use super::moref::MoRef;

/// What went wrong, as far as a caller has to tell failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// This client's own settings cannot work, or name something that is not there.
    Config,
    /// No connection to the vCenter, or it was cut.
    Unreachable,
    /// The server's certificate is not trusted, or TLS could not be agreed on.
    Tls,
    /// No answer in time.
    Timeout,
    /// The server, or a host behind it, says it cannot serve now (HTTP 503 and the like).
    Unavailable,
    /// User name or password refused. Never retried at once: five tries lock an account.
    InvalidLogin,
    /// The session is gone. Callers see it only when a new login did not help.
    NotAuthenticated,
    /// The account lacks a privilege.
    NoPermission,
    /// The object does not exist, or not any more.
    NotFound,
    /// A name fits several objects.
    Ambiguous,
    /// The name is taken in that folder; [`Error::object`] says by what.
    DuplicateName,
    /// The VM is already in, or cannot go to, that power state; [`Error::existing_power`].
    InvalidPowerState,
    /// The object or the server is busy with something else; it will pass.
    Busy,
    /// No host, memory, space or licence for it.
    NoResources,
    /// vCenter refused what was asked for.
    InvalidArgument,
    /// This vCenter or host cannot do it, or not with this licence.
    NotSupported,
    /// The task or call was cancelled, or this client was closed.
    Canceled,
    /// Another vim fault.
    Fault,
    /// An answer that could not be understood.
    Protocol,
}

impl Kind {
    /// What a person can do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Config => "correct the operator's vCenter settings",
            Self::Unreachable => {
                "check the vCenter's address and port, its DNS name, and the network and firewalls in between"
            }
            Self::Tls => {
                "give the CA certificate that signed the vCenter's certificate or the right thumbprint, and use the host name the certificate was issued for"
            }
            Self::Timeout => "check the vCenter's load and the network; the operation is tried again",
            Self::Unavailable => {
                "wait until the vCenter's services or the host are up again; the operation is tried again"
            }
            Self::InvalidLogin => {
                "correct user name and password, check that the account is not locked or expired; tries are kept far apart so as not to lock it"
            }
            Self::NotAuthenticated => "the session ended; a new login is made",
            Self::NoPermission => {
                "have a vCenter administrator grant the account the missing privilege on the object"
            }
            Self::NotFound => "check the name, and that the object has not been removed",
            Self::Ambiguous => {
                "name the object by its inventory path, or set the option that chooses between them"
            }
            Self::DuplicateName => "rename or remove the other object of that name",
            Self::InvalidPowerState => "check the VM's power state in vCenter",
            Self::Busy => "nothing; it is tried again when the other operation has ended",
            Self::NoResources => "free or add hosts, memory, disk space or licences, or ask for less",
            Self::InvalidArgument => "correct the value that vCenter refused",
            Self::NotSupported => "check the vCenter's and the hosts' version and licence",
            Self::Canceled => "nothing; it is tried again unless it was stopped on purpose",
            Self::Fault => "look at the task and the events of the object in vCenter",
            Self::Protocol => "check that the address is a vCenter's and that no proxy answers in its place",
        }
    }

    /// Whether the same request may succeed later with nobody changing anything.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Self::Unreachable
                | Self::Timeout
                | Self::Unavailable
                | Self::NotAuthenticated
                | Self::Busy
                | Self::NoResources
                | Self::Canceled
                | Self::Fault
                | Self::Protocol
        )
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
    in_doubt: bool,
}

/// A vim fault as it came over the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// The vim type name.
    pub(super) name: String,
    /// vCenter's own words, which may be empty or in another language.
    pub(super) text: String,
    /// The object the fault is about (`DuplicateName`, `ManagedObjectNotFound`, `NoPermission`).
    pub(super) object: Option<MoRef>,
    /// `InvalidPowerState.existingState`.
    pub(super) existing: Option<PowerState>,
    /// `NoPermission.privilegeId`, `DuplicateName.name`, `InvalidArgument.invalidProperty`.
    pub(super) detail: Option<String>,
}

impl Error {
    /// An error that is no vim fault.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Repr { kind, message: message.into(), method: None, fault: None, in_doubt: false }))
    }

    pub(super) fn of_fault(fault: Fault) -> Self {
        let kind = kind_of(&fault.name);
        let mut message = fault.name.clone();
        for part in fault.detail.iter().chain((!fault.text.is_empty()).then_some(&fault.text)) {
            message.push_str(": ");
            message.push_str(part);
        }
        Self(Arc::new(Repr { kind, message, method: None, fault: Some(fault), in_doubt: false }))
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

    /// The same failure, told so that a person knows what it was about.
    pub(super) fn explained(self, message: impl Into<String>) -> Self {
        self.with(|repr| repr.message = message.into())
    }

    /// What kind of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The vim fault's type name, if vCenter answered with one.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.0.fault.as_ref().map(|fault| fault.name.as_str())
    }

    /// The vCenter method that failed; none for tasks and for errors before any call.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.0.method.as_deref()
    }

    /// The object the fault names: for [`Kind::DuplicateName`] the one that has the name already.
    #[must_use]
    pub fn object(&self) -> Option<&MoRef> {
        self.0.fault.as_ref()?.object.as_ref()
    }

    /// For [`Kind::InvalidPowerState`] the state the VM is in.
    #[must_use]
    pub fn existing_power(&self) -> Option<PowerState> {
        self.0.fault.as_ref()?.existing
    }

    /// See [`Kind::retryable`].
    #[must_use]
    pub fn retryable(&self) -> bool {
        self.0.kind.retryable()
    }

    /// See [`Kind::remedy`].
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        self.0.kind.remedy()
    }

    /// Whether the request may have taken effect although it failed: it was, or may have been,
    /// sent, and no answer came back. Look ([`VCenter::fresh`](super::VCenter::fresh)) before
    /// asking again for anything that must not happen twice.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        self.0.in_doubt
    }

    pub(super) fn is_fault(&self, name: &str) -> bool {
        self.fault() == Some(name)
    }
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

/// Maps a vim fault type to a kind: by name where a family holds several kinds, else by the
/// family it inherits from, else (a type newer than the bindings) by the shape of its name.
fn kind_of(name: &str) -> Kind {
    by_name(name).or_else(|| by_family(name)).unwrap_or_else(|| by_shape(name))
}

fn by_name(name: &str) -> Option<Kind> {
    Some(match name {
        "NotAuthenticated" => Kind::NotAuthenticated,
        "InvalidLogin" | "PasswordExpired" | "NoClientCertificate" | "InvalidClientCertificate" => {
            Kind::InvalidLogin
        }
        "AuthMinimumAdminPermission" | "RestrictedByAdministrator" => Kind::NoPermission,
        "ManagedObjectNotFound" | "NotFound" | "FileNotFound" | "ManagedObjectNotFoundFault" => {
            Kind::NotFound
        }
        "DuplicateName" | "AlreadyExists" | "FileAlreadyExists" => Kind::DuplicateName,
        "InvalidPowerState" => Kind::InvalidPowerState,
        "TaskInProgress" | "ResourceInUse" | "ConcurrentAccess" | "FileLocked" | "MethodDisabled" => {
            Kind::Busy
        }
        "NoDiskSpace"
        | "NoHost"
        | "NoCompatibleHost"
        | "NoCompatibleDatastore"
        | "NotEnoughCpus"
        | "NotEnoughLicenses"
        | "LicenseExpired" => Kind::NoResources,
        "MethodNotFound" | "NotImplemented" | "RestrictedVersion" => Kind::NotSupported,
        "RequestCanceled" => Kind::Canceled,
        "Timedout" => Kind::Timeout,
        "HostCommunication" | "HostNotConnected" | "HostNotReachable" => Kind::Unavailable,
        _ => return None,
    })
}

fn by_family(name: &str) -> Option<Kind> {
    use StructType as T;
    const FAMILIES: &[(T, Kind)] = &[
        (T::InvalidLogin, Kind::InvalidLogin),
        (T::NoPermission, Kind::NoPermission),
        (T::DuplicateName, Kind::DuplicateName),
        (T::AlreadyExists, Kind::DuplicateName),
        (T::NotFound, Kind::NotFound),
        (T::FileNotFound, Kind::NotFound),
        (T::InsufficientResourcesFault, Kind::NoResources),
        (T::NotEnoughLicenses, Kind::NoResources),
        (T::NoCompatibleHost, Kind::NoResources),
        (T::HostCommunication, Kind::Unavailable),
        (T::TaskInProgress, Kind::Busy),
        (T::ResourceInUse, Kind::Busy),
        (T::InvalidState, Kind::Busy),
        (T::NotSupported, Kind::NotSupported),
        (T::InvalidArgument, Kind::InvalidArgument),
        (T::InvalidName, Kind::InvalidArgument),
        (T::InvalidDatastore, Kind::InvalidArgument),
        (T::InvalidRequest, Kind::InvalidArgument),
        (T::VmConfigFault, Kind::InvalidArgument),
        (T::CustomizationFault, Kind::InvalidArgument),
        (T::Timedout, Kind::Timeout),
        (T::RequestCanceled, Kind::Canceled),
    ];
    let fault = T::from_str(name)?;
    FAMILIES.iter().find(|(family, _)| fault.child_of(*family)).map(|&(_, kind)| kind)
}

fn by_shape(name: &str) -> Kind {
    if name.starts_with("Insufficient") || name.starts_with("NotEnough") {
        Kind::NoResources
    } else if name.ends_with("NotSupported") || name.ends_with("Unsupported") {
        Kind::NotSupported
    } else if name.ends_with("NotFound") {
        Kind::NotFound
    } else if name.ends_with("InProgress") || name.ends_with("InUse") {
        Kind::Busy
    } else if name.starts_with("NoPermission") {
        Kind::NoPermission
    } else {
        Kind::Fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vim_faults_have_kinds() {
        for (name, kind) in [
            ("NotAuthenticated", Kind::NotAuthenticated),
            ("InvalidLogin", Kind::InvalidLogin),
            ("NoPermission", Kind::NoPermission),
            ("NoPermissionOnHost", Kind::NoPermission),
            ("ManagedObjectNotFound", Kind::NotFound),
            ("DuplicateName", Kind::DuplicateName),
            ("DvsExistsInDatacenter", Kind::Fault),
            ("InvalidPowerState", Kind::InvalidPowerState),
            ("InvalidState", Kind::Busy),
            ("InvalidHostState", Kind::Busy),
            ("TaskInProgress", Kind::Busy),
            ("VAppTaskInProgress", Kind::Busy),
            ("ResourceInUse", Kind::Busy),
            ("InsufficientResourcesFault", Kind::NoResources),
            ("InsufficientMemoryResourcesFault", Kind::NoResources),
            ("InsufficientFailoverResourcesFault", Kind::NoResources),
            ("NoDiskSpace", Kind::NoResources),
            ("NotEnoughLicenses", Kind::NoResources),
            ("InvalidArgument", Kind::InvalidArgument),
            ("InvalidName", Kind::InvalidArgument),
            ("InvalidDatastorePath", Kind::InvalidArgument),
            ("TooManyDevices", Kind::InvalidArgument),
            ("GenericVmConfigFault", Kind::InvalidArgument),
            ("MemoryHotPlugNotSupported", Kind::InvalidArgument),
            ("NotSupported", Kind::NotSupported),
            ("MethodNotFound", Kind::NotSupported),
            ("HostNotConnected", Kind::Unavailable),
            ("HostCommunication", Kind::Unavailable),
            ("RequestCanceled", Kind::Canceled),
            ("Timedout", Kind::Timeout),
            ("SystemError", Kind::Fault),
            ("InvalidCollectorVersion", Kind::Fault),
            // Not in the bindings: by the shape of the name.
            ("InsufficientFluxCapacity", Kind::NoResources),
            ("SomethingNewNotSupported", Kind::NotSupported),
            ("com.vendor.Oddity", Kind::Fault),
        ] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
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
        assert!(!error.retryable() && !error.in_doubt());
        assert!(error.clone().doubtful().in_doubt());
    }
}
