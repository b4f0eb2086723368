//! The machines of the original operator that a group is to adopt.

use super::*;

const ORIGINAL: &str = "web-replica-abcdefgh";

/// Makes the group one of the original operator, without instances, and shows the folder of its machines.
fn original(world: &mut World) {
    world.group.finalizers_mut().push(ORIGINAL_FINALIZER.into());
    world.instances.clear();
    world.inventory.show_folder(vcenter::folder("group-2", "team-web"));
}

/// Shows a machine of the original operator, changed.
fn original_machine(world: &mut World, change: fn(Vm) -> Vm) {
    original(world);
    let machine = fixtures::machine("vm-1", &fixtures::instance(0));
    world.inventory.show_vm(change(Vm {
        name: ORIGINAL.into(),
        parent: Some(vcenter::folder_ref("group-2")),
        markers: vcenter::markers(&[]),
        ..machine
    }));
}

fn with_marker(vm: Vm, cluster: &str, instance_uuid: &str) -> Vm {
    let marker =
        Marker { instance_uuid: instance_uuid.into(), ..Marker::of(cluster, &fixtures::instance(7)) };
    Vm { markers: vcenter::markers(&[(OWNER_MARKER, &marker.to_string())]), ..vm }
}

/// What is seen of a group of the original operator with these machines.
fn originals(seen: &mut Seen, slots: &[Option<i32>]) {
    seen.members.clear();
    let (moref, name) = (vcenter::folder_ref("group-2"), "team-web".into());
    let folder = FolderSeen { moref, name, children: 0, own: true };
    seen.original_folder = Some(folder);
    let machine = |slot: &Option<i32>| OriginalMachine {
        name: ORIGINAL.into(),
        instance_uuid: "uuid-0".into(),
        slot: *slot,
    };
    seen.originals.known = slots.iter().map(machine).collect();
    seen.originals.clones = OriginalClones::Unexamined(HashSet::new());
}

/// It was stopped while it made machines, which come when its clones end.
#[test]
fn what_the_original_operator_may_have_been_making_is_waited_for() {
    let mut world = World::new();
    original(&mut world);
    let (uid, key) = (GROUP_UID, Key::of(&world.group));
    let task =
        |id: &str, state| Task { description_id: "VirtualMachine.clone".into(), ..vcenter::task(id, state) };
    world.inventory.show_task(task("task-1", TaskState::Running));
    world.inventory.show_task(task("task-2", TaskState::Success));
    world.inventory.show_task(vcenter::task("task-3", TaskState::Running));
    let clones = |world: &World| world.observe().originals.clones;
    let now = SystemTime::UNIX_EPOCH;
    // The clock of the vCenter is behind.
    let long_ago = now.checked_sub(2 * LONGEST_CLONE);
    let task = |id: &str, state| Task { queued_at: long_ago, ..task(id, state) };
    world.inventory.show_task(task("task-1", TaskState::Running));
    let found = HashSet::from([vcenter::task_ref("task-1")]);
    assert_eq!(clones(&world), OriginalClones::Unexamined(found.clone()));
    world.memory.in_flight.watch_originals(uid, found.clone(), now);
    // One that comes later is of others.
    world.inventory.show_task(task("task-4", TaskState::Running));
    assert_eq!(clones(&world), OriginalClones::Running(1));
    // One that hangs is not waited for without end.
    let began = now.checked_sub(LONGEST_CLONE).unwrap();
    world.memory.in_flight.watch_originals(uid, found.clone(), began);
    assert_eq!(clones(&world), OriginalClones::Ended(Refresh::None));
    world.memory.in_flight.watch_originals(uid, found, now);
    world.inventory.show_task(task("task-1", TaskState::Success));
    assert_eq!(clones(&world), OriginalClones::Ended(Refresh::None));
    world.memory.in_flight.refresh_originals(uid, &key, vcenter::ticket(1));
    assert_eq!(clones(&world), OriginalClones::Ended(Refresh::Requested));
    world.inventory.serve(vcenter::ticket(1));
    assert_eq!(clones(&world), OriginalClones::Ended(Refresh::Served));
}

