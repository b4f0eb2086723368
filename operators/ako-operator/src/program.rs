//! The program: its flags, kinds and rights, and how its parts are put together.

use std::sync::Arc;
use std::time::Duration;

use infra_clients::capi::{Addons, CORE_GROUP, Capi, Cluster, Machine, WorkloadClients};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::{CustomResourceExt, Resource};
use operator_kit::manifests::rule;
use operator_kit::webhook::{Webhook, WebhookArgs};
use operator_kit::{
    Cache, Change, CommonArgs, Foreign, Key, Kit, Operator, Program, Remotes, Rights, Triggers, Watch, driver,
};

use crate::adc::Adcs;
use crate::api::{AkoDeploymentConfig, GROUP};
use crate::args::Args;
use crate::bundle::files::BundleFiles;
use crate::cluster::Clusters;
use crate::connections::Connections;
use crate::delivery::{MANAGED_BY, NAMESPACE, STATEFUL_SET, Setting, Ways};
use crate::endpoint::objects::{MIRROR, SLICE_OWNER_LABEL};
use crate::endpoint::{Endpoints, Settings};
use crate::meters::Meters;
use crate::metrics::show_conditions;
use crate::secrets::Secrets;
use crate::vcenters::Vcenters;
use crate::wakes::{self, Which, Woken, cluster_of, service_of};

/// How long logging out may take.
const LOGOUT: Duration = Duration::from_secs(3);

/// The program.
pub struct AkoOperator;

impl Program for AkoOperator {
    type Args = Args;
    type Error = anyhow::Error;

    const OPERATOR: Operator =
        Operator { name: "ako-operator", group: GROUP, version: env!("CARGO_PKG_VERSION") };
    const ABOUT: &'static str =
        "ako-operator: AKO in the Cluster API clusters that want it, and nothing of them left on AVI";
    const NAMESPACE: &'static str = "ako-operator-system";

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn crds() -> Vec<CustomResourceDefinition> {
        vec![AkoDeploymentConfig::crd()]
    }

    fn rights() -> Rights {
        // Its UID is in the marks of the users on AVI.
        let kube_system = PolicyRule {
            resource_names: Some(vec!["kube-system".to_owned()]),
            ..rule("", &["namespaces"], &["get"])
        };
        Rights {
            namespaced: vec![
                // patch: the finalizer, the pre-terminate hooks.
                rule(CORE_GROUP, &["clusters"], &["get", "list", "patch", "watch"]),
                rule(CORE_GROUP, &["machines"], &["list", "patch", "watch"]),
                rule(CORE_GROUP, &["clusters/status"], &["patch"]),
                // Of control planes.
                rule("", &["services"], &["create", "list", "patch", "watch"]),
                rule("discovery.k8s.io", &["endpointslices"], &["create", "list", "patch", "watch"]),
                // Those of the original operator, which EndpointSlices replace.
                rule("", &["endpoints"], &["delete"]),
                // Credentials of the Clusters' users on AVI, and add-on Secrets.
                rule("", &["secrets"], &["create", "delete", "patch"]),
                // The packages of Clusters with a topology.
                rule("run.tanzu.vmware.com", &["clusterbootstraps"], &["get", "patch"]),
            ],
            cluster: vec![
                // patch: the finalizer.
                rule(GROUP, &["akodeploymentconfigs"], &["list", "patch", "watch"]),
                rule(GROUP, &["akodeploymentconfigs/status"], &["patch"]),
                rule("ako.vmware.com", &["aviinfrasettings"], &["create", "delete", "get", "patch"]),
                rule("run.tanzu.vmware.com", &["tanzukubernetesreleases"], &["get"]),
                // Kubeconfigs, and the Secrets that AKODeploymentConfigs name. Watched without their content.
                rule("", &["secrets"], &["get", "list", "watch"]),
                kube_system,
            ],
        }
    }

    fn webhook() -> Option<Webhook> {
        Some(crate::webhook::webhook())
    }

    fn webhook_args(args: &Args) -> Option<&WebhookArgs> {
        Some(&args.webhook)
    }

