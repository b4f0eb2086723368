//! What a process's inventory shows. A change is carried out on the real `Inventory`, which is built from the values here and
//! read back.

use std::sync::LazyLock;

use infra_clients::vsphere::vms::{
    Confirmation, Inventory, Outside, Task as RealTask, TaskState as RealState, Vm as RealVm, fixtures,
};
use infra_clients::vsphere::{Error, Kind, MoRef, PowerState};

use crate::api::names::{self, Marker};
use crate::api::{OWNER_MARKER, REVISION_MARKER, TaskKind};
use crate::fixtures::{CLUSTER, NAME, NAMESPACE};

use super::kubernetes::group_of;
use super::tables::{group_uid, uuid};
use super::vcenter::{Call, Fault, NO_SLOT, TaskState, VMS, Vm};

/// The answer to a look-up or a confirmation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Answer {
    #[default]
    None,
    Same,
    Changed,
    Gone,
    Elsewhere(Vm),
}

/// A task as the inventory shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShownTask {
    pub id: u8,
    /// `None` until the collector has reported it.
    pub reported: Option<(Call, TaskState)>,
    /// This process submitted it, or follows it.
    pub submitted: bool,
}

/// What an inventory shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shown {
    pub current: bool,
    /// The group's folder by number, and the objects in it.
    pub folder: Option<(u8, u8)>,
    pub vms: [Option<Vm>; VMS],
    pub answers: [Answer; VMS],
    pub tasks: Vec<ShownTask>,
}

/// What the watch or a call tells an inventory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Update {
    Current(bool),
    Vm(u8, Option<Vm>),
    Folder(Option<(u8, u8)>),
    /// `None`: no longer among the recent tasks.
    Task(u8, Option<(Call, TaskState)>),
    Submit(u8),
    /// Reading the task by its reference found none.
    Forget(u8),
    /// Reading a machine by its reference found this.
    LookUp(u8, Option<Vm>),
    /// The answer to a look-up is too old.
    Expire(u8),
    /// A task ended so long ago that the inventory drops it.
    Purge(u8),
    /// A call has failed because the machine does not exist.
    Lack(u8),
}

pub fn vm_ref(id: u8) -> MoRef {
    fixtures::vm_ref(&format!("vm-{id}"))
}

pub fn folder_ref(number: u8) -> MoRef {
    fixtures::folder_ref(&format!("group-{number}"))
}

pub fn task_ref(id: u8) -> MoRef {
    fixtures::task_ref(&format!("task-{id}"))
}

/// The number at the end of a reference or a UUID.
pub fn number(text: &str) -> Option<u8> {
    text.rsplit('-').next()?.parse().ok()
}

/// The template's reference.
pub fn template() -> MoRef {
    fixtures::vm_ref("vm-template")
}

/// The instanceUuid of the vCenter.
const VCENTER: &str = "vcenter";

/// The account of the operator.
pub const USER: &str = "operator";

impl Shown {
    /// Returns the inventory that shows this, and has served tickets up to `served`.
    pub fn inventory(&self, served: u64) -> Inventory {
        let mut inventory = fixtures::inventory();
        inventory.set_instance_uuid(VCENTER);
        for (id, vm) in self.machines() {
            inventory.show_vm(real_vm(id, vm));
        }
        if let Some((number, children)) = self.folder {
            inventory.show_folder(real_folder(number, children));
        }
        for task in &self.tasks {
            if task.submitted {
                inventory.submit(&task_ref(task.id));
            }
            if let Some((call, state)) = task.reported {
                inventory.show_task(real_task(task.id, call, state));
            }
        }
        for (id, answer) in (0u8..).zip(&self.answers) {
            match *answer {
                Answer::None => {}
                Answer::Gone | Answer::Changed => inventory.answer_look_up(&vm_ref(id), None),
                Answer::Same => inventory.answer_look_up(&vm_ref(id), self.vm(id).map(|vm| real_vm(id, vm))),
                Answer::Elsewhere(vm) => inventory.answer_look_up(&vm_ref(id), Some(real_vm(id, vm))),
            }
        }
        inventory.set_current(self.current);
        inventory.serve(fixtures::ticket(served));
        inventory
    }

