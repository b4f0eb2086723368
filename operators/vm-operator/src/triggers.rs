//! Which objects the vCenter's changes concern. Wakes those and no others.

use std::sync::Arc;
use std::time::Instant;

use infra_clients::Failure as _;
use infra_clients::vsphere::vms::{Change, Folder, Inventory, Link, Vm, Vms};
use kube::ResourceExt;
use operator_kit::health::Readiness;
use operator_kit::{Guarded, Key, Watch};

use crate::api::names::Marker;
use crate::api::{OWNER_MARKER, VmGroup, VmInstance, is_detached};
use crate::context::Context;
use crate::in_flight::Waiter;
use crate::vminstance;

/// Wakes groups for changes of their instances, and instances for those changes of their group that concern them.
pub fn subscribe(ctx: &Context, groups: &Watch<VmGroup>, instances: &Watch<VmInstance>) {
    let (group_triggers, triggers) =
        (ctx.memory.group_triggers.clone(), ctx.memory.instance_triggers.clone());
    instances.subscribe(move |change| {
        // By the spec, since an owner reference can be removed.
        if let Some(instance) = change.newest().and_then(Guarded::valid) {
            let group = Key::new(&instance.namespace().unwrap_or_default(), &instance.spec.group);
            match change.after {
                Some(_) => group_triggers.wake(&group),
                // A name is free that the group may have failed to use.
                None => group_triggers.retry(&group),
            }
        }
        let detached = |instance: &Guarded<VmInstance>| instance.valid().is_some_and(|i| is_detached(&**i));
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && detached(before) != detached(after)
        {
            triggers.wake(&Key::of(after));
        }
    });
    let (group_triggers, triggers) =
        (ctx.memory.group_triggers.clone(), ctx.memory.instance_triggers.clone());
    let by_group = ctx.by_group.clone();
    groups.subscribe(move |change| {
        let view = |group: &Guarded<VmGroup>| {
            Some((group.uid()?, group.valid().map(|group| vminstance::GroupView::of(group))))
        };
        let (before, after) = (change.before.as_ref().and_then(view), change.after.as_ref().and_then(view));
        if before == after {
            return;
        }
        if let Some(group) = &change.after {
            group_triggers.wake(&Key::of(group));
        }
        for (uid, _) in before.iter().chain(&after) {
            let namespace = change.newest().and_then(ResourceExt::namespace).unwrap_or_default();
            triggers.wake_all(&by_group.keys(&(namespace, uid.clone())));
        }
    });
}

/// Resolves when the inventory is complete.
pub async fn synced(vms: &Vms) {
    let mut changes = vms.changes();
    if vms.read(Inventory::is_synced) {
        return;
    }
    while let Some(change) = changes.next().await {
        if matches!(change, Change::Synced) {
            return;
        }
    }
}

/// Forwards changes until the vCenter client ends.
pub async fn forward(ctx: Arc<Context>, readiness: Readiness) {
    let mut changes = ctx.vms.changes();
    let mut link = ctx.vms.link();
    let router = Router { ctx: &ctx };
    // An outage after the first look leaves the operator ready: it serves no requests, and statuses report it.
    let mut seen = false;
    if ctx.vms.read(Inventory::is_synced) {
        router.wake_for(&Change::Synced);
        readiness.ready();
        seen = true;
    }
    // The end of the grace that statuses report.
    let mut reported = None;
    // The reason that statuses have been woken to report after it.
    let mut reason = None;
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
                    router.wake_for(&change);
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
                    router.wake_all();
                }
            }
            () = grace_over => {
                (reported, reason) = (grace_end, None);
                router.wake_all();
            }
        }
    }
}

/// Finds the objects that a change of the vCenter concerns.
struct Router<'a> {
    ctx: &'a Context,
}

impl Router<'_> {
    fn wake_for(&self, change: &Change) {
        match change {
            Change::Synced => {
                self.ctx.visibility.set(true);
                // Ends every back-off: the failures were those of the outage.
                self.ctx.memory.instance_triggers.retry_all(&self.ctx.instances.cache().keys());
                self.ctx.memory.group_triggers.retry_all(&self.ctx.groups.cache().keys());
            }
            Change::Lost => self.ctx.visibility.set(false),
            Change::Vm { before, after } => before.iter().chain(after).for_each(|vm| self.wake_for_vm(vm)),
            // Only its children changed, and each sends its own change.
            Change::Folder { before: Some(before), after: Some(after) }
                if before.name == after.name && before.parent == after.parent => {}
            Change::Folder { before, after } => {
                before.iter().chain(after).for_each(|folder| self.wake_for_folder(folder));
            }
            Change::Task(task) => {
                let ended = task.state.ended() || self.ctx.vms.read(|i| i.task(&task.moref).is_none());
                if ended {
                    self.ctx
                        .memory
                        .in_flight
                        .waiters(&task.moref)
                        .iter()
                        .for_each(|waiter| self.wake(waiter));
                }
            }
            Change::Refreshed(ticket) => {
                self.ctx.memory.in_flight.refreshed(*ticket).iter().for_each(|waiter| self.wake(waiter));
            }
            Change::LookedUp(moref) => {
                self.ctx.memory.instance_triggers.wake_all(&self.ctx.memory.in_flight.looked_up(moref));
            }
            Change::Templates => {
                self.ctx.memory.instance_triggers.wake_all(&self.ctx.memory.in_flight.found_templates());
            }
        }
    }

    fn wake(&self, waiter: &Waiter) {
        match waiter {
            Waiter::Instance(key) => self.ctx.memory.instance_triggers.wake(key),
            Waiter::Group(key) => self.ctx.memory.group_triggers.wake(key),
        }
    }

    fn wake_all(&self) {
        self.ctx.memory.instance_triggers.wake_all(&self.ctx.instances.cache().keys());
        self.ctx.memory.group_triggers.wake_all(&self.ctx.groups.cache().keys());
    }

    fn wake_for_vm(&self, vm: &Vm) {
        match vm.marker(OWNER_MARKER).map(str::parse::<Marker>) {
            Some(Ok(owner)) => {
                self.ctx.memory.instance_triggers.wake(&owner.instance());
                self.ctx.memory.group_triggers.wake(&owner.group());
            }
            Some(Err(_)) => {}
            // The machine may be one that the original operator made, and that its group is to adopt.
            None => {
                let folder = self.ctx.vms.read(|i| Some(i.folder(vm.parent.as_ref()?)?.name.to_string()));
                let groups = folder.map(|name| self.ctx.by_folder.keys(&name));
                self.ctx.memory.group_triggers.wake_all(&groups.unwrap_or_default());
            }
        }
        if let Some(instance_uuid) = vm.instance_uuid.as_deref() {
            self.ctx.memory.instance_triggers.wake_all(&self.ctx.by_uuid.keys(&instance_uuid.to_owned()));
        }
        // The machine may be in the way of another of its name, or be one that the original operator made.
        self.ctx.memory.instance_triggers.wake_all(&self.ctx.by_vm_name.keys(&vm.name.to_string()));
    }

    /// Wakes the groups that may use a folder of this name, and their instances.
    fn wake_for_folder(&self, folder: &Folder) {
        for group in self.ctx.by_folder.get(&folder.name.to_string()) {
            self.ctx.memory.group_triggers.wake(&Key::of(&*group));
            for instance in self.ctx.members(&group) {
                self.ctx.memory.instance_triggers.wake(&Key::of(&*instance));
            }
        }
    }
}
