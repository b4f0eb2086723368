//! The program: its flags, kinds and rights, and how its parts are put together.

use std::marker::PhantomData;
use std::process::ExitCode;
use std::sync::Arc;

use infra_clients::Trust;
use infra_clients::download::{Downloader, Limits};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::api::storage::v1::CSINode;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::PartialObjectMeta;
use operator_kit::apply_set::PART_OF;
use operator_kit::manifests::rule;
use operator_kit::{CommonArgs, Kit, Operator, Program, Rights, Watch, driver};

use crate::api::{
    CompatibilityConfig, CompatibilityMatrix, DriverSet, GROUP, VSphereConnection, VdoConfig,
    VsphereCloudConfig,
};
use crate::args::Args;
use crate::checkup::Checkups;
use crate::command;
use crate::config::CSI_NAMESPACE;
use crate::connection::{Answers, Connection, Connections, Logins};
use crate::fetch::Fetcher;
use crate::installer::{Asked, Installer, Looks, Memory, Shared, set};
use crate::matrices::Matrices;
use crate::matrix::Driver;
use crate::metrics::{self, Meters};
use crate::nodes::CSI_DRIVER;
use crate::plan::Drivers;
use crate::wakes::{Caches, Wakes};
use crate::watched::BriefNode;

/// The operator.
pub(crate) const OPERATOR: Operator =
    Operator { name: "vdo", group: GROUP, version: env!("CARGO_PKG_VERSION") };
/// Namespace that the shipped manifests install the operator in.
pub(crate) const NAMESPACE: &str = "vmware-system-vdo";

/// The program.
pub struct Vdo;

impl Program for Vdo {
    type Args = Args;
    type Error = anyhow::Error;

    const OPERATOR: Operator = OPERATOR;
    const ABOUT: &'static str =
        "vdo: the network, cloud provider and storage driver of a Kubernetes cluster on vSphere";
    const EXAMPLES: &'static str = "\
Examples:
  # Outside of a cluster, with the rights of your kubeconfig, and manifests from a directory
  vdo --files ./manifests
  # The rights that it needs
  vdo rbac
  # What it would do in the cluster of your kubeconfig
  vdo plan";
    const NAMESPACE: &'static str = NAMESPACE;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn crds() -> Vec<CustomResourceDefinition> {
        vec![
            VdoConfig::crd(),
            VsphereCloudConfig::crd(),
            CompatibilityConfig::crd(),
            DriverSet::crd(),
            VSphereConnection::crd(),
            CompatibilityMatrix::crd(),
        ]
    }

    fn rights() -> Rights {
        Rights {
            namespaced: vec![
                // get: whether what was decided still counts. patch: the finalizers.
                rule(GROUP, &["driversets", "vdoconfigs"], &["get", "list", "patch", "watch"]),
                rule(
                    GROUP,
                    &["compatibilitymatrices", "vspherecloudconfigs", "vsphereconnections"],
                    &["list", "watch"],
                ),
                rule(
                    GROUP,
                    &[
                        "compatibilitymatrices/status",
                        "driversets/status",
                        "vdoconfigs/status",
                        "vspherecloudconfigs/status",
                        "vsphereconnections/status",
                    ],
                    &["patch"],
                ),
            ],
            cluster: [reads(), objects(), grants()].concat(),
        }
    }

    fn commands() -> Vec<clap::Command> {
        command::all()
    }

    fn command(matches: &clap::ArgMatches) -> ExitCode {
        command::run(matches)
    }

    async fn run(kit: Kit, args: Args) -> anyhow::Result<()> {
        let agent = ("vdo", env!("CARGO_PKG_VERSION"));
        let meters = Arc::new(Meters::register(kit.metrics().registry())?);
        let downloader = Downloader::new(&Trust::System, agent, Limits::default())?;
        kit.lead().await;
        let watches = Watches::new(&kit);
        let wakes = watches.wakes();
        watches.subscribe(&wakes);
        metrics::show_conditions(kit.metrics(), &wakes.caches);
        let checkups = Arc::new(Checkups::default());
        meters.follow(kit.metrics(), &checkups);
        let namespace = args.common.lease_namespace();
        let fetcher = Fetcher {
            client: kit.client(),
            sources: namespace.clone(),
            namespace,
            downloader,
            directory: args.files.clone(),
            pull_secret: args.pull_secret.clone(),
            aside: None,
        };
        let upgrade_timeout = SignedDuration::try_from(args.upgrade_timeout)?;
        let shared =
            Shared { upgrade_timeout, ..shared(&kit, &watches, &wakes, fetcher, (checkups, meters)) };
        let shared = Arc::new(shared);
        watches.nodes.spawn().keep();
        watches.csi_nodes.spawn().keep();
        watches.secrets.spawn().keep();
        watches.config_maps.spawn().keep();
        watches.daemon_sets.spawn().keep();
        watches.deployments.spawn().keep();
        let vdo_configs = Arc::new(Installer { shared: Arc::clone(&shared), kind: PhantomData });
        let driver_sets = Arc::new(Installer { shared: Arc::clone(&shared), kind: PhantomData });
        let matrices = Arc::new(Matrices { shared: Arc::clone(&shared) });
        let (clouds, connections) = (Arc::new(controller(&shared)), Arc::new(controller(&shared)));
        tokio::try_join!(
            driver::run(&kit, watches.vdo_configs, wakes.vdo_configs.clone(), vdo_configs),
            driver::run(&kit, watches.driver_sets, wakes.driver_sets.clone(), driver_sets),
            driver::run(&kit, watches.matrices, wakes.matrices.clone(), matrices),
            driver::run(&kit, watches.clouds, wakes.clouds.clone(), clouds),
            driver::run(&kit, watches.connections, wakes.connections.clone(), connections),
        )?;
        Ok(())
    }
}

