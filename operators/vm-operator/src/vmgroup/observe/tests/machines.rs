//! What is seen of the machines of a group's members.

use super::*;

#[test]
fn the_machines_of_the_members() {
    check(&[
        ("none", |_| {}, |_| {}),
        ("one", |w| w.show(|vm| vm), has),
        (
            "powered off",
            |w| w.show(|vm| Vm { power: Some(PowerState::Off), ..vm }),
            |s| {
                has(s);
                s.members[0].on = false;
            },
        ),
        (
            "on a host that does not answer",
            |w| w.show(|vm| Vm { connection: Some(Connection::Disconnected), ..vm }),
            |s| {
                has(s);
                s.members[0].on = false;
            },
        ),
        (
            "recorded, and not readable",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                w.show(|vm| Vm { markers: None, instance_uuid: None, ..vm });
            },
            |s| {
                unanswered(s);
                s.members[0].unseen = Unseen::Unread;
            },
        ),
        (
            "not recorded, and not readable",
            |w| w.show(|vm| Vm { markers: None, instance_uuid: None, ..vm }),
            |s| s.members[0].unseen = Unseen::Unread,
        ),
        (
            "not recorded, and not readable, as far as the last status says",
            |w| w.report(Status::Unknown, reason::MACHINE_UNCLEAR),
            |s| s.members[0].trouble = Some((reason::MACHINE_UNCLEAR.into(), "help".into())),
        ),
        (
            "not readable while it is being cloned",
            |w| {
                w.show(|vm| Vm { markers: None, instance_uuid: None, ..vm });
                w.status().task = Some(TaskStatus {
                    r#ref: "task-1".into(),
                    kind: TaskKind::Clone,
                    submitted_at: Time(Timestamp::UNIX_EPOCH),
                });
            },
            |s| (s.members[0].begun, s.members[0].cloning) = (true, true),
        ),
        (
            "as it was read by itself",
            |w| {
                w.show(|vm| vm);
                let read = fixtures::machine("vm-1", &fixtures::instance(0));
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), Some(read));
            },
            |s| {
                has(s);
                s.members[0].answer = Answer::Given { works: Some(true) };
            },
        ),
        (
            "off as it was read by itself",
            |w| {
                w.show(|vm| vm);
                let read = fixtures::machine("vm-1", &fixtures::instance(0));
                let off = Vm { power: Some(PowerState::Off), ..read };
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), Some(off));
            },
            |s| {
                has(s);
                s.members[0].answer = Answer::Given { works: Some(false) };
            },
        ),
        (
            "shown otherwise since it was read by itself",
            |w| {
                w.show(|vm| Vm { power: Some(PowerState::Off), ..vm });
                let read = fixtures::machine("vm-1", &fixtures::instance(0));
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), Some(read));
                w.show(|vm| vm);
            },
            |s| {
                has(s);
                s.members[0].answer = Answer::Given { works: None };
            },
        ),
        (
            "not as it was read by itself",
            |w| {
                w.show(|vm| vm);
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), None);
            },
            |s| {
                has(s);
                s.members[0].answer = Answer::Awaited;
            },
        ),
        (
            "made from an earlier spec",
            |w| {
                w.show(|vm| vm);
                w.first().spec.cpu = 4;
            },
            |s| {
                has(s);
                let spec = crate::api::VmInstanceSpec { cpu: 4, ..fixtures::instance(0).spec };
                s.members[0].asked = spec.revision();
            },
        ),
        ("recorded, and not in the inventory", |w| w.status().vm_ref = Some("vm-1".into()), unanswered),
        (
            "recorded, and not in the inventory, as in an outage",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                w.report(Status::Unknown, "VCenterUnreachable");
            },
            unanswered,
        ),
        (
            "asked for",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                w.memory.in_flight.looking_up(&vcenter::vm_ref("vm-1"), &Key::of(&fixtures::instance(0)));
                w.looking_up.push(vcenter::vm_ref("vm-1"));
            },
            |s| {
                unanswered(s);
                s.members[0].answer = Answer::Awaited;
            },
        ),
        (
            "asked for, and the answer was dropped",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                w.memory.in_flight.looking_up(&vcenter::vm_ref("vm-1"), &Key::of(&fixtures::instance(0)));
            },
            unanswered,
        ),
        (
            "recorded, and gone",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), None);
            },
            |s| {
                unanswered(s);
                s.members[0].answer = Answer::Given { works: None };
            },
        ),
        (
            "moved",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                let machine = fixtures::machine("vm-1", &fixtures::instance(0));
                let moved = Vm { parent: Some(vcenter::folder_ref("elsewhere")), ..machine };
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), Some(moved));
            },
            moved,
        ),
        (
            "in the folder again, which the inventory does not show yet",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                let machine = fixtures::machine("vm-1", &fixtures::instance(0));
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-1"), Some(machine));
            },
            |s| {
                moved(s);
                s.members[0].unseen = Unseen::Hidden;
            },
        ),
        (
            "moved, as far as the last status says",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                w.report(Status::False, reason::MACHINE_MOVED);
            },
            |s| {
                moved(s);
                s.members[0].answer = Answer::None;
                s.members[0].trouble = Some((reason::MACHINE_MOVED.into(), "help".into()));
            },
        ),
        (
            "hidden, as far as the last status says",
            |w| {
                w.status().vm_ref = Some("vm-1".into());
                w.report(Status::Unknown, reason::MACHINE_UNCLEAR);
            },
            |s| {
                unanswered(s);
                (s.members[0].exists, s.members[0].unseen) = (true, Unseen::Hidden);
                s.members[0].trouble = Some((reason::MACHINE_UNCLEAR.into(), "help".into()));
            },
        ),
        (
            "a blind inventory",
            |w| {
                w.show(|vm| vm);
                w.blind = Some(blind());
            },
            |s| (s.blind, s.folder) = (Some(blind()), None),
        ),
    ]);
}

/// Another machine has hung meanwhile.
#[test]
fn an_answer_that_is_older_than_another_one_is_outdated_while_machines_are_chosen() {
    let mut world = World::new();
    for (number, age) in [(0, 5), (1, 0)] {
        let (instance, id) = (fixtures::instance(number), format!("vm-{number}"));
        let machine = fixtures::machine(&id, &instance);
        world.inventory.show_vm(machine.clone());
        // Of the newest, nothing could be read.
        let read = if age == 0 { Vm { markers: None, ..machine } } else { machine };
        world.inventory.answer_earlier(&vcenter::vm_ref(&id), Some(read), Duration::from_secs(age));
    }
    let (key, generation) = (Key::of(&world.group), world.group.metadata.generation.unwrap_or_default());
    let answers =
        |world: &World| world.observe().members.into_iter().map(|member| member.answer).collect::<Vec<_>>();
    let given = || Answer::Given { works: Some(true) };
    assert_eq!(answers(&world), [given(), given()], "none is to be chosen");
    world.memory.in_flight.choosing(GROUP_UID, &key, generation, vcenter::ticket(1));
    for _ in 0..3 {
        assert_eq!(answers(&world), [Answer::Outdated, given()]);
        world.memory.in_flight.choosing_again(GROUP_UID);
    }
    assert_eq!(answers(&world), [given(), given()], "all answers are slow");
}
