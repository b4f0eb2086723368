//! The program: its flags, kinds and rights, and how its parts are put together.

use std::sync::Arc;

use infra_clients::capi::{CORE_GROUP, Capi, Cluster, Machine, WorkloadClients};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, Resource};
use operator_kit::manifests::rule;
use operator_kit::{
    CommonArgs, Foreign, Guarded, Key, Kit, Operator, Program, Remotes, Rights, Triggers, Watch, driver,
};

use crate::api::{AkoDeploymentConfig, GROUP, PRE_TERMINATE_HOOK};
use crate::args::Args;
use crate::cluster::Clusters;
use crate::delivery::NAMESPACE;

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
        let read: &[&str] = &["get", "list", "watch"];
        Rights {
            namespaced: vec![
                // patch: the finalizer, the pre-terminate hooks.
                rule(CORE_GROUP, &["clusters", "machines"], &["get", "list", "patch", "watch"]),
            ],
            cluster: vec![
                rule(GROUP, &["akodeploymentconfigs"], read),
                // Kubeconfigs, and the Secrets that AKODeploymentConfigs name.
                rule("", &["secrets"], &["get"]),
            ],
        }
    }

    async fn run(kit: Kit, args: Args) -> anyhow::Result<()> {
        // Before anything is waited for: what is wrong with the flags is reported at once.
        let ako = args.ako()?;
        kit.lead().await;
        let capi = Capi::discover(kit.client()).await?;
        let clusters = Watch::<Foreign<Cluster>>::version(&kit, capi.read_in::<Cluster>()?);
        let machines = Watch::<Foreign<Machine>>::version(&kit, capi.read_in::<Machine>()?);
        let adcs = Watch::<AkoDeploymentConfig>::cluster_wide(&kit);
        let triggers = Triggers::default();
        adcs.subscribe({
            let (triggers, clusters) = (triggers.clone(), clusters.objects());
            move |_| triggers.wake_all(&clusters.cache().keys())
        });
        machines.subscribe({
            let triggers = triggers.clone();
            move |change| {
                if change.before.as_ref().map(hook_of) != change.after.as_ref().map(hook_of)
                    && let Some(cluster) =
                        change.newest().and_then(Guarded::valid).map(|machine| cluster_of(machine))
                {
                    triggers.wake(&cluster);
                }
            }
        });
        let sets = Remotes::new(
            &kit,
            "workload StatefulSet",
            |watch| watch.fields(&format!("metadata.namespace={NAMESPACE}")),
            {
                let triggers = triggers.clone();
                move |cluster| triggers.wake(cluster)
            },
        );
        let remote = kit.clone();
        let reconciler = Clusters {
            client: kit.client(),
            manager: kit.field_manager("cluster"),
            adcs: adcs.objects().cache().clone(),
            machines: machines.objects(),
            by_cluster: machines.index(|machine| [cluster_of(machine)]),
            clients: WorkloadClients::new(kit.client(), move |config| remote.client_for(config)),
            sets,
            ako,
            memory: crate::cluster::Memory::default(),
        };
        adcs.spawn().keep();
        machines.spawn().keep();
        Ok(driver::run(&kit, clusters, triggers, Arc::new(reconciler)).await?)
    }
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
