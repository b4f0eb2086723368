//! Writing: create, replace, patch and delete, and the rules each of them obeys. A write that fails changes nothing.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::kind::{Kind, Shape, Tenancy};
use super::query::Query;
use super::read::SENSITIVE;
use super::resolve::Place;
use super::table::{Id, Object};
use super::{ADMIN, Store, fresh_uuid, keep, migrate, not_found, patch, refs, text, validate};
use crate::{ApiError, Caller, Rule, Scope};

/// What a client never decides.
const CONTROLLERS: &[&str] = &["url", "uuid", "_last_modified"];

impl Store {
    /// `POST /api/<kind>`: the object as [`get`](Store::get) would give it, with names behind its refs.
    ///
    /// `slug` fixes the uuid. In scope `admin` (or all) the body's `tenant_ref` decides the tenant.
    ///
    /// # Errors
    /// 404 unknown kind, 405, 400 for a body that cannot be, 409 for a name or uuid in use.
    pub fn create(
        &mut self,
        caller: &Caller,
        kind: &str,
        slug: Option<&str>,
        body: Value,
    ) -> Result<Value, ApiError> {
        let kind = allowed(kind, "POST", false)?;
        let slug = slug.filter(|slug| !slug.is_empty() && self.rules.holds(Rule::Slug));
        if let Some(slug) = slug
            && self.find(kind, slug).is_some()
        {
            return Err(ApiError::new(409, format!("{} object with uuid {slug} already exists", kind.model)));
        }
        let uuid = slug.map_or_else(|| fresh_uuid(kind), str::to_owned);
        let object = self.compose(caller, kind, uuid, None, object_of(body)?)?;
        let uuid = self.settle(caller, kind, object);
        self.come_along(caller, kind, &uuid);
        self.reply(caller, kind, &uuid)
    }

    /// `PUT /api/<kind>/<uuid>`: the body takes the object's place. For a singleton the uuid does not matter.
    ///
    /// # Errors
    /// As [`create`](Store::create), and 404 if it is not there, 412 if `_last_modified` is not the object's.
    pub fn replace(
        &mut self,
        caller: &Caller,
        kind: &str,
        uuid: &str,
        body: Value,
    ) -> Result<Value, ApiError> {
        let kind = allowed(kind, "PUT", true)?;
        let old = self.writable(caller, kind, uuid)?.clone();
        let mut body = object_of(body)?;
        self.unchanged_since(kind, &old, body.get("_last_modified"))?;
        if !self.rules.holds(Rule::PutReplaces) {
            let mut merged = self.shaped(caller, kind, &old);
            merged.extend(body);
            body = merged;
        }
        let object = self.compose(caller, kind, old.uuid.clone(), Some(&old), body)?;
        let uuid = self.settle(caller, kind, object);
        self.reply(caller, kind, &uuid)
    }

    /// `PATCH /api/<kind>/<uuid>`: `{"add"|"replace"|"delete": {…}}` or `{"json_patch": […]}`.
    ///
    /// # Errors
    /// As [`replace`](Store::replace); 400 for a patch of another form or one that does not apply.
    pub fn patch(&mut self, caller: &Caller, kind: &str, uuid: &str, body: Value) -> Result<Value, ApiError> {
        let kind = allowed(kind, "PATCH", true)?;
        let old = self.writable(caller, kind, uuid)?.clone();
        let mut body = object_of(body)?;
        if let Some(stamp) = body.remove("_last_modified") {
            self.unchanged_since(kind, &old, Some(&stamp))?;
        }
        let place = Place { tenant: &old.tenant, cloud: &old.cloud };
        let mut shape = self.shaped(caller, kind, &old);
        if body.contains_key("json_patch") {
            patch::json(&mut shape, &body)?;
        } else {
            // Refs in the patch become those of the object, so that `delete` finds them.
            refs::rewrite(&mut body, &mut |field, text| {
                // An empty ref stays in the patch: it says which field is meant.
                self.resolve(field, text, place).map(|kept| Some(kept.unwrap_or_default()))
            })?;
            patch::apply(&mut shape, &body, &self.rules)?;
        }
        let object = self.compose(caller, kind, old.uuid.clone(), Some(&old), shape)?;
        let uuid = self.settle(caller, kind, object);
        self.reply(caller, kind, &uuid)
    }

