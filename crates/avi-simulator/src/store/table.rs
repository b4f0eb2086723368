//! The objects of one kind in the order of their creation, indexed by uuid and by name. Knows no rules but which tenants
//! an object is visible in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::ADMIN;
use super::kind::{Kind, Tenancy};

/// The identity of an object: kind and uuid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id {
    pub(super) kind: &'static str,
    pub(super) uuid: String,
}

/// An object, with the fields that are needed often.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) uuid: String,
    pub(super) name: String,
    /// The uuid of its tenant; empty for kinds without tenants.
    pub(super) tenant: String,
    /// The uuid of its cloud; empty for kinds without clouds.
    pub(super) cloud: String,
    /// Whether the controller created it: visible in every tenant, cannot be deleted.
    pub(super) builtin: bool,
    /// The objects it refers to.
    pub(super) refs: BTreeSet<Id>,
    /// The object in the newest shape, refs as `/api/<kind>/<uuid>`.
    pub(super) value: Arc<Value>,
}

impl Object {
    /// Returns the fields of the object.
    pub(super) fn fields(&self) -> Option<&Map<String, Value>> {
        self.value.as_object()
    }

    /// Returns whether the object is visible in a tenant.
    pub(super) fn is_visible_in(&self, kind: &Kind, tenant: &str) -> bool {
        match kind.tenancy {
            Tenancy::System | Tenancy::Admin => true,
            Tenancy::Shared => self.tenant == tenant || self.tenant == ADMIN,
            Tenancy::Directory => self.tenant == tenant || self.tenant == ADMIN || tenant == ADMIN,
            Tenancy::Own => self.tenant == tenant || self.builtin,
        }
    }

    /// Returns the names in the index: a user has two.
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
    /// Counts the changes: a cached result of another count may be outdated.
    pub(super) changes: u64,
}

impl Table {
    /// Returns an object by uuid.
    pub(super) fn get(&self, uuid: &str) -> Option<&Object> {
        self.objects.get(self.by_uuid.get(uuid)?)
    }

    /// Returns all objects in the order of their creation.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// Returns the objects with a name.
    pub(super) fn find_by_name<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Object> {
        self.by_name.get(name).into_iter().flatten().filter_map(|key| self.objects.get(key))
    }

    /// Returns the objects with one of the names, in the order of their creation.
    pub(super) fn find_by_names<'n>(&self, names: impl Iterator<Item = &'n str>) -> Vec<&Object> {
        let keys: BTreeSet<&u64> = names.filter_map(|name| self.by_name.get(name)).flatten().collect();
        keys.into_iter().filter_map(|key| self.objects.get(key)).collect()
    }

    /// Returns the objects with one of the uuids, in the order of their creation.
    pub(super) fn find_by_uuids<'u>(&self, uuids: impl Iterator<Item = &'u str>) -> Vec<&Object> {
        let keys: BTreeSet<&u64> = uuids.filter_map(|uuid| self.by_uuid.get(uuid)).collect();
        keys.into_iter().filter_map(|key| self.objects.get(key)).collect()
    }

    /// Returns the number of objects.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Inserts or replaces an object; returns the replaced one. A replaced object keeps its place in the order.
    pub(super) fn insert(&mut self, object: Object) -> Option<Object> {
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

    /// Removes an object by uuid.
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
