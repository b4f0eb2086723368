//! A workload cluster: another real control plane, and its Cluster and Machines in the management cluster.

mod rollout;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::api::Endpoint;
use super::provider::CLUSTER_LABEL;
use super::sites::{ClusterKey, Site, Sites};
use super::{FIELD_MANAGER, Management, core_resource, machines, objects};
use crate::nodes::Nodes;
use crate::{ControlPlane, ControlPlaneBuilder, VirtualCluster, eventually};

/// The time limit until the Cluster is Available, which takes 20 s on an idle machine.
const AVAILABLE: Duration = Duration::from_mins(10);

/// The settings of a workload cluster.
#[must_use]
pub struct WorkloadBuilder<'a> {
    management: &'a Management,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) control_plane: u32,
    pub(super) workers: u32,
    pub(super) pods: Vec<String>,
    pub(super) services: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) variables: Vec<Variable>,
    endpoint: bool,
    plane: ControlPlaneBuilder,
}

/// A variable of the ClusterClass: its name, the type in its schema, and the value that the Cluster sets.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) value: Option<Value>,
}

/// A running workload cluster, with a control plane of its own or a share of one ([`VirtualCluster`]). Dropping it stops its control plane;
/// the Cluster object is not deleted.
pub struct Workload<P = ControlPlane> {
    name: String,
    namespace: String,
    management: Client,
    sites: Sites,
    site: Arc<Site>,
    plane: P,
}

/// A control plane for virtual workload clusters, with the Nodes of all of them.
pub struct VirtualHost {
    plane: Arc<ControlPlane>,
    nodes: Arc<Nodes>,
}

impl VirtualHost {
    /// Starts the Nodes. The control plane has [all controllers](ControlPlaneBuilder::all_controllers) if StatefulSets are to have Pods.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub async fn start(plane: Arc<ControlPlane>) -> Result<Self> {
        let nodes = Arc::new(Nodes::start(crate::client(plane.kubeconfig()).await?).await?);
        Ok(Self { plane, nodes })
    }
}

impl<P> fmt::Debug for Workload<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl<P> Drop for Workload<P> {
    fn drop(&mut self) {
        self.sites.remove(&self.key());
    }
}

impl<'a> WorkloadBuilder<'a> {
    pub(super) fn new(management: &'a Management, name: &str) -> Self {
        Self {
            management,
            name: name.to_owned(),
            namespace: "default".to_owned(),
            control_plane: 1,
            workers: 1,
            pods: vec!["192.168.0.0/16".to_owned()],
            services: vec!["10.96.0.0/16".to_owned()],
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            variables: Vec::new(),
            endpoint: true,
            plane: ControlPlane::builder().all_controllers(true),
        }
    }

    /// Sets the namespace of the Cluster, which is created if it does not exist. Default: `default`.
    pub fn namespace(mut self, name: &str) -> Self {
        name.clone_into(&mut self.namespace);
        self
    }

    /// Sets the number of control-plane Machines. Default: 1.
    pub fn control_plane_machines(mut self, count: u32) -> Self {
        self.control_plane = count;
        self
    }

    /// Sets the number of workers, the Machines of the MachineDeployment `<cluster>-md-0`. With 0 there is no
    /// MachineDeployment. Default: 1.
    pub fn workers(mut self, count: u32) -> Self {
        self.workers = count;
        self
    }

    /// Sets `spec.clusterNetwork.pods.cidrBlocks`. Default: `192.168.0.0/16`. The addresses of Pods do not depend on it.
    pub fn pod_cidrs(mut self, cidrs: &[&str]) -> Self {
        self.pods = cidrs.iter().map(|&cidr| cidr.to_owned()).collect();
        self
    }

    /// Sets `spec.clusterNetwork.services.cidrBlocks`. Default: `10.96.0.0/16`. The API server always assigns addresses of
    /// that default range.
    pub fn service_cidrs(mut self, cidrs: &[&str]) -> Self {
        self.services = cidrs.iter().map(|&cidr| cidr.to_owned()).collect();
        self
    }