    /// `DELETE /api/<kind>/<uuid>`.
    ///
    /// # Errors
    /// 404, 405; 403 if another object refers to it or if it came with the controller.
    pub fn delete(&mut self, caller: &Caller, kind: &str, uuid: &str) -> Result<(), ApiError> {
        let kind = allowed(kind, "DELETE", true)?;
        let object = self.writable(caller, kind, uuid)?;
        if object.builtin {
            return Err(ApiError::new(
                403,
                format!("Cannot delete, {} {} is a system default", kind.model, object.name),
            ));
        }
        let uuid = object.uuid.clone();
        let along = self.goes_along(kind, &uuid);
        if self.rules.holds(Rule::ReferentialIntegrity) {
            let own = |id: &Id| *id == Id { kind: kind.name, uuid: uuid.clone() } || along.contains(id);
            let mut blockers = Vec::new();
            for target in std::iter::once(&Id { kind: kind.name, uuid: uuid.clone() }).chain(&along) {
                let others = self.referrers.get(target).into_iter().flatten().filter(|id| !own(id));
                blockers.extend(others.take(10).map(|id| self.called(id)));
            }
            if !blockers.is_empty() {
                blockers.truncate(10);
                let text = format!("Cannot delete, object is referred by: ['{}']", blockers.join("', '"));
                return Err(ApiError::new(self.assumptions.referred_status, text));
            }
        }
        self.stamp(caller.now);
        for id in along {
            if let Some(kind) = Kind::named(id.kind) {
                self.withdraw(kind, &id.uuid);
            }
        }
        self.leases.free(&uuid);
        self.withdraw(kind, &uuid);
        Ok(())
    }

    /// The object, if the caller may see and change it.
    fn writable(&self, caller: &Caller, kind: &'static Kind, uuid: &str) -> Result<&Object, ApiError> {
        let object = self.seen(caller, kind, uuid)?;
        match &caller.scope {
            Scope::Tenant(tenant)
                if self.rules.holds(Rule::TenantScope)
                    && kind.tenanted()
                    && *tenant != object.tenant
                    && !(kind.tenancy == Tenancy::Directory && tenant == ADMIN) =>
            {
                Err(ApiError::new(
                    400,
                    format!(
                        "Cannot modify {} {} of tenant {} from tenant {tenant}",
                        kind.model, object.name, object.tenant
                    ),
                ))
            }
            _ => Ok(object),
        }
    }

