//! Every name the operator derives from an object: deterministic, inside the limits of both systems,
//! and never the same for two objects.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32HEX_NOPAD;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longest name of a managed entity that a vCenter takes, in characters.
const VCENTER_NAME: usize = 80;
/// Longest name of a Kubernetes object (DNS subdomain), in characters.
const OBJECT_NAME: usize = 253;
/// Longest value of a Kubernetes label, in characters.
const LABEL_VALUE: usize = 63;
/// Characters of hash that replace what is cut off.
const HASH: usize = 8;

/// `name` itself where it fits `max` characters; else its beginning, `-`, and 8 characters of its hash.
fn bounded(name: &str, max: usize) -> String {
    if name.len() <= max {
        return name.to_owned();
    }
    let hash = BASE32HEX_NOPAD.encode(&Sha256::digest(name)[..5]).to_ascii_lowercase();
    // Kubernetes names are ASCII, and so is everything that is made of them.
    let head = name[..max - HASH - 1].trim_end_matches(['-', '.']);
    format!("{head}-{hash}")
}

/// The group's folder: `<namespace>.<group>`. A namespace has no dot, so no two groups share one.
#[must_use]
pub fn folder(namespace: &str, group: &str) -> String {
    bounded(&format!("{namespace}.{group}"), VCENTER_NAME)
}

/// The virtual machine of a slot, inside the group's folder: `<group>-<slot>`.
#[must_use]
pub fn vm(group: &str, slot: i32) -> String {
    bounded(&format!("{group}-{slot}"), VCENTER_NAME)
}

/// The VmInstance of a slot: `<group>-<slot>`.
#[must_use]
pub fn instance(group: &str, slot: i32) -> String {
    bounded(&format!("{group}-{slot}"), OBJECT_NAME)
}

/// The value of [`super::GROUP_LABEL`] for a group.
#[must_use]
pub fn label_value(group: &str) -> String {
    bounded(group, LABEL_VALUE)
}

/// The instanceUuid of a slot's virtual machine: the same for the same group object and slot.
#[must_use]
pub fn instance_uuid(group_uid: &str, slot: i32) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{group_uid}/{slot}").as_bytes())
}

/// Who owns a virtual machine, as its extraConfig says it:
/// `<cluster id>/<namespace>/<group>/<group UID>/<slot>`.
///
/// The cluster id (UID of the namespace `kube-system`) and the group's UID make it unique among all
/// clusters that share a vCenter, and among groups that bore the same name one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marker {
    /// UID of the cluster's `kube-system` namespace.
    pub cluster: String,
    /// The group's namespace.
    pub namespace: String,
    /// The group's name.
    pub group: String,
    /// The group's UID.
    pub group_uid: String,
    /// The slot in the group.
    pub slot: i32,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, namespace, group, group_uid, slot } = self;
        write!(f, "{cluster}/{namespace}/{group}/{group_uid}/{slot}")
    }
}

/// The text is not a [`Marker`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an owner marker")]
pub struct NotAMarker;

impl FromStr for Marker {
    type Err = NotAMarker;

    fn from_str(s: &str) -> Result<Self, NotAMarker> {
        let mut parts = s.split('/').map(str::to_owned);
        let mut next = || parts.next().filter(|p| !p.is_empty()).ok_or(NotAMarker);
        let marker = Self {
            cluster: next()?,
            namespace: next()?,
            group: next()?,
            group_uid: next()?,
            slot: next()?.parse().map_err(|_| NotAMarker)?,
        };
        if parts.next().is_some() { Err(NotAMarker) } else { Ok(marker) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn folders_of_lookalike_groups_differ() {
        assert_eq!(folder("a-b", "c"), "a-b.c");
        assert_ne!(folder("a-b", "c"), folder("a", "b-c"));
        assert_ne!(folder("a", "b.c"), folder("a", "b-c"));
    }

    #[test]
    fn markers_reject_what_they_did_not_write() {
        for text in ["", "a/b/c/d", "a/b/c/d/x", "a//c/d/1", "a/b/c/d/1/2"] {
            assert_eq!(text.parse::<Marker>(), Err(NotAMarker), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_fit_and_stay_apart(
            ns in "[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
            a in "[a-z]([-.a-z0-9]{0,250}[a-z0-9])?",
            b in "[a-z]([-.a-z0-9]{0,250}[a-z0-9])?",
            slot in 0..2000i32,
        ) {
            prop_assert!(folder(&ns, &a).len() <= VCENTER_NAME);
            prop_assert!(vm(&a, slot).len() <= VCENTER_NAME);
            prop_assert!(instance(&a, slot).len() <= OBJECT_NAME);
            prop_assert!(label_value(&a).len() <= LABEL_VALUE);
            prop_assert_eq!(folder(&ns, &a), folder(&ns, &a));
            if a != b {
                prop_assert_ne!(folder(&ns, &a), folder(&ns, &b));
                prop_assert_ne!(instance(&a, slot), instance(&b, slot));
                prop_assert_ne!(label_value(&a), label_value(&b));
            }
            prop_assert_ne!(vm(&a, slot), vm(&a, slot + 1));
        }

        #[test]
        fn markers_round_trip(ns in "[a-z][-a-z0-9]{0,20}", group in "[a-z][-.a-z0-9]{0,20}", slot in 0..i32::MAX) {
            let marker = Marker { cluster: "c".into(), namespace: ns, group, group_uid: "u".into(), slot };
            prop_assert_eq!(marker.to_string().parse::<Marker>(), Ok(marker));
        }
    }
}
