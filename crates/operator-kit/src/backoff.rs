//! Delays: when a failed object is tried again.
//!
//! Owns the delays after failures and the formula for jitter; infra-clients, which does not know the kit, has the same one.
//! Never sleeps and never reads a clock.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::error::Disposition;

/// First delay after a failure.
pub const FIRST: Duration = Duration::from_secs(1);
/// Longest delay between two attempts.
pub const LONGEST: Duration = Duration::from_mins(5);

/// Returns the delay after the `failures`-th failure in a row (from 1): 1 s, doubled up to 5 min, shortened by jitter,
/// and never shorter than the server's Retry-After.
pub(crate) fn delay(disposition: Disposition, failures: u32) -> Duration {
    let (Disposition::Transient { retry_after } | Disposition::NeedsHelp { retry_after }) = disposition;
    shorten(exponential(failures)).max(retry_after.unwrap_or_default())
}

fn exponential(failures: u32) -> Duration {
    let factor = 1 << failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(factor).min(LONGEST)
}

/// Returns `pause` shortened by up to a quarter, at random, so that what failed together is not tried again together.
pub(crate) fn shorten(pause: Duration) -> Duration {
    let jitter = f64::from(u32::try_from(random() >> 32).unwrap_or_default()) / f64::from(u32::MAX);
    pause.mul_f64(1.0 - 0.25 * jitter)
}

/// Returns 64 bits that differ between processes and calls. Not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::time::Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(delay: Duration, wanted: Duration) -> bool {
        delay <= wanted && delay >= wanted.mul_f64(0.75)
    }

    #[test]
    fn delays_grow_to_their_cap() {
        for (failures, seconds) in (1..).zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]) {
            let wanted = Duration::from_secs(seconds);
            assert!(about(delay(Disposition::TRANSIENT, failures), wanted), "{failures}");
            assert!(about(delay(Disposition::NEEDS_HELP, failures), wanted), "{failures}");
        }
        assert!(about(delay(Disposition::TRANSIENT, u32::MAX), LONGEST));
    }

    #[test]
    fn retry_after_is_honoured() {
        let asked = Disposition::Transient { retry_after: Some(Duration::from_secs(30)) };
        assert_eq!(delay(asked, 1), Duration::from_secs(30));
        assert!(about(delay(asked, 10), LONGEST));
    }

    #[test]
    fn jitter_shortens_by_a_quarter_at_most_and_differs() {
        let minute = Duration::from_mins(1);
        let drawn: Vec<_> = (0..64).map(|_| shorten(minute)).collect();
        assert!(drawn.iter().all(|pause| about(*pause, minute)));
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]));
    }
}
