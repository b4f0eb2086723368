//! `Foreign`: an object of a kind that belongs to another project, whose status this operator does not write.

use std::{borrow::Cow, ops::Deref};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::{Resource, core::object::HasStatus};
use serde::{Deserialize, Serialize};

/// An object of kind `K`, to be [reconciled](crate::Reconciler) without a status of its own.
///
/// What its owner writes to its status is part of `K`; [`Reconciler::reads`](crate::Reconciler::reads) names what of it matters.
/// `Reconciler::status` can return nothing but `None`, and `Reconciler::conditions` is [`NoStatus::conditions`].
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Foreign<K> {
    object: K,
    #[serde(skip)]
    no_status: Option<NoStatus>,
}

/// The status that this operator writes to an object of others: there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum NoStatus {}

impl NoStatus {
    /// Returns the conditions of no status.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        match *self {}
    }
}

impl<K> From<K> for Foreign<K> {
    fn from(object: K) -> Self {
        Self { object, no_status: None }
    }
}

impl<K> Deref for Foreign<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.object
    }
}

impl<K> HasStatus for Foreign<K> {
    type Status = NoStatus;

    fn status(&self) -> Option<&NoStatus> {
        self.no_status.as_ref()
    }

    fn status_mut(&mut self) -> &mut Option<NoStatus> {
        &mut self.no_status
    }
}

impl<K: Resource> Resource for Foreign<K> {
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
        self.object.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.object.meta_mut()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    use super::*;
    use crate::guarded::Guarded;

    #[test]
    fn an_object_is_read_whole_and_has_no_status_of_ours() {
        let pod = json!({ "metadata": { "name": "p" }, "status": { "phase": "Running" } });
        let pod: Guarded<Foreign<Pod>> = serde_json::from_value(pod).unwrap();
        let pod = pod.valid().unwrap();
        assert_eq!(pod.meta().name.as_deref(), Some("p"));
        assert_eq!(pod.status.as_ref().unwrap().phase.as_deref(), Some("Running"));
        assert_eq!(HasStatus::status(&**pod), None);
        assert_eq!(Foreign::<Pod>::url_path(&(), Some("n")), Pod::url_path(&(), Some("n")));
        assert!(Guarded::<Foreign<PartialObjectMeta<Pod>>>::metadata_api());
    }
}
