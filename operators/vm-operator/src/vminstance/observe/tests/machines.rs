//! Whose a machine is, and where it is.

mod originals;

use super::*;

fn mine() -> Machine {
    Machine {
        moref: vcenter::vm_ref("vm-1"),
        power: Some(PowerState::On),
        revision: Some(fixtures::instance(0).spec.revision()),
        marked: true,
        template: false,
    }
}

/// The instance has these machines. The template is not looked at then.
fn has(seen: &mut Seen, machines: &[Machine]) {
    (seen.mine, seen.template) = (machines.to_vec(), Template::Unknown);
}

/// A machine with the name `web-0` that is not the instance's.
fn stranger(seen: &mut Seen, lost: Option<Lost>) {
    (seen.stranger, seen.lost) = (Some(vcenter::vm_ref("vm-1")), lost);
}

fn unread(seen: &mut Seen) {
    seen.unread = Some(vcenter::vm_ref("vm-1"));
}

/// Returns a machine under another name.
fn renamed(vm: Vm) -> Vm {
    Vm { name: "renamed".into(), ..vm }
}

/// Returns a copy that an administrator made: it has the markers.
fn copy(vm: Vm) -> Vm {
    Vm { moref: vcenter::vm_ref("vm-2"), instance_uuid: Some("uuid-of-copy".into()), ..renamed(vm) }
}

fn with_marker(vm: Vm, marker: &str) -> Vm {
    Vm { markers: vcenter::markers(&[(OWNER_MARKER, marker)]), ..vm }
}

fn of_other_cluster(vm: Vm) -> Vm {
    let marker = Marker::of("other", &fixtures::instance(0)).to_string();
    with_marker(vm, &marker)
}

fn of_other_slot(vm: Vm) -> Vm {
    with_marker(vm, &Marker::of(CLUSTER, &fixtures::instance(1)).to_string())
}

fn without_markers(vm: Vm) -> Vm {
    Vm { markers: vcenter::markers(&[]), ..vm }
}

fn foreign(vm: Vm) -> Vm {
    Vm { instance_uuid: Some("foreign-uuid".into()), ..without_markers(vm) }
}

/// Returns a machine that was made for the same slot of an earlier group of the name.
fn of_namesake(vm: Vm) -> Vm {
    let marker = Marker {
        group_uid: "earlier".into(),
        instance_uuid: "earlier-uuid".into(),
        ..Marker::of(CLUSTER, &fixtures::instance(0))
    };
    Vm { instance_uuid: Some("earlier-uuid".into()), ..with_marker(vm, &marker.to_string()) }
}

#[test]
fn its_machine_is_found_by_marker_and_instance_uuid() {
    check(&[
        ("its machine", |w| w.show(|vm| vm), |s| has(s, &[mine()])),
        ("under another name", |w| w.show(renamed), |s| has(s, &[mine()])),
        (
            "in another folder",
            |w| w.show(|vm| Vm { parent: Some(vcenter::folder_ref("group-9")), ..vm }),
            |s| has(s, &[mine()]),
        ),
        (
            "with another instanceUuid, and not recorded",
            |w| w.show(|vm| Vm { instance_uuid: Some("changed".into()), ..vm }),
            |s| stranger(s, None),
        ),
        (
            "with another instanceUuid, and recorded",
            |w| {
                w.show(|vm| Vm { instance_uuid: Some("changed".into()), ..vm });
                w.record();
            },
            |s| has(s, &[mine()]),
        ),
        (
            "beside a copy",
            |w| {
                w.show(|vm| vm);
                w.show(copy);
            },
            |s| has(s, &[mine()]),
        ),
        ("a copy alone", |w| w.show(copy), |_| {}),
        (
            "beside a second machine with marker and instanceUuid",
            |w| {
                w.show(|vm| vm);
                w.show(|vm| Vm { moref: vcenter::vm_ref("vm-2"), ..renamed(vm) });
            },
            |s| has(s, &[mine(), Machine { moref: vcenter::vm_ref("vm-2"), ..mine() }]),
        ),
        (
            "the machine of another instance",
            |w| w.inventory.show_vm(fixtures::machine("vm-3", &fixtures::instance(1))),
            |_| {},
        ),
        (
            "without a revision",
            |w| w.show(|vm| with_marker(vm, &Marker::of(CLUSTER, &fixtures::instance(0)).to_string())),
            |s| has(s, &[Machine { revision: None, ..mine() }]),
        ),
        (
            "powered off",
            |w| w.show(|vm| Vm { power: Some(PowerState::Off), ..vm }),
            |s| has(s, &[Machine { power: Some(PowerState::Off), ..mine() }]),
        ),
        (
            "on a host that does not answer",
            |w| w.show(|vm| Vm { connection: Some(Connection::Disconnected), ..vm }),
            |s| has(s, &[Machine { power: None, ..mine() }]),
        ),
        (
            "whose connection is not reported yet",
            |w| w.show(|vm| Vm { connection: None, ..vm }),
            |s| has(s, &[mine()]),
        ),
    ]);
}

