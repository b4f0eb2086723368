//! The provider: controllers for our kinds, as tasks of this process.
//!
//! Each looks at one object, has a pure `plan` say what is missing, does that, and is woken by what it has
//! done. Owns the finalizers of its kinds; a Machine, a Cluster or a Node is Cluster API's to delete.

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

/// Ours on every object of our kinds.
const FINALIZER: &str = "testbed.infra-operators.dev/provider";
/// On everything that belongs to a cluster.
pub(super) const CLUSTER_LABEL: &str = "cluster.x-k8s.io/cluster-name";
/// On control-plane Machines and what belongs to them.
pub(super) const CONTROL_PLANE_LABEL: &str = "cluster.x-k8s.io/control-plane";

/// The running controllers. Dropped = ended.
pub(super) struct Provider {
    _tasks: JoinSet<()>,
}

/// What every reconcile is given.
struct Context {
    client: Client,
    sites: Sites,
}

impl Provider {
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
    /// The objects of a kind beside `object`.
    fn api<K>(&self, object: &impl ResourceExt) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// Adds our finalizer, or takes it away, leaving others' alone; `spec` is written with it.
    async fn patch<K>(&self, object: &K, ours: bool, spec: Value) -> kube::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.retain(|name| name != FINALIZER);
        if ours {
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

    async fn patch_status<K>(&self, object: &K, status: Value) -> kube::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        let patch = Patch::Merge(json!({"status": status}));
        self.api::<K>(object).patch_status(&object.name_any(), &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// Whether the object is on its way out.
fn is_deleting(object: &impl Resource) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether our finalizer is on it.
fn is_held(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|name| name == FINALIZER)
}

/// The cluster an object belongs to, once Cluster API has said so: namespace and name.
fn cluster_of(object: &impl ResourceExt) -> Option<(String, String)> {
    let cluster = object.labels().get(CLUSTER_LABEL)?;
    Some((object.namespace()?, cluster.clone()))
}
