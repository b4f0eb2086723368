//! From the body of a request to an object that can be stored: tenant and cloud, references, defaults, secrets, and all
//! checks. Does not store it.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::builtin::{TENANT_ADMIN, is_created_per_cloud};
use super::kind::{Kind, SENSITIVE, Shape, Tenancy};
use super::resolve::Place;
use super::table::Object;
use super::{ADMIN, Store, migrate, refs, text, validate, wrap_body};
use crate::{ApiError, Caller, Rule};

/// The fields that only the controller sets.
const READ_ONLY: &[&str] = &["url", "uuid", "_last_modified"];

impl Store {
    /// Converts a body in the shape of the caller's version to an object that can be stored. Makes all checks of a write.
    pub(super) fn compose(
        &mut self,
        caller: &Caller,
        kind: &'static Kind,
        uuid: String,
        old: Option<&Object>,
        mut body: Map<String, Value>,
    ) -> Result<Object, ApiError> {
        body.retain(|key, value| !READ_ONLY.contains(&key.as_str()) && !value.is_null());
        if kind.name == "user" {
            normalize_user(old, &mut body);
        }
        migrate::to_newest(kind.name, caller.version, &mut body);
        let tenant = self.choose_tenant(caller, kind, old, &mut body)?;
        let cloud = self.choose_cloud(kind, old, &tenant, &mut body)?;
        let place = Place { tenant: &tenant, cloud: &cloud, request: caller.scope.home() };
        refs::rewrite(&mut body, &mut |field, text| self.resolve_ref(field, text, place))?;
        if let Some(old) = old {
            migrate::restore_unseen(kind.name, caller.version, &old.value, &mut body);
        }
        keep_secrets(kind, old, &mut body);
        let defaults = serde_json::from_str(kind.defaults).unwrap_or_default();
        validate::fill_defaults(&mut body, &defaults);
        self.fill_default_refs(kind, place, &mut body);
        migrate::fill_defaults(kind.name, &mut body);
        validate::check(kind, caller.version, &body)?;
        if !self.may_write(caller, kind, &tenant, &body) {
            return Err(self.unauthorized(caller, kind, true));
        }
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.rules.holds(Rule::UniqueNames) {
            self.check_name_unused(kind, &name, &uuid, place, &body)?;
        }
        match kind.name {
            "user" => self.check_access(kind, &body)?,
            "vsvip" => self.allocate_addresses(&uuid, &cloud, old, &mut body)?,
            _ => {}
        }
        body.insert("uuid".to_owned(), Value::String(uuid.clone()));
        let builtin = old.is_some_and(|old| old.builtin);
        Ok(Object { uuid, name, tenant, cloud, builtin, refs: BTreeSet::new(), value: wrap_body(body) })
    }

    /// Returns the uuid of the object's tenant and sets `tenant_ref`.
    fn choose_tenant(
        &self,
        caller: &Caller,
        kind: &Kind,
        old: Option<&Object>,
        body: &mut Map<String, Value>,
    ) -> Result<String, ApiError> {
        if !kind.has_tenant() {
            return Ok(String::new());
        }
        let scope = caller.scope.home();
        let requested = match body.get("tenant_ref").and_then(Value::as_str) {
            Some(text) => self.resolve_ref("tenant_ref", text, Place::default())?,
            None => None,
        };
        let requested = requested.as_deref().map(refs::uuid_of);
        let tenant = match (old, requested) {
            (Some(old), requested) if requested.is_none_or(|requested| requested == old.tenant) => {
                old.tenant.as_str()
            }
            (Some(_), _) => return Err(validate::invalid(kind, "tenant_ref: cannot be changed.")),
            (None, Some(requested)) if requested == scope || scope == ADMIN => requested,
            (None, Some(_)) => {
                return Err(validate::invalid(kind, "tenant_ref: not the tenant of the request."));
            }
            (None, None) => scope,
        };
        if kind.tenancy == Tenancy::Admin && tenant != ADMIN {
            return Err(ApiError::new(400, format!("Cannot modify {} from tenant {tenant}", kind.model)));
        }
        body.insert("tenant_ref".to_owned(), Value::String(refs::canonical("tenant", tenant)));
        Ok(tenant.to_owned())
    }

    /// Returns the uuid of the object's cloud and sets `cloud_ref`.
    fn choose_cloud(
        &self,
        kind: &Kind,
        old: Option<&Object>,
        tenant: &str,
        body: &mut Map<String, Value>,
    ) -> Result<String, ApiError> {
        if !kind.clouded {
            return Ok(String::new());
        }
        let requested = match body.get("cloud_ref").and_then(Value::as_str) {
            Some(text) => self.resolve_ref("cloud_ref", text, Place { tenant, ..Place::default() })?,
            None => None,
        };
        let requested = requested.as_deref().map(refs::uuid_of);
        let cloud = match (old, requested) {
            (Some(old), requested) if requested.is_none_or(|requested| requested == old.cloud) => {
                old.cloud.clone()
            }
            (Some(_), _) => return Err(validate::invalid(kind, "cloud_ref: cannot be changed.")),
            (None, Some(requested)) => requested.to_owned(),
            (None, None) => self.default_cloud(),
        };
        body.insert("cloud_ref".to_owned(), Value::String(refs::canonical("cloud", &cloud)));
        Ok(cloud)
    }

