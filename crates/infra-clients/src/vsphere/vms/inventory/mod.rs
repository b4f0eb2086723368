//! What is known of vCenter now: VMs and folders under the root folder, and tasks. Owns the objects, their indexes and
//! the changes sent to subscribers; never talks to vCenter (the watch feeds it) and never decides what a change means.

mod apply;
mod change;
mod index;
mod objects;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

pub use change::{Change, Changes, Ticket};
pub use objects::{Confirmation, Connection, Folder, Markers, Outside, Vm};

use crate::vsphere::{MoRef, Task};
use index::{Index, Texts};
use tasks::TaskEntry;

/// Age after which the answer to a look-up says nothing of the present.
const OUTSIDE_LIFE: Duration = Duration::from_secs(30);
/// Age after which it is dropped, as is that to a confirmation.
const ANSWER_KEPT: Duration = Duration::from_mins(10);
/// How long the answer to a confirmation counts.
const CONFIRMED_LIFE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct FolderEntry {
    folder: Arc<Folder>,
    /// When this client created it, until the collector reports it.
    created: Option<Instant>,
}

/// The answer to a look-up of a VM.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LookedUp<'a> {
    /// As it was read; `None`: it does not exist.
    pub(super) read: Option<&'a Arc<Vm>>,
    /// What the inventory showed when it was asked for: if it shows another one now, an update has come that may be newer than the answer.
    pub(super) before: Option<&'a Arc<Vm>>,
    /// Of [`Inventory::is_in_place`].
    pub(super) is_in_place: Option<bool>,
}

/// A VM that was read again.
#[derive(Debug)]
struct Confirmed {
    confirmation: Confirmation,
    /// As it was read, until an update says what it does.
    vm: Option<Arc<Vm>>,
    since: Instant,
}

/// The virtual machines, folders and tasks that vCenter has, as far as this client watches them.
#[derive(Debug, Default)]
pub struct Inventory {
    synced: bool,
    /// `about.instanceUuid`.
    vcenter: Option<Arc<str>>,
    refreshed: u64,
    marker_prefix: String,
    root: Option<MoRef>,
    vms: HashMap<MoRef, Arc<Vm>>,
    folders: HashMap<MoRef, FolderEntry>,
    tasks: HashMap<MoRef, TaskEntry>,
    outside: HashMap<MoRef, (Outside, Instant)>,
    /// VMs that were read again.
    confirmed: HashMap<MoRef, Confirmed>,
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

    /// Returns where a VM is that the inventory does not show, once it was looked up:
    /// [`Vms::look_up`](super::Vms::look_up). The answer holds for 30 seconds, and until the VM appears in the inventory.
    #[must_use]
    pub fn outside(&self, moref: &MoRef) -> Option<&Outside> {
        let (outside, since) = self.outside.get(moref)?;
        (since.elapsed() < OUTSIDE_LIFE).then_some(outside)
    }

    /// Returns the last answer of [`Inventory::outside`], which may be 10 minutes old:
    /// [`Vms::forget_answers`](super::Vms::forget_answers) drops it.
    #[must_use]
    pub fn last_outside(&self, moref: &MoRef) -> Option<&Outside> {
        self.outside.get(moref).map(|(outside, _)| outside)
    }
}

impl Inventory {
    /// Returns what was found when a VM was last read, with the folders above it: [`Vms::confirm`](super::Vms::confirm). `None` if it was not
    /// read within 30 seconds, or was powered off or destroyed by a request since.
    #[must_use]
    pub fn confirmed(&self, moref: &MoRef) -> Option<Confirmation> {
        let confirmed = self.confirmed.get(moref)?;
        (confirmed.since.elapsed() < CONFIRMED_LIFE).then_some(confirmed.confirmation)
    }

    /// Returns the last answer of [`Inventory::confirmed`], which may be 10 minutes old, unless it says that a change was missed:
    /// [`Vms::forget_answers`](super::Vms::forget_answers) drops it.
    #[must_use]
    pub fn last_confirmed(&self, moref: &MoRef) -> Option<Confirmation> {
        self.confirmed.get(moref).map(|confirmed| confirmed.confirmation)
    }

    /// Returns a VM as it was read for [`Inventory::last_confirmed`], if no update has said what it does since that was asked for: it may do something else than the
    /// inventory shows, whose update was lost.
    #[must_use]
    pub fn last_read(&self, moref: &MoRef) -> Option<&Arc<Vm>> {
        self.confirmed.get(moref)?.vm.as_ref()
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

    /// Records the answer to a look-up that was asked for at `now`. Returns whether it says that the inventory missed a change.
    pub(super) fn set_looked_up(&mut self, moref: &MoRef, answer: &LookedUp<'_>, now: Instant) -> bool {
        let LookedUp { read, before, is_in_place } = *answer;
        let Some(shown) = self.vms.get(moref) else {
            let parent = read.and_then(|vm| vm.parent.as_ref());
            // What it is in was moved, or it came there, and no update has said so.
            let missed = parent.is_some_and(|parent| self.folders.contains_key(parent));
            self.incomplete |= missed;
            let outside = read.map_or(Outside::Gone, |vm| Outside::Elsewhere(vm.clone()));
            self.outside.insert(moref.clone(), (outside, now));
            return missed;
        };
        let is_unread = read.is_some_and(|read| read.markers.is_none());
        let is_alike = read.is_some_and(|read| identity(read) == identity(shown));
        let confirmation = match is_in_place {
            _ if is_unread => Confirmation::Unread,
            _ if !is_alike => Confirmation::Changed,
            None => Confirmation::Unread,
            Some(false) => Confirmation::Changed,
            Some(true) => Confirmation::Same,
        };
        let is_newest = confirmation == Confirmation::Same && before.is_some_and(|vm| Arc::ptr_eq(vm, shown));
        let vm = read.filter(|_| is_newest).cloned();
        self.confirmed.insert(moref.clone(), Confirmed { confirmation, vm, since: now });
        // Of what cannot be read, a complete report shows no more.
        let missed = confirmation == Confirmation::Changed;
        self.incomplete |= missed;
        missed
    }

    /// Drops the answer to a look-up.
    pub(super) fn forget_outside(&mut self, moref: &MoRef) {
        self.outside.remove(moref);
    }

    /// Drops a confirmation: the next request that cannot be undone needs one of its own.
    pub(super) fn forget_confirmed(&mut self, moref: &MoRef) {
        self.confirmed.remove(moref);
    }

    /// Drops what a VM did when it was read: an update says what it does.
    pub(super) fn forget_read(&mut self, moref: &MoRef) {
        if let Some(confirmed) = self.confirmed.get_mut(moref) {
            confirmed.vm = None;
        }
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
        self.outside.retain(|_, (_, since)| now.saturating_duration_since(*since) < ANSWER_KEPT);
        self.confirmed.retain(|_, confirmed| {
            let is_past = confirmed.confirmation == Confirmation::Changed;
            let kept = if is_past { CONFIRMED_LIFE } else { ANSWER_KEPT };
            now.saturating_duration_since(confirmed.since) < kept
        });
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
