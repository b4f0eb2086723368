//! The checks, and how bad what they find is.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the checks are explained.
const PAGE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/vdo/checks.md");

/// How bad something is. The order is that of the effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It forbids nothing.
    Warning,
    /// The version of a driver that runs does not change.
    BlockUpgrade,
    /// No driver is installed, nor changes its version.
    BlockInstall,
    /// A driver that runs does harm, or does not work.
    Degraded,
}

impl Severity {
    /// Returns the word for metrics and messages.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::BlockUpgrade => "block-upgrade",
            Self::BlockInstall => "block-install",
            Self::Degraded => "degraded",
        }
    }
}

macro_rules! checks {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A check. Each can be switched off by its name.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema,
        )]
        pub enum Check {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Check {
            /// Every check.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the name, in CamelCase.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// Returns what holds where it finds nothing.
            #[must_use]
            pub fn says(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+).trim().trim_end_matches('.'),)+
                }
            }
        }
    };
}

checks! {
    /// A vCenter answers, and lets the account log in.
    Connection,
    /// The certificate of a vCenter is checked.
    Certificate,
    /// The clocks of a vCenter and of the cluster agree.
    Clock,
    /// The vCenter is of a version that drivers work with.
    VcenterVersion,
    /// The datacenters that are named exist, and the account sees them.
    Datacenters,
    /// The account has its privileges in the whole vCenter.
    AccountPermissions,
    /// The account may read the datacenters.
    DatacenterPermissions,
    /// The account may read the folders of machines.
    FolderPermissions,
    /// The account may read the clusters of hosts.
    ComputeClusterPermissions,
    /// The account may read the resource pools.
    ResourcePoolPermissions,
    /// The account may read the hosts.
    HostPermissions,
    /// The account may write to the datastores.
    DatastorePermissions,
    /// The account may attach disks to the machines.
    MachinePermissions,
    /// The account sees the machine of each Node.
    MachineVisible,
    /// The machine of a Node is in a datacenter that is named.
    DatacenterConsistency,
    /// The provider ID of a Node is of vSphere, and that of its machine.
    ProviderId,
    /// The host name of a machine is the name of its Node.
    HostName,
    /// No two machines have the host name.
    HostNameUnique,
    /// VMware Tools run on a machine.
    Tools,
    /// A machine has an address.
    Addresses,
    /// It is clear which network adapter of a machine counts.
    NodeNetwork,
    /// A machine shows the UUIDs of its disks.
    DiskUuid,
    /// The virtual hardware of a machine is new enough.
    HardwareVersion,
    /// The ESXi of a machine's host is new enough.
    EsxiVersion,
    /// Changed blocks are tracked on all machines, or on none.
    ChangeTracking,
    /// A Node has room for further volumes.
    VolumeLimit,
    /// The hosts of all machines share a datastore.
    SharedDatastore,
    /// No storage cluster moves disks by itself.
    StorageDrs,
    /// What StorageClasses name exists.
    StorageClasses,
    /// The host of each machine has a tag of each category.
    ZoneTags,
    /// No zone is in two vCenters.
    ZonesDistinct,
    /// Volumes are attached to machines that exist.
    Attachments,
    /// No other tool has installed the driver.
    ForeignDriver,
    /// The controllers can be scheduled.
    ControllerPlacement,
    /// CSI is configured for several vCenters.
    MultiVcenter,
    /// The kinds of snapshots exist.
    SnapshotKinds,
    /// OpenShift does not manage CSI.
    ManagedByOpenShift,
    /// OpenShift lets the Pods of drivers run.
    SecurityContext,
}

impl Check {
    /// Returns where it is explained.
    #[must_use]
    pub fn docs(self) -> String {
        format!("{PAGE}#{}", self.name().to_ascii_lowercase())
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Check {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|check| check.name().eq_ignore_ascii_case(text.trim()));
        found.copied().ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|check| check.name()).collect();
            format!("unknown check {text:?}; use one of {}", known.join(", "))
        })
    }
}
