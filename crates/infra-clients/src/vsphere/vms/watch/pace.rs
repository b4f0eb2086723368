//! When the next poll may be sent. Owns the limit on polls and the time in which changes gather; sends nothing and
//! reads no clock.

use std::time::{Duration, Instant};

/// How long changes gather before the second poll after a quiet time. Doubled with each poll that follows.
const FIRST_GATHERING: Duration = Duration::from_millis(10);
const LONGEST_GATHERING: Duration = Duration::from_millis(80);
/// A poll that waits for longer than this ends a quiet time.
const QUIET: Duration = Duration::from_millis(100);
/// Polls that may be taken in advance for [`Next::Urgent`].
const ADVANCE: f64 = 3.0;

/// An allowance of polls: `burst` at most, one more each `interval`, and a few in advance for what is urgent. The poll that
/// waits through a quiet time returns with the first change, so that change is read at once; the polls after it are further
/// and further apart.
#[derive(Debug)]
pub(super) struct Pace {
    burst: f64,
    interval: Duration,
    /// Polls that may be sent, as of `at`.
    left: f64,
    at: Instant,
    /// Polls since the last quiet time.
    streak: u32,
}

impl Pace {
    pub(super) fn new(burst: u32, interval: Duration, now: Instant) -> Self {
        let burst = f64::from(burst.max(1));
        Self { burst, interval: interval.max(Duration::from_millis(1)), left: burst, at: now, streak: 0 }
    }

    fn left(&self, now: Instant) -> f64 {
        let added = now.saturating_duration_since(self.at).div_duration_f64(self.interval);
        (self.left + added).min(self.burst)
    }

    /// Takes one poll from the allowance.
    pub(super) fn take(&mut self, now: Instant) {
        self.left = (self.left(now) - 1.0).max(-ADVANCE);
        self.at = now;
        self.streak += 1;
    }

    /// Takes note of how long a poll waited for its answer.
    pub(super) fn answered(&mut self, waited: Duration) {
        if waited >= QUIET {
            self.streak = 1;
        }
    }

    /// Returns how long to wait before the next poll: as long as changes are to gather, and as long as the allowance
    /// demands.
    pub(super) fn wait(&self, next: Next, now: Instant) -> Duration {
        let left = self.left(now);
        let needed = if next == Next::Urgent { 1.0 - ADVANCE } else { 1.0 };
        if left < needed {
            return self.interval.mul_f64(needed - left);
        }
        if next != Next::Gathering {
            return Duration::ZERO;
        }
        let doublings = self.streak.saturating_sub(1).min(8);
        (FIRST_GATHERING * (1 << doublings)).min(LONGEST_GATHERING)
    }
}

/// What the next poll is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// The next change, whenever it comes.
    Change,
    /// Changes that come one after the other, and are better read together.
    Gathering,
    /// The end of a single task, on which more work depends.
    Urgent,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Next::{Change, Gathering, Urgent};
    use super::*;

    const BURST: u32 = 10;
    const INTERVAL: Duration = Duration::from_nanos(333_333_333);

    /// Returns when polls are sent while every one of them brings changes.
    fn busy(pace: &mut Pace, start: Instant, time: Duration) -> Vec<Duration> {
        let (mut now, mut polls) = (start, Vec::new());
        while now < start + time {
            pace.take(now);
            polls.push(now - start);
            // The allowance demands more than the gathering at times.
            loop {
                let wait = pace.wait(Gathering, now);
                now += wait;
                if pace.left(now) >= 1.0 - 1e-6 {
                    break;
                }
            }
        }
        polls
    }

    #[test]
    fn the_first_changes_are_read_soon_and_many_together() {
        let start = Instant::now();
        let polls = busy(&mut Pace::new(BURST, INTERVAL, start), start, Duration::from_secs(10));
        assert!(polls[1] < Duration::from_millis(25) && polls[2] < Duration::from_millis(65), "{polls:?}");
        assert!((36..=41).contains(&polls.len()), "{}", polls.len());
    }

    #[test]
    fn no_more_than_four_polls_a_second_over_any_ten_seconds() {
        let start = Instant::now();
        let polls = busy(&mut Pace::new(BURST, INTERVAL, start), start, Duration::from_mins(1));
        for (i, first) in polls.iter().enumerate() {
            let within = polls[i..].iter().take_while(|poll| **poll < *first + Duration::from_secs(10));
            assert!(within.count() <= 40);
        }
    }

    proptest! {
        /// Whatever comes when: never more than the burst and the rate allow.
        #[test]
        fn the_allowance_is_kept(pauses in prop::collection::vec((0u64..400, 0usize..3), 1..300)) {
            let start = Instant::now();
            let (mut pace, mut now) = (Pace::new(BURST, INTERVAL, start), start);
            let mut polls = Vec::new();
            for (pause, next) in pauses {
                let next = [Change, Gathering, Urgent][next];
                now += Duration::from_millis(pause);
                now += pace.wait(next, now);
                now += pace.wait(if next == Urgent { Urgent } else { Change }, now);
                pace.take(now);
                polls.push(now);
            }
            for (i, first) in polls.iter().enumerate() {
                for (n, last) in (1u32..).zip(&polls[i..]) {
                    let allowed = f64::from(BURST) + ADVANCE + (*last - *first).div_duration_f64(INTERVAL);
                    prop_assert!(f64::from(n) <= allowed + 1e-3, "{n} polls, {allowed} allowed");
                }
            }
        }
    }
}
