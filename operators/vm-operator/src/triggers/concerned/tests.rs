//! Which objects a change concerns, by tables. The world has the group `team/web` with two instances, and the group
//! `team/db` with one; each row changes the world and has the change that is reported.
#![expect(clippy::too_many_lines, reason = "a table is as long as its rows")]

mod vcenter;

use infra_clients::vsphere::vms::fixtures as shown;
use serde_json::json;

use super::*;
use crate::api::{DETACH, ORIGINAL_FINALIZER, TaskKind, TaskStatus, names};
use crate::fixtures::{self, CLUSTER, GROUP_UID, NAMESPACE};

const OTHER_UID: &str = "other-uid";

/// Everything in which a change is judged.
struct World {
    groups: Vec<VmGroup>,
    instances: Vec<VmInstance>,
    memory: Memory,
    inventory: Inventory,
}

impl World {
    fn new() -> Self {
        let mut other = fixtures::group(1);
        (other.metadata.name, other.metadata.uid) = (Some("db".into()), Some(OTHER_UID.into()));
        let mut of_other = fixtures::instance(0);
        of_other.metadata.name = Some("db-0".into());
        of_other.metadata.uid = Some("uid-of-db-0".into());
        of_other.spec.group = "db".into();
        of_other.spec.group_uid = OTHER_UID.into();
        of_other.spec.vm_name = names::vm("db", 0);
        of_other.spec.instance_uuid = "uuid-of-db-0".into();
        let mut inventory = fixtures::inventory();
        inventory.show_folder(shown::folder("group-2", &names::original_folder(NAMESPACE, "db")));
        Self {
            groups: vec![fixtures::group(2), other],
            instances: vec![fixtures::instance(0), fixtures::instance(1), of_other],
            memory: Memory::new(CLUSTER.to_owned(), 1),
            inventory,
        }
    }

    fn instances_where(&self, is_it: impl Fn(&VmInstance) -> bool) -> Vec<Key> {
        self.instances.iter().filter(|instance| is_it(instance)).map(Key::of).collect()
    }

    fn of_group(&self, (namespace, uid): &GroupId) -> Vec<Key> {
        self.instances_where(|instance| {
            instance.namespace().as_ref() == Some(namespace) && instance.spec.group_uid == *uid
        })
    }
}

impl Lookup for World {
    fn with_uuid(&self, uuid: &str) -> Vec<Key> {
        self.instances_where(|instance| instance.spec.instance_uuid == uuid)
    }

    fn with_vm_name(&self, name: &str) -> Vec<Key> {
        self.instances_where(|instance| instance.spec.vm_name == name)
    }

    fn with_folder(&self, name: &str) -> Vec<Arc<VmGroup>> {
        let may_use = |group: &&VmGroup| {
            let (namespace, group) = (group.namespace().unwrap(), group.name_any());
            [names::folder(&namespace, &group), names::original_folder(&namespace, &group)]
                .iter()
                .any(|folder| folder == name)
        };
        self.groups.iter().filter(may_use).cloned().map(Arc::new).collect()
    }

    fn members(&self, group: &VmGroup) -> Vec<Key> {
        self.of_group(&(group.namespace().unwrap(), group.uid().unwrap()))
    }
}

fn keys(names: &[&str]) -> BTreeSet<Key> {
    names.iter().map(|name| Key::new(NAMESPACE, name)).collect()
}

fn concerned(instances: &[&str], groups: &[&str]) -> Concerned {
    Concerned { instances: keys(instances), groups: keys(groups), ..Concerned::default() }
}

fn changed<K: Clone>(object: &K, change: impl FnOnce(&mut K)) -> K {
    let mut object = object.clone();
    change(&mut object);
    object
}

fn change<K>(before: Option<K>, after: Option<K>) -> Change<K> {
    Change { before: before.map(Guarded::from), after: after.map(Guarded::from) }
}

/// The object as one that does not parse.
fn unreadable<K: kube::Resource<DynamicType = ()> + serde::de::DeserializeOwned>(object: &K) -> Guarded<K> {
    let unreadable = serde_json::from_value(json!({ "metadata": object.meta(), "spec": "none" }));
    let unreadable: Guarded<K> = unreadable.unwrap();
    assert!(unreadable.valid().is_none());
    unreadable
}

