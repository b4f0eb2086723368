//! The VmInstance controller: one virtual machine, from intent to machine to nothing.
//!
//! Woken by its VmInstance, by the vCenter's changes of its machine or task, by responses to its requests, and by the clone
//! queue. Owns the machine that has its marker and its instanceUuid, and never touches another.

mod apply;
mod news;
mod observe;
mod plan;
mod seen;
mod status;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use operator_kit::{Notice, Outcome, Reconciler, Turn};

use crate::api::{FINALIZER, VmInstance, VmInstanceStatus};
use crate::context::Context;
use crate::error::Error;
use crate::requests::Call;

pub use observe::{is_moved, is_not_a_copy, machines, recorded};
use plan::Action;
use seen::Seen;
pub use seen::{GroupView, Refresh};

/// The controller.
pub struct VmInstances(pub Arc<Context>);

/// Returns whether the plan of an instance, with no request in flight, is this call.
#[must_use]
pub fn needs(ctx: &Context, instance: &VmInstance, call: &Call) -> bool {
    let seen = Seen { request: None, ..observe::observe(ctx, instance) };
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
    type Done = Option<Notice>;
    type Error = Error;

    const NAME: &'static str = "vminstance";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);

    async fn observe(&self, instance: &VmInstance) -> Result<Seen, Error> {
        Ok(observe::observe(&self.0, instance))
    }

    fn plan(instance: &VmInstance, seen: &Seen, _: Timestamp) -> Turn<Action> {
        plan::plan(instance, seen)
    }

    async fn apply(&self, instance: &VmInstance, action: Action) -> Result<Option<Notice>, Error> {
        apply::apply(&self.0, instance, action)
    }

    fn status(
        old: Option<&VmInstanceStatus>,
        instance: &VmInstance,
        seen: Option<&Seen>,
        outcome: &Outcome<Option<Notice>, Error>,
        now: Timestamp,
    ) -> Option<VmInstanceStatus> {
        status::status(old, instance, seen, outcome, now)
    }

    fn conditions(status: &VmInstanceStatus) -> &[Condition] {
        &status.conditions
    }

    fn event(done: &Option<Notice>) -> Option<Notice> {
        done.clone()
    }

    fn news(instance: &VmInstance, old: Option<&VmInstanceStatus>, new: &VmInstanceStatus) -> Vec<Notice> {
        news::news(instance, old, new)
    }

    fn last_event(instance: &VmInstance, seen: &Seen) -> Option<Notice> {
        news::removed(instance, seen)
    }

    fn forget(&self, uid: &str) {
        self.0.requests.forget(uid);
        if let Some(key) = self.0.in_flight.forget(uid) {
            self.0.leave_queue(&key);
        }
    }
}
