//! `Guarded`: an object as the API server holds it, which may not be what its type says.
//!
//! Owns the parsing of cached objects: it drops what no operator reads, and keeps the metadata of an object that does
//! not parse, so that one bad object stops no other.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;

/// An annotation as large as the object, which no operator reads.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Longest annotation kept, in bytes: the API server takes 256 KiB for each object, and a user may create many.
const LONGEST_ANNOTATION: usize = 1024;

/// An object of kind `K`, or the metadata of one that does not parse as `K`. Cloning costs a reference count.
///
/// `managedFields`, kubectl's last-applied annotation and annotations above 1 KiB are dropped, so never write a cached
/// object back whole: use server-side apply. A status that does not parse is dropped as well: it was written by another
/// version of the operator, and the operator can compute it again.
#[derive(Clone, Debug)]
pub struct Guarded<K>(Result<Arc<K>, Arc<Invalid>>);

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
        self.0.as_ref().map_err(|invalid| invalid.error.as_str())
    }

    /// Returns the object, or `None` if it does not parse.
    #[must_use]
    pub fn valid(&self) -> Option<&Arc<K>> {
        self.0.as_ref().ok()
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
                annotations.retain(|key, value| {
                    key != LAST_APPLIED && value.as_str().is_none_or(|text| text.len() <= LONGEST_ANNOTATION)
                });
            }
        }
        if let Ok(object) = K::deserialize(&value) {
            return Ok(object.into());
        }
        let status = value.as_object_mut().and_then(|object| object.remove("status"));
        // Parses a second time for the name of the field, which would cost every object that parses.
        let error = match serde_path_to_error::deserialize::<_, K>(&value) {
            Ok(object) if status.is_some() => {
                tracing::warn!("dropping a status that does not parse; it will be computed again");
                return Ok(object.into());
            }
            Ok(object) => return Ok(object.into()),
            Err(error) => error.to_string(),
        };
        let metadata = value.get_mut("metadata").map(Value::take).unwrap_or_default();
        let metadata = serde_json::from_value(metadata).map_err(D::Error::custom)?;
        Ok(Self(Err(Arc::new(Invalid { error, metadata }))))
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

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, |object| object.meta())
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => Arc::make_mut(object).meta_mut(),
            Err(invalid) => &mut Arc::make_mut(invalid).metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    use super::*;

    #[test]
    fn drops_what_no_operator_reads() {
        let metadata = json!({
            "name": "a", "annotations": { LAST_APPLIED: "{}", "kept": "yes", "large": "x".repeat(LONGEST_ANNOTATION + 1) },
            "managedFields": [{ "manager": "kubectl" }],
        });
        let good: Guarded<ConfigMap> = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        assert_eq!(good.meta().managed_fields, None);
        assert_eq!(good.meta().annotations.as_ref().unwrap().len(), 1);
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
