//! A stand-in for TKG's add-on managers and for kapp-controller: hands the data values of an add-on Secret on to the workload cluster, and has
//! there the objects of AKO that the stand-in for AKO reads.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::stream::{BoxStream, select_all};
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

const RETRY: Duration = Duration::from_millis(200);
const SYSTEM: &str = "tkg-system";
const KAPP: &str = "kapp.k14s.io/app";
const VALUES: &str = "values.yaml";
/// What TKG's package adds of its own: a key that the operator does not know.
const OWN: &str = "imageInfo: {}\n";

/// A running add-on manager of one Cluster. Dropping it stops it.
pub(crate) struct AddonManager {
    _task: JoinSet<()>,
}

struct Worker {
    management: Client,
    workload: Client,
    cluster: String,
    has_topology: bool,
}

impl AddonManager {
    pub(crate) fn start(management: Client, workload: Client, cluster: &str, has_topology: bool) -> Self {
        let worker = Worker { management, workload, cluster: cluster.to_owned(), has_topology };
        let mut task = JoinSet::new();
        task.spawn(worker.run());
        Self { _task: task }
    }
}

impl Worker {
    async fn run(self) {
        let bootstraps: Api<DynamicObject> =
            Api::namespaced_with(self.management.clone(), "default", &bootstrap());
        let mut changes = select_all([
            changes::<Secret>(Api::namespaced(self.management.clone(), "default")),
            changes::<Secret>(Api::namespaced(self.workload.clone(), SYSTEM)),
            changes::<StatefulSet>(Api::namespaced(self.workload.clone(), "avi-system")),
            watcher(bootstraps, watcher::Config::default()).default_backoff().map(drop).boxed(),
        ]);
        loop {
            let again = if self.pass().await.is_ok() { Duration::from_mins(10) } else { RETRY };
            let _ = tokio::time::timeout(again, changes.next()).await;
            while changes.next().now_or_never().flatten().is_some() {}
        }
    }

    async fn pass(&self) -> Result<()> {
        let name = format!("{}-load-balancer-and-ingress-service-addon", self.cluster);
        let addons: Api<Secret> = Api::namespaced(self.management.clone(), "default");
        let addon = addons.get_opt(&name).await?;
        if self.has_topology && (addon.is_none() || !self.is_listed(&name).await?) {
            // A package is not removed.
            return Ok(());
        }
        match addon {
            Some(addon) => {
                let values = text(&addon)?;
                self.hand_on(&format!("{values}{OWN}")).await?;
                self.install().await
            }
            None => self.remove().await,
        }
    }

    async fn is_listed(&self, secret: &str) -> Result<bool> {
        let bootstraps: Api<DynamicObject> =
            Api::namespaced_with(self.management.clone(), "default", &bootstrap());
        let bootstrap = bootstraps.get_opt(&self.cluster).await?;
        let packages = bootstrap.and_then(|it| it.data["spec"]["additionalPackages"].as_array().cloned());
        Ok(packages.into_iter().flatten().any(|package| package["valuesFrom"]["secretRef"] == secret))
    }

    fn data_values(&self) -> (Api<Secret>, String) {
        let prefix = if self.has_topology { format!("{}-", self.cluster) } else { String::new() };
        let name = format!("{prefix}load-balancer-and-ingress-service-data-values");
        (Api::namespaced(self.workload.clone(), SYSTEM), name)
    }

    /// Writes the data values into the workload cluster, whatever is there.
    async fn hand_on(&self, values: &str) -> Result<()> {
        self.apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SYSTEM } }))
            .await?;
        let (secrets, name) = self.data_values();
        let present = secrets.get_opt(&name).await?.map(|present| text(&present)).transpose()?;
        if present.as_deref() == Some(values) {
            return Ok(());
        }
        self.apply(
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": SYSTEM },
            "stringData": { (VALUES): values } }),
        )
        .await
    }

    /// Installs AKO with what the data values of the workload cluster say.
    async fn install(&self) -> Result<()> {
        let (secrets, name) = self.data_values();
        let values: Value = serde_saphyr::from_str(&text(&secrets.get(&name).await?)?)?;
        let config = &values["loadBalancerAndIngressService"]["config"];
        let (ako, controller) = (&config["ako_settings"], &config["controller_settings"]);
        let tenant = controller["tenant_name"].as_str().filter(|name| !name.is_empty()).unwrap_or("admin");
        let metadata =
            |name: &str| json!({ "name": name, "namespace": "avi-system", "labels": { (KAPP): "ako" } });
        let pods = json!({ "app": "ako" });
        let objects = [
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "avi-system" } }),
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("avi-k8s-config"), "data": {
                "controllerIP": controller["controller_ip"], "controllerVersion": controller["controller_version"],
                "cloudName": controller["cloud_name"], "tenantName": tenant, "clusterName": ako["cluster_name"],
                "serviceEngineGroupName": controller["service_engine_group_name"], "deleteConfig": ako["delete_config"],
                "vipNetworkList": config["network_settings"]["vip_network_list"],
            } }),
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata("avi-secret"), "stringData": {
                "username": config["avi_credentials"]["username"], "password": config["avi_credentials"]["password"],
                "certificateAuthorityData": config["avi_credentials"]["certificate_authority_data"],
            } }),
            json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata("ako"), "spec": {
                "serviceName": "ako", "replicas": 1, "selector": { "matchLabels": pods }, "template": {
                    "metadata": { "labels": pods },
                    "spec": { "containers": [{ "name": "ako", "image": "registry.example.com/ako:1.12" }] },
                } } }),
        ];
        for object in objects {
            self.apply(object).await?;
        }
        Ok(())
    }

    /// Removes AKO, and the data values at last.
    async fn remove(&self) -> Result<()> {
        let sets: Api<StatefulSet> = Api::namespaced(self.workload.clone(), "avi-system");
        if let Some(set) = sets.get_opt("ako").await? {
            if set.metadata.deletion_timestamp.is_none() {
                sets.delete("ako", &DeleteParams::foreground()).await?;
            }
            return Ok(());
        }
        let (secrets, name) = self.data_values();
        if secrets.get_opt(&name).await?.is_some() {
            secrets.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }

    async fn apply(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("an object without a kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.workload.clone(), namespace, &resource),
            None => Api::all_with(self.workload.clone(), &resource),
        };
        let params = PatchParams::apply("kapp-controller").force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await?;
        Ok(())
    }
}

pub(crate) fn bootstrap() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("run.tanzu.vmware.com", "v1alpha3", "ClusterBootstrap"))
}

/// Returns the data values of a Secret.
pub(crate) fn text(secret: &Secret) -> Result<String> {
    let values = secret.data.as_ref().and_then(|data| data.get(VALUES)).context("no data values")?;
    Ok(String::from_utf8(values.0.clone())?)
}

/// Returns a tick for each change of the objects.
fn changes<K>(api: Api<K>) -> BoxStream<'static, ()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    watcher(api, watcher::Config::default()).default_backoff().map(drop).boxed()
}
