//! The versions of Cluster API's kinds. Owns which versions there are and how a kind is addressed in one of them;
//! [`Capi`](super::Capi) finds the version that is served.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A version of Cluster API's kinds, and of its contract with providers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// Served by every release of Cluster API from 1.0 on, deprecated since 1.11.
    V1Beta1,
    /// Served since Cluster API 1.11.
    #[default]
    V1Beta2,
}

impl Version {
    /// Returns the version as in a URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1Beta1 => "v1beta1",
            Self::V1Beta2 => "v1beta2",
        }
    }

    /// Returns the version in `group/version`. An unknown one is read like the newest.
    pub(super) fn of_api_version(api_version: &str) -> Self {
        match api_version.rsplit('/').next() {
            Some("v1beta1") => Self::V1Beta1,
            _ => Self::V1Beta2,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The version a kind is read in, as kube's `DynamicType`.
///
/// All are equal, because the version an object is read in is not part of its identity: an `ObjectRef<Cluster>` with
/// the default finds its object in every store, whatever is served. Where the version matters it is set: in an `Api`
/// from [`Capi`](super::Capi), and in references to an object, which have the version that the object was read in.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadIn(pub Version);

impl PartialEq for ReadIn {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for ReadIn {}

impl Hash for ReadIn {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
