//! What was on the controller at a moment, and what is different now. Secrets do not appear.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::kind::{KINDS, Kind};
use super::read::SENSITIVE;
use super::table::Table;
use super::{Store, text, validate};

/// The configuration of a moment. Cheap: it shares the objects with the store.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    objects: BTreeMap<(&'static str, String), Arc<Value>>,
}

/// What came, went and changed; each list ordered by kind and uuid.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// There now, not before.
    pub added: Vec<Change>,
    /// There before, not now.
    pub removed: Vec<Change>,
    /// Written in between, and different; with the names of the fields that differ.
    pub changed: Vec<Change>,
}

impl Diff {
    /// Whether nothing differs.
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
    /// Its name, as it is now if it is there now.
    pub name: String,
    /// For a changed object: the fields that differ, without `_last_modified`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
}

impl Store {
    /// The configuration as it is.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut objects = BTreeMap::new();
        for kind in KINDS {
            for object in self.tables.get(kind.name).into_iter().flat_map(Table::iter) {
                objects.insert((kind.name, object.uuid.clone()), public(kind, &object.value));
            }
        }
        Snapshot { objects }
    }

    /// What is different from a snapshot. An object written without a change of its fields does not appear.
    #[must_use]
    pub fn diff(&self, before: &Snapshot) -> Diff {
        let now = self.snapshot();
        let mut diff = Diff::default();
        for (key, value) in &now.objects {
            match before.objects.get(key) {
                None => diff.added.push(change(key, value, Vec::new())),
                Some(old) if Arc::ptr_eq(old, value) => {}
                Some(old) => {
                    let fields = differing(old, value);
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

/// The object, without its secrets if it has any.
fn public(kind: &Kind, value: &Arc<Value>) -> Arc<Value> {
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

fn differing(old: &Value, new: &Value) -> Vec<String> {
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
