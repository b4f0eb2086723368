//! When a login may be sent. Owns the limit on refused logins, so that no account is locked; sends nothing and reads
//! no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::error::Error;

/// No [`WINDOW`] holds more refused logins than this. Lock-out policies begin at five, vSphere's own at five within
/// three minutes.
const MAX_REFUSED: usize = 3;
const WINDOW: Duration = Duration::from_mins(30);
/// Pause after the first refused login: a password may be about to arrive everywhere.
const FIRST_PAUSE: Duration = Duration::from_mins(1);
/// Pause after each further one.
const PAUSE: Duration = Duration::from_mins(15);

/// What is known of logins that did not succeed.
#[derive(Debug, Default)]
pub(super) struct Logins {
    pub(super) refusals: Refusals,
    /// When the last attempt failed, and why.
    failed: Option<(Instant, Error)>,
}

impl Logins {
    /// Returns why the last attempt failed, if that was after `asked`: one attempt is for all who waited for it.
    pub(super) fn failed_since(&self, asked: Instant) -> Option<Error> {
        let (at, error) = self.failed.as_ref()?;
        (*at > asked).then(|| error.clone())
    }

    /// Records how an attempt ended.
    pub(super) fn ended(&mut self, result: &Result<(), Error>, now: Instant) {
        self.failed = result.as_ref().err().map(|error| (now, error.clone()));
    }
}

/// The refused logins of the last [`WINDOW`].
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The last [`MAX_REFUSED`], oldest first.
    times: VecDeque<Instant>,
    /// How many there were since the last login that succeeded.
    in_a_row: usize,
    error: Option<Error>,
}

impl Refusals {
    /// Returns why no login may be sent now, and for how long.
    pub(super) fn blocking(&self, now: Instant) -> Option<(&Error, Duration)> {
        let left = self.until()?.saturating_duration_since(now);
        (!left.is_zero()).then_some((self.error.as_ref()?, left))
    }

    /// Records a refused login.
    pub(super) fn refused(&mut self, now: Instant, error: Error) {
        if self.times.len() == MAX_REFUSED {
            self.times.pop_front();
        }
        self.times.push_back(now);
        self.in_a_row += 1;
        self.error = Some(error);
    }

    /// Records a login that succeeded. The refused ones still count towards the limit.
    pub(super) fn succeeded(&mut self) {
        self.in_a_row = 0;
    }

    fn until(&self) -> Option<Instant> {
        let last = *self.times.back()?;
        let pause = match self.in_a_row {
            0 => last,
            1 => last + FIRST_PAUSE,
            _ => last + PAUSE,
        };
        let limit = (self.times.len() == MAX_REFUSED).then(|| self.times.front().copied()).flatten();
        // The window includes both its ends.
        Some(limit.map_or(pause, |oldest| pause.max(oldest + WINDOW + Duration::from_millis(1))))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::error::Kind;
    use super::*;

    fn refusal() -> Error {
        Error::new(Kind::Unauthorized, "refused")
    }

    #[test]
    fn a_wrong_password_is_sent_less_and_less_often() {
        let start = Instant::now();
        let (mut refusals, mut now, mut sent) = (Refusals::default(), start, Vec::new());
        while now < start + 2 * WINDOW {
            if refusals.blocking(now).is_none() {
                sent.push(now.duration_since(start).as_secs() / 60);
                refusals.refused(now, refusal());
            }
            now += Duration::from_secs(1);
        }
        assert_eq!(sent, [0, 1, 16, 31, 46]);
    }

    proptest! {
        /// Whatever calls come, whenever the session ends and the password changes.
        #[test]
        fn at_most_three_refused_logins_in_any_thirty_minutes(
            attempts in prop::collection::vec((0u64..600, any::<bool>()), 1..200),
        ) {
            let mut now = Instant::now();
            let mut refusals = Refusals::default();
            let mut refused: Vec<Instant> = Vec::new();
            for (pause, is_refused) in attempts {
                now += Duration::from_secs(pause);
                if refusals.blocking(now).is_some() {
                    continue;
                }
                if is_refused {
                    refusals.refused(now, refusal());
                    refused.push(now);
                } else {
                    refusals.succeeded();
                }
            }
            for four in refused.windows(MAX_REFUSED + 1) {
                prop_assert!(four[MAX_REFUSED].duration_since(four[0]) > WINDOW);
            }
        }

        /// The wait ends.
        #[test]
        fn no_wait_is_longer_than_the_window(pauses in prop::collection::vec(0u64..4000, 1..50)) {
            let mut now = Instant::now();
            let mut refusals = Refusals::default();
            for pause in pauses {
                now += Duration::from_secs(pause);
                match refusals.blocking(now) {
                    Some((_, left)) => prop_assert!(left <= WINDOW + Duration::from_millis(1)),
                    None => refusals.refused(now, refusal()),
                }
            }
        }
    }
}
