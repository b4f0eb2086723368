//! Carries a plan out: makes and deletes VmInstances, makes and destroys the folder. `status` comes next.

use std::time::Instant;

use infra_clients::Failure;
use infra_clients::vsphere::{Kind, MoRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};
use operator_kit::Guarded;
use serde_json::json;

use crate::api::{FINALIZER, GROUP_LABEL, VmGroup, VmInstance, VmInstanceSpec, names, reason};
use crate::context::Context;
use crate::error::Error;

use super::expected::Expected;
use super::plan::{Member, Plan};

/// Carries out the plan. What was done before an error stays done and is found by the next pass.
pub async fn apply(
    ctx: &Context,
    group: &VmGroup,
    plan: &Plan,
    expected: &mut Expected,
) -> Result<(), Error> {
    let api = instances(ctx, group);
    if plan.folder {
        make_folder(ctx, group).await?;
    }
    // One slot that is taken holds up no other.
    let mut taken = Ok(());
    for slot in &plan.create {
        ctx.leadership.check()?;
        match create(ctx, &api, group, *slot, expected).await {
            Err(error @ Error::Wait { .. }) => taken = Err(error),
            other => other?,
        }
    }
    for name in &plan.respec {
        ctx.leadership.check()?;
        respec(&api, ctx, group, name).await?;
    }
    for (name, uid) in &plan.delete {
        ctx.leadership.check()?;
        delete(&api, name, uid).await?;
        expected.deleted(uid.clone(), Instant::now());
    }
    taken
}

/// The group's namespace of instances.
pub fn instances(ctx: &Context, group: &VmGroup) -> Api<VmInstance> {
    Api::namespaced(ctx.kit.client(), &group.namespace().unwrap_or_default())
}

