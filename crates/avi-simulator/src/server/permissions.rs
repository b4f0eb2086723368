//! What the roles of a user grant, and the refusal of a request that none of them allows. Which objects a request may
//! touch is the store's.

use super::controller::{Client, Controller};
use super::directory::{accesses, superuser};
use crate::{ApiError, Grant, Level, Rights, Rule, Store};

impl Controller {
    /// What the user with this uuid may do.
    pub(super) fn rights(&self, user: &str) -> Rights {
        match self.store.object("user", user) {
            Some(user) if self.rules.holds(Rule::Permissions) && !superuser(user) => Rights::of(
                accesses(&self.store, user)
                    .map(|access| Grant::of_role(access.role, access.tenant))
                    .collect(),
            ),
            _ => Rights::all(),
        }
    }

    /// Whether the client's roles let it read or write anything of the kind; 403 if not.
    pub(super) fn permit(&self, client: &Client, kind: &str, write: bool) -> Result<(), ApiError> {
        let Some(kind) = Store::kind(kind) else { return Ok(()) };
        let level = if write { Level::Write } else { Level::Read };
        if client.caller.rights.allow(kind.permission, level, &client.caller.scope) {
            Ok(())
        } else {
            Err(self.store.unauthorized(&client.caller, kind, write))
        }
    }
}
