//! Datacenters, and the machines in them.

use super::Checks;
use crate::vsphere::error::Error;
use crate::vsphere::moref::MoRef;
use crate::vsphere::name::unescape;
use crate::vsphere::paths::Paths;
use crate::vsphere::properties::{ObjectUpdate, filter, object, properties, read_existing, traverse};
use crate::vsphere::xml::Node;

const VM: &str = "VirtualMachine";
/// What says that a machine shows its disks' UUIDs to the guest.
const DISK_UUID: &str = "disk.enableUUID";
const MACHINE: &[&str] = &[
    "name",
    "config.uuid",
    "config.version",
    "config.changeTrackingEnabled",
    "config.extraConfig",
    "guest.hostName",
    "guest.net",
    "guest.toolsRunningStatus",
    "resourcePool",
    "runtime.host",
];

/// A datacenter that the account sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datacenter {
    /// Its reference.
    pub moref: MoRef,
    /// Its name.
    pub name: String,
    /// Its inventory path.
    pub path: String,
    /// The folder with its machines; `None` if the account cannot read the datacenter.
    pub vm_folder: Option<MoRef>,
}

/// What tells one machine from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// Its reference.
    pub moref: MoRef,
    /// Its name.
    pub name: String,
    /// The UUID that its BIOS shows, which is the Node's `systemUUID`; empty if the account cannot read it.
    pub uuid: String,
    /// The host name of its guest, as VMware Tools report it; empty if they report none.
    pub host_name: String,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What tells it from others.
    pub brief: Brief,
    /// Whether VMware Tools run.
    pub has_tools: bool,
    /// Its network adapters, as VMware Tools report them.
    pub nics: Vec<Nic>,
    /// Version of its virtual hardware, 15 for `vmx-15`.
    pub hardware: Option<u32>,
    /// Whether it shows the UUIDs of its disks to the guest: `disk.enableUUID`.
    pub has_disk_uuids: bool,
    /// Whether changed blocks of its disks are tracked.
    pub tracks_changes: bool,
    /// Its host.
    pub host: Option<MoRef>,
    /// Its resource pool.
    pub pool: Option<MoRef>,
}

/// A network adapter of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// The network that it is attached to; empty if there is none.
    pub network: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether the guest made it itself, as container networks do: the machine has no such device.
    pub is_virtual: bool,
}

impl Checks {
    /// Returns the datacenters that the account sees, in the order of their paths.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn datacenters(&self) -> Result<Vec<Datacenter>, Error> {
        let core = self.session.core();
        let top = &core.roots().await?.folder;
        let types = vec![
            properties("Folder", &["name", "parent"]),
            properties("Datacenter", &["name", "parent", "vmFolder"]),
        ];
        let down = vec![traverse("folders", "Folder", "childEntity", &["folders"])];
        let found = core.retrieve(&filter(types, vec![object(top.to_vim(), true, down)])).await?;
        let paths = Paths::of(&found);
        let datacenters = found.iter().filter(|object| object.obj.kind() == "Datacenter");
        let mut datacenters: Vec<_> = datacenters
            .map(|object| Datacenter {
                moref: object.obj.clone(),
                name: object.name(),
                path: paths.path(&object.obj, top),
                vm_folder: object.moref("vmFolder"),
            })
            .collect();
        datacenters.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(datacenters)
    }

    /// Returns all machines of a datacenter that the account sees, templates not included: one call for each 500.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn census(&self, datacenter: &Datacenter) -> Result<Vec<Brief>, Error> {
        let Some(folder) = &datacenter.vm_folder else { return Ok(Vec::new()) };
        let down = vec![
            traverse("folders", "Folder", "childEntity", &["folders", "apps", "nested"]),
            traverse("apps", "VirtualApp", "vm", &[]),
            traverse("nested", "VirtualApp", "resourcePool", &["apps", "nested"]),
        ];
        let types = vec![properties(VM, &["name", "config.uuid", "config.template", "guest.hostName"])];
        let found =
            self.session.core().retrieve(&filter(types, vec![object(folder.to_vim(), true, down)])).await?;
        let is_machine =
            |object: &&ObjectUpdate| object.obj.kind() == VM && text(object, "config.template") != "true";
        Ok(found.iter().filter(is_machine).map(Brief::read).collect())
    }

    /// Returns machines, those that exist.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn machines(&self, morefs: &[MoRef]) -> Result<Vec<Machine>, Error> {
        let found = read_existing(self.session.core(), &[(VM, MACHINE)], morefs).await?;
        Ok(found.iter().map(Machine::read).collect())
    }
}

pub(super) fn text(object: &ObjectUpdate, path: &str) -> String {
    object.get(path).map(|node| node.text.clone()).unwrap_or_default()
}

impl Brief {
    fn read(object: &ObjectUpdate) -> Self {
        Self {
            moref: object.obj.clone(),
            name: object.name(),
            uuid: text(object, "config.uuid"),
            host_name: text(object, "guest.hostName"),
        }
    }
}

impl Machine {
    fn read(object: &ObjectUpdate) -> Self {
        let options =
            object.get("config.extraConfig").map(|options| options.options(DISK_UUID)).unwrap_or_default();
        let disk_uuid =
            options.iter().find(|(key, _)| *key == DISK_UUID).map(|(_, value)| value.to_ascii_lowercase());
        let nics = object.get("guest.net").map(|nics| nics.children.iter().map(Nic::read).collect());
        Self {
            brief: Brief::read(object),
            has_tools: text(object, "guest.toolsRunningStatus") == "guestToolsRunning",
            nics: nics.unwrap_or_default(),
            hardware: text(object, "config.version")
                .strip_prefix("vmx-")
                .and_then(|number| number.parse().ok()),
            has_disk_uuids: disk_uuid.is_some_and(|value| matches!(value.as_str(), "true" | "1")),
            tracks_changes: text(object, "config.changeTrackingEnabled") == "true",
            host: object.moref("runtime.host"),
            pool: object.moref("resourcePool"),
        }
    }
}

impl Nic {
    fn read(node: &Node) -> Self {
        let of = |tag: &str| node.child(tag).map(|child| child.text.as_str()).unwrap_or_default();
        let addresses = node.children.iter().filter(|child| child.tag == "ipAddress");
        Self {
            network: unescape(of("network")).into_owned(),
            addresses: addresses.map(|address| address.text.clone()).collect(),
            is_virtual: of("deviceConfigId") == "-1",
        }
    }
}
