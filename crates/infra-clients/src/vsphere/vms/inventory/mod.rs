//! What is known of vCenter now: VMs and folders under the root folder, and tasks. Owns the objects, their indexes and
//! the changes sent to subscribers; never talks to vCenter (the watch feeds it) and never decides what a change means.

mod answers;
mod apply;
mod change;
mod index;
mod objects;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use jiff::SignedDuration;
use tokio::sync::mpsc;

pub use change::{Change, Changes, Ticket};
pub use objects::{Confirmation, Connection, Folder, Markers, Outside, Vm};

use crate::vsphere::{MoRef, Task};
use answers::Confirmed;
pub(super) use answers::LookedUp;
use index::{Index, Texts};
use tasks::TaskEntry;

#[derive(Debug)]
struct FolderEntry {
    folder: Arc<Folder>,
    /// When this client created it, until the collector reports it.
    created: Option<Instant>,
}

/// The virtual machines, folders and tasks that vCenter has, as far as this client watches them.
#[derive(Debug, Default)]
pub struct Inventory {
    synced: bool,
    /// `about.instanceUuid`.
    vcenter: Option<Arc<str>>,
    /// How far the clock of the vCenter is ahead.
    clock: SignedDuration,
    refreshed: u64,
    marker_prefix: String,
    root: Option<MoRef>,
    vms: HashMap<MoRef, Arc<Vm>>,
    folders: HashMap<MoRef, FolderEntry>,
    tasks: HashMap<MoRef, TaskEntry>,
    outside: HashMap<MoRef, (Outside, Instant)>,
    /// VMs that were read again.
    confirmed: HashMap<MoRef, Confirmed>,
    /// VMs that are being read, and of which no update has said what they do since.
    reading: HashSet<MoRef>,
    /// VMs by the value of a marker, whichever its key.
    by_marker: Index,
    /// VMs and folders by parent and name.
    by_name: HashMap<MoRef, Index>,
    /// Keys of markers, descriptions of tasks, accounts.
    texts: Texts,
    /// While a complete report is being received: what it has named so far.
    baseline: Option<HashSet<MoRef>>,
    /// The collector reported a change of an object that it has not reported before: an update was lost.
    incomplete: bool,
    /// Objects that the faults of tasks said do not exist, as far as they named them.
    missing: Vec<Option<MoRef>>,
    subscribers: Vec<mpsc::UnboundedSender<Change>>,
}

// === reading ===

impl Inventory {
    /// Returns whether it is complete and current. Before the first time it says nothing about what does not exist; while
    /// the link is down it shows what was.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Returns the instanceUuid of the vCenter that this is the inventory of. None before the first connection.
    #[must_use]
    pub fn vcenter(&self) -> Option<&str> {
        self.vcenter.as_deref()
    }

    /// Returns whether it includes everything that had taken effect at vCenter when the ticket was requested.
    #[must_use]
    pub fn refreshed(&self, ticket: Ticket) -> bool {
        self.refreshed >= ticket.0
    }

    /// Returns the root folder, once found.
    #[must_use]
    pub fn root_folder(&self) -> Option<&MoRef> {
        self.root.as_ref()
    }

    /// Returns a VM under the root folder.
    #[must_use]
    pub fn vm(&self, moref: &MoRef) -> Option<&Arc<Vm>> {
        self.vms.get(moref)
    }

    /// Returns every VM under the root folder, in no order.
    pub fn vms(&self) -> impl Iterator<Item = &Arc<Vm>> {
        self.vms.values()
    }

    /// Returns the VMs with a marker of that key and value. Copies of a VM have its markers.
    pub fn vms_marked(&self, key: &str, value: &str) -> impl Iterator<Item = &Arc<Vm>> {
        let vms = self.by_marker.get(value).filter_map(|moref| self.vms.get(moref));
        vms.filter(move |vm| vm.marker(key) == Some(value))
    }

    /// Returns the VM of that name in a folder.
    #[must_use]
    pub fn vm_named(&self, folder: &MoRef, name: &str) -> Option<&Arc<Vm>> {
        self.by_name.get(folder)?.get(name).find_map(|moref| self.vms.get(moref))
    }

    /// Returns the VMs directly in a folder, in no order.
    pub fn vms_in(&self, folder: &MoRef) -> impl Iterator<Item = &Arc<Vm>> {
        let children = self.by_name.get(folder).into_iter().flat_map(Index::values);
        children.filter_map(|moref| self.vms.get(moref))
    }

    /// Returns the root folder or one under it.
    #[must_use]
    pub fn folder(&self, moref: &MoRef) -> Option<&Arc<Folder>> {
        self.folders.get(moref).map(|entry| &entry.folder)
    }

