//! What `observe` sees of one instance, for `plan`: plain values, without I/O.

use std::collections::HashSet;

use infra_clients::vsphere::vms::{Inventory, Template, Ticket};
use infra_clients::vsphere::{Error as Fault, MoRef, PowerState};

use crate::api::{DETACH, ORIGINAL_FINALIZER, TaskKind, TaskStatus, VmGroup, has_finalizer, is_orphaning};
use crate::clone_queue::Place;
use crate::detach::{self, Detach};
use crate::memory::Jam;
use crate::visibility::Blind;

/// One virtual machine that is the instance's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The vCenter's reference.
    pub moref: MoRef,
    /// `None` while the vCenter cannot tell.
    pub power: Option<PowerState>,
    /// What it was made from, as its extraConfig says.
    pub revision: Option<String>,
    /// Whether it has the owner marker. One that the original operator made has none at first.
    pub marked: bool,
    /// An administrator has turned it into a template.
    pub template: bool,
}

/// How far the last request is.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Not answered yet.
    Sending,
    /// A task is queued or running.
    Running,
    /// The task ended well.
    Succeeded,
    /// The task ended so long ago that the vCenter does not know it any more, or the vCenter was restarted.
    Forgotten,
    /// The request was refused or the task failed.
    Failed(Fault),
}

/// Whether the inventory was refreshed since something in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refresh {
    /// No refresh was requested.
    #[default]
    None,
    /// Requested, not served yet.
    Requested,
    /// The inventory shows everything up to the request.
    Served,
}

impl Refresh {
    /// Returns how far the refresh with this ticket is.
    #[must_use]
    pub fn of(ticket: Option<Ticket>, inventory: &Inventory) -> Self {
        match ticket {
            None => Self::None,
            Some(ticket) if inventory.refreshed(ticket) => Self::Served,
            Some(_) => Self::Requested,
        }
    }
}

/// Whether clones may be in flight that no record names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// No.
    #[default]
    No,
    /// The response to the last request was lost.
    ResponseLost,
    /// The inventory was not searched before; these unfinished clones may be the instance's.
    Unexamined(HashSet<MoRef>),
    /// So many of the clones found then are not finished.
    Watching(usize),
}

/// How an instance lost its machine, which still exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The machine's marker names this other cluster, and this instance in all else.
    OtherCluster(String),
    /// The machine has the instanceUuid, and not this marker.
    NoMarker(String),
}

/// Whether the vCenter was asked if the machine is as the inventory shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirmed {
    /// Not lately.
    #[default]
    Unknown,
    /// The request is in flight.
    Reading,
    /// It is.
    Same,
    /// It is not.
    Changed,
    /// The vCenter does not say where it is.
    Unread,
}

/// The vCenter that a status names, which is not the connected one. Both are instanceUuids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnotherVcenter {
    /// The one that the status names.
    pub recorded: String,
    /// The one that the operator is connected to.
    pub connected: String,
}

impl AnotherVcenter {
    /// Compares the vCenter that a status names with the one of the inventory.
    #[must_use]
    pub fn of(recorded: Option<&str>, inventory: &Inventory) -> Option<Self> {
        let (recorded, connected) = (recorded?, inventory.vcenter()?);
        (recorded != connected)
            .then(|| Self { recorded: recorded.to_owned(), connected: connected.to_owned() })
    }

    /// Returns what is wrong and what to do about an object of this kind, as the beginning of a sentence.
    #[must_use]
    pub fn advice(&self, kind: &str) -> String {
        format!(
            "the operator is connected to the vCenter with the instanceUuid {}, but this {kind} was made in {}: set VC_HOST to \
             that vCenter and restart the operator; if it is gone for good, annotate this {kind} with {DETACH}=true",
            self.connected, self.recorded
        )
    }
}

