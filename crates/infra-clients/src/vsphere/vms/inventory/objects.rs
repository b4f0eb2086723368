//! What the inventory holds: VMs, folders and tasks. Plain values.

use std::sync::Arc;
use std::time::SystemTime;

use crate::vsphere::{Error, MoRef, PowerState};

/// `VirtualMachine.runtime.connectionState`. Only a connected VM can be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are vSphere's own words")]
pub enum Connection {
    Connected,
    Disconnected,
    Orphaned,
    Inaccessible,
    Invalid,
}

impl Connection {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "connected" => Some(Self::Connected),
            "disconnected" => Some(Self::Disconnected),
            "orphaned" => Some(Self::Orphaned),
            "inaccessible" => Some(Self::Inaccessible),
            "invalid" => Some(Self::Invalid),
            _ => None,
        }
    }
}

/// `extraConfig` entries: keys and values, in the order of the keys.
pub type Markers = Box<[(Arc<str>, Arc<str>)]>;

/// A virtual machine. What vCenter has not said (a VM that is being created, a host that is away, no permission to
/// read) is `None`. Text is as vCenter has it, of any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its reference.
    pub moref: MoRef,
    /// Its name, unescaped.
    pub name: Arc<str>,
    /// The folder it is in; none inside a vApp.
    pub parent: Option<MoRef>,
    /// Its power state.
    pub power: Option<PowerState>,
    /// Whether its host answers.
    pub connection: Option<Connection>,
    /// `config.template`: it is a template, which cannot be powered on. False while vCenter cannot say.
    pub template: bool,
    /// `config.instanceUuid`, in lower case.
    pub instance_uuid: Option<Arc<str>>,
    /// The `extraConfig` entries whose keys begin with [`Config::marker_prefix`](super::super::Config::marker_prefix).
    /// `None` while vCenter cannot read them, as for a VM that is being created or whose files are out of reach.
    pub markers: Option<Markers>,
}

impl Vm {
    pub(in crate::vsphere::vms) fn empty(moref: MoRef) -> Self {
        Self {
            moref,
            name: "".into(),
            parent: None,
            power: None,
            connection: None,
            template: false,
            instance_uuid: None,
            markers: None,
        }
    }

    /// Returns the value of a marker, by its whole key.
    #[must_use]
    pub fn marker(&self, key: &str) -> Option<&str> {
        self.markers.iter().flatten().find(|(k, _)| &**k == key).map(|(_, value)| &**value)
    }
}

/// A VM folder: the root folder or one below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its reference.
    pub moref: MoRef,
    /// Its name, unescaped.
    pub name: Arc<str>,
    /// The folder it is in.
    pub parent: Option<MoRef>,
    /// How many objects of any type are in it.
    pub children: usize,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the variants are vSphere's own words")]
pub enum TaskState {
    Queued,
    Running,
    Success,
    Error,
}

impl TaskState {
    /// Returns whether it is success or error.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Success | Self::Error)
    }

    pub(super) fn parse(text: &str) -> Self {
        match text {
            "running" => Self::Running,
            "success" => Self::Success,
            "error" => Self::Error,
            _ => Self::Queued,
        }
    }
}

/// A vCenter task, submitted by this client or by another.
#[derive(Debug, Clone)]
pub struct Task {
    /// Its reference.
    pub moref: MoRef,
    /// How far it is.
    pub state: TaskState,
    /// What it does, such as `VirtualMachine.clone`; empty until vCenter has said.
    pub description_id: Arc<str>,
    /// The object it works on: of a clone the template.
    pub entity: Option<MoRef>,
    /// The account that submitted it, as [`Session::user`](crate::vsphere::Session::user) names accounts; none until
    /// vCenter has said, and for tasks that vCenter or a schedule started.
    pub user: Option<Arc<str>>,
    /// When it was submitted, by vCenter's clock (by the local clock until vCenter has said).
    pub queued_at: Option<SystemTime>,
    /// What it created.
    pub result: Option<MoRef>,
    /// Why it failed.
    pub error: Option<Error>,
}

impl Task {
    pub(in crate::vsphere::vms) fn queued(moref: MoRef) -> Self {
        Self {
            moref,
            state: TaskState::Queued,
            description_id: "".into(),
            entity: None,
            user: None,
            queued_at: None,
            result: None,
            error: None,
        }
    }
}

/// Where a VM is that the inventory does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// It does not exist.
    Gone,
    /// It exists outside the root folder, and was so when it was looked up; changes there are not watched.
    Elsewhere(Arc<Vm>),
}
