//! Reads: the objects that a caller can see, lists and their pages, and the form of replies.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value, json};

use super::builtin::is_created_per_cloud;
use super::kind::{Kind, SENSITIVE, Shape};
use super::query::{Filter, Query};
use super::table::{Id, Object, Table};
use super::{ADMIN, Store, migrate, not_found, refs, text, validate};
use crate::{ApiError, Caller, Rule, Scope, Version};

/// The results of the latest lists: a client that requests page after page causes only one search.
#[derive(Debug, Default)]
pub(super) struct Pages(VecDeque<(String, u64, Arc<Vec<String>>)>);

impl Pages {
    /// The number of cached lists, which allows as many clients to page at the same time.
    const MAX_LISTS: usize = 16;

    fn get(&self, key: &str, changes: u64) -> Option<Arc<Vec<String>>> {
        self.0
            .iter()
            .find(|(known, at, _)| known == key && *at == changes)
            .map(|(_, _, uuids)| Arc::clone(uuids))
    }

    fn put(&mut self, key: String, changes: u64, uuids: Arc<Vec<String>>) {
        self.0.retain(|(known, _, _)| *known != key);
        if self.0.len() == Self::MAX_LISTS {
            self.0.pop_front();
        }
        self.0.push_back((key, changes, uuids));
    }
}

impl Store {
    /// Answers `GET /api/<kind>` with `{count, results, next?}`, or with the object of a singleton kind.
    ///
    /// # Errors
    /// 404 for an unknown kind and for a page after the last.
    pub fn list(&self, caller: &Caller, kind: &str, query: &Query) -> Result<Value, ApiError> {
        let kind = Self::listable_kind(kind)?;
        if kind.shape == Shape::Singleton {
            let object = self.find_singleton(kind).ok_or_else(|| not_found(kind))?;
            return Ok(self.render(caller, kind, object, query));
        }
        let uuids = self.select(caller, kind, query);
        let size = query.page_size.unwrap_or(self.assumptions.default_page_size).max(1);
        let start = (query.page.max(1) - 1).saturating_mul(size);
        if start > 0 && start >= uuids.len() && self.assumptions.page_after_last_is_404 {
            return Err(ApiError::new(404, "Invalid page: that page contains no results"));
        }
        let page = uuids.iter().skip(start).take(size).filter_map(|uuid| self.find(kind, uuid));
        let results: Vec<Value> = page.map(|object| self.render(caller, kind, object, query)).collect();
        self.count_visited(results.len());
        let mut reply = json!({"count": uuids.len(), "results": results});
        if start.saturating_add(size) < uuids.len() && self.rules.holds(Rule::Paging) {
            let next = format!("{}/api/{}?{}", caller.base, kind.name, query.at_page(query.page.max(1) + 1));
            reply["next"] = Value::String(next);
        }
        Ok(reply)
    }

    /// Answers `GET /api/<kind>/<uuid>`; ignores the uuid of a singleton.
    ///
    /// # Errors
    /// 404 for an unknown kind, and for an object that does not exist or is not visible in the caller's tenant;
    /// [`Assumptions::hidden_status`](crate::Assumptions::hidden_status) for one that the caller's roles hide.
    pub fn get(&self, caller: &Caller, kind: &str, uuid: &str, query: &Query) -> Result<Value, ApiError> {
        let kind = Self::listable_kind(kind)?;
        let object = self.find_readable(caller, kind, uuid)?;
        Ok(self.render(caller, kind, object, query))
    }

