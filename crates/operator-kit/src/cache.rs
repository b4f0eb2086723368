//! `Cache`: the objects of one kind, as the newest version this process knows.
//!
//! A [`Watch`](crate::Watch) fills the cache, and [`Objects`](crate::Objects) adds what this process writes: the response
//! of a write is in the cache when the call returns, and a watch event that is older than it does not replace it. So a
//! reconcile always reads its own writes. Owns the indexes, which are consistent with the objects at every read.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use kube::Resource;
use tokio::time::Instant;

use crate::{
    guarded::{Guarded, Keep},
    key::Key,
    watch::Kind,
};

/// How long an own write is kept against older watch events, and a removal against events and responses that are older. No
/// event is expected to be later; if one is, the watch wins, e.g. where the API server was restored from a backup.
const LAG: Duration = Duration::from_mins(1);

/// A change of one object: appeared (no `before`), gone (no `after`) or changed.
///
/// Both have the same UID: an object that was recreated under its name is two changes.
#[derive(Clone, Debug)]
pub struct Change<K> {
    /// The object before.
    pub before: Option<Guarded<K>>,
    /// The object now.
    pub after: Option<Guarded<K>>,
}

impl<K> Change<K> {
    /// Returns the newest version: as it is now, or as it was last.
    #[must_use]
    pub fn newest(&self) -> Option<&Guarded<K>> {
        self.after.as_ref().or(self.before.as_ref())
    }
}

type Subscriber<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The objects of one kind. Clones share it.
pub struct Cache<K>(Arc<Shared<K>>);

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Shared<K> {
    state: RwLock<State<K>>,
    keep: OnceLock<Keep>,
    subscribers: RwLock<Vec<Subscriber<K>>>,
}

struct State<K> {
    objects: HashMap<Key, Guarded<K>>,
    /// The objects that do not parse.
    invalid: HashSet<Key>,
    /// Own writes that the watch has not confirmed.
    written: HashMap<Key, Written>,
    /// UIDs of objects that are gone, against late watch events and late responses.
    removed: Removed,
    indexes: Vec<Box<dyn Update<K> + Send + Sync>>,
}

struct Written {
    version: Option<u64>,
    at: Instant,
}

impl<K: Kind> Default for Cache<K> {
    fn default() -> Self {
        Self(Arc::new(Shared {
            state: RwLock::new(State {
                objects: HashMap::new(),
                invalid: HashSet::new(),
                written: HashMap::new(),
                removed: Removed::default(),
                indexes: Vec::new(),
            }),
            keep: OnceLock::new(),
            subscribers: RwLock::default(),
        }))
    }
}

impl<K: Kind> FromIterator<Guarded<K>> for Cache<K> {
    /// Creates a cache with these objects, which nothing keeps current: for a program that looks once and ends.
    fn from_iter<I: IntoIterator<Item = Guarded<K>>>(objects: I) -> Self {
        let cache = Self::default();
        let objects = objects.into_iter().map(|object| cache.bounded(object)).collect();
        cache.listed(None, objects);
        cache
    }
}

// === reading ===

impl<K: Kind> Cache<K> {
    /// Returns the object, valid or not.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Guarded<K>> {
        self.state().objects.get(key).cloned()
    }

    /// Returns the object if it exists and parses.
    #[must_use]
    pub fn valid(&self, key: &Key) -> Option<Arc<K>> {
        self.state().objects.get(key)?.valid().cloned()
    }

    /// Returns every object that parses, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.state().objects.values().filter_map(|object| object.valid().cloned()).collect()
    }

    /// Returns every object, whether it parses or not, in no order: as all were at one time, which two calls do not see.
    #[must_use]
    pub fn guarded(&self) -> Vec<Guarded<K>> {
        self.state().objects.values().cloned().collect()
    }

    /// Returns the objects that do not parse, in no order. There are few, if any.
    #[must_use]
    pub fn invalid(&self) -> Vec<Guarded<K>> {
        let state = self.state();
        state.invalid.iter().filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// Returns the keys of all objects, in no order.
    #[must_use]
    pub fn keys(&self) -> Vec<Key> {
        self.state().objects.keys().cloned().collect()
    }

    /// Returns the number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().objects.len()
    }

    /// Returns whether there is no object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Creates an index: finds objects by the keys that `by` returns for each. Objects that do not parse are not in it.
    pub fn index<Q, I>(&self, by: impl Fn(&K) -> I + Send + Sync + 'static) -> Index<K, Q>
    where
        Q: Eq + Hash + Send + Sync + 'static,
        I: IntoIterator<Item = Q>,
    {
        let entries = Arc::new(RwLock::new(HashMap::new()));
        let indexer = Indexer { by, entries: Arc::clone(&entries) };
        let mut state = self.state_mut();
        for (key, object) in &state.objects {
            indexer.update(key, None, object.valid().map(AsRef::as_ref));
        }
        state.indexes.push(Box::new(indexer));
        Index { cache: self.clone(), entries }
    }

    /// Calls `f` after every change, in the task that made it: keep it short. Changes of one object may be reported out of
    /// order when a write and the watch race; take them as hints to look at the cache.
    pub fn subscribe(&self, f: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.0.subscribers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(f));
    }

    fn state(&self) -> RwLockReadGuard<'_, State<K>> {
        // No code that holds the lock leaves the maps half changed.
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State<K>> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === filling ===

