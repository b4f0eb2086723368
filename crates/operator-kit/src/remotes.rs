//! `Remotes`: watches of other clusters that start and stop at run time.
//!
//! Owns one [`Watch::remote`] for each cluster. Decides nothing: the reconciler that reads a cluster starts its watch, and stops it.
//! A cluster that cannot be reached is a matter of its own object: it makes the operator neither unready nor wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kube::Client;
use tokio::{sync::watch, time::Instant};
use tracing::info_span;

use crate::{
    key::Key,
    objects::Objects,
    run::Kit,
    watch::{Kind, Progress, Watch, Watching},
};

type Narrow<K> = dyn Fn(Watch<K>) -> Watch<K> + Send + Sync;
type Wake = dyn Fn(&Key) + Send + Sync;

/// Watches of one kind in other clusters, by the key of the object that each cluster belongs to. Clones share them; dropping the last
/// one ends them.
///
/// ```no_run
/// # use k8s_openapi::api::core::v1::ConfigMap;
/// # use operator_kit::{Key, Kit, Remotes, Triggers};
/// # fn example<Cluster: 'static>(kit: &Kit, triggers: &Triggers<Cluster>) {
/// let triggers = triggers.clone();
/// let settings = Remotes::<ConfigMap>::new(
///     kit,
///     "workload ConfigMap",
///     |watch| watch.only(&Key::new("example", "settings")).lean(),
///     move |cluster| triggers.wake(cluster),
/// );
/// # }
/// ```
pub struct Remotes<K: Kind>(Arc<Inner<K>>);

impl<K: Kind> Clone for Remotes<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

struct Inner<K: Kind> {
    kit: Kit,
    name: String,
    narrow: Box<Narrow<K>>,
    wake: Arc<Wake>,
    entries: Arc<Mutex<Entries<K>>>,
}

type Entries<K> = HashMap<Key, Entry<K>>;

struct Entry<K: Kind> {
    version: String,
    remote: Remote<K>,
    _watching: Watching,
}

impl<K: Kind> Remotes<K> {
    /// Prepares to watch a kind in other clusters. `name` as in [`Watch::named`], one for all clusters. `narrow` narrows each watch, to
    /// [one object](Watch::only), by labels, fields or [`Watch::lean`]: what users of other clusters create must not fill this operator's
    /// memory. Nor must what their API servers answer: see [`Watch::remote`] for what is taken of that.
    ///
    /// `wake` is called with the key of a cluster after each change in it, when its first list is complete, and when its watch begins
    /// to fail and goes on again.
    pub fn new(
        kit: &Kit,
        name: &str,
        narrow: impl Fn(Watch<K>) -> Watch<K> + Send + Sync + 'static,
        wake: impl Fn(&Key) + Send + Sync + 'static,
    ) -> Self {
        let entries: Arc<Mutex<Entries<K>>> = Arc::default();
        kit.metrics().watch_objects(name, {
            let entries = Arc::downgrade(&entries);
            move || {
                entries.upgrade().map_or(0, |entries| {
                    lock(&entries).values().map(|entry| entry.remote.objects.cache().len()).sum()
                })
            }
        });
        let (kit, name, wake) = (kit.clone(), name.to_owned(), Arc::new(wake));
        Self(Arc::new(Inner { kit, name, narrow: Box::new(narrow), wake, entries }))
    }

    /// Watches the cluster through `client`. Does nothing where it is watched already with this `version` of the client, e.g. UID and
    /// resource version of the Secret that it was made of; another version ends the watch before, and begins with an empty cache.
    pub fn start(&self, key: &Key, version: &str, client: &Client) {
        let mut entries = lock(&self.0.entries);
        if entries.get(key).is_some_and(|entry| entry.version == version) {
            return;
        }
        let watch = (self.0.narrow)(Watch::remote(&self.0.kit, client.clone(), &self.0.name));
        watch.subscribe({
            let (wake, key) = (Arc::clone(&self.0.wake), key.clone());
            move |_| wake(&key)
        });
        let remote = Remote { objects: watch.objects(), progress: watch.progress() };
        let (wake, of) = (Arc::clone(&self.0.wake), key.clone());
        // Ends with the watch.
        self.0.kit.spawn(&self.0.name, Progress::follow(remote.progress.clone(), move || wake(&of)));
        // All clusters have one name, so the log names the object. The watch outlives the pass that starts it.
        let watching = info_span!(parent: None, "remote", object = %key).in_scope(|| watch.start());
        let entry = Entry { version: version.to_owned(), remote, _watching: watching };
        entries.insert(key.clone(), entry);
    }

    /// Ends the watch of a cluster, if there is one.
    pub fn stop(&self, key: &Key) {
        lock(&self.0.entries).remove(key);
    }

    /// Returns what is known of a cluster; `None` if it is not watched.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Remote<K>> {
        lock(&self.0.entries).get(key).map(|entry| entry.remote.clone())
    }
}

fn lock<K: Kind>(entries: &Mutex<Entries<K>>) -> MutexGuard<'_, Entries<K>> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of one other cluster. Clones share it; the watch may have ended.
pub struct Remote<K: Kind> {
    objects: Objects<K>,
    progress: watch::Receiver<Progress>,
}

impl<K: Kind> Clone for Remote<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), progress: self.progress.clone() }
    }
}

impl<K: Kind> Remote<K> {
    /// Returns the handle for reading and writing objects of the cluster.
    #[must_use]
    pub fn objects(&self) -> &Objects<K> {
        &self.objects
    }

    /// Returns whether the first list is in the cache: before, what the cache does not have may exist.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.progress.borrow().is_complete
    }

    /// Returns what the watch fails on. The cache is as it was before then.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.progress.borrow().problem(Instant::now()).map(str::to_owned)
    }
}