    fn machines(&self) -> impl Iterator<Item = (u8, Vm)> + '_ {
        (0u8..).zip(&self.vms).filter_map(|(id, vm)| Some((id, (*vm)?)))
    }

    /// Returns a machine.
    pub fn vm(&self, id: u8) -> Option<Vm> {
        self.vms.get(usize::from(id)).copied().flatten()
    }

    /// Returns what the inventory shows after an update.
    pub fn after(&self, update: Update) -> Self {
        let mut inventory = self.inventory(0);
        match update {
            Update::Current(current) => inventory.set_current(current),
            Update::Vm(id, Some(vm)) => inventory.show_vm(real_vm(id, vm)),
            Update::Vm(id, None) => inventory.hide_vm(&vm_ref(id)),
            Update::Folder(Some((number, children))) => {
                if let Some((old, _)) = self.folder.filter(|(old, _)| *old != number) {
                    inventory.hide_folder(&folder_ref(old));
                }
                inventory.show_folder(real_folder(number, children));
            }
            Update::Folder(None) => {
                if let Some((old, _)) = self.folder {
                    inventory.hide_folder(&folder_ref(old));
                }
            }
            Update::Task(id, Some((call, state))) => inventory.show_task(real_task(id, call, state)),
            Update::Task(id, None) => inventory.hide_task(&task_ref(id)),
            Update::Submit(id) => inventory.submit(&task_ref(id)),
            Update::Forget(id) => inventory.forget_task(&task_ref(id)),
            Update::LookUp(id, vm) => {
                inventory.answer_look_up(&vm_ref(id), vm.map(|vm| real_vm(id, vm)));
            }
            Update::Expire(id) => inventory.expire_look_up(&vm_ref(id)),
            Update::Purge(_) => {}
            Update::Lack(id) => inventory.lack(&vm_ref(id)),
        }
        self.read(&inventory, update)
    }

    fn read(&self, inventory: &Inventory, update: Update) -> Self {
        let mut shown = Self { current: inventory.is_synced(), ..Self::default() };
        let folder = inventory.folder_named(&names::folder(NAMESPACE, NAME));
        shown.folder = folder
            .and_then(|folder| Some((number(folder.moref.value())?, u8::try_from(folder.children).ok()?)));
        for (id, place) in (0u8..).zip(&mut shown.vms) {
            *place = inventory.vm(&vm_ref(id)).map(|vm| model_vm(vm));
        }
        for (id, place) in (0u8..).zip(&mut shown.answers) {
            let moref = vm_ref(id);
            *place = match (inventory.confirmed(&moref), inventory.outside(&moref)) {
                (Some(Confirmation::Same), _) => Answer::Same,
                // Each machine of the model can be read.
                (Some(Confirmation::Changed | Confirmation::Unread), _) => Answer::Changed,
                (None, Some(Outside::Gone)) => Answer::Gone,
                (None, Some(Outside::Elsewhere(vm))) => Answer::Elsewhere(model_vm(vm)),
                (None, None) => Answer::None,
            };
        }
        // Who submitted a task, and what it does in the model, the inventory cannot say.
        let mut known = self.tasks.clone();
        match update {
            Update::Purge(id) => known.retain(|task| task.id != id),
            Update::Task(id, Some(reported)) => Self::task_of(&mut known, id).reported = Some(reported),
            Update::Submit(id) => Self::task_of(&mut known, id).submitted = true,
            _ => {}
        }
        shown.tasks = known.into_iter().filter(|task| inventory.task(&task_ref(task.id)).is_some()).collect();
        shown
    }

    fn task_of(tasks: &mut Vec<ShownTask>, id: u8) -> &mut ShownTask {
        let at = tasks.partition_point(|task| task.id < id);
        if tasks.get(at).is_none_or(|task| task.id != id) {
            tasks.insert(at, ShownTask { id, reported: None, submitted: false });
        }
        &mut tasks[at]
    }
}

fn marker(number: u8, slot: u8) -> Marker {
    Marker {
        cluster: CLUSTER.into(),
        namespace: NAMESPACE.into(),
        group: NAME.into(),
        group_uid: group_uid(group_of(number)).into(),
        slot: slot.into(),
        instance_uuid: uuid(number),
    }
}

/// The revision of every machine.
static REVISION: LazyLock<String> = LazyLock::new(|| crate::fixtures::instance(0).spec.revision());

