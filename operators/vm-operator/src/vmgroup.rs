//! The VmGroup controller: keeps the right number of VmInstances and the group's folder, and sums up.
//!
//! Woken by its VmGroup, by changes of its VmInstances, and by the vCenter's changes of its machines and folder. Never
//! requests a machine: the VmInstance controller does.

mod apply;
mod observe;
mod plan;
mod seen;
mod status;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures::{TryStreamExt as _, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use operator_kit::{Guarded, Notice, Outcome, Reconciler, Turn, names::label_value};

use crate::api::{
    FINALIZER, GROUP_LABEL, ORIGINAL_FINALIZER, VmGroup, VmGroupStatus, VmInstance, names, reason,
};
use crate::context::Context;
use crate::detach::is_detached;
use crate::error::Error;
use crate::requests::Call;
use crate::vminstance;

#[cfg(test)]
pub use self::{
    apply::{apply_folder, begin_scale},
    observe::observe as observe_in,
    plan::plan,
    status::status,
};
pub use apply::Done;
pub use observe::{Surroundings, has_surplus};
pub use plan::Plan;
pub use seen::Seen;

/// The controller.
pub struct VmGroups(pub Arc<Context>);

/// Observes a group in the caches, the inventory and the memory of this process.
fn observe(ctx: &Context, group: &VmGroup) -> Seen {
    let instances = [ctx.members(group), ctx.leftovers(group)].concat();
    let unread = ctx.unread(group);
    let link = ctx.vms.link().borrow().clone();
    ctx.vms.read(|inventory| {
        let around = Surroundings {
            memory: &ctx.memory,
            inventory,
            blind: ctx.visibility.blind(inventory, &link),
            instances: &instances,
            unread: &unread,
            is_member: &|vm, marker| ctx.is_member(vm, marker),
            is_of_another: &|folder| ctx.is_folder_of_another(folder, group),
            is_looking_up: &|moref| ctx.vms.is_looking_up(moref),
            max_replicas: ctx.max_replicas,
            user: ctx.vms.user(),
            now: SystemTime::now(),
        };
        observe::observe(&around, group)
    })
}

/// Returns whether a call is still what a group needs.
#[must_use]
pub fn needs(ctx: &Context, group: &VmGroup, call: &Call) -> bool {
    is_needed(group, observe(ctx, group), call)
}

/// Returns whether the plan of a group, with no request in flight, contains this call.
pub fn is_needed(group: &VmGroup, seen: Seen, call: &Call) -> bool {
    let seen = Seen { request: None, ..seen };
    match (plan::plan(group, &seen), call) {
        (Turn::Act(Plan::Scale(scale)), Call::CreateFolder(_)) => scale.create_folder,
        (Turn::Act(Plan::RemoveFolder(empty)), Call::RemoveFolder(folder)) => empty == *folder,
        _ => false,
    }
}

impl Reconciler for VmGroups {
    type Object = VmGroup;
    type Seen = Seen;
    type Plan = Plan;
    type Done = Done;
    type Error = Error;

    const NAME: &'static str = "vmgroup";
    const FINALIZER: Option<&'static str> = Some(FINALIZER);
    const FORMER_FINALIZERS: &'static [&'static str] = &[ORIGINAL_FINALIZER];
    /// Passes over groups are few: the instances have the work.
    const CONCURRENCY: usize = 6;

    async fn observe(&self, group: &VmGroup) -> Result<Seen, Error> {
        Ok(observe(&self.0, group))
    }

    fn plan(group: &VmGroup, seen: &Seen, _: Timestamp) -> Turn<Plan> {
        plan::plan(group, seen)
    }

    /// A VmInstance that the cache does not show would lose its group, and its machine be left in the vCenter.
    async fn confirm_gone(&self, group: &VmGroup) -> Result<bool, Error> {
        let namespace = group.namespace().unwrap_or_default();
        let found =
            self.0.instances.find(&namespace, &selector(group), |found| is_member(found, group)).await?;
        Ok(found.is_none())
    }

    async fn apply(&self, group: &VmGroup, plan: Plan) -> Result<Done, Error> {
        apply::apply(&self.0, group, plan).await
    }

