//! The controller's clock: real time plus what a test has put it forward. Never goes back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970, as the controller writes `_last_modified`.
pub(super) type Micros = u64;

#[derive(Debug)]
pub(super) struct Clock {
    started: Instant,
    at_start: Duration,
    ahead: Duration,
    last: Micros,
}

impl Clock {
    pub(super) fn new() -> Self {
        let at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), at_start, ahead: Duration::ZERO, last: 0 }
    }

    pub(super) fn now(&self) -> Micros {
        let now = self.at_start.saturating_add(self.started.elapsed()).saturating_add(self.ahead);
        micros(now).max(self.last)
    }

    /// Like [`Clock::now`], and later than every tick before: no two writes carry the same `_last_modified`.
    pub(super) fn tick(&mut self) -> Micros {
        self.last = self.now().max(self.last + 1);
        self.last
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.ahead = self.ahead.saturating_add(by);
    }
}

/// The end of time: a good 100,000 years from now, and room behind it to count on.
const LAST: Micros = Micros::MAX / 4;

/// A duration in the clock's unit; cut at the end of time.
pub(super) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).map_or(LAST, |micros| micros.min(LAST))
}

/// `2026-01-31T23:59:59Z`, the form of RFC 3339 that Go and Python both read.
pub(super) fn rfc3339(at: Micros) -> String {
    let seconds = at / 1_000_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days of the Gregorian calendar counted from 1 March of year 0, so that a leap day ends its year.
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
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_735_689_599_999_999), "2024-12-31T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400_000_000), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn ticks_differ_and_time_moves_on() {
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
