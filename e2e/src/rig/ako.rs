//! ako-operator with a real Cluster API, virtual workload clusters, a stand-in for AKO in each, and a simulated AVI controller.

mod cloud;
mod control_plane;
mod objects;
mod tkg;
mod waits;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use avi_simulator::store::Snapshot;
use avi_simulator::{Config, Effect, Fault, Simulator};
use data_encoding::BASE64;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};
use testbed::{
    Ako, ControlPlane, Management, SimPortGroup, Vcsim, VirtualCluster, VirtualHost, Workdir, Workload,
    eventually,
};
use tokio::sync::Mutex;

pub use self::cloud::VcenterCloud;
use self::control_plane::service_of;
use self::objects::{CONTROLLER, VCENTER, adc, pool};
use super::{PASSWORD, Rig};
use crate::install::{Kind, Manifests, Plane, Scope, Subject};
use crate::operator::Launch;
use crate::planes::Planes;
use crate::site::{PATIENCE, Site};

const NAMESPACE: &str = "ako-operator-system";
/// The namespace of the Services in each workload cluster.
const SERVICES: &str = "guest-apps";
/// Names that exist once in each workload cluster.
const OWN_NAMES: &[&str] =
    &["avi-system", "tkg-system", "ako-cr", "ako-crb", "ako-crb-avi-system", "avi-lb", SERVICES];
/// A network to take addresses from.
const SEED: &str = include_str!("../../../crates/avi-simulator/samples/vips.yaml");

/// All that ako-operator works with, and ako-operator installed but not started.
pub struct AkoRig {
    // Clients before servers.
    guest: Mutex<Option<Guest>>,
    host: VirtualHost,
    /// Cluster API.
    pub management: Management,
    site: Site,
    /// The AVI controller.
    pub simulator: Simulator,
    /// A vCenter with a switch.
    pub vcenter: Vcsim,
    before: Snapshot,
    groups: Vec<SimPortGroup>,
    bundle: Workdir,
    /// Those of workload clusters.
    guest_planes: Mutex<Vec<Arc<Plane>>>,
    planes: Arc<Planes>,
}

/// The planes of a test that fails are not used again, and keep their files.
impl Drop for AkoRig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let guest_planes = std::mem::take(self.guest_planes.get_mut());
            for plane in guest_planes.iter().chain([self.site.plane()]) {
                self.planes.discard(plane);
            }
        }
    }
}

/// A workload cluster with a stand-in for AKO.
pub struct Guest {
    /// The cluster.
    pub workload: Workload<VirtualCluster>,
    /// The stand-in.
    pub ako: Ako,
    /// Namespace of its Services.
    services: String,
}

impl AkoRig {
    /// The label of seed 000, which selects a Cluster for the AKODeploymentConfig of [`config`](Self::config).
    pub const LABEL: &'static str = "cluster-service.network.tkg.tanzu.vmware.com/avi";

    /// The annotation that asks for another password of a Cluster's user on AVI.
    const ROTATE: &'static str = "ako-operator.network.tkg.tanzu.vmware.com/rotate-credentials";

    /// Starts a rig with a plane of its own, which rigs of earlier tests may have used.
    ///
    /// # Errors
    /// If a server does not start.
    pub async fn start() -> Result<Self> {
        let planes = Planes::of_tests();
        let mut rig = Self::start_on(planes.take(&Self::SUBJECT).await?).await?;
        rig.planes = planes;
        Ok(rig)
    }

    /// Returns a control plane with all controllers, for a workload cluster. Workload clusters of earlier tests may have used it.
    ///
    /// # Errors
    /// If a server does not start.
    pub async fn guest_plane(&self) -> Result<Arc<ControlPlane>> {
        let plane = self.planes.take_guest().await?;
        let control_plane = Arc::clone(&plane.control_plane);
        self.guest_planes.lock().await.push(plane);
        Ok(control_plane)
    }

