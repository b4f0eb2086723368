//! One watch and one lean cache per kind.
//!
//! Owns how objects get from the API server into memory: guarded against what does not parse, stripped of what nobody
//! reads, each watch with its own short back-off. Never decides anything. Next step: [`driver::run`](crate::driver::run).

use std::{
    borrow::Cow,
    fmt::Debug,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt, channel::mpsc, future, stream::BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    runtime::{
        Controller, PredicateConfig, WatchStreamExt,
        reflector::{ObjectRef, Store, store},
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use tracing::warn;

use crate::{error::Chain, health::Readiness, run::Kit};

/// Objects per page of the first list: bounds the memory a start takes.
const PAGE: u32 = 100;
/// Longest pause between two tries to resume a watch.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An annotation as large as the object that nobody here reads.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object as the API server holds it, which may not be what its type says.
///
/// One that does not parse keeps its metadata and stops nobody else. `managedFields` and kubectl's last-applied copy are
/// dropped, so never write a cached object back whole: use server-side apply.
#[derive(Clone, Debug)]
pub struct Guarded<K>(Result<Arc<K>, Box<Invalid>>);

/// What is known of an object that does not parse.
#[derive(Clone, Debug)]
struct Invalid {
    error: String,
    metadata: ObjectMeta,
}

impl<K> Guarded<K> {
    /// The object; costs a reference count.
    ///
    /// # Errors
    /// Why it does not parse.
    pub fn object(&self) -> Result<&Arc<K>, &str> {
        self.0.as_ref().map_err(|invalid| invalid.error.as_str())
    }
}

impl<K> From<K> for Guarded<K> {
    fn from(object: K) -> Self {
        Self(Ok(Arc::new(object)))
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut value = Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
            if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                annotations.remove(LAST_APPLIED);
            }
        }
        if let Ok(object) = K::deserialize(&value) {
            return Ok(object.into());
        }
        // Once more for the name of the field, which would cost every object that parses.
        let error = match serde_path_to_error::deserialize::<_, K>(&value) {
            Ok(object) => return Ok(object.into()),
            Err(error) => error.to_string(),
        };
        let metadata = value.get_mut("metadata").map(Value::take).unwrap_or_default();
        let metadata = serde_json::from_value(metadata).map_err(D::Error::custom)?;
        Ok(Self(Err(Box::new(Invalid { error, metadata }))))
    }
}

impl<K: Resource + Clone> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }

    fn group(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }

    fn version(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }

    fn plural(dt: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, |object| object.meta())
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => Arc::make_mut(object).meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

/// What a kind must be to be watched; every custom resource is.
///
/// The dynamic type of one that is served in several versions says which; its default will do for caches.
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

/// One kind being watched: its cache, those who want to hear of changes, and in the end its controller.
///
/// Nothing is sent before the controller runs. Whoever is told of a change finds it in the cache already, also after the
/// watch had to start over: then everything is told again, and what vanished meanwhile too.
pub struct Watch<K: Kind> {
    store: Store<Guarded<K>>,
    events: BoxStream<'static, Event<Guarded<K>>>,
    taps: Vec<Tap<K>>,
}

type Tap<K> = Box<dyn FnMut(&Guarded<K>) + Send>;

impl<K: Kind> Watch<K> {
    /// Prepares to watch `api` (`Api::all`, or one namespace) as narrowly as `config` says.
    #[must_use]
    pub fn new(kit: &Kit, api: Api<Guarded<K>>, config: watcher::Config) -> Self {
        let dynamic = K::DynamicType::default();
        let kind = K::kind(&dynamic).into_owned();
        let (reader, writer) = store();
        kit.metrics().watch_objects(&kind, {
            let reader = reader.clone();
            move || reader.len()
        });
        let errors = kit.metrics().watch_errors(&kind);
        let mut progress = Progress::new(kit.health().register(format!("watch {kind}")));
        let events = watcher(api, config.page_size(PAGE))
            .backoff(Pace::default())
            .reflect(writer)
            .filter_map(move |event| {
                future::ready(match event {
                    Ok(event) => {
                        progress.went_on(&event);
                        Some(event)
                    }
                    Err(error) => {
                        errors.inc();
                        let error = Chain(&error).to_string();
                        warn!(kind, error, "watch interrupted, will resume");
                        progress.failed(error);
                        None
                    }
                })
            })
            .boxed();
        Self { store: reader, events, taps: Vec::new() }
    }

