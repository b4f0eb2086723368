//! The last step of every reconcile: one patch of the status, or none.
//!
//! Owns the comparison with the newest status this process knows. The watch cache lags behind its own writes, and a
//! status compared with an old one would be skipped although it differs from the newest. Never computes a status.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::core::object::HasStatus;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::run::Kit;

/// Resource versions are numbers that grow, as the API conventions promise since Kubernetes 1.35 and etcd has always had it.
fn version(text: Option<&str>) -> Option<u64> {
    text?.parse().ok()
}

/// The last written status of each object, until the cache has caught up with it.
pub struct Written<K: HasStatus + Resource> {
    kind: K::DynamicType,
    /// By UID: resource version and status.
    last: Mutex<HashMap<String, (String, K::Status)>>,
}

impl<K: HasStatus + Resource<DynamicType: Default>> Default for Written<K> {
    fn default() -> Self {
        Self::of(K::DynamicType::default())
    }
}

impl<K: HasStatus + Resource> Written<K> {
    /// Statuses that are written in this version of their kind.
    pub fn of(kind: K::DynamicType) -> Self {
        Self { kind, last: Mutex::default() }
    }
}

impl<K> Written<K>
where
    K: HasStatus + Resource + DeserializeOwned,
    K::Status: Clone + PartialEq + Serialize,
{
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (String, K::Status)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest status known of `object`.
    pub fn latest(&self, object: &K) -> Option<K::Status> {
        let uid = object.uid().unwrap_or_default();
        let mut written = self.lock();
        let cached = version(object.meta().resource_version.as_deref());
        if written.get(&uid).is_some_and(|(ours, _)| cached >= version(Some(ours))) {
            written.remove(&uid);
        }
        written.get(&uid).map(|(_, status)| status.clone()).or_else(|| object.status().cloned())
    }

    /// Writes `status` as `controller` unless it is what stands there already; says whether it did.
    ///
    /// Compute it from [`latest`](Self::latest), so that a condition's time moves only with its status.
    pub async fn write(
        &self,
        kit: &Kit,
        object: &K,
        status: K::Status,
        controller: &str,
    ) -> Result<bool, kube::Error> {
        if self.latest(object).as_ref() == Some(&status) {
            return Ok(false);
        }
        let manager = kit.field_manager(controller);
        let now = crate::apply::patch_status(&kit.client(), &self.kind, &manager, object, &status).await?;
        if let (Some(uid), Some(version)) = (now.uid(), now.resource_version()) {
            self.lock().insert(uid, (version, status));
        }
        Ok(true)
    }

    /// The object is no more.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}
