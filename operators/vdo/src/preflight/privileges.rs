//! The privileges that the drivers need, by kind of object. Source: the roles of the page "vSphere Roles and Privileges" (CNS) of vSphere 7 and 8.

use super::{Check, Severity};

/// A kind of object on which privileges are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The root folder: the whole vCenter.
    Vcenter,
    /// A datacenter.
    Datacenter,
    /// A folder of machines.
    Folder,
    /// A cluster of hosts.
    Cluster,
    /// A resource pool.
    ResourcePool,
    /// A host.
    Host,
    /// A datastore for volumes.
    Datastore,
    /// The machine of a Node.
    Machine,
}

const READ: &[&str] = &["System.View", "System.Read"];

/// Returns the privileges that the drivers need on an object of the kind: one query of the vCenter for all of them.
#[must_use]
pub fn needed(kind: Kind, has_file_volumes: bool) -> &'static [&'static str] {
    match kind {
        Kind::Vcenter => &["System.View", "Cns.Searchable", "StorageProfile.View"],
        Kind::Datastore => &["System.View", "Datastore.FileManagement"],
        Kind::Machine => {
            &["System.Read", "VirtualMachine.Config.AddExistingDisk", "VirtualMachine.Config.AddRemoveDevice"]
        }
        Kind::Cluster if has_file_volumes => &["System.View", "System.Read", "Host.Config.Storage"],
        Kind::Datacenter | Kind::Folder | Kind::Cluster | Kind::ResourcePool | Kind::Host => READ,
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Vcenter,
        Self::Datacenter,
        Self::Folder,
        Self::Cluster,
        Self::ResourcePool,
        Self::Host,
        Self::Datastore,
        Self::Machine,
    ];

    /// Returns the check of a kind, and how bad it is if a privilege is missing.
    pub(super) fn check(self) -> (Check, Severity) {
        match self {
            Self::Vcenter => (Check::AccountPermissions, Severity::BlockInstall),
            Self::Datacenter => (Check::DatacenterPermissions, Severity::BlockInstall),
            Self::Folder => (Check::FolderPermissions, Severity::BlockInstall),
            Self::Cluster => (Check::ComputeClusterPermissions, Severity::Warning),
            Self::ResourcePool => (Check::ResourcePoolPermissions, Severity::Warning),
            Self::Host => (Check::HostPermissions, Severity::BlockInstall),
            Self::Datastore => (Check::DatastorePermissions, Severity::BlockInstall),
            Self::Machine => (Check::MachinePermissions, Severity::BlockInstall),
        }
    }
}
