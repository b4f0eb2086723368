//! How much a pass holds of what a workload cluster answers. The cluster belongs to its users, and must not fill the memory of the operator.
//!
//! The client bounds each answer, and this what all objects of a pass take together.

use std::sync::atomic::{AtomicUsize, Ordering};

use infra_clients::capi::{self, Kind};
use kube::core::DynamicObject;
use serde_json::Value;

use super::live::value;

/// Most bytes of memory that the objects of a workload cluster take, roughly: many times what those of AKO do.
const MOST: usize = 2 << 20;
/// What a map takes that has a member: it makes place for some at once.
const MAP: usize = 640;
/// What a list takes that has an element, for the same reason.
const LIST: usize = 128;
/// What a value takes that is in a list or a map.
const VALUE: usize = 32;
/// What a text takes beside its bytes.
const TEXT: usize = 32;
/// An annotation as large as the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The memory that is left for the objects of a pass.
#[derive(Debug)]
pub(super) struct Room(AtomicUsize);

impl Default for Room {
    fn default() -> Self {
        Self(AtomicUsize::new(MOST))
    }
}

impl Room {
    /// Returns an object without what no pass reads.
    ///
    /// # Errors
    /// If there is no room for it.
    pub(super) fn take(&self, mut object: DynamicObject) -> Result<DynamicObject, capi::Error> {
        trim(&mut object);
        let weight = weigh(&value(&object));
        let take = |left: usize| left.checked_sub(weight);
        if self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            return Ok(object);
        }
        let message =
            format!("its objects take more than {} MiB of memory, and no more are read", MOST >> 20);
        Err(capi::Error::new(Kind::Protocol, message))
    }
}

/// Drops what no pass reads.
fn trim(object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    // Of a definition.
    let versions = object.data.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten().filter_map(Value::as_object_mut) {
        version.remove("schema");
    }
}

/// Returns how many bytes of memory a value takes beside its own place, roughly.
fn weigh(value: &Value) -> usize {
    match value {
        Value::String(text) => TEXT + text.len(),
        Value::Array(list) if list.is_empty() => 0,
        Value::Array(list) => LIST + list.iter().map(|value| VALUE + weigh(value)).sum::<usize>(),
        Value::Object(map) if map.is_empty() => 0,
        Value::Object(map) => {
            let takes = |(key, value): (&String, &Value)| VALUE + TEXT + key.len() + weigh(value);
            MAP + map.iter().map(takes).sum::<usize>()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(object: Value) -> DynamicObject {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn what_no_pass_reads_takes_no_room() {
        let long = "x".repeat(MOST);
        let object = of(json!({
            "metadata": {
                "name": "a", "annotations": { LAST_APPLIED: long, "b": "c" },
                "managedFields": [{ "manager": "d", "fieldsV1": { "f:e": long } }],
            },
            "spec": { "versions": [{ "name": "v1", "served": true, "schema": { "openAPIV3Schema": long } }] },
        }));
        let wanted = json!({
            "metadata": { "name": "a", "annotations": { "b": "c" } },
            "spec": { "versions": [{ "name": "v1", "served": true }] },
        });
        assert_eq!(value(&Room::default().take(object).unwrap()), wanted);
    }

    /// Whatever the objects are like, those that are held take no more than the room.
    #[test]
    fn the_objects_of_a_pass_take_no_more_than_the_room() {
        for (what, part) in [
            ("a text", json!("x".repeat(200_000))),
            ("empty members", json!(vec![json!({"": []}); 1000])),
            ("lists", json!(vec![json!([[[0]]]); 1000])),
            ("numbers", json!(vec![json!(0); 10_000])),
        ] {
            let (room, object) = (Room::default(), json!({ "metadata": { "name": "a" }, "data": part }));
            let held: Vec<_> = (0..100).map_while(|_| room.take(of(object.clone())).ok()).collect();
            let takes: usize = held.iter().map(|object| weigh(&value(object))).sum();
            assert!((1..100).contains(&held.len()) && takes <= MOST, "{what}: {}", held.len());
            let refused = room.take(of(object)).unwrap_err();
            assert_eq!(refused.kind(), Kind::Protocol);
            assert!(refused.to_string().contains("2 MiB"), "{refused}");
        }
    }
}
