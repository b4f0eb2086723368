//! The provider: controllers for the testbed's kinds, as tasks of this process.
//!
//! Each reconciles one object: a pure function `plan` chooses the next step, the controller carries it out, and the change
//! triggers the next reconcile. Owns the finalizers of its kinds. Never deletes a Cluster or a Node, which is the task of
//! Cluster API.

mod bootstrap;
mod cluster;
mod control_plane;
mod machine;

use std::fmt::Debug;
use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::sites::Sites;
use crate::controllers::{RETRY, all, run};

/// The finalizer on every object of the testbed's kinds.
const FINALIZER: &str = "testbed.infra-operators.dev/provider";
/// The label on everything that belongs to a cluster.
pub(super) const CLUSTER_LABEL: &str = "cluster.x-k8s.io/cluster-name";
/// The label on control-plane Machines and the objects that belong to them.
pub(super) const CONTROL_PLANE_LABEL: &str = "cluster.x-k8s.io/control-plane";

/// The running controllers. Dropping it stops them.
pub(super) struct Provider {
    _tasks: JoinSet<()>,
}

/// The context of every reconcile.
struct Context {
    client: Client,
    sites: Sites,
}

impl Provider {
    /// Starts the controllers.
    pub(super) fn start(client: &Client, sites: &Sites) -> Self {
        let context = Arc::new(Context { client: client.clone(), sites: sites.clone() });
        let mut tasks = JoinSet::new();
        tasks.spawn(run(all(client), bootstrap::reconcile, context.clone()));
        tasks.spawn(run(all(client), cluster::reconcile, context.clone()));
        tasks.spawn(run(all(client), machine::reconcile, context.clone()));
        let planes = all(client);
        tasks.spawn(run(control_plane::watch_machines(planes, client), control_plane::reconcile, context));
        Self { _tasks: tasks }
    }
}

impl Context {
    /// Returns the API of a kind in the namespace of `object`.
    fn api<K>(&self, object: &impl ResourceExt) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// Adds or removes the finalizer, keeps all others, and merges `spec`.
    async fn patch<K>(&self, object: &K, held: bool, spec: Value) -> kube::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.retain(|name| name != FINALIZER);
        if held {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = json!({
            "metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()},
            "spec": spec,
        });
        let name = object.name_any();
        self.api::<K>(object).patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Merges the status.
    async fn patch_status<K>(&self, object: &K, status: Value) -> kube::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>(object).patch_status(&object.name_any(), &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// Returns whether the object is being deleted.
fn is_deleting(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Returns whether the object has the finalizer.
fn is_held(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|name| name == FINALIZER)
}

/// Returns namespace and name of the object's cluster; `None` until Cluster API has set the label.
fn cluster_of(object: &impl ResourceExt) -> Option<(String, String)> {
    let cluster = object.labels().get(CLUSTER_LABEL)?;
    Some((object.namespace()?, cluster.clone()))
}
