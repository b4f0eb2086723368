//! Distributed port groups: finding switches and port groups, and the calls that create, change and remove port groups.
//!
//! Keeps no inventory and watches nothing: port groups are few and change rarely, so each look-up is a call. Every change is a task of the
//! vCenter, which [`Networks::task`] reads. Needs no datacenter, and creates nothing but port groups.

mod group;

use std::sync::Arc;

use jiff::SignedDuration;

pub use group::{Binding, PortGroup, PortGroupSpec, Vlan};

use super::error::{Error, Kind};
use super::moref::MoRef;
use super::name::to_send;
use super::paths::{Paths, list, normal};
use super::properties::{ObjectUpdate, filter, object, properties, read_existing, traverse};
use super::session::Session;
use super::soap::Call;
use super::task::{Task, read_tasks};
use super::value::{Data, Value};

/// The type of switches, and the property that lists their port groups.
const SWITCH: &str = "DistributedVirtualSwitch";
/// The type of port groups.
const GROUP: &str = "DistributedVirtualPortgroup";

/// The distributed port groups of a vCenter. Clones share the session.
#[derive(Debug, Clone)]
pub struct Networks {
    session: Session,
}

/// A distributed switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switch {
    /// Its reference.
    pub moref: MoRef,
    /// Its inventory path.
    pub path: String,
}

