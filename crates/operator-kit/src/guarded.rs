//! `Guarded`: an object as the API server holds it, which may not be what its type says.
//!
//! Owns the parsing of cached objects: it drops what no operator reads, and keeps the metadata of an object that does
//! not parse, so that one bad object stops no other.

mod parts;

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed},
};
use serde_json::Value;

use self::parts::{DEEPEST, Object, Parts};

/// An annotation as large as the object, which no operator reads.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Longest part of an annotation that is kept, in bytes: the API server takes 256 KiB for each object, and a user may create many.
const LONGEST_ANNOTATION: usize = 1024;
/// Most bytes of metadata that are kept of one object: labels, finalizers and owner references have no limit of their own.
const MOST_METADATA: usize = 64 * 1024;

/// What a text takes beside its bytes: its pointer, its place in a map, and what the allocator adds.
const TEXT: usize = 64;

/// An object of kind `K`, or the metadata of one that does not parse as `K`. Cloning costs a reference count.
///
/// `managedFields` and kubectl's last-applied annotation are dropped, other annotations are cut to 1 KiB, and of more than 64 KiB of
/// metadata only what a [lean](crate::Watch::lean) cache keeps is left, so never write such an object back whole: use server-side
/// apply. A status that does not parse is dropped as well: it was written by another version of the operator, and the operator can
/// compute it again.
#[derive(Clone, Debug)]
pub struct Guarded<K> {
    object: Result<Arc<K>, Arc<Invalid>>,
    /// The size of the metadata in bytes, where it is more than is kept.
    excess: Option<usize>,
}

/// What a cache keeps of the metadata of its objects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Keep {
    /// All, up to [`MOST_METADATA`].
    #[default]
    All,
    /// See [`Watch::lean`](crate::Watch::lean).
    Lean,
    /// See [`Watch::identities`](crate::Watch::identities).
    Identity,
}

/// What is known of an object that does not parse.
#[derive(Clone, Debug)]
struct Invalid {
    error: String,
    metadata: ObjectMeta,
}

impl<K> Guarded<K> {
    /// Returns the object.
    ///
    /// # Errors
    /// Says which field does not parse, and why.
    pub fn object(&self) -> Result<&Arc<K>, &str> {
        self.object.as_ref().map_err(|invalid| invalid.error.as_str())
    }

    /// Returns the object, or `None` if it does not parse.
    #[must_use]
    pub fn valid(&self) -> Option<&Arc<K>> {
        self.object.as_ref().ok()
    }

    fn invalid(error: String, metadata: ObjectMeta) -> Self {
        Self { object: Err(Arc::new(Invalid { error, metadata })), excess: None }
    }
}

impl<K: Resource<DynamicType: Default> + Clone> Guarded<K> {
    /// Returns it as a cache keeps it: without what no operator reads. Where all is kept, an object with more metadata than that counts as one
    /// that does not parse.
    pub(crate) fn bounded(mut self, keep: Keep) -> Self {
        match keep {
            Keep::Lean => {
                trim(self.meta_mut(), &group_of::<K>());
                return self;
            }
            Keep::Identity => {
                let meta = self.meta_mut();
                *meta = ObjectMeta {
                    name: meta.name.take(),
                    namespace: meta.namespace.take(),
                    uid: meta.uid.take(),
                    resource_version: meta.resource_version.take(),
                    ..ObjectMeta::default()
                };
                return self;
            }
            Keep::All => {}
        }
        let Some(size) = self.excess else { return self };
        let error = too_large("labels, annotations, finalizers and owner references", size);
        Self::invalid(error, identity(self.meta().clone(), &group_of::<K>()))
    }
}

fn group_of<K: Resource<DynamicType: Default>>() -> String {
    K::group(&K::DynamicType::default()).into_owned()
}

fn too_large(counted: &str, size: usize) -> String {
    format!(
        "its {counted} take {size} bytes, and at most {MOST_METADATA} are read: remove what is not needed"
    )
}

impl<K> From<K> for Guarded<K> {
    fn from(object: K) -> Self {
        Self { object: Ok(Arc::new(object)), excess: None }
    }
}

