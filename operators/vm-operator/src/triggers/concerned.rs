//! Which objects a change concerns: functions of the change, the memory and the inventory. Wakes nothing; `triggers` does.

use std::collections::BTreeSet;
use std::sync::Arc;

use infra_clients::vsphere::vms::{self, Folder, Inventory, Vm};
use kube::ResourceExt;
use operator_kit::{Change, Guarded, Key};

use crate::api::names::Marker;
use crate::api::{DETACH, OWNER_MARKER, VmGroup, VmInstance};
use crate::context::Context;
use crate::detach;
use crate::in_flight::Waiter;
use crate::lines::GroupId;
use crate::memory::Memory;
use crate::vminstance::{GroupView, group_of_unread};

/// The objects to wake.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// Instances.
    pub instances: BTreeSet<Key>,
    /// Groups.
    pub groups: BTreeSet<Key>,
    /// Groups whose back-off ends.
    pub retried: BTreeSet<Key>,
    /// All objects, and all back-offs end.
    pub all: bool,
}

/// Finds objects by what a change of the vCenter names.
pub trait Lookup {
    /// Returns the instances of this instanceUuid.
    fn with_uuid(&self, uuid: &str) -> Vec<Key>;
    /// Returns the instances whose machine has this name.
    fn with_vm_name(&self, name: &str) -> Vec<Key>;
    /// Returns the groups that may use a folder of this name.
    fn with_folder(&self, name: &str) -> Vec<Arc<VmGroup>>;
    /// Returns the instances of a group.
    fn members(&self, group: &VmGroup) -> Vec<Key>;
}

impl Lookup for Context {
    fn with_uuid(&self, uuid: &str) -> Vec<Key> {
        self.by_uuid.keys(&uuid.to_owned())
    }

    fn with_vm_name(&self, name: &str) -> Vec<Key> {
        self.by_vm_name.keys(&name.to_owned())
    }

    fn with_folder(&self, name: &str) -> Vec<Arc<VmGroup>> {
        self.by_folder.get(&name.to_owned())
    }

    fn members(&self, group: &VmGroup) -> Vec<Key> {
        self.members(group).iter().map(|instance| Key::of(&**instance)).collect()
    }
}

/// Returns what a change of an instance concerns beside that which its own controller notices.
#[must_use]
pub fn by_instance(change: &Change<VmInstance>) -> Concerned {
    let mut concerned = Concerned::default();
    // One that does not parse any more may not tell the group that it told before.
    for group in [&change.before, &change.after].into_iter().flatten().filter_map(group_of) {
        match change.after {
            Some(_) => concerned.groups.insert(group),
            // A name is free that the group may have failed to use.
            None => concerned.retried.insert(group),
        };
    }
    if let (Some(before), Some(after)) = (&change.before, &change.after)
        && (before.annotations().get(DETACH), detach::of(before))
            != (after.annotations().get(DETACH), detach::of(after))
    {
        concerned.instances.insert(Key::of(after));
    }
    concerned
}

/// Returns the group of an instance: by the spec, since an owner reference can be removed.
fn group_of(instance: &Guarded<VmInstance>) -> Option<Key> {
    match instance.valid() {
        Some(instance) => Some(Key::new(&instance.namespace()?, &instance.spec.group)),
        None => group_of_unread(instance),
    }
}

/// Returns what a change of a group concerns beside that which its own controller notices. `members` finds the instances of a
/// group.
#[must_use]
pub fn by_group(change: &Change<VmGroup>, members: impl Fn(&GroupId) -> Vec<Key>) -> Concerned {
    let mut concerned = Concerned::default();
    let view = |group: &Guarded<VmGroup>| {
        let view = group.valid().map(|group| GroupView::of(group));
        let vcenter = group.valid().and_then(|group| group.status.as_ref()?.vcenter.clone());
        // Its condition shows what the annotation says.
        Some((group.uid()?, group.annotations().get(DETACH).cloned(), vcenter, view))
    };
    let (before, after) = (change.before.as_ref().and_then(view), change.after.as_ref().and_then(view));
    if before == after {
        return concerned;
    }
    concerned.groups.extend(change.after.as_ref().map(Key::of));
    let namespace = change.newest().and_then(ResourceExt::namespace).unwrap_or_default();
    for (uid, ..) in before.into_iter().chain(after) {
        concerned.instances.extend(members(&(namespace.clone(), uid)));
    }
    concerned
}

/// Returns what a change of the vCenter concerns. The memory forgets those that waited for it.
#[must_use]
pub fn by_vcenter(
    change: &vms::Change,
    memory: &Memory,
    inventory: &Inventory,
    objects: &dyn Lookup,
) -> Concerned {
    use vms::Change;
    let mut concerned = Concerned::default();
    let in_flight = &memory.in_flight;
    match change {
        // Ends every back-off: the failures were those of the outage.
        Change::Synced => concerned.all = true,
        Change::Lost => {}
        Change::Vm { before, after } => {
            before.iter().chain(after).for_each(|vm| concerned.add_vm(vm, inventory, objects));
        }
        // Only its children changed, and each sends its own change.
        Change::Folder { before: Some(before), after: Some(after) }
            if before.name == after.name && before.parent == after.parent => {}
        Change::Folder { before, after } => {
            before.iter().chain(after).for_each(|folder| concerned.add_folder(folder, objects));
        }
        Change::Task(task) => {
            if task.state.ended() || inventory.task(&task.moref).is_none() {
                concerned.add_waiters(in_flight.waiters(&task.moref));
            }
        }
        Change::Refreshed(ticket) => concerned.add_waiters(in_flight.refreshed(*ticket)),
        Change::LookedUp(moref) => concerned.instances.extend(in_flight.looked_up(moref)),
        Change::Templates => concerned.instances.extend(in_flight.found_templates()),
    }
    concerned
}

impl Concerned {
    fn add_waiters(&mut self, waiters: Vec<Waiter>) {
        for waiter in waiters {
            match waiter {
                Waiter::Instance(key) => self.instances.insert(key),
                Waiter::Group(key) => self.groups.insert(key),
            };
        }
    }

    fn add_vm(&mut self, vm: &Vm, inventory: &Inventory, objects: &dyn Lookup) {
        if let Some(Ok(owner)) = vm.marker(OWNER_MARKER).map(str::parse::<Marker>) {
            self.instances.insert(owner.instance());
            self.groups.insert(owner.group());
        }
        // The group of the folder adopts what the original operator made, and names the machines of others.
        let folder = vm.parent.as_ref().and_then(|parent| inventory.folder(parent));
        let groups = folder.map(|folder| objects.with_folder(&folder.name)).unwrap_or_default();
        self.groups.extend(groups.iter().map(|group| Key::of(&**group)));
        if let Some(instance_uuid) = &vm.instance_uuid {
            self.instances.extend(objects.with_uuid(instance_uuid));
        }
        // The machine may be in the way of another of its name, or be one that the original operator made.
        self.instances.extend(objects.with_vm_name(&vm.name));
    }

    /// Adds the groups that may use a folder of this name, and their instances.
    fn add_folder(&mut self, folder: &Folder, objects: &dyn Lookup) {
        for group in objects.with_folder(&folder.name) {
            self.groups.insert(Key::of(&*group));
            self.instances.extend(objects.members(&group));
        }
    }
}

#[cfg(test)]
mod tests;
