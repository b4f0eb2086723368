//! What `observe` sees of one group, for `plan`: plain values, without I/O.

use std::collections::HashSet;

use infra_clients::vsphere::{Error as Fault, MoRef};
use operator_kit::Key;

use crate::in_flight::FolderChange;
use crate::visibility::Blind;
use crate::vminstance::{AnotherVcenter, Refresh, Unseen};

/// One VmInstance of the group, with what the inventory says of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations, each named by its question")]
pub struct Member {
    /// Key of the VmInstance.
    pub key: Key,
    /// UID of the VmInstance.
    pub uid: String,
    /// Its slot.
    pub slot: i32,
    /// It is being deleted.
    pub deleting: bool,
    /// Its machine is in the inventory, or out of its sight.
    pub exists: bool,
    /// What is known of its machine where the inventory shows none.
    pub unseen: Unseen,
    /// Its machine, or the one that it had.
    pub machine: Option<MoRef>,
    /// Whether the vCenter was asked for that machine by itself.
    pub answer: Answer,
    /// The vCenter that its status names.
    pub vcenter: Option<String>,
    /// Its machine is powered on, as far as the vCenter knows.
    pub on: bool,
    /// A machine was requested for it, or is being requested.
    pub begun: bool,
    /// Its clone task is not over, as far as its status says.
    pub cloning: bool,
    /// The revision that its spec asks for.
    pub asked: String,
    /// The revision that its machine was made from; `None` where that is not known.
    pub made_from: Option<String>,
    /// Reason and message, where a person has to act.
    pub trouble: Option<(String, String)>,
    /// What it waits for, where clones of other groups make it wait for long.
    pub jam: Option<String>,
}

#[cfg(test)]
impl Member {
    /// Returns a member whose machine is powered on and made from the revision that its spec asks for.
    pub fn ready(key: Key, slot: i32, revision: String) -> Self {
        Self {
            key,
            uid: format!("uid-{slot}"),
            slot,
            deleting: false,
            exists: true,
            unseen: Unseen::Nothing,
            machine: None,
            answer: Answer::None,
            vcenter: None,
            on: true,
            begun: true,
            cloning: false,
            asked: revision.clone(),
            made_from: Some(revision),
            trouble: None,
            jam: None,
        }
    }
}

/// How far the vCenter was asked for a machine by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was not asked.
    None,
    /// It is being asked, or the inventory is read again, as it does not show the machine as it is.
    Awaited,
    /// It had answered some time before it answered for another machine, or could not read that one: meanwhile the machine may have changed.
    Outdated,
    /// It has said that the machine is where the inventory shows it, that it cannot be read, or where it is instead.
    Given {
        /// Whether it is on and its host answers. One that cannot be read may be. `None`: the inventory is newer.
        works: Option<bool>,
    },
}

/// A VmInstance of this group or a former one of its name for which the operator has nothing left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its name.
    pub name: String,
    /// Its slot, which stays taken.
    pub slot: i32,
    /// Why it exists.
    pub why: LeftoverWhy,
}

/// Why a VmInstance still exists for which nothing is left to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftoverWhy {
    /// These finalizers of others keep it.
    Finalizers(String),
    /// It is of a former group, and has lost its owner.
    NoOwner,
}

/// A VmInstance that names this group and has the name of its slot, and is not the group's: a user has edited it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Its name.
    pub name: String,
    /// Its slot.
    pub slot: i32,
    /// What is wrong with it.
    pub problem: String,
}

/// A VmInstance of the group that does not parse. Nothing is known of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its name.
    pub name: String,
    /// What does not parse, and why.
    pub problem: String,
}

/// The group's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSeen {
    /// The vCenter's reference.
    pub moref: MoRef,
    /// Its name.
    pub name: String,
    /// Objects in it.
    pub children: usize,
    /// The operator created it, or machines of the group were in it.
    pub own: bool,
}

/// A machine that the original operator made, and that no VmInstance names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalMachine {
    /// Its name.
    pub name: String,
    /// Its instanceUuid.
    pub instance_uuid: String,
    /// The slot that its marker names, where it was adopted before.
    pub slot: Option<i32>,
}

/// The machines that the original operator made, and that no VmInstance names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Originals {
    /// Those that can be adopted.
    pub known: Vec<OriginalMachine>,
    /// Name and reference of one that may be such a machine, of which the vCenter cannot tell the configuration.
    pub unread: Option<String>,
    /// The folder of the original does not exist.
    pub no_folder: bool,
    /// How far the clones are that the original may have requested.
    pub clones: OriginalClones,
}

/// How far the clones are that the original operator may have requested before it was stopped: what they make is not there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginalClones {
    /// They were not looked for; these are unfinished.
    Unexamined(HashSet<MoRef>),
    /// So many of those that were found have not ended.
    Running(usize),
    /// All have, and this is how far the inventory has been brought up to date since.
    Ended(Refresh),
}

impl Default for OriginalClones {
    fn default() -> Self {
        Self::Ended(Refresh::Served)
    }
}

/// How far the last change of the folder is.
#[derive(Clone, Debug)]
pub enum FolderProgress {
    /// In flight.
    Running(FolderChange),
    /// It failed.
    Failed(FolderChange, Fault),
    /// The task that removes it has ended.
    Ended,
}

/// What `observe` saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Why the inventory cannot be trusted. Then nothing is known of machines and folders.
    pub blind: Option<Blind>,
    /// The connected vCenter, by its instanceUuid.
    pub vcenter: Option<String>,
    /// The status of the group, or of a VmInstance, names another vCenter than this, and not everything of the group is here.
    pub other_vcenter: Option<AnotherVcenter>,
    /// The group's own folder.
    pub folder: Option<FolderSeen>,
    /// The folder in which the original operator kept the group's machines.
    pub original_folder: Option<FolderSeen>,
    /// Machines in it that were not adopted.
    pub originals: Originals,
    /// The group's instances, by slot.
    pub members: Vec<Member>,
    /// Whether the inventory was brought up to date since VmInstances to remove are to be chosen.
    pub census: Refresh,
    /// VmInstances that are no members any more, although they exist.
    pub leftovers: Vec<Leftover>,
    /// VmInstances that are in the way of members, by slot.
    pub strays: Vec<Stray>,
    /// VmInstances of the group that do not parse, by name.
    pub unread: Vec<Unread>,
    /// Machines in the group's folders with a marker of its namespace in this cluster that are no VmInstance's: copies, or left over.
    pub orphans: Vec<String>,
    /// The last change of the folder, until it is dealt with.
    pub request: Option<FolderProgress>,
    /// Whether the inventory was refreshed since the machines were gone.
    pub refresh: Refresh,
    /// This process has removed the original's finalizer.
    pub adopted: bool,
    /// `--max-replicas`.
    pub max_replicas: i32,
}
