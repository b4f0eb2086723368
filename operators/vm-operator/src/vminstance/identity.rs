//! Which machine is an instance's: by its owner marker, its instanceUuid and the references in its durable status, which are those
//! of one vCenter. Decides nothing; `observe` and the group's `observe` say what they see through it.

use std::sync::Arc;

use infra_clients::vsphere::vms::{Connection, Folder, Inventory, Outside, Vm};
use infra_clients::vsphere::{MoRef, PowerState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use operator_kit::{Key, conditions};

use crate::api::names::{self, Marker};
use crate::api::{FINALIZER, OWNER_MARKER, REVISION_MARKER, VmGroup, VmInstance, condition, reason};

use super::seen::{AnotherVcenter, Lost, Machine};

/// Looks for the machine of one instance.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// The machines of the vCenter.
    pub inventory: &'a Inventory,
    /// The instance.
    pub instance: &'a VmInstance,
    /// Its owner marker.
    pub marker: &'a Marker,
    /// The vCenter that the status of its group names.
    pub group_vcenter: Option<&'a str>,
}

impl Look<'_> {
    /// Finds the machines that are the instance's, wherever in the operator's folder and under whatever name.
    ///
    /// A machine is the instance's if it has its marker and its instanceUuid, or its marker and the recorded reference. A
    /// copy that an administrator makes has the marker as well, but another reference and another instanceUuid. A machine
    /// that the original operator made has no marker yet: its instanceUuid identifies it, with the recorded reference or with
    /// its name in the original's folder.
    #[must_use]
    pub fn machines(&self) -> Vec<Machine> {
        let Self { inventory, instance, marker, .. } = self;
        let machine = |vm: &Vm, marked| Machine {
            moref: vm.moref.clone(),
            power: power(vm),
            revision: vm.marker(REVISION_MARKER).map(str::to_owned),
            marked,
            template: vm.template,
        };
        let owner = marker.to_string();
        let bearers = inventory.vms_marked(OWNER_MARKER, &owner);
        // References of another vCenter say nothing in this one.
        let is_here = self.away().is_none();
        let mut mine: Vec<_> = bearers
            .filter(|vm| has_uuid_of(vm, instance) || (is_here && is_not_a_copy(vm, instance)))
            .map(|vm| machine(vm, true))
            .collect();
        if mine.is_empty() {
            let folder = original_folder(inventory, instance, marker);
            let named = folder.and_then(|folder| inventory.vm_named(&folder.moref, &instance.spec.vm_name));
            let had = recorded(instance).and_then(|moref| inventory.vm(&moref));
            let vm = had.into_iter().chain(named).find(|vm| is_original(vm, instance));
            mine.extend(vm.map(|vm| machine(vm, false)));
        }
        mine
    }

    /// Returns what is known of the machine of an instance of which the inventory shows none. Where the vCenter has not answered, a last status
    /// that is about the machine stands: what cannot be undone needs an answer.
    #[must_use]
    pub fn unseen(&self) -> Unseen {
        let Self { inventory, instance, marker, .. } = self;
        if self.away().is_some() {
            return Unseen::Nothing;
        }
        let Some(moref) = recorded(instance) else {
            let is_unread = self.namesake().is_some_and(|vm| vm.markers.is_none());
            return if is_unread { Unseen::Unread } else { Unseen::Nothing };
        };
        match (inventory.vm(&moref), inventory.last_outside(&moref), said(instance)) {
            (Some(vm), ..) if vm.markers.is_none() => Unseen::Unread,
            // The inventory is about to show it.
            (None, Some(outside), _) if is_back(outside, inventory) => Unseen::Hidden,
            (None, Some(outside), _) => match find_whereabouts(outside, instance, &marker.to_string()) {
                Some(OutOfSight::Moved) => Unseen::Moved,
                Some(OutOfSight::Unclear) => Unseen::Hidden,
                None => Unseen::Nothing,
            },
            (None, None, Some(reason::MACHINE_MOVED)) => Unseen::Moved,
            (None, None, Some(reason::MACHINE_UNCLEAR)) => Unseen::Hidden,
            (Some(_), ..) | (None, None, _) => Unseen::Nothing,
        }
    }

    /// Returns the machine that the status of the instance names, if that is one of this vCenter.
    #[must_use]
    pub fn recorded(&self) -> Option<MoRef> {
        recorded(self.instance).filter(|_| self.away().is_none())
    }

    /// Returns the machine that has the name of the instance's, in one of its folders.
    pub(super) fn namesake(&self) -> Option<&Arc<Vm>> {
        let Self { inventory, instance, marker, .. } = self;
        let folder = inventory.folder_named(&names::folder(&marker.namespace, &marker.group));
        let mut folders = folder.into_iter().chain(original_folder(inventory, instance, marker));
        folders.find_map(|folder| inventory.vm_named(&folder.moref, &instance.spec.vm_name))
    }

    /// Returns which other vCenter than this has what was made for the instance, unless its machine was brought here.
    pub(super) fn other_vcenter(&self) -> Option<AnotherVcenter> {
        self.away().filter(|_| self.machines().is_empty())
    }

    /// Returns whether a durable status names this vCenter, so that what is requested from it is not requested from another
    /// after a restart.
    pub(super) fn is_vcenter_recorded(&self) -> bool {
        self.vcenter() == self.inventory.vcenter()
    }

    /// Returns the other vCenter whose objects the references in the status name.
    fn away(&self) -> Option<AnotherVcenter> {
        AnotherVcenter::of(self.vcenter(), self.inventory)
    }

    /// Returns the vCenter that the references in the status belong to. An instance without a recorded vCenter counts as one
    /// of its group's: its clone may run there.
    fn vcenter(&self) -> Option<&str> {
        recorded_vcenter(self.instance).or(self.group_vcenter)
    }
}

