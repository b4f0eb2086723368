//! What to do next about one group: a total, pure function of its spec and what was seen. Reads and
//! writes nothing; `apply` carries the plan out and comes next.

use std::collections::BTreeSet;

use crate::api::VmGroupSpec;

/// One VmInstance of the group, with what the inventory says of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent observations, each named by its question")]
pub struct Member {
    /// Name of the VmInstance.
    pub name: String,
    /// UID of the VmInstance.
    pub uid: String,
    /// Its slot.
    pub slot: i32,
    /// It is being deleted.
    pub deleting: bool,
    /// Its machine is in the inventory.
    pub exists: bool,
    /// Its machine is in the inventory and powered on.
    pub on: bool,
    /// The vCenter was asked for its machine, or is being asked.
    pub begun: bool,
    /// What its spec asks for.
    pub asked: String,
    /// What its machine was made from.
    pub made_from: Option<String>,
    /// Reason and message, where it needs help.
    pub trouble: Option<(String, String)>,
}

/// What `observe` saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The inventory is complete and kept current. If not, `exists` and `on` say nothing.
    pub synced: bool,
    /// Reason and message, where the inventory is not to be trusted.
    pub blind: Option<(&'static str, String)>,
    /// The group's folder is there.
    pub folder: bool,
    /// Its instances, by slot.
    pub members: Vec<Member>,
}

/// What to change. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Make the folder.
    pub folder: bool,
    /// Slots to make an instance for.
    pub create: Vec<i32>,
    /// Instances to delete: name and UID.
    pub delete: Vec<(String, String)>,
    /// Instances to give the present spec, since nothing was made from their old one.
    pub respec: Vec<String>,
}

impl Plan {
    /// Nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Decides what to change.
#[must_use]
pub fn plan(spec: &VmGroupSpec, seen: &Observed) -> Plan {
    let wanted = usize::try_from(spec.replicas).unwrap_or(0);
    let revision = spec.revision();
    let mut live: Vec<&Member> = seen.members.iter().filter(|m| !m.deleting).collect();

    let taken: BTreeSet<i32> = seen.members.iter().map(|m| m.slot).collect();
    let create: Vec<i32> =
        (0..).filter(|slot| !taken.contains(slot)).take(wanted.saturating_sub(live.len())).collect();

    // Least loss first: what never worked, then what is outdated, then the highest slot.
    live.sort_by_key(|m| (m.on, m.exists, m.made_from.as_ref() == Some(&revision), -m.slot));
    let surplus = live.len().saturating_sub(wanted);
    let (victims, kept) = live.split_at(surplus);

    Plan {
        folder: seen.synced && !seen.folder && (wanted > 0 || !seen.members.is_empty()),
        create,
        delete: victims.iter().map(|m| (m.name.clone(), m.uid.clone())).collect(),
        respec: kept
            .iter()
            .filter(|m| seen.synced && m.asked != revision && !m.exists && !m.begun)
            .map(|m| m.name.clone())
            .collect(),
    }
}

#[cfg(test)]
mod tests;
