//! Reading: which objects a caller sees, lists and their pages, and the form of what is given out. Writes nothing.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

use serde_json::{Map, Value, json};

use super::builtin::furnishes;
use super::kind::{Kind, Shape, Tenancy};
use super::query::{Filter, Query};
use super::table::{Id, Object, Table};
use super::{ADMIN, Store, migrate, not_found, refs, text, validate};
use crate::{ApiError, Caller, Rule, Scope, Version};

/// What stands in the place of a secret.
pub(super) const SENSITIVE: &str = "<sensitive>";

/// The results of the last lists, so that the pages of one list cost one walk and not one each.
#[derive(Debug, Default)]
pub(super) struct Pages(VecDeque<(String, u64, Arc<Vec<String>>)>);

impl Pages {
    /// As many lists as clients page through at a time.
    const KEPT: usize = 16;

    fn get(&self, key: &str, changes: u64) -> Option<Arc<Vec<String>>> {
        self.0
            .iter()
            .find(|(known, at, _)| known == key && *at == changes)
            .map(|(_, _, uuids)| Arc::clone(uuids))
    }

    fn put(&mut self, key: String, changes: u64, uuids: Arc<Vec<String>>) {
        self.0.retain(|(known, _, _)| *known != key);
        if self.0.len() == Self::KEPT {
            self.0.pop_front();
        }
        self.0.push_back((key, changes, uuids));
    }
}

impl Store {
    /// `GET /api/<kind>`: `{count, results, next?}`; a singleton is given as itself.
    ///
    /// # Errors
    /// 404 for an unknown kind and for a page behind the last.
    pub fn list(&self, caller: &Caller, kind: &str, query: &Query) -> Result<Value, ApiError> {
        let kind = Self::known(kind)?;
        if kind.shape == Shape::Singleton {
            let object = self.single(kind).ok_or_else(|| not_found(kind))?;
            return Ok(self.form(caller, kind, object, query));
        }
        let uuids = self.selected(caller, kind, query);
        let size = query.page_size.unwrap_or(self.assumptions.default_page_size).max(1);
        let start = (query.page.max(1) - 1).saturating_mul(size);
        if start > 0 && start >= uuids.len() && self.assumptions.page_behind_last_is_404 {
            return Err(ApiError::new(404, "Invalid page: that page contains no results"));
        }
        let page = uuids.iter().skip(start).take(size).filter_map(|uuid| self.find(kind, uuid));
        let results: Vec<Value> = page.map(|object| self.form(caller, kind, object, query)).collect();
        self.looked_at(results.len());
        let mut reply = json!({"count": uuids.len(), "results": results});
        if start.saturating_add(size) < uuids.len() && self.rules.holds(Rule::Paging) {
            let next = format!("{}/api/{}?{}", caller.base, kind.name, query.at_page(query.page.max(1) + 1));
            reply["next"] = Value::String(next);
        }
        Ok(reply)
    }

    /// `GET /api/<kind>/<uuid>`; for a singleton the uuid does not matter.
    ///
    /// # Errors
    /// 404 for an unknown kind, and for an object that is not there or not seen by the caller's tenant; 403 (or as
    /// [`Assumptions::hidden_status`](crate::Assumptions::hidden_status) says) for one its roles keep from it.
    pub fn get(&self, caller: &Caller, kind: &str, uuid: &str, query: &Query) -> Result<Value, ApiError> {
        let kind = Self::known(kind)?;
        let object = self.seen(caller, kind, uuid)?;
        Ok(self.form(caller, kind, object, query))
    }

    /// The service domains of a cloud's DNS profile: what `/api/ipamdnsproviderprofiledomainlist` answers.
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

    /// The object, if it is there and the caller may see it.
    pub(super) fn seen(&self, caller: &Caller, kind: &'static Kind, uuid: &str) -> Result<&Object, ApiError> {
        if kind.shape == Shape::Singleton {
            return self.single(kind).ok_or_else(|| not_found(kind));
        }
        let object = self
            .find(kind, uuid)
            .filter(|object| self.visible(caller, kind, object))
            .ok_or_else(|| not_found(kind))?;
        if self.reads(caller, kind, object) { Ok(object) } else { Err(self.hidden(caller, kind)) }
    }

    pub(super) fn visible(&self, caller: &Caller, kind: &Kind, object: &Object) -> bool {
        match &caller.scope {
            Scope::Tenant(tenant) if self.rules.holds(Rule::TenantScope) => {
                in_reach(kind, object, tenant)
                    && (object.tenant == *tenant || !self.keeps_apart(kind, tenant))
            }
            _ => true,
        }
    }

