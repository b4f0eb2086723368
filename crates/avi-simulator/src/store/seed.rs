//! Seeds: many objects in one value, in any order.

use serde::Serialize;
use serde_json::{Map, Value};

use super::kind::{Kind, Shape};
use super::table::Object;
use super::{ADMIN, Store, new_uuid, refs};
use crate::ApiError;

/// An object that a seed created or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seeded {
    /// `pool`.
    pub kind: &'static str,
    /// `pool-…`.
    pub uuid: String,
    /// Its name; empty if it has none.
    pub name: String,
}

/// An object of a seed.
struct Entry {
    kind: &'static Kind,
    body: Map<String, Value>,
}

impl Entry {
    /// Returns the error with the name of the object.
    fn name_error(&self, error: &ApiError) -> ApiError {
        ApiError::new(
            error.status,
            format!("{} {}: {}", self.kind.model, body_name(&self.body), error.text()),
        )
    }

    /// Returns the entry without the refs that can be part of a cycle.
    fn without_refs(&self) -> Entry {
        let is_kept = |key: &str| {
            matches!(key, "tenant_ref" | "cloud_ref") || !key.ends_with("_ref") && !key.ends_with("_refs")
        };
        let kept = self.body.iter().filter(|(key, _)| is_kept(key));
        Entry { kind: self.kind, body: kept.map(|(key, value)| (key.clone(), value.clone())).collect() }
    }
}

impl Store {
    /// Creates the objects of `{<kind>: [<body>, …], <singleton>: <body>}`, with bodies as in a POST, in the newest shape.
    ///
    /// `uuid` sets the uuid; `tenant_ref` (or `tenant`, a name) and `cloud_ref` set tenant and cloud. Refs may name objects
    /// of the same seed, also in cycles. If an object of that name or uuid exists, it gets the given fields and keeps the
    /// others. Objects of runtime kinds can be seeded too. `now` is the time, µs since 1970.
    ///
    /// Returns the objects in the order in which they were written.
    ///
    /// # Errors
    /// 400 for an unknown kind or an invalid body, or the error of the refused object. The objects before it stay.
    pub fn seed(&mut self, seed: Value, now: u64) -> Result<Vec<Seeded>, ApiError> {
        let mut waiting = parse_seed(seed)?;
        let mut incomplete = Vec::new();
        let mut seeded = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut refusal = None;
            waiting.retain(|entry| match self.upsert(entry, now) {
                Ok(object) => {
                    seeded.push(object);
                    false
                }
                Err(error) => {
                    refusal.get_or_insert_with(|| entry.name_error(&error));
                    true
                }
            });
            if let (Some(refusal), true) = (refusal, waiting.len() == before) {
                // A cycle of refs: writes one object without its refs now, and with them at the end.
                let first = waiting.iter().position(|entry| self.upsert(&entry.without_refs(), now).is_ok());
                incomplete.push(waiting.remove(first.ok_or(refusal)?));
            }
        }
        for entry in incomplete {
            seeded.push(self.upsert(&entry, now).map_err(|error| entry.name_error(&error))?);
        }
        Ok(seeded)
    }

    /// Creates an object or updates the existing one.
    fn upsert(&mut self, entry: &Entry, now: u64) -> Result<Seeded, ApiError> {
        let caller = Self::own_caller(now);
        let mut body = entry.body.clone();
        if let Some(tenant) = body.remove("tenant") {
            let tenant = tenant.as_str().unwrap_or_default();
            body.insert("tenant_ref".to_owned(), Value::String(format!("/api/tenant/?name={tenant}")));
        }
        let old = self.find_existing(entry.kind, &body, ADMIN)?;
        let uuid = old.as_ref().map(|old| old.uuid.clone());
        let uuid = uuid.or_else(|| body.get("uuid").and_then(Value::as_str).map(str::to_owned));
        let uuid = uuid.unwrap_or_else(|| new_uuid(entry.kind));
        if let Some(Value::Object(kept)) = old.as_ref().map(|old| (*old.value).clone()) {
            let mut merged = kept;
            merged.extend(body);
            body = merged;
        }
        let object = self.compose(&caller, entry.kind, uuid, old.as_ref(), body)?;
        let name = object.name.clone();
        let uuid = self.stamp_and_insert(&caller, entry.kind, object);
        self.create_dependents(&caller, entry.kind, &uuid, old.is_none());
        Ok(Seeded { kind: entry.kind.name, uuid, name })
    }

    /// Returns the existing object with the uuid of a body, or with its name in its cloud and tenant (default `tenant`).
    pub(super) fn find_existing(
        &self,
        kind: &'static Kind,
        body: &Map<String, Value>,
        tenant: &str,
    ) -> Result<Option<Object>, ApiError> {
        if kind.shape == Shape::Singleton {
            return Ok(self.find_singleton(kind).cloned());
        }
        if let Some(uuid) = body.get("uuid").and_then(Value::as_str) {
            return Ok(self.find(kind, uuid).cloned());
        }
        if kind.names_repeat {
            return Ok(None);
        }
        let of = |field: &str, default: &str| -> Result<String, ApiError> {
            let resolved = match body.get(field).and_then(Value::as_str) {
                Some(text) => self.resolve_ref(field, text, super::resolve::Place::default())?,
                None => None,
            };
            Ok(resolved.map_or_else(|| default.to_owned(), |resolved| refs::uuid_of(&resolved).to_owned()))
        };
        let tenant = if kind.has_tenant() { of("tenant_ref", tenant)? } else { String::new() };
        let cloud = if kind.clouded { of("cloud_ref", &self.default_cloud())? } else { String::new() };
        let table = self.tables.get(kind.name);
        let mut named = table.into_iter().flat_map(|table| table.find_by_name(body_name(body)));
        Ok(named.find(|object| object.tenant == tenant && object.cloud == cloud).cloned())
    }
}

fn body_name(body: &Map<String, Value>) -> &str {
    ["name", "username"].iter().find_map(|field| body.get(*field).and_then(Value::as_str)).unwrap_or_default()
}

/// Parses a seed.
fn parse_seed(seed: Value) -> Result<Vec<Entry>, ApiError> {
    let kinds = match seed {
        Value::Object(kinds) => kinds,
        Value::Null => Map::new(),
        _ => return Err(ApiError::new(400, "Invalid seed: write a map of types to lists of objects")),
    };
    let mut found = Vec::new();
    for (name, bodies) in kinds {
        let kind = Kind::find(&name)
            .filter(|kind| kind.shape != Shape::Foreign)
            .ok_or_else(|| ApiError::new(400, format!("Invalid seed: no object type '{name}'")))?;
        let bodies = match bodies {
            Value::Array(list) => list,
            Value::Object(_) if kind.shape == Shape::Singleton => vec![bodies],
            _ => return Err(ApiError::new(400, format!("Invalid seed: {name} must be a list of objects"))),
        };
        for body in bodies {
            let Value::Object(mut body) = body else {
                return Err(ApiError::new(400, format!("Invalid seed: an entry of {name} is not an object")));
            };
            if kind.names_repeat && !body.contains_key("uuid") {
                // Objects with the same name are different ones, and a retry of one must find it again.
                body.insert("uuid".to_owned(), Value::String(new_uuid(kind)));
            }
            found.push(Entry { kind, body });
        }
    }
    Ok(found)
}
