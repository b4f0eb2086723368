//! The wall clock of the timestamps in objects. Durations are measured by tokio's clock, which tests can pause.

use jiff::Timestamp;
use tokio::time::Instant;

/// Shows the time for conditions and Leases. Default: the system's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock(Option<(Instant, Timestamp)>);

impl Clock {
    /// Creates a clock that shows `start` now and moves with tokio's clock, also where that is paused.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Some((Instant::now(), start)))
    }

    /// Returns the time.
    #[must_use]
    pub fn now(self) -> Timestamp {
        match self.0 {
            None => Timestamp::now(),
            Some((begin, start)) => start.saturating_add(begin.elapsed()).unwrap_or(Timestamp::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_with_a_start_moves_with_paused_time() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(clock.now(), Timestamp::from_second(90).unwrap());
        assert!(Clock::default().now() > clock.now());
    }
}