    /// Returns the service domains of a cloud's DNS profile, for `/api/ipamdnsproviderprofiledomainlist`.
    #[must_use]
    pub fn dns_domains(&self, cloud: &str) -> Vec<String> {
        let cloud =
            self.object("cloud", cloud).map(|cloud| text(cloud, "dns_provider_ref")).unwrap_or_default();
        let profile = self.object("ipamdnsproviderprofile", refs::uuid_of(cloud));
        let domains = profile.and_then(|profile| profile.pointer("/internal_profile/dns_service_domain"));
        domains
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|domain| text(domain, "domain_name").to_owned())
            .collect()
    }

    /// Returns an object that the caller may read.
    pub(super) fn find_readable(
        &self,
        caller: &Caller,
        kind: &'static Kind,
        uuid: &str,
    ) -> Result<&Object, ApiError> {
        if kind.shape == Shape::Singleton {
            return self.find_singleton(kind).ok_or_else(|| not_found(kind));
        }
        let object = self
            .find(kind, uuid)
            .filter(|object| self.is_visible(caller, kind, object))
            .ok_or_else(|| not_found(kind))?;
        if self.may_read(caller, kind, object) { Ok(object) } else { Err(self.hidden_error(caller, kind)) }
    }

    /// Returns whether an object is visible in the caller's scope, whatever the caller's rights are.
    pub(super) fn is_visible(&self, caller: &Caller, kind: &Kind, object: &Object) -> bool {
        match &caller.scope {
            Scope::Tenant(tenant) if self.rules.holds(Rule::TenantScope) => {
                object.is_visible_in(kind, tenant)
                    && (object.tenant == *tenant || !self.has_own_objects(kind, tenant))
            }
            _ => true,
        }
    }

    /// Returns whether a tenant has its own objects of the kind, so that those of `admin` are not visible in it.
    pub(super) fn has_own_objects(&self, kind: &Kind, tenant: &str) -> bool {
        let settings = || self.object("tenant", tenant).and_then(|tenant| tenant.get("config_settings"));
        let set = |flag: &str, to: bool| settings().and_then(|all| all.get(flag)) == Some(&Value::Bool(to));
        tenant != ADMIN
            && match kind.name {
                "vrfcontext" => set("tenant_vrf", true),
                "serviceenginegroup" => set("se_in_provider_context", false),
                _ => false,
            }
    }

    /// Returns the uuids of the objects that a query selects, in the order of the query.
    fn select(&self, caller: &Caller, kind: &'static Kind, query: &Query) -> Arc<Vec<String>> {
        let Some(table) = self.tables.get(kind.name) else { return Arc::default() };
        let rights = caller.rights.visibility_key(kind.permission);
        let key = format!("{}|{:?}|{rights}|{}", kind.name, caller.scope, query.selection_key());
        let changes = self.count_changes(kind, table, &query.filters);
        if let Some(known) = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&key, changes) {
            return known;
        }
        let mut found: Vec<&Object> = Vec::new();
        for object in self.candidates(kind, table, &query.filters) {
            self.count_visited(1);
            let is_listed = query.include_service_accounts
                || kind.name != "user"
                || object.value.get("service_user") != Some(&Value::Bool(true));
            if is_listed
                && self.is_visible(caller, kind, object)
                && self.may_read(caller, kind, object)
                && self.matches(kind, object, &query.filters)
            {
                found.push(object);
            }
        }
        for (descending, field) in query.sort.iter().rev().filter(|(_, field)| !kind.hides(field)) {
            found.sort_by(|a, b| {
                let order = validate::compare(at_path(&a.value, field), at_path(&b.value, field));
                if *descending { order.reverse() } else { order }
            });
        }
        let uuids: Arc<Vec<String>> = Arc::new(found.into_iter().map(|object| object.uuid.clone()).collect());
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).put(key, changes, Arc::clone(&uuids));
        uuids
    }

    /// Counts the changes that can affect a list: of its own table, and of all tables if its filters use other kinds.
    fn count_changes(&self, kind: &Kind, table: &Table, filters: &[Filter]) -> u64 {
        let uses_other_kinds = |filter: &Filter| {
            matches!(filter, Filter::CloudName(_) | Filter::RefName(..) | Filter::ReferredBy(..))
        };
        // The visibility of objects that each cloud has depends on the tenant's settings.
        if is_created_per_cloud(kind) || filters.iter().any(uses_other_kinds) {
            self.tables.values().map(|table| table.changes).sum()
        } else {
            table.changes
        }
    }

    /// Returns the objects to examine: those that an index selects, or all.
    fn candidates<'a>(
        &'a self,
        kind: &'static Kind,
        table: &'a Table,
        filters: &[Filter],
    ) -> Vec<&'a Object> {
        let by_name = self.rules.holds(Rule::NameFilter);
        for filter in filters {
            match filter {
                Filter::Name(name) if by_name => return table.find_by_name(name).collect(),
                Filter::NameIn(names) if by_name => {
                    return table.find_by_names(names.iter().map(String::as_str));
                }
                Filter::Uuid(uuid) => return table.get(uuid).into_iter().collect(),
                Filter::RefersTo(target, uuid) => {
                    let target =
                        Kind::find(target).map(|target| Id { kind: target.name, uuid: uuid.clone() });
                    let referrers = target.and_then(|target| self.referrers.get(&target));
                    let of_kind = referrers.into_iter().flatten().filter(|id| id.kind == kind.name);
                    return table.find_by_uuids(of_kind.map(|id| id.uuid.as_str()));
                }
                Filter::ReferredBy(source, uuid) => {
                    let source = self.tables.get(source.as_str()).and_then(|table| table.get(uuid));
                    let refs = source.into_iter().flat_map(|source| &source.refs);
                    let of_kind = refs.filter(|id| id.kind == kind.name);
                    return table.find_by_uuids(of_kind.map(|id| id.uuid.as_str()));
                }
                _ => {}
            }
        }
        table.iter().collect()
    }

    /// Returns whether an object matches all filters.
    fn matches(&self, kind: &Kind, object: &Object, filters: &[Filter]) -> bool {
        let has_name = |name: &str| object.name == *name || text(&object.value, "username") == name;
        filters.iter().all(|filter| match filter {
            Filter::Name(name) => !self.rules.holds(Rule::NameFilter) || has_name(name),
            Filter::NameIn(names) => {
                !self.rules.holds(Rule::NameFilter) || names.iter().any(|name| has_name(name))
            }
            Filter::NameContains(part) => object.name.contains(part.as_str()),
            Filter::Uuid(uuid) => object.uuid == *uuid,
            Filter::CloudName(name) => {
                kind.clouded
                    && self.object("cloud", &object.cloud).is_some_and(|cloud| text(cloud, "name") == name)
            }
            Filter::CloudUuid(uuid) => kind.clouded && object.cloud == *uuid,
            Filter::CreatedBy(by) => text(&object.value, "created_by") == by,
            Filter::Label(key, value) => has_label(&object.value, key, value.as_deref()),
            Filter::RefersTo(target, uuid) => {
                object.refs.iter().any(|id| id.kind == target.as_str() && id.uuid == *uuid)
            }
            Filter::ReferredBy(source, uuid) => {
                let source = self.tables.get(source.as_str()).and_then(|table| table.get(uuid));
                source.is_some_and(|source| {
                    source.refs.iter().any(|id| id.kind == kind.name && id.uuid == object.uuid)
                })
            }
            Filter::RefName(field, name) => at_path(&object.value, field)
                .and_then(Value::as_str)
                .and_then(refs::parse_canonical)
                .and_then(|id| self.object(id.kind, &id.uuid))
                .is_some_and(|target| text(target, "name") == name),
            Filter::RefUuid(field, uuid) => at_path(&object.value, field)
                .and_then(Value::as_str)
                .is_some_and(|text| refs::uuid_of(text) == uuid),
            // A filter must not reveal a secret.
            Filter::Field(field, _) if kind.hides(field) => false,
            Filter::Field(field, wanted) => match at_path(&object.value, field) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Null) | None => false,
                Some(other) => other.to_string().eq_ignore_ascii_case(wanted),
            },
        })
    }

    /// Returns an object in the form that the caller's version and query ask for.
    pub(super) fn render(
        &self,
        caller: &Caller,
        kind: &'static Kind,
        object: &Object,
        query: &Query,
    ) -> Value {
        let version = if self.rules.holds(Rule::VersionShape) { caller.version } else { Version::NEWEST };
        let mut map = body_for_version(version, kind, object);
        if query.skip_default {
            let defaults = serde_json::from_str(kind.defaults).unwrap_or_default();
            validate::remove_defaults(&mut map, &defaults);
        }
        if !query.fields.is_empty() {
            map.retain(|key, _| {
                matches!(key.as_str(), "uuid" | "url") || query.fields.iter().any(|field| field == key)
            });
        }
        let mut reply = |_: &str, stored: &str| -> Result<Option<String>, std::convert::Infallible> {
            if !stored.starts_with("/api/") {
                return Ok(Some(stored.to_owned()));
            }
            let name = if query.include_name { self.target_name(stored) } else { None };
            Ok(Some(match name {
                Some(name) => format!("{}{stored}#{name}", caller.base),
                None => format!("{}{stored}", caller.base),
            }))
        };
        let Ok(()) = refs::rewrite(&mut map, &mut reply);
        let mut url = format!("{}{}", caller.base, refs::canonical(kind.name, &object.uuid));
        if query.include_name && !object.name.is_empty() {
            url.push('#');
            url.push_str(&object.name);
        }
        map.insert("url".to_owned(), Value::String(url));
        if kind.name == "virtualservice" && query.join.iter().any(|join| join == "runtime") {
            map.insert("runtime".to_owned(), runtime_state(&object.value));
        }
        Value::Object(map)
    }

    /// Returns the name of the object that a canonical reference names.
    fn target_name(&self, stored: &str) -> Option<&str> {
        let id = refs::parse_canonical(stored)?;
        let object = self.tables.get(id.kind)?.get(&id.uuid)?;
        (!object.name.is_empty()).then_some(object.name.as_str())
    }
}