#[test]
fn the_machines_of_the_original_operator() {
    check(&[
        ("no machine", original, |s| {
            originals(s, &[]);
            s.original_folder.as_mut().unwrap().own = false;
        }),
        (
            "no folder",
            |w| {
                original(w);
                w.inventory.hide_folder(&vcenter::folder_ref("group-2"));
            },
            |s| {
                s.members.clear();
                s.originals.no_folder = true;
                s.originals.clones = OriginalClones::Unexamined(HashSet::new());
            },
        ),
        ("one", |w| original_machine(w, |vm| vm), |s| originals(s, &[None])),
        (
            "a machine of another name",
            |w| original_machine(w, |vm| Vm { name: "web-0".into(), ..vm }),
            |s| {
                originals(s, &[]);
                s.original_folder.as_mut().unwrap().own = false;
            },
        ),
        (
            "one that cannot be read",
            |w| original_machine(w, |vm| Vm { markers: None, ..vm }),
            |s| {
                originals(s, &[]);
                s.originals.unread = Some(format!("{ORIGINAL} (vm-1)"));
            },
        ),
        (
            "one without an instanceUuid",
            |w| original_machine(w, |vm| Vm { instance_uuid: None, ..vm }),
            |s| {
                originals(s, &[]);
                s.originals.unread = Some(format!("{ORIGINAL} (vm-1)"));
            },
        ),
        (
            "one that an instance has adopted",
            |w| {
                original_machine(w, |vm| vm);
                let mut instance = fixtures::instance(0);
                instance.spec.vm_name = ORIGINAL.into();
                w.instances.push(instance);
            },
            |s| {
                originals(s, &[]);
                s.members.push(absent(0));
                has(s);
                s.members[0].made_from = None;
            },
        ),
        (
            "one that an instance had adopted, and that is gone",
            |w| {
                original(w);
                let mut instance = fixtures::instance(0);
                instance.spec.vm_name = ORIGINAL.into();
                w.instances.push(instance);
            },
            |s| {
                originals(s, &[]);
                s.members.push(absent(0));
            },
        ),
        (
            "one that was adopted before the cluster was restored",
            |w| original_machine(w, |vm| with_marker(vm, CLUSTER, "uuid-0")),
            |s| {
                originals(s, &[Some(7)]);
                s.orphans = vec![format!("{ORIGINAL} (vm-1)")];
            },
        ),
        (
            "one that was released, as the group has another instance",
            |w| {
                original_machine(w, |vm| with_marker(vm, CLUSTER, "uuid-0"));
                w.instances.push(fixtures::instance(1));
            },
            |s| {
                originals(s, &[]);
                s.members.push(absent(1));
                s.orphans = vec![format!("{ORIGINAL} (vm-1)")];
            },
        ),
        (
            "a copy of such a machine",
            |w| original_machine(w, |vm| with_marker(vm, CLUSTER, "uuid-of-another")),
            |s| {
                originals(s, &[]);
                s.orphans = vec![format!("{ORIGINAL} (vm-1)")];
            },
        ),
        (
            "one that another cluster has adopted",
            |w| original_machine(w, |vm| with_marker(vm, "other", "uuid-0")),
            |s| originals(s, &[]),
        ),
        (
            "the folder is that of another group",
            |w| {
                original_machine(w, |vm| vm);
                w.of_another.push("team-web".into());
            },
            |s| {
                originals(s, &[None]);
                s.original_folder = None;
            },
        ),
        (
            "the folder of a group that was adopted",
            |w| {
                original_machine(w, |vm| vm);
                w.group.finalizers_mut().pop();
                w.group.status.get_or_insert_default().adopted_folder = Some("team-web".into());
            },
            |s| {
                originals(s, &[]);
                s.originals.clones = OriginalClones::default();
            },
        ),
        (
            "the folder of the name, of a group that was never the original's",
            |w| {
                original_machine(w, |vm| vm);
                w.group.finalizers_mut().pop();
            },
            |s| s.members.clear(),
        ),
    ]);
}