/// What is known of the recorded machine, or of what a clone has made, where the inventory does not show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// There is none, or the inventory shows it.
    #[default]
    No,
    /// It was not looked up yet.
    Unknown(MoRef),
    /// The look-up is in flight.
    LookingUp,
    /// It no longer exists.
    Gone,
    /// It exists outside the operator's folder.
    Elsewhere(MoRef),
    /// It exists outside the operator's folder, and the vCenter cannot tell whose it is.
    Unclear(MoRef),
}

impl Missing {
    /// Returns whether the machine may exist.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self, Self::No | Self::Gone)
    }
}

/// The instance's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// `spec.paused`.
    pub paused: bool,
    /// Its annotation `detach`; `Yes` where it is deleted with `--cascade=orphan`.
    pub detach: Detach,
    /// It is being deleted.
    pub deleting: bool,
    /// Machines of the original operator are still being adopted.
    pub adopting: bool,
}

impl GroupView {
    /// Returns what instances see of a group.
    #[must_use]
    pub fn of(group: &VmGroup) -> Self {
        let deleting = group.metadata.deletion_timestamp.is_some();
        let adopting = has_finalizer(group, ORIGINAL_FINALIZER);
        Self {
            paused: group.spec.is_paused(),
            detach: if is_orphaning(group) { Detach::Yes } else { detach::of(group) },
            deleting,
            adopting,
        }
    }
}

/// What `observe` saw.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations, each named by its question")]
pub struct Seen {
    /// Whether the inventory is complete and current. If not, what follows says nothing about machines.
    pub blind: Option<Blind>,
    /// Whether this process has an in-flight entry for the instance.
    pub tracked: bool,
    /// Whether this process remembers a machine of the instance.
    pub remembers: bool,
    /// Whether an event has reported that the machine is released.
    pub released: bool,
    /// The group of this name and UID.
    pub group: Option<GroupView>,
    /// The group has more VmInstances than replicas.
    pub has_surplus: bool,
    /// That group exists, and does not parse: nothing is known of it.
    pub invalid_group: bool,
    /// The group's folder.
    pub folder: Option<MoRef>,
    /// The instance's machines.
    pub mine: Vec<Machine>,
    /// A machine that may be the instance's, of which the vCenter cannot tell the marker.
    pub unread: Option<MoRef>,
    /// A machine of another owner in the group's folder with this machine's name.
    pub stranger: Option<MoRef>,
    /// The stranger was made for an earlier group of this name.
    pub stranger_of_namesake: bool,
    /// The VmInstance of another slot of the group whose machine the stranger is, unless it is the one that this instance had.
    pub stranger_of: Option<String>,
    /// The connected vCenter, by its instanceUuid.
    pub vcenter: Option<String>,
    /// The status names a machine or a clone in another vCenter than this.
    pub other_vcenter: Option<AnotherVcenter>,
    /// No status, of the instance or its group, names the connected vCenter yet.
    pub vcenter_unrecorded: bool,
    /// Why the stranger is one, where it is the machine that this instance had.
    pub lost: Option<Lost>,
    /// The machine that the last clone has made, or the recorded one, where the inventory does not show it.
    pub missing: Missing,
    /// Whether the machine is as the inventory shows it; looked at only where it is to be removed.
    pub confirmed: Confirmed,
    /// The last request, until it is dealt with.
    pub request: Option<(TaskKind, Progress)>,
    /// The clone task, for the durable status.
    pub task: Option<TaskStatus>,
    /// Whether clones may be in flight that no record names.
    pub doubt: InDoubt,
    /// Whether the inventory was refreshed since.
    pub refresh: Refresh,
    /// The instance's place in the clone queue.
    pub place: Place,
    /// What holds the places that the instance waits for, where that takes long.
    pub jam: Option<Jam>,
    /// The template, looked at only where a clone is next.
    pub template: Template,
    /// The instance is woken when a look-up of templates ends.
    pub awaits_template: bool,
}

impl Seen {
    /// Returns whether no machine in the inventory is, or may be, the instance's.
    pub(super) fn is_absent(&self) -> bool {
        self.mine.is_empty() && self.unread.is_none()
    }
}
