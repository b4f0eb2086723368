//! vm-operator: groups of equal virtual machines, cloned from a vCenter template and kept at the asked
//! count, size and power state.
//!
//! Owns the machines that bear its marker and the folders they stand in, under `<datacenter>/vm/vm-operator`;
//! never touches another machine.
//!
//! ```text
//!   VmGroup ──────────▶ vmgroup ──makes, deletes──▶ VmInstance ──────▶ vminstance
//!      ▲                 │   ▲                          │                 │    ▲
//!      └──── status ─────┘   └───────── news ───────────┘                 │    │ turn
//!                        │   ▲                                            ▼    │
//!                        ▼   │ news of machines, folders, tasks         clone gate
//!                 folder │ ┌─┴──────────────── wake ──────────────────┐   │
//!                        ▼ │                                          ▼   ▼ clone, power, destroy
//!                     infra_clients::vsphere: one session, one collector ──▶ vCenter
//! ```
//!
//! Each controller has the same four steps: observe (reads caches), plan (pure), apply (one request), status
//! (pure, then one patch).

pub mod api;
pub mod args;
mod context;
mod error;
mod gate;
mod ledger;
pub mod manifests;
mod vcenter;
mod vmgroup;
mod vminstance;
mod wake;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::channel::mpsc;
use infra_clients::vsphere::Session;
use infra_clients::vsphere::vms::Vms;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use operator_kit::{Kit, Operator, Watch, driver};

use crate::api::{VmGroup, VmInstance};
use crate::context::{Context, Settings};

/// Who we are, to Kubernetes.
pub const OPERATOR: Operator =
    Operator { name: "vm-operator", group: api::GROUP, version: env!("CARGO_PKG_VERSION") };

/// How long the first look at the vCenter may take before the controllers start without it.
const FIRST_LOOK: Duration = Duration::from_secs(3);
/// How long the vCenter may be out of sight before objects say so.
const GRACE: Duration = Duration::from_secs(10);
/// How long logging out may take.
const FAREWELL: Duration = Duration::from_secs(3);

/// Runs the operator until the kit shuts down.
pub async fn run(kit: Kit, args: args::Args) -> anyhow::Result<()> {
    // Before anything is waited for: what is wrong with the arguments is said at once.
    let (session, vms) = args.vsphere()?;
    let readiness = kit.readiness("vcenter");
    if args.common.enable_leader_election {
        // A standby has nothing to reach yet, and is ready to take over.
        readiness.ready();
    }
    let leadership = kit.lead().await;
    readiness.not_ready("the vCenter was not reached yet");
    let cluster = cluster_id(&kit).await?;

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

    let news = wake::forward(Arc::clone(&ctx), wake_group, readiness);
    // Objects first looked at with the inventory at hand need no second look.
    let first_look = wake::synced(&vcenter, FIRST_LOOK);
    let reconciler = Arc::new(vminstance::VmInstances::new(Arc::clone(&ctx)));
    let farewells = departures.for_each({
        let reconciler = Arc::clone(&reconciler);
        move |(uid, name, namespace)| {
            reconciler.departed(&uid, &ObjectRef::new(&name).within(&namespace));
            std::future::ready(())
        }
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
    }
    Ok(result?)
}

/// What tells this cluster's machines from another's that shares the vCenter.
async fn cluster_id(kit: &Kit) -> anyhow::Result<String> {
    let namespace = Api::<Namespace>::all(kit.client()).get("kube-system").await?;
    namespace.uid().ok_or_else(|| anyhow::anyhow!("namespace kube-system has no uid"))
}
