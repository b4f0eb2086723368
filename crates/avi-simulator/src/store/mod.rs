//! The controller's configuration and its rules: every object, who sees it, what may be written.
//!
//! Synchronous, without I/O and without a clock: a [`Caller`] brings the time. Sessions and passwords are the
//! server's, and who has which roles. A user's password never enters the store: what holds one drops it.
//!
//! - [`kind`](Kind): the registry of types.
//! - [`query`](Query): what a list was asked for.
//! - `read`: lists, pages, the form of replies. `write`: create, replace, patch, delete. `compose`: what both of the
//!   first two make sure of.
//! - `grants`: what the caller's roles let through.
//! - `undo`: several writes as one. `macros`: who needs that.
//! - `refs`, `migrate`, `patch`, `vip`, `builtin`, `discover`, `seed`, `snapshot`, `check`, `upgrade`: as named.

mod builtin;
mod check;
mod compose;
mod discover;
mod grants;
mod kind;
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

use crate::{ApiError, Assumptions, Caller, Rights, Rules, Scope, Version};
use read::Pages;
use table::{Id, Object, Table};
use undo::Undo;
use vip::Leases;

/// The uuid of the tenant that is always there.
pub const ADMIN: &str = "admin";

/// What a controller keeps. See the module's documentation.
pub struct Store {
    rules: Rules,
    assumptions: Assumptions,
    tables: BTreeMap<&'static str, Table>,
    /// Who refers to an object.
    referrers: HashMap<Id, BTreeSet<Id>>,
    /// The last `_last_modified` given, µs since 1970.
    modified: u64,
    visited: AtomicU64,
    pages: Mutex<Pages>,
    leases: Leases,
    /// What an upgrade added to a role, by the role's uuid.
    upgraded: HashMap<String, BTreeSet<String>>,
    /// How it was before each of the writes under way that are all or nothing.
    undo: Option<Vec<Undo>>,
}

impl Store {
    /// A fresh controller: tenant `admin`, its user and roles, `Default-Cloud` and all `System-…` profiles.
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
        store.build_in();
        store
    }

    /// The kind at `/api/<name>`.
    #[must_use]
    pub fn kind(name: &str) -> Option<&'static Kind> {
        Kind::named(name)
    }

    /// One object as it is kept: newest shape, refs as `/api/<kind>/<uuid>` without a host, secrets in it.
    #[must_use]
    pub fn object(&self, kind: &str, uuid: &str) -> Option<&Value> {
        self.tables.get(kind)?.get(uuid).map(|object| &*object.value)
    }

    /// All objects of a kind as they are kept, in the order they were made; none for an unknown kind.
    pub fn objects(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.tables.get(kind).into_iter().flat_map(Table::iter).map(|object| &*object.value)
    }

    /// The kept objects of a kind with this name; for users also the `username`.
    pub fn objects_named<'a>(&'a self, kind: &str, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.tables
            .get(kind)
            .into_iter()
            .flat_map(move |table| table.named(name))
            .map(|object| &*object.value)
    }

    /// How many objects of a kind there are.
    #[must_use]
    pub fn len(&self, kind: &str) -> usize {
        self.tables.get(kind).map_or(0, Table::len)
    }

    /// How many objects lists have looked at so far: what a list costs, counted instead of timed.
    #[must_use]
    pub fn visited(&self) -> u64 {
        self.visited.load(Ordering::Relaxed)
    }

    /// The switches in force.
    #[must_use]
    pub fn assumptions(&self) -> &Assumptions {
        &self.assumptions
    }

    fn looked_at(&self, objects: usize) {
        self.visited.fetch_add(objects as u64, Ordering::Relaxed);
    }

    /// A kind that can be listed and read.
    fn known(name: &str) -> Result<&'static Kind, ApiError> {
        Kind::named(name)
            .filter(|kind| kind.shape != Shape::Foreign)
            .ok_or_else(|| ApiError::new(404, format!("Invalid path: no object type '{name}'")))
    }

    fn find(&self, kind: &Kind, uuid: &str) -> Option<&Object> {
        self.tables.get(kind.name)?.get(uuid)
    }

    /// The only object of a singleton.
    fn single(&self, kind: &Kind) -> Option<&Object> {
        self.tables.get(kind.name)?.iter().next()
    }

    /// Puts an object into its table and its refs into the reverse index.
    fn commit(&mut self, kind: &'static Kind, object: Object) {
        let id = Id { kind: kind.name, uuid: object.uuid.clone() };
        let refs = object.refs.clone();
        let before = self.tables.entry(kind.name).or_default().put(object);
        self.note(|| Undo::Object(kind, id.uuid.clone(), before.clone()));
        let old = before.map(|object| object.refs).unwrap_or_default();
        for gone in old.difference(&refs) {
            self.unrefer(gone, &id);
        }
        for new in refs.difference(&old) {
            self.referrers.entry(new.clone()).or_default().insert(id.clone());
        }
    }

    /// Takes an object out of its table and its refs out of the reverse index.
    fn withdraw(&mut self, kind: &'static Kind, uuid: &str) {
        let Some(object) = self.tables.get_mut(kind.name).and_then(|table| table.remove(uuid)) else {
            return;
        };
        let id = Id { kind: kind.name, uuid: object.uuid };
        for target in &object.refs {
            self.unrefer(target, &id);
        }
    }

    fn unrefer(&mut self, target: &Id, by: &Id) {
        if let Some(set) = self.referrers.get_mut(target) {
            set.remove(by);
            if set.is_empty() {
                self.referrers.remove(target);
            }
        }
    }

    /// The next `_last_modified`: the caller's time, or one more than the last, whichever is later.
    fn stamp(&mut self, now: u64) -> u64 {
        self.modified = now.max(self.modified + 1);
        self.modified
    }

    /// The controller itself, as the writer of what it makes on its own.
    fn itself(now: u64) -> Caller {
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

/// Objects hold secrets: only how many there are is shown.
impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts =
            self.tables.iter().map(|(kind, table)| (kind, table.len())).filter(|(_, count)| *count > 0);
        f.debug_map().entries(counts).finish()
    }
}

/// A kept object's field as text; empty if it is missing or no text.
fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// `{Model} object not found!`, as 404.
fn not_found(kind: &Kind) -> ApiError {
    ApiError::new(404, format!("{} object not found!", kind.model))
}

/// A uuid of the form a kind's objects have.
fn fresh_uuid(kind: &Kind) -> String {
    format!("{}-{}", kind.name, Uuid::new_v4())
}

/// Wraps a body for keeping.
fn keep(map: serde_json::Map<String, Value>) -> Arc<Value> {
    Arc::new(Value::Object(map))
}
