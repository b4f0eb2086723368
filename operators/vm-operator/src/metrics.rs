//! The operator's own metrics that are computed at each scrape: machines, orphans, queues, and whether the vCenter is in sight.
//! Logs each orphan once.
//!
//! An orphan is a virtual machine that has this cluster's marker and belongs to no VmInstance: left over, or copied by hand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Inventory, Vm};
use prometheus::IntGauge;
use tracing::warn;

use crate::api::OWNER_MARKER;
use crate::api::names::Marker;
use crate::context::Context;

/// Registers the metrics.
///
/// # Errors
/// A metric of the name is registered already.
pub fn register(ctx: &Arc<Context>) -> Result<(), prometheus::Error> {
    let registry = ctx.kit.metrics().registry();
    let gauge = |name: &str, help: &str| {
        let gauge = IntGauge::new(format!("vm_operator_{name}"), help)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok::<_, prometheus::Error>(gauge)
    };
    let up = gauge("vcenter_up", "1 while the operator sees all changes of the vCenter's inventory, else 0")?;
    let orphaned = gauge(
        "orphaned_machines",
        "Virtual machines with this cluster's marker that belong to no VmInstance",
    )?;
    let desired = gauge("machines_desired", "Virtual machines that all groups ask for")?;
    let ready =
        gauge("machines_ready", "Virtual machines that are ready, as the statuses of all groups say")?;
    let queued = gauge("clones_queued", "VmInstances that wait to be cloned")?;
    let cloning = gauge("clones_in_flight", "Clones that were requested and have not ended")?;
    let requests = gauge("requests_queued", "Requests that wait to be sent to the vCenter")?;
    let metrics = ctx.kit.metrics().clone();
    let logged = Mutex::new(HashSet::new());
    // The context holds the metrics, so they must not hold it.
    let ctx: Weak<Context> = Arc::downgrade(ctx);
    metrics.on_scrape(move || {
        let Some(ctx) = ctx.upgrade() else { return };
        let (wanted, on) = machines(&ctx);
        desired.set(wanted);
        ready.set(on);
        let (waiting, held) = ctx.memory.clone_queue.lock().unwrap_or_else(PoisonError::into_inner).depth();
        for (gauge, depth) in [(&queued, waiting), (&cloning, held), (&requests, ctx.memory.requests.depth())]
        {
            gauge.set(i64::try_from(depth).unwrap_or(i64::MAX));
        }
        ctx.vms.read(|inventory| {
            up.set(inventory.is_synced().into());
            let orphans: Vec<_> = orphans(&ctx, inventory).collect();
            orphaned.set(i64::try_from(orphans.len()).unwrap_or(i64::MAX));
            log_new(&mut logged.lock().unwrap_or_else(PoisonError::into_inner), &orphans);
        });
    });
    Ok(())
}

/// Machines that all groups ask for, and those that are ready.
fn machines(ctx: &Context) -> (i64, i64) {
    let groups = ctx.groups.cache().all();
    let desired = groups.iter().filter(|group| group.metadata.deletion_timestamp.is_none());
    let desired = desired.map(|group| i64::from(group.spec.replicas)).sum();
    let ready = groups.iter().filter_map(|group| group.status.as_ref()?.ready_replicas);
    (desired, ready.map(i64::from).sum())
}

fn orphans<'a>(ctx: &'a Context, inventory: &'a Inventory) -> impl Iterator<Item = (&'a Arc<Vm>, Marker)> {
    let markers =
        inventory.vms().filter_map(|vm| Some((vm, vm.marker(OWNER_MARKER)?.parse::<Marker>().ok()?)));
    // The VmInstances of namespaces that are not watched are not known.
    let namespaces = ctx.kit.namespaces();
    let is_watched = |marker: &Marker| namespaces.is_empty() || namespaces.contains(&marker.namespace);
    let ours = markers.filter(move |(_, marker)| marker.cluster == ctx.memory.cluster && is_watched(marker));
    ours.filter(|(vm, marker)| !ctx.is_member(vm, marker))
}

/// Logs the orphans that are not in `logged`, which becomes these orphans.
fn log_new(logged: &mut HashSet<MoRef>, orphans: &[(&Arc<Vm>, Marker)]) {
    for (vm, marker) in orphans.iter().filter(|(vm, _)| !logged.contains(&vm.moref)) {
        warn!(
            machine = vm.moref.value(),
            vm = &*vm.name,
            %marker,
            "orphan: a virtual machine with this cluster's marker that belongs to no VmInstance; the operator does not touch it"
        );
    }
    *logged = orphans.iter().map(|(vm, _)| vm.moref.clone()).collect();
}
