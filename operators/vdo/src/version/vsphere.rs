//! vSphere's versions: what a vCenter says of itself, and which update that is.

use std::fmt;
use std::str::FromStr;

use super::{InvalidVersion, Numbers, numbers_of};

/// Version of a vCenter: major, minor and update, such as 8.0.3 for 8.0 Update 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vsphere {
    /// The first number.
    pub major: u64,
    /// The second number.
    pub minor: u64,
    /// The number of the update.
    pub update: u64,
}

/// Builds of vCenter 6.7 with which an update begins. All of them call themselves 6.7.0. Source: VMware's build numbers and versions
/// of vCenter Server (KB 2143838). The appliance's own build is up to a few hundred above the one listed.
const UPDATES_OF_6_7: [(u64, u64); 3] = [(14_367_737, 3), (13_010_631, 2), (10_244_745, 1)];

/// Returns the version of a vCenter from what its `ServiceContent.about` says.
///
/// vCenter 6.7 says 6.7.0 at every update: its API version or its build tells which one it is.
///
/// # Errors
/// If `version` is no version of vSphere.
pub fn from_about(
    version: &str,
    api_version: Option<&str>,
    build: Option<&str>,
) -> Result<Vsphere, InvalidVersion> {
    let mut found: Vsphere = version.parse()?;
    if found.update == 0 {
        let api = api_version.and_then(|text| text.parse::<Vsphere>().ok());
        if let Some(api) = api.filter(|api| (api.major, api.minor) == (found.major, found.minor)) {
            found.update = api.update;
        }
    }
    if (found.major, found.minor, found.update) == (6, 7, 0)
        && let Some(build) = build.and_then(|text| text.trim().parse::<u64>().ok())
    {
        found.update =
            UPDATES_OF_6_7.iter().find(|(first, _)| build >= *first).map_or(0, |(_, update)| *update);
    }
    Ok(found)
}

impl FromStr for Vsphere {
    type Err = InvalidVersion;

    /// Reads a version such as `8.0`, `8.0.3`, `8.0.3.00400`, `8.0 U3` or `6.7 Update 3`.
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let invalid = || InvalidVersion { text: text.to_owned(), of: "vSphere", example: "8.0.3 or 6.7 U3" };
        let lower = text.trim().to_ascii_lowercase();
        let at = lower.find(['u', ' ']).unwrap_or(lower.len());
        let (numbers, update) = lower.split_at(at);
        let parts = numbers_of(numbers).ok_or_else(invalid)?;
        let update = update.trim().trim_start_matches("update").trim_start_matches('u').trim();
        // A letter after the update names a patch of it, such as U3f.
        let update = update.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let update =
            if update.is_empty() { None } else { Some(update.parse::<u64>().map_err(|_| invalid())?) };
        match (parts.as_slice(), update) {
            (&[major, minor], update) => Ok(Self { major, minor, update: update.unwrap_or(0) }),
            (&[major, minor, update, ..], None) if parts.len() <= 4 => Ok(Self { major, minor, update }),
            (&[major, minor, 0], Some(update)) => Ok(Self { major, minor, update }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Vsphere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.update)
    }
}

impl Numbers for Vsphere {
    fn numbers(&self) -> [u64; 3] {
        [self.major, self.minor, self.update]
    }
}