impl Networks {
    /// Creates a client that works with this session.
    #[must_use]
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// Returns which vCenter it is: `about.instanceUuid`. References are unique in one vCenter only.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn vcenter(&self) -> Result<Arc<str>, Error> {
        Ok(self.session.core().roots().await?.vcenter.clone())
    }

    /// Finds a switch by its name, or by its inventory path.
    ///
    /// # Errors
    /// [`Kind::Config`] and [`Kind::Ambiguous`], with the switches that there are, if not exactly one fits.
    pub async fn switch(&self, wanted: &str) -> Result<Switch, Error> {
        let core = self.session.core();
        let top = &core.roots().await?.folder;
        let traversals = vec![
            traverse("folders", "Folder", "childEntity", &["folders", "networks"]),
            traverse("networks", "Datacenter", "networkFolder", &["folders"]),
        ];
        let types =
            ["Datacenter", "Folder", SWITCH].iter().map(|of| properties(of, &["name", "parent"])).collect();
        let found = core.retrieve(&filter(types, vec![object(top.to_vim(), true, traversals)])).await?;
        choose(&found, top, wanted)
    }

    /// Returns a port group; `None` if it does not exist.
    ///
    /// # Errors
    /// [`Kind::Forbidden`] if the account cannot read it.
    pub async fn port_group(&self, moref: &MoRef) -> Result<Option<PortGroup>, Error> {
        let read =
            read_existing(self.session.core(), &[(GROUP, group::PATHS)], std::slice::from_ref(moref)).await?;
        read.first().map(PortGroup::read).transpose()
    }

    /// Finds a port group of a switch by its name; `None` if there is none.
    ///
    /// # Errors
    /// As [`Networks::port_group`].
    pub async fn port_group_named(&self, switch: &MoRef, name: &str) -> Result<Option<PortGroup>, Error> {
        let groups = vec![traverse("groups", SWITCH, "portgroup", &[])];
        let names = filter(vec![properties(GROUP, &["name"])], vec![object(switch.to_vim(), true, groups)]);
        let all = self.session.core().retrieve(&names).await?;
        match all.iter().find(|group| group.name() == name) {
            Some(group) => self.port_group(&group.obj).await,
            None => Ok(None),
        }
    }

    /// Returns the names of the VMs that are attached to a port group, in order. Adapters of hosts are not among them.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn users(&self, group: &MoRef) -> Result<Vec<String>, Error> {
        let vms = vec![traverse("vms", "Network", "vm", &[])];
        let names =
            filter(vec![properties("VirtualMachine", &["name"])], vec![object(group.to_vim(), true, vms)]);
        let all = match self.session.core().retrieve(&names).await {
            Err(error) if error.is_object_missing() => Vec::new(),
            read => read?,
        };
        let mut users: Vec<_> = all.iter().map(ObjectUpdate::name).collect();
        users.sort_unstable();
        Ok(users)
    }

    /// Submits the creation of a port group; returns the task.
    ///
    /// # Errors
    /// [`Kind::DuplicateName`], here or as the error of the task, if an object of the switch's folder has the name.
    pub async fn create(&self, switch: &MoRef, spec: &PortGroupSpec<'_>) -> Result<MoRef, Error> {
        // A list of one is written like the one.
        self.submit_spec(Call::new("AddDVPortgroup_Task", switch), None, spec).await
    }

    /// Submits the change of a port group that has this [`PortGroup::version`]; returns the task. Its name is sent as well: a
    /// port group that was renamed has to be renamed back before, with [`Networks::rename`].
    ///
    /// # Errors
    /// [`Kind::Outdated`], here or as the error of the task, if it was changed since it was read.
    pub async fn reconfigure(
        &self,
        group: &MoRef,
        version: &str,
        spec: &PortGroupSpec<'_>,
    ) -> Result<MoRef, Error> {
        self.submit_spec(Call::new("ReconfigureDVPortgroup_Task", group), Some(version), spec).await
    }

    /// Submits the renaming of a port group; returns the task.
    ///
    /// # Errors
    /// As [`Networks::create`].
    pub async fn rename(&self, group: &MoRef, name: &str) -> Result<MoRef, Error> {
        let name = &*to_send(name);
        self.submit(&Call::new("Rename_Task", group).with("newName", &name)).await
    }

    /// Submits the removal of a port group; returns the task.
    ///
    /// # Errors
    /// [`Kind::InUse`], here or as the error of the task, if something is attached to it.
    pub async fn destroy(&self, group: &MoRef) -> Result<MoRef, Error> {
        self.submit(&Call::new("Destroy_Task", group)).await
    }

    /// Reads a task; `None` if vCenter has dropped it, which it does some minutes after its end.
    ///
    /// # Errors
    /// Whatever a call can fail with.
    pub async fn task(&self, task: &MoRef) -> Result<Option<Task>, Error> {
        let core = self.session.core();
        let read = read_tasks(core, core.call_timeout(), std::slice::from_ref(task)).await?;
        Ok(read.first().map(|update| {
            let mut task = Task::queued(update.obj.clone());
            task.apply(update, SignedDuration::ZERO, |text| text.into());
            task
        }))
    }

    /// Adds the `DVPortgroupConfigSpec` to a call and submits it.
    async fn submit_spec(
        &self,
        call: Call<'_>,
        version: Option<&str>,
        spec: &PortGroupSpec<'_>,
    ) -> Result<MoRef, Error> {
        let (name, binding) = (&*to_send(spec.name), spec.binding.word());
        let ranges: Vec<Data<'_>> = match spec.vlan {
            Vlan::Id(_) => Vec::new(),
            Vlan::Trunk(ranges) => ranges.iter().map(range).collect(),
        };
        let (type_name, ids): (_, Value<'_>) = match spec.vlan {
            Vlan::Id(id) => ("VmwareDistributedVirtualSwitchVlanIdSpec", id),
            Vlan::Trunk(_) => ("VmwareDistributedVirtualSwitchTrunkVlanSpec", &ranges),
        };
        let vlan = Data { type_name, fields: vec![("inherited", &false), ("vlanId", ids)] };
        let setting = Data { type_name: "VMwareDVSPortSetting", fields: vec![("vlan", &vlan)] };
        let mut fields: Vec<(&'static str, Value<'_>)> = Vec::new();
        if let Some(version) = &version {
            fields.push(("configVersion", version));
        }
        fields.extend([
            ("name", &name as Value<'_>),
            ("numPorts", &spec.ports),
            ("defaultPortConfig", &setting),
            ("description", &spec.description),
            ("type", &binding),
            ("autoExpand", &spec.auto_expand),
        ]);
        let data = Data { type_name: "DVPortgroupConfigSpec", fields };
        self.submit(&call.with("spec", &data)).await
    }

    async fn submit(&self, call: &Call<'_>) -> Result<MoRef, Error> {
        self.session.core().change(call).await
    }
}

/// Returns the `NumericRange` of two ends.
fn range((start, end): &(u16, u16)) -> Data<'_> {
    Data { type_name: "NumericRange", fields: vec![("start", start), ("end", end)] }
}

