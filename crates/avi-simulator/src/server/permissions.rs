//! What a role grants, and what is refused for want of it.

use serde_json::Value;

use super::directory::{accesses, superuser, text, username};
use crate::{ApiError, Scope, Store};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    None,
    Read,
    Write,
}

impl Level {
    fn of(text: &str) -> Self {
        match text {
            "READ_ACCESS" => Level::Read,
            "WRITE_ACCESS" => Level::Write,
            _ => Level::None,
        }
    }
}

/// The resource as messages call it: `System` is known, the others are written as the privilege is.
fn called(resource: &str) -> &str {
    match resource {
        "PERMISSION_CONTROLLER" => "System",
        other => other.trim_start_matches("PERMISSION_"),
    }
}

/// The most that a role grants on the resource.
fn granted(role: &Value, resource: &str) -> Level {
    role.get("privileges")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|privilege| text(privilege, "resource") == Some(resource))
        .filter_map(|privilege| text(privilege, "type").map(Level::of))
        .max()
        .unwrap_or(Level::None)
}

/// Whether the user may read or write the resource in the scope; 403 if not.
pub(super) fn check(
    store: &Store,
    user: &Value,
    scope: &Scope,
    resource: &str,
    write: bool,
) -> Result<(), ApiError> {
    if superuser(user) {
        return Ok(());
    }
    let needed = if write { Level::Write } else { Level::Read };
    let level = accesses(store, user)
        .filter(|access| match scope {
            // Reading every tenant at once takes a role that holds in every tenant.
            Scope::All => access.tenant.is_none(),
            Scope::Tenant(tenant) => access.tenant.is_none_or(|own| own == tenant),
        })
        .map(|access| granted(access.role, resource))
        .max()
        .unwrap_or(Level::None);
    if level >= needed {
        return Ok(());
    }
    let verb = if write { "write" } else { "read" };
    let tenant = match scope {
        Scope::All => "*",
        Scope::Tenant(uuid) => {
            store.object("tenant", uuid).and_then(|tenant| text(tenant, "name")).unwrap_or(uuid)
        }
    };
    Err(ApiError::new(
        403,
        format!(
            "User '{}' is not authorized to {verb} on resource {} in tenant {tenant}",
            username(user),
            called(resource)
        ),
    ))
}
