//! The compatibility matrix: which version of a driver works with which vSphere and Kubernetes.
//!
//! Owns the format, which is the original's with more members, the ConfigMap that holds it, and a matrix that is built in. Decides
//! nothing: that is [`crate::choose`].

mod config_map;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use config_map::{Settings, Source, settings};
pub use wire::InvalidMatrix;

use crate::version::{Range, Version};

/// A driver that vdo installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Driver {
    /// The network: Antrea.
    Cni,
    /// The cloud provider: cloud-provider-vsphere.
    Cpi,
    /// The kinds of snapshots and their controller: the csi-snapshotter of CSI fails without these kinds.
    Snapshots,
    /// The storage driver: vsphere-csi-driver.
    Csi,
}

impl Driver {
    /// All of them, in the order of their installation.
    pub const ALL: [Self; 4] = [Self::Cni, Self::Cpi, Self::Snapshots, Self::Csi];

    /// Returns the name, as in the matrix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cni => "CNI",
            Self::Cpi => "CPI",
            Self::Snapshots => "SnapshotController",
            Self::Csi => "CSI",
        }
    }
}

impl FromStr for Driver {
    type Err = String;

    /// Reads the name, in lower case as well.
    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim();
        let driver = Self::ALL.into_iter().find(|driver| driver.name().eq_ignore_ascii_case(name));
        driver
            .ok_or_else(|| format!("unknown driver {name:?}; write one of CNI, CPI, SnapshotController, CSI"))
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known of a version of a driver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// Versions of vSphere that it works with.
    pub vsphere: Range,
    /// Versions of Kubernetes that it works with.
    pub kubernetes: Range,
    /// Whether it needs CPI, which gives Nodes the provider IDs that it looks for.
    pub is_cpi_required: bool,
    /// URLs of its manifests.
    pub manifests: Vec<String>,
    /// Why it must not be installed.
    pub revoked: Option<String>,
    /// Whether it is maintained for long.
    pub is_lts: bool,
    /// The oldest version that can be upgraded to it at once.
    pub upgrade_from: Option<Version>,
    /// Where the numbers are from.
    pub source: Option<String>,
}

/// The text of the matrix that is built in.
pub(crate) const BUILT_IN: &str = include_str!("matrix/built_in.json");

/// Which version of a driver works with which vSphere and Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    releases: BTreeMap<Driver, BTreeMap<Version, Release>>,
    /// Members of the text that mean nothing, such as `CSI.3.7.3.revokd`: they are ignored, as the original does.
    pub ignored: Vec<String>,
}

impl Matrix {
    /// Reads a matrix.
    ///
    /// # Errors
    /// If the text is no matrix. The error names the member, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidMatrix> {
        wire::parse(text)
    }

    /// Returns the matrix that is built in. The user's replaces it.
    ///
    /// # Errors
    /// Never: a test reads it.
    pub fn built_in() -> Result<Self, InvalidMatrix> {
        Self::parse(BUILT_IN)
    }

    /// Returns the releases of a driver, oldest first.
    #[must_use]
    pub fn releases(&self, driver: Driver) -> impl DoubleEndedIterator<Item = (&Version, &Release)> {
        self.releases.get(&driver).into_iter().flatten()
    }

    /// Returns what is known of a version.
    #[must_use]
    pub fn release(&self, driver: Driver, version: &Version) -> Option<&Release> {
        self.releases.get(&driver)?.get(version)
    }

    /// Adds a version.
    pub fn add(&mut self, driver: Driver, version: Version, release: Release) {
        self.releases.entry(driver).or_default().insert(version, release);
    }
}

#[cfg(test)]
mod tests;
