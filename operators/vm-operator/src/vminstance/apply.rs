//! Carries an action out: changes what this process remembers, or puts one request to the vCenter into the queue. Never
//! waits for the vCenter: the response, and later the end of the task, wake the instance. `status` comes next.

use infra_clients::vsphere::MoRef;
use kube::ResourceExt;
use operator_kit::{Key, Notice};

use crate::api::names::Marker;
use crate::api::{TaskKind, VmInstance};
use crate::context::Context;
use crate::error::{Error, method};
use crate::requests::{Call, Clone, Request, Subject};

use super::news;
use super::observe::is_reference;
use super::plan::Action;

/// Carries out one action, and returns the event for it.
pub fn apply(ctx: &Context, instance: &VmInstance, action: Action) -> Result<Option<Notice>, Error> {
    let uid = instance.uid().unwrap_or_default();
    let key = Key::of(instance);
    let in_flight = &ctx.in_flight;
    match action {
        Action::Adopt => adopt(ctx, instance, &uid, &key),
        Action::Refresh => in_flight.refreshing(&uid, ctx.vms.request_refresh()),
        Action::SetDoubt(doubt) => in_flight.set_doubt(&uid, doubt),
        // Recorded first: the answer may arrive at once.
        Action::LookUp(moref) => {
            in_flight.looking_up(&moref, &key);
            ctx.vms.look_up(&moref);
        }
        Action::Confirm(moref) => {
            in_flight.looking_up(&moref, &key);
            ctx.vms.confirm(&moref);
        }
        Action::FindTemplate => {
            in_flight.looking_for_template(&key);
            ctx.vms.request_template(&instance.spec.template);
        }
        Action::Enqueue => ctx.enqueue(&key, &instance.spec.group_uid),
        Action::HoldPlace => ctx.hold_place(&key, &instance.spec.group_uid),
        Action::LeaveQueue => ctx.leave_queue(&key),
        Action::Settle => {
            let entry = in_flight.get(&uid);
            in_flight.settle(&uid);
            ctx.meters.observe_clone(entry.as_ref());
            return Ok(ctx.vms.read(|inventory| news::repaired(instance, entry.as_ref(), inventory)));
        }
        Action::Fail(kind, fault) => {
            in_flight.settle(&uid);
            return Err(Error::VCenter { doing: method(kind), fault });
        }
        Action::FailUnstable(kind) => {
            in_flight.settle(&uid);
            return Err(Error::Unstable(method(kind)));
        }
        Action::FailTemplate(fault) => return Err(Error::Template { fault }),
        Action::Clone { template, folder } => {
            let clone = Box::new(clone(ctx, instance, template, folder));
            send(ctx, uid, key, TaskKind::Clone, Call::Clone(clone));
        }
        Action::Release(machine) => {
            in_flight.set_released(&uid);
            return Ok(Some(news::released(&machine)));
        }
        Action::Mark(vm) => {
            let marker = Marker::of(&ctx.cluster, instance).to_string();
            send(ctx, uid, key, TaskKind::Mark, Call::Mark { vm, marker });
        }
        Action::PowerOn(vm) => send(ctx, uid, key, TaskKind::PowerOn, Call::PowerOn(vm)),
        Action::PowerOff(vm) => send(ctx, uid, key, TaskKind::PowerOff, Call::PowerOff(vm)),
        Action::Destroy(vm) => send(ctx, uid, key, TaskKind::Destroy, Call::Destroy(vm)),
    }
    Ok(None)
}

fn adopt(ctx: &Context, instance: &VmInstance, uid: &str, key: &Key) {
    let task = instance.status.as_ref().and_then(|status| status.task.clone());
    let task = task.filter(|task| is_reference(&task.r#ref));
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
        name: spec.vm_name.clone(),
        instance_uuid: spec.instance_uuid.clone(),
        cpus: spec.cpu,
        memory_gb: spec.memory,
        marker: Marker::of(&ctx.cluster, instance).to_string(),
        revision: spec.revision(),
    }
}

/// Puts a request into the queue.
fn send(ctx: &Context, uid: String, key: Key, kind: TaskKind, call: Call) {
    ctx.in_flight.sending(&uid, kind);
    ctx.requests.push(Request { subject: Subject::Instance { uid, key, kind }, call });
}