async fn make_folder(ctx: &Context, group: &VmGroup) -> Result<(), Error> {
    let name = names::folder(&group.namespace().unwrap_or_default(), &group.name_any());
    ctx.leadership.check()?;
    match ctx.vcenter.create_folder(&name).await {
        Ok(folder) => tracing::info!(%folder, name, "folder made"),
        // Made a moment ago by a request whose reply was lost, or by somebody else: a folder serves either way.
        Err(error) if error.kind() == Kind::DuplicateName || error.in_doubt() => {
            ctx.vcenter.fresh().await?;
            if ctx.vcenter.read(|i| i.folder_named(&name).is_none()) {
                return Err(error.into());
            }
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The instance of a slot, as it is first written: the durable intent, complete from the first moment.
fn instance(group: &VmGroup, slot: i32) -> Result<VmInstance, Error> {
    let uid = group.uid().ok_or(Error::Incomplete("uid"))?;
    let name = group.name_any();
    let spec = VmInstanceSpec {
        vm_name: names::vm(&name, slot),
        instance_uuid: names::instance_uuid(&uid, slot).to_string(),
        cpu: group.spec.cpu,
        memory: group.spec.memory,
        template: group.spec.template.clone(),
        slot,
        group: name.clone(),
        group_uid: uid,
    };
    let mut instance = VmInstance::new(&names::instance(&name, slot), spec);
    let owner: OwnerReference = group.controller_owner_ref(&()).ok_or(Error::Incomplete("uid"))?;
    instance.metadata.owner_references = Some(vec![owner]);
    instance.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    instance.metadata.labels = Some([(GROUP_LABEL.to_owned(), names::label_value(&name))].into());
    Ok(instance)
}

async fn create(
    ctx: &Context,
    api: &Api<VmInstance>,
    group: &VmGroup,
    slot: i32,
    expected: &mut Expected,
) -> Result<(), Error> {
    let instance = instance(group, slot)?;
    let params =
        PostParams { field_manager: Some(ctx.kit.field_manager("vmgroup")), ..PostParams::default() };
    match api.create(&params, &instance).await {
        Ok(made) => {
            let uid = made.uid().ok_or(Error::Incomplete("uid"))?;
            ctx.ledger.open_new(&uid, ObjectRef::from(&made));
            let member = Member {
                name: made.name_any(),
                uid,
                slot,
                deleting: false,
                exists: false,
                on: false,
                begun: true,
                asked: made.spec.revision(),
                made_from: None,
                trouble: None,
            };
            expected.created(member, Instant::now());
            Ok(())
        }
        // Ours, made before a lost reply: the cache will show it. Or a predecessor's, whose end we await.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let name = instance.name_any();
            let found = api.get_opt(&name).await?;
            if found.is_some_and(|f| Some(f.spec.group_uid) != group.uid()) {
                return Err(Error::Wait {
                    reason: reason::WAITING_FOR_PREDECESSOR,
                    message: format!("VmInstance {name} belongs to something else that is not gone yet"),
                    after: Some(std::time::Duration::from_secs(5)),
                });
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives an instance the group's present spec, unless it changed since it was looked at.
async fn respec(api: &Api<VmInstance>, ctx: &Context, group: &VmGroup, name: &str) -> Result<(), Error> {
    let reference =
        ObjectRef::<Guarded<VmInstance>>::new(name).within(&group.namespace().unwrap_or_default());
    let Some(seen) = ctx.instances.get(&reference).and_then(|i| i.object().ok().cloned()) else {
        return Ok(());
    };
    let patch = json!({
        "metadata": { "uid": seen.metadata.uid, "resourceVersion": seen.metadata.resource_version },
        "spec": { "cpu": group.spec.cpu, "memory": group.spec.memory, "template": group.spec.template },
    });
    let params =
        PatchParams { field_manager: Some(ctx.kit.field_manager("vmgroup")), ..PatchParams::default() };
    match api.patch(name, &params, &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        // It moved on, or is gone; its news wakes us.
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks for an instance's end: that very object, not a successor of its name.
pub async fn delete(api: &Api<VmInstance>, name: &str, uid: &str) -> Result<(), Error> {
    let preconditions = Preconditions { uid: Some(uid.to_owned()), resource_version: None };
    match api
        .delete(name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() })
        .await
    {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What stands in the way of the group's end in the vCenter.
pub enum Folder {
    /// There is none, or none any more.
    Gone,
    /// Its destruction was asked for.
    Going,
    /// Things that are not ours are in it.
    Kept(usize),
}

/// Destroys the folder if nothing is in it, by an inventory that is younger than this call.
pub async fn remove_folder(
    ctx: &Context,
    group: &VmGroup,
    asked: &mut Option<MoRef>,
) -> Result<Folder, Error> {
    let name = names::folder(&group.namespace().unwrap_or_default(), &group.name_any());
    let look = || ctx.vcenter.read(|i| i.folder_named(&name).map(|f| (f.moref.clone(), f.children)));
    if look().is_none() {
        return Ok(Folder::Gone);
    }
    if let Some(task) = asked.as_ref() {
        let ended = ctx.vcenter.read(|i| match i.task(task) {
            Some(t) if !t.state.ended() => None,
            Some(t) => Some(t.error.clone()),
            None => Some(None),
        });
        match ended {
            None => return Ok(Folder::Going),
            Some(error) => {
                *asked = None;
                if let Some(error) = error.filter(|e| e.kind() != Kind::NotFound) {
                    return Err(Error::VCenter(error));
                }
            }
        }
    }
    // A vCenter destroys a folder with all that is in it: look once more, and not at yesterday's list.
    ctx.vcenter.fresh().await?;
    let Some((folder, children)) = look() else { return Ok(Folder::Gone) };
    if children > 0 {
        return Ok(Folder::Kept(children));
    }
    ctx.leadership.check()?;
    match ctx.vcenter.destroy(&folder).await {
        Ok(task) => {
            *asked = Some(task);
            Ok(Folder::Going)
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(Folder::Gone),
        Err(error) => Err(error.into()),
    }
}
