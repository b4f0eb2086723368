//! The port groups of an AKODeploymentConfig: made in its vCenter before AVI is asked for their networks, removed after AVI has forgotten
//! them.
//!
//! ```text
//!   ask vCenter ──▶ record that it is to be made ──▶ make ──▶ record its reference ──▶ change ──▶ AVI finds it
//!
//!   not wished any more: what AVI has of it is removed ──▶ wait until nothing uses it ──▶ remove ──▶ out of the record
//! ```
//!
//! A port group belongs to the operator if its description has the mark of the AKODeploymentConfig and its reference is in the record.
//! Any other one is never changed or removed. Next: [`plan`].

mod apply;
pub mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::networks::{Binding, PortGroup as Found, PortGroupSpec, Vlan};
use jiff::Timestamp;

use crate::api::{AddedPortGroup, PORT_GROUP_MARK, PortBinding, PortGroup};
use crate::problem::Problem;

/// What a pass sees of port groups.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// UID of the AKODeploymentConfig.
    pub uid: String,
    /// What makes asking the vCenter impossible, where there are port groups.
    pub problem: Option<Problem>,
    /// What an answer of the vCenter depends on.
    pub basis: Basis,
    /// What the vCenter had when it was asked last.
    pub answer: Option<Arc<Answer>>,
    /// A task that was submitted and that has not been seen to end.
    pub task: Option<Running>,
    /// UUIDs of AVI networks in which other AKODeploymentConfigs have ranges or subnets.
    pub used_on_avi: Vec<String>,
}

/// What an answer of the vCenter depends on: with another one, it is asked again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// Versions of the Secrets; empty without them.
    pub credentials: String,
    /// The record.
    pub record: Vec<AddedPortGroup>,
}

/// An answer of the vCenter.
pub type Answer = super::seen::Answer<Basis, Facts>;

/// What a vCenter has.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Which one it is.
    pub vcenter: String,
    /// References of the switches of the spec, or why there is none.
    pub switches: BTreeMap<String, Result<String, String>>,
    /// The port groups of the spec and of the record that exist, by reference.
    pub groups: BTreeMap<String, Found>,
    /// The VMs that use those of the record that are not in the spec, by reference.
    pub users: BTreeMap<String, Vec<String>>,
}

impl Facts {
    /// Returns the port group of this name on a switch.
    fn named(&self, switch: &str, name: &str) -> Option<&Found> {
        let is_of = |group: &&Found| group.switch.as_ref().is_some_and(|of| of.as_str() == switch);
        self.groups.values().filter(is_of).find(|group| group.name == name)
    }
}

/// A task of the vCenter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its reference.
    pub task: MoRef,
    /// What it does.
    pub change: PortGroupChange,
    /// When the vCenter accepted it.
    pub submitted: Timestamp,
    /// When it was looked at last; at first when it was submitted.
    pub looked: Timestamp,
}

impl Running {
    /// Returns the time between the last look and the next: as long as the task ran before the last one, from 50 to 500 ms. Most tasks
    /// end within a few hundred milliseconds.
    #[must_use]
    pub fn pause(&self) -> Duration {
        let ran = self.looked.duration_since(self.submitted).unsigned_abs();
        ran.clamp(Duration::from_millis(50), Duration::from_millis(500))
    }
}

/// A change of a port group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortGroupChange {
    /// It is made on this switch.
    Create(String, WantedGroup),
    /// It gets back the name it had when it was made.
    Rename(String, WantedGroup),
    /// It becomes as wanted; its version is of the last answer.
    Reconfigure(String, WantedGroup),
    /// It is removed: its reference and its name.
    Destroy(String, String),
}

impl PortGroupChange {
    /// Returns the change in words, for an event.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Create(_, wanted) => format!("creates port group {} with {}", wanted.name, wanted.vlan),
            Self::Rename(_, wanted) => format!("renames a port group back to {}", wanted.name),
            Self::Reconfigure(_, wanted) => {
                let WantedGroup { name, vlan, ports, .. } = wanted;
                format!("changes port group {name} to {vlan}, {ports} ports")
            }
            Self::Destroy(_, name) => format!("removes port group {name}"),
        }
    }
}

/// What a port group is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedGroup {
    /// Its name.
    pub name: String,
    vlan: Vlan,
    ports: i32,
    auto_expand: bool,
    binding: Binding,
    description: String,
}

impl WantedGroup {
    /// Returns what the spec of the AKODeploymentConfig with this UID asks for. The spec has no problem.
    #[must_use]
    pub fn of(group: &PortGroup, uid: &str) -> Self {
        let id = |number: i32| u16::try_from(number).unwrap_or_default();
        let vlan = match group.trunk.as_slice() {
            [] => Vlan::Id(id(group.vlan.unwrap_or_default())),
            ranges => Vlan::trunk(ranges.iter().map(|range| (id(range.start), id(range.end)))),
        };
        let binding = match group.binding.unwrap_or_default() {
            PortBinding::EarlyBinding => Binding::Early,
            PortBinding::Ephemeral => Binding::Ephemeral,
        };
        let is_early = binding == Binding::Early;
        let about = group.description.as_deref().unwrap_or_default().trim();
        Self {
            name: group.name.clone(),
            vlan,
            ports: if is_early { group.ports.unwrap_or(8) } else { 0 },
            auto_expand: is_early && group.auto_expand.unwrap_or(true),
            binding,
            description: format!("{about} {}", mark(uid)).trim().to_owned(),
        }
    }

    fn spec(&self) -> PortGroupSpec<'_> {
        let Self { name, vlan, ports, auto_expand, binding, description } = self;
        PortGroupSpec { name, vlan, ports: *ports, auto_expand: *auto_expand, binding: *binding, description }
    }

    /// Returns this with the ports that a port group has got by itself.
    fn grown(mut self, has: &Found) -> Self {
        if self.auto_expand && has.binding == Some(Binding::Early) {
            self.ports = self.ports.max(has.ports);
        }
        self
    }

    /// Returns whether a port group is as wanted. Ports of an ephemeral one come and go.
    fn is_met(&self, has: &Found) -> bool {
        let is_early = self.binding == Binding::Early;
        has.vlan.as_ref() == Some(&self.vlan)
            && has.binding == Some(self.binding)
            && has.description == self.description
            && (!is_early || (has.ports, has.auto_expand) == (self.ports, self.auto_expand))
    }
}

/// Returns the mark of the AKODeploymentConfig with this UID.
fn mark(uid: &str) -> String {
    format!("[{PORT_GROUP_MARK}={uid}]")
}

/// Returns whether a port group has the mark of the AKODeploymentConfig with this UID.
fn is_marked(group: &Found, uid: &str) -> bool {
    !uid.is_empty() && group.description.contains(&mark(uid))
}

/// Returns whether a network on AVI is a port group: its UUID is `dvportgroup-<id>-cloud-<id of the cloud>`.
#[must_use]
pub fn is_network_of(network: &str, reference: &str) -> bool {
    let id = reference.split_once(':').map_or(reference, |(_, id)| id);
    network.strip_prefix(id).is_some_and(|rest| rest.starts_with("-cloud-"))
}
