//! The controller's configuration and its rules: all objects, their visibility, and what may be written.
//!
//! Synchronous, without I/O and without a clock: a [`Caller`] has the time. The server owns sessions and passwords and
//! evaluates the roles of a user. The store removes a password from the body of a user.
//!
//! - [`kind`](Kind): the registry of kinds. `table`: the objects of one kind. [`query`](Query): parsed queries.
//! - `read`: lists, pages, replies. `write`: create, replace, patch, delete. `compose`: checks and completes a body
//!   before it is stored.
//! - `grants`: access to single objects by the caller's roles.
//! - `refs`, `resolve`: references between objects, in bodies and in the canonical form.
//! - `undo`: atomic groups of writes, for `macros`.
//! - `vip`, `leases`: addresses of virtual services.
//! - `migrate`, `patch`, `builtin`, `discover`, `seed`, `snapshot`, `check`, `upgrade`: as named.

mod builtin;
mod check;
mod compose;
mod discover;
mod grants;
mod kind;
mod leases;
mod macros;
mod migrate;
mod patch;
mod query;
mod read;
mod refs;
mod resolve;
mod seed;
mod snapshot;
mod table;
mod undo;
mod upgrade;
mod validate;
mod vip;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use uuid::Uuid;

pub use discover::PortGroup;
pub use kind::{KINDS, Kind, Shape, Tenancy};
pub use query::{Filter, MAX_PAGE_SIZE, Query};
pub use seed::Seeded;
pub use snapshot::{Change, Diff, Snapshot};

use crate::scope::ADMIN_TENANT;
use crate::{ApiError, Assumptions, Caller, Rights, Rules, Scope, Version};
use leases::Leases;
use read::Pages;
use table::{Id, Object, Table};
use undo::Undo;

/// The uuid of the tenant that always exists.
pub const ADMIN: &str = ADMIN_TENANT;

/// The configuration of a controller. See the module's documentation.
pub struct Store {
    rules: Rules,
    assumptions: Assumptions,
    tables: BTreeMap<&'static str, Table>,
    /// The reverse index of refs: for each object, those that refer to it.
    referrers: HashMap<Id, BTreeSet<Id>>,
    /// The latest `_last_modified`, µs since 1970.
    modified: u64,
    /// The number of objects that lists have examined.
    visited: AtomicU64,
    pages: Mutex<Pages>,
    leases: Leases,
    /// The resources that an upgrade added to a role, by the role's uuid.
    upgraded: HashMap<String, BTreeSet<String>>,
    /// While an atomic group runs: the state before each of its writes.
    undo: Option<Vec<Undo>>,
}

impl Store {
    /// Creates the configuration of a new controller: tenant `admin`, its user and roles, `Default-Cloud` and all
    /// `System-…` profiles.
    #[must_use]
    pub fn new(rules: Rules, assumptions: Assumptions) -> Store {
        let mut store = Store {
            rules,
            assumptions,
            tables: KINDS.iter().map(|kind| (kind.name, Table::default())).collect(),
            referrers: HashMap::new(),
            modified: 0,
            visited: AtomicU64::new(0),
            pages: Mutex::default(),
            leases: Leases::default(),
            upgraded: HashMap::new(),
            undo: None,
        };
        store.create_builtins();
        store
    }