    /// Returns the folder of that name directly in the root folder.
    #[must_use]
    pub fn folder_named(&self, name: &str) -> Option<&Arc<Folder>> {
        let children = self.by_name.get(self.root.as_ref()?)?;
        children.get(name).find_map(|moref| self.folder(moref))
    }

    /// Returns every folder, the root folder included, in no order.
    pub fn folders(&self) -> impl Iterator<Item = &Arc<Folder>> {
        self.folders.values().map(|entry| &entry.folder)
    }

    /// Returns vCenter's recent tasks until they have ended, and for three minutes after; those that this client submitted
    /// for 10 minutes. In no order.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values().map(|entry| &entry.task)
    }

    /// Returns a task. One that this client submitted is known from the moment its reference was returned.
    #[must_use]
    pub fn task(&self, moref: &MoRef) -> Option<&Arc<Task>> {
        self.tasks.get(moref).map(|entry| &entry.task)
    }
}

// === what this client did itself ===

impl Inventory {
    pub(super) fn new(marker_prefix: String) -> Self {
        Self { marker_prefix, ..Self::default() }
    }

    pub(super) fn subscribe(&mut self) -> Changes {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.subscribers.push(sender);
        Changes(receiver)
    }

    /// Ends every subscription.
    pub(super) fn close(&mut self) {
        self.set_synced(false);
        self.subscribers.clear();
    }

    pub(super) fn set_vcenter(&mut self, vcenter: Arc<str>) {
        self.vcenter = Some(vcenter);
    }

    /// Sets how far the clock of the vCenter is ahead, for the tasks that are read next.
    pub(super) fn set_clock(&mut self, ahead: SignedDuration) {
        self.clock = ahead;
    }

    pub(super) fn set_root(&mut self, root: MoRef) {
        self.root = Some(root);
    }

    /// Records a folder that vCenter has said it created.
    pub(super) fn folder_created(&mut self, moref: &MoRef, name: &str, parent: &MoRef, now: Instant) {
        if self.folders.contains_key(moref) {
            return;
        }
        let folder =
            Folder { moref: moref.clone(), name: name.into(), parent: Some(parent.clone()), children: 0 };
        self.put_folder(moref, Some(folder), Some(now));
    }

    /// Removes an object that vCenter has said does not exist, whatever the collector reported of it.
    pub(super) fn remove_missing(&mut self, moref: &MoRef) {
        match moref.kind() {
            "VirtualMachine" => self.put_vm(moref, None),
            "Folder" => self.put_folder(moref, None, None),
            _ => {}
        }
    }

    /// Returns the folders above these VMs, up to the root folder, each once.
    pub(super) fn above(&self, vms: &[MoRef]) -> HashSet<MoRef> {
        let mut above = HashSet::new();
        for vm in vms.iter().filter_map(|moref| self.vm(moref)) {
            let mut parent = vm.parent.as_ref();
            while let Some(folder) = parent.and_then(|parent| self.folder(parent))
                && above.insert(folder.moref.clone())
            {
                parent = folder.parent.as_ref();
            }
        }
        above
    }

    /// Returns whether a VM is below the root folder, and that has the place that the settings say: below the VM folder `top`, by the names
    /// `levels`. `None` if a folder between them was not read.
    pub(super) fn is_in_place(&self, vm: &Vm, top: &MoRef, levels: &[String]) -> Option<bool> {
        let (root, mut folder) = (self.root.as_ref()?, vm.parent.as_ref()?);
        // Folders that were moved between two reads may seem to be in each other.
        let mut left = self.folders.len();
        while folder != root {
            if folder.kind() != "Folder" || folder == top {
                return Some(false);
            }
            left = left.checked_sub(1)?;
            folder = self.folder(folder)?.parent.as_ref()?;
        }
        for name in levels.iter().rev() {
            if folder.kind() != "Folder" || folder == top {
                return Some(false);
            }
            let read = self.folder(folder)?;
            if *read.name != **name {
                return Some(false);
            }
            folder = read.parent.as_ref()?;
        }
        Some(folder == top)
    }

    /// Sends a change that is not one of an object.
    pub(super) fn send(&mut self, change: &Change) {
        self.subscribers.retain(|subscriber| subscriber.send(change.clone()).is_ok());
    }
}

// === what the watch says ===

impl Inventory {
    pub(super) fn set_synced(&mut self, synced: bool) {
        if self.synced != synced {
            self.synced = synced;
            self.send(if synced { &Change::Synced } else { &Change::Lost });
        }
    }

    /// Serves every ticket up to this one.
    pub(super) fn set_refreshed(&mut self, ticket: Ticket) {
        if ticket.0 > self.refreshed {
            self.refreshed = ticket.0;
            self.send(&Change::Refreshed(ticket));
        }
    }