/// Returns whether a machine with the instance's marker is its machine: a copy has another reference and another
/// instanceUuid.
fn is_not_a_copy(vm: &Vm, instance: &VmInstance) -> bool {
    has_uuid_of(vm, instance) || recorded(instance).as_ref() == Some(&vm.moref)
}

/// Returns whether a machine with the instance's marker is its machine, and the operator cares for the instance: for one that
/// is not the instance of its slot, or no longer has the operator's finalizer, it does nothing.
#[must_use]
pub fn has_machine(instance: &VmInstance, vm: &Vm) -> bool {
    is_not_a_copy(vm, instance) && names::check(instance).is_ok() && !is_done(instance)
}

/// Returns the key of the group of an instance that does not parse: that of its controller if it is a group, else the one that its name
/// tells.
#[must_use]
pub fn group_of_unread(instance: &impl ResourceExt) -> Option<Key> {
    let name = instance.name_any();
    let group = controller(instance).map(|owner| &*owner.name).or_else(|| names::group_of_instance(&name));
    Some(Key::new(&instance.namespace()?, group?))
}

/// Returns whether an instance that does not parse may be one of this group: by its controller, else by its name.
#[must_use]
pub fn may_be_of(instance: &impl ResourceExt, group: &VmGroup) -> bool {
    match controller(instance) {
        Some(owner) => group.uid().as_ref() == Some(&owner.uid) && instance.namespace() == group.namespace(),
        None => group_of_unread(instance) == Some(Key::of(group)),
    }
}

fn controller(instance: &impl ResourceExt) -> Option<&OwnerReference> {
    instance.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.kind == "VmGroup")
}

/// Returns whether the operator's part in an instance's deletion is done: finalizers of others keep the object.
#[must_use]
pub fn is_done(instance: &VmInstance) -> bool {
    instance.metadata.deletion_timestamp.is_some()
        && !instance.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// Returns whether an instance is no member of a group, and has the name of one: the operator's part in its deletion is done, or it has
/// lost its owner, as with `kubectl delete --cascade=orphan`, or was edited.
#[must_use]
pub fn is_in_the_way(instance: &VmInstance) -> bool {
    instance.name_any() == names::instance(&instance.spec.group, instance.spec.slot)
        && (is_done(instance) || names::check(instance).is_err())
}

/// Returns the vCenter that the durable status of an instance names.
#[must_use]
pub fn recorded_vcenter(instance: &VmInstance) -> Option<&str> {
    instance.status.as_ref()?.vcenter.as_deref()
}

pub(super) fn has_uuid_of(vm: &Vm, instance: &VmInstance) -> bool {
    vm.instance_uuid.as_deref() == Some(&*instance.spec.instance_uuid)
}

/// Returns the original operator's folder of the group, where the instance's machine is one that the original made.
pub(super) fn original_folder<'a>(
    inventory: &'a Inventory,
    instance: &VmInstance,
    marker: &Marker,
) -> Option<&'a Arc<Folder>> {
    let is_original = names::is_original_machine(&marker.group, &instance.spec.vm_name);
    is_original
        .then(|| inventory.folder_named(&names::original_folder(&marker.namespace, &marker.group)))
        .flatten()
}

/// Returns whether a machine is the one of the original operator that the instance adopts, and has no marker yet.
fn is_original(vm: &Vm, instance: &VmInstance) -> bool {
    let was_marked = instance.status.as_ref().is_some_and(|status| status.marked == Some(true));
    names::is_original_machine(&instance.spec.group, &instance.spec.vm_name)
        && !was_marked
        && has_uuid_of(vm, instance)
        && vm.markers.is_some()
        && vm.marker(OWNER_MARKER).is_none()
}

/// Returns the reason of the last Ready condition.
fn said(instance: &VmInstance) -> Option<&str> {
    let ready = conditions::get(&instance.status.as_ref()?.conditions, condition::READY)?;
    Some(&ready.reason)
}

/// Returns the machine that the durable status names.
#[must_use]
pub fn recorded(instance: &VmInstance) -> Option<MoRef> {
    let id = instance.status.as_ref()?.vm_ref.as_deref()?;
    // A user with the right may write anything into a status.
    is_reference(id).then(|| MoRef::new("VirtualMachine", id))
}

