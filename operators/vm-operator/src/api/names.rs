//! Every name the operator derives from an object: deterministic, inside the limits of both systems, and never the same for
//! two objects. And the check that a VmInstance is what its name says.

use std::fmt;
use std::str::FromStr;

use kube::ResourceExt;
use operator_kit::Key;
use operator_kit::names::bounded;

use super::VmInstance;

/// Longest name of a managed entity that a vCenter takes, in characters.
const VCENTER_NAME: usize = 80;
/// Longest name of a Kubernetes object (DNS subdomain), in characters.
const OBJECT_NAME: usize = 253;
/// Random characters at the end of a machine's name that the original operator made.
const ORIGINAL_SUFFIX: usize = 8;

/// Returns the name of a group's folder: `<namespace>.<group>`. A namespace has no dot, so no two groups share one.
#[must_use]
pub fn folder(namespace: &str, group: &str) -> String {
    bounded(&format!("{namespace}.{group}"), VCENTER_NAME)
}

/// Returns the name of the folder in which the original operator kept a group's machines.
#[must_use]
pub fn original_folder(namespace: &str, group: &str) -> String {
    format!("{namespace}-{group}")
}

/// Returns whether the original operator gave this name to a machine of the group: `<group>-replica-<8 letters>`.
#[must_use]
pub fn is_original_machine(group: &str, name: &str) -> bool {
    let suffix = name.strip_prefix(group).and_then(|rest| rest.strip_prefix("-replica-"));
    suffix.is_some_and(|letters| {
        letters.len() == ORIGINAL_SUFFIX && letters.bytes().all(|letter| letter.is_ascii_lowercase())
    })
}

/// Returns the name of a slot's virtual machine, inside the group's folder: `<group>-<slot>`.
#[must_use]
pub fn vm(group: &str, slot: i32) -> String {
    bounded(&format!("{group}-{slot}"), VCENTER_NAME)
}

/// Returns the name of a slot's VmInstance: `<group>-<slot>`.
#[must_use]
pub fn instance(group: &str, slot: i32) -> String {
    bounded(&format!("{group}-{slot}"), OBJECT_NAME)
}

/// Returns the group whose VmInstance has this name, as long as the name was not shortened: for a VmInstance that does not say so.
#[must_use]
pub fn group_of_instance(name: &str) -> Option<&str> {
    let (group, slot) = name.rsplit_once('-')?;
    slot.parse::<u32>().is_ok_and(|number| number.to_string() == slot).then_some(group)
}

/// Checks that a VmInstance is the one of its slot: it has the derived name, its group is its controller, and its machine
/// has the derived name or one that the original operator gave. A copy made by hand fails, whatever its spec says.
///
/// # Errors
/// What is wrong, for people.
pub fn check(instance: &VmInstance) -> Result<(), String> {
    let spec = &instance.spec;
    let name = self::instance(&spec.group, spec.slot);
    if instance.name_any() != name {
        return Err(format!(
            "the VmInstance of slot {} of group {:?} is called {name:?}: this one was copied or written by hand",
            spec.slot, spec.group
        ));
    }
    let owned = instance.owner_references().iter().any(|owner| {
        owner.controller == Some(true)
            && owner.kind == "VmGroup"
            && owner.api_version.split('/').next() == Some(super::GROUP)
            && owner.name == spec.group
            && owner.uid == spec.group_uid
    });
    if !owned {
        return Err(format!(
            "it has no controller owner reference to VmGroup {:?} with UID {}",
            spec.group, spec.group_uid
        ));
    }
    if spec.vm_name != vm(&spec.group, spec.slot) && !is_original_machine(&spec.group, &spec.vm_name) {
        let name = vm(&spec.group, spec.slot);
        return Err(format!(
            "spec.vmName is {:?}, and the virtual machine of its slot is called {name:?}",
            spec.vm_name
        ));
    }
    Ok(())
}

/// The owner of a virtual machine, as its extraConfig says it:
/// `<cluster id>/<namespace>/<group>/<group UID>/<slot>/<instanceUuid>`.
///
/// The cluster id and the group's UID make it unique among all clusters that share a vCenter, and among groups that had the
/// same name one after the other; the instanceUuid, random for each VmInstance, among the machines of a slot one after the
/// other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Marker {
    /// Id of the cluster.
    pub cluster: String,
    /// The group's namespace.
    pub namespace: String,
    /// The group's name.
    pub group: String,
    /// The group's UID.
    pub group_uid: String,
    /// The slot in the group.
    pub slot: i32,
    /// `spec.instanceUuid` of the VmInstance.
    pub instance_uuid: String,
}

impl Marker {
    /// Returns the marker of an instance's machine in this cluster.
    #[must_use]
    pub fn of(cluster: &str, instance: &VmInstance) -> Self {
        Self {
            cluster: cluster.to_owned(),
            namespace: instance.namespace().unwrap_or_default(),
            group: instance.spec.group.clone(),
            group_uid: instance.spec.group_uid.clone(),
            slot: instance.spec.slot,
            instance_uuid: instance.spec.instance_uuid.clone(),
        }
    }

    /// Returns the key of the VmInstance.
    #[must_use]
    pub fn instance(&self) -> Key {
        Key::new(&self.namespace, &instance(&self.group, self.slot))
    }

    /// Returns the key of the VmGroup.
    #[must_use]
    pub fn group(&self) -> Key {
        Key::new(&self.namespace, &self.group)
    }

    /// Returns whether a machine with this marker was made for an earlier group of the name of that with the marker `other`.
    #[must_use]
    pub fn is_of_namesake(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.group() == other.group() && self.group_uid != other.group_uid
    }

