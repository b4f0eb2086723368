//! [`Control`], the handle of tests and demos: inspects and changes a simulator directly, not through its API.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::accounts::Secret;
use super::clock::micros;
use super::directory::{self, text};
use super::faults::Fault;
use super::journal::{Counters, LoggedRequest, Logins};
use super::listener::Shared;
use super::passwords::take_password;
use super::state::Discovery;
use crate::store::{Diff, PortGroup, Snapshot};
use crate::{Store, Version};

/// A handle of a running simulator; clones refer to the same simulator.
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
    /// Runs `access` on the configuration. Holds the simulator's lock: no request is answered meanwhile, and a call of
    /// another method of this handle from within `access` deadlocks.
    pub fn store<T>(&self, access: impl FnOnce(&mut Store) -> T) -> T {
        access(&mut self.shared.lock().store)
    }

    /// Adds objects from YAML or JSON: a map of kinds to lists of objects, see [`Store::seed`]. Sets the `password` of a
    /// user without checking it against the policy.
    ///
    /// # Errors
    /// If the text is not such a map, or the store refuses an object; the objects before it stay.
    pub fn seed(&self, yaml: &str) -> Result<()> {
        // No snippet in errors: a seed has passwords.
        let options = serde_saphyr::options! { with_snippet: false };
        let seed: Value =
            serde_saphyr::from_str_with_options(yaml, options).context("the seed is not YAML")?;
        self.seed_value(seed)
    }

    /// Adds objects as [`Control::seed`] does, from a value.
    ///
    /// # Errors
    /// If the store refuses an object; the objects before it stay.
    pub fn seed_value(&self, mut seed: Value) -> Result<()> {
        let mut passwords: Vec<(String, Secret)> = Vec::new();
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
            let uuid = directory::find_user(&controller.store, &username).and_then(|user| text(user, "uuid"));
            if let Some(uuid) = uuid.map(str::to_owned) {
                controller.accounts.set_password(&uuid, password, now);
            }
        }
        seeded.map(|_| ()).map_err(|error| anyhow!("{}: {}", error.status, error.text()))
    }

    /// Lets a vCenter cloud (by uuid or name) find these port groups when the controller's clock has advanced by `after`;
    /// with zero, immediately. See [`Store::discover`] for the resulting networks.
    ///
    /// # Errors
    /// With `after` zero: if there is no such cloud, or it has another type. A later discovery only logs that.
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

    /// Returns all objects as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.shared.lock().store.snapshot()
    }

    /// Returns the objects that were added, removed and changed since the snapshot.
    #[must_use]
    pub fn diff(&self, before: &Snapshot) -> Diff {
        self.shared.lock().store.diff(before)
    }

    /// Returns the faults of the configuration: dangling references, orphans. Empty if it is consistent.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        self.shared.lock().store.check()
    }

    /// Returns the requests so far, oldest first.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.requests_after(0)
    }

    /// Returns the requests with a [`LoggedRequest::number`] above `number`, oldest first.
    #[must_use]
    pub fn requests_after(&self, number: u64) -> Vec<LoggedRequest> {
        self.shared.lock().journal.entries_after(number)
    }

    /// Returns the number of requests in flight, for example of those that a fault delays.
    #[must_use]
    pub fn requests_in_flight(&self) -> usize {
        self.shared.in_flight()
    }

    /// Returns the number of requests by method and path template (`/api/pool/{uuid}`).
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.lock().journal.counters()
    }

    /// Returns the number of logins so far.
    #[must_use]
    pub fn logins(&self) -> Logins {
        self.shared.lock().journal.logins()
    }

    /// Empties the request log and sets all counters to 0.
    pub fn reset_requests(&self) {
        self.shared.lock().journal.reset();
    }

    /// Adds a fault after the active ones. The first fault that matches a request affects it.
    pub fn fault(&self, fault: Fault) {
        self.shared.lock().faults.add(fault);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Turns upgrade mode on or off. While on, every write is refused with 403.
    pub fn upgrade_mode(&self, on: bool) {
        self.shared.lock().upgrading = on;
    }

    /// Upgrades the controller: sets the version, ends all sessions, and adds privileges to the roles, see
    /// [`Store::upgrade_roles`].
    ///
    /// # Errors
    /// If [`Store::upgrade_roles`] fails.
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

    /// Turns an outage on or off. While on, every request gets 503, as from the web server in front of a controller.
    pub fn unavailable(&self, on: bool) {
        self.shared.lock().unavailable = on;
    }

    /// Ends every session.
    pub fn expire_sessions(&self) {
        self.shared.lock().sessions.close_all();
    }

    /// Advances the controller's clock, by which sessions, lock-outs, tokens and passwords expire.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.lock().clock.advance(by);
    }

    /// Sets a user's password without checking it against the policy. False if there is no such user.
    #[must_use]
    pub fn set_password(&self, username: &str, password: &str) -> bool {
        let mut controller = self.shared.lock();
        let now = controller.clock.now();
        let uuid = directory::find_user(&controller.store, username).and_then(|user| text(user, "uuid"));
        let Some(uuid) = uuid.map(str::to_owned) else { return false };
        controller.accounts.set_password(&uuid, Secret::new(password), now);
        true
    }

    /// Stops listening and drops every connection, also in the middle of a request. The configuration stays.
    pub async fn stop(&self) {
        self.shared.close().await;
    }

    /// Starts to listen again on the same port. Ends all sessions and sets the cluster's start time to now.
    ///
    /// # Errors
    /// If the port cannot be bound.
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
