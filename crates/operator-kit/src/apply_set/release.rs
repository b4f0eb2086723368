//! The end of a set whose objects stay.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{ApplySet, PART_OF, SetError, lock};

impl ApplySet {
    /// Lets go of every member, which stays as it is without the label of the set, and deletes the parent.
    ///
    /// # Errors
    /// A member that cannot be changed; call again.
    pub async fn release(&self) -> Result<(), SetError> {
        let record = self.parent().await?;
        if !record.exists {
            return Ok(());
        }
        for (api, member, object) in self.members(&record).await? {
            lock(&self.applied).remove(&member);
            let labels = json!({ "metadata": { "uid": object.metadata.uid, "labels": { PART_OF: null } } });
            let params = PatchParams { field_manager: Some(self.manager.clone()), ..PatchParams::default() };
            match api.patch(&member.name, &params, &Patch::Merge(labels)).await {
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
                patched => drop(patched.map_err(|error| SetError::Kubernetes { member, error })?),
            }
        }
        self.delete_parent().await
    }
}