    /// Returns the directory with the definitions of AKO's kinds, a file for each, such as `hostrules.yaml`.
    #[must_use]
    pub fn bundle(&self) -> &Path {
        self.bundle.path()
    }

    /// Returns the AKODeploymentConfig of the main job.
    #[must_use]
    pub fn config(&self) -> Value {
        self.config_with(50)
    }

    /// Returns the same with a pool of ten addresses from this one on.
    #[must_use]
    pub fn config_with(&self, first: u8) -> Value {
        self.localized(adc("adc", &pool(first)))
    }

    /// Starts a workload cluster with the label, unless there is one, and waits until a Service in it has an address.
    async fn serve(&self) -> Result<()> {
        let mut guest = self.guest.lock().await;
        if guest.is_none() {
            // The same name in each run: a perturbed run names requests by it.
            *guest = Some(self.with_ako(self.cluster("w1", true).await?).await?);
        }
        let guest = guest.as_ref().context("no workload cluster")?;
        self.condition(guest.workload.name(), "AKOInstalled", "True").await?;
        self.balance(guest).await
    }

    /// Starts a workload cluster. `is_selected`: with the label of [`config`](Self::config).
    ///
    /// # Errors
    /// If Cluster API does not make it.
    pub async fn cluster(&self, name: &str, is_selected: bool) -> Result<Workload<VirtualCluster>> {
        let builder = self.management.workload(name);
        let builder = if is_selected { builder.label(Self::LABEL, "") } else { builder };
        builder.start_in(&self.host, OWN_NAMES).await
    }

    /// Starts a workload cluster with the label, from a ClusterClass, whose control plane AVI is to balance at port 7443.
    ///
    /// # Errors
    /// If Cluster API does not make it.
    pub async fn balanced_cluster(&self, name: &str) -> Result<Workload<VirtualCluster>> {
        let builder = self.management.workload(name).label(Self::LABEL, "").endpoint(false);
        let builder = builder.variable("aviAPIServerHAProvider", true).variable("apiServerPort", 7443);
        builder.unset_variable("apiServerEndpoint", "string").start_in(&self.host, OWN_NAMES).await
    }

    /// Starts a stand-in for AKO in a workload cluster, with a namespace for its Services.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub async fn with_ako(&self, workload: Workload<VirtualCluster>) -> Result<Guest> {
        let services = workload.plane().real_name(SERVICES);
        self.site.create_namespace(&services).await?;
        let ako = Ako::start_in(workload.plane().client().await?, SERVICES);
        Ok(Guest { workload, ako, services })
    }

    async fn change(&self) -> Result<()> {
        let mut config = self.config_with(60);
        config["spec"]["extraConfigs"] = json!({ "log": { "logLevel": "DEBUG" } });
        self.site.apply(None, &config).await?;
        self.site.ready_within("adc", PATIENCE, |_| true).await?;
        let guest = self.guest.lock().await;
        let workload = &guest.as_ref().context("no workload cluster")?.workload;
        let system = workload.plane().real_name("avi-system");
        let api: Api<ConfigMap> = Api::namespaced(self.site.client(), &system);
        eventually("AKO's log level has changed", PATIENCE, async || {
            let level = api.get("avi-k8s-config").await?.data.and_then(|mut data| data.remove("logLevel"));
            ensure!(level.as_deref() == Some("DEBUG"), "it is {level:?}");
            Ok(Some(()))
        })
        .await?;
        self.rotate(workload, "1").await
    }

    async fn delete(&self) -> Result<()> {
        let guest = self.guest.lock().await.take().context("no workload cluster")?;
        guest.workload.delete().await?;
        guest.workload.deleted(PATIENCE).await?;
        self.site.remove("adc").await?;
        self.gone(&format!("service/{}", service_of(&guest))).await?;
        self.gone("aviinfrasetting/adc-ais").await
    }
}

