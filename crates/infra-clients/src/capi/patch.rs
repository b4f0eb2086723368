//! Patches of the parts that every object has. Owns what is written and under which precondition; sends nothing.
//!
//! Each patch changes a single field, so that unknown fields survive, or is `None` if the object is so already. A
//! patch that is computed from what was read, above all of a list, carries the `resourceVersion` of that read: the
//! API server answers 409 ([`Kind::Conflict`](super::Kind::Conflict)) if the object has changed since, and the caller
//! reads it again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::api::Patch;
use serde::Serialize;
use serde_json::{Value, json};

/// Creates a merge patch that applies only to the state that was read.
pub(super) fn of_this_version(meta: &ObjectMeta, mut body: Value) -> Patch<Value> {
    // An object that was never read has no version; the API server refuses the empty one.
    body["metadata"]["resourceVersion"] = meta.resource_version.as_deref().unwrap_or_default().into();
    Patch::Merge(body)
}

/// Creates a patch that replaces a list, and applies only to the state that was read.
///
/// Not a merge patch: the API server drops every null in one, also those in entries of others.
pub(super) fn list_of_this_version(meta: &ObjectMeta, path: &str, list: &impl Serialize) -> Patch<Value> {
    operations_of_this_version(meta, vec![json!({"op": "add", "path": path, "value": list})])
}

/// Creates a JSON patch that applies only to the state that was read. The operations are well-formed.
#[allow(clippy::expect_used, reason = "all callers write well-formed operations")]
pub(super) fn operations_of_this_version(meta: &ObjectMeta, mut operations: Vec<Value>) -> Patch<Value> {
    let read = meta.resource_version.as_deref().unwrap_or_default();
    operations.insert(0, json!({"op": "replace", "path": "/metadata/resourceVersion", "value": read}));
    Patch::Json(serde_json::from_value(operations.into()).expect("a JSON patch"))
}

/// Returns the patch that appends a finalizer.
pub fn add_finalizer(object: &impl Resource, finalizer: &str) -> Option<Patch<Value>> {
    let meta = object.meta();
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    if finalizers.iter().any(|present| present == finalizer) {
        return None;
    }
    finalizers.push(finalizer.to_owned());
    Some(of_this_version(meta, json!({"metadata": {"finalizers": finalizers}})))
}

/// Returns the patch that removes a finalizer and keeps the others.
pub fn remove_finalizer(object: &impl Resource, finalizer: &str) -> Option<Patch<Value>> {
    let meta = object.meta();
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    let before = finalizers.len();
    finalizers.retain(|present| present != finalizer);
    if finalizers.len() == before {
        return None;
    }
    Some(of_this_version(meta, json!({"metadata": {"finalizers": finalizers}})))
}

/// Returns the patch that sets one annotation, whatever the others are by now.
pub fn set_annotation(object: &impl Resource, key: &str, value: &str) -> Option<Patch<Value>> {
    let present = object.meta().annotations.as_ref().and_then(|annotations| annotations.get(key));
    (present.map(String::as_str) != Some(value))
        .then(|| Patch::Merge(json!({"metadata": {"annotations": {key: value}}})))
}

/// Returns the patch that sets one label, whatever the others are by now.
pub fn set_label(object: &impl Resource, key: &str, value: &str) -> Option<Patch<Value>> {
    let present = object.meta().labels.as_ref().and_then(|labels| labels.get(key));
    (present.map(String::as_str) != Some(value))
        .then(|| Patch::Merge(json!({"metadata": {"labels": {key: value}}})))
}

/// Returns the patch that removes one label, whatever the others are by now.
pub fn remove_label(object: &impl Resource, key: &str) -> Option<Patch<Value>> {
    let present = object.meta().labels.as_ref().is_some_and(|labels| labels.contains_key(key));
    present.then(|| Patch::Merge(json!({"metadata": {"labels": {key: null}}})))
}

