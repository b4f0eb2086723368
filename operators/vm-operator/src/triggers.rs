//! Wakes the objects that a change concerns, and no others. `concerned` says which those are.

mod concerned;

use std::sync::Arc;
use std::time::{Duration, Instant};

use infra_clients::Failure as _;
use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Change, Inventory, Link, Vms};
use k8s_openapi::jiff::Timestamp;
use operator_kit::health::Readiness;
use operator_kit::{Triggers, Watch};

use crate::api::{VmGroup, VmInstance};
use crate::context::Context;
use crate::memory::Memory;

use self::concerned::Concerned;

/// How often places of clones that take too long are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Wakes groups for changes of their instances, and instances for those changes of their group that concern them.
pub fn subscribe(ctx: &Context, groups: &Watch<VmGroup>, instances: &Watch<VmInstance>) {
    let wakes = Wakes::of(&ctx.memory);
    instances.subscribe(move |change| wakes.wake(&concerned::by_instance(change)));
    let (wakes, by_group) = (Wakes::of(&ctx.memory), ctx.by_group.clone());
    groups.subscribe(move |change| wakes.wake(&concerned::by_group(change, |group| by_group.keys(group))));
}

/// Resolves with `true` when the inventory is complete, and with `false` when the vCenter client ends before.
pub async fn synced(vms: &Vms) -> bool {
    let mut changes = vms.changes();
    if vms.read(Inventory::is_synced) {
        return true;
    }
    while let Some(change) = changes.next().await {
        if matches!(change, Change::Synced) {
            return true;
        }
    }
    false
}

/// Forwards changes until the vCenter client ends.
pub async fn forward(ctx: Arc<Context>, readiness: Readiness) {
    let mut changes = ctx.vms.changes();
    let mut link = ctx.vms.link();
    // An outage after the first look leaves the operator ready: it serves no requests, and statuses report it.
    let mut seen = false;
    if ctx.vms.read(Inventory::is_synced) {
        wake_for(&ctx, &Change::Synced);
        readiness.ready();
        seen = true;
    }
    // The end of the grace that statuses report.
    let mut reported = None;
    // The reason that statuses have been woken to report after it.
    let mut reason = None;
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        let grace_end = ctx.visibility.grace_end();
        let grace_over = async {
            match grace_end {
                Some(end) if reported != grace_end => tokio::time::sleep_until(end.into()).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            change = changes.next() => match change {
                None => return,
                Some(change) => {
                    match &change {
                        Change::Synced => {
                            readiness.ready();
                            seen = true;
                        }
                        Change::Lost => tracing::warn!("the vCenter is out of sight"),
                        _ => {}
                    }
                    wake_for(&ctx, &change);
                }
            },
            // Statuses name the reason why the vCenter is out of sight.
            Ok(()) = link.changed() => {
                let state = link.borrow_and_update().clone();
                if let (Link::Down(error), false) = (&state, seen) {
                    readiness.not_ready(error.to_string());
                }
                if let Link::Down(error) = &state
                    && grace_end.is_some_and(|end| end <= Instant::now())
                    && reason.replace(error.reason()) != Some(error.reason())
                {
                    wake_all(&ctx);
                }
            }
            _ = sweep.tick() => sweep_places(&ctx),
            () = grace_over => {
                (reported, reason) = (grace_end, None);
                wake_all(&ctx);
            }
        }
    }
}

/// Wakes objects.
struct Wakes {
    instances: Triggers<VmInstance>,
    groups: Triggers<VmGroup>,
}

impl Wakes {
    fn of(memory: &Memory) -> Self {
        Self { instances: memory.instance_triggers.clone(), groups: memory.group_triggers.clone() }
    }

    fn wake(&self, concerned: &Concerned) {
        self.instances.wake_all(&concerned.instances);
        self.groups.wake_all(&concerned.groups);
        concerned.retried.iter().for_each(|group| self.groups.retry(group));
    }
}

fn wake_for(ctx: &Context, change: &Change) {
    match change {
        Change::Synced => ctx.visibility.set(true),
        Change::Lost => ctx.visibility.set(false),
        _ => {}
    }
    let memory = &ctx.memory;
    let concerned = ctx.vms.read(|inventory| concerned::by_vcenter(change, memory, inventory, ctx));
    if concerned.all {
        memory.instance_triggers.retry_all(&ctx.instances.cache().keys());
        memory.group_triggers.retry_all(&ctx.groups.cache().keys());
    }
    Wakes::of(memory).wake(&concerned);
}

/// Returns whether a task has ended, or is forgotten by the vCenter.
pub fn has_ended(inventory: &Inventory, task: &MoRef) -> bool {
    inventory.is_synced() && inventory.task(task).is_none_or(|task| task.state.ended())
}

/// Gives the places of clones in the clone queue away that take too long, or have ended.
fn sweep_places(ctx: &Context) {
    ctx.vms.read(|inventory| {
        ctx.memory.sweep(Timestamp::now(), |task| has_ended(inventory, task));
    });
}

fn wake_all(ctx: &Context) {
    ctx.memory.instance_triggers.wake_all(&ctx.instances.cache().keys());
    ctx.memory.group_triggers.wake_all(&ctx.groups.cache().keys());
}
