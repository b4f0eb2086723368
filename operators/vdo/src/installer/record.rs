//! What is noted of a driver that is installed, on the parent of its set.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::memory::Memory;
use crate::choose::Failure;
use crate::matrix::Driver;
use crate::version::Version;

/// How long an upgrade may take until it counts as failed, unless the flag says otherwise: as long as images take to be pulled over a slow
/// network, and all Nodes to be served one after the other.
pub(crate) const UPGRADE_TIMEOUT: &str = "15m";

const VERSION: &str = "version";
const DIGEST: &str = "digest";
const SINCE: &str = "since";
const REMOVING: &str = "removing";
const UPGRADE: &str = "upgrade";
const NEEDS_CPI: &str = "needs-cpi";
const RECOVERED: &str = "recovered";
const COMPLETE: &str = "complete";
const PREVIOUS: &str = "previous";
const FAILED: &str = "failed";

/// How long an upgrade is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience<'a> {
    /// After which time an upgrade counts as failed.
    pub(crate) timeout: SignedDuration,
    /// What the annotation says whose change lets a version be tried again.
    pub(crate) retry: &'a str,
    pub(crate) now: Timestamp,
}

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
    /// Whether this version has run completely.
    pub(crate) is_complete: bool,
    /// The version that ran completely before the upgrade to this one, until this one does.
    pub(crate) previous: Option<Version>,
    /// Upgrades that have failed: their versions are not tried again by themselves.
    pub(crate) failed: Vec<Failure>,
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
            is_complete: of(COMPLETE) == "true",
            previous: of(PREVIOUS).parse().ok(),
            failed: serde_json::from_str(of(FAILED)).unwrap_or_default(),
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

    /// Returns what is to be noted once this version runs; `None` if that is noted.
    pub(crate) fn completed(&self) -> Option<Self> {
        let failed = self.failed.iter().filter(|failure| failure.version > self.version).cloned().collect();
        (!self.is_complete).then(|| Self { is_complete: true, previous: None, failed, ..self.clone() })
    }

    /// Returns the failure of the upgrade to this version, if what of it does not run has been waited for long enough.
    pub(crate) fn failure(
        &self,
        driver: Driver,
        memory: &Memory,
        Patience { timeout, retry, now }: Patience<'_>,
    ) -> Option<Failure> {
        let from = self.previous.clone().filter(|_| !self.is_complete && !self.is_removing)?;
        let why = memory.waits_for(driver, &self.digest)?;
        let (version, retry) = (self.version.clone(), retry.to_owned());
        let after = u64::try_from(timeout.as_secs()).unwrap_or_default();
        let is_over = now.duration_since(self.since) >= timeout;
        is_over.then_some(Failure { version, from, after, why, retry })
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
            (COMPLETE, self.is_complete),
        ];
        let marks = marks.into_iter().filter(|(_, is)| *is);
        notes.extend(marks.map(|(key, _)| (key.to_owned(), "true".to_owned())));
        notes.extend(self.previous.as_ref().map(|previous| (PREVIOUS.to_owned(), previous.to_string())));
        if !self.failed.is_empty() {
            let failed = serde_json::to_string(&self.failed).unwrap_or_default();
            notes.insert(FAILED.to_owned(), failed);
        }
        notes
    }
}

#[cfg(test)]
mod tests;
