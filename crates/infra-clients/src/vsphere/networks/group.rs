//! A port group as values: what vCenter has of one, and what one is to be. Owns their wire form.

use std::fmt;

use crate::vsphere::error::{Error, Kind};
use crate::vsphere::moref::MoRef;
use crate::vsphere::properties::ObjectUpdate;
use crate::vsphere::xml::Node;

/// The properties that are read.
pub(super) const PATHS: &[&str] = &[
    "name",
    "config.configVersion",
    "config.distributedVirtualSwitch",
    "config.numPorts",
    "config.defaultPortConfig",
    "config.description",
    "config.type",
    "config.autoExpand",
];

/// The VLANs whose traffic a port group carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vlan {
    /// One VLAN; 0: untagged traffic.
    Id(u16),
    /// The tagged traffic of these ranges, both ends included, in order and apart: see [`Vlan::trunk`].
    Trunk(Vec<(u16, u16)>),
}

impl Vlan {
    /// The highest VLAN.
    pub const LAST: u16 = 4094;

    /// Returns a trunk of ranges in any order; those that touch become one. Equal trunks have equal ranges then.
    #[must_use]
    pub fn trunk(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        let mut all: Vec<_> = ranges.into_iter().collect();
        all.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (start, end) in all {
            match merged.last_mut() {
                Some(last) if start <= last.1.saturating_add(1) => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self::Trunk(merged)
    }

    /// Reads the VLAN of a port setting; `None` of a private one.
    fn read(setting: &Node) -> Option<Self> {
        let vlan = setting.child("vlan")?;
        let number = |node: &Node, tag: &str| node.child(tag)?.text.parse().ok();
        match vlan.xsi_type.as_deref()? {
            "VmwareDistributedVirtualSwitchVlanIdSpec" => number(vlan, "vlanId").map(Self::Id),
            "VmwareDistributedVirtualSwitchTrunkVlanSpec" => {
                let ranges = vlan.children.iter().filter(|child| child.tag == "vlanId");
                Some(Self::trunk(
                    ranges.filter_map(|range| Some((number(range, "start")?, number(range, "end")?))),
                ))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Vlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "VLAN {id}"),
            Self::Trunk(ranges) => {
                let ranges: Vec<_> = ranges.iter().map(|(start, end)| format!("{start}-{end}")).collect();
                write!(f, "a trunk of VLANs {}", ranges.join(", "))
            }
        }
    }
}

/// How a port group's ports are given to adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binding {
    /// An adapter has its port from when it is attached.
    Early,
    /// A port exists while an adapter is connected. The number of ports does not matter.
    Ephemeral,
}

impl Binding {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "earlyBinding" => Some(Self::Early),
            "ephemeral" => Some(Self::Ephemeral),
            _ => None,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Early => "earlyBinding",
            Self::Ephemeral => "ephemeral",
        }
    }
}

/// A port group as vCenter has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortGroup {
    /// Its reference.
    pub moref: MoRef,
    /// Its name.
    pub name: String,
    /// Its switch.
    pub switch: Option<MoRef>,
    /// Which version of it this is, for [`Networks::reconfigure`](super::Networks::reconfigure).
    pub version: String,
    /// Its VLANs; `None` for a private VLAN.
    pub vlan: Option<Vlan>,
    /// The number of its ports.
    pub ports: i32,
    /// Whether it gets more ports when all are taken.
    pub auto_expand: bool,
    /// How its ports are given; `None` for a way that vSphere has given up.
    pub binding: Option<Binding>,
    /// Its description.
    pub description: String,
}

impl PortGroup {
    pub(super) fn read(update: &ObjectUpdate) -> Result<Self, Error> {
        let text = |path: &str| update.get(path).map(|node| node.text.clone());
        let moref = update.obj.clone();
        let (Some(version), true) = (text("config.configVersion"), update.get("name").is_some()) else {
            let message =
                format!("the account cannot read {moref}: have a vCenter administrator grant it System.Read");
            return Err(Error::new(Kind::Forbidden, message));
        };
        Ok(Self {
            name: update.name(),
            switch: update.moref("config.distributedVirtualSwitch"),
            version,
            vlan: update.get("config.defaultPortConfig").and_then(Vlan::read),
            ports: text("config.numPorts").and_then(|text| text.parse().ok()).unwrap_or_default(),
            auto_expand: text("config.autoExpand").is_some_and(|text| matches!(&*text, "true" | "1")),
            binding: text("config.type").and_then(|text| Binding::parse(&text)),
            description: text("config.description").unwrap_or_default(),
            moref,
        })
    }
}

