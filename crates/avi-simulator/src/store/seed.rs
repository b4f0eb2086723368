//! Seeds: an inventory given as one value, put in whatever the order of its parts.

use serde::Serialize;
use serde_json::{Map, Value};

use super::kind::{Kind, Shape};
use super::table::Object;
use super::{ADMIN, Store, fresh_uuid, refs};
use crate::ApiError;

/// An object a seed made or changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Seeded {
    /// `pool`.
    pub kind: &'static str,
    /// `pool-…`.
    pub uuid: String,
    /// Its name; empty for what has none.
    pub name: String,
}

struct Entry {
    kind: &'static Kind,
    body: Map<String, Value>,
}

impl Entry {
    /// The refusal, with the name of what was refused.
    fn refused(&self, error: &ApiError) -> ApiError {
        ApiError::new(error.status, format!("{} {}: {}", self.kind.model, name_of(&self.body), error.text()))
    }

    /// The same without the refs that could be part of a circle.
    fn without_refs(&self) -> Entry {
        let stays = |key: &str| {
            matches!(key, "tenant_ref" | "cloud_ref") || !key.ends_with("_ref") && !key.ends_with("_refs")
        };
        let kept = self.body.iter().filter(|(key, _)| stays(key));
        Entry { kind: self.kind, body: kept.map(|(key, value)| (key.clone(), value.clone())).collect() }
    }
}

impl Store {
    /// Puts in the objects of `{<kind>: [<body>, …], <singleton>: <body>}`: bodies as a POST has them, in the newest
    /// shape. `uuid` fixes the uuid; `tenant_ref` (or `tenant`, a name) and `cloud_ref` decide where it is. Refs may lead
    /// to objects of the same seed, also in circles. What is there under its name (or uuid) gets the fields given, and
    /// keeps the others. Runtime kinds can be seeded too. `now` is the time, µs since 1970.
    ///
    /// Returns them in the order they went in.
    ///
    /// # Errors
    /// 400 for an unknown kind or a body that is none; else what refused the object. What was put in before stays.
    pub fn seed(&mut self, seed: Value, now: u64) -> Result<Vec<Seeded>, ApiError> {
        let mut waiting = entries(seed)?;
        let mut incomplete = Vec::new();
        let mut seeded = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            let before = waiting.len();
            let mut refusal = None;
            waiting.retain(|entry| match self.upsert(entry, now) {
                Ok(made) => {
                    seeded.push(made);
                    false
                }
                Err(error) => {
                    refusal.get_or_insert_with(|| entry.refused(&error));
                    true
                }
            });
            if let (Some(refusal), true) = (refusal, waiting.len() == before) {
                // A circle: one that only its refs keep out goes in without them, and gets them in the end.
                let first = waiting.iter().position(|entry| self.upsert(&entry.without_refs(), now).is_ok());
                incomplete.push(waiting.remove(first.ok_or(refusal)?));
            }
        }
        for entry in incomplete {
            seeded.push(self.upsert(&entry, now).map_err(|error| entry.refused(&error))?);
        }
        Ok(seeded)
    }

    fn upsert(&mut self, entry: &Entry, now: u64) -> Result<Seeded, ApiError> {
        let caller = Self::itself(now);
        let mut body = entry.body.clone();
        if let Some(tenant) = body.remove("tenant") {
            let tenant = tenant.as_str().unwrap_or_default();
            body.insert("tenant_ref".to_owned(), Value::String(format!("/api/tenant/?name={tenant}")));
        }
        let old = self.there_already(entry.kind, &body, ADMIN)?;
        let uuid = old.as_ref().map(|old| old.uuid.clone());
        let uuid = uuid.or_else(|| body.get("uuid").and_then(Value::as_str).map(str::to_owned));
        let uuid = uuid.unwrap_or_else(|| fresh_uuid(entry.kind));
        if let Some(Value::Object(kept)) = old.as_ref().map(|old| (*old.value).clone()) {
            let mut merged = kept;
            merged.extend(body);
            body = merged;
        }
        let object = self.compose(&caller, entry.kind, uuid, old.as_ref(), body)?;
        let name = object.name.clone();
        let uuid = self.settle(&caller, entry.kind, object);
        self.come_along(&caller, entry.kind, &uuid, old.is_none());
        Ok(Seeded { kind: entry.kind.name, uuid, name })
    }

    /// The object that a body means which is to be written whether it is there or not: by its uuid, or by its name in its
    /// tenant (`tenant` if it names none) and cloud.
    pub(super) fn there_already(
        &self,
        kind: &'static Kind,
        body: &Map<String, Value>,
        tenant: &str,
    ) -> Result<Option<Object>, ApiError> {
        if kind.shape == Shape::Singleton {
            return Ok(self.single(kind).cloned());
        }
        if let Some(uuid) = body.get("uuid").and_then(Value::as_str) {
            return Ok(self.find(kind, uuid).cloned());
        }
        if kind.names_repeat {
            return Ok(None);
        }
        let of = |field: &str, default: &str| -> Result<String, ApiError> {
            let kept = match body.get(field).and_then(Value::as_str) {
                Some(text) => self.resolve(field, text, super::resolve::Place::default())?,
                None => None,
            };
            Ok(kept.map_or_else(|| default.to_owned(), |kept| refs::uuid_of(&kept).to_owned()))
        };
        let tenant = if kind.tenanted() { of("tenant_ref", tenant)? } else { String::new() };
        let cloud = if kind.clouded { of("cloud_ref", &self.default_cloud())? } else { String::new() };
        let table = self.tables.get(kind.name);
        let mut named = table.into_iter().flat_map(|table| table.named(name_of(body)));
        Ok(named.find(|object| object.tenant == tenant && object.cloud == cloud).cloned())
    }
}

fn name_of(body: &Map<String, Value>) -> &str {
    ["name", "username"].iter().find_map(|field| body.get(*field).and_then(Value::as_str)).unwrap_or_default()
}

fn entries(seed: Value) -> Result<Vec<Entry>, ApiError> {
    let kinds = match seed {
        Value::Object(kinds) => kinds,
        Value::Null => Map::new(),
        _ => return Err(ApiError::new(400, "Invalid seed: a map of types to lists of objects is wanted")),
    };
    let mut found = Vec::new();
    for (name, bodies) in kinds {
        let kind = Kind::named(&name)
            .filter(|kind| kind.shape != Shape::Foreign)
            .ok_or_else(|| ApiError::new(400, format!("Invalid seed: no object type '{name}'")))?;
        let bodies = match bodies {
            Value::Array(list) => list,
            Value::Object(_) if kind.shape == Shape::Singleton => vec![bodies],
            _ => return Err(ApiError::new(400, format!("Invalid seed: {name} wants a list of objects"))),
        };
        for body in bodies {
            let Value::Object(mut body) = body else {
                return Err(ApiError::new(400, format!("Invalid seed: an entry of {name} is no object")));
            };
            if kind.names_repeat && !body.contains_key("uuid") {
                // Two of one name are two; one that is tried twice is one.
                body.insert("uuid".to_owned(), Value::String(fresh_uuid(kind)));
            }
            found.push(Entry { kind, body });
        }
    }
    Ok(found)
}
