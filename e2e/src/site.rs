//! One rig's part of a plane: a namespace, a client, the operator's credentials, and a directory.
//!
//! Owns everything that is the same for all operators; an operator's [`Rig`](crate::Rig) adds its outside systems.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
};
use serde_json::{Value, json};
use testbed::{AuditEvent, ControlPlane, Workdir, eventually};

use crate::install::{Installed, Kind, Plane, Scope, Subject};
use crate::objects::{self, Id, is_answered, ready};
use crate::operator::{Launch, OperatorProcess};

/// The time limit of a wait; on a busy machine most end in a fraction of it.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// One rig's part of a plane.
pub struct Site {
    subject: &'static Subject,
    plane: Arc<Plane>,
    namespace: String,
    client: kube::Client,
    installed: Installed,
    workdir: Workdir,
}

impl Site {
    /// Installs the operator if necessary and takes a namespace of the plane: a new one where the plane is shared, else
    /// `default`, without the objects that an earlier rig has left.
    ///
    /// # Errors
    /// If the operator cannot be installed.
    pub async fn new(subject: &'static Subject, plane: Arc<Plane>) -> Result<Self> {
        let installed = plane.install(subject).await?;
        // A client ends with the runtime that made it, and each test has its own.
        let client = testbed::client(plane.control_plane.kubeconfig()).await?;
        let namespace = plane.take_namespace();
        let workdir = Workdir::new(subject.name)?;
        let site = Self { subject, plane, namespace, client, installed, workdir };
        site.create_namespace(&site.namespace).await?;
        if !site.plane.is_shared() {
            for kind in subject.kinds {
                site.clear(kind).await?;
            }
        }
        Ok(site)
    }

    /// Deletes all objects of a kind, whatever finalizers they have.
    async fn clear(&self, kind: &Kind) -> Result<()> {
        let no_finalizers = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        let all: Api<DynamicObject> = Api::all_with(self.client(), &self.resource(kind.kind));
        eventually(&format!("no {} is left", kind.kind), PATIENCE, async || {
            let left = all.list(&ListParams::default()).await?.items;
            for object in &left {
                let api = self.api_in(object.metadata.namespace.as_deref(), kind.kind);
                // It may be gone by now; the next list shows it.
                let _ = api.delete(&object.name_any(), &DeleteParams::default()).await;
                let _ = api.patch(&object.name_any(), &PatchParams::default(), &no_finalizers).await;
            }
            Ok(left.is_empty().then_some(()))
        })
        .await
    }

    /// Returns the plane.
    #[must_use]
    pub fn plane(&self) -> &Arc<Plane> {
        &self.plane
    }

    /// Returns the servers.
    #[must_use]
    pub fn control_plane(&self) -> &ControlPlane {
        &self.plane.control_plane
    }

    /// Returns the servers, to stop and start them.
    ///
    /// # Errors
    /// If other rigs use the plane.
    pub fn control_plane_mut(&mut self) -> Result<&mut ControlPlane> {
        let plane = Arc::get_mut(&mut self.plane).context("the plane is shared: start the rig on its own")?;
        Arc::get_mut(&mut plane.control_plane).context("the control plane is in use")
    }

    /// Returns the rig's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns an administrator's client.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Returns what `kubectl apply` printed when the operator was installed.
    #[must_use]
    pub fn install_output(&self) -> &str {
        &self.installed.output
    }