fn no_marker() -> Lost {
    Lost::NoMarker(Marker::of(CLUSTER, &fixtures::instance(0)).to_string())
}

#[test]
fn another_machine_is_not_the_instances() {
    let other_cluster = |s: &mut Seen| stranger(s, Some(Lost::OtherCluster("other".into())));
    check(&[
        ("the marker names another cluster", |w| w.show(of_other_cluster), other_cluster),
        (
            "the marker names another cluster, recorded and renamed",
            |w| {
                w.show(|vm| renamed(of_other_cluster(vm)));
                w.record();
            },
            other_cluster,
        ),
        (
            "the marker names another cluster, renamed, not recorded",
            |w| w.show(|vm| renamed(of_other_cluster(vm))),
            |_| {},
        ),
        ("the marker was removed", |w| w.show(without_markers), |s| stranger(s, Some(no_marker()))),
        (
            "the marker was removed, recorded and renamed",
            |w| {
                w.show(|vm| renamed(without_markers(vm)));
                w.record();
            },
            |s| stranger(s, Some(no_marker())),
        ),
        ("the marker is of another instance", |w| w.show(of_other_slot), |s| stranger(s, Some(no_marker()))),
        (
            "the marker is no marker",
            |w| w.show(|vm| with_marker(vm, "mine")),
            |s| stranger(s, Some(no_marker())),
        ),
        ("a foreign machine has the name", |w| w.show(foreign), |s| stranger(s, None)),
        (
            "a machine of an earlier group of the name has it",
            |w| w.show(of_namesake),
            |s| (s.stranger, s.stranger_of_namesake) = (Some(vcenter::vm_ref("vm-1")), true),
        ),
        (
            "the machine of another slot has the name",
            |w| {
                w.show(|vm| Vm { instance_uuid: Some("uuid-1".into()), ..of_other_slot(foreign(vm)) });
                w.others.push(fixtures::instance(1));
            },
            |s| (s.stranger, s.stranger_of) = (Some(vcenter::vm_ref("vm-1")), Some("web-1".into())),
        ),
        (
            "a copy of the machine of another slot has the name, or one whose VmInstance is gone",
            |w| w.show(|vm| of_other_slot(foreign(vm))),
            |s| stranger(s, None),
        ),
        (
            "a foreign machine has the recorded reference, and not the name",
            |w| {
                w.show(|vm| renamed(foreign(vm)));
                w.record();
            },
            |_| {},
        ),
        (
            "a foreign machine has the name in another folder",
            |w| w.show(|vm| Vm { parent: Some(vcenter::folder_ref("group-9")), ..foreign(vm) }),
            |_| {},
        ),
        ("a machine of the name cannot be read", |w| w.show(|vm| Vm { markers: None, ..vm }), unread),
        (
            "the recorded machine cannot be read, and is renamed",
            |w| {
                w.show(|vm| Vm { markers: None, ..renamed(vm) });
                w.record();
            },
            unread,
        ),
        (
            "a machine of another name cannot be read",
            |w| w.show(|vm| Vm { markers: None, ..renamed(vm) }),
            |_| {},
        ),
    ]);
}