#[test]
fn changes_of_an_instance() {
    let old = fixtures::instance(0);
    let annotated =
        |value: &str| changed(&old, |i| i.annotations_mut().extend([(DETACH.to_owned(), value.to_owned())]));
    let with = |update: fn(&mut VmInstance)| change(Some(old.clone()), Some(changed(&old, update)));
    let stolen = changed(&old, |i| {
        i.metadata.name = Some("none".to_owned());
        i.metadata.owner_references.iter_mut().flatten().for_each(|owner| owner.name = "other".to_owned());
    });
    let group = || concerned(&[], &["web"]);
    let both = || concerned(&["web-0"], &["web"]);
    let freed = Concerned { retried: keys(&["web"]), ..Concerned::default() };
    let rows = [
        ("it appears", change(None, Some(old.clone())), group()),
        ("its status changes", with(|i| i.status.get_or_insert_default().task = None), group()),
        ("it is deleted", with(|i| *i = fixtures::deleting(i.clone())), group()),
        ("its owner reference is removed", with(|i| i.metadata.owner_references = None), group()),
        ("it is gone", change(Some(old.clone()), None), freed),
        ("it is detached", change(Some(old.clone()), Some(annotated("true"))), both()),
        ("it is not detached any more", change(Some(annotated("true")), Some(old.clone())), both()),
        ("it stays detached", change(Some(annotated("true")), Some(annotated("true"))), group()),
        (
            "it has the annotation with another value",
            change(Some(old.clone()), Some(annotated("no"))),
            both(),
        ),
        ("it appears detached", change(None, Some(annotated("true"))), group()),
        (
            "it does not parse any more",
            Change { before: Some(old.clone().into()), after: Some(unreadable(&old)) },
            group(),
        ),
        (
            "it does not parse any more, and has another owner and a name of no group",
            Change { before: Some(old.clone().into()), after: Some(unreadable(&stolen)) },
            concerned(&[], &["other", "web"]),
        ),
        (
            "it was detached, and does not parse any more",
            Change { before: Some(annotated("true").into()), after: Some(unreadable(&old)) },
            both(),
        ),
        (
            "one that does not parse is gone",
            Change { before: Some(unreadable(&old)), after: None },
            Concerned { retried: keys(&["web"]), ..Concerned::default() },
        ),
    ];
    for (situation, change, wanted) in rows {
        assert_eq!(by_instance(&change), wanted, "{situation}");
    }
}

#[test]
fn changes_of_a_group() {
    let world = World::new();
    let old = fixtures::group(2);
    let with = |update: fn(&mut VmGroup)| change(Some(old.clone()), Some(changed(&old, update)));
    let all = || concerned(&["web-0", "web-1"], &["web"]);
    let rows = [
        ("it appears", change(None, Some(old.clone())), all()),
        ("it is gone", change(Some(old.clone()), None), concerned(&["web-0", "web-1"], &[])),
        ("it is scaled", with(|g| g.spec.replicas = 9), concerned(&[], &[])),
        ("its template changes", with(|g| g.spec.template = "other".into()), concerned(&[], &[])),
        (
            "its status changes",
            with(|g| g.status.get_or_insert_default().replicas = None),
            concerned(&[], &[]),
        ),
        ("it is paused", with(|g| g.spec.paused = Some(true)), all()),
        ("it is said not to be paused", with(|g| g.spec.paused = Some(false)), concerned(&[], &[])),
        ("it is deleted", with(|g| *g = fixtures::deleting(g.clone())), all()),
        ("it is detached", with(|g| g.annotations_mut().extend([(DETACH.into(), "true".into())])), all()),
        (
            "its annotation has another value, which is none either",
            change(
                Some(changed(&old, |g| g.annotations_mut().extend([(DETACH.into(), "no".into())]))),
                Some(changed(&old, |g| g.annotations_mut().extend([(DETACH.into(), "True".into())]))),
            ),
            all(),
        ),
        (
            "it has another annotation",
            with(|g| g.annotations_mut().extend([("note".into(), "true".into())])),
            concerned(&[], &[]),
        ),
        (
            "it has machines of the original operator to adopt",
            with(|g| g.finalizers_mut().push(ORIGINAL_FINALIZER.into())),
            all(),
        ),
        (
            "it does not parse any more",
            Change { before: Some(old.clone().into()), after: Some(unreadable(&old)) },
            all(),
        ),
        (
            "it parses again",
            Change { before: Some(unreadable(&old)), after: Some(old.clone().into()) },
            all(),
        ),
        ("it has no UID", change(None, Some(changed(&old, |g| g.metadata.uid = None))), concerned(&[], &[])),
        (
            "one of another namespace appears",
            change(None, Some(changed(&old, |g| g.metadata.namespace = Some("theirs".into())))),
            Concerned { groups: BTreeSet::from([Key::new("theirs", "web")]), ..Concerned::default() },
        ),
    ];
    for (situation, change, wanted) in rows {
        assert_eq!(by_group(&change, |group| world.of_group(group)), wanted, "{situation}");
    }
    assert_eq!(old.uid().as_deref(), Some(GROUP_UID));
}
