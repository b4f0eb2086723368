//! Permissions by kind: what a user's roles grant, and the refusal of a request that no role allows. The store decides
//! about single objects.

use super::admission::Client;
use super::directory::{access_entries, is_superuser};
use super::state::Controller;
use crate::{ApiError, Grant, Level, Rights, Rule, Store};

impl Controller {
    /// Returns the rights of a user, by uuid.
    pub(super) fn rights(&self, user: &str) -> Rights {
        match self.store.object("user", user) {
            Some(user) if self.rules.holds(Rule::Permissions) && !is_superuser(user) => Rights::of(
                access_entries(&self.store, user)
                    .map(|access| Grant::of_role(access.role, access.tenant))
                    .collect(),
            ),
            _ => Rights::all(),
        }
    }

    /// Checks that the client's roles let it read or write any object of the kind; 403 if not.
    pub(super) fn check_permission(&self, client: &Client, kind: &str, write: bool) -> Result<(), ApiError> {
        let Some(kind) = Store::kind(kind) else { return Ok(()) };
        let level = if write { Level::Write } else { Level::Read };
        if client.caller.rights.allow(kind.permission, level, &client.caller.scope) {
            Ok(())
        } else {
            Err(self.store.unauthorized(&client.caller, kind, write))
        }
    }
}