    /// Returns the operator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.installed.kubeconfig
    }

    /// Returns the name of the operator's account, as in the audit log.
    #[must_use]
    pub fn account(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.subject.namespace, self.subject.name)
    }

    /// Returns how the operator is started, without an outside system: watching the rig's namespace if the plane is shared,
    /// else all.
    #[must_use]
    pub fn base_launch(&self) -> Launch {
        let crate_name = self.subject.name.replace('-', "_");
        let launch = Launch::default()
            .env("POD_NAMESPACE", self.subject.namespace)
            // As in the Deployment.
            .env("MALLOC_ARENA_MAX", "1")
            .env("RUST_LOG", format!("info,{crate_name}=debug,operator_kit=debug,infra_clients=debug"));
        if self.plane.is_shared() {
            return launch.env("WATCH_NAMESPACE", self.namespace.as_str());
        }
        launch
    }

    /// Starts the operator under its ServiceAccount. Its log continues that of the previous one.
    ///
    /// # Errors
    /// If the binary does not exist.
    pub fn spawn(&self, launch: &Launch) -> Result<OperatorProcess> {
        self.spawn_with(self.kubeconfig(), launch)
    }

    /// Starts the operator with another kubeconfig, such as one that points at a proxy.
    ///
    /// # Errors
    /// If the binary does not exist.
    pub fn spawn_with(&self, kubeconfig: &Path, launch: &Launch) -> Result<OperatorProcess> {
        OperatorProcess::start(self.subject.name, kubeconfig, self.log_path(), launch)
    }

    /// Returns the path of the operator's log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.workdir.path().join(format!("{}.log", self.subject.name))
    }

    /// Returns a directory for the scenario's own files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.workdir.path()
    }

    /// Runs `kubectl` as the administrator in the rig's namespace. Returns its stdout.
    ///
    /// # Errors
    /// If it fails; the error has its stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_stdin(args, "").await
    }

    /// Runs `kubectl` like [`kubectl`](Self::kubectl), with `input` on its stdin.
    ///
    /// # Errors
    /// If it fails; the error has its stderr.
    pub async fn kubectl_stdin(&self, args: &[&str], input: &str) -> Result<String> {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(args);
        self.control_plane().kubectl_stdin(&all, input).await
    }

    /// Creates a namespace unless it exists.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let manifest = Patch::Apply(objects::namespace(name));
        namespaces.patch(name, &PatchParams::apply("rig"), &manifest).await?;
        Ok(())
    }

    /// Returns the objects of one of the operator's kinds, in the rig's namespace if they are in namespaces.
    #[must_use]
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        self.api_in(None, kind)
    }

    /// Returns the objects of one of the operator's kinds, in a namespace (default: the rig's) if they are in namespaces.
    #[must_use]
    pub fn api_in(&self, namespace: Option<&str>, kind: &str) -> Api<DynamicObject> {
        let resource = self.resource(kind);
        match self.subject.kind(kind).map(|kind| kind.scope) {
            Some(Scope::Cluster) => Api::all_with(self.client(), &resource),
            _ => Api::namespaced_with(self.client(), namespace.unwrap_or(&self.namespace), &resource),
        }
    }

    fn resource(&self, kind: &str) -> ApiResource {
        let known = self.subject.kind(kind);
        let version = known.or(self.subject.kinds.first()).map_or("v1", |kind| kind.version);
        let gvk = GroupVersionKind::gvk(self.subject.group, version, kind);
        known.map_or_else(
            || ApiResource::from_gvk(&gvk),
            |known| ApiResource::from_gvk_with_plural(&gvk, known.plural),
        )
    }

    /// Applies an object of one of the operator's kinds.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn apply(&self, namespace: Option<&str>, manifest: &Value) -> Result<()> {
        let text = |value: &Value| value.as_str().map(str::to_owned).context("the manifest is incomplete");
        let (kind, name) = (text(&manifest["kind"])?, text(&manifest["metadata"]["name"])?);
        let params = PatchParams::apply("rig").force();
        self.api_in(namespace, &kind).patch(&name, &params, &Patch::Apply(manifest)).await?;
        Ok(())
    }

    /// Deletes an object of the operator's first kind. Does not wait for its end.
    ///
    /// # Errors
    /// If the API server refuses.
    pub async fn delete<'a>(&self, id: impl Into<Id<'a>>) -> Result<()> {
        let id = id.into();
        self.api_in(id.namespace, self.kind()).delete(id.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Returns the status of an object of the operator's first kind; an empty object where there is none.
    ///
    /// # Errors
    /// If the object does not exist.
    pub async fn status<'a>(&self, id: impl Into<Id<'a>>) -> Result<Value> {
        let id = id.into();
        let object = self.api_in(id.namespace, self.kind()).get(id.name).await?;
        Ok(object.data.get("status").cloned().unwrap_or_else(|| json!({})))
    }

    /// Waits until an object of the operator's first kind is Ready by a status that answers its present spec, and `is_so`
    /// holds for the status.
    ///
    /// # Errors
    /// If that takes longer than `patience`; the error has the status.
    pub async fn ready_within<'a>(
        &self,
        id: impl Into<Id<'a>>,
        patience: Duration,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let id = id.into();
        let api = self.api_in(id.namespace, self.kind());
        eventually(&format!("{} is ready", id.name), patience, async || {
            let object = api.get(id.name).await?;
            let status = object.data.get("status").cloned().unwrap_or_default();
            let is_ready = ready(&status).is_some_and(|(status, _)| status == "True");
            let answered = is_answered(&status, object.metadata.generation);
            ensure!(answered && is_ready && is_so(&status), "its status is {status}");
            Ok(Some(status))
        })
        .await
    }

    /// Waits until the Ready condition of an object of the operator's first kind has this reason.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`]; the error has the status.
    pub async fn reason<'a>(&self, id: impl Into<Id<'a>>, reason: &str) -> Result<Value> {
        let id = id.into();
        eventually(&format!("{} says {reason}", id.name), PATIENCE, async || {
            let status = self.status(id).await?;
            ensure!(ready(&status).is_some_and(|(_, r)| r == reason), "its status is {status}");
            Ok(Some(status))
        })
        .await
    }

    /// Waits until the events of the namespace contain this text: a reason, or a part of a note. The operator publishes them
    /// after the status.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`]; the error has the events.
    pub async fn event(&self, text: &str) -> Result<String> {
        eventually(&format!("an event says {text}"), PATIENCE, async || {
            let events = self.kubectl(&["get", "events"]).await?;
            ensure!(events.contains(text), "the events are {events}");
            Ok(Some(events))
        })
        .await
    }

    /// Waits until an object of the operator's first kind does not exist.
    ///
    /// # Errors
    /// If that takes longer than [`PATIENCE`]; the error has the status.
    pub async fn gone<'a>(&self, id: impl Into<Id<'a>>) -> Result<()> {
        let id = id.into();
        let api = self.api_in(id.namespace, self.kind());
        eventually(&format!("{} is gone", id.name), PATIENCE, async || {
            let found = api.get_opt(id.name).await?;
            ensure!(
                found.is_none(),
                "its status is {}",
                found.map(|found| found.data["status"].to_string()).unwrap_or_default()
            );
            Ok(Some(()))
        })
        .await
    }

    /// Deletes an object of the operator's first kind, and waits until it does not exist.
    ///
    /// # Errors
    /// Those of [`delete`](Self::delete) and [`gone`](Self::gone).
    pub async fn remove<'a>(&self, id: impl Into<Id<'a>>) -> Result<()> {
        let id = id.into();
        self.delete(id).await?;
        self.gone(id).await
    }

    /// Returns the operator's requests to the API server so far: where the plane is shared, those about objects in the
    /// rig's namespace, else those of all rigs that have had the plane.
    ///
    /// # Errors
    /// If the plane has no audit log.
    pub fn requests(&self) -> Result<Vec<AuditEvent>> {
        let account = self.account();
        let namespace = self.plane.is_shared().then_some(self.namespace.as_str());
        let mut events = self.control_plane().audit_events_in(namespace)?;
        events.retain(|event| event.user == account);
        Ok(events)
    }

    /// Returns the operator's first kind.
    fn kind(&self) -> &'static str {
        self.subject.kinds.first().map_or("", |kind| kind.kind)
    }
}
