//! Snapshots of the configuration and the differences between them, without secrets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::kind::{KINDS, Kind, SENSITIVE};
use super::table::Table;
use super::{Store, text, validate};

/// The configuration at one time. It shares the objects with the store.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: BTreeMap<(&'static str, String), Arc<Value>>,
}

/// The differences from a snapshot; each list is sorted by kind and uuid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Objects that exist now and not in the snapshot.
    pub added: Vec<Change>,
    /// Objects that exist in the snapshot and not now.
    pub removed: Vec<Change>,
    /// Objects with different fields, whose names are in [`Change::fields`].
    pub changed: Vec<Change>,
}

impl Diff {
    /// Returns whether there are no differences.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// One object of a [`Diff`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `pool`.
    pub kind: String,
    /// `pool-…`.
    pub uuid: String,
    /// Its current name, or its last one if it was removed.
    pub name: String,
    /// For a changed object: the names of the different fields, except `_last_modified`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

impl Store {
    /// Takes a snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut objects = BTreeMap::new();
        for kind in KINDS {
            for object in self.tables.get(kind.name).into_iter().flat_map(Table::iter) {
                objects.insert((kind.name, object.uuid.clone()), mask_secrets(kind, &object.value));
            }
        }
        Snapshot { objects }
    }

    /// Returns the differences from a snapshot. A write that changed no field is none.
    #[must_use]
    pub fn diff(&self, before: &Snapshot) -> Diff {
        let now = self.snapshot();
        let mut diff = Diff::default();
        for (key, value) in &now.objects {
            match before.objects.get(key) {
                None => diff.added.push(change(key, value, Vec::new())),
                Some(old) if Arc::ptr_eq(old, value) => {}
                Some(old) => {
                    let fields = changed_fields(old, value);
                    if !fields.is_empty() {
                        diff.changed.push(change(key, value, fields));
                    }
                }
            }
        }
        let gone = before.objects.iter().filter(|(key, _)| !now.objects.contains_key(key));
        diff.removed = gone.map(|(key, value)| change(key, value, Vec::new())).collect();
        diff
    }
}

/// Returns the object with masked secrets.
fn mask_secrets(kind: &Kind, value: &Arc<Value>) -> Arc<Value> {
    let mut value = Arc::clone(value);
    for path in kind.secrets {
        if value.pointer(&format!("/{}", path.replace('.', "/"))).is_some()
            && let Value::Object(map) = Arc::make_mut(&mut value)
            && let Some(secret) = validate::field_mut(map, path)
        {
            *secret = Value::String(SENSITIVE.to_owned());
        }
    }
    value
}

fn change((kind, uuid): &(&'static str, String), value: &Value, fields: Vec<String>) -> Change {
    Change { kind: (*kind).to_owned(), uuid: uuid.clone(), name: text(value, "name").to_owned(), fields }
}

/// Returns the names of the fields that differ.
fn changed_fields(old: &Value, new: &Value) -> Vec<String> {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Vec::new() };
    let mut fields: Vec<String> = old
        .keys()
        .chain(new.keys())
        .filter(|key| *key != "_last_modified" && old.get(*key) != new.get(*key))
        .cloned()
        .collect();
    fields.sort();
    fields.dedup();
    fields
}
