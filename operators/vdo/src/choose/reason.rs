//! What speaks against a version, in words.

use std::fmt;

use super::{Failure, Vcenter};
use crate::api::RETRY_UPGRADE;
use crate::version::{Kubernetes, Range, Version};

/// What speaks against a version. Formats as a sentence without its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// It was published for trial.
    PreRelease,
    /// The matrix says that it must not be installed.
    Revoked(String),
    /// It does not work with this Kubernetes.
    Kubernetes {
        /// Version of the cluster.
        found: Kubernetes,
        /// Versions that it works with.
        range: Range,
    },
    /// It does not work with a vCenter.
    Vsphere {
        /// The vCenter.
        vcenter: Vcenter,
        /// Versions that it works with.
        range: Range,
    },
    /// It needs CPI, which the cluster does not have.
    NeedsCpi,
    /// Another version is pinned.
    NotPinned(Version),
    /// The policy is Patch, and this minor version is not installed.
    AnotherMinor(Version),
    /// The policy is LTS, and the matrix does not say that it is maintained for long.
    NotLts,
    /// A newer version is installed.
    Downgrade(Version),
    /// The version that is installed is too old for it.
    TooFar {
        /// The version that is installed.
        installed: Version,
        /// The oldest that can be upgraded to it.
        oldest: Version,
    },
    /// It did not become available after an upgrade.
    Failed(Failure),
    /// An upgrade that has failed is rolled back to this version first, as a newer one may have to wait.
    AfterRollback(Version),
    /// It lacks versions of a kind in which the API server keeps objects.
    Stored {
        /// Name of the CustomResourceDefinition.
        definition: String,
        /// The versions.
        versions: Vec<String>,
    },
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreRelease => f.write_str("is a version for trial, whose images are not kept"),
            Self::Revoked(why) => write!(f, "was revoked: {why}"),
            Self::Kubernetes { found, range } => {
                write!(f, "works with Kubernetes {range}, and the cluster has {found}")
            }
            Self::Vsphere { vcenter: Vcenter { server, version }, range } => {
                write!(f, "works with vSphere {range}, and {server} has {version}")
            }
            Self::NeedsCpi => f.write_str(
                "needs CPI, and none is configured: fill in spec.cloudProvider.vsphereCloudConfigs",
            ),
            Self::NotPinned(pin) => write!(f, "is not {pin}, which is pinned"),
            Self::AnotherMinor(installed) => write!(f, "is no patch of {installed}, and the policy is Patch"),
            Self::NotLts => f.write_str("is not marked as lts in the matrix, and the policy is LTS"),
            Self::Downgrade(installed) => {
                write!(f, "is older than {installed}, which is installed: pin it to go back")
            }
            Self::TooFar { installed, oldest } => {
                write!(f, "can replace {oldest} or later, and {installed} is installed: upgrade in steps")
            }
            Self::Failed(failure) => {
                write!(f, "{failure}; to try it again, give the annotation {RETRY_UPGRADE} another value")
            }
            Self::AfterRollback(from) => write!(f, "is tried once {from} is applied again"),
            Self::Stored { definition, versions } => {
                let versions = versions.join(", ");
                write!(f, "lacks {versions} of {definition}, in which objects are or were stored")
            }
        }
    }
}
