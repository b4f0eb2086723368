//! What a role grants: the privilege table, and which resource a path belongs to.

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

/// Paths whose resource is not `PERMISSION_` and the path's own name in capitals.
const ELSEWHERE: &[(&str, &str)] = &[
    ("actiongroupconfig", "ACTIONGROUPCONFIG"),
    ("cluster", "CONTROLLER"),
    ("controllerproperties", "CONTROLLER"),
    ("gslbgeodbprofile", "GSLBGEODBPROFILE"),
    ("ipamdnsproviderprofiledomainlist", "IPAMDNSPROVIDERPROFILE"),
    ("useraccountprofile", "USER"),
    ("vimgrnwruntime", "NETWORK"),
    ("vsvip", "VIRTUALSERVICE"),
];

/// What a role must not grant in a tenant other than `admin`.
const ADMIN_ONLY: &[&str] =
    &["PERMISSION_CONTROLLER", "PERMISSION_ROLE", "PERMISSION_TENANT", "PERMISSION_USER"];

/// `PERMISSION_POOL` for `pool`.
fn resource(kind: &str) -> String {
    let name = ELSEWHERE.iter().find(|(path, _)| *path == kind).map(|(_, resource)| *resource);
    format!("PERMISSION_{}", name.map_or_else(|| kind.to_uppercase(), str::to_owned))
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

/// Whether the user may read or write the kind in the scope; 403 if not.
pub(super) fn check(
    store: &Store,
    user: &Value,
    scope: &Scope,
    kind: &str,
    write: bool,
) -> Result<(), ApiError> {
    if superuser(user) {
        return Ok(());
    }
    let resource = resource(kind);
    let needed = if write { Level::Write } else { Level::Read };
    let level = accesses(store, user)
        .filter(|access| match scope {
            // Reading every tenant at once takes a role that holds in every tenant.
            Scope::All => access.tenant.is_none(),
            Scope::Tenant(tenant) => access.tenant.is_none_or(|own| own == tenant),
        })
        .map(|access| granted(access.role, &resource))
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
            called(&resource)
        ),
    ))
}

/// Refuses a user whose roles reach too far: what governs the whole controller is granted in `admin` or to all
/// tenants only.
pub(super) fn check_roles(store: &Store, user: &Value) -> Result<(), ApiError> {
    for access in accesses(store, user) {
        let reaches = ADMIN_ONLY.iter().any(|resource| granted(access.role, resource) > Level::None);
        if reaches && access.tenant.is_some_and(|tenant| tenant != "admin") {
            return Err(ApiError::new(
                400,
                format!(
                    "Cannot use Role {} with access to Controller, Role, Tenant or User in non-admin tenant",
                    text(access.role, "name").unwrap_or_default()
                ),
            ));
        }
    }
    Ok(())
}