/// Makes the instance one that adopts a machine of the original operator, which is shown changed.
fn original(world: &mut World, change: fn(Vm) -> Vm) {
    world.instance.spec.vm_name = "web-replica-abcdefgh".into();
    world.inventory.show_folder(vcenter::folder("group-2", "team-web"));
    let machine = Vm {
        parent: Some(vcenter::folder_ref("group-2")),
        ..without_markers(fixtures::machine("vm-1", &world.instance))
    };
    world.inventory.show_vm(change(machine));
}

fn is_missing(seen: &mut Seen, missing: Missing) {
    seen.missing = missing;
}

#[test]
fn a_recorded_machine_that_the_inventory_does_not_show() {
    let elsewhere = |s: &mut Seen| is_missing(s, Missing::Elsewhere(vcenter::vm_ref("vm-1")));
    check(&[
        ("not looked up", World::record, |s| is_missing(s, Missing::Unknown(vcenter::vm_ref("vm-1")))),
        (
            "being looked up",
            |w| {
                w.record();
                w.client.looking_up.push(vcenter::vm_ref("vm-1"));
                w.memory.in_flight.looking_up(&vcenter::vm_ref("vm-1"), &w.key());
            },
            |s| is_missing(s, Missing::LookingUp),
        ),
        (
            "being looked up for another instance: the answer is to wake this one as well",
            |w| {
                w.record();
                w.client.looking_up.push(vcenter::vm_ref("vm-1"));
                w.memory.in_flight.looking_up(&vcenter::vm_ref("vm-1"), &Key::new("team", "web-1"));
            },
            |s| is_missing(s, Missing::Unknown(vcenter::vm_ref("vm-1"))),
        ),
        (
            "does not exist",
            |w| {
                w.record();
                w.answer(None);
            },
            |s| is_missing(s, Missing::Gone),
        ),
        (
            "the answer has expired",
            |w| {
                w.record();
                w.answer(None);
                w.inventory.expire_look_up(&vcenter::vm_ref("vm-1"));
            },
            |s| is_missing(s, Missing::Unknown(vcenter::vm_ref("vm-1"))),
        ),
        (
            "moved out of the operator's folder",
            |w| {
                w.record();
                w.answer(Some(fixtures::machine("vm-1", &w.instance)));
            },
            elsewhere,
        ),
        (
            "moved, and back, which the inventory does not show yet",
            |w| {
                w.record();
                let back = fixtures::machine("vm-1", &w.instance);
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), Some(back));
            },
            |s| is_missing(s, Missing::LookingUp),
        ),
        (
            "moved, and its marker removed",
            |w| {
                w.record();
                w.answer(Some(without_markers(fixtures::machine("vm-1", &w.instance))));
            },
            elsewhere,
        ),
        (
            "moved, and its instanceUuid changed",
            |w| {
                w.record();
                w.answer(Some(Vm { instance_uuid: None, ..fixtures::machine("vm-1", &w.instance) }));
            },
            elsewhere,
        ),
        (
            "another machine has its reference",
            |w| {
                w.record();
                w.answer(Some(foreign(fixtures::machine("vm-1", &w.instance))));
            },
            |s| is_missing(s, Missing::Gone),
        ),
        (
            "moved, and cannot be read",
            |w| {
                w.record();
                w.answer(Some(Vm { markers: None, ..fixtures::machine("vm-1", &w.instance) }));
            },
            |s| is_missing(s, Missing::Unclear(vcenter::vm_ref("vm-1"))),
        ),
        (
            "the record is no reference",
            |w| w.instance.status.get_or_insert_default().vm_ref = Some("../vm-1".into()),
            |_| {},
        ),
        (
            "another machine is the instance's",
            |w| {
                w.record();
                w.show(|vm| Vm { moref: vcenter::vm_ref("vm-2"), ..vm });
            },
            |s| has(s, &[Machine { moref: vcenter::vm_ref("vm-2"), ..mine() }]),
        ),
    ]);
}