    /// Adds a label to the Cluster.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds an annotation to the Cluster.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds a topology variable with a value. A Cluster with variables is created from a ClusterClass of the same name, which
    /// declares them; the topology controller then creates its control plane and workers.
    pub fn variable(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let kind = match &value {
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::String(_) | Value::Null => "string",
        };
        self.variables.push(Variable { name: name.to_owned(), kind, value: Some(value) });
        self
    }

    /// Adds a topology variable that the ClusterClass declares and the Cluster does not set, so that a client can set it.
    /// `kind` is `string`, `integer`, `number`, `boolean`, `array` or `object`.
    pub fn unset_variable(mut self, name: &str, kind: &'static str) -> Self {
        self.variables.push(Variable { name: name.to_owned(), kind, value: None });
        self
    }

    /// Sets whether the provider writes the address of the API server, which Cluster API copies to
    /// `spec.controlPlaneEndpoint`; otherwise another client must write it. Default: true.
    pub fn endpoint(mut self, on: bool) -> Self {
        self.endpoint = on;
        self
    }

    /// Sets the control plane of the workload cluster. Default: one with all controllers, so that Deployments roll out.
    pub fn plane(mut self, builder: ControlPlaneBuilder) -> Self {
        self.plane = builder;
        self
    }

    /// Starts the workload cluster. The Cluster is Available and its Machines are Running when this returns.
    ///
    /// # Errors
    /// If a server does not start, or the Cluster does not become Available; the error has its conditions.
    pub async fn start(self) -> Result<Workload> {
        let plane = self.plane.clone().start().await?;
        let parts = Parts::of(&plane).await?;
        self.register(plane, parts).await
    }

    /// Starts the workload cluster with a control plane that runs, instead of one with the settings of the builder. The Cluster is
    /// Available and its Machines are Running when this returns.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_on(self, plane: Arc<ControlPlane>) -> Result<Workload<Arc<ControlPlane>>> {
        let parts = Parts::of(&plane).await?;
        self.register(plane, parts).await
    }

    /// Starts a virtual workload cluster in a control plane that it shares with others: objects and namespaces with one of `names` are
    /// its own. The Cluster is Available and its Machines are Running when this returns.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_in(
        self,
        host: &VirtualHost,
        names: &[&'static str],
    ) -> Result<Workload<VirtualCluster>> {
        let cluster = VirtualCluster::start(&host.plane, &self.name, names).await?;
        let parts = Parts {
            url: cluster.url().to_owned(),
            kubeconfig: cluster.embedded_kubeconfig()?,
            nodes: Arc::clone(&host.nodes),
            version: cluster.client().await?.apiserver_version().await?.git_version,
        };
        self.register(cluster, parts).await
    }

    /// Creates the Cluster and waits until it is Available.
    async fn register<P>(self, plane: P, parts: Parts) -> Result<Workload<P>> {
        let Parts { url, kubeconfig, nodes, version } = parts;
        let port = url.rsplit_once(':').context("a URL with a port")?.1.parse()?;
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port };
        let sites = self.management.sites.clone();
        let site = sites.insert(
            (self.namespace.clone(), self.name.clone()),
            Site::new(self.endpoint.then_some(endpoint), nodes),
        );
        let workload = Workload {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            management: self.management.client(),
            sites,
            site,
            plane,
        };
        workload
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}))
            .await?;
        // Before the Cluster, because controllers that find no Secret retry only after a long delay.
        workload.write_kubeconfig(kubeconfig).await?;
        for object in objects::objects_of(&self, &version) {
            workload.apply(object).await?;
        }
        workload.await_available(self.control_plane + self.workers).await?;
        Ok(workload)
    }
}

/// What Cluster API and its provider are to know of a control plane.
struct Parts {
    url: String,
    kubeconfig: String,
    nodes: Arc<Nodes>,
    version: String,
}

impl Parts {
    async fn of(plane: &ControlPlane) -> Result<Self> {
        Ok(Self {
            url: plane.url().to_owned(),
            kubeconfig: plane.embedded_kubeconfig()?,
            nodes: Arc::new(Nodes::start(plane.client()).await?),
            version: plane.client().apiserver_version().await?.git_version,
        })
    }
}

