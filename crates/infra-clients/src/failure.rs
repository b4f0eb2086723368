//! What every client error can say, whichever system it comes from. Owns the vocabulary shared by the clients and by
//! the operators that map errors to delays, conditions, events and metrics; each client owns its own table.

use std::time::Duration;

/// Who has to act before the same request can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// No person: the cause passes with time. Retry with back-off.
    Retry,
    /// The server refused the login or the session. The client limits logins itself: retry no sooner than
    /// [`Failure::retry_after`].
    Refused,
    /// A person: settings, a certificate, rights, capacity or a name have to change. Report it and retry slowly.
    NeedsHelp,
}

/// The answers that every client error gives. Each client has one table behind them, by its `Kind`.
pub trait Failure: std::error::Error {
    /// Returns a CamelCase constant for conditions, events and metric labels. Every value is listed in the `REASONS`
    /// of the client.
    fn reason(&self) -> &'static str;

    /// Returns what a person can do about it, as the rest of a sentence.
    fn remedy(&self) -> &'static str;

    /// Returns who has to act.
    fn class(&self) -> Class;

    /// Returns the time before which a retry cannot succeed, if the server or the client has set one.
    fn retry_after(&self) -> Option<Duration>;

    /// Returns whether the request may have taken effect although it failed: it was or may have been sent, and no
    /// answer came back that says otherwise. Read the current state before sending it again. False for reads, as far
    /// as the client knows that it was one.
    fn in_doubt(&self) -> bool;
}

/// Shortens a pause by up to a quarter, so that clients that failed together do not retry together.
#[cfg(any(feature = "avi", feature = "vsphere"))]
pub(crate) fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};

    // Every `RandomState` has another key.
    let random = u8::try_from(RandomState::new().hash_one(0) % 256).unwrap_or(0);
    pause.mul_f64(1.0 - 0.25 * f64::from(random) / 256.0)
}

#[cfg(all(test, any(feature = "avi", feature = "vsphere")))]
mod tests {
    use super::*;

    #[test]
    fn jitter_shortens_by_up_to_a_quarter() {
        let pause = Duration::from_secs(8);
        let drawn: Vec<_> = (0..200).map(|_| jittered(pause)).collect();
        assert!(drawn.iter().all(|drawn| *drawn <= pause && *drawn > Duration::from_secs(6)), "{drawn:?}");
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]), "{drawn:?}");
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
    }
}
