//! What is noted of a driver that is installed, on the parent of its set.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::version::Version;

const VERSION: &str = "version";
const DIGEST: &str = "digest";
const SINCE: &str = "since";
const REMOVING: &str = "removing";
const UPGRADE: &str = "upgrade";
const NEEDS_CPI: &str = "needs-cpi";
const RECOVERED: &str = "recovered";

/// What is noted of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub(crate) struct Record {
    /// The version that was applied last.
    pub(crate) version: Version,
    /// Hash of what was applied last.
    pub(crate) digest: String,
    /// Since when this version is applied.
    pub(crate) since: Timestamp,
    /// Whether it took the place of another version.
    pub(crate) is_upgrade: bool,
    /// Whether this version needs CPI.
    pub(crate) needs_cpi: bool,
    /// Whether its removal has begun.
    pub(crate) is_removing: bool,
    /// Whether the notes were gone: which kinds its objects have is not known.
    pub(crate) is_recovered: bool,
}

impl Record {
    /// Reads notes. Some that cannot be read are of a version below all others, so that the driver is applied again.
    pub(crate) fn read(notes: &BTreeMap<String, String>) -> Self {
        let of = |key: &str| notes.get(key).map(String::as_str).unwrap_or_default();
        Self {
            version: of(VERSION).parse().unwrap_or(Version::new(0, 0, 0)),
            digest: of(DIGEST).to_owned(),
            since: of(SINCE).parse().unwrap_or(Timestamp::UNIX_EPOCH),
            is_upgrade: of(UPGRADE) == "true",
            needs_cpi: of(NEEDS_CPI) == "true",
            is_removing: of(REMOVING) == "true",
            is_recovered: of(RECOVERED) == "true",
        }
    }

    /// Returns the record of a driver whose notes are gone, by the version of its images. Another version may have run before: an upgrade may
    /// have been under way.
    pub(crate) fn recovered(version: &str) -> Self {
        let notes = [(VERSION, version), (UPGRADE, "true"), (RECOVERED, "true")];
        Self::read(&notes.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    }

    /// Returns whether another version runs than this one, or ran before it.
    pub(crate) fn replaces(&self, version: &Version) -> bool {
        self.is_upgrade || self.version != *version
    }

    /// Returns the notes.
    pub(crate) fn notes(&self) -> BTreeMap<String, String> {
        let mut notes = BTreeMap::from([
            (VERSION.to_owned(), self.version.to_string()),
            (DIGEST.to_owned(), self.digest.clone()),
            (SINCE.to_owned(), self.since.to_string()),
        ]);
        let marks = [
            (UPGRADE, self.is_upgrade),
            (NEEDS_CPI, self.needs_cpi),
            (REMOVING, self.is_removing),
            (RECOVERED, self.is_recovered),
        ];
        let marks = marks.into_iter().filter(|(_, is)| *is);
        notes.extend(marks.map(|(key, _)| (key.to_owned(), "true".to_owned())));
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        for marks in 0..16_u8 {
            let is = |bit: u8| marks & (1 << bit) != 0;
            let record = Record {
                version: Version::new(1, 36, 0),
                digest: "ab".to_owned(),
                since: Timestamp::from_second(7).unwrap(),
                is_upgrade: is(0),
                needs_cpi: is(1),
                is_removing: is(2),
                is_recovered: is(3),
            };
            assert_eq!(Record::read(&record.notes()), record);
        }
        assert_eq!(Record::read(&BTreeMap::new()).version, Version::new(0, 0, 0));
        let recovered = Record::recovered("v1.36.0");
        assert!(recovered.version == Version::new(1, 36, 0) && recovered.is_recovered);
        assert_eq!(Record::recovered("latest").version, Version::new(0, 0, 0));
    }

    /// What is begun as an upgrade goes in the order of an upgrade to its end.
    #[test]
    fn an_upgrade_stays_one() {
        let lost = Record::recovered("1.0.0");
        let old = Record { is_upgrade: false, ..lost.clone() };
        let (same, other) = (Version::new(1, 0, 0), Version::new(2, 0, 0));
        assert!(!old.replaces(&same) && old.replaces(&other) && lost.replaces(&same));
        assert!(Record { version: other.clone(), is_upgrade: true, ..old }.replaces(&other));
    }
}