    async fn run(kit: Kit, args: Args) -> anyhow::Result<()> {
        // Before anything is waited for: what is wrong with the flags is reported at once.
        let choose =
            |served| Ways::choose(args.ako_delivery, args.ako().as_ref(), served).map_err(anyhow::Error::msg);
        let chosen = (args.ako_delivery != Setting::Auto).then(|| choose(Addons::default())).transpose()?;
        let meters = Meters::register(kit.metrics().registry())?;
        kit.lead().await;
        let capi = Capi::discover(kit.client()).await?;
        let ways = match chosen {
            Some(ways) => ways,
            None => choose(capi.addons().await?)?,
        };
        let id = kit.cluster_id(&args.cluster).await?;
        let watches = Watches::new(&kit, &capi)?;
        let wakes = Wakes::default();
        watches.subscribe(&wakes);
        show_conditions(kit.metrics(), &watches.adcs.objects(), &watches.clusters.objects());
        let shared = Shared {
            id,
            secrets: Arc::new(Secrets::new(kit.client(), watches.secrets.objects().cache().clone())),
            connections: Arc::new(Connections::new(meters.observer())),
            vcenters: Arc::default(),
            answers: Arc::default(),
            ways,
            bundle: args.ako_crds.clone().map(|directory| Arc::new(BundleFiles::read(directory))),
            endpoints: args.endpoints(),
            deadline: args.cleanup_deadline(),
        };
        let answers = Arc::clone(&shared.answers);
        watches.clusters.subscribe(move |change| {
            // A later change may hide this one from the controllers.
            if let Some(cluster) = wakes::moved_cluster(change) {
                answers.leaves(&cluster);
            }
        });
        if let Some(files) = shared.bundle.clone() {
            let all = watches.all(&wakes);
            kit.spawn("definitions of AKO", files.watch(move || all.bundle()));
        }
        let clusters = Arc::new(clusters(&kit, &watches, &wakes, &shared));
        let endpoints = Arc::new(endpoints(&kit, &watches, &shared));
        let adcs = Arc::new(adcs(&kit, &watches, &wakes, &shared));
        let endpoints = driver::beside(&kit, &watches.clusters, &wakes.endpoints, endpoints);
        watches.machines.spawn().keep();
        watches.services.spawn().keep();
        watches.slices.spawn().keep();
        watches.secrets.spawn().keep();
        let ended = tokio::try_join!(
            endpoints,
            driver::run(&kit, watches.adcs, wakes.adcs, adcs),
            driver::run(&kit, watches.clusters, wakes.clusters, clusters),
        );
        // Sessions that are not ended count against the limit of the account.
        let closed = async { tokio::join!(shared.connections.close(), shared.vcenters.close()) };
        let _ = tokio::time::timeout(LOGOUT, closed).await;
        ended?;
        Ok(())
    }
}

/// What several controllers use.
struct Shared {
    /// Id of this management cluster.
    id: String,
    secrets: Arc<Secrets>,
    /// Clients of the AVI controllers.
    connections: Arc<Connections>,
    vcenters: Arc<Vcenters>,
    /// What AVI and the vCenters had when they were asked last.
    answers: Arc<crate::adc::Memory>,
    ways: Ways,
    /// The definitions of AKO's kinds, if the user gives them.
    bundle: Option<Arc<BundleFiles>>,
    endpoints: Settings,
    /// How long a cleanup waits for AKO.
    deadline: Option<Duration>,
}

/// What is watched in the management cluster.
struct Watches {
    adcs: Watch<AkoDeploymentConfig>,
    clusters: Watch<Foreign<Cluster>>,
    machines: Watch<Foreign<Machine>>,
    services: Watch<Service>,
    slices: Watch<EndpointSlice>,
    secrets: Watch<PartialObjectMeta<Secret>>,
    /// API version of the Clusters.
    version: String,
}

/// Wakes the objects of all controllers.
#[derive(Clone, Default)]
struct Wakes {
    adcs: Triggers<AkoDeploymentConfig>,
    clusters: Triggers<Foreign<Cluster>>,
    endpoints: Triggers<Foreign<Cluster>>,
}

impl Watches {
    fn new(kit: &Kit, capi: &Capi) -> anyhow::Result<Self> {
        let read_in = capi.read_in::<Cluster>()?;
        Ok(Self {
            version: Cluster::api_version(&read_in).into_owned(),
            adcs: Watch::cluster_wide(kit),
            clusters: Watch::version(kit, read_in),
            machines: Watch::version(kit, capi.read_in::<Machine>()?),
            services: Watch::namespaced(kit).fields("spec.type=LoadBalancer"),
            slices: Watch::namespaced(kit).labels(&format!("{SLICE_OWNER_LABEL} in ({MANAGED_BY},{MIRROR})")),
            // The kinds of Secrets of which there may be thousands, none of them a credential for this operator.
            secrets: Watch::cluster_wide(kit)
                .named("Secret metadata")
                .fields("type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token")
                .identities(),
        })
    }

    fn all(&self, wakes: &Wakes) -> AllObjects {
        AllObjects {
            wakes: wakes.clone(),
            adcs: self.adcs.objects().cache().clone(),
            clusters: self.clusters.objects().cache().clone(),
        }
    }

    /// Wakes what a change of another kind concerns.
    fn subscribe(&self, wakes: &Wakes) {
        let all = self.all(wakes);
        self.adcs.subscribe(all.after(wakes::by_config));
        self.clusters.subscribe(all.after(wakes::by_cluster));
        self.machines.subscribe(all.after(wakes::by_machine));
        self.services.subscribe(all.after(wakes::by_service));
        self.slices.subscribe(all.after(wakes::by_slice));
        self.secrets.subscribe(move |change| all.secret(change));
    }
}

/// The objects of all controllers, to be woken.
#[derive(Clone)]
struct AllObjects {
    wakes: Wakes,
    adcs: Cache<AkoDeploymentConfig>,
    clusters: Cache<Foreign<Cluster>>,
}

