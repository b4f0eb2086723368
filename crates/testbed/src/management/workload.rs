//! A workload cluster: a second real control plane, and the Cluster with its Machines that stands for it in
//! the management cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::api::Endpoint;
use super::provider::CLUSTER_LABEL;
use super::sites::{ClusterKey, Site, Sites};
use super::{Management, core_resource, machines};
use crate::nodes::Nodes;
use crate::{ControlPlane, ControlPlaneBuilder, eventually};

/// Twenty seconds on an idle machine.
const AVAILABLE: Duration = Duration::from_mins(3);
/// Of what is written here.
const FIELD_MANAGER: &str = "testbed";

/// What may differ from the default workload cluster.
#[must_use]
pub struct WorkloadBuilder<'a> {
    management: &'a Management,
    name: String,
    namespace: String,
    control_plane: u32,
    workers: u32,
    pods: Vec<String>,
    services: Vec<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    plane: ControlPlaneBuilder,
}

/// A running workload cluster. Dropped = its control plane is gone; the Cluster object is not deleted.
pub struct Workload {
    name: String,
    namespace: String,
    management: Client,
    sites: Sites,
    plane: ControlPlane,
}

impl fmt::Debug for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workload")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("plane", &self.plane)
            .finish_non_exhaustive()
    }
}

impl Drop for Workload {
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
            plane: ControlPlane::builder(),
        }
    }

    /// The namespace of the Cluster; made if it is not there. Default: `default`.
    pub fn namespace(mut self, name: &str) -> Self {
        name.clone_into(&mut self.namespace);
        self
    }

    /// Control-plane Machines. Default: 1.
    pub fn control_plane_machines(mut self, count: u32) -> Self {
        self.control_plane = count;
        self
    }

    /// Workers, Machines of the MachineDeployment `<cluster>-md-0`. Default: 1. There is none for 0.
    pub fn workers(mut self, count: u32) -> Self {
        self.workers = count;
        self
    }

    /// `spec.clusterNetwork.pods.cidrBlocks`. Default: `192.168.0.0/16`. Nothing has such an address.
    pub fn pod_cidrs(mut self, cidrs: &[&str]) -> Self {
        self.pods = cidrs.iter().map(|&cidr| cidr.to_owned()).collect();
        self
    }

    /// `spec.clusterNetwork.services.cidrBlocks`. Default: `10.96.0.0/16`, which is also what the API server
    /// gives out whatever is said here.
    pub fn service_cidrs(mut self, cidrs: &[&str]) -> Self {
        self.services = cidrs.iter().map(|&cidr| cidr.to_owned()).collect();
        self
    }

    /// A label of the Cluster.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// An annotation of the Cluster.
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The workload's control plane, where it differs from the default.
    pub fn plane(mut self, builder: ControlPlaneBuilder) -> Self {
        self.plane = builder;
        self
    }

    /// Starts it; the Cluster is Available and its Machines are Running when this returns.
    ///
    /// # Errors
    /// If a server does not start, or the Cluster does not become Available; the error says what it lacked.
    pub async fn start(self) -> Result<Workload> {
        let plane = self.plane.clone().start().await?;
        let version = plane.client().apiserver_version().await?.git_version;
        let address = plane.url().rsplit_once(':').context("a URL with a port")?.1.parse()?;
        let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: address };
        let workload = Workload {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            management: self.management.client(),
            sites: self.management.sites.clone(),
            plane,
        };
        let site = Site::new(endpoint, Nodes::start(workload.plane.client()).await?);
        workload.sites.insert(workload.key(), site);
        let manifests = self.manifests(&version);
        workload
            .apply(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}))
            .await?;
        // Before the Cluster: whoever finds a Cluster without it waits long until it looks again.
        workload.write_kubeconfig().await?;
        for object in manifests {
            workload.apply(object).await?;
        }
        workload.available(self.control_plane + self.workers).await?;
        Ok(workload)
    }

    fn manifests(&self, version: &str) -> Vec<Value> {
        let Self { name, namespace, .. } = self;
        let metadata = json!({"name": name, "namespace": namespace});
        let infrastructure = json!({
            "apiVersion": "infrastructure.cluster.x-k8s.io/v1",
            "kind": "TestbedCluster",
            "metadata": metadata,
            "spec": {},
        });
        let control_plane = json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1",
            "kind": "TestbedControlPlane",
            "metadata": metadata,
            "spec": {"replicas": self.control_plane, "version": version},
        });
        let cluster = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "labels": self.labels,
                "annotations": self.annotations,
            },
            "spec": {
                "clusterNetwork": {
                    "pods": {"cidrBlocks": self.pods},
                    "services": {"cidrBlocks": self.services},
                },
                "infrastructureRef": reference("infrastructure", "TestbedCluster", name),
                "controlPlaneRef": reference("controlplane", "TestbedControlPlane", name),
            },
        });
        let mut all = vec![infrastructure, control_plane, cluster];
        if self.workers > 0 {
            let deployment = format!("{name}-md-0");
            all.push(json!({
                "apiVersion": "infrastructure.cluster.x-k8s.io/v1",
                "kind": "TestbedMachineTemplate",
                "metadata": {"name": deployment, "namespace": namespace},
                "spec": {"template": {"spec": {}}},
            }));
            all.push(json!({
                "apiVersion": "cluster.x-k8s.io/v1beta2",
                "kind": "MachineDeployment",
                "metadata": {"name": deployment, "namespace": namespace, "labels": {CLUSTER_LABEL: name}},
                "spec": {
                    "clusterName": name,
                    "replicas": self.workers,
                    "selector": {"matchLabels": {CLUSTER_LABEL: name}},
                    "template": {
                        "metadata": {"labels": {CLUSTER_LABEL: name}},
                        "spec": {
                            "clusterName": name,
                            "version": version,
                            "bootstrap": {"dataSecretName": format!("{deployment}-bootstrap")},
                            "infrastructureRef": reference("infrastructure", "TestbedMachineTemplate", &deployment),
                        },
                    },
                },
            }));
        }
        all
    }
}

