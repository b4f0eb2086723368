//! `Watch`: keeps the cache of one kind current.
//!
//! Owns the watches at the API server (one, or one per namespace), the short back-off of each, and the readiness check.
//! Decides nothing. Next step: [`driver::run`](crate::driver::run) reconciles what a watch brings;
//! [`Watch::spawn`] runs a cache that has no controller.

mod bounded;
mod progress;

use std::{fmt::Debug, hash::Hash, time::Duration};

use futures::{
    StreamExt, TryStreamExt,
    stream::{BoxStream, select_all},
};
use kube::{
    Api, Client, Resource,
    core::{DynamicResourceScope, NamespaceResourceScope},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use prometheus::IntCounter;
use serde::de::DeserializeOwned;
use tokio::{sync, task::AbortHandle, time::Instant};
use tracing::{Instrument, info, warn};

use self::bounded::{Bounded, Failure, Limit};
pub(crate) use self::progress::Progress;
use self::progress::WatchState;
use crate::{
    backoff::shorten,
    cache::{Cache, Change, Index},
    conditions,
    error::Chain,
    guarded::{Guarded, Keep},
    health::Readiness,
    key::Key,
    objects::Objects,
    run::Kit,
};

/// Objects per page of a list: bounds the memory that a start takes, since an object may have 1.5 MiB.
pub(crate) const PAGE: u32 = 12;
/// Longest pause between two attempts to resume a watch.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a kind must be to be watched; every custom resource is.
///
/// The dynamic type of a kind that is served in several versions says which one; its default will do for caches.
pub trait Kind:
    Resource<DynamicType: Clone + Debug + Default + Eq + Hash + Send + Sync + Unpin>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<
    K: Resource<DynamicType: Clone + Debug + Default + Eq + Hash + Send + Sync + Unpin>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
> Kind for K
{
}

/// Returns the requests for one kind, in one namespace or all.
type ApiOf<K> = fn(Client, Option<&str>, &<K as Resource>::DynamicType) -> Api<Guarded<K>>;

/// One kind being watched. Indexes and subscribers are added before it is spawned, so that they miss nothing.
///
/// ```no_run
/// # use k8s_openapi::api::core::v1::Secret;
/// # use operator_kit::{Key, Kit, Watch};
/// # fn example(kit: &Kit) {
/// let secrets = Watch::<Secret>::namespaced(kit).labels("example.com/kind=credentials");
/// let by_owner = secrets.index(|secret| secret.metadata.labels.as_ref()?.get("owner").cloned());
/// let cache = secrets.objects();
/// let _watching = secrets.spawn();
/// # }
/// ```
#[must_use = "a watch does nothing until it is spawned"]
pub struct Watch<K: Kind> {
    kit: Kit,
    cache: Cache<K>,
    client: Client,
    kind: K::DynamicType,
    name: String,
    /// `None`: all namespaces, or a cluster-scoped kind.
    namespaces: Vec<Option<String>>,
    api: ApiOf<K>,
    config: watcher::Config,
    /// `false`: the operator is ready, and controllers start, without this watch.
    is_needed: bool,
    /// For a server that others own.
    limit: Option<Limit>,
    progress: sync::watch::Sender<Progress>,
}

impl<K: Kind + Resource<Scope = NamespaceResourceScope>> Watch<K> {
    /// Prepares to watch a namespaced kind, in the namespaces of `--watch-namespace` or in all.
    pub fn namespaced(kit: &Kit) -> Self {
        let api = |client, namespace: Option<&str>, _: &K::DynamicType| match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        Self::new(kit, kit.client(), K::DynamicType::default(), scope(kit), api).needed()
    }
}

impl<K: Kind + Resource<Scope = DynamicResourceScope>> Watch<K> {
    /// Prepares to watch and write this version of a namespaced kind that is served in several, in the namespaces of
    /// `--watch-namespace` or in all.
    pub fn version(kit: &Kit, kind: K::DynamicType) -> Self {
        let api = |client, namespace: Option<&str>, kind: &K::DynamicType| match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, kind),
            None => Api::all_with(client, kind),
        };
        Self::new(kit, kit.client(), kind, scope(kit), api).needed()
    }
}

/// Returns the namespaces to watch; `None`: all, in one watch.
fn scope(kit: &Kit) -> Vec<Option<String>> {
    match kit.namespaces() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    }
}

impl<K: Kind> Watch<K> {
    /// Prepares to watch a cluster-scoped kind, or a namespaced one in all namespaces.
    pub fn cluster_wide(kit: &Kit) -> Self {
        let api = |client, _: Option<&str>, kind: &K::DynamicType| Api::all_with(client, kind);
        Self::new(kit, kit.client(), K::DynamicType::default(), vec![None], api).needed()
    }

