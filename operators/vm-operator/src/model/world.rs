//! The states of the model: the API server, the vCenter, the processes, and the faults that may still happen.

use std::fmt;

use super::kubernetes::{Kubernetes, Objects};
use super::process::For;
use super::vcenter::{Call, Fault, Task, TaskState, VMS, Vcenter, Vm};

/// Faults that may still happen, in all and of each kind; and what users and administrators may still do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget {
    /// In all.
    pub faults: u8,
    /// A process ends without notice and starts again.
    pub crashes: u8,
    /// A process starts while the one before still lives.
    pub second: u8,
    /// A request to the vCenter is lost, its response is, or it takes effect after its caller has given it up.
    pub requests: u8,
    /// A task fails.
    pub tasks: u8,
    /// The vCenter forgets a task that has ended.
    pub forgotten: u8,
    /// The connection to the vCenter is lost for some time.
    pub disconnects: u8,
    /// A write to the API server, or its response, is lost.
    pub writes: u8,
    /// A process that starts gets a list that is older than what an earlier process has seen.
    pub old_lists: u8,
    /// An administrator copies, removes, moves or switches off a machine, or adds one of a slot's name.
    pub admin: u8,
    /// A user deletes a VmInstance.
    pub deletes: u8,
    /// A user deletes the group.
    pub group_deletes: u8,
    /// A user creates a group of the name of one that is gone.
    pub recreates: u8,
    /// A user changes the number of replicas.
    pub scales: u8,
}

impl Budget {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        faults: 0,
        crashes: 0,
        second: 0,
        requests: 0,
        tasks: 0,
        forgotten: 0,
        disconnects: 0,
        writes: 0,
        old_lists: 0,
        admin: 0,
        deletes: 0,
        group_deletes: 0,
        recreates: 0,
        scales: 0,
    };
}

/// What is explored.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent choices, each named by what it does")]
pub struct Config {
    pub replicas: u8,
    pub budget: Budget,
    /// Begins with the group's folder and a process that has read the vCenter, and not with neither.
    pub has_begun: bool,
    /// Reports the folder's count of machines apart from the machines.
    pub reports_folder: bool,
    /// A watch or a report brings a process up to date in one step.
    pub is_coarse: bool,
    /// A request may be late by more than a refresh takes: a clone may arrive when its VmInstance is gone.
    pub is_very_late: bool,
}

/// What must never happen, and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrong {
    SecondMachine,
    TouchesForeign,
    DestroysLive,
    ClonesForGone,
    FinalizerTooEarly,
    GroupFinalizerTooEarly,
    Overclaims,
    RecordsForeign,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SecondMachine => "an instance has two machines that were made for it",
            Self::TouchesForeign => "a call changes a machine that is not the instance's",
            Self::DestroysLive => {
                "a machine is powered off or destroyed whose VmInstance is not being deleted"
            }
            Self::ClonesForGone => "a clone is requested for a VmInstance that does not exist",
            Self::FinalizerTooEarly => {
                "a finalizer went while a machine of the VmInstance exists or can still come"
            }
            Self::GroupFinalizerTooEarly => {
                "the group's finalizer went while a machine of it exists or can still come"
            }
            Self::Overclaims => "a status claims what the inventory does not show",
            Self::RecordsForeign => "a status records a machine that is not the instance's",
        })
    }
}

/// How far a complete report of the vCenter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sync {
    Done,
    Needed,
    /// The machines and the folder are read, the tasks not yet.
    TasksLeft,
    /// The tasks are read, the machines and the folder not yet.
    MachinesLeft,
}

/// A process of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub cache: Objects,
    /// What the inventory shows, by number.
    pub shown: u32,
    /// What is remembered, by number.
    pub memory: u32,
    pub sync: Sync,
    /// What the poll in progress has still to report, one bit for each object.
    pub poll: Option<u16>,
    /// Responses that have not arrived.
    pub answers: Vec<(For, Call, Result<Option<u8>, Fault>)>,
}

