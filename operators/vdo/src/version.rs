//! Versions: of drivers, of Kubernetes and of vSphere, and ranges of them.
//!
//! Owns how each is read, as its system writes it, and the order. Decides nothing.

mod vsphere;

use std::fmt;
use std::str::FromStr;

pub use vsphere::{Vsphere, from_about};

/// Why a text is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no version of {of}: write one such as {example}")]
pub struct InvalidVersion {
    text: String,
    of: &'static str,
    example: &'static str,
}

/// Version of a driver: semantic, in its total order. Formats without the letter `v`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

impl Version {
    /// Creates a version from its numbers.
    #[must_use]
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// Returns whether the version was published for trial.
    #[must_use]
    pub fn is_pre_release(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// Returns the two numbers before the patch.
    #[must_use]
    pub fn minor(&self) -> (u64, u64) {
        (self.0.major, self.0.minor)
    }
}

impl FromStr for Version {
    type Err = InvalidVersion;

    /// Reads a version with or without the letter `v`. Numbers that are missing are 0, such as in `3.0`.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid =
            || InvalidVersion { text: text.to_owned(), of: "a driver", example: "3.7.3 or 1.36.0-rc.1" };
        let bare = text.trim();
        let bare = bare.strip_prefix(['v', 'V']).unwrap_or(bare);
        let (numbers, rest) = bare.split_at(bare.find(['-', '+']).unwrap_or(bare.len()));
        let zeros = match numbers.split('.').count() {
            1 => ".0.0",
            2 => ".0",
            _ => "",
        };
        semver::Version::parse(&format!("{numbers}{zeros}{rest}")).map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Version of Kubernetes: major, minor and, where it is known, patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kubernetes {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The third number.
    pub patch: u64,
}

impl FromStr for Kubernetes {
    type Err = InvalidVersion;

    /// Reads a version as the API server or a provider writes it: `v1.33.4`, `1.33+`, `v1.33.4-gke.1200`, `1.33.2+rke2r1`.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid =
            || InvalidVersion { text: text.to_owned(), of: "Kubernetes", example: "1.33 or v1.33.4" };
        let bare = text.trim();
        let bare = bare.strip_prefix(['v', 'V']).unwrap_or(bare);
        let numbers = &bare[..bare.find(['-', '+']).unwrap_or(bare.len())];
        let parts = numbers_of(numbers).ok_or_else(invalid)?;
        match *parts.as_slice() {
            [major, minor] => Ok(Self { major, minor, patch: 0 }),
            [major, minor, patch] => Ok(Self { major, minor, patch }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Reads numbers with dots between them.
fn numbers_of(text: &str) -> Option<Vec<u64>> {
    text.split('.')
        .map(|part| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?)
        .collect()
}

/// The numbers of a version that a range is compared with.
pub trait Numbers {
    /// Returns the numbers, most significant first.
    fn numbers(&self) -> [u64; 3];
}

impl Numbers for Kubernetes {
    fn numbers(&self) -> [u64; 3] {
        [self.major, self.minor, self.patch]
    }
}

/// An end of a range: one to three numbers. Those that are missing stand for any, so that `1.27` includes 1.27.9, as lower and as
/// upper end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound(Vec<u64>);

impl FromStr for Bound {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let bare = text.trim();
        let bare = bare.strip_prefix(['v', 'V']).unwrap_or(bare);
        let bare = bare.strip_suffix('+').unwrap_or(bare);
        // A build level of vSphere follows the third number: it tells nothing about a driver.
        let numbers = numbers_of(bare).filter(|numbers| numbers.len() <= 4);
        let numbers = numbers.map(|numbers| numbers.into_iter().take(3).collect());
        numbers.map(Self).ok_or_else(|| InvalidVersion {
            text: text.to_owned(),
            of: "a range",
            example: "1.33 or 8.0.2",
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

impl Bound {
    /// Returns how the version compares with the bound, in the numbers that the bound has.
    fn compare(&self, version: &impl Numbers) -> std::cmp::Ordering {
        let numbers = version.numbers();
        numbers[..self.0.len()].cmp(self.0.as_slice())
    }

    /// Returns whether the version is below the bound.
    #[must_use]
    pub fn is_above(&self, version: &impl Numbers) -> bool {
        self.compare(version).is_lt()
    }

    /// Returns whether the version is above the bound.
    #[must_use]
    pub fn is_below(&self, version: &impl Numbers) -> bool {
        self.compare(version).is_gt()
    }
}

impl Numbers for Version {
    fn numbers(&self) -> [u64; 3] {
        [self.0.major, self.0.minor, self.0.patch]
    }
}

/// Versions from a lower to an upper end, both included. An end that is missing is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Lower end.
    pub min: Option<Bound>,
    /// Upper end.
    pub max: Option<Bound>,
}

impl Range {
    /// Returns whether the version is in the range.
    #[must_use]
    pub fn contains(&self, version: &impl Numbers) -> bool {
        !self.is_older(version) && !self.is_newer(version)
    }

    /// Returns whether the version is older than all of the range.
    #[must_use]
    pub fn is_older(&self, version: &impl Numbers) -> bool {
        self.min.as_ref().is_some_and(|min| min.is_above(version))
    }

    /// Returns whether the version is newer than all of the range.
    #[must_use]
    pub fn is_newer(&self, version: &impl Numbers) -> bool {
        self.max.as_ref().is_some_and(|max| max.is_below(version))
    }

    /// Returns whether the range admits a single minor version.
    #[must_use]
    pub fn is_one_minor(&self) -> bool {
        matches!((&self.min, &self.max), (Some(min), Some(max)) if min == max && min.0.len() == 2)
    }

    /// Returns whether no version can be in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match (&self.min, &self.max) {
            (Some(min), Some(max)) => {
                let shared = min.0.len().min(max.0.len());
                min.0[..shared] > max.0[..shared]
            }
            _ => false,
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.min, &self.max) {
            (None, None) => f.write_str("any version"),
            (Some(min), None) => write!(f, "{min} or later"),
            (None, Some(max)) => write!(f, "{max} or earlier"),
            (Some(min), Some(max)) if min == max => write!(f, "{min}"),
            (Some(min), Some(max)) => write!(f, "{min} to {max}"),
        }
    }
}

#[cfg(test)]
mod tests;
