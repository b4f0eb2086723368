//! The VmInstance controller: one virtual machine, from intent to machine to nothing.
//!
//! Woken by its VmInstance, by the vCenter's changes of its machine or task, by responses to its requests, and by the clone
//! queue. Owns the machine that has its marker and its instanceUuid, and never touches another.

mod apply;
mod identity;
mod news;
mod observe;
mod plan;
mod seen;
mod status;

use std::sync::Arc;
use std::time::SystemTime;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::{Key, Notice, Outcome, Reconciler, Turn};

use crate::api::{FINALIZER, VmInstance, VmInstanceStatus};
use crate::context::Context;
use crate::error::Error;
use crate::requests::Call;
use crate::triggers::has_ended;
use crate::vmgroup::has_surplus;

#[cfg(test)]
pub use self::{apply::apply, observe::observe as observe_in, plan::plan, status::status};
pub use apply::Done;
pub(crate) use identity::power;
pub use identity::{
    Look, Unseen, group_of_unread, has_machine, is_done, is_in_the_way, may_be_of, recorded, recorded_vcenter,
};
pub use observe::Surroundings;
pub(crate) use observe::may_be_by;
use plan::Action;
pub use seen::{AnotherVcenter, GroupView, Refresh, Seen};

/// The controller.
pub struct VmInstances(pub Arc<Context>);

/// Observes an instance in the caches, the inventory and the memory of this process.
fn observe(ctx: &Context, instance: &VmInstance) -> Seen {
    let owner = ctx.group_of(instance);
    let group = owner.as_ref().map(|group| GroupView::of(group));
    let invalid_group = ctx.has_invalid_group(instance);
    let link = ctx.vms.link().borrow().clone();
    ctx.vms.read(|inventory| {
        let around = Surroundings {
            memory: &ctx.memory,
            vcenter: &ctx.vms,
            inventory,
            blind: ctx.visibility.blind(inventory, &link),
            group,
            has_surplus: &|| owner.as_ref().is_some_and(|group| has_surplus(group, &ctx.members(group))),
            invalid_group,
            group_vcenter: owner.as_ref().and_then(|group| group.status.as_ref()?.vcenter.clone()),
            recorded_by: &|task| ctx.by_task.keys(&task.value().to_owned()),
            is_member: &|vm, marker| ctx.is_member(vm, marker),
            now: SystemTime::now(),
        };
        observe::observe(&around, instance)
    })
}

/// Returns whether a call is still what an instance needs.
#[must_use]
pub fn needs(ctx: &Context, instance: &VmInstance, call: &Call) -> bool {
    is_needed(instance, observe(ctx, instance), call)
}

/// Returns whether the plan of an instance, with no request in flight, is this call.
pub fn is_needed(instance: &VmInstance, seen: Seen, call: &Call) -> bool {
    let seen = Seen { request: None, ..seen };
    let Turn::Act(action) = plan::plan(instance, &seen) else { return false };
    match (action, call) {
        (Action::Clone { template, folder }, Call::Clone(clone)) => {
            template == clone.template && folder == clone.folder && instance.spec.revision() == clone.revision
        }
        (Action::Mark(machine), Call::Mark { vm, .. })
        | (Action::PowerOn(machine), Call::PowerOn(vm))
        | (Action::PowerOff(machine), Call::PowerOff(vm))
        | (Action::Destroy(machine), Call::Destroy(vm)) => machine == *vm,
        _ => false,
    }
}

impl Reconciler for VmInstances {
    type Object = VmInstance;
    type Seen = Seen;
    type Plan = Action;
    type Done = Done;
    type Error = Error;

    const NAME: &'static str = "vminstance";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    async fn observe(&self, instance: &VmInstance) -> Result<Seen, Error> {
        Ok(observe(&self.0, instance))
    }

    fn plan(instance: &VmInstance, seen: &Seen, _: Timestamp) -> Turn<Action> {
        plan::plan(instance, seen)
    }

    async fn apply(&self, instance: &VmInstance, action: Action) -> Result<Done, Error> {
        let ctx = &self.0;
        // The cache may be behind, above all after a start. Nothing would remove what is made for an instance that is gone, an
        // instance that is gone has given its machine up, and a person may have paused or detached its group.
        if action.requests().is_some() && !ctx.is_current_instance(instance).await? {
            return Ok(Done::default());
        }
        let settled = matches!(action, Action::Settle(_))
            .then(|| ctx.memory.in_flight.get(&instance.uid().unwrap_or_default()))
            .flatten();
        let done = apply::apply(&ctx.memory, &ctx.vms, instance, action)?;
        if settled.is_none() {
            return Ok(done);
        }
        ctx.meters.observe_clone(settled.as_ref());
        let notice = ctx.vms.read(|inventory| news::repaired(instance, settled.as_ref(), inventory));
        Ok(Done { notice, ..done })
    }

    fn status(
        old: Option<&VmInstanceStatus>,
        instance: &VmInstance,
        seen: Option<&Seen>,
        outcome: &Outcome<Done, Error>,
        now: Timestamp,
    ) -> Option<VmInstanceStatus> {
        status::status(old, instance, seen, outcome, now)
    }

    fn conditions(status: &VmInstanceStatus) -> &[Condition] {
        &status.conditions
    }

    fn event(done: &Done) -> Option<Notice> {
        done.notice.clone()
    }

    fn news(instance: &VmInstance, old: Option<&VmInstanceStatus>, new: &VmInstanceStatus) -> Vec<Notice> {
        news::news(instance, old, new)
    }

    fn last_event(instance: &VmInstance, seen: &Seen) -> Option<Notice> {
        news::removed(instance, seen)
    }

    fn set_aside(&self, key: &Key, uid: &str) {
        let ctx = &self.0;
        ctx.vms.read(|inventory| ctx.memory.set_aside(key, uid, |task| has_ended(inventory, task)));
    }

    fn forget(&self, uid: &str) {
        self.0.memory.forget(uid);
    }
}
