//! Writes: create, replace, patch and delete, with their rules. A write that fails changes nothing.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::kind::{Kind, Tenancy};
use super::query::Query;
use super::read::body_for_version;
use super::resolve::Place;
use super::table::{Id, Object};
use super::undo::Undo;
use super::{ADMIN, Store, new_uuid, not_found, patch, refs, text};
use crate::{ApiError, Caller, Rule, Scope};

impl Store {
    /// Answers `POST /api/<kind>`. Returns the object as [`get`](Store::get) does, with the names of its refs.
    ///
    /// `slug` sets the uuid. In the tenant `admin`, and with all tenants, the body's `tenant_ref` sets the tenant.
    ///
    /// # Errors
    /// 404 for an unknown kind, 405 for a kind without POST, 400 for an invalid body, 403 if the caller's roles do not
    /// permit it, 409 for a name or uuid in use.
    pub fn create(
        &mut self,
        caller: &Caller,
        kind: &str,
        slug: Option<&str>,
        body: Value,
    ) -> Result<Value, ApiError> {
        let kind = check_method(kind, "POST", false)?;
        let slug = slug.filter(|slug| !slug.is_empty() && self.rules.holds(Rule::Slug));
        if let Some(slug) = slug.filter(|slug| !is_path_segment(slug)) {
            return Err(ApiError::new(400, format!("Invalid Slug '{slug}'")));
        }
        if let Some(slug) = slug
            && self.find(kind, slug).is_some()
        {
            return Err(ApiError::new(409, format!("{} object with uuid {slug} already exists", kind.model)));
        }
        let uuid = slug.map_or_else(|| new_uuid(kind), str::to_owned);
        let object = self.compose(caller, kind, uuid, None, parse_object(body)?)?;
        let uuid = self.stamp_and_insert(caller, kind, object);
        self.create_dependents(caller, kind, &uuid, true);
        self.reply(caller, kind, &uuid)
    }

    /// Answers `PUT /api/<kind>/<uuid>`: replaces the object with the body. Ignores the uuid of a singleton.
    ///
    /// # Errors
    /// Those of [`create`](Store::create), 404 if the object does not exist, 412 if `_last_modified` is not the
    /// object's, 500 for a role without the privileges that an upgrade added.
    pub fn replace(
        &mut self,
        caller: &Caller,
        kind: &str,
        uuid: &str,
        body: Value,
    ) -> Result<Value, ApiError> {
        let kind = check_method(kind, "PUT", true)?;
        let old = self.find_writable(caller, kind, uuid)?.clone();
        let mut body = parse_object(body)?;
        self.check_last_modified(kind, &old, body.get("_last_modified"))?;
        self.check_upgraded_privileges(&old.uuid, &body)?;
        if !self.rules.holds(Rule::PutReplaces) {
            let mut merged = body_for_version(caller.version, kind, &old);
            merged.extend(body);
            body = merged;
        }
        let object = self.compose(caller, kind, old.uuid.clone(), Some(&old), body)?;
        let uuid = self.stamp_and_insert(caller, kind, object);
        if let Some(added) = self.upgraded.remove(&uuid) {
            self.record_undo(|| Undo::Upgraded(uuid.clone(), added));
        }
        self.create_dependents(caller, kind, &uuid, false);
        self.reply(caller, kind, &uuid)
    }

    /// Answers `PATCH /api/<kind>/<uuid>` with `{"add"|"replace"|"delete": {…}}` or `{"json_patch": […]}`.
    ///
    /// # Errors
    /// Those of [`replace`](Store::replace), 400 for a patch of another form or one that does not apply.
    pub fn patch(&mut self, caller: &Caller, kind: &str, uuid: &str, body: Value) -> Result<Value, ApiError> {
        let kind = check_method(kind, "PATCH", true)?;
        let old = self.find_writable(caller, kind, uuid)?.clone();
        let mut body = parse_object(body)?;
        if let Some(stamp) = body.remove("_last_modified") {
            self.check_last_modified(kind, &old, Some(&stamp))?;
        }
        let place = Place { tenant: &old.tenant, cloud: &old.cloud, request: caller.scope.home() };
        let mut shape = body_for_version(caller.version, kind, &old);
        if body.contains_key("json_patch") {
            patch::apply_json_patch(&mut shape, &body)?;
        } else {
            // Refs in the patch get the canonical form, so that `delete` finds them in the object.
            refs::rewrite(&mut body, &mut |field, text| {
                // An empty ref stays in the patch, because it names the field to change.
                self.resolve_ref(field, text, place).map(|resolved| Some(resolved.unwrap_or_default()))
            })?;
            patch::apply(&mut shape, &body, &self.rules)?;
        }
        let object = self.compose(caller, kind, old.uuid.clone(), Some(&old), shape)?;
        let uuid = self.stamp_and_insert(caller, kind, object);
        self.create_dependents(caller, kind, &uuid, false);
        self.reply(caller, kind, &uuid)
    }

