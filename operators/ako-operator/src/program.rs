//! The program: its flags, kinds and rights, and how its parts are put together.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use infra_clients::capi::{Addons, CORE_GROUP, Capi, Cluster, Machine, WorkloadClients, secret_name};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::{CustomResourceExt, Resource, ResourceExt};
use operator_kit::manifests::rule;
use operator_kit::webhook::{Webhook, WebhookArgs};
use operator_kit::{
    CommonArgs, Foreign, Guarded, Key, Kit, Operator, Program, Remotes, Rights, Triggers, Watch, conditions,
    driver,
};

use crate::adc::Adcs;
use crate::api::{AkoDeploymentConfig, AkoDeploymentConfigStatus, GROUP, PRE_TERMINATE_HOOK};
use crate::args::Args;
use crate::cluster::Clusters;
use crate::connections::Connections;
use crate::delivery::{MANAGED_BY, NAMESPACE, STATEFUL_SET, Setting, Ways, addon};
use crate::endpoint::objects::{self, MIRROR, SERVICE_LABEL, SLICE_OWNER_LABEL};
use crate::endpoint::{Endpoints, Settings, share_of};
use crate::meters::Meters;
use crate::metrics::show_conditions;
use crate::secrets::Secrets;
use crate::selection::readiness;
use crate::user;
use crate::vcenters::Vcenters;

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
                rule("ako.vmware.com", &["aviinfrasettings"], &["create", "get", "patch"]),
                rule("run.tanzu.vmware.com", &["tanzukubernetesreleases"], &["get"]),
                // Kubeconfigs, and the Secrets that AKODeploymentConfigs name. Watched without their content.
                rule("", &["secrets"], &["get", "list", "watch"]),
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
        let watches = Watches::new(&kit, &capi)?;
        let wakes = Wakes::default();
        watches.subscribe(&wakes);
        show_conditions(kit.metrics(), &watches.adcs.objects(), &watches.clusters.objects());
        let shared = Shared {
            secrets: Arc::new(Secrets::new(kit.client(), watches.secrets.objects().cache().clone())),
            connections: Arc::new(Connections::new(meters.observer())),
            vcenters: Arc::default(),
            answers: Arc::default(),
            ways,
            endpoints: args.endpoints(),
        };
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
    secrets: Arc<Secrets>,
    /// Clients of the AVI controllers.
    connections: Arc<Connections>,
    vcenters: Arc<Vcenters>,
    /// What AVI and the vCenters had when they were asked last.
    answers: Arc<crate::adc::Memory>,
    ways: Ways,
    endpoints: Settings,
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
#[derive(Default)]
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
                .fields("type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"),
        })
    }

    /// Wakes what a change of another kind concerns.
    fn subscribe(&self, wakes: &Wakes) {
        self.adcs.subscribe({
            let (wake, clusters) = (wakes.clusters.clone(), self.clusters.objects());
            let (wake_adcs, adcs) = (wakes.adcs.clone(), self.adcs.objects());
            let wake_endpoints = wakes.endpoints.clone();
            move |change| {
                let (before, after) = (change.before.as_ref(), change.after.as_ref());
                if before.map(offer_of) != after.map(offer_of) {
                    wake.wake_all(&clusters.cache().keys());
                    wake_endpoints.wake_all(&clusters.cache().keys());
                }
                let known: HashSet<Key> = before.into_iter().flat_map(delivered_to).collect();
                let now: HashSet<Key> = after.into_iter().flat_map(delivered_to).collect();
                wake.wake_all(&now.difference(&known).cloned().collect::<Vec<_>>());
                // A Cluster that has left one may be waited for by another.
                if !known.is_subset(&now) || before.map(claim_of) != after.map(claim_of) {
                    wake_adcs.wake_all(&adcs.cache().keys());
                }
            }
        });
        self.clusters.subscribe({
            let (wake, adcs) = (wakes.adcs.clone(), self.adcs.objects());
            move |change| {
                if change.before.as_ref().map(wish_of) != change.after.as_ref().map(wish_of) {
                    wake.wake_all(&adcs.cache().keys());
                }
            }
        });
        self.machines.subscribe({
            let (wake, wake_endpoints) = (wakes.clusters.clone(), wakes.endpoints.clone());
            move |change| {
                let (before, after) = (change.before.as_ref(), change.after.as_ref());
                let newest = change.newest().and_then(Guarded::valid);
                let Some(cluster) = newest.map(|machine| cluster_of(machine)) else { return };
                if before.map(hook_of) != after.map(hook_of) {
                    wake.wake(&cluster);
                }
                if before.map(share_of) != after.map(share_of) {
                    wake_endpoints.wake(&cluster);
                }
            }
        });
        self.services.subscribe({
            let (wake, wake_clusters) = (wakes.endpoints.clone(), wakes.clusters.clone());
            move |change| {
                let cluster = change.newest().map(Key::of).as_ref().and_then(balanced_by);
                wake.wake_all(&cluster);
                if change.before.is_none() {
                    wake_clusters.wake_all(&cluster);
                }
            }
        });
        self.slices.subscribe({
            let wake = wakes.endpoints.clone();
            move |change| {
                let slice = change.newest().and_then(Guarded::valid);
                wake.wake_all(&slice.and_then(|slice| service_of(slice)).as_ref().and_then(balanced_by));
            }
        });
        self.subscribe_secrets(wakes);
    }
}