impl<K: Kind> Cache<K> {
    /// Keeps only this of the metadata from now on. The first call counts.
    pub(crate) fn keep_only(&self, keep: Keep) {
        let _ = self.0.keep.set(keep);
    }

    /// Returns an object as this cache keeps it.
    pub(crate) fn bounded(&self, object: Guarded<K>) -> Guarded<K> {
        object.bounded(self.0.keep.get().copied().unwrap_or_default())
    }

    /// Adds the response to a write of this process, and returns it as this cache keeps it.
    pub(crate) fn wrote(&self, object: Guarded<K>) -> Guarded<K> {
        let object = self.bounded(object);
        let changes = self.state_mut().wrote(object.clone(), Instant::now());
        self.publish(&changes);
        object
    }

    /// Removes an object that this process has seen to its end.
    pub(crate) fn removed(&self, key: &Key, uid: &str) {
        let changes = self.state_mut().end(key, uid, Instant::now());
        self.publish(&changes);
    }

    /// Adds an object that a watch event brought.
    pub(crate) fn watched(&self, object: Guarded<K>) {
        let object = self.bounded(object);
        let changes = self.state_mut().watched(object, Instant::now());
        self.publish(&changes);
    }

    /// Removes an object by a watch event.
    pub(crate) fn deleted(&self, object: &Guarded<K>) {
        let changes = self.state_mut().deleted(object, Instant::now());
        self.publish(&changes);
    }

    /// Replaces the objects of `namespace` (`None`: of all) by a complete list of [`bounded`](Self::bounded) objects.
    pub(crate) fn listed(&self, namespace: Option<&str>, objects: Vec<Guarded<K>>) {
        let changes = self.state_mut().listed(namespace, objects, Instant::now());
        self.publish(&changes);
    }

    fn publish(&self, changes: &[Change<K>]) {
        if changes.is_empty() {
            return;
        }
        let subscribers = self.0.subscribers.read().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            subscribers.iter().for_each(|subscriber| subscriber(change));
        }
    }
}

impl<K: Kind> State<K> {
    fn wrote(&mut self, object: Guarded<K>, now: Instant) -> Vec<Change<K>> {
        let (key, version) = (Key::of(&object), version_of(&object));
        // The watch, or a later write, may have been faster than this response.
        let newer = |held: &Guarded<K>| uid_of(held) == uid_of(&object) && version_of(held) >= version;
        if self.removed.contains(uid_of(&object), now) || self.objects.get(&key).is_some_and(newer) {
            return vec![];
        }
        self.written.insert(key.clone(), Written { version, at: now });
        self.put(&key, Some(object))
    }

    fn end(&mut self, key: &Key, uid: &str, now: Instant) -> Vec<Change<K>> {
        self.removed.insert(uid, now);
        if self.objects.get(key).is_none_or(|held| uid_of(held) != uid) {
            return vec![];
        }
        self.written.remove(key);
        self.put(key, None)
    }

    fn watched(&mut self, object: Guarded<K>, now: Instant) -> Vec<Change<K>> {
        let key = Key::of(&object);
        if self.removed.contains(uid_of(&object), now) || self.is_stale(&key, &object, now) {
            return vec![];
        }
        self.written.remove(&key);
        self.put(&key, Some(object))
    }

    fn deleted(&mut self, object: &Guarded<K>, now: Instant) -> Vec<Change<K>> {
        // The response to an earlier write of this process may still arrive. A successor may be known already.
        self.end(&Key::of(object), uid_of(object), now)
    }

    fn listed(&mut self, namespace: Option<&str>, objects: Vec<Guarded<K>>, now: Instant) -> Vec<Change<K>> {
        let named: HashMap<Key, String> =
            objects.iter().map(|object| (Key::of(object), uid_of(object).to_owned())).collect();
        let gone: Vec<Key> = self
            .objects
            .iter()
            .filter(|(key, _)| namespace.is_none_or(|namespace| key.namespace() == namespace))
            .filter(|(key, held)| named.get(*key).is_none_or(|uid| uid != uid_of(held)))
            // The list may be older than what this process has just created.
            .filter(|(key, _)| self.written.get(*key).is_none_or(|own| now.duration_since(own.at) >= LAG))
            .map(|(key, _)| key.clone())
            .collect();
        let mut changes = Vec::new();
        for key in gone {
            self.written.remove(&key);
            changes.extend(self.put(&key, None));
        }
        for object in objects {
            changes.extend(self.watched(object, now));
        }
        changes
    }

