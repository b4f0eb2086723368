//! What has run of a driver before, and which upgrades of it have failed.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Policy, Rejection};
use crate::version::{InvalidVersion, Version};

/// An upgrade that has failed: the version did not become available in time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The version.
    #[serde(with = "text")]
    pub version: Version,
    /// The version that ran before.
    #[serde(with = "text")]
    pub from: Version,
    /// After how many seconds it counted as failed.
    pub after: u64,
    /// What did not run.
    pub why: String,
    /// What the annotation [`RETRY_UPGRADE`](crate::api::RETRY_UPGRADE) said then.
    pub retry: String,
}

/// Formats as a sentence whose subject is the version.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, after, why, .. } = self;
        let (number, unit) = if after % 60 == 0 { (after / 60, "minutes") } else { (*after, "seconds") };
        write!(f, "did not become available within {number} {unit} after the upgrade from {from}: {why}")
    }
}

/// What has run of a driver.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    /// The version that is installed.
    pub installed: Option<&'a Version>,
    /// Upgrades that have failed, and were rolled back or followed by another one.
    pub failed: &'a [Failure],
    /// The upgrade to the version that is installed, if it has failed.
    pub failing: Option<&'a Failure>,
    /// What else speaks against the version before it, such as what the API server keeps.
    pub no_way_back: Option<&'a Rejection>,
    /// What the annotation [`RETRY_UPGRADE`](crate::api::RETRY_UPGRADE) says.
    pub retry: &'a str,
}

impl<'a> History<'a> {
    /// Returns that of a driver of which this version is installed.
    #[must_use]
    pub fn of(installed: Option<&'a Version>) -> Self {
        Self { installed, ..Self::default() }
    }

    /// Returns the failure of a version that was upgraded to before, unless it is to be tried again.
    pub(super) fn failure(&self, version: &Version, policy: &Policy) -> Option<&Failure> {
        // A version that is pinned, or runs in spite of it, was tried again.
        if self.installed == Some(version) || matches!(policy, Policy::Pinned(_)) {
            return None;
        }
        self.failed.iter().find(|failure| failure.version == *version && failure.retry == self.retry)
    }

    /// Returns why the upgrade that has failed is not rolled back; `None` if it is. `candidates`: the versions of the matrix, with what
    /// speaks against each.
    pub(super) fn stays(
        &self,
        failing: &Failure,
        policy: &Policy,
        candidates: &[(Version, Vec<Rejection>)],
    ) -> Option<String> {
        let Failure { version, from, .. } = failing;
        if let Policy::Pinned(_) = policy {
            return Some(format!("{version} is pinned and stays: pin {from} to go back"));
        }
        let Some((_, against)) = candidates.iter().find(|(candidate, _)| candidate == from) else {
            return Some(format!("{version} stays, as the matrix does not have {from}"));
        };
        let against = against.iter().filter(|why| !matches!(why, Rejection::Downgrade(_)));
        let against: Vec<_> = against.chain(self.no_way_back).map(ToString::to_string).collect();
        (!against.is_empty()).then(|| format!("{version} stays, as {from} {}", against.join("; ")))
    }
}

/// Versions as text.
mod text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::{InvalidVersion, Version};

    pub(super) fn serialize<S: Serializer>(version: &Version, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(version)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Version, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: InvalidVersion| D::Error::custom(error))
    }
}
