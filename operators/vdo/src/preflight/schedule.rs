//! When the checks run again.

use jiff::{SignedDuration, Timestamp};

const FIRST: SignedDuration = SignedDuration::from_mins(1);
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

/// When the checks run next. The default is at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// When they are due.
    due: Option<Timestamp>,
    /// Runs with findings in a row.
    failures: u32,
}

impl Schedule {
    /// Returns the schedule after a run: a minute later if it found something, twice as much each time, and an hour later otherwise.
    #[must_use]
    pub fn after_run(self, has_findings: bool, now: Timestamp) -> Self {
        if !has_findings {
            return Self { due: Some(now + LONGEST), failures: 0 };
        }
        let factor = 1_i32 << self.failures.min(6);
        Self { due: Some(now + (FIRST * factor).min(LONGEST)), failures: self.failures.saturating_add(1) }
    }

    /// Returns the schedule after something that changes the answers: a connection heals, settings or the account change.
    #[must_use]
    pub fn reset() -> Self {
        Self::default()
    }

    /// Returns how long to wait for the next run.
    #[must_use]
    pub fn wait(self, now: Timestamp) -> SignedDuration {
        self.due.map_or(SignedDuration::ZERO, |due| now.duration_until(due).max(SignedDuration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_looked_at_again_sooner_than_success() {
        let mut now = Timestamp::UNIX_EPOCH;
        let mut schedule = Schedule::default();
        assert_eq!(schedule.wait(now), SignedDuration::ZERO);
        let mut waits = Vec::new();
        for _ in 0..9 {
            schedule = schedule.after_run(true, now);
            waits.push(schedule.wait(now).as_mins());
            now += schedule.wait(now);
            assert_eq!(schedule.wait(now), SignedDuration::ZERO);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        schedule = schedule.after_run(false, now);
        assert_eq!(schedule.wait(now).as_mins(), 60);
        schedule = schedule.after_run(true, now);
        assert_eq!(schedule.wait(now).as_mins(), 1, "success ends the back-off");
        assert_eq!(
            schedule.wait(now + SignedDuration::from_hours(2)),
            SignedDuration::ZERO,
            "a late run is due"
        );
        assert_eq!(
            Schedule::reset().wait(now),
            SignedDuration::ZERO,
            "a connection that heals is used at once"
        );
        let tired = Schedule { due: None, failures: u32::MAX };
        assert_eq!(tired.after_run(true, now).wait(now).as_mins(), 60);
    }
}
