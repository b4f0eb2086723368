//! What this process remembers: how far the drivers are, and which files could not be fetched.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::matrix::Driver;
use crate::plan::{Drivers, Hold};

/// How often what is applied is compared with what is there although no change was seen. Less than the time after which every object is
/// looked at.
const AUDIT: SignedDuration = SignedDuration::from_mins(15);
/// How often a removal is carried on.
const REMOVAL: SignedDuration = SignedDuration::from_millis(200);
/// How long a file that could not be fetched is left alone.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);
/// How often a matrix at a URL without a checksum is fetched again.
const REFRESH: SignedDuration = SignedDuration::from_mins(15);

/// What this process remembers.
#[derive(Default)]
pub(crate) struct Memory(Mutex<State>);

/// What is remembered, as a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct State {
    drivers: Drivers<Option<Applied>>,
    removals: Drivers<Option<Removal>>,
    /// By the identity of the source.
    fetched: BTreeMap<String, Attempt>,
}

/// What was applied of a driver last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Applied {
    digest: String,
    /// Which of its objects are waited for.
    waits_for: Option<String>,
    /// How often in a row objects were waited for of which no watch tells that they are ready.
    looks: u32,
    at: Timestamp,
    /// Whether one of its objects has changed since.
    has_changed: bool,
    /// Whether it could not be applied.
    has_failed: bool,
}

impl Applied {
    /// Returns how long what no watch tells is waited for: half a second, then twice as long each time, up to half a minute.
    fn again(&self) -> Option<SignedDuration> {
        let looks = self.looks.checked_sub(1)?.min(6);
        Some(SignedDuration::from_millis(500 << looks))
    }
}

/// The removal of a driver.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Removal {
    /// When it was carried on last.
    at: Timestamp,
    /// What was left of the driver then, and what keeps that.
    left: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Attempt {
    at: Timestamp,
    failed: Option<Hold>,
}

/// How far a driver is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rollout {
    /// It has not been looked at since the process started.
    Unknown,
    /// Everything of it runs.
    Complete,
    /// These objects are waited for.
    Waiting(String),
}

impl Memory {
    /// Notes that an object of a driver has changed.
    pub(crate) fn look_at(&self, driver: Driver) {
        if let Some(applied) = self.state().drivers.get_mut(driver) {
            applied.has_changed = true;
        }
    }

    /// Notes that a driver is about to be applied.
    pub(crate) fn applying(&self, driver: Driver, digest: &str, now: Timestamp) {
        let mut state = self.state();
        let applied = state.drivers.get_mut(driver);
        let known = applied.take().filter(|known| known.digest == digest);
        // Until it is applied, it does not run: another object may look meanwhile.
        let new = || (Some("it is being applied".to_owned()), 0);
        let (waits_for, looks) = known.map_or_else(new, |known| (known.waits_for, known.looks));
        let digest = digest.to_owned();
        *applied = Some(Applied { digest, waits_for, looks, at: now, has_changed: false, has_failed: false });
    }

    /// Notes that a driver could not be applied: it is tried again. Of one that ran, it is not known whether it still does.
    pub(crate) fn failed(&self, driver: Driver, why: &str) {
        let mut state = self.state();
        let slot = state.drivers.get_mut(driver);
        *slot = slot.take().filter(|applied| applied.waits_for.is_some());
        if let Some(applied) = slot {
            applied.waits_for = Some(format!("it cannot be applied: {why}"));
            applied.has_failed = true;
        }
    }

    /// Notes that a driver was applied. `is_watched`: a watch tells when what is waited for is ready.
    pub(crate) fn applied(&self, driver: Driver, waits_for: Option<String>, is_watched: bool) {
        if let Some(applied) = self.state().drivers.get_mut(driver) {
            applied.looks = if is_watched { 0 } else { applied.looks.saturating_add(1) };
            applied.waits_for = waits_for;
        }
    }

    /// Returns after which time a driver is looked at again of which no watch tells that it is ready.
    pub(super) fn again(&self) -> Option<SignedDuration> {
        let state = self.state();
        Driver::ALL.iter().filter_map(|driver| state.drivers.get(*driver).as_ref()?.again()).min()
    }

    /// Forgets a driver: it is let go of.
    pub(crate) fn forget(&self, driver: Driver) {
        *self.state().drivers.get_mut(driver) = None;
    }

    /// Returns how far the driver is that was applied with this hash.
    pub(crate) fn rollout(&self, driver: Driver, digest: &str) -> Rollout {
        match self.state().drivers.get(driver) {
            Some(applied) if applied.digest == digest => {
                applied.waits_for.clone().map_or(Rollout::Complete, Rollout::Waiting)
            }
            _ => Rollout::Unknown,
        }
    }

    /// Returns what is waited for of the driver that was applied with this hash, as far as nothing has changed since.
    pub(super) fn waits_for(&self, driver: Driver, digest: &str) -> Option<String> {
        let state = self.state();
        let applied = state.drivers.get(driver).as_ref()?;
        applied.waits_for.clone().filter(|_| applied.digest == digest && !applied.has_changed)
    }

    /// Returns whether what is there of a driver is to be compared with what was applied.
    pub(crate) fn is_due(&self, driver: Driver, digest: &str, now: Timestamp) -> bool {
        let state = self.state();
        let applied = state.drivers.get(driver).as_ref().filter(|applied| applied.digest == digest);
        applied.is_none_or(|applied| {
            applied.has_changed
                || applied.has_failed
                || now.duration_since(applied.at) >= applied.again().unwrap_or(AUDIT)
        })
    }

