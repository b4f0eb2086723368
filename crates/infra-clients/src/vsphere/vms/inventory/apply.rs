//! Takes in what the collector reports of VMs and folders. Owns the reading of their properties.

use std::sync::Arc;
use std::time::Instant;

use super::objects::{Connection, Folder, Markers, Vm};
use super::{Inventory, MoRef};
use crate::vsphere::PowerState;
use crate::vsphere::properties::{ObjectUpdate, UpdateKind};
use crate::vsphere::xml::Node;

impl Inventory {
    /// Applies the update of one object.
    pub(in crate::vsphere::vms) fn apply(&mut self, update: &ObjectUpdate, now: Instant) {
        if let Some(seen) = &mut self.baseline {
            seen.insert(update.obj.clone());
        }
        match update.obj.kind() {
            "VirtualMachine" => self.apply_vm(update),
            "Folder" => self.apply_folder(update),
            "Task" => self.apply_task(update, now),
            _ => {}
        }
    }

    fn apply_vm(&mut self, update: &ObjectUpdate) {
        let before = self.vms.get(&update.obj).cloned();
        if update.properties.iter().any(|(path, _)| path.starts_with("runtime.")) {
            self.forget_read(&update.obj);
        }
        match (update.kind, before) {
            (UpdateKind::Leave, _) => self.put_vm(&update.obj, None),
            (UpdateKind::Enter, _) => {
                let vm = self.read_vm(Vm::empty(update.obj.clone()), update);
                self.put_vm(&update.obj, Some(vm));
            }
            (UpdateKind::Modify, Some(before)) => {
                let vm = self.read_vm(Vm::clone(&before), update);
                self.put_vm(&update.obj, Some(vm));
            }
            // What did not change is not in the update: the VM cannot be put together from it.
            (UpdateKind::Modify, None) => self.incomplete = true,
        }
    }

    /// Returns the VM with the properties that an update holds.
    pub(in crate::vsphere::vms) fn read_vm(&mut self, mut vm: Vm, update: &ObjectUpdate) -> Vm {
        for (path, value) in &update.properties {
            let value = value.as_ref();
            let text = value.map(|value| value.text.as_str());
            match path.as_str() {
                "name" => vm.name = self.read_name(vm.parent.as_ref(), value),
                "parent" => vm.parent = value.and_then(Node::moref).map(|parent| self.shared_parent(parent)),
                "runtime.powerState" => vm.power = text.and_then(PowerState::parse),
                "runtime.connectionState" => vm.connection = text.and_then(Connection::parse),
                "config.template" => vm.template = text.is_some_and(|text| matches!(text, "true" | "1")),
                "config.instanceUuid" => {
                    let uuid = text.filter(|text| !text.is_empty()).map(str::to_ascii_lowercase);
                    vm.instance_uuid = uuid.map(Arc::from);
                }
                "config.extraConfig" => vm.markers = value.map(|value| self.read_markers(value)),
                _ => {}
            }
        }
        vm
    }

    fn read_markers(&mut self, value: &Node) -> Markers {
        let options = value.options(&self.marker_prefix);
        options.iter().map(|(key, value)| (self.texts.shared(key), self.by_marker.shared(value))).collect()
    }

    fn apply_folder(&mut self, update: &ObjectUpdate) {
        let moref = &update.obj;
        let mut folder = match (update.kind, self.folders.get(moref)) {
            (UpdateKind::Leave, _) => return self.put_folder(moref, None, None),
            (_, Some(entry)) => Folder::clone(&entry.folder),
            (UpdateKind::Enter, None) => {
                Folder { moref: moref.clone(), name: "".into(), parent: None, children: 0 }
            }
            (UpdateKind::Modify, None) => {
                self.incomplete = true;
                return;
            }
        };
        for (path, value) in &update.properties {
            let value = value.as_ref();
            match path.as_str() {
                "name" => folder.name = self.read_name(folder.parent.as_ref(), value),
                "parent" => {
                    folder.parent = value.and_then(Node::moref).map(|parent| self.shared_parent(parent));
                }
                "childEntity" => folder.children = value.map_or(0, |value| value.children.len()),
                _ => {}
            }
        }
        self.put_folder(moref, Some(folder), None);
    }

    fn read_name(&self, parent: Option<&MoRef>, value: Option<&Node>) -> Arc<str> {
        let name = value.map(Node::name).unwrap_or_default();
        let siblings = parent.and_then(|parent| self.by_name.get(parent));
        siblings.map_or_else(|| name.as_str().into(), |siblings| siblings.shared(&name))
    }

    /// Returns the same reference, which shares its text with those of the siblings.
    fn shared_parent(&self, parent: MoRef) -> MoRef {
        self.by_name.get_key_value(&parent).map_or(parent, |(shared, _)| shared.clone())
    }
}