    /// The cache. Empty until the controller runs; `wait_until_ready` says when it is complete.
    #[must_use]
    pub fn store(&self) -> Store<Guarded<K>> {
        self.store.clone()
    }

    /// A stream of what `f` makes of every object that appeared, changed (its status, too) or went, for
    /// `Controller::reconcile_on` of another controller.
    pub fn tap<T, F>(&mut self, f: F) -> impl Stream<Item = T> + Send + use<K, T, F>
    where
        T: Send + 'static,
        F: Fn(&Guarded<K>) -> Option<T> + Send + 'static,
    {
        let (sender, receiver) = mpsc::unbounded();
        self.taps.push(Box::new(move |object| {
            if let Some(item) = f(object) {
                // Fails only when the other controller has ended.
                let _ = sender.unbounded_send(item);
            }
        }));
        receiver
    }

    /// The owners of kind `P` of every object that appeared, changed or went.
    pub fn owners<P: Kind>(&mut self) -> impl Stream<Item = ObjectRef<Guarded<P>>> + Send + use<K, P> {
        self.tap(|object| {
            let meta = object.meta();
            let owners = meta.owner_references.as_deref().unwrap_or_default();
            owners.iter().find_map(|owner| {
                ObjectRef::from_owner_ref(meta.namespace.as_deref(), owner, P::DynamicType::default())
            })
        })
    }

    /// The controller of this kind: triggered by spec, finalizers and deletion, not by its own status writes.
    #[must_use]
    pub fn controller(self) -> Controller<Guarded<K>> {
        let Self { store, events, taps } = self;
        let changed = changes(events, store.clone(), taps)
            .map(Ok)
            .predicate_filter(|object: &_| Some(own_changes::<K>(object)), PredicateConfig::default());
        Controller::for_stream(changed, store).trigger_backoff(Pace::default())
    }
}

/// The objects that appeared or changed, in the cache by now; the taps hear of those that went as well.
fn changes<K: Kind>(
    events: impl Stream<Item = Event<Guarded<K>>>,
    store: Store<Guarded<K>>,
    mut taps: Vec<Tap<K>>,
) -> impl Stream<Item = Guarded<K>> {
    let mut before = Vec::new();
    events.flat_map(move |event| {
        let (appeared, gone) = match event {
            Event::Apply(object) => (vec![object], vec![]),
            Event::Delete(object) => (vec![], vec![object]),
            Event::Init => {
                before = store.state();
                (vec![], vec![])
            }
            // Not in the cache before the list is complete.
            Event::InitApply(_) => (vec![], vec![]),
            Event::InitDone => {
                let mut gone = std::mem::take(&mut before);
                gone.retain(|object| !is_held(&store, object));
                (owned(&store.state()), owned(&gone))
            }
        };
        for object in appeared.iter().chain(&gone) {
            for tap in &mut taps {
                tap(object);
            }
        }
        futures::stream::iter(appeared)
    })
}

fn owned<K>(objects: &[Arc<Guarded<K>>]) -> Vec<Guarded<K>>
where
    Guarded<K>: Clone,
{
    objects.iter().map(|object| Guarded::clone(object)).collect()
}

/// Whether the cache holds this very object, not a successor of the same name.
fn is_held<K: Kind>(store: &Store<Guarded<K>>, object: &Guarded<K>) -> bool {
    store.get(&ObjectRef::from_obj(object)).is_some_and(|held| held.meta().uid == object.meta().uid)
}

/// A hash of what makes a controller look at its own object again.
fn own_changes<K: Kind>(object: &Guarded<K>) -> u64 {
    let meta = object.meta();
    let deletion = meta.deletion_timestamp.as_ref().map(|time| time.0.as_second());
    let relevant = (meta.generation, &meta.finalizers, deletion, object.object().err());
    BuildHasherDefault::<DefaultHasher>::default().hash_one(relevant)
}

/// How a watch is doing, told to its readiness check.
///
/// Single interruptions are a watch's daily bread. Three in a row are a problem, which is taken for solved when no
/// other follows: a watch that resumes has nothing to say before something changes.
struct Progress {
    readiness: Readiness,
    synced: bool,
    failures: u32,
}

