//! Whom the vCenter's news concern. Turns every change of the inventory into wake-ups of the objects it is
//! about, and of nobody else.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc::UnboundedSender;
use infra_clients::vsphere::vms::{Change, Inventory, Vm, Vms};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use operator_kit::Guarded;
use operator_kit::health::Readiness;

use crate::api::{VmGroup, names};
use crate::context::Context;
use crate::vminstance;

/// The same reference, for a controller of guarded objects.
pub fn guarded<K>(reference: ObjectRef<K>) -> ObjectRef<Guarded<K>>
where
    K: kube::Resource<DynamicType = ()> + Clone,
{
    let namespace = reference.namespace.unwrap_or_default();
    ObjectRef::new(&reference.name).within(&namespace)
}

/// Waits until the inventory is complete, for `patience` at most.
pub async fn synced(vcenter: &Vms, patience: Duration) {
    let mut changes = vcenter.changes();
    if vcenter.read(Inventory::is_synced) {
        return;
    }
    let wait = async {
        while let Some(change) = changes.next().await {
            if matches!(change, Change::Synced) {
                return;
            }
        }
    };
    // Then the objects say what keeps it.
    let _ = tokio::time::timeout(patience, wait).await;
}

/// Forwards news until the vCenter client ends.
pub async fn forward(ctx: Arc<Context>, groups: UnboundedSender<ObjectRef<VmGroup>>, readiness: Readiness) {
    let mut changes = ctx.vcenter.changes();
    let wake = Wake { ctx: &ctx, groups: &groups };
    if ctx.vcenter.read(Inventory::is_synced) {
        wake.news(&Change::Synced);
        readiness.ready();
    }
    let set_lost = |lost| *ctx.lost_since.lock().unwrap_or_else(PoisonError::into_inner) = lost;
    loop {
        let lost = *ctx.lost_since.lock().unwrap_or_else(PoisonError::into_inner);
        let grace_over = async {
            match lost.map(|since| (since + ctx.settings.grace).saturating_duration_since(Instant::now())) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            change = changes.next() => match change {
                None => return,
                Some(Change::Synced) => {
                    set_lost(None);
                    readiness.ready();
                    wake.news(&Change::Synced);
                }
                Some(Change::Lost) => {
                    tracing::warn!("the vCenter is out of sight");
                    if lost.is_none() {
                        set_lost(Some(Instant::now()));
                    }
                }
                Some(change) => wake.news(&change),
            },
            () = grace_over => wake.everybody(),
        }
    }
}

struct Wake<'a> {
    ctx: &'a Context,
    groups: &'a UnboundedSender<ObjectRef<VmGroup>>,
}

impl Wake<'_> {
    fn news(&self, change: &Change) {
        match change {
            Change::Synced => self.everybody(),
            // Who waits for an answer looks for it.
            Change::Lost | Change::Refreshed(_) | Change::LookedUp(_) | Change::Templates => {}
            Change::Vm { before, after } => {
                for vm in before.iter().chain(after) {
                    self.machine(vm);
                }
            }
            // What comes and goes in it concerns nobody here: its machines have news of their own.
            Change::Folder { before: Some(before), after: Some(after) }
                if before.name == after.name && before.parent == after.parent => {}
            Change::Folder { before, after } => {
                for folder in before.iter().chain(after) {
                    self.folder(&folder.name);
                }
            }
            Change::Task(task) => {
                if task.state.ended() && task.entity.as_ref().is_some_and(|e| e.kind() == "Folder") {
                    // A folder on its way out, or not: its group waits for the news.
                    let going = self.ctx.groups().filter(|g| g.metadata.deletion_timestamp.is_some());
                    going.for_each(|g| self.group(ObjectRef::from(&*g)));
                }
                if task.state.ended() || self.ctx.vcenter.read(|i| i.task(&task.moref).is_none()) {
                    let owner = self.ctx.ledger.owner_of(&task.moref);
                    owner
                        .into_iter()
                        .chain(self.ctx.ledger.watchers_of(&task.moref))
                        .for_each(|o| self.ctx.wake(o));
                }
            }
        }
    }

    fn group(&self, group: ObjectRef<VmGroup>) {
        // Closed only when the controllers are gone.
        let _ = self.groups.unbounded_send(group);
    }

    fn everybody(&self) {
        self.ctx.instances().for_each(|i| self.ctx.wake(ObjectRef::from(&*i)));
        self.ctx.groups().for_each(|g| self.group(ObjectRef::from(&*g)));
    }

    fn machine(&self, vm: &Vm) {
        if let Some(owner) = vminstance::owner(vm) {
            self.ctx
                .wake(ObjectRef::new(&names::instance(&owner.group, owner.slot)).within(&owner.namespace));
            self.group(ObjectRef::new(&owner.group).within(&owner.namespace));
        }
        // Whosever it is, it may have stood in somebody's way.
        let blocked = self.ctx.instances().filter(|i| *i.spec.vm_name == *vm.name);
        blocked.for_each(|i| self.ctx.wake(ObjectRef::from(&*i)));
    }

    /// A folder came, changed or went: its group's instances may wait for it, or its group for its end.
    fn folder(&self, folder: &str) {
        let theirs = |namespace: Option<String>, group: &str| {
            names::folder(&namespace.unwrap_or_default(), group) == folder
        };
        for group in self.ctx.groups().filter(|g| theirs(g.namespace(), &g.name_any())) {
            self.group(ObjectRef::from(&*group));
        }
        for instance in self.ctx.instances().filter(|i| theirs(i.namespace(), &i.spec.group)) {
            self.ctx.wake(ObjectRef::from(&*instance));
        }
    }
}
