//! What the inventory holds: VMs and folders. Plain values.

use std::sync::Arc;

use crate::vsphere::{MoRef, PowerState};

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

/// Where a VM is that the inventory does not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// It does not exist.
    Gone,
    /// It exists outside the root folder, and was so when it was looked up; changes there are not watched.
    Elsewhere(Arc<Vm>),
}

/// What was found when a VM that the inventory shows was read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// It is as the inventory shows it: under the same parent, with the same markers and instance UUID, and a template or not. The root folder
    /// is above it, and where the settings say.
    Same,
    /// It is not, so that the inventory is read again.
    Changed,
    /// The account cannot read it, or the folders above it; or it is in no folder, as in a vApp.
    Unread,
}
