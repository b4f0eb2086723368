//! Writing: create, replace, patch and delete, and the rules each of them obeys. A write that fails changes nothing.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::kind::{Kind, Tenancy};
use super::query::Query;
use super::read::shaped;
use super::resolve::Place;
use super::table::{Id, Object};
use super::undo::Undo;
use super::{ADMIN, Store, fresh_uuid, not_found, patch, refs, text};
use crate::{ApiError, Caller, Rule, Scope};

impl Store {
    /// `POST /api/<kind>`: the object as [`get`](Store::get) would give it, with names behind its refs.
    ///
    /// `slug` fixes the uuid. In scope `admin` (or all) the body's `tenant_ref` decides the tenant.
    ///
    /// # Errors
    /// 404 unknown kind, 405, 400 for a body that cannot be, 403 for one the caller's roles do not let through, 409
    /// for a name or uuid in use.
    pub fn create(
        &mut self,
        caller: &Caller,
        kind: &str,
        slug: Option<&str>,
        body: Value,
    ) -> Result<Value, ApiError> {
        let kind = allowed(kind, "POST", false)?;
        let slug = slug.filter(|slug| !slug.is_empty() && self.rules.holds(Rule::Slug));
        if let Some(slug) = slug.filter(|slug| !is_step(slug)) {
            return Err(ApiError::new(400, format!("Invalid Slug '{slug}'")));
        }
        if let Some(slug) = slug
            && self.find(kind, slug).is_some()
        {
            return Err(ApiError::new(409, format!("{} object with uuid {slug} already exists", kind.model)));
        }
        let uuid = slug.map_or_else(|| fresh_uuid(kind), str::to_owned);
        let object = self.compose(caller, kind, uuid, None, object_of(body)?)?;
        let uuid = self.settle(caller, kind, object);
        self.come_along(caller, kind, &uuid, true);
        self.reply(caller, kind, &uuid)
    }

    /// `PUT /api/<kind>/<uuid>`: the body takes the object's place. For a singleton the uuid does not matter.
    ///
    /// # Errors
    /// As [`create`](Store::create), and 404 if it is not there, 412 if `_last_modified` is not the object's, 500 for
    /// a role without what an upgrade has added to it.
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
        self.keeps_upgrade(&old.uuid, &body)?;
        if !self.rules.holds(Rule::PutReplaces) {
            let mut merged = shaped(caller.version, kind, &old);
            merged.extend(body);
            body = merged;
        }
        let object = self.compose(caller, kind, old.uuid.clone(), Some(&old), body)?;
        let uuid = self.settle(caller, kind, object);
        if let Some(added) = self.upgraded.remove(&uuid) {
            self.note(|| Undo::Upgraded(uuid.clone(), added));
        }
        self.come_along(caller, kind, &uuid, false);
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
        let place = Place { tenant: &old.tenant, cloud: &old.cloud, request: caller.scope.home() };
        let mut shape = shaped(caller.version, kind, &old);
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
        self.come_along(caller, kind, &uuid, false);
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
        self.upgraded.remove(&uuid);
        self.withdraw(kind, &uuid);
        Ok(())
    }

    /// The object, if the caller may see and change it.
    fn writable(&self, caller: &Caller, kind: &'static Kind, uuid: &str) -> Result<&Object, ApiError> {
        let object = self.seen(caller, kind, uuid)?;
        if !object.fields().is_some_and(|fields| self.writes(caller, kind, &object.tenant, fields)) {
            return Err(self.unauthorized(caller, kind, true));
        }
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
        Err(ApiError::stale(kind.model, &old.name))
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

    /// `Pool web`, for texts.
    pub(super) fn called(&self, id: &Id) -> String {
        let model = Kind::named(id.kind).map_or(id.kind, |kind| kind.model);
        let name = self.object(id.kind, &id.uuid).map(|object| text(object, "name")).unwrap_or_default();
        format!("{model} {}", if name.is_empty() { &id.uuid } else { name })
    }
}

/// The kind, if there is one and the method can be used on it.
fn allowed(kind: &str, method: &str, single: bool) -> Result<&'static Kind, ApiError> {
    let kind = Store::known(kind)?;
    if kind.allows(method, single) { Ok(kind) } else { Err(ApiError::method_not_allowed(method)) }
}

/// Whether a uuid can be a step of a URL's path as it is.
fn is_step(uuid: &str) -> bool {
    !uuid.trim_matches('.').is_empty() && uuid.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn object_of(body: Value) -> Result<Map<String, Value>, ApiError> {
    match body {
        Value::Object(map) => Ok(map),
        _ => Err(ApiError::new(400, "Invalid data: a JSON object is wanted")),
    }
}
