//! The operator's own metrics that are computed at each scrape: machines, orphans, queues, and whether the vCenter is in sight.
//! Logs each orphan once.
//!
//! An orphan is a virtual machine that has this cluster's marker and belongs to no VmInstance: left over, or copied by hand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Inventory, Vm};
use prometheus::{IntGauge, Registry};
use tracing::warn;

use crate::api::names::Marker;
use crate::api::{OWNER_MARKER, VmGroup};
use crate::context::Context;

/// The gauges. They are 0 until they follow the controllers, so that alerts see them in every process.
pub struct Gauges {
    up: IntGauge,
    orphaned: IntGauge,
    desired: IntGauge,
    ready: IntGauge,
    queued: IntGauge,
    cloning: IntGauge,
    requests: IntGauge,
}

impl Gauges {
    /// Registers the gauges.
    ///
    /// # Errors
    /// A metric of the name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("vm_operator_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        Ok(Self {
            up: gauge(
                "vcenter_up",
                "1 while the controllers work and see all changes of the vCenter's inventory, else 0",
            )?,
            orphaned: gauge(
                "orphaned_machines",
                "Virtual machines with this cluster's marker that belong to no VmInstance",
            )?,
            desired: gauge(
                "machines_desired",
                "Virtual machines that all groups ask for, except groups that are being deleted",
            )?,
            ready: gauge(
                "machines_ready",
                "Virtual machines that groups ask for and that are ready, as their statuses say",
            )?,
            queued: gauge("clones_queued", "VmInstances that wait to be cloned")?,
            cloning: gauge("clones_in_flight", "Clones that were requested and have not ended")?,
            requests: gauge("requests_queued", "Requests that wait to be sent to the vCenter")?,
        })
    }

    /// Sets the gauges at each scrape from now on.
    pub fn follow(self, ctx: &Arc<Context>) {
        let metrics = ctx.kit.metrics().clone();
        let logged = Mutex::new(HashSet::new());
        // The context holds the metrics, so they must not hold it.
        let ctx: Weak<Context> = Arc::downgrade(ctx);
        metrics.on_scrape(move || {
            if let Some(ctx) = ctx.upgrade() {
                self.set(&ctx, &mut logged.lock().unwrap_or_else(PoisonError::into_inner));
            }
        });
    }

    fn set(&self, ctx: &Context, logged: &mut HashSet<MoRef>) {
        let mut groups = ctx.groups.cache().all();
        groups.retain(|group| ctx.kit.serves(group.metadata.namespace.as_deref().unwrap_or_default()));
        let (desired, ready) = machines(&groups);
        self.desired.set(desired);
        self.ready.set(ready);
        let (waiting, held) = ctx.memory.clone_queue.lock().unwrap_or_else(PoisonError::into_inner).depth();
        for (gauge, depth) in
            [(&self.queued, waiting), (&self.cloning, held), (&self.requests, ctx.memory.requests.depth())]
        {
            gauge.set(i64::try_from(depth).unwrap_or(i64::MAX));
        }
        ctx.vms.read(|inventory| {
            self.up.set(inventory.is_synced().into());
            let orphans: Vec<_> = orphans(ctx, inventory).collect();
            self.orphaned.set(i64::try_from(orphans.len()).unwrap_or(i64::MAX));
            log_new(logged, &orphans);
        });
    }
}

/// Machines that all groups ask for, and those of them that are ready: a machine that a group has too many, as one that is paused may,
/// stands for no machine that another group lacks.
fn machines(groups: &[Arc<VmGroup>]) -> (i64, i64) {
    let groups = groups.iter().filter(|group| group.metadata.deletion_timestamp.is_none());
    groups.fold((0, 0), |(desired, ready), group| {
        let wanted = group.spec.replicas;
        let on = group.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0);
        (desired + i64::from(wanted), ready + i64::from(on.min(wanted)))
    })
}

fn orphans<'a>(ctx: &'a Context, inventory: &'a Inventory) -> impl Iterator<Item = (&'a Arc<Vm>, Marker)> {
    let markers =
        inventory.vms().filter_map(|vm| Some((vm, vm.marker(OWNER_MARKER)?.parse::<Marker>().ok()?)));
    // The VmInstances of other namespaces are not known.
    let is_served = |marker: &Marker| ctx.kit.serves(&marker.namespace);
    let ours = markers.filter(move |(_, marker)| marker.cluster == ctx.memory.cluster && is_served(marker));
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

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use prometheus::TextEncoder;

    use super::*;
    use crate::api::VmGroupStatus;
    use crate::fixtures;

    /// One that is ready and not asked for, or that is being deleted, makes up for none that is missing.
    #[test]
    fn machines_are_counted_group_by_group() {
        let group = |desired, ready: Option<i32>, deleting: bool| {
            let mut group = fixtures::group(desired);
            group.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
            group.status =
                ready.map(|ready| VmGroupStatus { ready_replicas: Some(ready), ..VmGroupStatus::default() });
            Arc::new(group)
        };
        let (short, full, new) = (group(3, Some(1), false), group(2, Some(2), false), group(4, None, false));
        let (surplus, leaving) = (group(1, Some(5), false), group(3, Some(3), true));
        for (groups, wanted) in [
            (vec![], (0, 0)),
            (vec![short.clone(), full, new], (9, 3)),
            (vec![short.clone(), surplus], (4, 2)),
            (vec![short, leaving], (3, 1)),
        ] {
            assert_eq!(machines(&groups), wanted, "{groups:?}");
        }
    }

    /// An alert on a gauge that does not exist never fires.
    #[test]
    fn every_gauge_is_0_from_the_start() {
        let registry = Registry::new();
        let _gauges = Gauges::register(&registry).unwrap();
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let values: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(values.contains(&"vm_operator_vcenter_up 0") && values.len() == 7, "{text}");
        assert!(values.iter().all(|line| line.ends_with(" 0")), "{text}");
    }
}