#[test]
fn whether_the_vcenter_has_confirmed_the_machine() {
    check(&[
        (
            "being read",
            |w| {
                w.show(|vm| vm);
                w.client.looking_up.push(vcenter::vm_ref("vm-1"));
            },
            |s| {
                has(s, &[mine()]);
                s.confirmed = Confirmed::Reading;
            },
        ),
        (
            "as the inventory shows it",
            |w| {
                w.show(|vm| vm);
                w.answer(Some(fixtures::machine("vm-1", &w.instance)));
            },
            |s| {
                has(s, &[mine()]);
                s.confirmed = Confirmed::Same;
            },
        ),
        (
            "with another marker than the inventory shows",
            |w| {
                w.show(|vm| vm);
                w.answer(Some(of_other_cluster(fixtures::machine("vm-1", &w.instance))));
            },
            |s| {
                has(s, &[mine()]);
                s.confirmed = Confirmed::Changed;
            },
        ),
        (
            "gone",
            |w| {
                w.show(|vm| vm);
                w.answer(None);
            },
            |s| {
                has(s, &[mine()]);
                s.confirmed = Confirmed::Changed;
            },
        ),
    ]);
}

/// The connected vCenter is `here`; the instance's status names a machine in another.
fn is_elsewhere(world: &mut World) {
    world.inventory.set_instance_uuid("here");
    world.record();
    world.instance.status.get_or_insert_default().vcenter = Some("there".into());
}

fn elsewhere(seen: &mut Seen) {
    let elsewhere = AnotherVcenter { recorded: "there".into(), connected: "here".into() };
    (seen.other_vcenter, seen.vcenter) = (Some(elsewhere), Some("here".into()));
    (seen.folder, seen.template) = (None, Template::Unknown);
    seen.vcenter_unrecorded = true;
}

#[test]
fn a_machine_of_another_vcenter_is_not_looked_for_in_this_one() {
    check(&[
        ("recorded in another", is_elsewhere, elsewhere),
        (
            "recorded of the group alone",
            |w| {
                w.inventory.set_instance_uuid("here");
                w.group_vcenter = Some("there".into());
            },
            elsewhere,
        ),
        (
            "the reference is that of a copy here",
            |w| {
                is_elsewhere(w);
                w.show(foreign);
            },
            elsewhere,
        ),
        (
            "the machine was brought here",
            |w| {
                is_elsewhere(w);
                w.show(|vm| vm);
            },
            |s| {
                has(s, &[mine()]);
                s.vcenter = Some("here".into());
                s.vcenter_unrecorded = true;
            },
        ),
        (
            "recorded in this one",
            |w| {
                is_elsewhere(w);
                w.instance.status.get_or_insert_default().vcenter = Some("here".into());
                w.answer(None);
            },
            |s| (s.missing, s.vcenter) = (Missing::Gone, Some("here".into())),
        ),
        (
            "recorded by an earlier operator",
            |w| {
                is_elsewhere(w);
                w.instance.status.get_or_insert_default().vcenter = None;
                w.answer(None);
            },
            |s| {
                (s.missing, s.vcenter) = (Missing::Gone, Some("here".into()));
                s.vcenter_unrecorded = true;
            },
        ),
        (
            "recorded by the group alone, and the reference is that of a copy here",
            |w| {
                is_elsewhere(w);
                w.instance.status.get_or_insert_default().vcenter = None;
                w.group_vcenter = Some("there".into());
                w.show(foreign);
            },
            elsewhere,
        ),
        (
            "new, and the group is recorded here",
            |w| {
                w.inventory.set_instance_uuid("here");
                w.group_vcenter = Some("here".into());
            },
            |s| s.vcenter = Some("here".into()),
        ),
    ]);
}

#[test]
fn a_machine_that_became_a_template_is_seen_as_one() {
    check(&[(
        "a template",
        |w| w.show(|vm| Vm { template: true, ..vm }),
        |s| has(s, &[Machine { template: true, ..mine() }]),
    )]);
}