/// Returns whether a text may be the id of a managed object, as a vCenter writes it: `vm-42`, `task-7`.
#[must_use]
pub fn is_reference(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    !id.is_empty() && id.len() <= 128 && id.chars().all(plain)
}

/// Returns the owner marker of a machine.
pub(super) fn marker_of(vm: &Vm) -> Option<Marker> {
    vm.marker(OWNER_MARKER)?.parse().ok()
}

/// Returns how a machine that is not the instance's was lost to it; `None` if it never was its machine, or cannot be read.
pub(super) fn lost(vm: &Vm, instance: &VmInstance, marker: &Marker) -> Option<Lost> {
    vm.markers.as_ref()?;
    let other = marker_of(vm).filter(|other| other.cluster != marker.cluster);
    if let Some(other) = other
        && (Marker { cluster: marker.cluster.clone(), ..other.clone() }) == *marker
    {
        return Some(Lost::OtherCluster(other.cluster));
    }
    has_uuid_of(vm, instance).then(|| Lost::NoMarker(marker.to_string()))
}

/// What is known of a machine that the inventory does not show as the instance's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Unseen {
    /// There is none, or it is shown.
    #[default]
    Nothing,
    /// It was moved out of the operator's folder.
    Moved,
    /// It exists, and the vCenter cannot tell whose it is, or hides it.
    Hidden,
    /// The vCenter cannot read one that may be the machine.
    Unread,
}

/// Why the inventory does not show a machine that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOfSight {
    /// It was moved out of the operator's folder.
    Moved,
    /// The vCenter cannot tell whose it is, or hides it.
    Unclear,
}

/// Returns why a machine is not in the operator's folder; `None`: the instance's does not exist any more. A vCenter that was set up again gives old
/// references to other machines.
pub(super) fn find_whereabouts(outside: &Outside, instance: &VmInstance, owner: &str) -> Option<OutOfSight> {
    match outside {
        Outside::Elsewhere(vm) if vm.markers.is_none() => Some(OutOfSight::Unclear),
        // Another machine may have the reference of old, but not the instanceUuid.
        Outside::Elsewhere(vm) if vm.marker(OWNER_MARKER) == Some(owner) || has_uuid_of(vm, instance) => {
            Some(OutOfSight::Moved)
        }
        Outside::Gone | Outside::Elsewhere(_) => None,
    }
}

/// Returns whether a machine is in a folder of the operator again, or was moved with one.
pub(super) fn is_back(outside: &Outside, inventory: &Inventory) -> bool {
    match outside {
        Outside::Elsewhere(vm) => vm.parent.as_ref().is_some_and(|parent| inventory.folder(parent).is_some()),
        Outside::Gone => false,
    }
}

/// Returns a machine's power state, where the vCenter knows it: of one on a host that does not answer it has only the last.
pub(crate) fn power(vm: &Vm) -> Option<PowerState> {
    vm.power.filter(|_| matches!(vm.connection, None | Some(Connection::Connected)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An object of which no more than the metadata is known.
    fn unread(name: &str, owner: &Value) -> k8s_openapi::api::core::v1::ConfigMap {
        let metadata = json!({ "name": name, "namespace": "default", "ownerReferences": owner });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    fn owner(kind: &str, name: &str, uid: &str, controller: bool) -> Value {
        json!([{ "apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller }])
    }

    #[test]
    fn an_instance_that_does_not_parse_has_the_group_of_its_controller_else_of_its_name() {
        let group: VmGroup = serde_json::from_value(json!({
            "apiVersion": "vm.example.com/v1", "kind": "VmGroup", "metadata": { "name": "web", "namespace": "default", "uid": "u" },
            "spec": { "replicas": 1, "cpu": 1, "memory": 512, "template": "t" },
        }))
        .unwrap();
        for (what, name, owner, key, is_member) in [
            ("its group", "web-0", owner("VmGroup", "web", "u", true), Some("web"), true),
            ("its group, whatever its name", "else", owner("VmGroup", "web", "u", true), Some("web"), true),
            (
                "a former group of that name",
                "web-0",
                owner("VmGroup", "web", "old", true),
                Some("web"),
                false,
            ),
            ("another group", "web-0", owner("VmGroup", "db", "v", true), Some("db"), false),
            ("a controller of another kind", "web-0", owner("ConfigMap", "db", "u", true), Some("web"), true),
            (
                "an owner that is no controller",
                "web-0",
                owner("VmGroup", "db", "v", false),
                Some("web"),
                true,
            ),
            ("no owner", "web-0", Value::Null, Some("web"), true),
            ("no owner, and the name of another group", "db-0", Value::Null, Some("db"), false),
            ("no owner, and a name of no group", "else", Value::Null, None, false),
        ] {
            let instance = unread(name, &owner);
            let wanted = key.map(|name| Key::new("default", name));
            assert_eq!(group_of_unread(&instance), wanted, "{what}");
            assert_eq!(may_be_of(&instance, &group), is_member, "{what}");
        }
    }
}