    /// Begins a complete report; until it ends nothing is removed for not being in it.
    pub(super) fn begin_baseline(&mut self) {
        self.baseline = Some(HashSet::new());
        self.incomplete = false;
        for entry in self.tasks.values_mut() {
            entry.watched = false;
        }
    }

    /// Ends a complete report that was requested at `started`: removes what it did not name, except what was created
    /// since.
    pub(super) fn end_baseline(&mut self, started: Instant) {
        let Some(seen) = self.baseline.take() else { return };
        // What was not as the inventory showed it is now.
        self.confirmed.retain(|_, confirmed| confirmed.confirmation == Confirmation::Same);
        let gone: Vec<MoRef> = self.vms.keys().filter(|moref| !seen.contains(*moref)).cloned().collect();
        for moref in gone {
            self.put_vm(&moref, None);
        }
        let gone: Vec<MoRef> = self
            .folders
            .iter()
            .filter(|(moref, entry)| {
                !seen.contains(*moref) && entry.created.is_none_or(|created| created < started)
            })
            .map(|(moref, _)| moref.clone())
            .collect();
        for moref in gone {
            self.put_folder(&moref, None, None);
        }
        self.tasks.retain(|_, entry| entry.watched || entry.submitted.is_some());
    }

    /// Returns whether the report in progress has named this object.
    pub(super) fn baseline_has(&self, moref: &MoRef) -> bool {
        self.baseline.as_ref().is_some_and(|seen| seen.contains(moref))
    }

    /// Records that an update was lost, so that a complete report is needed.
    pub(super) fn set_incomplete(&mut self) {
        self.incomplete = true;
    }

    pub(super) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    /// Returns the objects that faults of tasks said do not exist, each once, as far as they named them.
    pub(super) fn take_missing(&mut self) -> Vec<Option<MoRef>> {
        std::mem::take(&mut self.missing)
    }

    /// Drops what is too old to be of use.
    pub(super) fn purge(&mut self, now: Instant) {
        self.purge_tasks(now);
        self.purge_answers(now);
    }
}

/// Returns what tells whose a VM is, and what.
fn identity(vm: &Vm) -> (Option<&MoRef>, Option<&Markers>, Option<&str>, bool) {
    (vm.parent.as_ref(), vm.markers.as_ref(), vm.instance_uuid.as_deref(), vm.template)
}

// === indexes ===

impl Inventory {
    pub(super) fn put_vm(&mut self, moref: &MoRef, vm: Option<Vm>) {
        let before = self.vms.remove(moref);
        if before.as_deref() == vm.as_ref() {
            if let Some(before) = before {
                self.vms.insert(before.moref.clone(), before);
            }
            return;
        }
        if before.as_deref().map(identity) != vm.as_ref().map(identity) {
            self.confirmed.remove(moref);
        }
        if let Some(old) = &before {
            self.unname(old.parent.as_ref(), &old.name, moref);
            for (_, value) in old.markers.iter().flatten() {
                self.by_marker.remove(value, moref);
            }
        }
        let after = vm.map(Arc::new);
        if let Some(new) = &after {
            let key = &new.moref;
            self.name(new.parent.as_ref(), &new.name, key);
            for (_, value) in new.markers.iter().flatten() {
                self.by_marker.insert(value, key);
            }
            self.vms.insert(key.clone(), new.clone());
            self.outside.remove(key);
        }
        self.send(&Change::Vm { before, after });
    }

    pub(super) fn put_folder(&mut self, moref: &MoRef, folder: Option<Folder>, created: Option<Instant>) {
        let before = self.folders.remove(moref).map(|entry| entry.folder);
        let same = before.as_deref() == folder.as_ref();
        if let Some(old) = &before {
            self.unname(old.parent.as_ref(), &old.name, moref);
        }
        let after = folder.map(Arc::new);
        if let Some(new) = &after {
            self.name(new.parent.as_ref(), &new.name, moref);
            self.folders.insert(new.moref.clone(), FolderEntry { folder: new.clone(), created });
        }
        if !same {
            self.send(&Change::Folder { before, after });
        }
    }

    fn name(&mut self, parent: Option<&MoRef>, name: &Arc<str>, moref: &MoRef) {
        if let Some(parent) = parent {
            self.by_name.entry(parent.clone()).or_default().insert(name, moref);
        }
    }

    fn unname(&mut self, parent: Option<&MoRef>, name: &Arc<str>, moref: &MoRef) {
        let Some(parent) = parent else { return };
        if let Some(children) = self.by_name.get_mut(parent) {
            children.remove(name, moref);
            if children.is_empty() {
                self.by_name.remove(parent);
            }
        }
    }
}