    /// Checks that no other object in the same name space has the name.
    fn check_name_unused(
        &self,
        kind: &'static Kind,
        name: &str,
        uuid: &str,
        place: Place<'_>,
        body: &Map<String, Value>,
    ) -> Result<(), ApiError> {
        if kind.names_repeat || kind.shape != Shape::Collection {
            return Ok(());
        }
        let Some(table) = self.tables.get(kind.name) else { return Ok(()) };
        let per_cloud =
            kind.clouded && (self.assumptions.names_unique_per_cloud || is_created_per_cloud(kind));
        let taken = |name: &str| {
            table.find_by_name(name).any(|other| {
                other.uuid != uuid
                    && other.tenant == place.tenant
                    && (!per_cloud || other.cloud == place.cloud)
            })
        };
        if kind.name == "user" {
            let username = body.get("username").and_then(Value::as_str).unwrap_or(name);
            if taken(username) || taken(name) {
                return Err(ApiError::new(
                    self.assumptions.username_taken_status,
                    "User with this Username already exist",
                ));
            }
        } else if taken(name) {
            return Err(ApiError::new(409, format!("{} object with name {name} already exists", kind.model)));
        }
        Ok(())
    }

    /// Checks a user's `access`: a role that grants administration of the controller must not be limited to one tenant.
    fn check_access(&self, kind: &Kind, body: &Map<String, Value>) -> Result<(), ApiError> {
        for access in body.get("access").and_then(Value::as_array).into_iter().flatten() {
            let tenant = refs::uuid_of(text(access, "tenant_ref"));
            let everywhere = access.get("all_tenants") == Some(&Value::Bool(true));
            let role = self.object("role", refs::uuid_of(text(access, "role_ref")));
            let Some(role) = role else {
                return Err(validate::invalid(kind, "access.role_ref: This field is required."));
            };
            if tenant.is_empty() && !everywhere {
                return Err(validate::invalid(kind, "access: tenant_ref or all_tenants is required."));
            }
            let for_tenants = self.is_builtin("role", refs::uuid_of(text(access, "role_ref")), TENANT_ADMIN);
            if !everywhere && tenant != ADMIN && self.grants_administration(role) && !for_tenants {
                let role = text(role, "name");
                return Err(ApiError::new(
                    400,
                    format!(
                        "Cannot use Role {role} with access to Controller, Role, Tenant or User in non-admin tenant"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Whether a role grants access to the administration of the controller.
    fn grants_administration(&self, role: &Value) -> bool {
        role.get("privileges").and_then(Value::as_array).into_iter().flatten().any(|privilege| {
            let (resource, access) = (text(privilege, "resource"), text(privilege, "type"));
            let governing =
                ["PERMISSION_CONTROLLER", "PERMISSION_ROLE", "PERMISSION_TENANT", "PERMISSION_USER"];
            let reads_tenant = resource == "PERMISSION_TENANT" && access == "READ_ACCESS";
            let is_allowed =
                access == "NO_ACCESS" || (reads_tenant && self.assumptions.tenant_read_in_tenants);
            governing.contains(&resource) && !is_allowed
        })
    }
}

/// Removes the password, which the server keeps, and completes `name` and `username`: before 30.0.0 they were one.
fn normalize_user(old: Option<&Object>, body: &mut Map<String, Value>) {
    body.remove("password");
    body.remove("old_password");
    // A client that writes `name` back unchanged does not mean to change `username`.
    if let Some(old) = old.filter(|old| body.get("name").is_some_and(|name| *name == *old.name))
        && let (None, Some(login)) = (body.get("username"), old.value.get("username"))
    {
        body.insert("username".to_owned(), login.clone());
    }
    for (from, to) in [("name", "username"), ("username", "name")] {
        if let (None, Some(value)) = (body.get(to), body.get(from).cloned()) {
            body.insert(to.to_owned(), value);
        }
    }
}

/// Restores the stored value of each secret that the client sent back masked; removes it if there was none.
fn keep_secrets(kind: &Kind, old: Option<&Object>, body: &mut Map<String, Value>) {
    for path in kind.secrets {
        let Some(secret) = validate::field_mut(body, path).filter(|secret| *secret == SENSITIVE) else {
            continue;
        };
        let pointer = format!("/{}", path.replace('.', "/"));
        if let Some(kept) = old.and_then(|old| old.value.pointer(&pointer)) {
            *secret = kept.clone();
            continue;
        }
        match path.rsplit_once('.') {
            Some((parent, last)) => {
                let parent = validate::field_mut(body, parent).and_then(Value::as_object_mut);
                parent.and_then(|parent| parent.remove(last));
            }
            None => drop(body.remove(*path)),
        }
    }
}