/// Returns the body in the shape of a version, with masked secrets and canonical refs.
pub(super) fn body_for_version(version: Version, kind: &Kind, object: &Object) -> Map<String, Value> {
    let mut map = object.fields().cloned().unwrap_or_default();
    migrate::to_version(kind.name, version, &mut map);
    for path in kind.secrets {
        if let Some(secret) = validate::field_mut(&mut map, path) {
            *secret = Value::String(SENSITIVE.to_owned());
        }
    }
    map
}

/// Returns the value at a dotted path.
fn at_path<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| value.get(step))
}

/// Returns whether an object has a marker or label with the key and, if given, the value.
fn has_label(value: &Value, key: &str, expected: Option<&str>) -> bool {
    let entries = |field: &str| value.get(field).and_then(Value::as_array).into_iter().flatten();
    let in_markers = entries("markers").filter(|marker| text(marker, "key") == key).any(|marker| {
        let values = marker.get("values").and_then(Value::as_array);
        expected
            .is_none_or(|expected| values.is_some_and(|values| values.iter().any(|value| value == expected)))
    });
    in_markers
        || entries("labels")
            .filter(|label| text(label, "key") == key)
            .any(|label| expected.is_none_or(|expected| text(label, "value") == expected))
}

/// Returns the runtime state of a virtual service on a controller without service engines.
fn runtime_state(value: &Value) -> Value {
    let on = value.get("enabled") != Some(&Value::Bool(false));
    json!({"oper_status": {"state": if on { "OPER_RESOURCES" } else { "OPER_DISABLED" }}})
}
