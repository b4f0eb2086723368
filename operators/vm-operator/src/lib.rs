//! vm-operator: groups of equal virtual machines, cloned from a vCenter template and kept at the desired count, size and
//! power state.
//!
//! Owns the machines that have its marker, and the folders they stand in, under `<datacenter>/vm/vm-operator`; never touches
//! another machine.
//!
//! ```text
//!   VmGroup ──────────▶ vmgroup ──creates, deletes──▶ VmInstance ──────▶ vminstance
//!      ▲                 │  ▲  ▲                          │               │  ▲   ▲ place
//!      └──── status ─────┘  │  └──────── changes ─────────┘               │  │   │
//!                           │                                             │  │  clone queue
//!                 folder    │ responses, changes of machines,             │  │
//!                 requests  │ folders, tasks                     requests │  │
//!                    ▼      └──────────────── triggers ◀───────────┐      ▼  └── triggers
//!                 requests ─▶ infra_clients::vsphere::vms: inventory of one collector ──▶ vCenter
//! ```
//!
//! Each controller has the same four steps: observe (reads caches), plan (pure), apply (remembers, queues one request, or writes VmInstances),
//! status (pure). No reconcile waits for the vCenter.

pub mod api;
pub mod args;
mod clone_queue;
mod context;
mod detach;
mod error;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod in_flight;
mod lines;
mod memory;
mod meters;
mod metrics;
#[cfg(test)]
mod model;
mod requests;
mod triggers;
mod vcenter;
mod visibility;
mod vmgroup;
mod vminstance;

use std::sync::Arc;
use std::time::Duration;

use infra_clients::vsphere::vms::{self, Vms};
use infra_clients::vsphere::{self, Session};
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use operator_kit::manifests::rule;
use operator_kit::{CommonArgs, Kit, Objects, Operator, Program, Rights, Watch, driver};

use crate::api::names::Marker;
use crate::api::{GROUP, OWNER_MARKER, VmGroup, VmInstance};
use crate::args::Args;
use crate::context::{Context, Settings};
use crate::meters::Meters;
use crate::metrics::Gauges;

/// How long the first look at the vCenter may take before the controllers start without it.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long the vCenter may be out of sight before statuses say so.
const GRACE: Duration = Duration::from_secs(10);
/// Calls that read from the vCenter at the same time, beside the requests.
const READS: usize = 8;
/// How long logging out may take.
const LOGOUT: Duration = Duration::from_secs(3);

/// The program.
pub struct VmOperator;

impl Program for VmOperator {
    type Args = Args;
    type Error = anyhow::Error;

    const OPERATOR: Operator =
        Operator { name: "vm-operator", group: GROUP, version: env!("CARGO_PKG_VERSION") };
    const ABOUT: &'static str = "vm-operator: keeps groups of virtual machines, cloned from vCenter templates, at their desired count";
    const EXAMPLES: &'static str = "\
Examples:
  # Outside of a cluster, with the rights of your kubeconfig
  # (for a lab: any certificate is trusted)
  VC_HOST=vcenter.example.com VC_USER=vm-operator@vsphere.local VC_PASS='…' \\
    vm-operator --insecure
  # Only two namespaces; vm-operator rbac with the same flag prints the roles
  vm-operator --watch-namespace team-a,team-b
  # Completions for this shell
  source <(vm-operator completions bash)";
    const NAMESPACE: &'static str = "codeconnect-vm-operator-system";

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    fn crds() -> Vec<CustomResourceDefinition> {
        vec![VmGroup::crd(), VmInstance::crd()]
    }

    fn rights() -> Rights {
        let kube_system = PolicyRule {
            resource_names: Some(vec!["kube-system".to_owned()]),
            ..rule("", &["namespaces"], &["get"])
        };
        Rights {
            namespaced: vec![
                // patch: the finalizers.
                rule(GROUP, &["vmgroups"], &["get", "list", "patch", "watch"]),
                rule(GROUP, &["vminstances"], &["create", "delete", "get", "list", "patch", "watch"]),
                rule(GROUP, &["vmgroups/status", "vminstances/status"], &["patch"]),
                // Owner references that block the group's deletion, where that is enforced.
                rule(GROUP, &["vmgroups/finalizers"], &["update"]),
            ],
            cluster: vec![kube_system],
        }
    }

    async fn run(kit: Kit, args: Args) -> anyhow::Result<()> {
        // Before anything is waited for: what is wrong with the flags is reported at once.
        let session = args.vsphere()?;
        operate(kit, args, session).await
    }
}