impl<'de, K: DeserializeOwned + Resource<DynamicType: Default>> Deserialize<'de> for Guarded<K> {
    /// Bounds each object of a list before the next is parsed, and fails for none: it would fail the list, and stop the operator.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let group = group_of::<K>();
        let Parts { labels, annotations, metadata, object, too_deep } =
            Object(&group).deserialize(deserializer)?;
        let identity_of = |field: &str| metadata.get(field).and_then(Value::as_str).map(str::to_owned);
        let known = ObjectMeta {
            name: identity_of("name"),
            namespace: identity_of("namespace"),
            uid: identity_of("uid"),
            resource_version: identity_of("resourceVersion"),
            deletion_timestamp: metadata
                .get("deletionTimestamp")
                .and_then(|time| Time::deserialize(time).ok()),
            ..ObjectMeta::default()
        };
        let mut metadata: ObjectMeta = match serde_json::from_value(Value::Object(metadata)) {
            Ok(metadata) => metadata,
            Err(error) => return Ok(Self::invalid(format!("metadata: {error}"), known)),
        };
        let excess =
            Some(size(&metadata) + labels.size + annotations.size).filter(|size| *size > MOST_METADATA);
        (metadata.labels, metadata.annotations) = (labels.kept, annotations.kept);
        if excess.is_some() {
            trim(&mut metadata, &group);
            let size = size(&metadata) + annotations.dropped;
            if size > MOST_METADATA {
                let error = too_large(&format!("finalizers, controller and annotations of {group}"), size);
                return Ok(Self::invalid(error, identity(metadata, &group)));
            }
        }
        if let Some(member) = too_deep {
            let error = format!("{member}: it is nested deeper than {DEEPEST} levels");
            return Ok(Self { excess, ..Self::invalid(error, metadata) });
        }
        Ok(match parse::<K>(Value::Object(object)) {
            Ok(mut object) => {
                *object.meta_mut() = metadata;
                Self { object: Ok(Arc::new(object)), excess }
            }
            Err(error) => Self { excess, ..Self::invalid(error, metadata) },
        })
    }
}

/// Parses an object, without a status that does not parse.
fn parse<K: DeserializeOwned>(mut value: Value) -> Result<K, String> {
    if let Ok(object) = K::deserialize(&value) {
        return Ok(object);
    }
    let status = value.as_object_mut().and_then(|object| object.remove("status"));
    // Parses a second time for the name of the field, which would cost every object that parses.
    let object = serde_path_to_error::deserialize::<_, K>(&value).map_err(|error| error.to_string())?;
    if status.is_some() {
        tracing::warn!("dropping a status that does not parse; it will be computed again");
    }
    Ok(object)
}

/// Cuts the value of an annotation; what is left of one that was cut equals no value that an operator knows.
fn cut(text: &mut String) {
    if text.len() > LONGEST_ANNOTATION {
        text.truncate(text.floor_char_boundary(LONGEST_ANNOTATION));
        // Else it takes as much memory as before.
        text.shrink_to_fit();
    }
}

/// Returns the bytes that labels, annotations, finalizers and owner references take, about.
fn size(meta: &ObjectMeta) -> usize {
    let pairs = meta.labels.iter().chain(&meta.annotations).flatten();
    let texts = pairs.flat_map(|(key, value)| [key, value]).chain(meta.finalizers.iter().flatten());
    let owners = meta.owner_references.iter().flatten();
    let owners = owners.flat_map(|owner| [&owner.api_version, &owner.kind, &owner.name, &owner.uid]);
    texts.chain(owners).map(|text| TEXT + text.len()).sum()
}

/// Drops what no operator reads: see [`Watch::lean`](crate::Watch::lean). `group` is the API group of the kind.
fn trim(meta: &mut ObjectMeta, group: &str) {
    meta.labels = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| is_of_group(key, group));
    }
    if let Some(owners) = &mut meta.owner_references {
        owners.retain(|owner| owner.controller == Some(true));
    }
}

/// Keeps what identifies an object, and its controller.
fn identity(mut meta: ObjectMeta, group: &str) -> ObjectMeta {
    trim(&mut meta, group);
    let meta = ObjectMeta { annotations: None, finalizers: None, ..meta };
    if size(&meta) > MOST_METADATA { ObjectMeta { owner_references: None, ..meta } } else { meta }
}