    /// Notes that the removal of a driver is carried on.
    pub(crate) fn removing(&self, driver: Driver, now: Timestamp) {
        let mut state = self.state();
        *state.drivers.get_mut(driver) = None;
        let removal = state.removals.get_mut(driver);
        let left = removal.take().map(|removal| removal.left).unwrap_or_default();
        *removal = Some(Removal { at: now, left });
    }

    /// Notes what is left of a driver that is being removed, and what keeps that.
    pub(super) fn kept(&self, driver: Driver, left: String) {
        if let Some(removal) = self.state().removals.get_mut(driver) {
            removal.left = left;
        }
    }

    /// Returns what is left of a driver that is being removed, and what keeps that; empty while it is not known.
    pub(super) fn left(&self, driver: Driver) -> String {
        let state = self.state();
        state.removals.get(driver).as_ref().map(|removal| removal.left.clone()).unwrap_or_default()
    }

    /// Returns whether the removal of a driver is to be carried on.
    pub(crate) fn is_removal_due(&self, driver: Driver, now: Timestamp) -> bool {
        let state = self.state();
        let removal = state.removals.get(driver).as_ref();
        removal.is_none_or(|removal| now.duration_since(removal.at) >= REMOVAL)
    }

    /// Notes that a file was fetched, or why not.
    pub(super) fn fetched(&self, identity: &str, failed: Option<Hold>, now: Timestamp) {
        self.state().fetched.insert(identity.to_owned(), Attempt { at: now, failed });
    }

    /// Returns why a file could not be fetched a short time ago.
    pub(super) fn failure(&self, identity: &str, now: Timestamp) -> Option<Hold> {
        let state = self.state();
        let attempt = state.fetched.get(identity).filter(|attempt| now.duration_since(attempt.at) < PAUSE)?;
        attempt.failed.clone()
    }

    /// Returns whether a file that may have changed is to be fetched again.
    pub(super) fn is_old(&self, identity: &str, now: Timestamp) -> bool {
        let state = self.state();
        state.fetched.get(identity).is_none_or(|attempt| now.duration_since(attempt.at) >= REFRESH)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the model.
#[cfg(test)]
impl Memory {
    pub(crate) fn of(state: &State) -> Self {
        Self(Mutex::new(state.clone()))
    }

    pub(crate) fn into_state(self) -> State {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl State {
    /// Returns what is remembered when all of it has happened at this time.
    pub(crate) fn at(mut self, time: Timestamp) -> Self {
        for driver in Driver::ALL {
            if let Some(applied) = self.drivers.get_mut(driver) {
                applied.at = time;
            }
            if let Some(removal) = self.removals.get_mut(driver) {
                removal.at = time;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_applied_for_the_first_time_does_not_run_yet() {
        let (memory, now) = (Memory::default(), Timestamp::UNIX_EPOCH);
        let rollout = |digest: &str| memory.rollout(Driver::Cpi, digest);
        assert_eq!(rollout("d"), Rollout::Unknown);
        memory.applying(Driver::Cpi, "d", now);
        assert_eq!(rollout("d"), Rollout::Waiting("it is being applied".to_owned()));
        memory.applied(Driver::Cpi, None, true);
        memory.applying(Driver::Cpi, "d", now);
        assert_eq!(rollout("d"), Rollout::Complete, "it runs while it is compared");
        memory.applying(Driver::Cpi, "e", now);
        assert_eq!(rollout("e"), Rollout::Waiting("it is being applied".to_owned()));
    }

    #[test]
    fn what_is_left_is_known_while_the_removal_is_carried_on() {
        let (memory, now) = (Memory::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(memory.left(Driver::Csi), "");
        for _ in 0..2 {
            memory.removing(Driver::Csi, now);
            memory.kept(Driver::Csi, "Secret a/b: finalizer c".to_owned());
            memory.removing(Driver::Csi, now);
            assert_eq!(memory.left(Driver::Csi), "Secret a/b: finalizer c");
            memory.kept(Driver::Csi, String::new());
            assert_eq!(memory.left(Driver::Csi), "", "it is gone");
        }
    }

    #[test]
    fn what_could_not_be_applied_is_tried_again() {
        let (memory, now) = (Memory::default(), Timestamp::UNIX_EPOCH);
        memory.applying(Driver::Cpi, "d", now);
        memory.failed(Driver::Cpi, "why");
        let why = "it cannot be applied: why".to_owned();
        assert_eq!(memory.rollout(Driver::Cpi, "d"), Rollout::Waiting(why.clone()));
        assert!(memory.is_due(Driver::Cpi, "d", now) && memory.waits_for(Driver::Cpi, "d") == Some(why));
        memory.applying(Driver::Cpi, "d", now);
        memory.applied(Driver::Cpi, None, true);
        assert!(!memory.is_due(Driver::Cpi, "d", now));
        memory.failed(Driver::Cpi, "why");
        assert_eq!(memory.rollout(Driver::Cpi, "d"), Rollout::Unknown, "it ran");
    }

    /// A kind that is not served yet, and an APIService, have no watch.
    #[test]
    fn what_no_watch_tells_is_looked_at_again_and_again_less_often() {
        let memory = Memory::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let mut waits = Vec::new();
        for _ in 0..8 {
            memory.applying(Driver::Cni, "d", now);
            memory.applied(Driver::Cni, Some("why".to_owned()), false);
            let again = memory.again().unwrap();
            assert!(!memory.is_due(Driver::Cni, "d", now) && memory.is_due(Driver::Cni, "d", now + again));
            waits.push(again.as_millis());
            now += again;
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 32_000]);
        memory.applying(Driver::Cni, "d", now);
        memory.applied(Driver::Cni, None, true);
        assert_eq!(memory.again(), None);
        assert!(!memory.is_due(Driver::Cni, "d", now + SignedDuration::from_mins(14)));
    }
}