impl Watches {
    /// What has failed with the credentials as they were is tried at once with others.
    fn subscribe_secrets(&self, wakes: &Wakes) {
        self.secrets.subscribe({
            let (wake_adcs, wake) = (wakes.adcs.clone(), wakes.clusters.clone());
            let (adcs, clusters) = (self.adcs.objects(), self.clusters.objects());
            move |change| {
                let version =
                    |meta: &Guarded<PartialObjectMeta<Secret>>| meta.meta().resource_version.clone();
                let Some(secret) = change.newest().map(Key::of) else { return };
                if change.before.as_ref().map(version) == change.after.as_ref().map(version) {
                    return;
                }
                let adcs = adcs.cache().all();
                let naming = adcs.iter().filter(|adc| adc.spec.secrets().any(|named| named.key() == secret));
                let naming: Vec<_> = naming.map(|adc| Key::of(&**adc)).collect();
                for adc in &naming {
                    wake_adcs.retry(adc);
                }
                // AKO may be given what a Secret has that is named.
                let named = if naming.is_empty() { Vec::new() } else { clusters.cache().keys() };
                let owner = owner_of(&secret).filter(|cluster| clusters.cache().get(cluster).is_some());
                for cluster in owner.iter().chain(&named) {
                    wake.retry(cluster);
                }
            }
        });
    }
}

/// Returns the controller of AKODeploymentConfigs.
fn adcs(kit: &Kit, watches: &Watches, wakes: &Wakes, shared: &Shared) -> Adcs {
    Adcs {
        kit: kit.clone(),
        manager: kit.field_manager("record"),
        adcs: watches.adcs.objects(),
        triggers: wakes.adcs.clone(),
        clusters: watches.clusters.objects().cache().clone(),
        cluster_triggers: wakes.clusters.clone(),
        secrets: Arc::clone(&shared.secrets),
        connections: Arc::clone(&shared.connections),
        vcenters: Arc::clone(&shared.vcenters),
        memory: Arc::clone(&shared.answers),
    }
}

/// Returns the controller of Clusters.
fn clusters(kit: &Kit, watches: &Watches, wakes: &Wakes, shared: &Shared) -> Clusters {
    let wake = wakes.clusters.clone();
    let sets = Remotes::new(
        kit,
        "workload StatefulSet",
        |watch| watch.fields(&format!("metadata.namespace={NAMESPACE},metadata.name={STATEFUL_SET}")),
        move |cluster| wake.wake(cluster),
    );
    let remote = kit.clone();
    Clusters {
        client: kit.client(),
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
        ways: shared.ways.clone(),
        endpoints: shared.endpoints,
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

/// Returns the key of the Cluster whose control plane the Service of this key balances.
fn balanced_by(service: &Key) -> Option<Key> {
    objects::cluster_of(service.namespace(), service.name())
}

/// Returns the key of an EndpointSlice's Service.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.labels().get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// Returns what of an AKODeploymentConfig the Clusters have to know: its spec, whether it goes, and whether it is ready.
fn offer_of(adc: &Guarded<AkoDeploymentConfig>) -> impl PartialEq + use<> {
    let status = adc.valid().and_then(|adc| adc.status.clone()).unwrap_or_default();
    let ready = conditions::get(&status.conditions, conditions::READY).map(|ready| ready.status.clone());
    let meta = adc.meta();
    (
        meta.uid.clone(),
        meta.generation,
        meta.deletion_timestamp.is_some(),
        status.observed_generation,
        status.controller_version,
        ready,
    )
}

/// Returns the Clusters that an AKODeploymentConfig has recorded.
fn delivered_to(adc: &Guarded<AkoDeploymentConfig>) -> Vec<Key> {
    let status = adc.valid().and_then(|adc| adc.status.as_ref());
    status.into_iter().flat_map(AkoDeploymentConfigStatus::clusters).collect()
}

/// Returns what of an AKODeploymentConfig others have to know: what it has added to AVI, and whether it goes.
fn claim_of(adc: &Guarded<AkoDeploymentConfig>) -> impl PartialEq + use<> {
    let added = adc.valid().and_then(|adc| adc.status.as_ref()?.added.clone());
    (adc.meta().uid.clone(), adc.meta().deletion_timestamp.is_some(), added)
}

/// Returns what of a Cluster decides which AKODeploymentConfig it takes AKO from.
fn wish_of(cluster: &Guarded<Foreign<Cluster>>) -> impl PartialEq + use<> {
    let meta = cluster.meta();
    let readiness = cluster.valid().map(|cluster| readiness(cluster));
    let is_going = meta.deletion_timestamp.is_some();
    (meta.uid.clone(), meta.labels.clone(), meta.finalizers.clone(), is_going, meta.generation, readiness)
}

/// Returns the key of the Cluster of which a Secret would be the kubeconfig, the credentials of its user on AVI, or the add-on Secret.
fn owner_of(secret: &Key) -> Option<Key> {
    // Each of their names is the Cluster's and an end.
    let ends = [secret_name(""), user::secret_name(""), addon::secret_name("")];
    let name = ends.iter().find_map(|end| secret.name().strip_suffix(&**end))?;
    Some(Key::new(secret.namespace(), name))
}

/// Returns the key of a Machine's Cluster.
fn cluster_of(machine: &Machine) -> Key {
    Key::new(machine.namespace(), &machine.spec.cluster_name)
}

/// Returns what of a Machine its Cluster has to know: whether it is being deleted, and its hook.
fn hook_of(machine: &Guarded<Foreign<Machine>>) -> (bool, Option<String>) {
    let meta = machine.meta();
    let hook = meta.annotations.as_ref().and_then(|annotations| annotations.get(PRE_TERMINATE_HOOK));
    (meta.deletion_timestamp.is_some(), hook.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_a_cluster_leads_to_it() {
        let cluster = Key::new("team", "web-kubeconfig-1");
        for name in [secret_name, user::secret_name, addon::secret_name] {
            assert_eq!(owner_of(&Key::new("team", &name(cluster.name()))), Some(cluster.clone()));
        }
        assert_eq!(owner_of(&Key::new("team", "web-tls")), None);
    }
}