/// Returns whether the key of an annotation begins with this API group.
fn is_of_group(name: &str, group: &str) -> bool {
    name.strip_prefix(group).is_some_and(|rest| rest.starts_with('/'))
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

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.object.as_ref().map_or_else(|invalid| &invalid.metadata, |object| object.meta())
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.object {
            Ok(object) => Arc::make_mut(object).meta_mut(),
            Err(invalid) => &mut Arc::make_mut(invalid).metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use k8s_openapi::api::events::v1::Event;
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    use super::*;

    #[test]
    fn drops_what_no_operator_reads() {
        let metadata = json!({
            "name": "a", "annotations": { LAST_APPLIED: "{}", "kept": "yes", "large": format!("x{}", "\u{fc}".repeat(LONGEST_ANNOTATION)) },
            "managedFields": [{ "manager": "kubectl" }],
        });
        let good: Guarded<ConfigMap> = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        assert_eq!(good.meta().managed_fields, None);
        let annotations = good.meta().annotations.as_ref().unwrap();
        let (kept, large) = (annotations["kept"].as_str(), annotations["large"].len());
        assert_eq!((annotations.len(), kept, large), (2, "yes", LONGEST_ANNOTATION - 1));
        assert!(annotations["large"].capacity() < 2 * LONGEST_ANNOTATION, "the rest is not freed");
    }

    #[test]
    fn a_cache_keeps_of_much_metadata_only_the_identity() {
        let labels = |n: usize| {
            (0..n).map(|n| (format!("label-{n:04}"), json!("x"))).collect::<serde_json::Map<_, _>>()
        };
        let of = |n: usize, keep: Keep| {
            let metadata = json!({"name": "c", "namespace": "n", "uid": "u", "labels": labels(n), "finalizers": ["f/f"]});
            let object = json!({ "metadata": metadata, "data": {"key": "value"} });
            serde_json::from_value::<Guarded<ConfigMap>>(object).unwrap().bounded(keep)
        };
        assert_eq!(of(450, Keep::All).object().unwrap().data.as_ref().unwrap()["key"], "value");
        let large = of(500, Keep::All);
        assert!(large.object().unwrap_err().contains("at most 65536 are read"), "{large:?}");
        let meta = large.meta();
        assert_eq!((meta.name.as_deref(), meta.uid.as_deref()), (Some("c"), Some("u")));
        assert_eq!((meta.labels.is_some(), meta.finalizers.is_some()), (false, false));
        let lean = of(500, Keep::Lean);
        assert!(lean.object().is_ok() && lean.meta().labels.is_none(), "{lean:?}");
        assert_eq!(lean.meta().finalizers.as_deref(), Some(&["f/f".to_owned()][..]));
        let identity = of(500, Keep::Identity);
        let (name, namespace, uid) = (Some("c".into()), Some("n".into()), Some("u".into()));
        assert_eq!(*identity.meta(), ObjectMeta { name, namespace, uid, ..ObjectMeta::default() });
        assert!(identity.object().is_ok(), "nothing of a user's makes it unreadable");
    }

    /// Of what a page has, each object is bounded before the next is parsed.
    #[test]
    fn much_metadata_is_dropped_when_it_is_parsed() {
        let labels: serde_json::Map<_, _> = (0..2000).map(|n| (format!("label-{n}"), json!(""))).collect();
        let finalizers: Vec<_> = (0..2000).map(|n| format!("events.k8s.io/{n}")).collect();
        let owner = json!({"apiVersion": "v1", "kind": "K", "name": "o", "uid": "o", "controller": true});
        let parse = |finalizers: &[String]| {
            let metadata = json!({
                "name": "e", "uid": "u", "labels": labels, "finalizers": finalizers, "ownerReferences": [owner],
            });
            serde_json::from_value::<Guarded<Event>>(json!({ "metadata": metadata, "eventTime": null }))
                .unwrap()
        };
        let labelled = parse(&finalizers[..3]);
        assert!(labelled.meta().labels.is_none() && labelled.meta().finalizers.as_ref().unwrap().len() == 3);
        assert!(
            labelled.clone().bounded(Keep::Lean).valid().is_some()
                && labelled.bounded(Keep::All).valid().is_none()
        );
        // Whose it is is still known.
        let held = parse(&finalizers);
        assert!(
            held.object()
                .unwrap_err()
                .contains("its finalizers, controller and annotations of events.k8s.io take"),
            "{held:?}"
        );
        for held in [held.clone().bounded(Keep::Lean), held.bounded(Keep::All)] {
            let meta = held.meta();
            assert_eq!(meta.owner_references.as_ref().unwrap()[0].uid, "o");
            assert!(held.valid().is_none() && meta.finalizers.is_none(), "{held:?}");
        }
    }

    /// What anyone may write who may write the object, where the schema of the kind lets it pass.
    #[test]
    fn no_shape_fails_a_list() {
        let deep = format!("{}1{}", r#"{"f:a":"#.repeat(5000), "}".repeat(5000));
        let lists = format!("{}1{}", "[".repeat(101), "]".repeat(101));
        let list = format!(
            r#"[{{"metadata": {{"name": "deep", "managedFields": [{{"time": "9999-12-31T12:00:00Z", "fieldsV1": {deep}}}]}}}},
                {{"metadata": {{"name": "bad", "uid": "u", "creationTimestamp": "9999-12-31T12:00:00Z"}}}},
                {{"metadata": {{"name": "none", "labels": null, "annotations": null}}, "data": {{"key": "value"}}}},
                {{"data": {deep}, "metadata": {{"name": "spec"}}}}, {{"metadata": {{"name": "lists"}}, "data": {lists}}},
                {{"status": {deep}, "metadata": {{"name": "status"}}}}]"#
        );
        let list: Vec<Guarded<ConfigMap>> = serde_json::from_str(&list).unwrap();
        let names: Vec<_> = list.iter().filter_map(|object| object.meta().name.as_deref()).collect();
        assert_eq!(names, ["deep", "bad", "none", "spec", "lists", "status"]);
        for deep in &list[3..5] {
            assert_eq!(deep.object().unwrap_err(), "data: it is nested deeper than 100 levels");
        }
        assert!(list[5].valid().is_some(), "the operator computes a status again");
        assert!(list[0].valid().is_some() && list[2].valid().is_some());
        assert!(list[1].object().unwrap_err().starts_with("metadata: "), "{:?}", list[1]);
        assert_eq!(list[1].meta().uid.as_deref(), Some("u"));
    }

    /// However much of others stands before them.
    #[test]
    fn annotations_of_the_group_are_kept() {
        let others = (0..2000).map(|n| (format!("a{n}"), json!("x")));
        let own = (0..3).map(|n| (format!("events.k8s.io/{n}"), json!("y")));
        let annotations: serde_json::Map<_, _> = others.chain(own).collect();
        let event = json!({"metadata": {"name": "e", "annotations": annotations}, "eventTime": null});
        let event: Guarded<Event> = serde_json::from_value(event).unwrap();
        assert_eq!(
            event.bounded(Keep::Lean).valid().unwrap().metadata.annotations.as_ref().unwrap().len(),
            3
        );
    }

    #[test]
    fn a_lean_cache_keeps_the_controller_and_the_annotations_of_the_group() {
        let owner = |name: &str, controller: bool| json!({"apiVersion": "v1", "kind": "K", "name": name, "uid": name, "controller": controller});
        let metadata = json!({
            "name": "e", "labels": {"a": "b"}, "ownerReferences": [owner("other", false), owner("controller", true)],
            "annotations": {"events.k8s.io/own": "1", "events.k8s.io.example.com/x": "2", "example.com/other": "3"},
        });
        let event: Guarded<Event> =
            serde_json::from_value(json!({ "metadata": metadata, "eventTime": null })).unwrap();
        let event = event.bounded(Keep::Lean);
        let meta = event.meta();
        assert_eq!(meta.annotations.as_ref().unwrap().keys().collect::<Vec<_>>(), ["events.k8s.io/own"]);
        let owners = meta.owner_references.as_ref().unwrap();
        assert_eq!((meta.labels.is_none(), owners.len(), &*owners[0].name), (true, 1, "controller"));
    }

    #[test]
    fn a_bad_object_keeps_its_metadata() {
        let bad = json!({ "metadata": { "name": "b" }, "data": { "key": [] } });
        let bad: Guarded<ConfigMap> = serde_json::from_value(bad).unwrap();
        assert_eq!(bad.meta().name.as_deref(), Some("b"));
        assert!(bad.object().unwrap_err().starts_with("data.key: invalid type"), "{bad:?}");
    }

    #[test]
    fn a_status_of_another_version_does_not_make_an_object_unreadable() {
        let pod = json!({ "metadata": { "name": "p" }, "status": { "conditions": "many" } });
        let pod: Guarded<Pod> = serde_json::from_value(pod).unwrap();
        assert_eq!(pod.object().unwrap().status, None);
    }

    #[test]
    fn metadata_only_kinds_stay_metadata_only() {
        assert!(Guarded::<PartialObjectMeta<Pod>>::metadata_api());
        assert!(!Guarded::<Pod>::metadata_api());
    }
}
