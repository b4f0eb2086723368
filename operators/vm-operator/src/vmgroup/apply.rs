//! Carries a plan out: creates, changes and deletes VmInstances, and puts changes of the folder into the queue of requests.
//! `status` comes next.

use std::time::SystemTime;

use futures::{StreamExt, stream};
use infra_clients::vsphere::MoRef;
use kube::core::Status;
use kube::{Resource, ResourceExt};
use operator_kit::{Guarded, Key, Patched, names::label_value};
use serde_json::json;
use uuid::Uuid;

use crate::api::{
    DETACH, FINALIZER, GROUP_LABEL, ORIGINAL_FINALIZER, VmGroup, VmInstance, VmInstanceSpec, names,
};
use crate::context::Context;
use crate::detach::is_detached;
use crate::error::Error;
use crate::in_flight::{FolderChange, FolderRequest};
use crate::memory::Memory;
use crate::requests::{Call, Request, Subject};
use crate::vcenter::Vcenter;

use super::plan::{Plan, Scale, chooses};

/// Requests to the API server at the same time, for one group.
pub(super) const CONCURRENCY: usize = 8;

/// What was done, for the event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// VmInstances created.
    pub created: usize,
    /// VmInstances deleted, with their machines.
    pub deleted: usize,
    /// VmInstances deleted whose machines stay, since the group is detached.
    pub released: usize,
    /// Machines of the original operator adopted.
    pub adopted: usize,
}

/// Carries out a plan. What was done before an error stays done, and the next pass finds it.
pub async fn apply(ctx: &Context, group: &VmGroup, plan: Plan) -> Result<Done, Error> {
    match plan {
        Plan::Scale(scale) => return self::scale(ctx, group, scale).await,
        Plan::Adopt(machines) => {
            if !ctx.is_current_group(group).await? {
                return Ok(Done::default());
            }
            let adopted = machines.len();
            let instances = machines
                .into_iter()
                .map(|(slot, machine)| instance(group, slot, machine.name, machine.instance_uuid));
            create(ctx, instances).await?;
            return Ok(Done { adopted, ..Done::default() });
        }
        Plan::FinishAdoption => {
            if ctx.groups.change_finalizers(group, None, &[ORIGINAL_FINALIZER]).await? == Patched::Done {
                ctx.memory.in_flight.finished_adoption(&group.uid().unwrap_or_default());
            }
        }
        Plan::Detach => {
            let patch = json!({ "metadata": { "annotations": { DETACH: "true" } } });
            ctx.groups.merge(&ctx.kit.field_manager("vmgroup"), group, patch).await?;
        }
        plan => return apply_folder(&ctx.memory, &ctx.vms, group, plan),
    }
    Ok(Done::default())
}

fn look_up(memory: &Memory, vcenter: &dyn Vcenter, machines: Vec<(Key, MoRef)>) {
    for (instance, machine) in machines {
        memory.in_flight.looking_up(&machine, &instance);
        // Shown or not: one request for both.
        vcenter.confirm(&machine);
    }
}

/// Carries out a plan for the folder. Does nothing for a plan that writes to Kubernetes.
pub fn apply_folder(
    memory: &Memory,
    vcenter: &dyn Vcenter,
    group: &VmGroup,
    plan: Plan,
) -> Result<Done, Error> {
    let (uid, key) = (group.uid().unwrap_or_default(), Key::of(group));
    match plan {
        Plan::LookUp(machines) => look_up(memory, vcenter, machines),
        Plan::LookUpAgain(machines) => {
            memory.in_flight.choosing_again(&uid);
            for (_, machine) in &machines {
                vcenter.forget_answers(machine);
            }
            look_up(memory, vcenter, machines);
        }
        Plan::TakeCensus(machines) => {
            for machine in &machines {
                vcenter.forget_answers(machine);
            }
            let generation = group.metadata.generation.unwrap_or_default();
            memory.in_flight.choosing(&uid, &key, generation, vcenter.request_refresh());
        }
        Plan::WatchClones(clones) => {
            vcenter.follow_all(&clones);
            memory.in_flight.watch_originals(&uid, clones, SystemTime::now());
        }
        Plan::RefreshOriginals => {
            memory.in_flight.refresh_originals(&uid, &key, vcenter.request_refresh());
        }
        Plan::Refresh => memory.in_flight.group_refreshing(&uid, &key, vcenter.request_refresh()),
        Plan::RemoveFolder(folder) => send(memory, group, FolderChange::Remove, Call::RemoveFolder(folder)),
        Plan::SettleFolder => memory.in_flight.set_folder_request(&uid, &key, None),
        Plan::FailFolder(change, fault) => {
            memory.in_flight.set_folder_request(&uid, &key, None);
            return Err(Error::VCenter { doing: change.method(), fault });
        }
        Plan::Scale(_) | Plan::Adopt(_) | Plan::FinishAdoption | Plan::Detach => {}
    }
    Ok(Done::default())
}