impl Workload {
    /// Returns the control plane of the workload cluster, to stop it ([`ControlPlane::stop_apiserver`]: connections are
    /// refused), to suspend it ([`ControlPlane::suspend_apiserver`]: no responses), and to start or resume it.
    #[must_use]
    pub fn plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// Writes new credentials to the Secret of the kubeconfig and revokes the old ones: see
    /// [`ControlPlane::rotate_embedded_kubeconfig`].
    ///
    /// # Errors
    /// If one of the two API servers does not respond.
    pub async fn rotate_kubeconfig(&self) -> Result<()> {
        self.write_kubeconfig(self.plane.rotate_embedded_kubeconfig().await?).await
    }
}

impl<P> Workload<P> {
    /// Returns the Cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the Cluster's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the control plane of the workload cluster, or the share of one.
    #[must_use]
    pub fn plane(&self) -> &P {
        &self.plane
    }

    /// Returns the name of the Secret with the kubeconfig, whose key is `value`.
    #[must_use]
    pub fn kubeconfig_secret(&self) -> String {
        format!("{}-kubeconfig", self.name)
    }

    /// Returns the Nodes of the workload cluster.
    #[must_use]
    pub fn nodes(&self) -> &Nodes {
        &self.site.nodes
    }

    /// Deletes the Cluster without waiting; [`Workload::deleted`] waits until it is gone.
    ///
    /// # Errors
    /// If the Cluster does not exist.
    pub async fn delete(&self) -> Result<()> {
        self.api(&core_resource("Cluster")).delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until the Cluster is gone.
    ///
    /// # Errors
    /// If it still exists after `deadline`; the error has its conditions.
    pub async fn deleted(&self, deadline: Duration) -> Result<()> {
        let clusters = self.api(&core_resource("Cluster"));
        eventually("the Cluster is gone", deadline, async || match clusters.get_opt(&self.name).await? {
            None => Ok(Some(())),
            Some(cluster) => Err(anyhow::anyhow!("{}", conditions(&cluster))),
        })
        .await
    }

    fn key(&self) -> ClusterKey {
        (self.namespace.clone(), self.name.clone())
    }

    fn api(&self, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.management.clone(), &self.namespace, resource)
    }

    fn of_cluster(&self) -> ListParams {
        ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", self.name))
    }

    async fn write_kubeconfig(&self, kubeconfig: String) -> Result<()> {
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.kubeconfig_secret(),
                "namespace": self.namespace,
                "labels": {CLUSTER_LABEL: self.name},
            },
            "type": "cluster.x-k8s.io/secret",
            "stringData": {"value": kubeconfig},
        }))
        .await
    }

    /// Applies an object to the management cluster.
    async fn apply(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("the object has no kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.management.clone(), namespace, &resource),
            None => Api::all_with(self.management.clone(), &resource),
        };
        let name = object.metadata.name.clone().unwrap_or_default();
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
        applied.with_context(|| format!("cannot apply {} {name}", types.kind))?;
        Ok(())
    }

    /// Waits until the Cluster is Available and `expected` Machines are Running.
    async fn await_available(&self, expected: u32) -> Result<()> {
        let clusters = self.api(&core_resource("Cluster"));
        let api = self.api(&machines());
        eventually("the Cluster is Available", AVAILABLE, async || {
            let cluster = clusters.get(&self.name).await?;
            ensure!(is_true(&cluster, "Available"), "{}", conditions(&cluster));
            let machines = api.list(&self.of_cluster()).await?.items;
            let running = machines.iter().filter(|machine| machine.data["status"]["phase"] == "Running");
            let running = running.count();
            ensure!(running >= usize::try_from(expected)?, "{running} of {expected} Machines are Running");
            Ok(Some(()))
        })
        .await
    }
}

fn is_true(object: &DynamicObject, condition: &str) -> bool {
    let all = object.data["status"]["conditions"].as_array();
    all.into_iter().flatten().any(|is| is["type"] == condition && is["status"] == "True")
}

/// Formats the conditions of an object for an error.
fn conditions(object: &DynamicObject) -> String {
    let all = object.data["status"]["conditions"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = all.map(|is| {
        format!(
            "{}={} {} {}",
            text(&is["type"]),
            text(&is["status"]),
            text(&is["reason"]),
            text(&is["message"])
        )
    });
    all.collect::<Vec<_>>().join("; ")
}