/// Returns the items of an annotation that is a list separated by commas.
fn list_annotation<'a>(object: &'a impl Resource, key: &str) -> impl Iterator<Item = &'a str> {
    let annotation = object.meta().annotations.as_ref().and_then(|annotations| annotations.get(key));
    annotation.into_iter().flat_map(|list| list.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

/// Returns the patch that appends to an annotation that is a list separated by commas, and keeps its other items.
pub fn add_to_list_annotation(object: &impl Resource, key: &str, item: &str) -> Option<Patch<Value>> {
    let mut items: Vec<_> = list_annotation(object, key).collect();
    if items.contains(&item) {
        return None;
    }
    items.push(item);
    Some(of_this_version(object.meta(), json!({"metadata": {"annotations": {key: items.join(",")}}})))
}

#[cfg(test)]
pub(super) mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use proptest::prelude::*;

    use super::*;

    fn object(finalizers: &[String], list: Option<&str>) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.resource_version = Some("7".into());
        object.metadata.finalizers = Some(finalizers.to_vec());
        if let Some(list) = list {
            object.annotations_mut().insert("k".into(), list.into());
        }
        object
    }

    /// Applies a patch to an object as RFC 7386 says.
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            if value.is_null() {
                target.as_object_mut().unwrap().remove(key);
            } else {
                merge(&mut target[key], value);
            }
        }
    }

    fn applied(object: &ConfigMap, patch: Option<Patch<Value>>) -> ConfigMap {
        let Some(Patch::Merge(patch)) = patch else { return object.clone() };
        let mut value = serde_json::to_value(object).unwrap();
        merge(&mut value, &patch);
        serde_json::from_value(value).unwrap()
    }

    /// Returns the list that such a patch writes at `place`, if it is for an object read as version 7.
    pub(in super::super) fn list_written(patch: Option<Patch<Value>>, place: &str) -> Option<Value> {
        let Patch::Json(operations) = patch? else { panic!("not a JSON patch") };
        let operations = serde_json::to_value(operations).unwrap();
        let version = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"});
        let list = operations[1]["value"].clone();
        assert_eq!(operations, json!([version, {"op": "add", "path": place, "value": list}]));
        Some(list)
    }

    proptest! {
        #[test]
        fn finalizers_come_and_go_and_the_others_stay(others in prop::collection::btree_set("[a-z]{1,4}", 0..4)) {
            let others: Vec<String> = others.into_iter().collect();
            let before = object(&others, None);
            let with = applied(&before, add_finalizer(&before, "ours/x"));
            prop_assert!(add_finalizer(&with, "ours/x").is_none());
            let mut expected = others.clone();
            expected.push("ours/x".into());
            prop_assert_eq!(with.finalizers(), expected.as_slice());
            let without = applied(&with, remove_finalizer(&with, "ours/x"));
            prop_assert!(remove_finalizer(&without, "ours/x").is_none());
            prop_assert_eq!(without.finalizers(), others.as_slice());
        }

        #[test]
        fn items_come_and_the_others_stay(others in prop::collection::btree_set("[a-z]{1,4}", 0..4)) {
            let list = others.iter().cloned().collect::<Vec<_>>().join(",");
            let before = object(&[], (!list.is_empty()).then_some(&*list));
            let with = applied(&before, add_to_list_annotation(&before, "k", "ours-x"));
            prop_assert!(add_to_list_annotation(&with, "k", "ours-x").is_none());
            prop_assert_eq!(list_annotation(&with, "k").last(), Some("ours-x"));
            let kept: Vec<_> = list_annotation(&before, "k").collect();
            prop_assert!(list_annotation(&with, "k").take(kept.len()).eq(kept));
        }
    }

    #[test]
    fn what_was_computed_from_a_reading_holds_only_for_it() {
        let object = object(&["a".into()], Some("x, y"));
        for patch in [
            add_finalizer(&object, "b"),
            remove_finalizer(&object, "a"),
            add_to_list_annotation(&object, "k", "z"),
        ] {
            let Some(Patch::Merge(body)) = patch else { panic!("not a merge patch") };
            assert_eq!(body["metadata"]["resourceVersion"], "7");
        }
    }

    #[test]
    fn one_key_is_written_and_only_where_it_differs() {
        let object = object(&[], Some("v"));
        assert_eq!(set_annotation(&object, "k", "v"), None);
        assert_eq!(
            set_annotation(&object, "k", "w"),
            Some(Patch::Merge(json!({"metadata": {"annotations": {"k": "w"}}})))
        );
        assert_eq!(remove_label(&object, "k"), None);
        assert_eq!(
            set_label(&object, "k", "v"),
            Some(Patch::Merge(json!({"metadata": {"labels": {"k": "v"}}})))
        );
    }
}