/// Returns the machines that the statuses name, once the caches are complete; an error while the operator may not read a namespace.
fn recorded(kit: &Kit, instances: Objects<VmInstance>, cluster: String) -> vms::Recorded {
    let kit = kit.clone();
    vms::Recorded::new(move || {
        let (kit, instances, cluster) = (kit.clone(), instances.clone(), cluster.clone());
        async move {
            kit.caches().await;
            let refused = kit.unserved();
            if !refused.is_empty() {
                return Err(format!(
                    "the operator may not read these namespaces of WATCH_NAMESPACE, which may have machines in it: {}",
                    refused.join(", ")
                ));
            }
            let instances = instances.cache().all();
            Ok(instances.iter().filter_map(|instance| recorded_vm(&cluster, instance)).collect())
        }
    })
}

fn recorded_vm(cluster: &str, instance: &VmInstance) -> Option<vms::RecordedVm> {
    Some(vms::RecordedVm {
        moref: vminstance::recorded(instance)?,
        vcenter: vminstance::recorded_vcenter(instance).map(str::to_owned),
        marker: (OWNER_MARKER, Marker::of(cluster, instance).to_string()),
    })
}

/// Has the gauges follow the controllers once the caches are complete, and says in the log when the inventory is complete as well: from
/// then on the controllers work on all objects and all machines. Administrators wait for the line.
async fn report_start(kit: &Kit, ctx: &Arc<Context>, gauges: Gauges) {
    let stop = kit.shutdown();
    let start = async {
        // Until then healthy machines would count as orphans.
        kit.caches().await;
        gauges.follow(ctx);
        if !triggers::synced(&ctx.vms).await {
            return;
        }
        match kit.unserved() {
            all if all.is_empty() => tracing::info!(
                "the controllers work: all objects of Kubernetes and the vCenter's inventory are known"
            ),
            refused => tracing::warn!(
                namespaces = ?refused,
                "the controllers work, but not in these namespaces of WATCH_NAMESPACE, which the operator may not read: create those \
                 that do not exist, and apply what `vm-operator rbac --watch-namespace` prints"
            ),
        }
    };
    tokio::select! {
        () = start => {}
        () = stop.cancelled() => {}
    }
}

/// Runs both controllers against the vCenter of `session` until the kit shuts down.
///
/// # Errors
/// If a setting cannot be used, or the cluster has no id.
pub async fn operate(kit: Kit, args: Args, session: vsphere::Config) -> anyhow::Result<()> {
    let vms = args.vms()?;
    let meters = Meters::register(kit.metrics().registry())?;
    let gauges = Gauges::register(kit.metrics().registry())?;
    let readiness = kit.readiness("vcenter");
    if args.common.enable_leader_election {
        // A standby has no vCenter to reach yet, and is ready to take over.
        readiness.ready_with("not tried, standby");
    }
    let leadership = kit.lead().await;
    readiness.not_ready("the vCenter was not reached yet");

    let concurrency = requests::CONCURRENCY + READS;
    let session = vsphere::Config { observer: Some(meters.observer()), concurrency, ..session };
    let session = Session::start(session)?;
    let groups = Watch::<VmGroup>::namespaced(&kit).lean();
    let instances = Watch::<VmInstance>::namespaced(&kit).lean();
    let cluster = kit.cluster_id(&args.cluster).await?;
    let vms = vms::Config { recorded: Some(recorded(&kit, instances.objects(), cluster.clone())), ..vms };
    let vms = Vms::start(session.clone(), vms);
    let settings =
        Settings { cluster, max_clones: args.max_clones, max_replicas: args.max_replicas, grace: GRACE };
    let ctx = Arc::new(Context::new(&kit, vms.clone(), &groups, &instances, meters, settings));
    triggers::subscribe(&ctx, &groups, &instances);
    let controllers = async {
        // Objects that are first reconciled with a complete inventory need no second pass.
        let _ = tokio::time::timeout(FIRST_LOOK, triggers::synced(&vms)).await;
        let (group_triggers, instance_triggers) =
            (ctx.memory.group_triggers.clone(), ctx.memory.instance_triggers.clone());
        let start = async {
            report_start(&kit, &ctx, gauges).await;
            Ok(())
        };
        tokio::try_join!(
            start,
            driver::run(&kit, groups, group_triggers, Arc::new(vmgroup::VmGroups(Arc::clone(&ctx)))),
            driver::run(
                &kit,
                instances,
                instance_triggers,
                Arc::new(vminstance::VmInstances(Arc::clone(&ctx)))
            ),
        )
    };
    let result = tokio::select! {
        result = controllers => result.map(|_| ()),
        () = triggers::forward(Arc::clone(&ctx), readiness) => Ok(()),
        () = requests::run(Arc::clone(&ctx), leadership) => Ok(()),
    };
    // Else the vCenter keeps the session until it idles out.
    let logout = async {
        vms.close().await;
        session.close().await;
    };
    if tokio::time::timeout(LOGOUT, logout).await.is_err() {
        tracing::warn!("the vCenter did not answer the logout; it ends the session when it idles out");
    }
    Ok(result?)
}
