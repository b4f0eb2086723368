//! An inventory from plain values, for tests of what reads one: the feature `fixtures`. What it does to the inventory is what
//! the watch does, through the same functions.
//!
//! ```
//! use infra_clients::vsphere::PowerState;
//! use infra_clients::vsphere::vms::{Vm, fixtures};
//!
//! let mut inventory = fixtures::inventory();
//! inventory.show_folder(fixtures::folder("group-1", "team.web"));
//! inventory.show_vm(Vm {
//!     name: "web-0".into(),
//!     parent: Some(fixtures::folder_ref("group-1")),
//!     power: Some(PowerState::On),
//!     markers: fixtures::markers(&[("vmgroup/owner", "…")]),
//!     ..fixtures::vm("vm-1")
//! });
//! assert!(inventory.is_synced() && inventory.folder_named("team.web").is_some());
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inventory::{Changes, Connection, Folder, Inventory, LookedUp, Markers, Ticket, Vm};
use crate::vsphere::fault::Fault;
use crate::vsphere::{Error, MoRef, Task, TaskState};

/// The root folder of [`inventory`].
pub const ROOT: &str = "group-root";
/// How long answers of look-ups are good: a test must not depend on its duration.
const LONG: Duration = Duration::from_hours(24);

/// Returns a complete and current inventory with nothing but the root folder.
#[must_use]
pub fn inventory() -> Inventory {
    let mut inventory = Inventory::new(String::new());
    inventory.set_root(folder_ref(ROOT));
    inventory.set_synced(true);
    inventory
}

/// Returns the reference of a virtual machine.
#[must_use]
pub fn vm_ref(id: &str) -> MoRef {
    MoRef::new("VirtualMachine", id)
}

/// Returns the reference of a folder.
#[must_use]
pub fn folder_ref(id: &str) -> MoRef {
    MoRef::new("Folder", id)
}

/// Returns the reference of a task.
#[must_use]
pub fn task_ref(id: &str) -> MoRef {
    MoRef::new("Task", id)
}

/// Returns a connected virtual machine without a name, a folder, a power state or markers.
#[must_use]
pub fn vm(id: &str) -> Vm {
    Vm { connection: Some(Connection::Connected), markers: markers(&[]), ..Vm::empty(vm_ref(id)) }
}

/// Returns `extraConfig` entries.
#[must_use]
pub fn markers(entries: &[(&str, &str)]) -> Option<Markers> {
    Some(entries.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect())
}

/// Returns an empty folder in the root folder.
#[must_use]
pub fn folder(id: &str, name: &str) -> Folder {
    Folder { moref: folder_ref(id), name: name.into(), parent: Some(folder_ref(ROOT)), children: 0 }
}

/// Returns a task in this state, of which nothing else is known.
#[must_use]
pub fn task(id: &str, state: TaskState) -> Task {
    Task { state, ..Task::queued(task_ref(id)) }
}

/// Returns the ticket of a refresh that [`Inventory::serve`] serves.
#[must_use]
pub fn ticket(number: u64) -> Ticket {
    Ticket(number)
}

/// Returns the number of a ticket.
#[must_use]
pub fn ticket_number(ticket: Ticket) -> u64 {
    ticket.0
}

/// Returns the failure of a request that may have taken effect.
#[must_use]
pub fn in_doubt(error: Error) -> Error {
    error.doubtful()
}

/// Returns the failure that vCenter reports as this fault, such as `ManagedObjectNotFound`.
#[must_use]
pub fn fault(name: &str) -> Error {
    Error::of_fault(Fault { name: name.to_owned(), ..Fault::default() })
}

/// Returns the error of a login that was answered with the fault of this name.
#[must_use]
pub fn refused_login(name: &str) -> Error {
    fault(name).of_login()
}

impl Inventory {
    /// Shows a virtual machine as the collector would report it now.
    pub fn show_vm(&mut self, vm: Vm) {
        let moref = vm.moref.clone();
        self.forget_read(&moref);
        self.put_vm(&moref, Some(vm));
    }

    /// Shows that a virtual machine has left the root folder, or does not exist.
    pub fn hide_vm(&mut self, vm: &MoRef) {
        self.put_vm(vm, None);
    }

    /// Shows a folder as the collector would report it now.
    pub fn show_folder(&mut self, folder: Folder) {
        let moref = folder.moref.clone();
        self.put_folder(&moref, Some(folder), None);
    }

    /// Shows that a folder does not exist.
    pub fn hide_folder(&mut self, folder: &MoRef) {
        self.put_folder(folder, None, None);
    }

    /// Shows a task as the collector would report it now.
    pub fn show_task(&mut self, task: Task) {
        self.put_task(task, Instant::now());
    }

    /// Shows that vCenter's list of recent tasks does not have a task any more.
    pub fn hide_task(&mut self, task: &MoRef) {
        self.task_left(task);
    }

    /// Shows that vCenter does not know a task by its reference: it ended long ago.
    pub fn forget_task(&mut self, task: &MoRef) {
        self.task_read(task, None, Instant::now());
    }

    /// Records that this client submitted a task, or follows it.
    pub fn submit(&mut self, task: &MoRef) {
        self.task_submitted(task, Instant::now());
    }

    /// Records the instanceUuid of the vCenter.
    pub fn set_instance_uuid(&mut self, vcenter: &str) {
        self.set_vcenter(vcenter.into());
    }

    /// Records whether the inventory is complete and current.
    pub fn set_current(&mut self, current: bool) {
        self.set_synced(current);
    }

    /// Serves every ticket up to this one.
    pub fn serve(&mut self, ticket: Ticket) {
        self.set_refreshed(ticket);
    }

    /// Records what reading a virtual machine by its reference has returned, and that its folder is where it was; `None`: it does not exist.
    pub fn answer_look_up(&mut self, moref: &MoRef, read: Option<Vm>) {
        self.answer_earlier(moref, read, Duration::ZERO);
    }

    /// As [`answer_look_up`](Self::answer_look_up), of so long ago.
    pub fn answer_earlier(&mut self, moref: &MoRef, read: Option<Vm>, age: Duration) {
        self.begin_read(std::slice::from_ref(moref));
        let read = read.map(Arc::new);
        let answer = LookedUp { read: read.as_ref(), is_in_place: Some(true) };
        self.set_looked_up(moref, &answer, Instant::now() + LONG.saturating_sub(age));
    }

    /// Drops the answer to a look-up or a confirmation, as time does.
    pub fn expire_look_up(&mut self, moref: &MoRef) {
        self.forget_outside(moref);
        self.forget_confirmed(moref);
    }

    /// Records that vCenter has said that an object does not exist.
    pub fn lack(&mut self, moref: &MoRef) {
        self.remove_missing(moref);
    }

    /// Returns the changes from now on.
    pub fn changes(&mut self) -> Changes {
        self.subscribe()
    }
}
