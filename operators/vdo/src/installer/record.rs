//! What is noted of a driver that is installed, on the parent of its set.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::version::Version;

const VERSION: &str = "version";
const DIGEST: &str = "digest";
const SINCE: &str = "since";
const REMOVING: &str = "removing";

/// What is noted of a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The version that was applied last.
    pub(crate) version: Version,
    /// Hash of what was applied last.
    pub(crate) digest: String,
    /// Since when this version is applied.
    pub(crate) since: Timestamp,
    /// Whether its removal has begun.
    pub(crate) is_removing: bool,
}

impl Record {
    /// Reads notes. Some that cannot be read are of a version below all others, so that the driver is applied again.
    pub(crate) fn read(notes: &BTreeMap<String, String>) -> Self {
        let of = |key: &str| notes.get(key).map(String::as_str).unwrap_or_default();
        Self {
            version: of(VERSION).parse().unwrap_or(Version::new(0, 0, 0)),
            digest: of(DIGEST).to_owned(),
            since: of(SINCE).parse().unwrap_or(Timestamp::UNIX_EPOCH),
            is_removing: of(REMOVING) == "true",
        }
    }

    /// Returns the notes.
    pub(super) fn notes(&self) -> BTreeMap<String, String> {
        let mut notes = BTreeMap::from([
            (VERSION.to_owned(), self.version.to_string()),
            (DIGEST.to_owned(), self.digest.clone()),
            (SINCE.to_owned(), self.since.to_string()),
        ]);
        if self.is_removing {
            notes.insert(REMOVING.to_owned(), "true".to_owned());
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        for is_removing in [false, true] {
            let record = Record {
                version: Version::new(1, 36, 0),
                digest: "ab".to_owned(),
                since: Timestamp::from_second(7).unwrap(),
                is_removing,
            };
            assert_eq!(Record::read(&record.notes()), record);
        }
        assert_eq!(Record::read(&BTreeMap::new()).version, Version::new(0, 0, 0));
    }
}