    /// Answers `DELETE /api/<kind>/<uuid>`.
    ///
    /// # Errors
    /// 404 for an unknown kind or object, 405 for a kind without DELETE, 403 if another object refers to it or the
    /// controller created it.
    pub fn delete(&mut self, caller: &Caller, kind: &str, uuid: &str) -> Result<(), ApiError> {
        let kind = check_method(kind, "DELETE", true)?;
        let object = self.find_writable(caller, kind, uuid)?;
        if object.builtin {
            return Err(ApiError::new(
                403,
                format!("Cannot delete, {} {} is a system default", kind.model, object.name),
            ));
        }
        let uuid = object.uuid.clone();
        let dependents = self.find_dependents(kind, &uuid);
        if self.rules.holds(Rule::ReferentialIntegrity) {
            let own = |id: &Id| *id == Id { kind: kind.name, uuid: uuid.clone() } || dependents.contains(id);
            let mut blockers = Vec::new();
            for target in std::iter::once(&Id { kind: kind.name, uuid: uuid.clone() }).chain(&dependents) {
                let others = self.referrers.get(target).into_iter().flatten().filter(|id| !own(id));
                blockers.extend(others.take(10).map(|id| self.display_name(id)));
            }
            if !blockers.is_empty() {
                blockers.truncate(10);
                let text = format!("Cannot delete, object is referred by: ['{}']", blockers.join("', '"));
                return Err(ApiError::new(self.assumptions.referred_status, text));
            }
        }
        self.next_stamp(caller.now);
        for id in dependents {
            if let Some(kind) = Kind::find(id.kind) {
                self.remove_object(kind, &id.uuid);
            }
        }
        self.leases.release(&uuid);
        self.upgraded.remove(&uuid);
        self.remove_object(kind, &uuid);
        Ok(())
    }

    /// Returns an object that the caller may read and write.
    fn find_writable(&self, caller: &Caller, kind: &'static Kind, uuid: &str) -> Result<&Object, ApiError> {
        let object = self.find_readable(caller, kind, uuid)?;
        if !object.fields().is_some_and(|fields| self.may_write(caller, kind, &object.tenant, fields)) {
            return Err(self.unauthorized(caller, kind, true));
        }
        match &caller.scope {
            Scope::Tenant(tenant)
                if self.rules.holds(Rule::TenantScope)
                    && kind.has_tenant()
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

    /// Checks that the `_last_modified` of a request is the object's.
    fn check_last_modified(&self, kind: &Kind, old: &Object, stamp: Option<&Value>) -> Result<(), ApiError> {
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

    /// Sets `_last_modified`, stores the object and returns its uuid.
    pub(super) fn stamp_and_insert(
        &mut self,
        caller: &Caller,
        kind: &'static Kind,
        mut object: Object,
    ) -> String {
        let stamp = self.next_stamp(caller.now).to_string();
        if let Value::Object(map) = Arc::make_mut(&mut object.value) {
            map.insert("_last_modified".to_owned(), Value::String(stamp));
        }
        object.refs = refs::collect(&object.value);
        let uuid = object.uuid.clone();
        self.insert_object(kind, object);
        uuid
    }

    /// Returns the reply to a write.
    fn reply(&self, caller: &Caller, kind: &'static Kind, uuid: &str) -> Result<Value, ApiError> {
        let object = self.find(kind, uuid).ok_or_else(|| not_found(kind))?;
        Ok(self.render(caller, kind, object, &Query { include_name: true, ..Query::default() }))
    }

    /// Returns the name of an object for messages: `Pool web`.
    pub(super) fn display_name(&self, id: &Id) -> String {
        let model = Kind::find(id.kind).map_or(id.kind, |kind| kind.model);
        let name = self.object(id.kind, &id.uuid).map(|object| text(object, "name")).unwrap_or_default();
        format!("{model} {}", if name.is_empty() { &id.uuid } else { name })
    }
}

/// Returns the kind if it exists and allows the method.
fn check_method(kind: &str, method: &str, single: bool) -> Result<&'static Kind, ApiError> {
    let kind = Store::listable_kind(kind)?;
    if kind.allows(method, single) { Ok(kind) } else { Err(ApiError::method_not_allowed(method)) }
}

/// Returns whether a uuid can be a segment of a URL's path without encoding.
fn is_path_segment(uuid: &str) -> bool {
    !uuid.trim_matches('.').is_empty() && uuid.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn parse_object(body: Value) -> Result<Map<String, Value>, ApiError> {
    match body {
        Value::Object(map) => Ok(map),
        _ => Err(ApiError::new(400, "Invalid data: the body is not a JSON object")),
    }
}