    fn unchanged_since(&self, kind: &Kind, old: &Object, stamp: Option<&Value>) -> Result<(), ApiError> {
        let stamp = match stamp {
            None | Some(Value::Null) if self.assumptions.put_without_last_modified => return Ok(()),
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        if !self.rules.holds(Rule::OptimisticLock) || stamp == text(&old.value, "_last_modified") {
            return Ok(());
        }
        Err(stale(kind, &old.name))
    }

    /// From a body in the caller's shape to an object fit to be kept: everything that can be refused is refused here.
    pub(super) fn compose(
        &mut self,
        caller: &Caller,
        kind: &'static Kind,
        uuid: String,
        old: Option<&Object>,
        mut body: Map<String, Value>,
    ) -> Result<Object, ApiError> {
        body.retain(|key, value| !CONTROLLERS.contains(&key.as_str()) && !value.is_null());
        if kind.name == "user" {
            user_body(&mut body);
        }
        migrate::forward(kind.name, caller.version, &mut body);
        let tenant = self.tenant_of(caller, kind, old, &mut body)?;
        let cloud = self.cloud_of(kind, old, &tenant, &mut body)?;
        let place = Place { tenant: &tenant, cloud: &cloud };
        refs::rewrite(&mut body, &mut |field, text| self.resolve(field, text, place))?;
        keep_secrets(kind, old, &mut body);
        let defaults = serde_json::from_str(kind.defaults).unwrap_or_default();
        validate::fill(&mut body, &defaults);
        self.fill_refs(kind, place, &mut body);
        migrate::complete(kind.name, &mut body);
        validate::check(kind, caller.version, &body)?;
        let name = body.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        if self.rules.holds(Rule::UniqueNames) {
            self.unused(kind, &name, &uuid, place, &body)?;
        }
        match kind.name {
            "user" => self.check_access(kind, &body)?,
            "vsvip" => self.allocate(&uuid, &cloud, old, &mut body)?,
            _ => {}
        }
        body.insert("uuid".to_owned(), Value::String(uuid.clone()));
        let builtin = old.is_some_and(|old| old.builtin);
        Ok(Object { uuid, name, tenant, cloud, builtin, refs: Default::default(), value: keep(body) })
    }

    /// Stamps an object and puts it in; its uuid.
    pub(super) fn settle(&mut self, caller: &Caller, kind: &'static Kind, mut object: Object) -> String {
        let stamp = self.stamp(caller.now).to_string();
        if let Value::Object(map) = Arc::make_mut(&mut object.value) {
            map.insert("_last_modified".to_owned(), Value::String(stamp));
        }
        object.refs = refs::all(&object.value);
        let uuid = object.uuid.clone();
        self.commit(kind, object);
        uuid
    }

    fn reply(&self, caller: &Caller, kind: &'static Kind, uuid: &str) -> Result<Value, ApiError> {
        let object = self.find(kind, uuid).ok_or_else(|| not_found(kind))?;
        Ok(self.form(caller, kind, object, &Query { include_name: true, ..Query::default() }))
    }

    fn tenant_of(
        &self,
        caller: &Caller,
        kind: &Kind,
        old: Option<&Object>,
        body: &mut Map<String, Value>,
    ) -> Result<String, ApiError> {
        if !kind.tenanted() {
            return Ok(String::new());
        }
        let scope = match &caller.scope {
            Scope::Tenant(tenant) => tenant.as_str(),
            Scope::All => ADMIN,
        };
        let wish = match body.get("tenant_ref").and_then(Value::as_str) {
            Some(text) => self.resolve("tenant_ref", text, Place::default())?,
            None => None,
        };
        let wish = wish.as_deref().map(refs::uuid_of);
        let tenant = match (old, wish) {
            (Some(old), wish) if wish.is_none_or(|wish| wish == old.tenant) => old.tenant.as_str(),
            (Some(_), _) => return Err(validate::invalid(kind, "tenant_ref: cannot be changed.")),
            (None, Some(wish)) if wish == scope || scope == ADMIN => wish,
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

    fn cloud_of(
        &self,
        kind: &Kind,
        old: Option<&Object>,
        tenant: &str,
        body: &mut Map<String, Value>,
    ) -> Result<String, ApiError> {
        if !kind.clouded {
            return Ok(String::new());
        }
        let wish = match body.get("cloud_ref").and_then(Value::as_str) {
            Some(text) => self.resolve("cloud_ref", text, Place { tenant, cloud: "" })?,
            None => None,
        };
        let wish = wish.as_deref().map(refs::uuid_of);
        let cloud = match (old, wish) {
            (Some(old), wish) if wish.is_none_or(|wish| wish == old.cloud) => old.cloud.clone(),
            (Some(_), _) => return Err(validate::invalid(kind, "cloud_ref: cannot be changed.")),
            (None, Some(wish)) => wish.to_owned(),
            (None, None) => self.default_cloud(),
        };
        body.insert("cloud_ref".to_owned(), Value::String(refs::canonical("cloud", &cloud)));
        Ok(cloud)
    }

    fn unused(
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
        let taken = |name: &str| {
            table.named(name).any(|other| {
                other.uuid != uuid
                    && other.tenant == place.tenant
                    && (!kind.clouded || other.cloud == place.cloud)
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

    /// A role over the controller itself is not for one tenant alone.
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
            if !everywhere && tenant != ADMIN && governs(role) {
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

    /// `Pool web`, for texts.
    pub(super) fn called(&self, id: &Id) -> String {
        let model = Kind::named(id.kind).map_or(id.kind, |kind| kind.model);
        let name = self.object(id.kind, &id.uuid).map(|object| text(object, "name")).unwrap_or_default();
        format!("{model} {}", if name.is_empty() { &id.uuid } else { name })
    }
}

/// 412, in the words AKO looks for.
fn stale(kind: &Kind, name: &str) -> ApiError {
    let text = format!(
        "Concurrent Update Error: {0} {name} has changed. Need to reload object data {0}",
        kind.model
    );
    ApiError::new(412, text)
}

/// Whether a role grants anything on what belongs to `admin` alone.
fn governs(role: &Value) -> bool {
    role.get("privileges").and_then(Value::as_array).into_iter().flatten().any(|privilege| {
        let resource = text(privilege, "resource");
        let governing = ["PERMISSION_CONTROLLER", "PERMISSION_ROLE", "PERMISSION_TENANT", "PERMISSION_USER"];
        governing.contains(&resource) && text(privilege, "type") != "NO_ACCESS"
    })
}

/// The kind, if there is one and the method can be used on it.
fn allowed(kind: &str, method: &str, single: bool) -> Result<&'static Kind, ApiError> {
    let kind = Store::known(kind)?;
    if kind.allows(method, single) { Ok(kind) } else { Err(ApiError::method_not_allowed(method)) }
}

fn object_of(body: Value) -> Result<Map<String, Value>, ApiError> {
    match body {
        Value::Object(map) => Ok(map),
        _ => Err(ApiError::new(400, "Invalid data: a JSON object is wanted")),
    }
}

/// The password is the server's; before 30.0.0 there was one name for both.
fn user_body(body: &mut Map<String, Value>) {
    body.remove("password");
    body.remove("old_password");
    for (from, to) in [("name", "username"), ("username", "name")] {
        if let (None, Some(value)) = (body.get(to), body.get(from).cloned()) {
            body.insert(to.to_owned(), value);
        }
    }
}

/// A secret sent back as it was shown stays what it was.
fn keep_secrets(kind: &Kind, old: Option<&Object>, body: &mut Map<String, Value>) {
    for path in kind.secrets {
        let Some(secret) = validate::field_mut(body, path).filter(|secret| *secret == SENSITIVE) else {
            continue;
        };
        let pointer = format!("/{}", path.replace('.', "/"));
        *secret = old.and_then(|old| old.value.pointer(&pointer)).cloned().unwrap_or_default();
    }
}