    /// Prepares to watch another cluster, through its client. The operator becomes and stays ready without this watch, and
    /// no controller waits for its cache. `name` as in [`named`](Self::named); one for all clusters, as it is a metric label. For
    /// clusters that come and go, see [`Remotes`](crate::Remotes).
    ///
    /// At most 100 objects are read, and 100 events in a second. A server that answers with more, or ends each watch at once, is a
    /// failure of this watch, and is said once in the log.
    pub fn remote(kit: &Kit, client: Client, name: &str) -> Self {
        let api = |client, _: Option<&str>, kind: &K::DynamicType| Api::all_with(client, kind);
        let watch = Self::new(kit, client, K::DynamicType::default(), vec![None], api).named(name);
        Self { limit: Some(Limit::Some), ..watch }
    }

    fn new(
        kit: &Kit,
        client: Client,
        kind: K::DynamicType,
        namespaces: Vec<Option<String>>,
        api: ApiOf<K>,
    ) -> Self {
        let progress = Progress::new(&namespaces);
        Self {
            kit: kit.clone(),
            cache: Cache::default(),
            client,
            name: K::kind(&kind).into_owned(),
            kind,
            namespaces,
            api,
            config: watcher::Config::default().page_size(PAGE),
            is_needed: false,
            limit: None,
            progress: sync::watch::Sender::new(progress),
        }
    }

    /// Lets no controller make its first pass before this cache is complete, whatever the order of starts.
    fn needed(mut self) -> Self {
        self.kit.await_cache(self.progress.subscribe());
        self.is_needed = true;
        self
    }

    /// Watches only objects that this label selector matches.
    pub fn labels(mut self, selector: &str) -> Self {
        self.config = self.config.labels(selector);
        self
    }

    /// Watches only objects that this field selector matches.
    pub fn fields(mut self, selector: &str) -> Self {
        self.config = self.config.fields(selector);
        self
    }

    /// Watches only the object of this key. What the server answers beside it is not taken, and is a failure of this watch.
    pub fn only(self, key: &Key) -> Self {
        let name = format!("metadata.name={}", key.name());
        let fields = match key.namespace() {
            "" => name,
            namespace => format!("metadata.namespace={namespace},{name}"),
        };
        Self { limit: Some(Limit::Only(key.clone())), ..self.fields(&fields) }
    }

    /// Keeps only this of the metadata: what identifies an object, its finalizers, its controller, and annotations whose key begins
    /// with the API group of the kind. For kinds of which nothing else is read: no user can fill the memory with the rest, or make an
    /// object unreadable by it. Not for a kind whose controller [reads](crate::Reconciler::reads) labels, which are gone then.
    pub fn lean(self) -> Self {
        self.cache.keep_only(Keep::Lean);
        self
    }

    /// Keeps only namespace, name, UID and resource version of the metadata: for a kind of which there may be thousands of objects, and of
    /// which no more is read. Then an object takes about 1 KiB of the memory, whatever a user writes.
    pub fn identities(self) -> Self {
        self.cache.keep_only(Keep::Identity);
        self
    }

    /// Names the watch in readiness checks, logs and metrics, where one kind is watched twice. Default: the kind.
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Returns a handle for reading and writing objects of this kind. Its cache is empty until the first list is complete.
    #[must_use]
    pub fn objects(&self) -> Objects<K> {
        Objects::new(self.cache.clone(), self.client.clone(), self.kind.clone())
    }

