//! Carries an action out: changes what this process remembers, or puts one request to the vCenter into the queue. Never
//! waits for the vCenter: the response, and later the end of the task, wake the instance. `status` comes next.

use infra_clients::vsphere::MoRef;
use kube::ResourceExt;
use operator_kit::{Key, Notice};

use crate::api::names::Marker;
use crate::api::{TaskKind, VmInstance};
use crate::error::{Error, method};
use crate::in_flight::Doubt;
use crate::memory::Memory;
use crate::requests::{Call, NewMachine, Request, Subject};
use crate::vcenter::Vcenter;

use super::identity::is_reference;
use super::news;
use super::plan::Action;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What was requested of the vCenter.
    pub requested: Option<TaskKind>,
    /// The event for it.
    pub notice: Option<Notice>,
}

/// Carries out one action. There is no event for a request that has ended: it shows in the inventory.
pub fn apply(
    memory: &Memory,
    vcenter: &dyn Vcenter,
    instance: &VmInstance,
    action: Action,
) -> Result<Done, Error> {
    let requested = action.requests();
    let uid = instance.uid().unwrap_or_default();
    let key = Key::of(instance);
    let in_flight = &memory.in_flight;
    match action {
        Action::Track => track(memory, vcenter, instance),
        Action::Refresh => in_flight.refreshing(&uid, vcenter.request_refresh()),
        Action::SetDoubt(doubt) => {
            if let Doubt::Watching(clones) = &doubt {
                vcenter.follow_all(clones);
            }
            in_flight.set_doubt(&uid, doubt);
        }
        // Recorded first: the answer may arrive at once.
        Action::LookUp(moref) => {
            in_flight.looking_up(&moref, &key);
            vcenter.look_up(&moref);
        }
        Action::Confirm(moref) => {
            in_flight.looking_up(&moref, &key);
            vcenter.confirm(&moref);
        }
        Action::FindTemplate => {
            in_flight.looking_for_template(&key);
            vcenter.request_template(&instance.spec.template);
        }
        Action::Enqueue => memory.enqueue(&key, &instance.spec.group_uid),
        Action::HoldPlace => memory.hold_place(&key, &instance.spec.group_uid),
        Action::LeaveQueue => memory.leave_queue(&key),
        Action::Found(machine) => in_flight.found(&uid, machine),
        Action::ForgetMachine => in_flight.forget_machine(&uid),
        Action::Settle(machine) => in_flight.settle_with(&uid, machine),
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
            let clone = Box::new(clone(memory, instance, template, folder));
            send(memory, instance, TaskKind::Clone, Call::Clone(clone));
        }
        Action::Release(machine) => {
            in_flight.set_released(&uid);
            return Ok(Done { requested, notice: Some(news::released(instance, &machine)) });
        }
        Action::Mark(vm) => {
            let marker = Marker::of(&memory.cluster, instance).to_string();
            send(memory, instance, TaskKind::Mark, Call::Mark { vm, marker });
        }
        Action::PowerOn(vm) => send(memory, instance, TaskKind::PowerOn, Call::PowerOn(vm)),
        Action::PowerOff(vm) => send(memory, instance, TaskKind::PowerOff, Call::PowerOff(vm)),
        Action::Destroy(vm) => send(memory, instance, TaskKind::Destroy, Call::Destroy(vm)),
    }
    Ok(Done { requested, notice: None })
}

fn track(memory: &Memory, vcenter: &dyn Vcenter, instance: &VmInstance) {
    let (uid, key) = (instance.uid().unwrap_or_default(), Key::of(instance));
    let task = instance.status.as_ref().and_then(|status| status.task.clone());
    let task = task.filter(|task| is_reference(&task.r#ref));
    if let Some(task) = &task {
        vcenter.follow(&crate::in_flight::task_ref(&task.r#ref));
    }
    memory.in_flight.track(&uid, &key, &instance.spec.instance_uuid, task);
}

fn clone(memory: &Memory, instance: &VmInstance, template: MoRef, folder: MoRef) -> NewMachine {
    let spec = &instance.spec;
    NewMachine {
        template,
        folder,
        name: spec.vm_name.clone(),
        instance_uuid: spec.instance_uuid.clone(),
        cpus: spec.cpu,
        memory_gb: spec.memory,
        marker: Marker::of(&memory.cluster, instance).to_string(),
        revision: spec.revision(),
    }
}

/// Puts a request into the queue.
fn send(memory: &Memory, instance: &VmInstance, kind: TaskKind, call: Call) {
    let (uid, key) = (instance.uid().unwrap_or_default(), Key::of(instance));
    memory.in_flight.sending(&uid, kind);
    let group = (key.namespace().to_owned(), instance.spec.group_uid.clone());
    memory.requests.push(Request { group, subject: Subject::Instance { uid, key, kind }, call });
}
