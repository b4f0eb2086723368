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
//! Each controller has the same four steps: observe (reads caches), plan (pure), apply (remembers, or queues one request),
//! status (pure). No reconcile waits for the vCenter.

pub mod api;
pub mod args;
mod clone_queue;
mod context;
mod error;
<<<<<<< HEAD
mod in_flight;
mod orphans;
mod requests;
mod triggers;
mod visibility;
=======
mod gate;
mod ledger;
pub mod manifests;
mod vcenter;
>>>>>>> clients
mod vmgroup;
mod vminstance;

use std::sync::Arc;
use std::time::Duration;

<<<<<<< HEAD
use infra_clients::vsphere::Session;
use infra_clients::vsphere::vms::Vms;
use k8s_openapi::api::rbac::v1::PolicyRule;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResourceExt, ResourceExt};
use operator_kit::manifests::rule;
use operator_kit::{CommonArgs, Key, Kit, Operator, Program, Rights, Watch, driver};
=======
use futures::StreamExt;
use futures::channel::mpsc;
use infra_clients::vsphere::Session;
use infra_clients::vsphere::vms::Vms;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use operator_kit::{Kit, Operator, Watch, driver};
>>>>>>> clients

use crate::api::{GROUP, VmGroup, VmInstance};
use crate::args::Args;
use crate::context::{Context, Settings};

/// How long the first look at the vCenter may take before the controllers start without it.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long the vCenter may be out of sight before statuses say so.
const GRACE: Duration = Duration::from_secs(10);
/// How long logging out may take.
const LOGOUT: Duration = Duration::from_secs(3);

<<<<<<< HEAD
/// The program.
pub struct VmOperator;

impl Program for VmOperator {
    type Args = Args;
    type Error = anyhow::Error;

    const OPERATOR: Operator =
        Operator { name: "vm-operator", group: GROUP, version: env!("CARGO_PKG_VERSION") };
    const ABOUT: &'static str =
        "vm-operator: keeps groups of virtual machines, cloned from vCenter templates, at their desired count";
    const NAMESPACE: &'static str = "codeconnect-vm-operator-system";

