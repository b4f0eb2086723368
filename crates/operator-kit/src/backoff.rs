//! When a failed object is tried again.
//!
//! Owns every delay of the driver, and the count of failures per object. Never sleeps and never reads a clock.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::error::Disposition;

/// First delay after a transient failure.
pub const FIRST: Duration = Duration::from_secs(1);
/// Longest delay between two tries after transient failures.
pub const LONGEST: Duration = Duration::from_mins(5);
/// Delay between two tries of an object only a person can put right.
pub const PERMANENT: Duration = Duration::from_hours(1);

/// Failures in a row by object UID.
///
/// An object is keyed by its UID so that one recreated under the same name starts afresh.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: HashMap<String, u32>,
}

impl Backoff {
    /// Counts a failure of `uid` and says when to try again; `None` = only upon an event.
    ///
    /// Waiting is no failure, so it clears the count.
    pub fn failed(&mut self, uid: &str, disposition: Disposition) -> Option<Duration> {
        if let Disposition::Wait { after } = disposition {
            self.clear(uid);
            return after;
        }
        let count = self.failures.entry(uid.to_owned()).or_default();
        *count = count.saturating_add(1);
        Some(delay(disposition, *count, jitter()))
    }

    /// Forgets `uid`: it succeeded or is gone.
    pub fn clear(&mut self, uid: &str) {
        self.failures.remove(uid);
    }

    /// Number of objects whose last reconcile failed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether no object's last reconcile failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    /// Forgets all objects `exists` does not know.
    pub fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.failures.retain(|uid, _| exists(uid));
    }
}

/// The delay after the `failures`-th failure in a row (from 1), shortened by up to a quarter as `jitter` in `0.0..=1.0` says.
///
/// Never shorter than what the other side asked for.
#[must_use]
fn delay(disposition: Disposition, failures: u32, jitter: f64) -> Duration {
    let spread = 1.0 - 0.25 * jitter.clamp(0.0, 1.0);
    match disposition {
        Disposition::Wait { after } => after.unwrap_or(PERMANENT),
        Disposition::Permanent => PERMANENT.mul_f64(spread),
        Disposition::Auth => exponential(failures).mul_f64(spread),
        Disposition::Transient { retry_after } => {
            exponential(failures).mul_f64(spread).max(retry_after.unwrap_or_default())
        }
    }
}

fn exponential(failures: u32) -> Duration {
    let factor = 1 << failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(factor).min(LONGEST)
}

/// A number in `0.0..1.0` that differs between processes and calls; spreading load needs no better one.
pub(crate) fn jitter() -> f64 {
    f64::from(u32::try_from(random() >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// 64 bits that differ between processes and calls. Not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::time::Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_grows_to_its_cap() {
        let delays: Vec<_> = (1..=10).map(|n| delay(Disposition::TRANSIENT, n, 0.0).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        assert_eq!(delay(Disposition::TRANSIENT, u32::MAX, 0.0), LONGEST);
        assert_eq!(delay(Disposition::TRANSIENT, 1, 1.0), Duration::from_millis(750));
    }

    #[test]
    fn retry_after_is_honoured() {
        let asked = Disposition::Transient { retry_after: Some(Duration::from_secs(30)) };
        assert_eq!(delay(asked, 1, 0.5), Duration::from_secs(30));
        assert_eq!(delay(asked, 10, 0.0), LONGEST);
    }

    #[test]
    fn permanent_is_hourly_and_auth_is_transient() {
        assert_eq!(delay(Disposition::Permanent, 7, 0.0), PERMANENT);
        assert_eq!(delay(Disposition::Auth, 3, 0.0), delay(Disposition::TRANSIENT, 3, 0.0));
    }

    #[test]
    fn success_waiting_and_deletion_clear_the_count() {
        let mut backoff = Backoff::default();
        for uid in ["a", "b"] {
            backoff.failed(uid, Disposition::TRANSIENT);
            assert!(backoff.failed(uid, Disposition::TRANSIENT).unwrap() > FIRST);
        }
        let after = Some(Duration::from_secs(7));
        assert_eq!(backoff.failed("a", Disposition::Wait { after }), after);
        assert!(backoff.failed("a", Disposition::TRANSIENT).unwrap() <= FIRST);
        backoff.retain(|uid| uid == "a");
        assert_eq!(backoff.len(), 1);
        backoff.clear("a");
        assert!(backoff.is_empty());
    }

    #[test]
    fn jitter_stays_in_range_and_differs() {
        let drawn: Vec<_> = (0..64).map(|_| jitter()).collect();
        assert!(drawn.iter().all(|j| (0.0..=1.0).contains(j)));
        assert!(drawn.windows(2).any(|pair| (pair[0] - pair[1]).abs() > f64::EPSILON));
    }
}