    /// Returns whether a machine with this marker was made for another slot of the group of that with the marker `other`.
    #[must_use]
    pub fn is_of_other_slot(&self, other: &Self) -> bool {
        self.cluster == other.cluster
            && self.group() == other.group()
            && self.group_uid == other.group_uid
            && self.slot != other.slot
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cluster, namespace, group, group_uid, slot, instance_uuid } = self;
        write!(f, "{cluster}/{namespace}/{group}/{group_uid}/{slot}/{instance_uuid}")
    }
}

/// The text is not a [`Marker`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an owner marker")]
pub struct NotAMarker;

impl FromStr for Marker {
    type Err = NotAMarker;

    /// Reads only what [`Marker`] writes: any vCenter user with the right may edit the extraConfig of a machine.
    fn from_str(s: &str) -> Result<Self, NotAMarker> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let mut parts = s.split('/');
        let mut next = || {
            let part = parts.next().filter(|part| !part.is_empty() && part.chars().all(plain));
            part.map(str::to_owned).ok_or(NotAMarker)
        };
        let marker = Self {
            cluster: next()?,
            namespace: next()?,
            group: next()?,
            group_uid: next()?,
            slot: next()?.parse().ok().filter(|slot| *slot >= 0).ok_or(NotAMarker)?,
            instance_uuid: next()?,
        };
        if parts.next().is_some() { Err(NotAMarker) } else { Ok(marker) }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use proptest::prelude::*;

    use super::*;
    use crate::api::VmInstanceSpec;

    #[test]
    fn the_name_of_an_instance_tells_its_group() {
        for (name, group) in [
            (instance("web", 0), Some("web")),
            (instance("a-1", 12), Some("a-1")),
            ("web".to_owned(), None),
            ("web-01".to_owned(), None),
            ("web-x".to_owned(), None),
        ] {
            assert_eq!(group_of_instance(&name), group, "{name}");
        }
    }

    #[test]
    fn folders_of_lookalike_groups_differ() {
        assert_eq!(folder("a-b", "c"), "a-b.c");
        assert_ne!(folder("a-b", "c"), folder("a", "b-c"));
        assert_ne!(folder("a", "b.c"), folder("a", "b-c"));
    }

    #[test]
    fn machines_of_the_original_are_recognised_by_their_whole_name() {
        assert!(is_original_machine("web", "web-replica-abcdefgh"));
        for name in [
            "web-replica-abcdefg",
            "web-replica-abcdefghi",
            "web-replica-abcdefg1",
            "web-0",
            "x-web-replica-abcdefgh",
        ] {
            assert!(!is_original_machine("web", name), "{name}");
        }
        // `a-b`/`c` and `a`/`b-c` shared a folder; the names of their machines differ.
        assert_eq!(original_folder("a-b", "c"), original_folder("a", "b-c"));
        assert!(
            !is_original_machine("c", "b-c-replica-abcdefgh")
                && !is_original_machine("b-c", "c-replica-abcdefgh")
        );
    }

    fn instance_of(name: &str, vm_name: &str, owner_uid: &str) -> VmInstance {
        let spec = VmInstanceSpec {
            group: "web".into(),
            group_uid: "u-1".into(),
            slot: 2,
            vm_name: vm_name.into(),
            instance_uuid: "i".into(),
            cpu: 1,
            memory: 1,
            template: "t".into(),
        };
        let mut instance = VmInstance::new(name, spec);
        instance.owner_references_mut().push(OwnerReference {
            api_version: "vm.codeconnect.vmworld.com/v1alpha1".into(),
            kind: "VmGroup".into(),
            name: "web".into(),
            uid: owner_uid.into(),
            controller: Some(true),
            ..OwnerReference::default()
        });
        instance
    }

    #[test]
    fn a_copied_instance_is_no_instance() {
        assert_eq!(check(&instance_of("web-2", "web-2", "u-1")), Ok(()));
        assert_eq!(check(&instance_of("web-2", "web-replica-abcdefgh", "u-1")), Ok(()));
        for (name, vm_name, owner) in [
            ("web-3", "web-2", "u-1"),
            ("copy", "web-2", "u-1"),
            ("web-2", "web-3", "u-1"),
            ("web-2", "web-2", "u-2"),
        ] {
            assert!(check(&instance_of(name, vm_name, owner)).is_err(), "{name} {vm_name} {owner}");
        }
        let mut orphan = instance_of("web-2", "web-2", "u-1");
        orphan.metadata.owner_references = None;
        assert!(check(&orphan).is_err());
    }

    #[test]
    fn markers_reject_what_they_did_not_write() {
        for text in [
            "",
            "a/b/c/d/1",
            "a/b/c/d/x/u",
            "a//c/d/1/u",
            "a/b/c/d/1/u/2",
            "a/b/c/d/-1/u",
            "a/b/ü/d/1/u",
            "a/b/c d/d/1/u",
        ] {
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
            if a != b {
                prop_assert_ne!(folder(&ns, &a), folder(&ns, &b));
                prop_assert_ne!(instance(&a, slot), instance(&b, slot));
            }
            prop_assert_ne!(vm(&a, slot), vm(&a, slot + 1));
        }

        #[test]
        fn names_of_any_unicode_do_not_panic(text in ".*", slot: i32) {
            let _ = (folder(&text, &text), vm(&text, slot), instance(&text, slot), is_original_machine(&text, &text));
            let _ = text.parse::<Marker>();
        }

        #[test]
        fn markers_round_trip(ns in "[a-z][-a-z0-9]{0,20}", group in "[a-z][-.a-z0-9]{0,20}", slot in 0..i32::MAX) {
            let marker = Marker {
                cluster: "c".into(), namespace: ns, group, group_uid: "u".into(), slot, instance_uuid: "i".into(),
            };
            prop_assert_eq!(marker.to_string().parse::<Marker>(), Ok(marker));
        }
    }
}