/// What is only read.
fn reads() -> Vec<PolicyRule> {
    vec![
        rule("", &["nodes"], &["list", "watch"]),
        rule("storage.k8s.io", &["csinodes"], &["list", "watch"]),
        // What keeps a driver from being removed.
        rule("", &["persistentvolumes", "pods"], &["list"]),
        // Why a driver does not run.
        rule("", &["pods/log"], &["get"]),
        // Also for the preflight checks.
        rule("storage.k8s.io", &["storageclasses", "volumeattachments"], &["list"]),
        rule("snapshot.storage.k8s.io", &["volumesnapshotcontents", "volumesnapshots"], &["list"]),
    ]
}

/// The objects that drivers consist of.
fn objects() -> Vec<PolicyRule> {
    const ALL: &[&str] = &["create", "delete", "get", "list", "patch"];
    const LISTED: &[&str] = &["create", "list"];
    const CHANGED: &[&str] = &["delete", "patch"];
    const WATCHED: &[&str] = &["create", "delete", "get", "list", "patch", "watch"];
    vec![
        // Also accounts of vCenters, matrices, the cache of files, and what is noted of a driver.
        rule("", &["configmaps", "secrets"], WATCHED),
        rule("apps", &["daemonsets", "deployments"], WATCHED),
        rule("", &["serviceaccounts", "services"], ALL),
        rule("", &["namespaces"], LISTED),
        // The UID of the first is the id of the cluster.
        named(rule("", &["namespaces"], &["get"]), &["kube-system", CSI_NAMESPACE]),
        named(rule("", &["namespaces"], CHANGED), &[CSI_NAMESPACE]),
        rule(
            "admissionregistration.k8s.io",
            &["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            ALL,
        ),
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], ALL),
        rule("apiregistration.k8s.io", &["apiservices"], ALL),
        rule("storage.k8s.io", &["csidrivers"], LISTED),
        named(rule("storage.k8s.io", &["csidrivers"], &["delete", "get", "patch"]), &[CSI_DRIVER]),
    ]
}

fn named(rule: PolicyRule, names: &[&str]) -> PolicyRule {
    PolicyRule { resource_names: Some(names.iter().map(|name| (*name).to_owned()).collect()), ..rule }
}

/// The rights of drivers: vdo may grant rights that it does not have itself.
fn grants() -> Vec<PolicyRule> {
    let roles = &["clusterroles", "roles"];
    let bindings = &["clusterrolebindings", "rolebindings"];
    let verbs = &["create", "delete", "get", "list", "patch"];
    vec![
        rule("rbac.authorization.k8s.io", bindings, verbs),
        rule("rbac.authorization.k8s.io", roles, &[verbs.as_slice(), &["bind", "escalate"]].concat()),
    ]
}

fn shared(
    kit: &Kit,
    watches: &Watches,
    wakes: &Wakes,
    fetcher: Fetcher,
    (checkups, meters): (Arc<Checkups>, Arc<Meters>),
) -> Shared {
    let manager = kit.field_manager("drivers");
    Shared {
        client: kit.client(),
        clock: kit.clock(),
        caches: wakes.caches.clone(),
        asked: Some(watches.asked(kit)),
        nodes: watches.nodes.objects().cache().clone(),
        csi_nodes: watches.csi_nodes.objects().cache().clone(),
        logins: Logins { client: kit.client() },
        answers: Arc::new(Answers::default()),
        sets: Drivers::of(|driver| set(&kit.client(), &manager, driver)),
        memory: Arc::clone(&wakes.memory),
        looks: Looks::default(),
        fetcher,
        wakes: wakes.clone(),
        checkups,
        meters,
        manager,
        upgrade_timeout: SignedDuration::MAX,
    }
}