/// A state of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub kubernetes: Kubernetes,
    /// What a list may return although it is old.
    pub old: Option<Objects>,
    pub vcenter: Vcenter,
    /// The oldest first.
    pub processes: Vec<Process>,
    /// Requests on their way whose caller has given them up.
    pub late: Vec<Call>,
    pub budget: Budget,
    pub wrong: Option<Wrong>,
}

/// An object of the vCenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    Folder,
    Vm(u8),
    Task(u8),
}

impl Object {
    /// Returns the object's bit in a poll.
    pub fn bit(self) -> u16 {
        let at = match self {
            Self::Folder => 0,
            Self::Vm(id) => 1 + usize::from(id),
            Self::Task(id) => (1 + VMS + usize::from(id)).min(15),
        };
        1 << at
    }
}

/// What an administrator does to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Admin {
    Copy,
    Remove,
    Move,
    Off,
}

/// What a step is called. The first number of a process's step is its place: 0 is the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// The watch of the groups, or of the instances, brings the cache up to date.
    WatchGroup(u8),
    WatchInstances(u8),
    /// A complete report begins with the machines, or with the tasks.
    ReadMachines(u8),
    ReadTasks(u8),
    /// The collector reports one object.
    Report(u8, Object),
    ReportAll(u8),
    /// A poll begins that serves the tickets which are open.
    Poll(u8),
    /// A machine is read by its reference.
    LookUp(u8, u8),
    /// A task is read by its reference, and is not known.
    ReadTask(u8, u8),
    ReconcileGroup(u8),
    Reconcile(u8, u8),
    /// A worker takes a request from the queue and sends it.
    Send(u8),
    /// The response arrives.
    Response(u8, For),
    /// A task ends.
    End(u8),
    /// A late request arrives.
    Late(Call),
    /// The garbage collector deletes the instances of a group that is gone.
    Collect,
    /// The older of two processes ends.
    Stop,
    // What may happen and need not.
    Crash(u8),
    SecondProcess,
    LoseRequest(u8),
    LoseResponse(u8),
    DelayRequest(u8),
    FailTask(u8),
    ForgetTask(u8),
    Disconnect(u8),
    LoseWrite(u8, u8),
    LoseWriteResponse(u8, u8),
    LoseGroupWrite(u8),
    /// A replica of the API server stops to follow.
    KeepOldList,
    CrashToOldList(u8),
    Admin(Admin, u8),
    AddNamesake(u8),
    DeleteInstance(u8),
    DeleteGroup,
    RecreateGroup,
    Scale(u8),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl State {
    /// Returns the state in which a user has created a group.
    pub fn new(replicas: u8, budget: Budget) -> Self {
        let mut kubernetes = Kubernetes::default();
        kubernetes.create_group(0, replicas);
        Self {
            kubernetes,
            old: None,
            vcenter: Vcenter::default(),
            processes: vec![Process::new(kubernetes.objects)],
            late: Vec::new(),
            budget,
            wrong: None,
        }
    }

    /// Returns the machines that were made for an instance and are in the group's folder.
    pub fn machines_of(&self, number: u8) -> impl Iterator<Item = (u8, Vm)> + '_ {
        self.vcenter
            .machines()
            .filter(move |(_, vm)| vm.uuid == number && vm.owner == number && vm.folder.is_some())
    }

    /// Returns the tasks that have not ended.
    pub fn running(&self) -> impl Iterator<Item = Task> + '_ {
        self.vcenter.tasks.iter().copied().filter(|task| task.state == TaskState::Running)
    }
}

impl Process {
    /// Returns a process that has just listed these objects.
    pub fn new(cache: Objects) -> Self {
        Self { cache, shown: 0, memory: 0, sync: Sync::Needed, poll: None, answers: Vec::new() }
    }
}
