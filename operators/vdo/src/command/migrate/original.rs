//! What the original vdo has in a cluster beside its kinds, their objects and the drivers: its Deployment, its rights, its locks.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use operator_kit::apply_set::not_gone;
use tokio::time::Instant;

use super::super::error::Error;
use super::PAUSE;
use crate::api::MATRIX_CONFIG_MAPS;

/// Label of all objects of its manifests.
const LABEL: &str = "vdo.vmware.com/managed-by=vdo";
/// Name of its Deployment, also where an operator of OLM has made it without the label.
const DEPLOYMENT: &str = "vdo-controller-manager";
/// Name of the lock of its leader.
const LOCK: &str = "540e4412.vmware.com";
/// Kind of the objects by which OLM keeps a Deployment.
const OLM: &str = "ClusterServiceVersion";

/// What the original has.
pub(super) struct Original {
    deployments: Vec<Found>,
    others: Vec<Found>,
}

struct Found {
    /// Such as `Role vmware-system-vdo/vdo-leader-election-role`.
    name: String,
    api: Api<DynamicObject>,
    object: DynamicObject,
}

impl Original {
    /// Looks for what the original has. Its namespace, its kinds and the ConfigMap with the matrix are used on.
    pub(super) async fn find(client: &Client) -> Result<Self, Error> {
        let labelled = || ListParams::default().labels(LABEL);
        let named = |name: &str| ListParams::default().fields(&format!("metadata.name={name}"));
        let deployments = ApiResource::erase::<Deployment>(&());
        let mut found = Self {
            deployments: objects(client, &deployments, [labelled(), named(DEPLOYMENT)]).await?,
            others: Vec::new(),
        };
        if let Some(kept) = found.deployments.iter().find(|found| is_of_olm(&found.object)) {
            let message = format!(
                "{} is kept by OLM: delete its Subscription and its {OLM}, and run this command again",
                kept.name
            );
            return Err(Error::Usage(message));
        }
        for (kind, by_name) in [
            (ApiResource::erase::<Service>(&()), None),
            (ApiResource::erase::<ConfigMap>(&()), Some(LOCK)),
            (ApiResource::erase::<Lease>(&()), Some(LOCK)),
            (ApiResource::erase::<RoleBinding>(&()), None),
            (ApiResource::erase::<ClusterRoleBinding>(&()), None),
            (ApiResource::erase::<Role>(&()), None),
            (ApiResource::erase::<ClusterRole>(&()), None),
            (ApiResource::erase::<ServiceAccount>(&()), None),
        ] {
            found
                .others
                .extend(objects(client, &kind, std::iter::once(labelled()).chain(by_name.map(named))).await?);
        }
        found.others.retain(|found| !MATRIX_CONFIG_MAPS.contains(&found.object.name_any().as_str()));
        Ok(found)
    }

    /// Returns the names of all objects, in the order in which they are deleted.
    pub(super) fn names(&self) -> Vec<String> {
        self.deployments.iter().chain(&self.others).map(|found| found.name.clone()).collect()
    }

    /// Deletes the Deployments, and waits until their Pods are gone; returns what is left at the end.
    pub(super) async fn stop(&self, end: Instant) -> Result<Vec<String>, Error> {
        for found in &self.deployments {
            found.delete(DeleteParams::foreground()).await?;
        }
        loop {
            let mut left = Vec::new();
            for found in &self.deployments {
                left.extend(found.left().await?);
            }
            if left.is_empty() || Instant::now() >= end {
                return Ok(left);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Deletes all but the Deployments.
    pub(super) async fn clear(&self) -> Result<(), Error> {
        for found in &self.others {
            found.delete(DeleteParams::background()).await?;
        }
        Ok(())
    }
}

impl Found {
    /// Deletes it, and no other object of its name.
    async fn delete(&self, params: DeleteParams) -> Result<(), Error> {
        let preconditions = Some(Preconditions { uid: self.object.uid(), resource_version: None });
        match self.api.delete(&self.object.name_any(), &DeleteParams { preconditions, ..params }).await {
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
            deleted => Ok(deleted.map(drop)?),
        }
    }

    /// Returns what keeps it, while it is there.
    async fn left(&self) -> Result<Option<String>, Error> {
        let now = self.api.get_opt(&self.object.name_any()).await?;
        let same = now.filter(|now| now.uid() == self.object.uid());
        Ok(same.map(|now| format!("{}: {}", self.name, not_gone(&now))))
    }
}

/// Returns whether OLM would make it again.
fn is_of_olm(object: &DynamicObject) -> bool {
    object.owner_references().iter().any(|owner| owner.kind == OLM)
}

/// Returns the objects of a kind that one of the lists has.
async fn objects(
    client: &Client,
    kind: &ApiResource,
    lists: impl IntoIterator<Item = ListParams>,
) -> Result<Vec<Found>, Error> {
    let all: Api<DynamicObject> = Api::all_with(client.clone(), kind);
    let mut found = BTreeMap::new();
    for list in lists {
        for object in all.list(&list).await? {
            let (name, api) = match object.namespace() {
                Some(namespace) => (
                    format!("{} {namespace}/{}", kind.kind, object.name_any()),
                    Api::namespaced_with(client.clone(), &namespace, kind),
                ),
                None => (format!("{} {}", kind.kind, object.name_any()), all.clone()),
            };
            found.insert(name.clone(), Found { name, api, object });
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_that_olm_keeps_is_recognized() {
        let with = |kind: &str| {
            let owner = json!({"apiVersion": "a/v1", "kind": kind, "name": "vdo.v0.1.0", "uid": "1"});
            let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": DEPLOYMENT, "ownerReferences": [owner]}});
            is_of_olm(&serde_json::from_value(deployment).unwrap())
        };
        assert!(with(OLM) && !with("Other"));
    }
}