    /// Returns whether `object` is older than what this process wrote.
    fn is_stale(&self, key: &Key, object: &Guarded<K>, now: Instant) -> bool {
        self.written
            .get(key)
            .is_some_and(|own| now.duration_since(own.at) < LAG && own.version > version_of(object))
    }

    /// Stores one version and returns what changed.
    fn put(&mut self, key: &Key, object: Option<Guarded<K>>) -> Vec<Change<K>> {
        let before = match &object {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(key),
        };
        let valid = |object: &Option<Guarded<K>>| object.as_ref().and_then(|object| object.valid().cloned());
        let (old, new) = (valid(&before), valid(&object));
        if object.is_some() && new.is_none() {
            self.invalid.insert(key.clone());
        } else {
            self.invalid.remove(key);
        }
        for index in &self.indexes {
            index.update(key, old.as_deref(), new.as_deref());
        }
        match (before, object) {
            (None, None) => vec![],
            (Some(before), Some(after)) if uid_of(&before) != uid_of(&after) => vec![
                Change { before: Some(before), after: None },
                Change { before: None, after: Some(after) },
            ],
            (Some(before), Some(after))
                if before.meta().resource_version == after.meta().resource_version =>
            {
                vec![]
            }
            (before, after) => vec![Change { before, after }],
        }
    }
}

/// UIDs of objects that went within the last [`LAG`].
#[derive(Default)]
struct Removed {
    since: HashMap<String, Instant>,
    /// The oldest first.
    order: VecDeque<(Instant, String)>,
}

impl Removed {
    fn insert(&mut self, uid: &str, now: Instant) {
        while let Some((since, _)) = self.order.front()
            && now.duration_since(*since) >= LAG
            && let Some((_, old)) = self.order.pop_front()
        {
            self.since.remove(&old);
        }
        if !self.since.contains_key(uid) {
            self.since.insert(uid.to_owned(), now);
            self.order.push_back((now, uid.to_owned()));
        }
    }

    fn contains(&self, uid: &str, now: Instant) -> bool {
        self.since.get(uid).is_some_and(|since| now.duration_since(*since) < LAG)
    }
}

fn uid_of<K: Kind>(object: &Guarded<K>) -> &str {
    object.meta().uid.as_deref().unwrap_or_default()
}

/// Returns the version of an object as a number. Resource versions are numbers that grow, as the API conventions
/// promise since Kubernetes 1.35 and etcd always did.
fn version_of<K: Kind>(object: &Guarded<K>) -> Option<u64> {
    object.meta().resource_version.as_deref()?.parse().ok()
}

// === indexes ===

trait Update<K> {
    fn update(&self, key: &Key, old: Option<&K>, new: Option<&K>);
}

struct Indexer<F, Q> {
    by: F,
    entries: Arc<RwLock<HashMap<Q, Vec<Key>>>>,
}

impl<K, F, I, Q> Update<K> for Indexer<F, Q>
where
    F: Fn(&K) -> I,
    I: IntoIterator<Item = Q>,
    Q: Eq + Hash,
{
    fn update(&self, key: &Key, old: Option<&K>, new: Option<&K>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        for query in old.into_iter().flat_map(&self.by) {
            if let Some(keys) = entries.get_mut(&query) {
                keys.retain(|held| held != key);
                if keys.is_empty() {
                    entries.remove(&query);
                }
            }
        }
        for query in new.into_iter().flat_map(&self.by) {
            entries.entry(query).or_default().push(key.clone());
        }
    }
}

/// Finds objects of a [`Cache`] by something other than their name. Clones share it.
pub struct Index<K, Q> {
    cache: Cache<K>,
    entries: Arc<RwLock<HashMap<Q, Vec<Key>>>>,
}

impl<K, Q> Clone for Index<K, Q> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), entries: Arc::clone(&self.entries) }
    }
}

impl<K: Kind, Q: Eq + Hash> Index<K, Q> {
    /// Returns the objects with this index key, in no order.
    #[must_use]
    pub fn get(&self, query: &Q) -> Vec<Arc<K>> {
        // The writer holds this lock while it updates the indexes.
        let state = self.cache.state();
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let keys = entries.get(query).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key)?.valid().cloned()).collect()
    }

    /// Returns whether any object has this index key.
    #[must_use]
    pub fn contains(&self, query: &Q) -> bool {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).contains_key(query)
    }

    /// Returns the keys of the objects with this index key, in no order.
    #[must_use]
    pub fn keys(&self, query: &Q) -> Vec<Key> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(query).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