/// What a port group is to be. All of it is sent.
#[derive(Debug, Clone, Copy)]
pub struct PortGroupSpec<'a> {
    /// Its name, not escaped.
    pub name: &'a str,
    /// Its VLANs.
    pub vlan: &'a Vlan,
    /// The number of its ports.
    pub ports: i32,
    /// Whether it gets more ports when all are taken.
    pub auto_expand: bool,
    /// How its ports are given.
    pub binding: Binding,
    /// Its description.
    pub description: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vsphere::properties::read_objects;

    fn read(config: &str) -> Result<PortGroup, Error> {
        let xml = format!(
            "<r><objects><obj type=\"DistributedVirtualPortgroup\">dvportgroup-7</obj>{config}</objects></r>"
        );
        let mut found = Vec::new();
        read_objects(&xml, |object| found.push(object)).unwrap();
        PortGroup::read(&found[0])
    }

    fn property(name: &str, value: &str) -> String {
        format!("<propSet><name>{name}</name><val>{value}</val></propSet>")
    }

    #[test]
    fn a_port_group_is_read() {
        let vlan = |of: &str, ids: &str| {
            property(
                "config.defaultPortConfig",
                &format!("<vlan xsi:type=\"{of}\"><inherited>false</inherited>{ids}</vlan>"),
            )
        };
        let known = [property("name", "a%2fb"), property("config.configVersion", "3")].concat();
        let trunk =
            "<vlanId><start>20</start><end>30</end></vlanId><vlanId><start>1</start><end>1</end></vlanId>";
        for (config, expected) in [
            (vlan("VmwareDistributedVirtualSwitchVlanIdSpec", "<vlanId>7</vlanId>"), Some(Vlan::Id(7))),
            (
                vlan("VmwareDistributedVirtualSwitchTrunkVlanSpec", trunk),
                Some(Vlan::Trunk(vec![(1, 1), (20, 30)])),
            ),
            (vlan("VmwareDistributedVirtualSwitchPvlanSpec", "<pvlanId>7</pvlanId>"), None),
            (String::new(), None),
        ] {
            let group = read(&format!("{known}{config}")).unwrap();
            assert_eq!((&*group.name, &*group.version, group.vlan), ("a/b", "3", expected), "{config}");
            assert_eq!(
                (group.ports, group.auto_expand, group.binding, &*group.description),
                (0, false, None, "")
            );
        }
        let more = [
            ("config.numPorts", "8"),
            ("config.autoExpand", "true"),
            ("config.type", "ephemeral"),
            ("config.description", "x"),
        ];
        let more = more.map(|(name, value)| property(name, value)).concat();
        let group = read(&format!("{known}{more}")).unwrap();
        assert_eq!((group.ports, group.auto_expand, group.binding), (8, true, Some(Binding::Ephemeral)));
        assert_eq!(group.description, "x");
        let unreadable = read(&property("config.configVersion", "3")).unwrap_err();
        assert_eq!(unreadable.kind(), Kind::Forbidden);
    }

    #[test]
    fn equal_trunks_are_equal() {
        for (ranges, expected) in [
            (vec![(20, 30), (1, 1)], vec![(1, 1), (20, 30)]),
            (vec![(1, 5), (6, 9), (3, 4)], vec![(1, 9)]),
            (vec![(0, 4094), (7, 7)], vec![(0, 4094)]),
            (vec![], vec![]),
        ] {
            assert_eq!(Vlan::trunk(ranges.clone()), Vlan::Trunk(expected), "{ranges:?}");
        }
        assert_eq!(Vlan::trunk([(1, 1), (20, 30)]).to_string(), "a trunk of VLANs 1-1, 20-30");
        assert_eq!(Vlan::Id(7).to_string(), "VLAN 7");
    }
}