/// Writes the definitions of AKO's kinds into a directory.
fn bundle() -> Result<Workdir> {
    let bundle = Workdir::new("bundle")?;
    for definition in Ako::definitions() {
        let plural = definition["spec"]["names"]["plural"].as_str().context("no plural")?;
        fs::write(bundle.path().join(format!("{plural}.yaml")), definition.to_string())?;
    }
    Ok(bundle)
}

/// Defines the kind AviInfraSetting, one of others for the operator, which leaves it as it is.
async fn define_infra_settings(plane: &ControlPlane, bundle: &Path) -> Result<()> {
    let file = bundle.join("aviinfrasettings.yaml");
    let file = file.to_str().context("a path that is text")?;
    plane.kubectl(&["apply", "--server-side", "-f", file]).await?;
    plane.kubectl(&["wait", "--for=condition=Established", "crd/aviinfrasettings.ako.vmware.com"]).await?;
    Ok(())
}

/// Returns whether a port group is as an AKODeploymentConfig asks.
fn is_as_wanted(group: &SimPortGroup, wanted: &Value) -> bool {
    let trunk = wanted["trunk"].as_array().is_some_and(|ranges| !ranges.is_empty());
    let vlan = wanted["vlan"].as_u64().unwrap_or_default();
    let is_ephemeral = wanted["binding"] == "ephemeral";
    group.name == wanted["name"].as_str().unwrap_or_default()
        && group.trunk.is_empty() != trunk
        && (trunk || u64::from(group.vlan) == vlan)
        && (group.binding == "ephemeral") == is_ephemeral
        && (is_ephemeral || i64::from(group.ports) >= wanted["ports"].as_i64().unwrap_or(8))
}