impl Progress {
    fn new(readiness: Readiness) -> Self {
        Self { readiness, synced: false, failures: 0 }
    }

    fn went_on<K>(&mut self, event: &Event<K>) {
        self.failures = 0;
        if matches!(event, Event::InitDone) {
            self.synced = true;
        }
        if self.synced {
            self.readiness.ready();
        }
    }

    fn failed(&mut self, error: String) {
        self.failures = self.failures.saturating_add(1);
        if !self.synced {
            self.readiness.not_ready(error);
        } else if self.failures >= 3 {
            self.readiness.disturbed(error, 3 * LONGEST_PAUSE);
        }
    }
}

/// The pause after a failed watch: from half a second, doubling, never above [`LONGEST_PAUSE`], so that an API server that comes back
/// is noticed.
#[derive(Debug, Default)]
struct Pace {
    failures: u32,
}

impl Iterator for Pace {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Duration::from_millis(500) * (1 << self.failures.min(4));
        self.failures = self.failures.saturating_add(1);
        let pause = pause.min(LONGEST_PAUSE);
        Some(pause.mul_f64(1.0 - 0.25 * crate::backoff::jitter()))
    }
}

impl Backoff for Pace {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::stream;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn config_map(name: &str, uid: &str) -> Guarded<ConfigMap> {
        let metadata = json!({
            "name": name, "namespace": "n", "uid": uid,
            "annotations": { LAST_APPLIED: "{}", "kept": "yes" },
            "managedFields": [{ "manager": "kubectl" }],
        });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn objects_are_lean_and_bad_ones_keep_their_metadata() {
        let good = config_map("a", "1");
        assert_eq!(good.meta().managed_fields, None);
        assert_eq!(good.meta().annotations.as_ref().unwrap().len(), 1);
        let bad = json!({ "metadata": { "name": "b" }, "data": { "key": [] } });
        let bad: Guarded<ConfigMap> = serde_json::from_value(bad).unwrap();
        assert_eq!(bad.meta().name.as_deref(), Some("b"));
        assert!(bad.object().unwrap_err().starts_with("data.key: invalid type"), "{bad:?}");
    }

    /// What goes through, and what the taps hear with what the cache held at that moment.
    async fn play(events: Vec<Event<Guarded<ConfigMap>>>) -> (Vec<String>, Vec<(String, usize)>) {
        let (reader, mut writer) = store();
        let heard = Arc::new(Mutex::new(vec![]));
        let tap: Tap<ConfigMap> = Box::new({
            let (heard, reader) = (Arc::clone(&heard), reader.clone());
            move |object| heard.lock().unwrap().push((object.meta().uid.clone().unwrap(), reader.len()))
        });
        let events = stream::iter(events).inspect(move |event| writer.apply_watcher_event(event));
        let mut through: Vec<_> = changes(events, reader, vec![tap])
            .map(|object| object.meta().uid.clone().unwrap())
            .collect()
            .await;
        // A cache has no order.
        through.sort();
        let mut heard = heard.lock().unwrap().clone();
        heard.sort();
        (through, heard)
    }

    #[tokio::test]
    async fn a_list_is_told_when_it_is_complete() {
        let events = vec![
            Event::Init,
            Event::InitApply(config_map("a", "1")),
            Event::InitApply(config_map("b", "2")),
            Event::InitDone,
        ];
        let (through, heard) = play(events).await;
        assert_eq!(through, ["1", "2"]);
        assert_eq!(heard, [("1".to_owned(), 2), ("2".to_owned(), 2)], "told before it was in the cache");
    }

    #[tokio::test]
    async fn what_vanished_between_two_lists_is_told() {
        let events = vec![
            Event::Apply(config_map("deleted", "1")),
            Event::Delete(config_map("deleted", "1")),
            Event::Apply(config_map("vanished", "2")),
            Event::Apply(config_map("recreated", "3")),
            Event::Init,
            Event::InitApply(config_map("recreated", "4")),
            Event::InitDone,
        ];
        let (through, heard) = play(events).await;
        assert_eq!(through, ["1", "2", "3", "4"]);
        let heard: Vec<_> = heard.into_iter().map(|(uid, _)| uid).collect();
        assert_eq!(heard, ["1", "1", "2", "2", "3", "3", "4"]);
    }
}
