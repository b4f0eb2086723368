//! Access to single objects: checks the caller's rights against an object's tenant and labels. Only reads.

use serde_json::{Map, Value};

use super::kind::Kind;
use super::table::Object;
use super::{Store, not_found, text};
use crate::{ApiError, Caller, Level, Scope};

impl Store {
    /// Returns whether the caller's roles let it read an object of its scope.
    pub(super) fn may_read(&self, caller: &Caller, kind: &Kind, object: &Object) -> bool {
        caller.rights.any_grant(kind.permission, Level::Read, |grant| {
            let here = match &caller.scope {
                Scope::Tenant(tenant) => grant.applies_to(tenant),
                Scope::All => grant.tenant().is_none_or(|tenant| object.is_visible_in(kind, tenant)),
            };
            here && (!kind.has_markers()
                || object.fields().is_some_and(|fields| grant.admits(fields, &self.assumptions)))
        })
    }

    /// Returns whether the caller's roles let it write an object of a tenant; `object` is the body before or after the write.
    pub(super) fn may_write(
        &self,
        caller: &Caller,
        kind: &Kind,
        tenant: &str,
        object: &Map<String, Value>,
    ) -> bool {
        caller.rights.any_grant(kind.permission, Level::Write, |grant| {
            let here = match &caller.scope {
                Scope::Tenant(scope) => grant.applies_to(scope),
                Scope::All => !kind.has_tenant() || grant.applies_to(tenant),
            };
            here && (!kind.has_markers() || grant.admits(object, &self.assumptions))
        })
    }

    /// Creates the 403 for a missing privilege.
    #[must_use]
    pub fn unauthorized(&self, caller: &Caller, kind: &Kind, write: bool) -> ApiError {
        let verb = if write { "write" } else { "read" };
        let tenant = match &caller.scope {
            Scope::All => "*",
            Scope::Tenant(uuid) => {
                self.object("tenant", uuid).map_or(uuid.as_str(), |tenant| text(tenant, "name"))
            }
        };
        // The name of the resource in messages. Only `System` was observed; for others the privilege's name is assumed.
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

    /// Creates the error for an object that the caller's roles hide.
    pub(super) fn hidden_error(&self, caller: &Caller, kind: &Kind) -> ApiError {
        match self.assumptions.hidden_status {
            404 => not_found(kind),
            status => ApiError { status, ..self.unauthorized(caller, kind, false) },
        }
    }
}
