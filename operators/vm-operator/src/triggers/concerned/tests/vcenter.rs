//! Changes of the vCenter.

use infra_clients::vsphere::vms::{Change, Task, TaskState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::*;
use crate::fixtures::{FOLDER, machine};
use crate::in_flight::{Doubt, FolderRequest};

/// A row: the situation, what leads to the change, and what it concerns.
type Row = (&'static str, fn(&mut World) -> Change, Concerned);

fn check(rows: Vec<Row>) {
    for (situation, arrange, wanted) in rows {
        let mut world = World::new();
        let change = arrange(&mut world);
        assert_eq!(by_vcenter(&change, &world.memory, &world.inventory, &world), wanted, "{situation}");
    }
}

fn vm(before: Option<Vm>, after: Option<Vm>) -> Change {
    Change::Vm { before: before.map(Arc::new), after: after.map(Arc::new) }
}

/// The machine of slot 0.
fn first() -> Vm {
    machine("vm-1", &fixtures::instance(0))
}

/// A machine without a marker in this folder.
fn unmarked(name: &str, folder: &str) -> Vm {
    Vm { name: name.into(), parent: Some(shown::folder_ref(folder)), ..shown::vm("vm-9") }
}

fn marked(marker: &str) -> Vm {
    Vm { markers: shown::markers(&[(OWNER_MARKER, marker)]), ..unmarked("any", FOLDER) }
}

#[test]
fn machines() {
    let own = || concerned(&["web-0"], &["web"]);
    check(vec![
        ("a machine appears", |_| vm(None, Some(first())), own()),
        ("it changes", |_| vm(Some(first()), Some(Vm { power: None, ..first() })), own()),
        ("it is gone", |_| vm(Some(first()), None), own()),
        (
            "it takes the name of another's",
            |_| vm(Some(first()), Some(Vm { name: "web-1".into(), ..first() })),
            concerned(&["web-0", "web-1"], &["web"]),
        ),
        (
            "it frees the name of another's",
            |_| vm(Some(Vm { name: "web-1".into(), ..first() }), Some(first())),
            concerned(&["web-0", "web-1"], &["web"]),
        ),
        (
            "it loses its marker",
            |_| vm(Some(first()), Some(Vm { markers: shown::markers(&[]), ..first() })),
            own(),
        ),
        (
            "one with another group's marker has its instanceUuid",
            |w| {
                let copy = machine("vm-2", &w.instances[2]);
                vm(None, Some(Vm { instance_uuid: Some("uuid-1".into()), name: "copy".into(), ..copy }))
            },
            concerned(&["db-0", "web-1"], &["db", "web"]),
        ),
        (
            "one of an instance that does not exist",
            |_| vm(None, Some(machine("vm-7", &fixtures::instance(7)))),
            concerned(&["web-7"], &["web"]),
        ),
        (
            "one with a marker that does not parse",
            |_| vm(None, Some(marked("nonsense"))),
            concerned(&[], &["web"]),
        ),
        (
            "one of another group, which is moved out of the group's folder",
            |w| {
                let moved = |folder| Vm {
                    parent: Some(shown::folder_ref(folder)),
                    ..machine("vm-2", &w.instances[2])
                };
                vm(Some(moved(FOLDER)), Some(moved("group-9")))
            },
            concerned(&["db-0"], &["db", "web"]),
        ),
        (
            "one without a marker, in the group's folder",
            |_| vm(None, Some(unmarked("any", FOLDER))),
            concerned(&[], &["web"]),
        ),
        (
            "one without a marker, in a folder of the original operator",
            |_| vm(None, Some(unmarked("any", "group-2"))),
            concerned(&[], &["db"]),
        ),
        (
            "one without a marker, which is moved from one to the other",
            |_| vm(Some(unmarked("any", FOLDER)), Some(unmarked("any", "group-2"))),
            concerned(&[], &["db", "web"]),
        ),
        (
            "one without a marker, in a folder that is not shown",
            |_| vm(None, Some(unmarked("any", "group-9"))),
            concerned(&[], &[]),
        ),
        (
            "one without a marker, of which the folder is not reported yet, with an instance's name",
            |_| vm(None, Some(Vm { parent: None, ..unmarked("web-1", FOLDER) })),
            concerned(&["web-1"], &[]),
        ),
        (
            "one of which the configuration cannot be read, with an instance's instanceUuid",
            |_| {
                let unread = Vm { markers: None, ..unmarked("any", FOLDER) };
                vm(None, Some(Vm { instance_uuid: Some("uuid-of-db-0".into()), ..unread }))
            },
            concerned(&["db-0"], &["web"]),
        ),
    ]);
}

fn folder(before: Option<Folder>, after: Option<Folder>) -> Change {
    Change::Folder { before: before.map(Arc::new), after: after.map(Arc::new) }
}

fn own_folder() -> Folder {
    shown::folder(FOLDER, &names::folder(NAMESPACE, fixtures::NAME))
}

#[test]
fn folders() {
    let all = || concerned(&["web-0", "web-1"], &["web"]);
    check(vec![
        ("the group's folder appears", |_| folder(None, Some(own_folder())), all()),
        ("it is gone", |_| folder(Some(own_folder()), None), all()),
        (
            "another machine is in it",
            |_| folder(Some(own_folder()), Some(Folder { children: 1, ..own_folder() })),
            concerned(&[], &[]),
        ),
        (
            "it is moved",
            |_| {
                let parent = Some(shown::folder_ref("group-8"));
                folder(Some(own_folder()), Some(Folder { parent, ..own_folder() }))
            },
            all(),
        ),
        (
            "it is renamed",
            |_| folder(Some(own_folder()), Some(Folder { name: "old".into(), ..own_folder() })),
            all(),
        ),
        (
            "another takes its name",
            |_| folder(Some(Folder { name: "new".into(), ..own_folder() }), Some(own_folder())),
            all(),
        ),
        (
            "a folder of the original operator",
            |_| folder(None, Some(shown::folder("group-2", &names::original_folder(NAMESPACE, "db")))),
            concerned(&["db-0"], &["db"]),
        ),
        ("another's folder", |_| folder(None, Some(shown::folder("group-8", "theirs"))), concerned(&[], &[])),
    ]);
}

/// The last request of slot 0 was answered with `task-1`.
fn submitted(world: &World) {
    let task = TaskStatus {
        r#ref: "task-1".into(),
        kind: TaskKind::Clone,
        submitted_at: Time(Timestamp::UNIX_EPOCH),
    };
    track(world, 0, Some(task));
}

/// This process knows the instance of the slot.
fn track(world: &World, slot: usize, task: Option<TaskStatus>) {
    let instance = &world.instances[slot];
    let uid = instance.uid().unwrap();
    world.memory.in_flight.track(&uid, &Key::of(instance), &instance.spec.instance_uuid, task);
}

fn watch(world: &World, slot: usize) {
    track(world, slot, None);
    let doubt = Doubt::Watching([shown::task_ref("task-1")].into());
    world.memory.in_flight.set_doubt(&world.instances[slot].uid().unwrap(), doubt);
}

/// The inventory shows `task-1` in this state, and reports that.
fn reported(world: &mut World, state: TaskState) -> Change {
    let task = shown::task("task-1", state);
    world.inventory.show_task(task.clone());
    Change::Task(Arc::new(task))
}

#[test]
fn tasks() {
    check(vec![
        (
            "an instance's task runs",
            |w| {
                submitted(w);
                reported(w, TaskState::Running)
            },
            concerned(&[], &[]),
        ),
        (
            "it has succeeded",
            |w| {
                submitted(w);
                reported(w, TaskState::Success)
            },
            concerned(&["web-0"], &[]),
        ),
        (
            "it has failed",
            |w| {
                submitted(w);
                reported(w, TaskState::Error)
            },
            concerned(&["web-0"], &[]),
        ),
        (
            "the vCenter has dropped it without saying how it ended",
            |w| {
                submitted(w);
                Change::Task(Arc::new(shown::task("task-1", TaskState::Running)))
            },
            concerned(&["web-0"], &[]),
        ),
        (
            "a clone ends that may be that of several",
            |w| {
                watch(w, 0);
                watch(w, 2);
                reported(w, TaskState::Success)
            },
            concerned(&["db-0", "web-0"], &[]),
        ),
        (
            "the task that removes a folder ends",
            |w| {
                let task = FolderRequest::Task(shown::task_ref("task-1"));
                w.memory.in_flight.set_folder_request(GROUP_UID, &Key::of(&w.groups[0]), Some(task));
                reported(w, TaskState::Success)
            },
            concerned(&[], &["web"]),
        ),
        ("a task ends that nothing waits for", |w| reported(w, TaskState::Success), concerned(&[], &[])),
        (
            "another task ends",
            |w| {
                submitted(w);
                Change::Task(Arc::new(Task {
                    moref: shown::task_ref("task-2"),
                    ..shown::task("task-2", TaskState::Success)
                }))
            },
            concerned(&[], &[]),
        ),
    ]);
}

/// Slot 0 waits for the refresh 1, and the group for the refresh 2.
fn refreshing(world: &World) {
    track(world, 0, None);
    world.memory.in_flight.refreshing("uid-0", shown::ticket(1));
    world.memory.in_flight.group_refreshing(GROUP_UID, &Key::of(&world.groups[0]), shown::ticket(2));
}

#[test]
fn answers() {
    check(vec![
        (
            "the first refresh is served",
            |w| {
                refreshing(w);
                Change::Refreshed(shown::ticket(1))
            },
            concerned(&["web-0"], &[]),
        ),
        (
            "both are served",
            |w| {
                refreshing(w);
                Change::Refreshed(shown::ticket(2))
            },
            concerned(&["web-0"], &["web"]),
        ),
        (
            "they were served before",
            |w| {
                refreshing(w);
                w.memory.in_flight.refreshed(shown::ticket(2));
                Change::Refreshed(shown::ticket(2))
            },
            concerned(&[], &[]),
        ),
        (
            "a machine is looked up",
            |w| {
                w.memory.in_flight.looking_up(&shown::vm_ref("vm-1"), &Key::new(NAMESPACE, "web-1"));
                Change::LookedUp(shown::vm_ref("vm-1"))
            },
            concerned(&["web-1"], &[]),
        ),
        (
            "another machine is looked up",
            |w| {
                w.memory.in_flight.looking_up(&shown::vm_ref("vm-1"), &Key::new(NAMESPACE, "web-1"));
                Change::LookedUp(shown::vm_ref("vm-2"))
            },
            concerned(&[], &[]),
        ),
        (
            "templates are known",
            |w| {
                w.memory.in_flight.looking_for_template(&Key::new(NAMESPACE, "web-0"));
                w.memory.in_flight.looking_for_template(&Key::new(NAMESPACE, "db-0"));
                Change::Templates
            },
            concerned(&["db-0", "web-0"], &[]),
        ),
        ("the inventory is complete", |_| Change::Synced, Concerned { all: true, ..Concerned::default() }),
        ("the vCenter is out of sight", |_| Change::Lost, concerned(&[], &[])),
    ]);
}
