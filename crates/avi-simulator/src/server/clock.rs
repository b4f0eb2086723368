//! The controller's clock: real time plus the time by which a test advanced it. Never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, as the controller writes `_last_modified`.
pub(super) type Micros = u64;

/// The clock of one controller.
#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    /// The system time at the start, since 1970.
    at_start: Duration,
    /// How far a test advanced the clock.
    ahead: Duration,
    /// The latest tick.
    last: Micros,
}

impl Clock {
    /// Returns a clock that shows the system time.
    pub(super) fn new() -> Self {
        let at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), at_start, ahead: Duration::ZERO, last: 0 }
    }

    /// Returns the time.
    pub(super) fn now(&self) -> Micros {
        let now = self.at_start.saturating_add(self.started.elapsed()).saturating_add(self.ahead);
        micros(now).max(self.last)
    }

    /// Returns a time later than every tick before: each write gets its own `_last_modified`.
    pub(super) fn tick(&mut self) -> Micros {
        self.last = self.now().max(self.last + 1);
        self.last
    }

    /// Advances the clock.
    pub(super) fn advance(&mut self, by: Duration) {
        self.ahead = self.ahead.saturating_add(by);
    }
}

/// The latest time, more than 100,000 years from now. Sums of a few such times do not overflow.
const LAST: Micros = Micros::MAX / 4;

/// Converts a duration to the clock's unit; at most [`LAST`].
pub(super) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).map_or(LAST, |micros| micros.min(LAST))
}

/// Formats a time as `2026-01-31T23:59:59Z`, the form of RFC 3339 that Go and Python both parse.
pub(super) fn rfc3339(at: Micros) -> String {
    let seconds = at / 1_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Counts Gregorian days from 1 March of year 0: a leap day is then the last day of its year.
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_as_rfc3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_735_689_599_999_999), "2024-12-31T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400_000_000), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn every_tick_is_later_than_the_last() {
        let mut clock = Clock::new();
        let first = clock.tick();
        assert!(clock.tick() > first);
        clock.advance(Duration::from_hours(1));
        assert!(clock.now() >= first + 3_600_000_000);
        clock.advance(Duration::MAX);
        clock.advance(Duration::MAX);
        let last = clock.tick();
        assert!(clock.tick() > last);
        assert!(rfc3339(last).ends_with('Z'));
    }
}
