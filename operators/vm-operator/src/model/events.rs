//! What happens to the memory of a process between passes.

use infra_clients::vsphere::vms::fixtures;
use k8s_openapi::jiff::Timestamp;
use operator_kit::Key;

use crate::api::TaskKind;
use crate::fixtures::{NAME, NAMESPACE};
use crate::in_flight::FolderChange;
use crate::requests::{self, Subject};

use super::process::{Change, For, Remembered};
use super::shown::{self, real_fault, task_ref, vm_ref};
use super::tables::{group_uid, uid, uuid};
use super::vcenter::{Call, Fault};

/// A change of what a process remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A request was answered: with a task, with none, or with a failure.
    Answered(For, Call, Result<Option<u8>, Fault>),
    /// The poll has served the tickets that were open when it began.
    Served,
    LookedUp(u8),
    Forgot(u8),
    ForgotGroup(u8),
    /// A VmInstance is about to be created, or was not.
    Creating(u8, u8),
    NotCreated(u8),
}

impl Remembered {
    /// Returns what is remembered after an event.
    pub fn after(&self, event: Event) -> Self {
        let mut next = self.copy();
        let memory = &next.memory;
        match event {
            Event::Answered(subject, call, result) => {
                let result = result.map(|task| task.map(task_ref)).map_err(real_fault);
                requests::answer(memory, real_subject(subject, call), result, Timestamp::UNIX_EPOCH);
            }
            Event::Served => {
                next.served += 1;
                memory.in_flight.refreshed(fixtures::ticket(next.served));
            }
            Event::LookedUp(vm) => {
                memory.in_flight.looked_up(&vm_ref(vm));
                next.looking_up.remove(&vm);
            }
            Event::Forgot(number) => memory.forget(&uid(number)),
            Event::ForgotGroup(group) => memory.forget_group(group_uid(group)),
            Event::Creating(slot, number) => {
                memory.in_flight.creating(&key(slot), &uuid(number));
            }
            Event::NotCreated(slot) => memory.in_flight.not_created(&key(slot)),
        }
        next
    }
}

/// The key of a slot's VmInstance.
pub fn key(slot: u8) -> Key {
    Key::new(NAMESPACE, &format!("{NAME}-{slot}"))
}

fn real_subject(subject: For, call: Call) -> Subject {
    match subject {
        For::Instance { number, slot } => {
            let kind: TaskKind = shown::task_kind(call);
            Subject::Instance { uid: uid(number), key: key(slot), kind }
        }
        For::Group(group, change) => {
            let change = if change == Change::Create { FolderChange::Create } else { FolderChange::Remove };
            Subject::Group { uid: group_uid(group).into(), key: Key::new(NAMESPACE, NAME), change }
        }
    }
}
