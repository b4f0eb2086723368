//! Controller versions: parsing and order.

use std::fmt;
use std::str::FromStr;

/// A controller version such as `30.2.1`. Clients and controllers compare the first three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// The version of a request without `X-Avi-Version`.
    pub const UNSTATED: Version = Version(16, 4, 1);
    /// Above every real version.
    pub(crate) const NEWEST: Version = Version(u16::MAX, 0, 0);
    /// The first version with `static_ip_ranges` and `usable_networks`.
    pub const STATIC_IP_RANGES: Version = Version(20, 1, 3);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = String;

    /// Parses dotted numbers. Missing ones are 0; those after the third are ignored.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = [0_u16; 3];
        for (index, part) in text.split('.').enumerate() {
            let number =
                part.parse().map_err(|_| format!("{text:?} is not a version; write one such as 30.2.1"))?;
            if let Some(slot) = numbers.get_mut(index) {
                *slot = number;
            }
        }
        Ok(Self(numbers[0], numbers[1], numbers[2]))
    }
}
