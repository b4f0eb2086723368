//! Carries an action out: changes what this process remembers, or puts one request to the vCenter into the queue. Never
//! waits for the vCenter: the response, and later the end of the task, wake the instance. `status` comes next.

<<<<<<< HEAD
use infra_clients::vsphere::MoRef;
use kube::ResourceExt;
use operator_kit::Key;
=======
use infra_clients::Failure;
use infra_clients::vsphere::vms::CloneSpec;
use infra_clients::vsphere::{Error as Fault, Kind, MoRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
>>>>>>> clients

use crate::api::names::Marker;
use crate::api::{TaskKind, VmInstance};
use crate::context::Context;
<<<<<<< HEAD
use crate::error::{Error, method};
use crate::requests::{Call, Clone, Request, Subject};
=======
use crate::error::Error;
use crate::vcenter;
>>>>>>> clients

use super::plan::Action;

<<<<<<< HEAD
/// Carries out one action.
pub fn apply(ctx: &Context, instance: &VmInstance, action: Action) -> Result<Option<TaskKind>, Error> {
    let uid = instance.uid().unwrap_or_default();
    let key = Key::of(instance);
    let in_flight = &ctx.in_flight;
    match action {
        Action::Adopt => adopt(ctx, instance, &uid, &key),
        Action::Refresh => in_flight.refreshing(&uid, ctx.vms.request_refresh()),
        Action::SetDoubt(doubt) => in_flight.set_doubt(&uid, doubt),
        Action::LookUp(moref) => ctx.vms.look_up(&moref),
        Action::FindTemplate => ctx.vms.find_template(&instance.spec.template),
        Action::Enqueue => ctx.enqueue(&key, &instance.spec.group_uid),
        Action::HoldPlace => ctx.hold_place(&key, &instance.spec.group_uid),
        Action::LeaveQueue => ctx.leave_queue(&key),
        Action::Settle => in_flight.settle(&uid),
        Action::Fail(kind, fault) => {
            in_flight.settle(&uid);
            return Err(Error::VCenter { doing: method(kind), fault });
=======
/// Megabytes in one GB of `spec.memory`.
const MB_PER_GB: i64 = 1024;

/// Clones the template into `folder`, if it is this instance's turn.
pub async fn clone_vm(ctx: &Context, subject: &Subject<'_>, folder: &MoRef) -> Result<(), Error> {
    if !ctx.enter_gate(subject) {
        return Err(Error::Wait {
            reason: reason::QUEUED,
            message: format!("{} clones are under way; waiting for a turn", ctx.settings.max_clones),
            after: None,
        });
    }
    let result = submit_clone(ctx, subject, folder).await;
    if result.is_err() {
        ctx.leave_gate(&ObjectRef::from(subject.instance));
    }
    result
}

async fn submit_clone(ctx: &Context, subject: &Subject<'_>, folder: &MoRef) -> Result<(), Error> {
    let VmInstance { spec, .. } = subject.instance;
    let template =
        vcenter::template(&ctx.vcenter, &spec.template).await.map_err(|e| Error::Template(e.into()))?;
    let (marker, revision) = (subject.marker.to_string(), spec.revision());
    let result = send(ctx, subject, TaskKind::Clone, async || {
        ctx.vcenter
            .clone_vm(&CloneSpec {
                template: &template,
                folder,
                name: &spec.vm_name,
                instance_uuid: &spec.instance_uuid,
                cpus: spec.cpu,
                memory_mb: i64::from(spec.memory) * MB_PER_GB,
                power_on: true,
                extra_config: &[(OWNER_MARKER, &marker), (REVISION_MARKER, &revision)],
                op_id: subject.uid,
            })
            .await
    })
    .await;
    if let Err(Error::VCenter(error)) = &result
        && error.kind() == Kind::NotFound
    {
        // The template, the folder or the pool is not where it was.
        ctx.vcenter.forget_template(&spec.template);
    }
    result
}

/// Powers the machine on.
pub async fn power_on(ctx: &Context, subject: &Subject<'_>, vm: &MoRef) -> Result<(), Error> {
    send(ctx, subject, TaskKind::PowerOn, async || ctx.vcenter.power_on(vm).await).await
}

/// Powers the machine off, at once: it is about to be destroyed.
pub async fn power_off(ctx: &Context, subject: &Subject<'_>, vm: &MoRef) -> Result<(), Error> {
    send(ctx, subject, TaskKind::PowerOff, async || ctx.vcenter.power_off(vm).await).await
}

/// Destroys the machine and its disks.
pub async fn destroy(ctx: &Context, subject: &Subject<'_>, vm: &MoRef) -> Result<(), Error> {
    send(ctx, subject, TaskKind::Destroy, async || ctx.vcenter.destroy(vm).await).await
}

/// Sends one request that starts a task, as the leader only, and enters what came of it in the ledger.
async fn send(
    ctx: &Context,
    subject: &Subject<'_>,
    kind: TaskKind,
    request: impl AsyncFnOnce() -> Result<MoRef, Fault>,
) -> Result<(), Error> {
    ctx.leadership.check()?;
    ctx.ledger.settle_task(subject.uid);
    ctx.ledger.sending(subject.uid);
    match request().await {
        Ok(task) => {
            tracing::info!(?kind, %task, vm = subject.instance.spec.vm_name, "task submitted");
            let submitted_at = Time(Timestamp::now());
            ctx.ledger.asked(subject.uid, TaskStatus { r#ref: task.value().to_owned(), kind, submitted_at });
            Ok(())
>>>>>>> clients
        }
        Action::FailUnstable(kind) => {
            in_flight.settle(&uid);
            return Err(Error::Unstable(method(kind)));
        }
        Action::FailTemplate(fault) => return Err(Error::Template(fault)),
        Action::Clone { template, folder } => {
            let clone = Box::new(clone(ctx, instance, template, folder));
            return Ok(Some(send(ctx, uid, key, TaskKind::Clone, Call::Clone(clone))));
        }
        Action::Mark(vm) => {
            let marker = Marker::of(&ctx.cluster, instance).to_string();
            return Ok(Some(send(ctx, uid, key, TaskKind::Mark, Call::Mark { vm, marker })));
        }
        Action::PowerOn(vm) => return Ok(Some(send(ctx, uid, key, TaskKind::PowerOn, Call::PowerOn(vm)))),
        Action::PowerOff(vm) => return Ok(Some(send(ctx, uid, key, TaskKind::PowerOff, Call::PowerOff(vm)))),
        Action::Destroy(vm) => return Ok(Some(send(ctx, uid, key, TaskKind::Destroy, Call::Destroy(vm)))),
    }
    Ok(None)
}

fn adopt(ctx: &Context, instance: &VmInstance, uid: &str, key: &Key) {
    let task = instance.status.as_ref().and_then(|status| status.task.clone());
    if let Some(task) = &task {
        ctx.vms.follow(&crate::in_flight::task_ref(&task.r#ref));
    }
    ctx.in_flight.adopt(uid, key, &instance.spec.instance_uuid, task);
}

fn clone(ctx: &Context, instance: &VmInstance, template: MoRef, folder: MoRef) -> Clone {
    let spec = &instance.spec;
    Clone {
        template,
        folder,
        template_name: spec.template.clone(),
        name: spec.vm_name.clone(),
        instance_uuid: spec.instance_uuid.clone(),
        cpus: spec.cpu,
        memory_gb: spec.memory,
        marker: Marker::of(&ctx.cluster, instance).to_string(),
        revision: spec.revision(),
    }
}

/// Puts a request into the queue.
fn send(ctx: &Context, uid: String, key: Key, kind: TaskKind, call: Call) -> TaskKind {
    ctx.in_flight.sending(&uid, kind);
    ctx.requests.push(Request { subject: Subject::Instance { uid, key, kind }, call });
    kind
}
