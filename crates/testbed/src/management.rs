//! A Cluster API management cluster: a real control plane with the real core controllers, and a provider with simulated
//! machines.
//!
//! Owns the manager's process, its webhooks and conversion, and the provider's controllers. A workload cluster is another
//! real control plane: see [`Workload`]. Knows nothing about operators.

mod api;
mod manifests;
mod objects;
mod provider;
mod sites;
mod workload;

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use self::manifests::{Manifests, Webhooks};
use self::provider::Provider;
use self::sites::Sites;
pub use self::workload::{VirtualHost, Workload, WorkloadBuilder};
use crate::port::{Port, again_if_taken};
use crate::{ControlPlane, Memory, Process, ProcessSpec, Tools, Workdir};

/// The time limit of the start, which takes a second on an idle machine.
const START: Duration = Duration::from_mins(5);
/// The manager's program.
const CORE: &str = "capi-core";
/// The field manager of objects that the testbed applies.
const FIELD_MANAGER: &str = "testbed";

/// A running management cluster. Dropping it stops it and deletes its Clusters.
pub struct Management {
    // Fields drop in this order: clients before servers, files last.
    _provider: Provider,
    core: Core,
    plane: Arc<ControlPlane>,
    sites: Sites,
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management")
            .field("url", &self.plane.url())
            .field("core", &self.core.process.log_path())
            .finish_non_exhaustive()
    }
}

impl Management {
    /// Starts a management cluster on a control plane with the defaults.
    ///
    /// # Errors
    /// If a program cannot be built or a server does not become ready; the error has the end of its log.
    pub async fn start() -> Result<Self> {
        // Builds Cluster API first: each build uses all cores, so two at the same time are not faster.
        tokio::task::spawn_blocking(|| Tools::of(&[CORE])).await??;
        Self::on(ControlPlane::start().await?).await
    }

    /// Installs Cluster API into a given control plane and starts it.
    ///
    /// # Errors
    /// Those of [`Management::start`].
    pub async fn on(plane: impl Into<Arc<ControlPlane>>) -> Result<Self> {
        let plane = plane.into();
        let tools = tokio::task::spawn_blocking(|| Tools::of(&[CORE])).await??;
        let core =
            again_if_taken(async || Core::start(&plane, &tools, [Port::reserve()?, Port::reserve()?]).await)
                .await?;
        let sites = Sites::default();
        // A client ends with the runtime that made it, and rigs may share the control plane.
        let client = crate::client(plane.kubeconfig()).await?;
        let provider = Provider::start(&client, &sites);
        Ok(Self { _provider: provider, core, plane, sites })
    }

    /// Starts a workload cluster in the namespace `default`, with the defaults of [`WorkloadBuilder`].
    ///
    /// # Errors
    /// Those of [`WorkloadBuilder::start`].
    pub async fn with_workload(&self, name: &str) -> Result<Workload> {
        self.workload(name).start().await
    }

    /// Returns a builder, for a workload cluster with other settings.
    pub fn workload(&self, name: &str) -> WorkloadBuilder<'_> {
        WorkloadBuilder::new(self, name)
    }

    /// Returns the control plane of Cluster API.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// Returns a client with the administrator's rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.plane.client()
    }

    /// Runs `kubectl` on the control plane: see [`ControlPlane::kubectl`].
    ///
    /// # Errors
    /// If it fails; the error has its stderr.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.plane.kubectl(args).await
    }

    /// Returns the log of the core manager.
    #[must_use]
    pub fn log(&self) -> String {
        self.core.process.log()
    }

    /// Returns the memory use of the core manager.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<Memory> {
        self.core.process.memory()
    }
}

/// Cluster API's core manager. Dropping it stops it; the objects that it installed stay.
struct Core {
    process: Process,
    _ports: [Port; 2],
    _workdir: Workdir,
}

impl Core {
    /// Installs and starts the manager. `ports` are those of the webhooks and of the probes.
    async fn start(plane: &ControlPlane, tools: &Tools, ports: [Port; 2]) -> Result<Self> {
        let [webhooks, health] = ports.each_ref().map(Port::number);
        let workdir = Workdir::new("management")?;
        let shipped = tools.manifests("capi")?;
        let server =
            Webhooks { url: format!("https://127.0.0.1:{webhooks}"), ca_pem: plane.ca_pem().to_owned() };
        let manifests = tokio::task::spawn_blocking(move || manifests::load(&shipped, &server)).await??;
        let client = crate::client(plane.kubeconfig()).await?;
        install_definitions(&client, &manifests).await?;

        let certificates = workdir.path().join("certificates");
        fs::create_dir(&certificates)?;
        for (from, to) in plane.serving_certificate().iter().zip(["tls.crt", "tls.key"]) {
            fs::copy(from, certificates.join(to))?;
        }
        let mut spec = ProcessSpec::new(
            CORE,
            tools.path(CORE)?,
            [
                format!("--webhook-port={webhooks}"),
                format!("--webhook-cert-dir={}", certificates.display()),
                format!("--health-addr=127.0.0.1:{health}"),
                "--diagnostics-address=127.0.0.1:0".to_owned(),
                "--insecure-diagnostics".to_owned(),
                "--leader-elect=false".to_owned(),
                // There are no objects of older versions to migrate.
                "--skip-crd-migration-phases=StorageVersionMigration,CleanupManagedFields".to_owned(),
                "--feature-gates=ClusterTopology=true".to_owned(),
            ],
            workdir.path().join("capi-core.log"),
        );
        spec.env.push(("KUBECONFIG".to_owned(), plane.kubeconfig().into()));
        let mut process = Process::spawn(spec)?;
        await_ready(&mut process, health).await?;
        // After the start, because writes fail while the webhooks do not answer.
        try_join_all(manifests.webhooks.into_iter().map(|webhook| apply(&client, webhook))).await?;
        Ok(Self { process, _ports: ports, _workdir: workdir })
    }
}

/// Returns the resource of Machines, in the version that Cluster API stores.
fn machines() -> ApiResource {
    core_resource("Machine")
}

/// Returns the resource of a kind of Cluster API's core, in the version that it stores.
fn core_resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind))
}

/// Applies the CRDs of Cluster API and of the provider and waits until they are served.
async fn install_definitions(client: &Client, manifests: &Manifests) -> Result<()> {
    let theirs = manifests.crds.iter().cloned();
    let ours = api::definitions().into_iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    try_join_all(theirs.chain(ours).map(|definition| async {
        let name = apply(client, definition).await?;
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let served = await_condition(api, &name, conditions::is_crd_established());
        tokio::time::timeout(START, served).await.with_context(|| format!("{name} is not served"))??;
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

/// Applies a cluster-scoped object, which may exist from a start with other ports. Returns its name.
async fn apply(client: &Client, object: Value) -> Result<String> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let name = object.name_any();
    let types = object.types.clone().with_context(|| format!("{name} has no kind"))?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types)?);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(&name, &params, &Patch::Apply(&object)).await;
    applied.with_context(|| format!("cannot apply {} {name}", types.kind))?;
    Ok(name)
}

/// Waits until the manager's controllers and webhooks run.
async fn await_ready(core: &mut Process, port: u16) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let url = format!("http://127.0.0.1:{port}/readyz");
    let end = Instant::now() + START;
    loop {
        if http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = core.try_wait() {
            bail!("Cluster API's manager ended while starting ({status}):\n{}", core.log_tail());
        }
        if Instant::now() > end {
            bail!("Cluster API's manager is not ready after {} s:\n{}", START.as_secs(), core.log_tail());
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
