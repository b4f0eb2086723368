//! What `observe` sees of a group, by tables: each row changes a world with a folder and two instances without machines, and
//! what is seen of it.
#![expect(clippy::too_many_lines, reason = "a table is as long as its rows")]

mod leftovers;
mod machines;
mod originals;
mod orphans;
mod other_vcenter;

use std::time::SystemTime;

use infra_clients::vsphere::Error as Fault;
use infra_clients::vsphere::vms::{Connection, Task, TaskState, fixtures as vcenter};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use operator_kit::conditions::Status;
use operator_kit::error::{KUBERNETES_API, KUBERNETES_REFUSED};

use super::*;
use crate::api::{TaskKind, TaskStatus, VmGroupStatus, VmInstanceStatus};
use crate::fixtures::{self, CLUSTER, FOLDER, GROUP_UID};
use crate::in_flight::FolderChange;

/// A row: the situation, what leads to it, and what is seen then.
type Row = (&'static str, fn(&mut World), fn(&mut Seen));

/// Everything that a group is observed in.
struct World {
    group: VmGroup,
    instances: Vec<VmInstance>,
    memory: Memory,
    inventory: Inventory,
    blind: Option<Blind>,
    unread: Vec<Guarded<VmInstance>>,
    /// The folder names of another group.
    of_another: Vec<String>,
    looking_up: Vec<MoRef>,
}

impl World {
    /// A group whose status records its folder.
    fn new() -> Self {
        let recorded = VmGroupStatus { folder: Some(FOLDER.into()), ..VmGroupStatus::default() };
        Self {
            group: VmGroup { status: Some(recorded), ..fixtures::group(2) },
            // In no order: the instances come from an index.
            instances: vec![fixtures::instance(1), fixtures::instance(0)],
            memory: Memory::new(CLUSTER.to_owned(), 1),
            inventory: fixtures::inventory(),
            blind: None,
            unread: Vec::new(),
            of_another: Vec::new(),
            looking_up: Vec::new(),
        }
    }

    fn observe(&self) -> Seen {
        let instances: Vec<_> = self.instances.iter().cloned().map(Arc::new).collect();
        let around = Surroundings {
            memory: &self.memory,
            inventory: &self.inventory,
            blind: self.blind.clone(),
            instances: &instances,
            unread: &self.unread,
            is_member: &|vm, marker| fixtures::is_member(self.instances.iter(), vm, marker),
            is_of_another: &|folder| self.of_another.iter().any(|name| name == folder),
            is_looking_up: &|moref| self.looking_up.contains(moref),
            max_replicas: 100,
            user: None,
            now: SystemTime::UNIX_EPOCH,
        };
        observe(&around, &self.group)
    }

    /// Returns the instance of slot 0, to be changed.
    fn first(&mut self) -> &mut VmInstance {
        &mut self.instances[1]
    }

    /// Shows the machine of slot 0, changed.
    fn show(&mut self, change: fn(Vm) -> Vm) {
        self.inventory.show_vm(change(fixtures::machine("vm-1", &fixtures::instance(0))));
    }

    fn key(&self) -> Key {
        Key::of(&self.group)
    }

    fn folder_request(&self, request: FolderRequest) {
        self.memory.in_flight.set_folder_request(GROUP_UID, &self.key(), Some(request));
    }

    fn status(&mut self) -> &mut VmInstanceStatus {
        self.first().status.get_or_insert_default()
    }

    /// Has slot 0 report this reason as its Ready condition, of its present generation.
    fn report(&mut self, ready: Status, reason: &str) {
        let conditions = &mut self.status().conditions;
        conditions::set(conditions, condition::READY, ready, reason, "help", Some(1), Timestamp::UNIX_EPOCH);
    }
}

/// The member of a slot without a machine.
fn absent(slot: i32) -> Member {
    let instance = fixtures::instance(slot);
    let ready = Member::ready(Key::of(&instance), slot, instance.spec.revision());
    Member { exists: false, on: false, begun: false, made_from: None, ..ready }
}

/// What is seen of a new world.
fn nothing() -> Seen {
    let (moref, name) = (vcenter::folder_ref(FOLDER), "team.web".into());
    let folder = FolderSeen { moref, name, children: 0, own: true };
    Seen { folder: Some(folder), members: vec![absent(0), absent(1)], max_replicas: 100, ..Seen::default() }
}

fn check(rows: &[Row]) {
    for (situation, arrange, change) in rows {
        let (mut world, mut wanted) = (World::new(), nothing());
        arrange(&mut world);
        change(&mut wanted);
        // Faults cannot be compared.
        assert_eq!(format!("{:#?}", world.observe()), format!("{wanted:#?}"), "{situation}");
    }
}

/// Slot 0 has its machine, powered on.
fn has(seen: &mut Seen) {
    let first = &mut seen.members[0];
    (first.exists, first.on, first.begun) = (true, true, true);
    first.machine = Some(vcenter::vm_ref("vm-1"));
    first.made_from = Some(first.asked.clone());
}

/// Slot 0 had a machine that was moved out of the operator's folder.
fn moved(seen: &mut Seen) {
    let first = &mut seen.members[0];
    (first.exists, first.unseen, first.begun) = (true, Unseen::Moved, true);
    (first.machine, first.answer) = (Some(vcenter::vm_ref("vm-1")), Answer::Given { works: None });
}

/// Slot 0 had a machine of which the vCenter has not answered where it is.
fn unanswered(seen: &mut Seen) {
    let first = &mut seen.members[0];
    (first.machine, first.begun) = (Some(vcenter::vm_ref("vm-1")), true);
}

fn blind() -> Blind {
    Blind { reason: "VCenterUnreachable", message: "no answer".into(), reported: true, needs_help: false }
}

#[test]
fn more_members_than_replicas_are_a_surplus() {
    let group = fixtures::group(2);
    let with = |others: Vec<VmInstance>| {
        let both = [fixtures::instance(0), fixtures::instance(1)];
        has_surplus(&group, &both.into_iter().chain(others).map(Arc::new).collect::<Vec<_>>())
    };
    assert!(!with(vec![]) && with(vec![fixtures::instance(2)]));
    let mut copy = fixtures::instance(2);
    copy.metadata.name = Some("copy".into());
    assert!(!with(vec![fixtures::deleting(fixtures::instance(2)), copy]), "they are no members that stay");
}

#[test]
fn the_members() {
    check(&[
        (
            "being deleted",
            |w| *w.first() = fixtures::deleting(fixtures::instance(0)),
            |s| s.members[0].deleting = true,
        ),
        (
            "a copy made by hand",
            |w| w.first().metadata.name = Some("copy".into()),
            |s| {
                s.members.remove(0);
            },
        ),
        (
            "that does not parse",
            |w| {
                let value = serde_json::json!({"metadata": w.instances.remove(1).metadata, "spec": "none"});
                w.unread = vec![serde_json::from_value(value).unwrap()];
            },
            |s| {
                s.members.remove(0);
                let problem = "spec: invalid type: string \"none\", expected struct VmInstanceSpec".into();
                s.unread = vec![Unread { name: "web-0".into(), problem }];
            },
        ),
        ("without an owner reference", |w| w.first().metadata.owner_references = None, leftovers::stray),
        (
            "with a clone task in its status",
            |w| {
                w.status().task = Some(TaskStatus {
                    r#ref: "task-1".into(),
                    kind: TaskKind::Clone,
                    submitted_at: Time(Timestamp::UNIX_EPOCH),
                });
            },
            |s| (s.members[0].cloning, s.members[0].begun) = (true, true),
        ),
        (
            "with a request in flight",
            |w| {
                let key = Key::of(&fixtures::instance(0));
                w.memory.in_flight.track("uid-0", &key, "uuid-0", None);
                w.memory.in_flight.sending("uid-0", TaskKind::Clone);
            },
            |s| s.members[0].begun = true,
        ),
        (
            "with trouble",
            |w| w.report(Status::False, reason::NAME_CONFLICT),
            |s| s.members[0].trouble = Some((reason::NAME_CONFLICT.into(), "help".into())),
        ),
        (
            "with a finalizer that Kubernetes refuses",
            |w| w.report(Status::False, KUBERNETES_REFUSED),
            |s| s.members[0].trouble = Some((KUBERNETES_REFUSED.into(), "help".into())),
        ),
        ("with a request to Kubernetes that failed", |w| w.report(Status::False, KUBERNETES_API), |_| {}),
        (
            "with trouble that the vCenter reported",
            |w| w.report(Status::False, "NoResources"),
            |s| s.members[0].trouble = Some(("NoResources".into(), "help".into())),
        ),
        (
            "with trouble of an earlier spec",
            |w| {
                w.report(Status::False, reason::NAME_CONFLICT);
                w.first().metadata.generation = Some(2);
            },
            |_| {},
        ),
        (
            "that waits for clones of other groups",
            |w| w.report(Status::False, reason::QUEUE_HELD),
            |s| s.members[0].jam = Some("help".into()),
        ),
        ("that waits", |w| w.report(Status::False, reason::QUEUED), |_| {}),
        ("that is retried", |w| w.report(Status::False, "VCenterUnreachable"), |_| {}),
        ("that is ready", |w| w.report(Status::True, reason::AS_ASKED), |_| {}),
    ]);
}

#[test]
fn the_folder_and_its_requests() {
    fn removal(world: &mut World, state: TaskState, error: Option<Fault>) {
        world.folder_request(FolderRequest::Task(vcenter::task_ref("task-1")));
        world.inventory.show_task(Task { error, ..vcenter::task("task-1", state) });
    }
    check(&[
        ("no folder", |w| w.inventory.hide_folder(&vcenter::folder_ref(FOLDER)), |s| s.folder = None),
        (
            "with objects",
            |w| w.inventory.show_folder(Folder { children: 3, ..vcenter::folder(FOLDER, "team.web") }),
            |s| s.folder.as_mut().unwrap().children = 3,
        ),
        ("an administrator's", |w| w.group.status = None, |s| s.folder.as_mut().unwrap().own = false),
        (
            "an administrator's, instead of the group's",
            |w| {
                w.group.status.as_mut().unwrap().folder = Some("group-9".into());
                w.memory.in_flight.folder_created(GROUP_UID);
            },
            |s| s.folder.as_mut().unwrap().own = false,
        ),
        (
            "created by this process",
            |w| {
                w.group.status = None;
                w.folder_request(FolderRequest::Sending(FolderChange::Create));
                w.memory.in_flight.folder_created(GROUP_UID);
                w.memory.in_flight.set_folder_request(GROUP_UID, &w.key(), None);
            },
            |_| {},
        ),
        (
            "with a machine of the group",
            |w| {
                w.group.status = None;
                w.show(|vm| vm);
            },
            has,
        ),
        (
            "being created",
            |w| w.folder_request(FolderRequest::Sending(FolderChange::Create)),
            |s| s.request = Some(FolderProgress::Running(FolderChange::Create)),
        ),
        (
            "its creation was refused",
            |w| w.folder_request(FolderRequest::Failed(FolderChange::Create, vcenter::fault("NoPermission"))),
            |s| {
                s.request =
                    Some(FolderProgress::Failed(FolderChange::Create, vcenter::fault("NoPermission")));
            },
        ),
        (
            "being removed",
            |w| removal(w, TaskState::Running, None),
            |s| s.request = Some(FolderProgress::Running(FolderChange::Remove)),
        ),
        ("removed", |w| removal(w, TaskState::Success, None), |s| s.request = Some(FolderProgress::Ended)),
        (
            "its removal has failed",
            |w| removal(w, TaskState::Error, Some(vcenter::fault("NoPermission"))),
            |s| {
                s.request =
                    Some(FolderProgress::Failed(FolderChange::Remove, vcenter::fault("NoPermission")));
            },
        ),
        (
            "the vCenter does not know the task of its removal",
            |w| w.folder_request(FolderRequest::Task(vcenter::task_ref("task-1"))),
            |s| s.request = Some(FolderProgress::Ended),
        ),
        (
            "a request, while the inventory is blind",
            |w| {
                w.folder_request(FolderRequest::Sending(FolderChange::Create));
                w.blind = Some(blind());
            },
            |s| {
                (s.blind, s.folder) = (Some(blind()), None);
                s.request = Some(FolderProgress::Running(FolderChange::Create));
            },
        ),
        (
            "a refresh was requested",
            |w| w.memory.in_flight.group_refreshing(GROUP_UID, &w.key(), vcenter::ticket(1)),
            |s| s.refresh = Refresh::Requested,
        ),
        (
            "a refresh was served",
            |w| {
                w.memory.in_flight.group_refreshing(GROUP_UID, &w.key(), vcenter::ticket(1));
                w.inventory.serve(vcenter::ticket(1));
            },
            |s| s.refresh = Refresh::Served,
        ),
        (
            "the machines were adopted",
            |w| w.memory.in_flight.finished_adoption(GROUP_UID),
            |s| s.adopted = true,
        ),
    ]);
}