async fn scale(ctx: &Context, group: &VmGroup, scale: Scale) -> Result<Done, Error> {
    // The cache may be behind, above all after a start.
    if scale.needs_current_group() && !ctx.is_current_group(group).await? {
        return Ok(Done::default());
    }
    // One that is being deleted already would be one too many.
    let is_choice = !scale.delete.is_empty() && chooses(group);
    if is_choice && !super::are_members_current(ctx, group).await? {
        return Ok(Done::default());
    }
    begin_scale(&ctx.memory, group, &scale);
    let Scale { create_folder: _, create: slots, delete, respec } = scale;
    let (deleted, released) = if is_detached(group) { (0, delete.len()) } else { (delete.len(), 0) };
    let done = Done { created: slots.len(), deleted, released, ..Done::default() };
    let name = group.name_any();
    let instances = slots
        .into_iter()
        .map(|slot| instance(group, slot, names::vm(&name, slot), Uuid::new_v4().to_string()));
    // What fails for one of them delays no other.
    let created = create(ctx, instances).await;
    let changed = each(respec.into_iter().map(|key| self::respec(ctx, group, key))).await;
    let removed = each(delete.into_iter().map(|(key, uid)| remove(ctx, key, uid))).await;
    created.and(changed).and(removed)?;
    Ok(done)
}

/// Makes all calls, some at a time, and returns the first failure then.
async fn each(calls: impl Iterator<Item = impl Future<Output = Result<(), Error>>>) -> Result<(), Error> {
    let results: Vec<_> = stream::iter(calls).buffer_unordered(CONCURRENCY).collect().await;
    results.into_iter().collect()
}

async fn remove(ctx: &Context, key: Key, uid: String) -> Result<(), Error> {
    ctx.instances.delete(&key, &uid).await?;
    Ok(())
}

/// Does what of a plan concerns this process and the vCenter: puts the creation of the group's folder into the queue.
pub fn begin_scale(memory: &Memory, group: &VmGroup, scale: &Scale) {
    if !scale.delete.is_empty() {
        memory.in_flight.chosen(&group.uid().unwrap_or_default());
    }
    if scale.create_folder {
        let name = names::folder(&group.namespace().unwrap_or_default(), &group.name_any());
        send(memory, group, FolderChange::Create, Call::CreateFolder(name));
    }
}

fn send(memory: &Memory, group: &VmGroup, change: FolderChange, call: Call) {
    let (uid, key) = (group.uid().unwrap_or_default(), Key::of(group));
    memory.in_flight.set_folder_request(&uid, &key, Some(FolderRequest::Sending(change)));
    let id = (key.namespace().to_owned(), uid.clone());
    memory.requests.push(Request { group: id, subject: Subject::Group { uid, key, change }, call });
}

/// The instance of a slot as it is first written: the durable intent, complete from the first moment.
pub fn instance(group: &VmGroup, slot: i32, vm_name: String, instance_uuid: String) -> VmInstance {
    let name = group.name_any();
    let spec = VmInstanceSpec {
        vm_name,
        instance_uuid,
        cpu: group.spec.cpu,
        memory: group.spec.memory,
        template: group.spec.template.clone(),
        slot,
        group_uid: group.uid().unwrap_or_default(),
        group: name.clone(),
    };
    let mut instance = VmInstance::new(&names::instance(&name, slot), spec);
    instance.metadata.namespace = group.namespace();
    instance.metadata.owner_references = group.controller_owner_ref(&()).map(|owner| vec![owner]);
    instance.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    instance.metadata.labels = Some([(GROUP_LABEL.to_owned(), label_value(&name))].into());
    instance
}

/// Creates VmInstances.
async fn create(ctx: &Context, instances: impl Iterator<Item = VmInstance>) -> Result<(), Error> {
    each(instances.map(|instance| create_one(ctx, instance))).await
}

/// Creates by POST: an apply would take over an object of that name that belongs to something else.
async fn create_one(ctx: &Context, instance: VmInstance) -> Result<(), Error> {
    let key = Key::of(&instance);
    ctx.memory.in_flight.creating(&key, &instance.spec.instance_uuid);
    let created = ctx.instances.create(&ctx.kit.field_manager("vmgroup"), &instance).await;
    if created.is_err() {
        ctx.memory.in_flight.not_created(&key);
    }
    match created {
        Ok(_) => Ok(()),
        // Created by a request whose response was lost: the cache is about to show it. Or it belongs to another group.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let found = ctx.instances.read(&key).await?;
            match found.as_ref().map(Guarded::object) {
                Some(Ok(found))
                    if found.spec.group_uid == instance.spec.group_uid && names::check(found).is_ok() =>
                {
                    Ok(())
                }
                Some(Err(problem)) => Err(Error::Unreadable(instance.name_any(), problem.to_owned())),
                Some(Ok(_)) | None => Err(Error::Taken(instance.name_any())),
            }
        }
        Err(kube::Error::Api(status)) if is_terminating(&status) => Err(Error::NamespaceTerminating),
        Err(error) => Err(error.into()),
    }
}

/// Returns whether the API server refuses to create an object because its namespace is being deleted.
fn is_terminating(status: &Status) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Gives an instance the group's present spec, unless it changed since it was looked at.
async fn respec(ctx: &Context, group: &VmGroup, key: Key) -> Result<(), Error> {
    let Some(instance) = ctx.instances.cache().valid(&key) else { return Ok(()) };
    let spec = &group.spec;
    let patch = json!({ "spec": { "cpu": spec.cpu, "memory": spec.memory, "template": spec.template } });
    // Where it moved on, its change wakes the group.
    ctx.instances.merge(&ctx.kit.field_manager("vmgroup"), &instance, patch).await?;
    Ok(())
}
