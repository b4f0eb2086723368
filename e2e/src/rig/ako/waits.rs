//! What tests of the rig wait for. All is read by one client: a kubectl for each look would take most of the processor time.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use testbed::{VirtualCluster, Workload, eventually};

use super::{AkoRig, Guest};
use crate::objects::condition;
use crate::site::PATIENCE;

impl AkoRig {
    /// Waits until a Service in a workload cluster has an address.
    ///
    /// # Errors
    /// If it has none, in time.
    pub async fn balance(&self, guest: &Guest) -> Result<()> {
        let services = &guest.services;
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": services},
            "spec": {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}});
        let apply = ["apply", "--server-side", "-f", "-"];
        self.site.control_plane().kubectl_stdin(&apply, &service.to_string()).await?;
        let api: Api<Service> = Api::namespaced(self.site.client(), services);
        eventually("the Service has an address", PATIENCE, async || {
            let balancer = api.get("web").await?.status.and_then(|status| status.load_balancer);
            let ingress = balancer.and_then(|balancer| balancer.ingress?.into_iter().next());
            let address = ingress.and_then(|ingress| ingress.ip).unwrap_or_default();
            ensure!(address.starts_with("10.92.0."), "{address:?}: {:?}", guest.ako.trouble());
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a condition of a Cluster has this status.
    ///
    /// # Errors
    /// If it does not, in time.
    pub async fn condition(&self, cluster: &str, type_: &str, status: &str) -> Result<()> {
        self.condition_is(cluster, type_, |condition| condition["status"] == status).await
    }

    /// Waits until a condition of a Cluster fits.
    ///
    /// # Errors
    /// If it does not, in time; the error has the condition.
    pub async fn condition_is(
        &self,
        cluster: &str,
        type_: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let gvk = GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", "Cluster");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.site.client(), "default", &ApiResource::from_gvk(&gvk));
        eventually(&format!("{type_} of {cluster} is as it is to be"), PATIENCE, async || {
            let found = api.get(cluster).await?;
            let condition = condition(&found.data["status"], type_).cloned().unwrap_or_default();
            ensure!(fits(&condition), "it is {condition}");
            Ok(Some(()))
        })
        .await
    }

    /// Asks for another password of the Cluster's user on AVI, and waits until AKO has it.
    ///
    /// # Errors
    /// If AKO does not get it, in time.
    pub async fn rotate(&self, workload: &Workload<VirtualCluster>, value: &str) -> Result<()> {
        let (name, secret) = (workload.name(), format!("{}-avi-credentials", workload.name()));
        let annotation = format!("{}={value}", Self::ROTATE);
        self.management.kubectl(&["annotate", "cluster", name, &annotation]).await?;
        let system = workload.plane().real_name("avi-system");
        let secrets = |namespace: &str| Api::<Secret>::namespaced(self.site.client(), namespace);
        let (own, delivered) = (secrets("default"), secrets(&system));
        eventually("AKO has another password", PATIENCE, async || {
            let has = own.get(&secret).await?;
            let is_served = has.annotations().get(Self::ROTATE).is_some_and(|served| served == value);
            let (data, given) = (has.data.unwrap_or_default(), delivered.get("avi-secret").await?.data);
            ensure!(is_served && !data.contains_key("nextPassword"), "it is not done");
            let given = given.unwrap_or_default();
            let is_same = |key: &str| data.contains_key(key) && data.get(key) == given.get(key);
            ensure!(is_same("password") && is_same("username"), "AKO has another");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until Kubernetes has collected an object.
    ///
    /// # Errors
    /// If it does not, in time.
    pub async fn gone(&self, object: &str) -> Result<()> {
        eventually(&format!("{object} is gone"), PATIENCE, async || {
            let left = self.management.kubectl(&["get", object, "--ignore-not-found", "-o", "name"]).await?;
            Ok(left.is_empty().then_some(()))
        })
        .await
    }
}
