//! The other side of the simulator: what tests and demos see of it and do to it, past its API.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::accounts::Hidden;
use super::clock::micros;
use super::controller::Discovery;
use super::directory::{self, text};
use super::faults::Fault;
use super::front::Shared;
use super::journal::{Counters, LoggedRequest, Logins};
use super::objects::take_password;
use crate::store::{Diff, PortGroup, Snapshot};
use crate::{Store, Version};

/// A handle on a running simulator; clones are the same simulator.
#[derive(Clone)]
pub struct Control {
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl Control {
    /// The configuration, for what has no method of its own. No request is answered meanwhile, and another call on this
    /// handle from within waits for ever.
    pub fn store<T>(&self, use_it: impl FnOnce(&mut Store) -> T) -> T {
        use_it(&mut self.shared.lock().store)
    }

    /// Adds objects, from YAML (or JSON, which is YAML): a map of kinds to lists of objects, see [`Store::seed`].
    /// A user's `password` is taken as the account's, whatever the policy says.
    ///
    /// # Errors
    /// If the text is no such map, or the store refuses an object; what came before it stays.
    pub fn seed(&self, yaml: &str) -> Result<()> {
        // An error must not show the lines around it: there are passwords in a seed.
        let options = serde_saphyr::options! { with_snippet: false };
        let seed: Value =
            serde_saphyr::from_str_with_options(yaml, options).context("the seed is no YAML")?;
        self.seed_value(seed)
    }

    /// As [`Control::seed`], from a value.
    ///
    /// # Errors
    /// If the store refuses an object; what came before it stays.
    pub fn seed_value(&self, mut seed: Value) -> Result<()> {
        let mut passwords: Vec<(String, Hidden)> = Vec::new();
        for user in seed.get_mut("user").and_then(Value::as_array_mut).into_iter().flatten() {
            let username = directory::username(user).to_owned();
            if let Some(password) = take_password(user) {
                passwords.push((username, password));
            }
        }
        let mut controller = self.shared.lock();
        let now = controller.clock.tick();
        let seeded = controller.store.seed(seed, now);
        for (username, password) in passwords {
            let uuid = directory::user(&controller.store, &username).and_then(|user| text(user, "uuid"));
            if let Some(uuid) = uuid.map(str::to_owned) {
                controller.accounts.set(&uuid, password, now);
            }
        }
        seeded.map(|_| ()).map_err(|error| anyhow!("{}: {}", error.status, error.text()))
    }

    /// Lets a vCenter cloud (by uuid or name) find these port groups once its clock is `after` from now; nought is at
    /// once. See [`Store::discover`] for what becomes of them.
    ///
    /// # Errors
    /// If they are to be found at once and there is no such cloud, or it is of another type. Later, that is logged.
    pub fn discover(&self, cloud: &str, groups: Vec<PortGroup>, after: Duration) -> Result<()> {
        let mut controller = self.shared.lock();
        if after.is_zero() {
            let now = controller.clock.tick();
            let found = controller.store.discover(cloud, &groups, now);
            return found.map(drop).map_err(|error| anyhow!("{}: {}", error.status, error.text()));
        }
        let due = controller.clock.now().saturating_add(micros(after));
        controller.discoveries.push(Discovery { due, cloud: cloud.to_owned(), groups });
        Ok(())
    }

    /// All objects, as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().store.snapshot()
    }

    /// What is on the controller now that was not before, what is gone, what changed.
    #[must_use]
    pub fn diff(&self, before: &Snapshot) -> Diff {
        self.shared.lock().store.diff(before)
    }

    /// What is wrong with the configuration: references to nowhere, orphans. Empty is good.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        self.shared.lock().store.check()
    }

    /// The requests so far, the oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.requests_behind(0)
    }

    /// The requests with a [`LoggedRequest::number`] above this.
    #[must_use]
    pub fn requests_behind(&self, number: u64) -> Vec<LoggedRequest> {
        self.shared.lock().journal.entries(number)
    }

    /// How many requests are being answered now: those that a fault delays, mostly.
    #[must_use]
    pub fn requests_waiting(&self) -> usize {
        self.shared.waiting()
    }

    /// Requests by method and path template (`/api/pool/{uuid}`).
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.lock().journal.counters()
    }

    /// The logins so far.
    #[must_use]
    pub fn logins(&self) -> Logins {
        self.shared.lock().journal.logins()
    }

    /// Empties the request log, the counters and the logins.
    pub fn reset_requests(&self) {
        self.shared.lock().journal.reset();
    }

    /// Adds a fault behind those that are set.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.add(fault);
    }

    /// Takes all faults away.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// While on, every write is refused: the controller is being upgraded.
    pub fn upgrade_mode(&self, on: bool) {
        self.shared.lock().upgrading = on;
    }

    /// Upgrades the controller: it has another version, no sessions, and roles with more privileges than before, see
    /// [`Store::upgrade_roles`].
    ///
    /// # Errors
    /// As [`Store::upgrade_roles`].
    pub fn upgrade_to(&self, version: Version) -> Result<()> {
        let mut controller = self.shared.lock();
        let now = controller.clock.tick();
        controller
            .store
            .upgrade_roles(version, now)
            .map_err(|error| anyhow!("{}: {}", error.status, error.text()))?;
        controller.version = version;
        controller.sessions.close_all();
        controller.up_since = controller.clock.now();
        Ok(())
    }

    /// While on, everything is answered 503 by the web server in front of the controller.
    pub fn unavailable(&self, on: bool) {
        self.shared.lock().unavailable = on;
    }

    /// Ends every session.
    pub fn expire_sessions(&self) {
        self.shared.lock().sessions.close_all();
    }

    /// Puts the controller's clock forward: sessions, lock-outs, tokens and passwords grow older.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.lock().clock.advance(by);
    }

    /// Sets a user's password past the policy. False if there is no such user.
    #[must_use]
    pub fn set_password(&self, username: &str, password: &str) -> bool {
        let mut controller = self.shared.lock();
        let now = controller.clock.now();
        let uuid = directory::user(&controller.store, username).and_then(|user| text(user, "uuid"));
        let Some(uuid) = uuid.map(str::to_owned) else { return false };
        controller.accounts.set(&uuid, Hidden::new(password), now);
        true
    }

    /// Stops listening and drops every connection, in the middle of whatever it is. The configuration stays.
    pub async fn stop(&self) {
        self.shared.close().await;
    }

    /// Listens again on the same port; without sessions, and with the cluster up from now.
    ///
    /// # Errors
    /// If the port was taken meanwhile.
    pub async fn restart(&self) -> Result<()> {
        self.shared.close().await;
        {
            let mut controller = self.shared.lock();
            controller.sessions.close_all();
            controller.up_since = controller.clock.now();
        }
        self.shared.open()
    }
}
