//! vim faults: what is read of one, and the mapping from fault types to kinds. Never looks at message texts.

use vim_rs::types::struct_enum::StructType;

use super::error::Kind;
use super::moref::MoRef;
use super::power::PowerState;

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

impl Fault {
    /// Returns the fault's kind: by the type's name where a family holds several kinds, else by the family the type
    /// belongs to, else (a type newer than the bindings) by the shape of its name.
    pub(super) fn kind(&self) -> Kind {
        let name = &self.name;
        by_name(name).or_else(|| by_family(name)).unwrap_or_else(|| by_shape(name))
    }
}

fn by_name(name: &str) -> Option<Kind> {
    Some(match name {
        "NotAuthenticated" => Kind::SessionEnded,
        "InvalidLogin" | "PasswordExpired" | "NoClientCertificate" | "InvalidClientCertificate" => {
            Kind::Unauthorized
        }
        "AuthMinimumAdminPermission" | "RestrictedByAdministrator" => Kind::Forbidden,
        "ManagedObjectNotFound" | "NotFound" | "FileNotFound" | "ManagedObjectNotFoundFault" => {
            Kind::NotFound
        }
        "DuplicateName" | "AlreadyExists" | "FileAlreadyExists" => Kind::DuplicateName,
        "InvalidPowerState" => Kind::InvalidPowerState,
        "ResourceInUse" => Kind::InUse,
        "ConcurrentAccess" => Kind::Outdated,
        "TaskInProgress" | "FileLocked" | "MethodDisabled" => Kind::Busy,
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
        (T::InvalidLogin, Kind::Unauthorized),
        (T::NoPermission, Kind::Forbidden),
        (T::DuplicateName, Kind::DuplicateName),
        (T::AlreadyExists, Kind::DuplicateName),
        (T::NotFound, Kind::NotFound),
        (T::FileNotFound, Kind::NotFound),
        (T::InsufficientResourcesFault, Kind::NoResources),
        (T::NotEnoughLicenses, Kind::NoResources),
        (T::NoCompatibleHost, Kind::NoResources),
        (T::HostCommunication, Kind::Unavailable),
        (T::TaskInProgress, Kind::Busy),
        (T::ResourceInUse, Kind::InUse),
        (T::InvalidState, Kind::Busy),
        // vCenter reports passing conditions of hosts and datastores with this family: it has to be retried.
        (T::VmConfigFault, Kind::Fault),
        (T::NotSupported, Kind::NotSupported),
        (T::InvalidArgument, Kind::Invalid),
        (T::InvalidName, Kind::Invalid),
        (T::InvalidDatastore, Kind::Invalid),
        (T::InvalidRequest, Kind::Invalid),
        (T::CustomizationFault, Kind::Invalid),
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
        Kind::Forbidden
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
            ("NotAuthenticated", Kind::SessionEnded),
            ("InvalidLogin", Kind::Unauthorized),
            ("NoPermission", Kind::Forbidden),
            ("NoPermissionOnHost", Kind::Forbidden),
            ("ManagedObjectNotFound", Kind::NotFound),
            ("DuplicateName", Kind::DuplicateName),
            ("DvsExistsInDatacenter", Kind::Fault),
            ("InvalidPowerState", Kind::InvalidPowerState),
            ("InvalidState", Kind::Busy),
            ("InvalidHostState", Kind::Busy),
            ("TaskInProgress", Kind::Busy),
            ("VAppTaskInProgress", Kind::Busy),
            ("ResourceInUse", Kind::InUse),
            ("ConcurrentAccess", Kind::Outdated),
            ("InsufficientResourcesFault", Kind::NoResources),
            ("InsufficientMemoryResourcesFault", Kind::NoResources),
            ("InsufficientFailoverResourcesFault", Kind::NoResources),
            ("NoDiskSpace", Kind::NoResources),
            ("NotEnoughLicenses", Kind::NoResources),
            ("InvalidArgument", Kind::Invalid),
            ("InvalidName", Kind::Invalid),
            ("InvalidDatastorePath", Kind::Invalid),
            ("TooManyDevices", Kind::Fault),
            ("GenericVmConfigFault", Kind::Fault),
            ("VmConfigFault", Kind::Fault),
            ("MemoryHotPlugNotSupported", Kind::Fault),
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
            let fault = Fault { name: name.to_owned(), ..Fault::default() };
            assert_eq!(fault.kind(), kind, "{name}");
        }
    }
}
