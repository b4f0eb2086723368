//! What `observe` sees of an instance, by tables: each row changes a world without a machine, and what is seen of it.
#![expect(clippy::too_many_lines, reason = "a table is as long as its rows")]

mod machines;
mod requests;

use std::sync::Arc;

use infra_clients::vsphere::vms::{Connection, Vm, fixtures as vcenter};
use infra_clients::vsphere::{Error as Fault, Kind, PowerState};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::super::seen::{AnotherVcenter, Lost, Machine};
use super::*;
use crate::api::{OWNER_MARKER, VmInstanceStatus};
use crate::detach::Detach;
use crate::fixtures::{self, CLUSTER, FOLDER, TEMPLATE};

/// Hours from the epoch to the present of every row. The instance was created an hour before it.
const NOW: u64 = 10;
const USER: &str = r"VSPHERE.LOCAL\operator";

/// A row: the situation, what leads to it, and what is seen then.
type Row = (&'static str, fn(&mut World), fn(&mut Seen));

/// Everything that an instance is observed in.
struct World {
    instance: VmInstance,
    memory: Memory,
    inventory: Inventory,
    blind: Option<Blind>,
    group: Option<GroupView>,
    invalid_group: bool,
    group_vcenter: Option<String>,
    /// Tasks, and the instances whose durable status names them.
    recorded: Vec<(MoRef, Key)>,
    /// Other instances.
    others: Vec<VmInstance>,
    client: Client,
}

/// What the vCenter's client answers.
struct Client {
    user: Option<Arc<str>>,
    template: Template,
    looking_up: Vec<MoRef>,
}

impl Vcenter for Client {
    fn forget_answers(&self, _: &MoRef) {}

    fn user(&self) -> Option<Arc<str>> {
        self.user.clone()
    }
    fn template(&self, name: &str) -> Template {
        assert_eq!(name, TEMPLATE);
        self.template.clone()
    }
    fn is_looking_up(&self, vm: &MoRef) -> bool {
        self.looking_up.contains(vm)
    }
    fn request_refresh(&self) -> infra_clients::vsphere::vms::Ticket {
        unreachable!("observe requests nothing")
    }
    fn look_up(&self, _: &MoRef) {
        unreachable!("observe requests nothing")
    }
    fn confirm(&self, _: &MoRef) {
        unreachable!("observe requests nothing")
    }
    fn request_template(&self, _: &str) {
        unreachable!("observe requests nothing")
    }
    fn follow(&self, _: &MoRef) {
        unreachable!("observe requests nothing")
    }
}

impl World {
    /// An instance that this process has created and tracks, without a machine.
    fn new() -> Self {
        let mut instance = fixtures::instance(0);
        let created = Timestamp::from_second(i64::try_from((NOW - 1) * 3600).unwrap()).unwrap();
        instance.metadata.creation_timestamp = Some(Time(created));
        let memory = Memory::new(CLUSTER.to_owned(), 1);
        let (key, uuid) = (Key::of(&instance), instance.spec.instance_uuid.clone());
        memory.in_flight.creating(&key, &uuid);
        memory.in_flight.track(&instance.uid().unwrap(), &key, &uuid, None);
        let template = Template::Known(vcenter::vm_ref("vm-template"));
        Self {
            instance,
            memory,
            inventory: fixtures::inventory(),
            blind: None,
            group: Some(GroupView::of(&fixtures::group(1))),
            invalid_group: false,
            group_vcenter: None,
            recorded: Vec::new(),
            others: Vec::new(),
            client: Client { user: Some(USER.into()), template, looking_up: Vec::new() },
        }
    }

    fn observe(&self) -> Seen {
        let around = Surroundings {
            memory: &self.memory,
            vcenter: &self.client,
            inventory: &self.inventory,
            blind: self.blind.clone(),
            group: self.group,
            has_surplus: &|| false,
            invalid_group: self.invalid_group,
            group_vcenter: self.group_vcenter.clone(),
            recorded_by: &|task| {
                let recorded = self.recorded.iter().filter(|(recorded, _)| recorded == task);
                recorded.map(|(_, key)| key.clone()).collect()
            },
            is_member: &|vm, marker| fixtures::is_member(self.others.iter(), vm, marker),
            now: SystemTime::UNIX_EPOCH + Duration::from_hours(NOW),
        };
        observe(&around, &self.instance)
    }

    fn uid(&self) -> String {
        self.instance.uid().unwrap()
    }

    fn key(&self) -> Key {
        Key::of(&self.instance)
    }

    /// Shows the instance's machine, changed.
    fn show(&mut self, change: fn(Vm) -> Vm) {
        self.inventory.show_vm(change(fixtures::machine("vm-1", &self.instance)));
    }

    /// Names `vm-1` in the durable status.
    fn record(&mut self) {
        self.instance.status.get_or_insert_default().vm_ref = Some("vm-1".into());
    }

    /// Answers the look-up of `vm-1`: it is where it is shown, else in a folder of others; or it is gone.
    fn answer(&mut self, read: Option<Vm>) {
        let moref = vcenter::vm_ref("vm-1");
        let is_shown = self.inventory.vm(&moref).is_some();
        let elsewhere = |vm| Vm { parent: Some(MoRef::new("Folder", "group-9")), ..vm };
        let read = if is_shown { read } else { read.map(elsewhere) };
        self.inventory.answer_look_up(&moref, read);
    }

    /// Takes the place of the world's memory with that of a process that has just started.
    fn restart(&mut self, task: Option<TaskStatus>) {
        self.memory = Memory::new(CLUSTER.to_owned(), 1);
        let uuid = &self.instance.spec.instance_uuid;
        self.memory.in_flight.track(&self.uid(), &self.key(), uuid, task);
    }
}

/// What is seen of a new world.
fn nothing() -> Seen {
    Seen {
        tracked: true,
        group: Some(GroupView { paused: false, detach: Detach::No, deleting: false, adopting: false }),
        folder: Some(vcenter::folder_ref(FOLDER)),
        template: Template::Known(vcenter::vm_ref("vm-template")),
        ..Seen::default()
    }
}

fn check(rows: &[Row]) {
    for (situation, arrange, change) in rows {
        let (mut world, mut wanted) = (World::new(), nothing());
        arrange(&mut world);
        change(&mut wanted);
        let mut seen = world.observe();
        seen.mine.sort_by_key(|machine| machine.moref.to_string());
        // Faults cannot be compared.
        assert_eq!(format!("{seen:#?}"), format!("{wanted:#?}"), "{situation}");
    }
}

fn blind() -> Blind {
    Blind { reason: "VCenterUnreachable", message: "no answer".into(), reported: true, needs_help: false }
}

/// What is seen where the vCenter is not looked at.
fn no_look(seen: &mut Seen) {
    (seen.folder, seen.template) = (None, Template::Unknown);
}

#[test]
fn the_surroundings_of_an_instance() {
    check(&[
        ("a new instance", |_| {}, |_| {}),
        (
            "the folder does not exist",
            |w| w.inventory.hide_folder(&vcenter::folder_ref(FOLDER)),
            |s| s.folder = None,
        ),
        ("no group", |w| w.group = None, |s| s.group = None),
        (
            "a group that does not parse",
            |w| (w.group, w.invalid_group) = (None, true),
            |s| (s.group, s.invalid_group) = (None, true),
        ),
        (
            "an instance that this process does not track, with a machine",
            |w| {
                w.memory.in_flight.forget(&w.uid());
                w.show(|vm| vm);
            },
            |s| {
                s.tracked = false;
                no_look(s);
            },
        ),
        (
            "a blind inventory, with a machine and a request",
            |w| {
                w.show(|vm| vm);
                w.memory.in_flight.sending(&w.uid(), TaskKind::PowerOn);
                w.blind = Some(blind());
            },
            |s| {
                s.blind = Some(blind());
                s.request = Some((TaskKind::PowerOn, Progress::Sending));
                no_look(s);
            },
        ),
        ("a machine that was released", |w| w.memory.in_flight.set_released(&w.uid()), |s| s.released = true),
        (
            "the first place in the clone queue",
            |w| w.memory.enqueue(&w.key(), fixtures::GROUP_UID),
            |s| s.place = crate::clone_queue::Place::Held,
        ),
        (
            "a later place in the clone queue",
            |w| {
                w.memory.enqueue(&Key::new("team", "web-1"), fixtures::GROUP_UID);
                w.memory.enqueue(&w.key(), fixtures::GROUP_UID);
            },
            |s| s.place = crate::clone_queue::Place::Waiting,
        ),
        (
            "a template that is being looked up",
            |w| {
                w.memory.in_flight.looking_for_template(&w.key());
                w.client.template = Template::LookingUp;
            },
            |s| (s.awaits_template, s.template) = (true, Template::LookingUp),
        ),
    ]);
}

#[test]
fn what_instances_see_of_a_group() {
    type Change = fn(&mut crate::api::VmGroup);
    let plain = GroupView { paused: false, detach: Detach::No, deleting: false, adopting: false };
    let annotate = |group: &mut crate::api::VmGroup, value: &str| {
        let annotations = group.metadata.annotations.get_or_insert_default();
        annotations.insert(crate::api::DETACH.into(), value.into());
    };
    let rows: [(&str, Change, GroupView); 8] = [
        ("nothing special", |_| {}, plain),
        ("paused", |g| g.spec.paused = Some(true), GroupView { paused: true, ..plain }),
        ("explicitly not paused", |g| g.spec.paused = Some(false), plain),
        ("deleted", |g| *g = fixtures::deleting(g.clone()), GroupView { deleting: true, ..plain }),
        (
            "deleted with --cascade=orphan",
            |g| {
                *g = fixtures::deleting(g.clone());
                g.finalizers_mut().push("orphan".into());
            },
            GroupView { deleting: true, detach: Detach::Yes, ..plain },
        ),
        ("the finalizer orphan, not deleted", |g| g.finalizers_mut().push("orphan".into()), plain),
        (
            "the finalizer of the original operator",
            |g| g.finalizers_mut().push(crate::api::ORIGINAL_FINALIZER.into()),
            GroupView { adopting: true, ..plain },
        ),
        ("no finalizer", |g| g.finalizers_mut().clear(), plain),
    ];
    for (situation, change, wanted) in rows {
        let mut group = fixtures::group(1);
        change(&mut group);
        assert_eq!(GroupView::of(&group), wanted, "{situation}");
    }
    for (value, detach) in
        [("true", Detach::Yes), ("false", Detach::Unclear), ("True", Detach::Unclear), ("", Detach::Unclear)]
    {
        let mut group = fixtures::group(1);
        annotate(&mut group, value);
        assert_eq!(GroupView::of(&group).detach, detach, "detach={value:?}");
    }
}