    fn common(args: &Args) -> &CommonArgs {
        &args.common
=======
/// Runs the operator until the kit shuts down.
pub async fn run(kit: Kit, args: args::Args) -> anyhow::Result<()> {
    // Before anything is waited for: what is wrong with the arguments is said at once.
    let (session, vms) = args.vsphere()?;
    let readiness = kit.readiness("vcenter");
    if args.common.enable_leader_election {
        // A standby has nothing to reach yet, and is ready to take over.
        readiness.ready();
>>>>>>> clients
    }

<<<<<<< HEAD
    fn crds() -> Vec<CustomResourceDefinition> {
        vec![VmGroup::crd(), VmInstance::crd()]
    }
=======
    let session = Session::start(session)?;
    let vcenter = Vms::start(session.clone(), vms);
    let groups = Watch::<VmGroup>::new(&kit, Api::all(kit.client()), watcher::Config::default());
    let mut instances = Watch::<VmInstance>::new(&kit, Api::all(kit.client()), watcher::Config::default());
    let (wake_group, woken_groups) = mpsc::unbounded();
    let (wake_instance, woken_instances) = mpsc::unbounded();
    // By the spec, since an owner reference can be taken away.
    let group_news = instances.tap(|i| {
        let instance = i.object().ok()?;
        Some(ObjectRef::new(&instance.spec.group).within(instance.namespace()?.as_str()))
    });
    let departures = {
        let store = instances.store();
        instances.tap(move |i| {
            let reference = ObjectRef::from_obj(i);
            let gone = store.get(&reference).is_none_or(|held| held.uid() != i.uid());
            gone.then(|| (i.uid().unwrap_or_default(), i.name_any(), i.namespace().unwrap_or_default()))
        })
    };
    let ctx = Arc::new(Context {
        leadership,
        vcenter: vcenter.clone(),
        groups: groups.store(),
        instances: instances.store(),
        ledger: ledger::Ledger::default(),
        settings: Settings { max_clones: args.max_clones, grace: GRACE },
        cluster,
        wake_instance,
        gate: Mutex::new(gate::Gate::new(args.max_clones)),
        lost_since: Mutex::new(Some(Instant::now())),
        kit: kit.clone(),
    });
>>>>>>> clients

    fn rights() -> Rights {
        let kube_system = PolicyRule {
            resource_names: Some(vec!["kube-system".to_owned()]),
            ..rule("", &["namespaces"], &["get"])
        };
        Rights {
            namespaced: vec![
                // patch: the finalizers.
                rule(GROUP, &["vmgroups"], &["list", "patch", "watch"]),
                rule(GROUP, &["vminstances"], &["create", "delete", "get", "list", "patch", "watch"]),
                rule(GROUP, &["vmgroups/status", "vminstances/status"], &["patch"]),
                // Owner references that block the group's deletion, where that is enforced.
                rule(GROUP, &["vmgroups/finalizers"], &["update"]),
            ],
            cluster: vec![kube_system],
        }
<<<<<<< HEAD
=======
    });
    let controllers = async {
        first_look.await;
        tokio::try_join!(
            driver::run(
                groups.controller().reconcile_on(group_news).reconcile_on(woken_groups.map(wake::guarded)),
                Arc::new(vmgroup::VmGroups::new(Arc::clone(&ctx))),
                &kit,
            ),
            driver::run(
                instances.controller().reconcile_on(woken_instances.map(wake::guarded)),
                reconciler,
                &kit,
            ),
        )
    };
    let result = tokio::select! {
        result = controllers => result.map(|_| ()),
        () = news => Ok(()),
        () = farewells => Ok(()),
    };
    // Or the vCenter keeps the session until it idles out.
    if tokio::time::timeout(FAREWELL, session.close()).await.is_err() {
        tracing::warn!("the vCenter did not answer the logout; it will end the session by itself");
>>>>>>> clients
    }

    async fn run(kit: Kit, args: Args) -> anyhow::Result<()> {
        // Before anything is waited for: what is wrong with the flags is reported at once.
        let (session, vms) = (args.vsphere()?, args.vms()?);
        let readiness = kit.readiness("vcenter");
        if args.common.enable_leader_election {
            // A standby has no vCenter to reach yet, and is ready to take over.
            readiness.ready();
        }
        let leadership = kit.lead().await;
        readiness.not_ready("the vCenter was not reached yet");

        let session = Session::start(session)?;
        let vms = Vms::start(session.clone(), vms)?;
        let groups = Watch::<VmGroup>::namespaced(&kit);
        let instances = Watch::<VmInstance>::namespaced(&kit);
        let settings = Settings {
            cluster: kit.cluster_id().await?,
            max_clones: args.max_clones,
            max_replicas: args.max_replicas,
            grace: GRACE,
        };
        let ctx = Arc::new(Context::new(&kit, vms.clone(), &groups, &instances, settings));
        orphans::count(&ctx)?;
        instances.subscribe({
            let triggers = ctx.group_triggers.clone();
            move |change| {
                // By the spec, since an owner reference can be removed.
                let instance = change.newest().and_then(|instance| instance.valid());
                if let Some(instance) = instance {
                    triggers.wake(&Key::new(&instance.namespace().unwrap_or_default(), &instance.spec.group));
                }
            }
        });
        let controllers = async {
            // Objects that are first looked at with the inventory at hand need no second look.
            let _ = tokio::time::timeout(FIRST_LOOK, triggers::synced(&vms)).await;
            let (group_triggers, instance_triggers) = (ctx.group_triggers.clone(), ctx.instance_triggers.clone());
            tokio::try_join!(
                driver::run(&kit, groups, group_triggers, Arc::new(vmgroup::VmGroups(Arc::clone(&ctx)))),
                driver::run(&kit, instances, instance_triggers, Arc::new(vminstance::VmInstances(Arc::clone(&ctx)))),
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
}