    fn status(
        old: Option<&VmGroupStatus>,
        group: &VmGroup,
        seen: Option<&Seen>,
        outcome: &Outcome<Done, Error>,
        now: Timestamp,
    ) -> Option<VmGroupStatus> {
        status::status(old, group, seen, outcome, now)
    }

    fn conditions(status: &VmGroupStatus) -> &[Condition] {
        &status.conditions
    }

    fn event(done: &Done) -> Option<Notice> {
        let parts = [
            (done.created, "creating"),
            (done.deleted, "removing"),
            (done.released, "releasing"),
            (done.adopted, "adopting"),
        ];
        let parts: Vec<_> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, verb)| machines(verb, *n)).collect();
        (!parts.is_empty()).then(|| Notice::normal(reason::SCALING, parts.join(", ")))
    }

    /// Machines are requested once the status names the vCenter.
    fn is_awaited(old: Option<&VmGroupStatus>, new: &VmGroupStatus) -> bool {
        old.and_then(|old| old.vcenter.as_ref()) != new.vcenter.as_ref()
    }

    fn news(_: &VmGroup, old: Option<&VmGroupStatus>, new: &VmGroupStatus) -> Vec<Notice> {
        status::news(old, new)
    }

    fn last_event(group: &VmGroup, seen: &Seen) -> Option<Notice> {
        let kept = plan::describe_kept(seen).filter(|_| !is_detached(group));
        kept.map(|message| Notice::normal(reason::FOLDER_KEPT, message))
    }

    fn forget(&self, uid: &str) {
        self.0.memory.forget_group(uid);
    }
}

/// Returns whether a VmInstance may have a machine of the group. Of one that does not parse only controller and name are known.
fn is_member(found: &Guarded<VmInstance>, group: &VmGroup) -> bool {
    let Some(instance) = found.valid() else { return vminstance::may_be_of(found, group) };
    group.uid().as_ref() == Some(&instance.spec.group_uid)
        && names::check(instance).is_ok()
        && !vminstance::is_done(instance)
}

/// Returns whether the VmInstances of a group are as this process knows them: which there are, and which are being deleted. Reads them from the
/// API server; the cache has what was read when this returns.
async fn are_members_current(ctx: &Context, group: &VmGroup) -> Result<bool, Error> {
    let members = ctx.members(group);
    let states = |members: &[Arc<VmInstance>]| -> BTreeSet<_> {
        members.iter().map(|of| (of.uid(), of.metadata.deletion_timestamp.is_some())).collect()
    };
    let listed = Mutex::new(BTreeSet::new());
    let list = |found: &Guarded<VmInstance>| {
        listed.lock().unwrap_or_else(PoisonError::into_inner).insert(found.uid());
        false
    };
    ctx.instances.find(&group.namespace().unwrap_or_default(), &selector(group), list).await?;
    let listed = listed.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Those are gone, or a person has taken the label off. Copies, of which there may be many, are not chosen.
    let missing = members.iter().filter(|of| !listed.contains(&of.uid()) && names::check(of).is_ok());
    let read = async |instance: &Arc<VmInstance>| ctx.instances.is_current(instance, |_| ()).await.map(drop);
    stream::iter(missing.map(Ok)).try_for_each_concurrent(apply::CONCURRENCY, read).await?;
    Ok(states(&members) == states(&ctx.members(group)))
}

/// Returns the label selector of a group's VmInstances.
fn selector(group: &VmGroup) -> String {
    format!("{GROUP_LABEL}={}", label_value(&group.name_any()))
}

fn machines(verb: &str, n: usize) -> String {
    if n == 1 { format!("{verb} 1 virtual machine") } else { format!("{verb} {n} virtual machines") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_what_becomes_of_the_machines() {
        let rows = [
            (Done::default(), None),
            (
                Done { created: 2, deleted: 1, ..Done::default() },
                Some("creating 2 virtual machines, removing 1 virtual machine"),
            ),
            (Done { released: 1, ..Done::default() }, Some("releasing 1 virtual machine")),
            (Done { adopted: 3, ..Done::default() }, Some("adopting 3 virtual machines")),
        ];
        for (done, wanted) in rows {
            let notice = VmGroups::event(&done);
            assert_eq!(notice.as_ref().map(Notice::message), wanted, "{done:?}");
        }
    }
}
