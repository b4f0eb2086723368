//! A Cluster API management cluster: a real control plane with the real core controllers, and a provider
//! whose machines need no hardware.
//!
//! Owns the manager's process, its webhooks and conversion, and the provider's controllers. A workload
//! cluster is a second real control plane: see [`Workload`]. Knows nothing of any operator.

mod api;
mod manifests;
mod objects;
mod provider;
mod sites;
mod workload;

use std::fmt;
use std::fs;
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
pub use self::workload::{Workload, WorkloadBuilder};
use crate::port::{Port, again_if_taken};
use crate::{ControlPlane, Memory, Process, ProcessSpec, Tools, Workdir};

/// A second on an idle machine.
const START: Duration = Duration::from_mins(5);
/// The manager's program.
const CORE: &str = "capi-core";
/// Of what is written here.
const FIELD_MANAGER: &str = "testbed";

/// A running management cluster. Dropped = gone, with the Clusters in it.
pub struct Management {
    // Dropped in this order: clients before servers, and the files last.
    _provider: Provider,
    core: Core,
    plane: ControlPlane,
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
    /// Starts one on a control plane with the defaults.
    ///
    /// # Errors
    /// If a program cannot be built or a server does not become ready; the end of its log is in the error.
    pub async fn start() -> Result<Self> {
        // Cluster API's build is the longer one when nothing is built yet, and both use every core.
        tokio::task::spawn_blocking(|| Tools::of(&[CORE])).await??;
        Self::on(ControlPlane::start().await?).await
    }

    /// Installs Cluster API into a control plane of the caller's making, and starts it there.
    ///
    /// # Errors
    /// As [`Management::start`].
    pub async fn on(plane: ControlPlane) -> Result<Self> {
        let tools = tokio::task::spawn_blocking(|| Tools::of(&[CORE])).await??;
        let core =
            again_if_taken(async || Core::start(&plane, &tools, [Port::reserve()?, Port::reserve()?]).await)
                .await?;
        let sites = Sites::default();
        let provider = Provider::start(&plane.client(), &sites);
        Ok(Self { _provider: provider, core, plane, sites })
    }

    /// A workload cluster with the defaults, in the namespace `default`: see [`WorkloadBuilder`].
    ///
    /// # Errors
    /// As [`WorkloadBuilder::start`].
    pub async fn with_workload(&self, name: &str) -> Result<Workload> {
        self.workload(name).start().await
    }

    /// For a workload cluster that differs from the default.
    pub fn workload(&self, name: &str) -> WorkloadBuilder<'_> {
        WorkloadBuilder::new(self, name)
    }

    /// The control plane Cluster API runs in.
    #[must_use]
    pub fn plane(&self) -> &ControlPlane {
        &self.plane
    }

    /// A client with the administrator's rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.plane.client()
    }

    /// Runs `kubectl` against it: see [`ControlPlane::kubectl`].
    ///
    /// # Errors
    /// If it fails; what it wrote to stderr is in the error.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.plane.kubectl(args).await
    }

    /// What the core manager has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.core.process.log()
    }

    /// The memory the core manager holds now.
    ///
    /// # Errors
    /// If it has ended.
    pub fn memory(&self) -> Result<Memory> {
        self.core.process.memory()
    }
}

/// Cluster API's core manager. Dropped = gone; what it has installed stays.
struct Core {
    process: Process,
    _ports: [Port; 2],
    _workdir: Workdir,
}

impl Core {
    /// `ports`: for the webhooks and for the probes.
    async fn start(plane: &ControlPlane, tools: &Tools, ports: [Port; 2]) -> Result<Self> {
        let [webhooks, health] = ports.each_ref().map(Port::number);
        let workdir = Workdir::new("management")?;
        let shipped = tools.manifests("capi")?;
        let server =
            Webhooks { url: format!("https://127.0.0.1:{webhooks}"), ca_pem: plane.ca_pem().to_owned() };
        let manifests = tokio::task::spawn_blocking(move || manifests::load(&shipped, &server)).await??;
        let client = plane.client();
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
                // There is nothing older to migrate.
                "--skip-crd-migration-phases=StorageVersionMigration,CleanupManagedFields".to_owned(),
                "--feature-gates=ClusterTopology=true".to_owned(),
            ],
            workdir.path().join("capi-core.log"),
        );
        spec.env.push(("KUBECONFIG".to_owned(), plane.kubeconfig().into()));
        let mut process = Process::spawn(spec)?;
        ready(&mut process, health).await?;
        // Only now: nothing could be written while they are not answered.
        try_join_all(manifests.webhooks.into_iter().map(|webhook| apply(&client, webhook))).await?;
        Ok(Self { process, _ports: ports, _workdir: workdir })
    }
}

/// Machines, in the version Cluster API stores.
fn machines() -> ApiResource {
    core_resource("Machine")
}

/// A kind of the core's, in the version it stores.
fn core_resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("cluster.x-k8s.io", "v1beta2", kind))
}

/// Applies the CRDs, Cluster API's and ours, and waits until they are served.
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

/// Applies a cluster-wide object, which may be there from a start with other ports; yields its name.
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
async fn ready(core: &mut Process, port: u16) -> Result<()> {
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