impl AllObjects {
    /// Returns what wakes those that `by` names.
    fn after<K>(&self, by: fn(&Change<K>) -> Woken) -> impl Fn(&Change<K>) + Send + Sync + use<K> {
        let all = self.clone();
        move |change| all.wake(by(change))
    }

    fn wake(&self, Woken { clusters, endpoints, adcs }: Woken) {
        let clusters_of = |which| match which {
            Which::All => self.clusters.keys(),
            Which::These(keys) => keys,
        };
        self.wakes.clusters.wake_all(&clusters_of(clusters));
        self.wakes.endpoints.wake_all(&clusters_of(endpoints));
        match adcs {
            Which::All => self.wakes.adcs.wake_all(&self.adcs.keys()),
            Which::These(keys) => self.wakes.adcs.wake_all(&keys),
        }
    }

    /// What the API servers refused of the definitions as they were is tried at once with others.
    fn bundle(&self) {
        self.wakes.adcs.wake_all(&self.adcs.keys());
        self.wakes.clusters.retry_all(&self.clusters.keys());
    }

    /// What has failed with the credentials as they were is tried at once with others.
    fn secret(&self, change: &Change<PartialObjectMeta<Secret>>) {
        let Some(secret) = wakes::changed_secret(change) else { return };
        let adcs = self.adcs.all();
        let naming = adcs.iter().filter(|adc| adc.spec.secrets().any(|named| named.key() == secret));
        let naming: Vec<_> = naming.map(|adc| Key::of(&**adc)).collect();
        for adc in &naming {
            self.wakes.adcs.retry(adc);
        }
        // AKO may be given what a Secret has that is named.
        let named = if naming.is_empty() { Vec::new() } else { self.clusters.keys() };
        let owner = wakes::owner_of(&secret).filter(|cluster| self.clusters.get(cluster).is_some());
        for cluster in owner.iter().chain(&named) {
            self.wakes.clusters.retry(cluster);
        }
    }
}

/// Returns the controller of AKODeploymentConfigs.
fn adcs(kit: &Kit, watches: &Watches, wakes: &Wakes, shared: &Shared) -> Adcs {
    Adcs {
        kit: kit.clone(),
        id: shared.id.clone(),
        manager: kit.field_manager("record"),
        adcs: watches.adcs.objects(),
        triggers: wakes.adcs.clone(),
        clusters: watches.clusters.objects(),
        cluster_triggers: wakes.clusters.clone(),
        services: watches.services.objects().cache().clone(),
        secrets: Arc::clone(&shared.secrets),
        connections: Arc::clone(&shared.connections),
        vcenters: Arc::clone(&shared.vcenters),
        ways: shared.ways.clone(),
        bundle: shared.bundle.clone(),
        memory: Arc::clone(&shared.answers),
    }
}

/// Returns the controller of Clusters.
fn clusters(kit: &Kit, watches: &Watches, wakes: &Wakes, shared: &Shared) -> Clusters {
    let wake = wakes.clusters.clone();
    let sets = Remotes::new(
        kit,
        "workload StatefulSet",
        |watch| watch.only(&Key::new(NAMESPACE, STATEFUL_SET)).identities(),
        move |cluster| wake.wake(cluster),
    );
    let remote = kit.clone();
    Clusters {
        client: kit.client(),
        id: shared.id.clone(),
        manager: kit.field_manager("cluster"),
        clock: kit.clock(),
        clusters: watches.clusters.objects(),
        adcs: watches.adcs.objects().cache().clone(),
        machines: watches.machines.objects(),
        by_cluster: watches.machines.index(|machine| [cluster_of(machine)]),
        clients: WorkloadClients::new(kit.client(), move |config| remote.client_for(config)),
        sets,
        answers: Arc::clone(&shared.answers),
        secrets: Arc::clone(&shared.secrets),
        connections: Arc::clone(&shared.connections),
        triggers: wakes.clusters.clone(),
        adc_triggers: wakes.adcs.clone(),
        ways: shared.ways.clone(),
        bundle: shared.bundle.clone(),
        endpoints: shared.endpoints,
        deadline: shared.deadline,
        services: watches.services.objects().cache().clone(),
        memory: crate::cluster::Memory::default(),
        version: watches.version.clone(),
    }
}

/// Returns the controller of control planes' endpoints.
fn endpoints(kit: &Kit, watches: &Watches, shared: &Shared) -> Endpoints {
    Endpoints {
        client: kit.client(),
        manager: kit.field_manager("endpoint"),
        clock: kit.clock(),
        settings: shared.endpoints,
        clusters: watches.clusters.objects(),
        adcs: watches.adcs.objects().cache().clone(),
        by_cluster: watches.machines.index(|machine| [cluster_of(machine)]),
        services: watches.services.objects(),
        slices: watches.slices.objects(),
        by_service: watches.slices.index(service_of),
    }
}
