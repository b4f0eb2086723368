//! The controller's state: configuration, sessions, credentials, clock, faults, request log. All of it is under one lock,
//! which the [`listener`](super::listener) holds for each request. Answers no request.

use super::accounts::Accounts;
use super::clock::{Clock, Micros};
use super::faults::Faults;
use super::journal::Journal;
use super::sessions::Sessions;
use crate::store::PortGroup;
use crate::{Assumptions, Rule, Rules, Store, Version};

/// One controller. Its methods in this module change state by the clock; those in
/// [`admission`](super::admission) and [`permissions`](super::permissions) check requests.
pub(super) struct Controller {
    pub(super) store: Store,
    pub(super) sessions: Sessions,
    pub(super) accounts: Accounts,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
    pub(super) journal: Journal,
    pub(super) rules: Rules,
    pub(super) assumptions: Assumptions,
    pub(super) version: Version,
    /// `https://host:port`.
    pub(super) base: String,
    /// When the cluster started.
    pub(super) up_since: Micros,
    /// Whether writes are refused because of an upgrade.
    pub(super) upgrading: bool,
    /// Whether every request gets 503.
    pub(super) unavailable: bool,
    /// The port groups that clouds will find later.
    pub(super) discoveries: Vec<Discovery>,
    /// The requests counted against the rate limit.
    pub(super) window: Window,
}

/// Port groups that exist in a cloud's vCenter and that the cloud finds at a set time.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) due: Micros,
    /// The cloud's uuid or name.
    pub(super) cloud: String,
    pub(super) groups: Vec<PortGroup>,
}

/// The number of requests in the current second of the clock.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) second: u64,
    pub(super) count: u64,
}

impl Controller {
    /// Returns a controller with the built-in objects; `base` is the URL of its replies.
    pub(super) fn new(rules: Rules, assumptions: Assumptions, version: Version, base: String) -> Self {
        let clock = Clock::new();
        Self {
            store: Store::new(rules.clone(), assumptions.clone()),
            sessions: Sessions::new(rules.holds(Rule::SessionExpiry)),
            accounts: Accounts::default(),
            up_since: clock.now(),
            clock,
            faults: Faults::default(),
            journal: Journal::default(),
            rules,
            assumptions,
            version,
            base,
            upgrading: false,
            unavailable: false,
            discoveries: Vec::new(),
            window: Window::default(),
        }
    }

    /// Runs the discoveries that are due. Call it before each access to the state.
    pub(super) fn run_due_discoveries(&mut self) {
        let now = self.clock.now();
        let due: Vec<Discovery> = self.discoveries.extract_if(.., |discovery| discovery.due <= now).collect();
        for Discovery { cloud, groups, .. } in due {
            let now = self.clock.tick();
            // The cloud may have been deleted or changed since the discovery was scheduled.
            if let Err(error) = self.store.discover(&cloud, &groups, now) {
                tracing::warn!(
                    cloud,
                    error = error.text(),
                    "cannot discover networks; check the cloud's name and type"
                );
            }
        }
    }
}