impl Rig for AkoRig {
    const SUBJECT: Subject = Subject {
        name: "ako-operator",
        group: "networking.tkg.tanzu.vmware.com",
        kinds: &[Kind {
            kind: "AKODeploymentConfig",
            plural: "akodeploymentconfigs",
            version: "v1alpha1",
            by_users: true,
            scope: Scope::Cluster,
        }],
        namespace: NAMESPACE,
        manifests: Manifests::Deploy("deploy/ako-operator"),
        all_controllers: true,
        has_fixed_names: false,
        docs: &["docs/ako-operator", "docs/operator-kit.md"],
    };
    const STEPS: &'static [&'static str] = &["create", "serve", "change", "delete"];
    const FAULTS: &'static [&'static str] = &["avi-unavailable", "avi-reply-lost", "avi-stale"];
    const MISSED_RIGHT: (&'static str, &'static str, &'static str) =
        ("networking.tkg.tanzu.vmware.com", "akodeploymentconfigs", "patch");
    // Of the add-on Secret; the end-to-end test of that uses them.
    const UNUSED_RIGHTS: &'static [(&'static str, &'static str, &'static str)] = &[
        ("run.tanzu.vmware.com", "clusterbootstraps", "get"),
        ("run.tanzu.vmware.com", "clusterbootstraps", "patch"),
        ("run.tanzu.vmware.com", "tanzukubernetesreleases", "get"),
    ];
    const PASSING: &'static [&'static str] = &["Progressing", "AviObjectChanged", "PortGroupTaskRunning"];
    const MANY_FIELDS: bool = true;
    // Its reference, and since when it is so.
    const KEPT: &'static [&'static str] = &["AKODeploymentConfig/sample/status/portGroups/"];
    const EXCLUSIVE: &'static [&'static str] = &["PortGroupOfOthers"];
    const KEEPS_EARLIER: &'static [&'static str] = &["PlaceChanged", "PortGroupsInAnotherVCenter"];
    // Each run deletes a Cluster, which takes Cluster API ten seconds.
    const SAMPLE: usize = 6;
    const CALLS_VARY: bool = true;
    const GENERATES: bool = true;
    const REPORTS_ON: &'static [&'static str] = &["clusters.cluster.x-k8s.io"];

    async fn start_on(plane: Arc<Plane>) -> Result<Self> {
        let vcenter = Vcsim::builder().switch(true).root_folder(false).password(PASSWORD).start();
        let config = Config { admin_password: Some(PASSWORD.to_owned()), ..Config::default() };
        let (simulator, vcenter) = tokio::try_join!(Simulator::start(config), vcenter)?;
        simulator.control().seed(SEED)?;
        let bundle = bundle()?;
        let cluster_api = plane.cluster_api().await?;
        plane.install(&Self::SUBJECT).await?;
        define_infra_settings(&plane.control_plane, bundle.path()).await?;
        plane.note_baseline().await?;
        let management = Management::with(cluster_api).await?;
        let host = VirtualHost::start(Arc::clone(&plane.control_plane)).await?;
        let site = Site::new(&Self::SUBJECT, plane).await?;
        let secret = |name: &str, data: Value| {
            json!({ "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": name, "namespace": NAMESPACE }, "stringData": data })
        };
        let credentials = json!({ "username": "admin", "password": simulator.admin_password() });
        let authority = json!({ "certificateAuthorityData": simulator.ca_pem() });
        let account = json!({ "username": vcenter.user(), "password": vcenter.password() });
        let vcenter_authority = json!({ "certificateAuthorityData": vcenter.ca_pem() });
        for secret in [
            secret("avi-admin", credentials),
            secret("avi-ca", authority),
            secret("vcenter-account", account),
            secret("vcenter-ca", vcenter_authority),
        ] {
            let apply = ["apply", "--server-side", "-f", "-"];
            site.control_plane().kubectl_stdin(&apply, &secret.to_string()).await?;
        }
        let before = simulator.control().snapshot();
        let groups = vcenter.port_groups().await?;
        let (guest, guest_planes, planes) = Default::default();
        let rig = Self {
            guest,
            host,
            management,
            site,
            simulator,
            vcenter,
            before,
            groups,
            bundle,
            guest_planes,
            planes,
        };
        Ok(rig)
    }

    fn site(&self) -> &Site {
        &self.site
    }

    fn launch(&self) -> Launch {
        let launch = self.site.base_launch().env("AKO_IMAGE", "registry.example.com/ako:2.2.1");
        launch.env("AVI_CONTROL_PLANE_HA_PROVIDER", "True").env("AKO_CRDS", self.bundle())
    }

    async fn play(&self, step: &str) -> Result<()> {
        match step {
            "create" => {
                self.site.apply(None, &self.config()).await?;
                self.site.ready_within("adc", PATIENCE, |_| true).await?;
            }
            "serve" => self.serve().await?,
            "change" => self.change().await?,
            "delete" => self.delete().await?,
            other => bail!("unknown step {other}"),
        }
        Ok(())
    }

    /// Also makes the operator repair what it made, and repeat an event.
    async fn exercise(&self) -> Result<()> {
        for step in ["create", "serve", "change"] {
            self.play(step).await?;
        }
        self.disturb().await?;
        for start in [50, 60] {
            self.site.apply(None, &self.config_with(start)).await?;
            self.site.ready_within("adc", PATIENCE, |_| true).await?;
        }
        self.play("delete").await
    }

    async fn outside(&self) -> Result<BTreeMap<String, Value>> {
        let diff = self.simulator.control().diff(&self.before);
        let lists = [("added", &diff.added), ("removed", &diff.removed), ("changed", &diff.changed)];
        let names = |changes: &Vec<avi_simulator::store::Change>| {
            changes
                .iter()
                .map(|change| format!("{} {:?}", change.kind, change.fields).into())
                .collect::<Vec<Value>>()
        };
        let mut outside: BTreeMap<String, Value> =
            lists.into_iter().map(|(what, changes)| (what.to_owned(), names(changes).into())).collect();
        let groups = self.vcenter.port_groups().await?;
        let made = groups.iter().filter(|group| !self.groups.contains(group));
        outside.insert("port groups".to_owned(), made.map(|group| group.name.clone()).collect());
        Ok(outside)
    }

    async fn effects(&self) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    async fn calls(&self) -> Result<BTreeMap<String, u64>> {
        let counters = self.simulator.control().counters();
        let named = counters.into_iter().map(|((method, path), n)| (format!("{method} {path}"), n));
        // The stand-in for AKO has a session as well, and looks again every ten minutes.
        Ok(named.collect())
    }

    async fn violations(&self) -> Result<Vec<String>> {
        Ok(self.simulator.control().check())
    }

    async fn inject(&self, fault: &str) -> Result<()> {
        let fault = match fault {
            "avi-unavailable" => Fault::status(503).times(3),
            "avi-reply-lost" => Fault::new(Effect::CutAfter).on("PUT", "/api/network").times(1),
            "avi-stale" => Fault::new(Effect::Stale).on("PUT", "/api/network").times(2),
            other => bail!("unknown fault {other}"),
        };
        self.simulator.control().fault(fault);
        Ok(())
    }

    async fn has_fired(&self, _: &str) -> Result<bool> {
        Ok(self.simulator.control().requests().iter().any(|request| request.fault))
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.simulator.admin_password().to_owned(), self.vcenter.password().to_owned()]
    }

    async fn generated(&self) -> Result<Vec<String>> {
        let of_users = "--field-selector=type=avi.cluster.x-k8s.io/secret";
        let printed =
            self.site.control_plane().kubectl(&["get", "secrets", "-A", of_users, "-o", "json"]).await?;
        let list: Value = serde_json::from_str(&printed)?;
        let mut found = Vec::new();
        for secret in list["items"].as_array().into_iter().flatten() {
            for key in ["password", "nextPassword"] {
                let Some(text) = secret["data"][key].as_str() else { continue };
                found.push(String::from_utf8(BASE64.decode(text.as_bytes())?)?);
            }
        }
        Ok(found)
    }

    fn samples() -> Vec<Value> {
        objects::samples()
    }

    fn localized(&self, mut object: Value) -> Value {
        if object["spec"]["controller"] == CONTROLLER {
            object["spec"]["controller"] = self.simulator.url().trim_start_matches("https://").into();
        }
        if object["spec"]["vcenter"]["server"] == VCENTER {
            object["spec"]["vcenter"]["server"] = self.vcenter.host().into();
        }
        object
    }

    async fn mismatch(&self, object: &Value) -> Result<Option<String>> {
        let network = &object["spec"]["dataNetwork"];
        let pools = network["ipPools"].as_array().into_iter().flatten();
        let wanted: Vec<_> = pools.map(|pool| (pool["start"].clone(), pool["end"].clone())).collect();
        let has = self.simulator.control().store(|store| {
            let networks = store.objects("network").filter(|one| one["name"] == network["name"]);
            let ranges = networks.flat_map(|one| {
                let subnets = one["configured_subnets"].as_array().cloned().unwrap_or_default();
                subnets
                    .into_iter()
                    .flat_map(|subnet| subnet["static_ip_ranges"].as_array().cloned().unwrap_or_default())
            });
            ranges
                .map(|range| (range["range"]["begin"]["addr"].clone(), range["range"]["end"]["addr"].clone()))
                .collect::<Vec<_>>()
        });
        let missing: Vec<_> = wanted.iter().filter(|range| !has.contains(range)).collect();
        if !missing.is_empty() {
            return Ok(Some(format!("AVI has the ranges {has:?}, without {missing:?}")));
        }
        let groups = self.vcenter.port_groups().await?;
        let wanted = object["spec"]["portGroups"].as_array().into_iter().flatten();
        let is_missing = |wanted: &&Value| !groups.iter().any(|group| is_as_wanted(group, wanted));
        let missing: Vec<_> = wanted.filter(is_missing).collect();
        Ok((!missing.is_empty()).then(|| format!("vCenter has {groups:?}, not {missing:?}")))
    }
}
