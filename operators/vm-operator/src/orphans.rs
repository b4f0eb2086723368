//! The metric of machines that have this cluster's marker and belong to no VmInstance: left over, or copied by hand.

use std::sync::{Arc, Weak};

use infra_clients::vsphere::vms::Inventory;
use prometheus::IntGauge;

use crate::api::OWNER_MARKER;
use crate::api::names::Marker;
use crate::context::Context;

/// Registers the metric. It is computed at each scrape.
///
/// # Errors
/// The metric is registered already.
pub fn count(ctx: &Arc<Context>) -> Result<(), prometheus::Error> {
    let gauge = IntGauge::new(
        "vm_operator_orphaned_machines",
        "Virtual machines with this cluster's marker that belong to no VmInstance",
    )?;
    ctx.kit.metrics().registry().register(Box::new(gauge.clone()))?;
    let metrics = ctx.kit.metrics().clone();
    // The context holds the metrics, so they must not hold it.
    let ctx: Weak<Context> = Arc::downgrade(ctx);
    metrics.on_scrape(move || {
        let orphans = ctx.upgrade().map_or(0, |ctx| ctx.vms.read(|inventory| orphans(&ctx, inventory)));
        gauge.set(i64::try_from(orphans).unwrap_or(i64::MAX));
    });
    Ok(())
}

fn orphans(ctx: &Context, inventory: &Inventory) -> usize {
    let markers =
        inventory.vms().filter_map(|vm| Some((vm, vm.marker(OWNER_MARKER)?.parse::<Marker>().ok()?)));
    // The VmInstances of namespaces that are not watched are not known.
    let namespaces = ctx.kit.namespaces();
    let is_watched = |marker: &Marker| namespaces.is_empty() || namespaces.contains(&marker.namespace);
    let ours = markers.filter(|(_, marker)| marker.cluster == ctx.cluster && is_watched(marker));
    ours.filter(|(vm, marker)| !ctx.is_member(vm, marker)).count()
}
