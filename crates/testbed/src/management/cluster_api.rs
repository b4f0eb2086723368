//! Cluster API's core manager: a process, with its webhooks and definitions in a control plane.
//!
//! It outlives the tests that use it one after the other; the provider's controllers are theirs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::manifests::{Manifests, Webhooks};
use super::{FIELD_MANAGER, api, manifests};
use crate::port::{Port, again_if_taken};
use crate::{ControlPlane, Process, ProcessSpec, Tools, Workdir};

/// The time limit of the start, which takes a second on an idle machine.
const START: Duration = Duration::from_mins(5);
/// The manager's program.
pub(super) const CORE: &str = "capi-core";
/// How often the manager is started again, as a Deployment does: it ends where its caches do not fill in time, as on a busy machine.
const RESTARTS: u32 = 5;
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Cluster API's core manager in a control plane. Dropping it stops it; the objects that it installed stay.
pub struct ClusterApi {
    // Fields drop in this order: clients before servers, files last.
    process: Mutex<Process>,
    spec: ProcessSpec,
    _ports: [Port; 2],
    _workdir: Workdir,
    pub(super) plane: Arc<ControlPlane>,
}

impl fmt::Debug for ClusterApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterApi")
            .field("url", &self.plane.url())
            .field("log", &self.spec.log)
            .finish_non_exhaustive()
    }
}

impl ClusterApi {
    /// Installs Cluster API into a control plane and starts it.
    ///
    /// # Errors
    /// If a program cannot be built, or the manager does not become ready; the error has the end of its log.
    pub async fn start(plane: impl Into<Arc<ControlPlane>>) -> Result<Self> {
        let plane = plane.into();
        let tools = tokio::task::spawn_blocking(|| Tools::of(&[CORE])).await??;
        again_if_taken(async || Self::start_once(&plane, &tools, [Port::reserve()?, Port::reserve()?]).await)
            .await
    }

    /// Installs and starts the manager. `ports` are those of the webhooks and of the probes.
    async fn start_once(plane: &Arc<ControlPlane>, tools: &Tools, ports: [Port; 2]) -> Result<Self> {
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
        let process = spawn_ready(&spec, health).await?;
        // After the start, because writes fail while the webhooks do not answer.
        try_join_all(manifests.webhooks.into_iter().map(|webhook| apply(&client, webhook))).await?;
        let plane = Arc::clone(plane);
        Ok(Self { process: Mutex::new(process), spec, _ports: ports, _workdir: workdir, plane })
    }

    /// Returns the manager.
    pub(super) fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the manager again where it has ended.
    pub(super) async fn keep_running(self: Arc<Self>) {
        let mut restarts = 0;
        while restarts < RESTARTS {
            tokio::time::sleep(LOOK).await;
            if self.process().try_wait().is_some() {
                restarts += 1;
                // One that cannot be started is tried again.
                if let Ok(process) = Process::spawn(self.spec.clone()) {
                    *self.process() = process;
                }
            }
        }
    }
}

/// Starts the manager and waits until it is ready; starts it again where it ends before.
async fn spawn_ready(spec: &ProcessSpec, health: u16) -> Result<Process> {
    for _ in 0..RESTARTS {
        let mut process = Process::spawn(spec.clone())?;
        let ready = await_ready(&mut process, health).await;
        let is_late = process.log_tail().contains("to sync");
        if ready.is_ok() || process.try_wait().is_none() || !is_late {
            return ready.map(|()| process);
        }
    }
    bail!(
        "Cluster API's manager has ended {RESTARTS} times while starting; its log is {}",
        spec.log.display()
    )
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
