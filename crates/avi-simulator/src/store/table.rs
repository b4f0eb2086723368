//! The objects of one kind in the order they were made, with an index by uuid and one by name. Knows no rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

/// An object's address: kind and uuid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) kind: &'static str,
    pub(super) uuid: String,
}

/// One object and what is asked of it often.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) uuid: String,
    pub(super) name: String,
    /// The uuid of its tenant; empty for kinds in no tenant.
    pub(super) tenant: String,
    /// The uuid of its cloud; empty for kinds in no cloud.
    pub(super) cloud: String,
    /// Came with the controller: seen by every tenant, not to be deleted.
    pub(super) builtin: bool,
    /// What it refers to, each once.
    pub(super) refs: BTreeSet<Id>,
    /// The object in the newest shape, refs as `/api/<kind>/<uuid>`.
    pub(super) value: Arc<Value>,
}

impl Object {
    pub(super) fn fields(&self) -> Option<&Map<String, Value>> {
        self.value.as_object()
    }

    /// The names it is found by: a user has two.
    fn names(&self) -> BTreeSet<&str> {
        let username = self.value.get("username").and_then(Value::as_str);
        std::iter::once(self.name.as_str()).chain(username).collect()
    }
}

/// The objects of one kind.
#[derive(Default)]
pub(super) struct Table {
    objects: BTreeMap<u64, Object>,
    by_uuid: HashMap<String, u64>,
    by_name: HashMap<String, BTreeSet<u64>>,
    next: u64,
    /// Grows with every change: what was found at another count may be wrong now.
    pub(super) changes: u64,
}

impl Table {
    pub(super) fn get(&self, uuid: &str) -> Option<&Object> {
        self.objects.get(self.by_uuid.get(uuid)?)
    }

    /// In the order they were made.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    pub(super) fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Object> {
        self.by_name.get(name).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// Those of these names, each once and in the order they were made.
    pub(super) fn named_any<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<&Object> {
        let keys: BTreeSet<&u64> = names.filter_map(|name| self.by_name.get(name)).flatten().collect();
        keys.into_iter().filter_map(|key| self.objects.get(key)).collect()
    }

    /// Those of these uuids, each once and in the order they were made.
    pub(super) fn in_order<'u>(&self, uuids: impl Iterator<Item = &'u str>) -> Vec<&Object> {
        let keys: BTreeSet<&u64> = uuids.filter_map(|uuid| self.by_uuid.get(uuid)).collect();
        keys.into_iter().filter_map(|key| self.objects.get(key)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Puts an object in its place, or behind all others if it is new; the one that was there.
    pub(super) fn put(&mut self, object: Object) -> Option<Object> {
        let old = self.by_uuid.get(&object.uuid).copied();
        let key = old.unwrap_or(self.next);
        let before = old.and_then(|key| self.take(key));
        self.next = self.next.max(key + 1);
        for name in object.names() {
            self.by_name.entry(name.to_owned()).or_default().insert(key);
        }
        self.by_uuid.insert(object.uuid.clone(), key);
        self.objects.insert(key, object);
        self.changes += 1;
        before
    }

    pub(super) fn remove(&mut self, uuid: &str) -> Option<Object> {
        let key = *self.by_uuid.get(uuid)?;
        self.changes += 1;
        self.take(key)
    }

    fn take(&mut self, key: u64) -> Option<Object> {
        let object = self.objects.remove(&key)?;
        self.by_uuid.remove(&object.uuid);
        for name in object.names() {
            if let Some(keys) = self.by_name.get_mut(name) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
        Some(object)
    }
}
