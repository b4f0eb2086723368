//! How far a request is, and which clones may be the instance's.

use super::*;

fn task(kind: TaskKind) -> TaskStatus {
    TaskStatus { r#ref: "task-1".into(), kind, submitted_at: Time(Timestamp::UNIX_EPOCH) }
}

/// The instance's request was answered with `task-1`.
fn submitted(world: &World, kind: TaskKind) {
    world.memory.in_flight.submitted(&world.uid(), task(kind));
}

fn show_task(world: &mut World, state: TaskState, error: Option<Fault>) {
    world.inventory.show_task(Task { error, ..vcenter::task("task-1", state) });
}

fn fault() -> Fault {
    vcenter::fault("NoPermission")
}

fn is(seen: &mut Seen, kind: TaskKind, progress: Progress) {
    seen.task = (kind == TaskKind::Clone && !matches!(progress, Progress::Sending)).then(|| task(kind));
    seen.request = Some((kind, progress));
}

#[test]
fn how_far_a_request_is() {
    check(&[
        (
            "not answered",
            |w| w.memory.in_flight.sending(&w.uid(), TaskKind::Clone),
            |s| is(s, TaskKind::Clone, Progress::Sending),
        ),
        (
            "refused",
            |w| w.memory.in_flight.failed(&w.uid(), TaskKind::PowerOn, fault(), false),
            |s| is(s, TaskKind::PowerOn, Progress::Failed(fault())),
        ),
        (
            "not answered in time",
            |w| {
                w.memory.in_flight.failed(
                    &w.uid(),
                    TaskKind::PowerOn,
                    Fault::new(Kind::Timeout, "late"),
                    true,
                );
            },
            |s| {
                is(s, TaskKind::PowerOn, Progress::Failed(Fault::new(Kind::Timeout, "late")));
                s.doubt = InDoubt::ResponseLost;
            },
        ),
        (
            "answered with a task that the inventory has from this process",
            |w| {
                submitted(w, TaskKind::Clone);
                w.inventory.submit(&vcenter::task_ref("task-1"));
            },
            |s| is(s, TaskKind::Clone, Progress::Running),
        ),
        (
            "the task is running",
            |w| {
                submitted(w, TaskKind::Destroy);
                show_task(w, TaskState::Running, None);
            },
            |s| is(s, TaskKind::Destroy, Progress::Running),
        ),
        (
            "the task has succeeded",
            |w| {
                submitted(w, TaskKind::Clone);
                show_task(w, TaskState::Success, None);
            },
            |s| is(s, TaskKind::Clone, Progress::Succeeded),
        ),
        (
            "the task has succeeded, and what it made is not in sight",
            |w| {
                submitted(w, TaskKind::Clone);
                let result = Some(vcenter::vm_ref("vm-7"));
                w.inventory.show_task(Task { result, ..vcenter::task("task-1", TaskState::Success) });
            },
            |s| {
                is(s, TaskKind::Clone, Progress::Succeeded);
                s.missing = Missing::Unknown(vcenter::vm_ref("vm-7"));
            },
        ),
        (
            "the task has failed",
            |w| {
                submitted(w, TaskKind::Clone);
                show_task(w, TaskState::Error, Some(fault()));
            },
            |s| {
                is(s, TaskKind::Clone, Progress::Failed(fault()));
                // It has made nothing: the next one may be of another spec.
                s.task = None;
            },
        ),
        (
            "the vCenter does not know the task",
            |w| submitted(w, TaskKind::PowerOff),
            |s| is(s, TaskKind::PowerOff, Progress::Forgotten),
        ),
        (
            "the outcome was dealt with",
            |w| {
                submitted(w, TaskKind::Clone);
                show_task(w, TaskState::Success, None);
                w.memory.in_flight.settle(&w.uid());
            },
            |_| {},
        ),
        (
            "the machine was seen, is in no status, and not in sight any more",
            |w| w.memory.in_flight.settle_with(&w.uid(), Some(vcenter::vm_ref("vm-7"))),
            |s| {
                s.remembers = true;
                s.missing = Missing::Unknown(vcenter::vm_ref("vm-7"));
            },
        ),
        (
            "another one was requested since",
            |w| {
                w.memory.in_flight.found(&w.uid(), vcenter::vm_ref("vm-7"));
                w.memory.in_flight.sending(&w.uid(), TaskKind::Clone);
                submitted(w, TaskKind::Clone);
                show_task(w, TaskState::Running, None);
            },
            |s| is(s, TaskKind::Clone, Progress::Running),
        ),
        (
            "a task of before the restart, which runs",
            |w| {
                show_task(w, TaskState::Running, None);
                w.restart(Some(task(TaskKind::Clone)));
            },
            |s| {
                is(s, TaskKind::Clone, Progress::Running);
                s.doubt = InDoubt::Unexamined(HashSet::new());
            },
        ),
        (
            "a refresh was requested",
            |w| w.memory.in_flight.refreshing(&w.uid(), vcenter::ticket(1)),
            |s| s.refresh = Refresh::Requested,
        ),
        (
            "a refresh was served",
            |w| {
                w.memory.in_flight.refreshing(&w.uid(), vcenter::ticket(1));
                w.inventory.serve(vcenter::ticket(1));
            },
            |s| s.refresh = Refresh::Served,
        ),
    ]);
}

/// Shows a running clone of the instance's template, by the operator's user, of a minute ago; changed.
fn show_clone(world: &mut World, change: fn(Task) -> Task) {
    let queued = SystemTime::UNIX_EPOCH + Duration::from_hours(NOW) - Duration::from_mins(1);
    world.inventory.show_task(change(Task {
        description_id: "VirtualMachine.clone".into(),
        entity: Some(vcenter::vm_ref("vm-template")),
        user: Some(USER.into()),
        queued_at: Some(queued),
        ..vcenter::task("task-9", TaskState::Running)
    }));
}

/// The clone may be the instance's.
fn suspected(world: &mut World, change: fn(Task) -> Task) {
    world.restart(None);
    show_clone(world, change);
}

fn suspects(seen: &mut Seen, tasks: &[&str]) {
    seen.doubt = InDoubt::Unexamined(tasks.iter().map(|task| vcenter::task_ref(task)).collect());
}

/// A machine outside of the operator's folder.
fn elsewhere(machine: Vm) -> Vm {
    Vm { parent: Some(MoRef::new("Folder", "group-9")), ..machine }
}

/// A clone that has made a machine.
fn made(task: Task) -> Task {
    Task { state: TaskState::Success, result: Some(vcenter::vm_ref("vm-7")), ..task }
}

#[test]
fn clones_after_a_restart_that_may_be_the_instances() {
    let one = |s: &mut Seen| suspects(s, &["task-9"]);
    let none = |s: &mut Seen| suspects(s, &[]);
    check(&[
        ("a clone of the template runs", |w| suspected(w, |task| task), one),
        ("it is queued", |w| suspected(w, |task| Task { state: TaskState::Queued, ..task }), one),
        ("it has ended", |w| suspected(w, |task| Task { state: TaskState::Success, ..task }), none),
        (
            "it has ended, and what it made is not in sight",
            |w| suspected(w, made),
            |s| {
                suspects(s, &[]);
                s.missing = Missing::Unknown(vcenter::vm_ref("vm-7"));
            },
        ),
        (
            "the same, of another user",
            |w| suspected(w, |task| Task { user: Some("admin".into()), ..made(task) }),
            none,
        ),
        (
            "what it made is the instance's",
            |w| {
                suspected(w, made);
                let machine = fixtures::machine("vm-7", &w.instance);
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-7"), Some(elsewhere(machine)));
            },
            |s| {
                suspects(s, &[]);
                s.missing = Missing::Elsewhere(vcenter::vm_ref("vm-7"));
            },
        ),
        (
            "what it made is a copy of the instance's machine",
            |w| {
                suspected(w, made);
                let machine = fixtures::machine("vm-7", &w.instance);
                let copy = Vm { instance_uuid: Some("another".into()), ..elsewhere(machine) };
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-7"), Some(copy));
            },
            none,
        ),
        (
            "what it made cannot be read",
            |w| {
                suspected(w, made);
                let unread = Vm { markers: None, ..elsewhere(fixtures::machine("vm-7", &w.instance)) };
                w.inventory.answer_look_up(&vcenter::vm_ref("vm-7"), Some(unread));
            },
            none,
        ),
        (
            "the clone of the instance is known: that of another is none of its business",
            |w| {
                w.restart(Some(task(TaskKind::Clone)));
                show_task(w, TaskState::Running, None);
                show_clone(w, made);
            },
            |s| {
                is(s, TaskKind::Clone, Progress::Running);
                suspects(s, &[]);
            },
        ),
        (
            "it is no clone",
            |w| suspected(w, |task| Task { description_id: "VirtualMachine.powerOn".into(), ..task }),
            none,
        ),
        (
            "of another template",
            |w| suspected(w, |task| Task { entity: Some(vcenter::vm_ref("vm-8")), ..task }),
            none,
        ),
        (
            "of a template that is not reported yet",
            |w| suspected(w, |task| Task { entity: None, ..task }),
            one,
        ),
        (
            "of any template, while the instance's is unknown",
            |w| {
                suspected(w, |task| Task { entity: Some(vcenter::vm_ref("vm-8")), ..task });
                w.client.template = Template::Unknown;
            },
            |s| {
                suspects(s, &["task-9"]);
                s.template = Template::Unknown;
            },
        ),
        ("of another user", |w| suspected(w, |task| Task { user: Some("admin".into()), ..task }), none),
        ("of a user that is not reported yet", |w| suspected(w, |task| Task { user: None, ..task }), one),
        (
            "of the user in other letters",
            |w| suspected(w, |task| Task { user: Some(r"vsphere.local\Operator".into()), ..task }),
            one,
        ),
        (
            "before the first login",
            |w| {
                suspected(w, |task| Task { user: Some("admin".into()), ..task });
                w.client.user = None;
            },
            one,
        ),
        (
            "queued more than an hour ago: it hangs",
            |w| {
                suspected(w, |task| Task {
                    queued_at: task.queued_at.map(|at| at - Duration::from_hours(1)),
                    ..task
                });
            },
            none,
        ),
        (
            "queued at a time that is not reported yet",
            |w| suspected(w, |task| Task { queued_at: None, ..task }),
            one,
        ),
        (
            "queued long before the instance was created",
            |w| {
                suspected(w, |task| task);
                let later = Timestamp::from_second(i64::try_from(NOW * 3600 + 10 * 60).unwrap()).unwrap();
                w.instance.metadata.creation_timestamp = Some(Time(later));
            },
            none,
        ),
        (
            "queued before the instance was created, within the difference of the clocks",
            |w| {
                suspected(w, |task| task);
                let later = Timestamp::from_second(i64::try_from(NOW * 3600 + 8 * 60).unwrap()).unwrap();
                w.instance.metadata.creation_timestamp = Some(Time(later));
            },
            one,
        ),
        (
            "of an instance that is gone",
            |w| {
                suspected(w, |task| task);
                let (key, task) = (Key::new("team", "web-1"), task(TaskKind::Clone));
                let task = TaskStatus { r#ref: "task-9".into(), ..task };
                w.memory.in_flight.track("uid-1", &key, "uuid-1", Some(task));
                w.memory.forget("uid-1");
            },
            none,
        ),
        (
            "recorded in the status of another instance",
            |w| {
                suspected(w, |task| task);
                w.recorded.push((vcenter::task_ref("task-9"), Key::new("team", "web-1")));
            },
            none,
        ),
        (
            "recorded in its own status, which the watch brought after this process tracked it",
            |w| {
                suspected(w, |task| task);
                w.recorded.push((vcenter::task_ref("task-9"), w.key()));
            },
            one,
        ),
        (
            "recorded in its own status and in that of another instance",
            |w| {
                suspected(w, |task| task);
                w.recorded =
                    [w.key(), Key::new("team", "web-1")].map(|key| (vcenter::task_ref("task-9"), key)).into();
            },
            none,
        ),
        (
            "submitted for another instance",
            |w| {
                suspected(w, |task| task);
                let task = TaskStatus { r#ref: "task-9".into(), ..task(TaskKind::Clone) };
                w.memory.in_flight.track("uid-1", &Key::new("team", "web-1"), "uuid-1", Some(task));
            },
            none,
        ),
    ]);
}

#[test]
fn clones_that_are_watched() {
    fn watch(world: &World) {
        world.memory.in_flight.set_doubt(&world.uid(), Doubt::Watching([vcenter::task_ref("task-9")].into()));
    }
    check(&[
        (
            "unfinished",
            |w| {
                watch(w);
                show_clone(w, |task| task);
            },
            |s| s.doubt = InDoubt::Watching(1),
        ),
        (
            "ended",
            |w| {
                watch(w);
                show_clone(w, |task| Task { state: TaskState::Success, ..task });
            },
            |s| s.doubt = InDoubt::Watching(0),
        ),
        (
            "ended, and what it made is not in sight",
            |w| {
                watch(w);
                show_clone(w, made);
            },
            |s| {
                s.doubt = InDoubt::Watching(0);
                s.missing = Missing::Unknown(vcenter::vm_ref("vm-7"));
            },
        ),
        ("unknown to the vCenter", |w| watch(w), |s| s.doubt = InDoubt::Watching(0)),
        (
            "it hangs",
            |w| {
                watch(w);
                show_clone(w, |task| Task { queued_at: Some(SystemTime::UNIX_EPOCH), ..task });
            },
            |s| s.doubt = InDoubt::Watching(0),
        ),
    ]);
}
