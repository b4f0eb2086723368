//! Carries a step out: asks the vCenter for one change and writes down the task. Never waits for a task;
//! its end wakes the instance. `status` comes next.

use infra_clients::Failure;
use infra_clients::vsphere::vms::CloneSpec;
use infra_clients::vsphere::{Error as Fault, Kind, MoRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;

use crate::api::{OWNER_MARKER, REVISION_MARKER, TaskKind, TaskStatus, VmInstance, reason};
use crate::context::Context;
use crate::error::Error;
use crate::vcenter;

use super::Subject;

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
        }
        Err(error) => {
            if error.in_doubt() {
                ctx.ledger.reply_lost(subject.uid);
            } else {
                ctx.ledger.not_sent(subject.uid);
            }
            Err(error.into())
        }
    }
}