    /// Creates an index over the cache: see [`Cache::index`].
    #[must_use]
    pub fn index<Q, I>(&self, by: impl Fn(&K) -> I + Send + Sync + 'static) -> Index<K, Q>
    where
        Q: Eq + Hash + Send + Sync + 'static,
        I: IntoIterator<Item = Q>,
    {
        self.cache.index(by)
    }

    /// Calls `f` after every change: see [`Cache::subscribe`].
    pub fn subscribe(&self, f: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.cache.subscribe(f);
    }

    /// Starts watching. Dropping the result ends it; `keep` lets it run as long as the process.
    pub fn spawn(self) -> Watching {
        let metrics = self.kit.metrics();
        metrics.watch_objects(&self.name, {
            let cache = self.cache.clone();
            move || cache.len()
        });
        for namespace in self.namespaces.iter().filter(|_| self.is_needed) {
            let (namespace, progress) = (namespace.clone().unwrap_or_default(), self.progress());
            let name = namespace.clone();
            metrics
                .watch_lacks(&self.name, &name, move || progress.borrow().lacks(&namespace, Instant::now()));
        }
        self.start()
    }

    /// Starts watching in the current span, without a count of the objects.
    pub(crate) fn start(self) -> Watching {
        let errors = self.kit.metrics().watch_errors(&self.name);
        let name = format!("watch {}", self.name);
        let readiness = self.is_needed.then(|| self.kit.readiness(&name));
        let kit = self.kit.clone();
        Watching(Some(kit.spawn(&name, self.run(errors, readiness).in_current_span())))
    }

    /// Watches every namespace until dropped.
    async fn run(self, errors: IntCounter, readiness: Option<Readiness>) {
        let mut progress: Vec<_> = self.namespaces.iter().map(|name| WatchState::new(name.clone())).collect();
        let mut events = select_all(self.namespaces.iter().enumerate().map(|(n, namespace)| {
            self.events(namespace.as_deref()).backoff(Pace::default()).map(move |event| (n, event)).boxed()
        }));
        let mut lists: Vec<Vec<Guarded<K>>> = self.namespaces.iter().map(|_| Vec::new()).collect();
        while let Some((n, event)) = events.next().await {
            let (Some(list), Some(state)) = (lists.get_mut(n), progress.get_mut(n)) else { continue };
            match event {
                Ok(event) => {
                    let namespace = self.namespaces.get(n).and_then(Option::as_deref);
                    let is_first_list = matches!(event, Event::InitDone) && !state.is_synced();
                    if let Some(namespace) = namespace.filter(|_| is_first_list && list.is_empty()) {
                        // An operator with rights in all namespaces gets an empty list of one that does not exist.
                        info!(
                            watch = self.name,
                            namespace, "nothing in this namespace yet; check that it exists"
                        );
                    }
                    if state.went_on(&event) {
                        info!(watch = self.name, namespace, "the watch is granted");
                    }
                    self.take(namespace, event, list);
                }
                Err(error) => {
                    errors.inc();
                    // The text may be that of a server that others own.
                    let text = Chain(&error).to_string().replace(char::is_control, " ");
                    let namespace = self.namespaces.get(n).and_then(Option::as_deref);
                    let misbehaves = matches!(error, Failure::Misbehaves(_));
                    let is_refused = refusal(&error).is_some_and(|code| code == 403);
                    let error = format!("{}{}", conditions::bounded(&text), self.remedy(&error, namespace));
                    let is_new =
                        if misbehaves { state.misbehaved(&error) } else { state.failed(&error, is_refused) };
                    if is_new {
                        warn!(watch = self.name, namespace, error, "watch interrupted, it will be resumed");
                    }
                }
            }
            Progress::publish(&self.progress, &progress);
            if let Some(readiness) = &readiness {
                WatchState::report(&progress, readiness);
            }
        }
    }

    /// Returns what a server answers about one namespace.
    fn events(&self, namespace: Option<&str>) -> BoxStream<'static, Result<Event<Guarded<K>>, Failure>> {
        let api = (self.api)(self.client.clone(), namespace, &self.kind);
        match self.limit.clone() {
            Some(limit) => Bounded::new(api, self.config.clone(), limit, self.cache.clone()).events().boxed(),
            None => watcher(api, self.config.clone()).err_into().boxed(),
        }
    }

    fn take(&self, namespace: Option<&str>, event: Event<Guarded<K>>, list: &mut Vec<Guarded<K>>) {
        match event {
            Event::Apply(object) => self.cache.watched(object),
            Event::Delete(object) => self.cache.deleted(&object),
            Event::Init => list.clear(),
            Event::InitApply(object) => list.push(self.cache.bounded(object)),
            Event::InitDone => self.cache.listed(namespace, std::mem::take(list)),
        }
    }

    /// Returns what to do about a failed watch, where the API server's answer does not say it.
    fn remedy(&self, error: &Failure, namespace: Option<&str>) -> String {
        let (plural, group) = (K::plural(&self.kind), K::group(&self.kind));
        match (refusal(error), namespace) {
            (Some(404), _) => {
                format!(
                    "; the cluster does not serve {plural}.{group}: install its CustomResourceDefinition; the operator's command \
                     `crd` prints the operator's own"
                )
            }
            (Some(403), Some(namespace)) => format!(
                "; nothing is done in the namespace {namespace} until it exists and the operator may list and watch {plural}.{group} in \
                 it: the operator's command `rbac --watch-namespace` prints every right it needs"
            ),
            (Some(403), None) => format!(
                "; grant list and watch of {plural}.{group}: the operator's command `rbac` prints every right it needs"
            ),
            _ => String::new(),
        }
    }

    pub(crate) fn progress(&self) -> sync::watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(crate) fn parts(&self) -> (Cache<K>, K::DynamicType) {
        (self.cache.clone(), self.kind.clone())
    }
}

/// Returns the status code with which the API server refused a watch.
fn refusal(error: &Failure) -> Option<u16> {
    let Failure::Watch(error) = error else { return None };
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// A running watch. Dropped = ended.
#[must_use = "dropping it ends the watch"]
#[derive(Debug)]
pub struct Watching(Option<AbortHandle>);

impl Watching {
    /// Lets the watch run as long as the process.
    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// The pause after a failed watch: from half a second, doubled while failures follow each other closely, never above
/// [`LONGEST_PAUSE`], so that the return of an API server is noticed soon.
#[derive(Debug, Default)]
struct Pace {
    failures: u32,
    last: Option<Instant>,
}

impl Iterator for Pace {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.last.is_some_and(|last| last.elapsed() > 4 * LONGEST_PAUSE) {
            self.failures = 0;
        }
        self.last = Some(Instant::now());
        let pause = Duration::from_millis(500) * (1 << self.failures.min(4));
        self.failures = self.failures.saturating_add(1);
        Some(shorten(pause.min(LONGEST_PAUSE)))
    }
}

impl Backoff for Pace {
    /// Does nothing. It is called for each event, of which the beginning of a list that then fails is one: only time
    /// resets the pause.
    fn reset(&mut self) {}
}