/// Returns the controller of a kind of connections.
fn controller<C: Connection>(shared: &Shared) -> Connections<C> {
    Connections {
        logins: shared.logins.clone(),
        answers: Arc::clone(&shared.answers),
        wakes: shared.wakes.clone(),
        clock: shared.clock,
        kind: PhantomData,
    }
}

/// What is watched.
struct Watches {
    vdo_configs: Watch<VdoConfig>,
    driver_sets: Watch<DriverSet>,
    clouds: Watch<VsphereCloudConfig>,
    connections: Watch<VSphereConnection>,
    matrices: Watch<CompatibilityMatrix>,
    nodes: Watch<BriefNode>,
    csi_nodes: Watch<CSINode>,
    secrets: Watch<PartialObjectMeta<Secret>>,
    config_maps: Watch<PartialObjectMeta<ConfigMap>>,
    daemon_sets: Watch<PartialObjectMeta<DaemonSet>>,
    deployments: Watch<PartialObjectMeta<Deployment>>,
}

impl Watches {
    fn new(kit: &Kit) -> Self {
        let ids = Driver::ALL.map(|driver| set(&kit.client(), "", driver).id());
        let members = format!("{PART_OF} in ({})", ids.join(","));
        Self {
            // With their annotations.
            vdo_configs: Watch::namespaced(kit),
            driver_sets: Watch::namespaced(kit),
            clouds: Watch::namespaced(kit).lean(),
            connections: Watch::namespaced(kit).lean(),
            matrices: Watch::namespaced(kit).lean(),
            nodes: Watch::cluster_wide(kit),
            csi_nodes: Watch::cluster_wide(kit).lean(),
            // The kinds of Secrets of which there may be thousands, none of them a credential for this operator.
            secrets: Watch::cluster_wide(kit)
                .named("Secret metadata")
                .fields("type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token")
                .identities(),
            // There is one of these in each namespace.
            config_maps: Watch::cluster_wide(kit)
                .named("ConfigMap metadata")
                .fields("metadata.name!=kube-root-ca.crt")
                .identities(),
            daemon_sets: Watch::cluster_wide(kit).named("DaemonSet metadata").labels(&members).identities(),
            deployments: Watch::cluster_wide(kit).named("Deployment metadata").labels(&members).identities(),
        }
    }

    fn asked(&self, kit: &Kit) -> Asked {
        let watched = kit.namespaces();
        Asked {
            vdo_configs: self.vdo_configs.objects(),
            driver_sets: self.driver_sets.objects(),
            namespaces: if watched.is_empty() { vec![String::new()] } else { watched.to_vec() },
            changing: tokio::sync::Mutex::default(),
        }
    }

    fn wakes(&self) -> Wakes {
        let caches = Caches {
            vdo_configs: self.vdo_configs.objects().cache().clone(),
            driver_sets: self.driver_sets.objects().cache().clone(),
            clouds: self.clouds.objects().cache().clone(),
            connections: self.connections.objects().cache().clone(),
            matrices: self.matrices.objects().cache().clone(),
        };
        Wakes {
            vdo_configs: operator_kit::Triggers::default(),
            driver_sets: operator_kit::Triggers::default(),
            clouds: operator_kit::Triggers::default(),
            connections: operator_kit::Triggers::default(),
            matrices: operator_kit::Triggers::default(),
            caches,
            memory: Arc::new(Memory::default()),
        }
    }

    fn subscribe(&self, wakes: &Wakes) {
        wakes.after(&self.vdo_configs);
        wakes.after(&self.driver_sets);
        wakes.after(&self.clouds);
        wakes.after(&self.connections);
        wakes.after(&self.matrices);
        wakes.after_nodes(&self.nodes, &self.csi_nodes);
        wakes.after_members(&self.daemon_sets);
        wakes.after_members(&self.deployments);
        let of_secrets = wakes.clone();
        self.secrets.subscribe(move |change| of_secrets.secret(change));
        let of_config_maps = wakes.clone();
        self.config_maps.subscribe(move |change| of_config_maps.config_map(change));
    }
}
