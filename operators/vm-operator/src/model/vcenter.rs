//! The vCenter: one folder for the group, machines and tasks. A task has no effect before it ends. `servers` compares
//! it with the simulator.

/// Machines that may ever exist in one run.
pub const VMS: usize = 5;
/// The name of a machine that is no slot's.
pub const NO_SLOT: u8 = u8::MAX;

/// A virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vm {
    /// The instance whose owner marker it has, by number; 0: none.
    pub owner: u8,
    /// The slot in that marker.
    pub owner_slot: u8,
    /// The instance whose instanceUuid it has, by number; 0: another.
    pub uuid: u8,
    /// The slot whose machine's name it has, or [`NO_SLOT`].
    pub slot: u8,
    pub on: bool,
    /// The folder that it is in, by number; `None`: elsewhere in the datacenter.
    pub folder: Option<u8>,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Call {
    Clone { number: u8, slot: u8, folder: u8 },
    Mark { vm: u8, number: u8, slot: u8 },
    PowerOn(u8),
    PowerOff(u8),
    Destroy(u8),
    CreateFolder,
    RemoveFolder(u8),
}

impl Call {
    /// Returns the machine that it changes.
    pub fn vm(self) -> Option<u8> {
        match self {
            Self::Mark { vm, .. } | Self::PowerOn(vm) | Self::PowerOff(vm) | Self::Destroy(vm) => Some(vm),
            _ => None,
        }
    }
}

/// Why a call or a task failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// ManagedObjectNotFound.
    NotFound,
    DuplicateName,
    InvalidPowerState,
    /// The folder is not empty.
    Busy,
    /// Any fault that has nothing to do with the object.
    NoResources,
    /// No answer arrived: the call may have taken effect.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskState {
    Running,
    Success,
    Error(Fault),
}

/// A task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task {
    /// Its reference.
    pub id: u8,
    pub call: Call,
    pub state: TaskState,
}

/// The references that something still refers to, one bit for each. A vCenter never uses a reference again; here it is used
/// again once nothing could notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Used {
    pub folders: u16,
    pub vms: u16,
    pub tasks: u16,
}

fn take(used: &mut u16) -> u8 {
    let free = (0..16).find(|id| *used & (1 << id) == 0).unwrap();
    *used |= 1 << free;
    free
}

/// Everything that the vCenter has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vcenter {
    /// The group's folder, by number.
    pub folder: Option<u8>,
    /// By reference.
    pub vms: [Option<Vm>; VMS],
    /// The recent tasks, in the order of their references.
    pub tasks: Vec<Task>,
    pub used: Used,
}

impl Vcenter {
    /// Returns a machine.
    pub fn vm(&self, id: u8) -> Option<Vm> {
        self.vms.get(usize::from(id)).copied().flatten()
    }

    /// Returns the machines with their references.
    pub fn machines(&self) -> impl Iterator<Item = (u8, Vm)> + '_ {
        (0u8..).zip(&self.vms).filter_map(|(id, vm)| Some((id, (*vm)?)))
    }

    /// Returns the number of machines in the group's folder.
    pub fn children(&self) -> u8 {
        let inside = self.machines().filter(|(_, vm)| vm.folder.is_some() && vm.folder == self.folder);
        u8::try_from(inside.count()).unwrap_or(u8::MAX)
    }

    /// Adds a machine; `None` if no more fit into the model.
    pub fn add(&mut self, vm: Vm) -> Option<u8> {
        let id = take(&mut self.used.vms);
        *self.vms.get_mut(usize::from(id))? = Some(vm);
        Some(id)
    }

    fn is_taken(&self, folder: u8, slot: u8) -> bool {
        self.machines().any(|(_, vm)| vm.folder == Some(folder) && vm.slot == slot)
    }

    /// Executes a call; returns its task, if it has one.
    pub fn call(&mut self, call: Call) -> Result<Option<u8>, Fault> {
        match call {
            Call::CreateFolder if self.folder.is_some() => return Err(Fault::DuplicateName),
            Call::CreateFolder => {
                self.folder = Some(take(&mut self.used.folders));
                return Ok(None);
            }
            Call::Clone { folder, .. } | Call::RemoveFolder(folder) if self.folder != Some(folder) => {
                return Err(Fault::NotFound);
            }
            // The client asks before it removes.
            Call::RemoveFolder(_) if self.children() > 0 => return Err(Fault::Busy),
            Call::Mark { vm, .. } | Call::PowerOn(vm) | Call::PowerOff(vm) | Call::Destroy(vm)
                if self.vm(vm).is_none() =>
            {
                return Err(Fault::NotFound);
            }
            _ => {}
        }
        let id = take(&mut self.used.tasks);
        let at = self.tasks.partition_point(|task| task.id < id);
        self.tasks.insert(at, Task { id, call, state: TaskState::Running });
        Ok(Some(id))
    }

    /// Ends a task with its effect, or with a fault where it cannot have that.
    pub fn end(&mut self, id: u8) {
        let Some(at) = self.tasks.iter().position(|task| task.id == id) else { return };
        let state = match self.effect(self.tasks[at].call) {
            Ok(()) => TaskState::Success,
            Err(fault) => TaskState::Error(fault),
        };
        self.tasks[at].state = state;
    }

    fn effect(&mut self, call: Call) -> Result<(), Fault> {
        match call {
            Call::Clone { folder, .. } if self.folder != Some(folder) => return Err(Fault::NotFound),
            Call::Clone { slot, folder, .. } if self.is_taken(folder, slot) => {
                return Err(Fault::DuplicateName);
            }
            Call::Clone { number, slot, folder } => {
                // A vCenter gives a clone another instanceUuid if a machine has this one.
                let is_used = self.machines().any(|(_, vm)| vm.uuid == number);
                let uuid = if is_used { 0 } else { number };
                self.add(Vm { owner: number, owner_slot: slot, uuid, slot, on: true, folder: Some(folder) });
            }
            Call::RemoveFolder(_) => {
                // Machines that came into it are unregistered.
                let folder = self.folder.take();
                for vm in self.vms.iter_mut().filter(|vm| vm.is_some_and(|vm| vm.folder == folder)) {
                    *vm = None;
                }
            }
            Call::CreateFolder => {}
            Call::Mark { vm, .. } | Call::PowerOn(vm) | Call::PowerOff(vm) | Call::Destroy(vm) => {
                let place = self.vms.get_mut(usize::from(vm)).ok_or(Fault::NotFound)?;
                let vm = place.as_mut().ok_or(Fault::NotFound)?;
                match call {
                    Call::Mark { number, slot, .. } => (vm.owner, vm.owner_slot) = (number, slot),
                    Call::PowerOn(_) if !vm.on => vm.on = true,
                    Call::PowerOff(_) if vm.on => vm.on = false,
                    Call::Destroy(_) if !vm.on => *place = None,
                    _ => return Err(Fault::InvalidPowerState),
                }
            }
        }
        Ok(())
    }
}
