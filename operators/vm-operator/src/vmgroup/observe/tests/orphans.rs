//! Which machines are orphans.

use super::*;

/// Returns a machine with the marker of slot 0 under another name and UUID, and this marker's cluster and group.
fn marked(vm: Vm, cluster: &str, group_uid: &str) -> Vm {
    let marker = Marker { group_uid: group_uid.into(), ..Marker::of(cluster, &fixtures::instance(0)) };
    Vm {
        name: "copy".into(),
        instance_uuid: Some("uuid-of-copy".into()),
        markers: vcenter::markers(&[(OWNER_MARKER, &marker.to_string())]),
        ..vm
    }
}

/// Returns a machine with a marker of this cluster and this group.
fn of_group(vm: Vm, namespace: &str, group: &str) -> Vm {
    let marker = Marker {
        namespace: namespace.into(),
        group: group.into(),
        group_uid: "other".into(),
        ..Marker::of(CLUSTER, &fixtures::instance(0))
    };
    Vm { markers: vcenter::markers(&[(OWNER_MARKER, &marker.to_string())]), ..marked(vm, CLUSTER, "other") }
}

#[test]
fn machines_with_a_marker_and_without_an_instance_are_orphans() {
    let copy = |s: &mut Seen| s.orphans = vec!["copy (vm-1)".into()];
    check(&[
        ("a copy", |w| w.show(|vm| marked(vm, CLUSTER, GROUP_UID)), copy),
        (
            "a machine whose instance is gone",
            |w| {
                w.show(|vm| vm);
                w.instances.pop();
            },
            |s| {
                s.members.remove(0);
                s.orphans = vec!["web-0 (vm-1)".into()];
            },
        ),
        ("a machine of another cluster", |w| w.show(|vm| marked(vm, "other", GROUP_UID)), |_| {}),
        (
            "a machine of an earlier group of the name",
            |w| w.show(|vm| marked(vm, CLUSTER, "earlier")),
            |s| s.orphans = vec!["copy (vm-1, of an earlier group of this name)".into()],
        ),
        (
            "a machine of an earlier group of the name whose VmInstance exists",
            |w| {
                let mut instance = fixtures::instance(7);
                instance.spec.group_uid = "earlier".into();
                instance.metadata.owner_references.as_mut().unwrap()[0].uid = "earlier".into();
                w.inventory.show_vm(fixtures::machine("vm-1", &instance));
                w.instances.push(instance);
            },
            |_| {},
        ),
        (
            "a machine of another group",
            |w| w.show(|vm| of_group(vm, fixtures::NAMESPACE, "db")),
            |s| s.orphans = vec!["copy (vm-1, of a group db)".into()],
        ),
        (
            "a machine of another namespace, which may not be watched",
            |w| w.show(|vm| of_group(vm, "other", "web")),
            |_| {},
        ),
        ("a foreign machine", |w| w.show(|vm| Vm { markers: vcenter::markers(&[]), ..vm }), |_| {}),
        (
            "a machine that cannot be read",
            |w| w.show(|vm| Vm { markers: None, ..vm }),
            |s| s.members[0].unseen = Unseen::Unread,
        ),
        (
            "a copy in another folder",
            |w| {
                w.show(|vm| Vm {
                    parent: Some(vcenter::folder_ref("group-9")),
                    ..marked(vm, CLUSTER, GROUP_UID)
                });
            },
            |_| {},
        ),
        (
            "the instance has lost its owner",
            |w| {
                w.show(|vm| vm);
                w.first().metadata.owner_references = None;
            },
            |s| {
                leftovers::stray(s);
                s.orphans = vec!["web-0 (vm-1)".into()];
            },
        ),
        (
            "two, in the order of their names",
            |w| {
                w.show(|vm| marked(vm, CLUSTER, GROUP_UID));
                w.show(|vm| Vm {
                    moref: vcenter::vm_ref("vm-2"),
                    name: "b".into(),
                    ..marked(vm, CLUSTER, GROUP_UID)
                });
            },
            |s| s.orphans = vec!["b (vm-2)".into(), "copy (vm-1)".into()],
        ),
    ]);
}