    /// Returns the kind at `/api/<name>`.
    #[must_use]
    pub fn kind(name: &str) -> Option<&'static Kind> {
        Kind::find(name)
    }

    /// Returns an object as stored: in the newest shape, refs in the canonical form `/api/<kind>/<uuid>`, with secrets.
    #[must_use]
    pub fn object(&self, kind: &str, uuid: &str) -> Option<&Value> {
        self.tables.get(kind)?.get(uuid).map(|object| &*object.value)
    }

    /// Returns all objects of a kind as stored, in the order of their creation; none for an unknown kind.
    pub fn objects(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.tables.get(kind).into_iter().flat_map(Table::iter).map(|object| &*object.value)
    }

    /// Returns the objects of a kind with this name, as stored. Users are also found by `username`.
    pub fn objects_named<'a>(&'a self, kind: &str, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.tables
            .get(kind)
            .into_iter()
            .flat_map(move |table| table.find_by_name(name))
            .map(|object| &*object.value)
    }

    /// Returns the number of objects of a kind.
    #[must_use]
    pub fn len(&self, kind: &str) -> usize {
        self.tables.get(kind).map_or(0, Table::len)
    }

    /// Returns the number of objects that lists have examined so far: the cost of lists, independent of the machine.
    #[must_use]
    pub fn visited(&self) -> u64 {
        self.visited.load(Ordering::Relaxed)
    }

    /// Returns the switches in force.
    #[must_use]
    pub fn assumptions(&self) -> &Assumptions {
        &self.assumptions
    }

    fn count_visited(&self, objects: usize) {
        self.visited.fetch_add(objects as u64, Ordering::Relaxed);
    }

    /// Returns a kind that can be listed and read, or a 404.
    fn listable_kind(name: &str) -> Result<&'static Kind, ApiError> {
        Kind::find(name)
            .filter(|kind| kind.shape != Shape::Foreign)
            .ok_or_else(|| ApiError::new(404, format!("Invalid path: no object type '{name}'")))
    }

    fn find(&self, kind: &Kind, uuid: &str) -> Option<&Object> {
        self.tables.get(kind.name)?.get(uuid)
    }

    /// Returns the only object of a singleton kind.
    fn find_singleton(&self, kind: &Kind) -> Option<&Object> {
        self.tables.get(kind.name)?.iter().next()
    }

    /// Inserts or replaces an object in its table and in the reverse index.
    fn insert_object(&mut self, kind: &'static Kind, object: Object) {
        let id = Id { kind: kind.name, uuid: object.uuid.clone() };
        let refs = object.refs.clone();
        let before = self.tables.entry(kind.name).or_default().insert(object);
        self.record_undo(|| Undo::Object(kind, id.uuid.clone(), before.clone()));
        let old = before.map(|object| object.refs).unwrap_or_default();
        for gone in old.difference(&refs) {
            self.remove_referrer(gone, &id);
        }
        for new in refs.difference(&old) {
            self.referrers.entry(new.clone()).or_default().insert(id.clone());
        }
    }

    /// Removes an object from its table and from the reverse index.
    fn remove_object(&mut self, kind: &'static Kind, uuid: &str) {
        let Some(object) = self.tables.get_mut(kind.name).and_then(|table| table.remove(uuid)) else {
            return;
        };
        let id = Id { kind: kind.name, uuid: object.uuid };
        for target in &object.refs {
            self.remove_referrer(target, &id);
        }
    }

    fn remove_referrer(&mut self, target: &Id, by: &Id) {
        if let Some(set) = self.referrers.get_mut(target) {
            set.remove(by);
            if set.is_empty() {
                self.referrers.remove(target);
            }
        }
    }

    /// Returns the next `_last_modified`: `now`, or the latest one plus 1 if that is later.
    fn next_stamp(&mut self, now: u64) -> u64 {
        self.modified = now.max(self.modified + 1);
        self.modified
    }

    /// Returns the controller as the caller, for objects that it writes itself.
    fn own_caller(now: u64) -> Caller {
        Caller {
            user: "admin".to_owned(),
            scope: Scope::Tenant(ADMIN.to_owned()),
            rights: Rights::all(),
            version: Version::NEWEST,
            base: String::new(),
            now,
        }
    }
}

/// Prints only the number of objects, because objects contain secrets.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts =
            self.tables.iter().map(|(kind, table)| (kind, table.len())).filter(|(_, count)| *count > 0);
        f.debug_map().entries(counts).finish()
    }
}

/// Returns a text field of an object; empty if it is missing or not a text.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Creates the 404 `{Model} object not found!`.
fn not_found(kind: &Kind) -> ApiError {
    ApiError::new(404, format!("{} object not found!", kind.model))
}

/// Creates a uuid for an object of a kind.
fn new_uuid(kind: &Kind) -> String {
    format!("{}-{}", kind.name, Uuid::new_v4())
}

/// Wraps a body for storing.
fn wrap_body(map: serde_json::Map<String, Value>) -> Arc<Value> {
    Arc::new(Value::Object(map))
}
