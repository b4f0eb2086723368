//! What the roles of a caller let through: its tenants, levels and labels held against an object. Changes nothing.

use serde_json::{Map, Value};

use super::kind::Kind;
use super::read::in_reach;
use super::table::Object;
use super::{Store, not_found, text};
use crate::{ApiError, Caller, Level, Scope};

impl Store {
    /// Whether the caller's roles let it see an object that its scope shows.
    pub(super) fn reads(&self, caller: &Caller, kind: &Kind, object: &Object) -> bool {
        caller.rights.some(kind.permission, Level::Read, |grant| {
            let here = match &caller.scope {
                Scope::Tenant(tenant) => grant.holds_in(tenant),
                Scope::All => grant.tenant().is_none_or(|tenant| in_reach(kind, object, tenant)),
            };
            here && (!kind.marked()
                || object.fields().is_some_and(|fields| grant.admits(fields, &self.assumptions)))
        })
    }

    /// Whether the caller's roles let it write an object of this tenant, as it is or is going to be.
    pub(super) fn writes(
        &self,
        caller: &Caller,
        kind: &Kind,
        tenant: &str,
        object: &Map<String, Value>,
    ) -> bool {
        caller.rights.some(kind.permission, Level::Write, |grant| {
            let here = match &caller.scope {
                Scope::Tenant(scope) => grant.holds_in(scope),
                Scope::All => !kind.tenanted() || grant.holds_in(tenant),
            };
            here && (!kind.marked() || grant.admits(object, &self.assumptions))
        })
    }

    /// 403 for want of a privilege.
    #[must_use]
    pub fn unauthorized(&self, caller: &Caller, kind: &Kind, write: bool) -> ApiError {
        let verb = if write { "write" } else { "read" };
        let tenant = match &caller.scope {
            Scope::All => "*",
            Scope::Tenant(uuid) => {
                self.object("tenant", uuid).map_or(uuid.as_str(), |tenant| text(tenant, "name"))
            }
        };
        // The resource as messages call it: `System` is known, the others are written as the privilege is.
        let resource = match kind.permission {
            "PERMISSION_CONTROLLER" => "System",
            other => other.trim_start_matches("PERMISSION_"),
        };
        ApiError::new(
            403,
            format!(
                "User '{}' is not authorized to {verb} on resource {resource} in tenant {tenant}",
                caller.user
            ),
        )
    }

    /// What a caller gets in the place of an object that its roles keep from it.
    pub(super) fn hidden(&self, caller: &Caller, kind: &Kind) -> ApiError {
        match self.assumptions.hidden_status {
            404 => not_found(kind),
            status => ApiError { status, ..self.unauthorized(caller, kind, false) },
        }
    }
}