/// A machine as the collector reports it.
fn real_vm(id: u8, vm: Vm) -> RealVm {
    let owner = marker(vm.owner, vm.owner_slot).to_string();
    let entries = [(OWNER_MARKER, &*owner), (REVISION_MARKER, &**REVISION)];
    let parent = vm.folder.map_or_else(|| fixtures::folder_ref("group-elsewhere"), folder_ref);
    let name = if vm.slot == NO_SLOT { format!("other-{id}") } else { names::vm(NAME, vm.slot.into()) };
    let uuid = if vm.uuid == 0 { format!("other-uuid-{id}") } else { uuid(vm.uuid) };
    RealVm {
        name: name.into(),
        parent: Some(parent),
        power: Some(if vm.on { PowerState::On } else { PowerState::Off }),
        instance_uuid: Some(uuid.into()),
        markers: fixtures::markers(if vm.owner == 0 { &[] } else { &entries }),
        ..fixtures::vm(&format!("vm-{id}"))
    }
}

fn model_vm(vm: &RealVm) -> Vm {
    let owner = vm.marker(OWNER_MARKER).and_then(|text| text.parse::<Marker>().ok());
    let uuid = vm.instance_uuid.as_deref().filter(|uuid| uuid.starts_with("uuid-"));
    let parent = vm.parent.as_ref().map(MoRef::value).unwrap_or_default();
    Vm {
        owner: owner.as_ref().and_then(|owner| number(&owner.instance_uuid)).unwrap_or(0),
        owner_slot: owner.and_then(|owner| u8::try_from(owner.slot).ok()).unwrap_or(0),
        uuid: uuid.and_then(number).unwrap_or(0),
        slot: vm.name.strip_prefix("web-").and_then(|slot| slot.parse().ok()).unwrap_or(NO_SLOT),
        on: vm.power == Some(PowerState::On),
        folder: number(parent),
    }
}

fn real_folder(number: u8, children: u8) -> infra_clients::vsphere::vms::Folder {
    let name = names::folder(NAMESPACE, NAME);
    let folder = fixtures::folder(&format!("group-{number}"), &name);
    infra_clients::vsphere::vms::Folder { children: children.into(), ..folder }
}

fn real_task(id: u8, call: Call, state: TaskState) -> RealTask {
    let (description, entity) = match call {
        Call::Clone { .. } => ("VirtualMachine.clone", template()),
        Call::Mark { vm, .. } => ("VirtualMachine.reconfigure", vm_ref(vm)),
        Call::PowerOn(vm) => ("VirtualMachine.powerOn", vm_ref(vm)),
        Call::PowerOff(vm) => ("VirtualMachine.powerOff", vm_ref(vm)),
        Call::Destroy(vm) => ("VirtualMachine.destroy", vm_ref(vm)),
        Call::CreateFolder => ("Folder.createFolder", folder_ref(0)),
        Call::RemoveFolder(folder) => ("Folder.unregisterAndDestroy", folder_ref(folder)),
    };
    let (real, error) = match state {
        TaskState::Running => (RealState::Running, None),
        TaskState::Success => (RealState::Success, None),
        TaskState::Error(fault) => (RealState::Error, Some(real_fault(fault))),
    };
    RealTask {
        description_id: description.into(),
        entity: Some(entity),
        user: Some(USER.into()),
        error,
        ..fixtures::task(&format!("task-{id}"), real)
    }
}

/// The error that the client returns for a fault.
pub fn real_fault(fault: Fault) -> Error {
    match fault {
        Fault::NotFound => fixtures::fault("ManagedObjectNotFound"),
        Fault::DuplicateName => fixtures::fault("DuplicateName"),
        Fault::InvalidPowerState => fixtures::fault("InvalidPowerState"),
        Fault::Busy => Error::new(Kind::Busy, "not empty"),
        Fault::NoResources => fixtures::fault("InsufficientResourcesFault"),
        Fault::Lost => fixtures::in_doubt(Error::new(Kind::Timeout, "no answer")),
    }
}

/// What a call is to an instance.
pub fn task_kind(call: Call) -> TaskKind {
    match call {
        Call::Clone { .. } => TaskKind::Clone,
        Call::Mark { .. } => TaskKind::Mark,
        Call::PowerOn(_) => TaskKind::PowerOn,
        Call::PowerOff(_) => TaskKind::PowerOff,
        Call::Destroy(_) => TaskKind::Destroy,
        Call::CreateFolder | Call::RemoveFolder(_) => TaskKind::Unknown,
    }
}