/// Returns the one switch that a person means.
fn choose(found: &[ObjectUpdate], top: &MoRef, wanted: &str) -> Result<Switch, Error> {
    let paths = Paths::of(found);
    let switches: Vec<(Switch, String)> = found
        .iter()
        .filter(|object| object.obj.kind().ends_with(SWITCH))
        .map(|object| {
            (Switch { moref: object.obj.clone(), path: paths.path(&object.obj, top) }, object.name())
        })
        .collect();
    let fits = |(switch, name): &&(Switch, String)| *name == wanted || switch.path == normal(wanted);
    let fitting: Vec<&Switch> = switches.iter().filter(fits).map(|(switch, _)| switch).collect();
    let shown =
        |switches: Vec<&Switch>| list(&switches.iter().map(|switch| &switch.path).collect::<Vec<_>>());
    match fitting.as_slice() {
        [switch] => Ok(Switch::clone(switch)),
        [] if switches.is_empty() => Err(Error::new(
            Kind::Config,
            format!("there is no distributed switch {wanted:?}; the account sees none at all"),
        )),
        [] => {
            let all = shown(switches.iter().map(|(switch, _)| switch).collect());
            let message = format!("there is no distributed switch {wanted:?}, only {all}");
            Err(Error::new(Kind::Config, message))
        }
        several => {
            let message = format!(
                "{} distributed switches have the name {wanted} ({}): write one of these paths",
                several.len(),
                shown(several.to_vec())
            );
            Err(Error::new(Kind::Ambiguous, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vsphere::properties::read_objects;

    fn inventory() -> (Vec<ObjectUpdate>, MoRef) {
        let object = |kind: &str, id: &str, name: &str, parent: (&str, &str)| {
            format!(
                "<objects><obj type=\"{kind}\">{id}</obj><propSet><name>name</name><val>{name}</val></propSet>\
                 <propSet><name>parent</name><val type=\"{}\">{}</val></propSet></objects>",
                parent.0, parent.1
            )
        };
        let vds = "VmwareDistributedVirtualSwitch";
        let xml = [
            object("Datacenter", "dc-1", "DC0", ("Folder", "top")),
            object("Datacenter", "dc-2", "DC1", ("Folder", "top")),
            object("Folder", "net-1", "network", ("Datacenter", "dc-1")),
            object("Folder", "net-2", "network", ("Datacenter", "dc-2")),
            object(vds, "dvs-1", "a", ("Folder", "net-1")),
            object(vds, "dvs-2", "a", ("Folder", "net-2")),
            object(vds, "dvs-3", "b%2fc", ("Folder", "net-2")),
        ];
        let mut found = Vec::new();
        read_objects(&format!("<r>{}</r>", xml.concat()), |object| found.push(object)).unwrap();
        (found, MoRef::new("Folder", "top"))
    }

    #[test]
    fn a_switch_is_found_by_name_or_path() {
        let (found, top) = inventory();
        for (wanted, result) in [
            ("b/c", Ok(("dvs-3", "DC1/network/b%2fc"))),
            ("/DC0/network/a", Ok(("dvs-1", "DC0/network/a"))),
            ("DC1/network/b%2fc", Ok(("dvs-3", "DC1/network/b%2fc"))),
            (
                "a",
                Err((
                    Kind::Ambiguous,
                    "2 distributed switches have the name a (DC0/network/a, DC1/network/a): write one",
                )),
            ),
            (
                "x",
                Err((
                    Kind::Config,
                    "there is no distributed switch \"x\", only DC0/network/a, DC1/network/a, DC1/network/b%2fc",
                )),
            ),
        ] {
            match (choose(&found, &top, wanted), result) {
                (Ok(switch), Ok((moref, path))) => {
                    assert_eq!((switch.moref.value(), &*switch.path), (moref, path), "{wanted}");
                }
                (Err(error), Err((kind, message))) => {
                    assert_eq!(error.kind(), kind);
                    assert!(error.to_string().starts_with(message), "{error}");
                }
                (found, _) => panic!("{wanted}: {found:?}"),
            }
        }
        let error = choose(&[], &top, "a").unwrap_err();
        assert!(error.to_string().ends_with("the account sees none at all"), "{error}");
    }
}