    /// Whether a tenant has objects of this kind of its own, and so is not shown those of `admin`.
    pub(super) fn keeps_apart(&self, kind: &Kind, tenant: &str) -> bool {
        let settings = || self.object("tenant", tenant).and_then(|tenant| tenant.get("config_settings"));
        let set = |flag: &str, to: bool| settings().and_then(|all| all.get(flag)) == Some(&Value::Bool(to));
        tenant != ADMIN
            && match kind.name {
                "vrfcontext" => set("tenant_vrf", true),
                "serviceenginegroup" => set("se_in_provider_context", false),
                _ => false,
            }
    }

    /// The uuids a query selects, in its order.
    fn selected(&self, caller: &Caller, kind: &'static Kind, query: &Query) -> Arc<Vec<String>> {
        let Some(table) = self.tables.get(kind.name) else { return Arc::default() };
        let rights = caller.rights.key(kind.permission);
        let key = format!("{}|{:?}|{rights}|{}", kind.name, caller.scope, query.selection());
        let changes = self.changes_behind(kind, table, &query.filters);
        if let Some(known) = self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(&key, changes) {
            return known;
        }
        let mut found: Vec<&Object> = Vec::new();
        for object in self.candidates(kind, table, &query.filters) {
            self.looked_at(1);
            let shown = query.include_service_accounts
                || kind.name != "user"
                || object.value.get("service_user") != Some(&Value::Bool(true));
            if shown
                && self.visible(caller, kind, object)
                && self.reads(caller, kind, object)
                && self.matches(kind, object, &query.filters)
            {
                found.push(object);
            }
        }
        for (descending, field) in query.sort.iter().rev().filter(|(_, field)| !kind.hides(field)) {
            found.sort_by(|a, b| {
                let order = validate::compare(at(&a.value, field), at(&b.value, field));
                if *descending { order.reverse() } else { order }
            });
        }
        let uuids: Arc<Vec<String>> = Arc::new(found.into_iter().map(|object| object.uuid.clone()).collect());
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).put(key, changes, Arc::clone(&uuids));
        uuids
    }

    /// A count that differs when a list may: of its own table's changes, and of those that its filters look into.
    fn changes_behind(&self, kind: &Kind, table: &Table, filters: &[Filter]) -> u64 {
        let beyond = |filter: &Filter| {
            matches!(filter, Filter::CloudName(_) | Filter::RefName(..) | Filter::ReferredBy(..))
        };
        // Who sees what a cloud is furnished with is a setting of the tenant.
        if furnishes(kind) || filters.iter().any(beyond) {
            self.tables.values().map(|table| table.changes).sum()
        } else {
            table.changes
        }
    }

    /// The objects worth looking at: those an index gives, or all.
    fn candidates<'a>(
        &'a self,
        kind: &'static Kind,
        table: &'a Table,
        filters: &[Filter],
    ) -> Vec<&'a Object> {
        let by_name = self.rules.holds(Rule::NameFilter);
        for filter in filters {
            match filter {
                Filter::Name(name) if by_name => return table.named(name).collect(),
                Filter::NameIn(names) if by_name => {
                    return table.named_any(names.iter().map(String::as_str));
                }
                Filter::Uuid(uuid) => return table.get(uuid).into_iter().collect(),
                Filter::RefersTo(target, uuid) => {
                    let target =
                        Kind::named(target).map(|target| Id { kind: target.name, uuid: uuid.clone() });
                    let referrers = target.and_then(|target| self.referrers.get(&target));
                    let of_kind = referrers.into_iter().flatten().filter(|id| id.kind == kind.name);
                    return table.in_order(of_kind.map(|id| id.uuid.as_str()));
                }
                Filter::ReferredBy(source, uuid) => {
                    let source = self.tables.get(source.as_str()).and_then(|table| table.get(uuid));
                    let refs = source.into_iter().flat_map(|source| &source.refs);
                    let of_kind = refs.filter(|id| id.kind == kind.name);
                    return table.in_order(of_kind.map(|id| id.uuid.as_str()));
                }
                _ => {}
            }
        }
        table.iter().collect()
    }

    fn matches(&self, kind: &Kind, object: &Object, filters: &[Filter]) -> bool {
        let called = |name: &str| object.name == *name || text(&object.value, "username") == name;
        filters.iter().all(|filter| match filter {
            Filter::Name(name) => !self.rules.holds(Rule::NameFilter) || called(name),
            Filter::NameIn(names) => {
                !self.rules.holds(Rule::NameFilter) || names.iter().any(|name| called(name))
            }
            Filter::NameContains(part) => object.name.contains(part.as_str()),
            Filter::Uuid(uuid) => object.uuid == *uuid,
            Filter::CloudName(name) => {
                kind.clouded
                    && self.object("cloud", &object.cloud).is_some_and(|cloud| text(cloud, "name") == name)
            }
            Filter::CloudUuid(uuid) => kind.clouded && object.cloud == *uuid,
            Filter::CreatedBy(by) => text(&object.value, "created_by") == by,
            Filter::Label(key, value) => labelled(&object.value, key, value.as_deref()),
            Filter::RefersTo(target, uuid) => {
                object.refs.iter().any(|id| id.kind == target.as_str() && id.uuid == *uuid)
            }
            Filter::ReferredBy(source, uuid) => {
                let source = self.tables.get(source.as_str()).and_then(|table| table.get(uuid));
                source.is_some_and(|source| {
                    source.refs.iter().any(|id| id.kind == kind.name && id.uuid == object.uuid)
                })
            }
            Filter::RefName(field, name) => at(&object.value, field)
                .and_then(Value::as_str)
                .and_then(refs::held)
                .and_then(|id| self.object(id.kind, &id.uuid))
                .is_some_and(|target| text(target, "name") == name),
            Filter::RefUuid(field, uuid) => at(&object.value, field)
                .and_then(Value::as_str)
                .is_some_and(|text| refs::uuid_of(text) == uuid),
            // A filter must not find out what a reply hides.
            Filter::Field(field, _) if kind.hides(field) => false,
            Filter::Field(field, wanted) => match at(&object.value, field) {
                Some(Value::String(text)) => text == wanted,
                Some(Value::Null) | None => false,
                Some(other) => other.to_string().eq_ignore_ascii_case(wanted),
            },
        })
    }

    /// The form in which a caller gets an object.
    pub(super) fn form(&self, caller: &Caller, kind: &'static Kind, object: &Object, query: &Query) -> Value {
        let version = if self.rules.holds(Rule::VersionShape) { caller.version } else { Version::NEWEST };
        let mut map = shaped(version, kind, object);
        if query.skip_default {
            let defaults = serde_json::from_str(kind.defaults).unwrap_or_default();
            validate::skip_defaults(&mut map, &defaults);
        }
        if !query.fields.is_empty() {
            map.retain(|key, _| {
                matches!(key.as_str(), "uuid" | "url") || query.fields.iter().any(|field| field == key)
            });
        }
        let mut reply = |_: &str, kept: &str| -> Result<Option<String>, std::convert::Infallible> {
            if !kept.starts_with("/api/") {
                return Ok(Some(kept.to_owned()));
            }
            let name = if query.include_name { self.name_behind(kept) } else { None };
            Ok(Some(match name {
                Some(name) => format!("{}{kept}#{name}", caller.base),
                None => format!("{}{kept}", caller.base),
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
            map.insert("runtime".to_owned(), runtime(&object.value));
        }
        Value::Object(map)
    }

    fn name_behind(&self, kept: &str) -> Option<&str> {
        let id = refs::held(kept)?;
        let object = self.tables.get(id.kind)?.get(&id.uuid)?;
        (!object.name.is_empty()).then_some(object.name.as_str())
    }
}

/// The body in the shape of a version, without secrets; refs as kept.
pub(super) fn shaped(version: Version, kind: &Kind, object: &Object) -> Map<String, Value> {
    let mut map = object.fields().cloned().unwrap_or_default();
    migrate::backward(kind.name, version, &mut map);
    for path in kind.secrets {
        if let Some(secret) = validate::field_mut(&mut map, path) {
            *secret = Value::String(SENSITIVE.to_owned());
        }
    }
    map
}

/// Whether a tenant sees an object.
pub(super) fn in_reach(kind: &Kind, object: &Object, tenant: &str) -> bool {
    match kind.tenancy {
        Tenancy::System | Tenancy::Admin => true,
        Tenancy::Shared => object.tenant == tenant || object.tenant == ADMIN,
        Tenancy::Directory => object.tenant == tenant || object.tenant == ADMIN || tenant == ADMIN,
        Tenancy::Own => object.tenant == tenant || object.builtin,
    }
}

/// A value by its dotted path.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, step| value.get(step))
}

fn labelled(value: &Value, key: &str, wanted: Option<&str>) -> bool {
    let entries = |field: &str| value.get(field).and_then(Value::as_array).into_iter().flatten();
    let in_markers = entries("markers").filter(|marker| text(marker, "key") == key).any(|marker| {
        let values = marker.get("values").and_then(Value::as_array);
        wanted.is_none_or(|wanted| values.is_some_and(|values| values.iter().any(|value| value == wanted)))
    });
    in_markers
        || entries("labels")
            .filter(|label| text(label, "key") == key)
            .any(|label| wanted.is_none_or(|wanted| text(label, "value") == wanted))
}

/// What a controller without service engines can say of a virtual service.
fn runtime(value: &Value) -> Value {
    let on = value.get("enabled") != Some(&Value::Bool(false));
    json!({"oper_status": {"state": if on { "OPER_RESOURCES" } else { "OPER_DISABLED" }}})
}