/// How one object of Cluster API's names another.
fn reference(group: &str, kind: &str, name: &str) -> Value {
    json!({"apiGroup": format!("{group}.cluster.x-k8s.io"), "kind": kind, "name": name})
}

impl Workload {
    /// The Cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Cluster's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The workload cluster itself.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// The workload cluster itself, to be stopped ([`ControlPlane::stop_apiserver`]: connections refused), cut
    /// off ([`ControlPlane::suspend_apiserver`]: no answers), and brought back.
    #[must_use]
    pub fn plane_mut(&mut self) -> &mut ControlPlane {
        &mut self.plane
    }

    /// The name of the Secret with the kubeconfig, under the key `value`.
    #[must_use]
    pub fn kubeconfig_secret(&self) -> String {
        format!("{}-kubeconfig", self.name)
    }

    /// Begins the deletion of the Cluster; [`Workload::deleted`] waits for its end.
    ///
    /// # Errors
    /// If there is none.
    pub async fn delete(&self) -> Result<()> {
        self.api(&core_resource("Cluster")).delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until the Cluster is gone.
    ///
    /// # Errors
    /// If it is still there after `deadline`; the error says what holds it.
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

    async fn write_kubeconfig(&self) -> Result<()> {
        self.apply(json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": self.kubeconfig_secret(),
                "namespace": self.namespace,
                "labels": {CLUSTER_LABEL: self.name},
            },
            "type": "cluster.x-k8s.io/secret",
            "stringData": {"value": self.plane.embedded_kubeconfig()?},
        }))
        .await
    }

    /// Applies an object to the management cluster.
    async fn apply(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("an object without a kind")?;
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

    async fn available(&self, expected: u32) -> Result<()> {
        let clusters = self.api(&core_resource("Cluster"));
        let api = self.api(&machines());
        let of_cluster = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", self.name));
        eventually("the Cluster is Available", AVAILABLE, async || {
            let cluster = clusters.get(&self.name).await?;
            ensure!(is_true(&cluster, "Available"), "{}", conditions(&cluster));
            let machines = api.list(&of_cluster).await?.items;
            let running = machines.iter().filter(|machine| machine.data["status"]["phase"] == "Running");
            let running = running.count();
            ensure!(running >= usize::try_from(expected)?, "{running} of {expected} Machines run");
            Ok(Some(()))
        })
        .await
    }
}

fn is_true(object: &DynamicObject, condition: &str) -> bool {
    let all = object.data["status"]["conditions"].as_array();
    all.into_iter().flatten().any(|is| is["type"] == condition && is["status"] == "True")
}

/// What an object says of itself that is not as it should be.
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
