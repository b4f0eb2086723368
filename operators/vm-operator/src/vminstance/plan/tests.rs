//! The instance's plan, by tables.

mod world;

mod untouched;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use std::collections::HashSet;

use super::*;
use crate::api::{VmGroup, VmGroupSpec, VmInstanceSpec};
use crate::memory::Jam;
use crate::requests::{Call, NewMachine};
use crate::visibility::Blind;
use crate::vminstance::seen::Lost;
use crate::vminstance::{GroupView, is_needed};

fn vm(id: &str) -> MoRef {
    MoRef::new("VirtualMachine", id)
}

fn machine(power: PowerState) -> Machine {
    Machine { moref: vm("vm-1"), power: Some(power), revision: None, marked: true, template: false }
}

fn instance(deleting: bool) -> VmInstance {
    let spec = VmInstanceSpec {
        group: "g".into(),
        group_uid: "u".into(),
        slot: 0,
        vm_name: "g-0".into(),
        instance_uuid: "i".into(),
        cpu: 1,
        memory: 1,
        template: "t".into(),
    };
    let mut instance = VmInstance::new("g-0", spec);
    instance.metadata.deletion_timestamp = deleting.then_some(Time(Timestamp::UNIX_EPOCH));
    instance.owner_references_mut().push(OwnerReference {
        api_version: "vm.codeconnect.vmworld.com/v1alpha1".into(),
        kind: "VmGroup".into(),
        name: "g".into(),
        uid: "u".into(),
        controller: Some(true),
        ..OwnerReference::default()
    });
    instance
}

fn seen() -> Seen {
    Seen {
        tracked: true,
        group: Some(GroupView { paused: false, detach: Detach::No, deleting: false, adopting: false }),
        folder: Some(MoRef::new("Folder", "group-1")),
        template: Template::Known(vm("vm-t")),
        confirmed: Confirmed::Same,
        awaits_template: true,
        ..Seen::default()
    }
}

fn fault(kind: Kind) -> Fault {
    Fault::new(kind, "as the test wants it")
}

/// A short name for what a turn is.
fn name(turn: &Turn<Action>) -> String {
    let text = match turn {
        Turn::Act(action) | Turn::LookAgain(action) => format!("{action:?}"),
        Turn::Wait { reason, .. } | Turn::Blocked { reason, .. } => (*reason).to_owned(),
        Turn::Settled => "Settled".to_owned(),
        Turn::Gone => "Gone".to_owned(),
    };
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

fn check(table: Vec<(&str, bool, Seen)>) {
    for (wanted, deleting, seen) in table {
        let turn = plan(&instance(deleting), &seen);
        assert_eq!(name(&turn), wanted, "deleting: {deleting}, {seen:?}");
        // The group reports what its instances need a person for.
        if let Turn::Blocked { reason, .. } = turn {
            assert!(reason::needs_help(reason), "{reason}");
        }
    }
}

#[test]
fn machines_are_cloned_powered_on_and_removed() {
    let (on, off) = (|| vec![machine(PowerState::On)], || vec![machine(PowerState::Off)]);
    let suspended = vec![machine(PowerState::Suspended)];
    let unclear = || vec![Machine { power: None, ..machine(PowerState::On) }];
    check(vec![
        ("Track", false, Seen { tracked: false, ..seen() }),
        ("Enqueue", false, seen()),
        ("Queued", false, Seen { place: Place::Waiting, ..seen() }),
        ("Clone", false, Seen { place: Place::Held, ..seen() }),
        ("NoGroup", false, Seen { group: None, ..seen() }),
        ("Gone", true, Seen { group: None, ..seen() }),
        ("Settled", false, Seen { group: None, mine: on(), ..seen() }),
        ("Recording", false, Seen { vcenter_unrecorded: true, ..seen() }),
        ("Gone", true, Seen { vcenter_unrecorded: true, ..seen() }),
        ("WaitingForFolder", false, Seen { folder: None, ..seen() }),
        ("FindTemplate", false, Seen { template: Template::Unknown, ..seen() }),
        ("WaitingForTemplate", false, Seen { template: Template::LookingUp, ..seen() }),
        // Another instance has requested it: this one has to be woken, too.
        ("FindTemplate", false, Seen { template: Template::LookingUp, awaits_template: false, ..seen() }),
        ("FailTemplate", false, Seen { template: Template::Failed(fault(Kind::NotFound)), ..seen() }),
        ("Scaling", false, Seen { has_surplus: true, ..seen() }),
        ("LookUp", false, Seen { has_surplus: true, missing: Missing::Unknown(vm("vm-1")), ..seen() }),
        ("PowerOn", false, Seen { mine: off(), ..seen() }),
        ("PowerOn", false, Seen { mine: suspended.clone(), ..seen() }),
        ("PowerOff", true, Seen { mine: on(), ..seen() }),
        ("PowerOff", true, Seen { mine: suspended, ..seen() }),
        ("Destroy", true, Seen { mine: off(), ..seen() }),
        ("Gone", true, seen()),
        ("MachineUnclear", false, Seen { mine: unclear(), ..seen() }),
        ("MachineUnclear", true, Seen { mine: unclear(), ..seen() }),
        ("Mark", false, Seen { mine: vec![Machine { marked: false, ..machine(PowerState::On) }], ..seen() }),
    ]);
}

/// What waits in the queue of requests is asked again before it is sent.
#[test]
fn a_clone_is_still_needed_while_its_instance_is_the_same() {
    let seen = || Seen { place: Place::Held, ..seen() };
    let asked = instance(false);
    let clone = |template: &str, folder: &str| {
        Call::Clone(Box::new(NewMachine {
            template: vm(template),
            folder: MoRef::new("Folder", folder),
            name: "g-0".into(),
            instance_uuid: "i".into(),
            cpus: 1,
            memory_gb: 1,
            marker: String::new(),
            revision: asked.spec.revision(),
        }))
    };
    let mut resized = asked.clone();
    resized.spec.cpu = 2;
    for (what, instance, call, wanted) in [
        ("the same", &asked, clone("vm-t", "group-1"), true),
        ("resized", &resized, clone("vm-t", "group-1"), false),
        ("another template", &asked, clone("vm-u", "group-1"), false),
        ("another folder", &asked, clone("vm-t", "group-2"), false),
        ("deleted", &self::instance(true), clone("vm-t", "group-1"), false),
        ("another call", &asked, Call::PowerOn(vm("vm-t")), false),
    ] {
        assert_eq!(is_needed(instance, seen(), &call), wanted, "{what}");
    }
}

/// Before such a request the API server is asked whether the instance still is as the cache shows it.
#[test]
fn actions_that_change_a_machine() {
    let clone = Action::Clone { template: vm("vm-t"), folder: MoRef::new("Folder", "group-1") };
    let changes = [Action::Mark, Action::PowerOn, Action::PowerOff, Action::Destroy].map(|of| of(vm("vm-1")));
    assert!(changes.iter().chain([&clone]).all(|action| action.requests().is_some()));
    let others =
        [Action::LookUp(vm("vm-1")), Action::Release(vm("vm-1")), Action::Enqueue, Action::Settle(None)];
    assert!(!others.iter().any(|action| action.requests().is_some()));
}

#[test]
fn an_unseen_vcenter_and_a_group_that_is_paused_detached_or_deleted() {
    let blind =
        Blind { reason: "VCenterUnreachable", message: String::new(), reported: true, needs_help: false };
    let blind = || Seen { blind: Some(blind.clone()), ..seen() };
    let paused = Some(GroupView { paused: true, detach: Detach::No, deleting: false, adopting: false });
    let deleting = Some(GroupView { paused: false, detach: Detach::No, deleting: true, adopting: false });
    let detached = Some(GroupView { paused: false, detach: Detach::Yes, deleting: false, adopting: false });
    check(vec![
        ("VCenterUnreachable", false, blind()),
        ("VCenterUnreachable", true, blind()),
        ("Paused", false, Seen { group: paused, ..seen() }),
        ("Paused", true, Seen { group: paused, mine: vec![machine(PowerState::On)], ..seen() }),
        ("Gone", true, Seen { group: detached, ..blind() }),
        // A vCenter that is lost keeps no object.
        (
            "Gone",
            true,
            Seen { group: detached, request: Some((TaskKind::Destroy, Progress::Running)), ..blind() },
        ),
        ("Gone", true, Seen { group: detached, mine: vec![machine(PowerState::On)], ..seen() }),
        ("Enqueue", false, Seen { group: detached, ..seen() }),
        ("PowerOff", false, Seen { group: deleting, mine: vec![machine(PowerState::On)], ..seen() }),
        ("Removing", false, Seen { group: deleting, ..seen() }),
        ("Gone", true, Seen { group: deleting, ..seen() }),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table is as long as its rows")]
fn requests_are_seen_through() {
    use Progress::{Failed, Forgotten, Running, Sending, Succeeded};
    let request = |kind, progress| Seen { request: Some((kind, progress)), place: Place::None, ..seen() };
    let on = || vec![machine(PowerState::On)];
    let off = || vec![machine(PowerState::Off)];
    let cloning = |progress| Seen { place: Place::Held, ..request(TaskKind::Clone, progress) };
    // What was made is not in sight.
    let made = || Seen { refresh: Refresh::Served, ..cloning(Succeeded) };
    check(vec![
        ("Cloning", false, cloning(Sending)),
        ("Cloning", true, cloning(Running)),
        ("Refresh", false, cloning(Succeeded)),
        ("Refreshing", false, Seen { refresh: Refresh::Requested, place: Place::None, ..cloning(Succeeded) }),
        ("Settle", false, Seen { refresh: Refresh::Served, ..cloning(Succeeded) }),
        ("Settle", false, Seen { mine: on(), ..cloning(Succeeded) }),
        ("LookUp", false, Seen { missing: Missing::Unknown(vm("vm-1")), ..made() }),
        ("Refreshing", false, Seen { missing: Missing::LookingUp, place: Place::None, ..made() }),
        ("Settle", false, Seen { missing: Missing::Gone, ..made() }),
        // Else a look-up for each turn in the clone queue would lose the turn.
        ("ForgetMachine", false, Seen { missing: Missing::Gone, remembers: true, ..seen() }),
        ("Enqueue", false, Seen { missing: Missing::Gone, place: Place::None, ..seen() }),
        (
            "MachineMoved",
            false,
            Seen { missing: Missing::Elsewhere(vm("vm-1")), place: Place::None, ..made() },
        ),
        ("Release", true, Seen { missing: Missing::Elsewhere(vm("vm-1")), ..made() }),
        // A clone whose response was lost.
        (
            "MachineMoved",
            false,
            Seen {
                doubt: InDoubt::Watching(0),
                missing: Missing::Elsewhere(vm("vm-1")),
                place: Place::None,
                request: None,
                ..made()
            },
        ),
        ("LeaveQueue", false, cloning(Failed(fault(Kind::NoResources)))),
        ("Fail", false, request(TaskKind::Clone, Failed(fault(Kind::NoResources)))),
        (
            "Fail",
            false,
            Seen { doubt: InDoubt::ResponseLost, ..request(TaskKind::Clone, Failed(fault(Kind::Timeout))) },
        ),
        ("Gone", true, request(TaskKind::Destroy, Succeeded)),
        (
            "Gone",
            true,
            Seen { missing: Missing::Unknown(vm("vm-1")), ..request(TaskKind::Destroy, Succeeded) },
        ),
        (
            "Settle",
            true,
            Seen { missing: Missing::Unknown(vm("vm-1")), ..request(TaskKind::Destroy, Forgotten) },
        ),
        ("Settle", true, Seen { unread: Some(vm("vm-1")), ..request(TaskKind::Destroy, Succeeded) }),
        (
            "Refresh",
            false,
            Seen { stranger: Some(vm("vm-9")), ..cloning(Failed(fault(Kind::DuplicateName))) },
        ),
        ("Refresh", false, Seen { mine: on(), ..cloning(Failed(fault(Kind::DuplicateName))) }),
        ("Fail", false, request(TaskKind::Clone, Failed(fault(Kind::DuplicateName)))),
        ("Refresh", false, Seen { mine: off(), ..request(TaskKind::PowerOn, Succeeded) }),
        ("Settle", false, Seen { mine: on(), ..request(TaskKind::PowerOn, Succeeded) }),
        ("Settle", false, request(TaskKind::PowerOn, Succeeded)),
        ("Refresh", true, Seen { mine: on(), ..request(TaskKind::PowerOff, Succeeded) }),
        ("Settle", true, Seen { mine: off(), ..request(TaskKind::PowerOff, Succeeded) }),
        ("Settle", true, request(TaskKind::PowerOff, Succeeded)),
        (
            "FailUnstable",
            false,
            Seen { mine: off(), refresh: Refresh::Served, ..request(TaskKind::PowerOn, Succeeded) },
        ),
        ("Refresh", true, request(TaskKind::Destroy, Failed(fault(Kind::NotFound)))),
        (
            "Settle",
            true,
            Seen { refresh: Refresh::Served, ..request(TaskKind::Destroy, Failed(fault(Kind::NotFound))) },
        ),
        (
            "Fail",
            false,
            Seen {
                mine: off(),
                refresh: Refresh::Served,
                ..request(TaskKind::PowerOn, Failed(fault(Kind::InvalidPowerState)))
            },
        ),
    ]);
}

#[test]
fn doubt_ends_only_with_a_fresh_look() {
    let one = || HashSet::from([MoRef::new("Task", "task-1")]);
    let doubt = |doubt| Seen { doubt, ..seen() };
    check(vec![
        ("Refresh", false, doubt(InDoubt::ResponseLost)),
        ("SetDoubt", false, Seen { refresh: Refresh::Served, ..doubt(InDoubt::ResponseLost) }),
        ("SetDoubt", false, doubt(InDoubt::Unexamined(one()))),
        // Clones of another template are not its own: the template is needed to tell.
        ("FindTemplate", false, Seen { template: Template::Unknown, ..doubt(InDoubt::Unexamined(one())) }),
        (
            "WaitingForTemplate",
            true,
            Seen { template: Template::LookingUp, ..doubt(InDoubt::Unexamined(one())) },
        ),
        ("WaitingForEarlierClone", false, doubt(InDoubt::Watching(1))),
        ("WaitingForEarlierClone", true, doubt(InDoubt::Watching(1))),
        ("Refresh", false, doubt(InDoubt::Watching(0))),
        ("Refresh", true, doubt(InDoubt::Watching(0))),
        ("SetDoubt", true, Seen { refresh: Refresh::Served, ..doubt(InDoubt::Watching(0)) }),
        ("Found", false, Seen { mine: vec![machine(PowerState::On)], ..doubt(InDoubt::Unexamined(one())) }),
    ]);
}

#[test]
fn a_place_in_the_clone_queue_is_held_while_cloning_and_left_otherwise() {
    let running = Seen { request: Some((TaskKind::Clone, Progress::Running)), ..seen() };
    check(vec![
        ("HoldPlace", false, running.clone()),
        ("HoldPlace", false, Seen { place: Place::Waiting, ..running }),
        ("LeaveQueue", false, Seen { place: Place::Held, mine: vec![machine(PowerState::On)], ..seen() }),
        ("LeaveQueue", true, Seen { place: Place::Waiting, ..seen() }),
        ("LeaveQueue", false, Seen { place: Place::Held, folder: None, ..seen() }),
        (
            "LeaveQueue",
            false,
            Seen {
                place: Place::Held,
                group: Some(GroupView { paused: true, detach: Detach::No, deleting: false, adopting: false }),
                ..seen()
            },
        ),
    ]);
}

/// Clones of other groups that take long are named.
#[test]
fn an_instance_says_for_what_it_waits_in_the_clone_queue() {
    let jam = |clones| Some(Jam { clones, since: Timestamp::UNIX_EPOCH });
    for (jam, wanted, text) in [
        (None, reason::QUEUED, "are in flight"),
        (jam(1), reason::QUEUE_HELD, "1 of another group among them, the oldest since 1970-01-01T00:00:00Z"),
        (
            jam(100),
            reason::QUEUE_HELD,
            "100 of other groups among them, the oldest since 1970-01-01T00:00:00Z",
        ),
    ] {
        let turn = plan(&instance(false), &Seen { place: Place::Waiting, jam, ..seen() });
        let Turn::Wait { reason, message, after: Some(_) } = turn else { panic!("{turn:?}") };
        assert!(reason == wanted && message.contains(text), "{reason}: {message}");
    }
}

#[test]
fn a_marker_that_does_not_show_is_not_set_again_at_once() {
    let marking = Seen { request: Some((TaskKind::Mark, Progress::Succeeded)), ..seen() };
    check(vec![(
        "FailUnstable",
        false,
        Seen {
            mine: vec![Machine { marked: false, ..machine(PowerState::On) }],
            refresh: Refresh::Served,
            ..marking
        },
    )]);
}

#[test]
fn a_machine_is_removed_only_once_the_vcenter_has_confirmed_it() {
    for power in [PowerState::On, PowerState::Off] {
        let removing = |confirmed| Seen { mine: vec![machine(power)], confirmed, ..seen() };
        check(vec![
            ("Confirm", true, removing(Confirmed::Unknown)),
            ("Removing", true, removing(Confirmed::Reading)),
            ("Removing", true, removing(Confirmed::Changed)),
            ("MachineUnclear", true, removing(Confirmed::Unread)),
            (if power == PowerState::On { "PowerOff" } else { "Destroy" }, true, removing(Confirmed::Same)),
        ]);
    }
}

/// Its group went before it, or it was restored after its group: see `kubectl delete --cascade=orphan`, and backups.
#[test]
fn an_instance_without_its_group_releases_its_machine() {
    let alone = Seen { group: None, mine: vec![machine(PowerState::On)], ..seen() };
    check(vec![
        ("Release", true, alone.clone()),
        ("Gone", true, Seen { released: true, ..alone.clone() }),
        ("Settled", false, alone),
    ]);
    let spec = VmGroupSpec { cpu: 1, memory: 1, replicas: 1, template: "t".into(), paused: None };
    let mut group = VmGroup::new("g", spec);
    group.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    assert_eq!(GroupView::of(&group).detach, Detach::No);
    group.metadata.finalizers = Some(vec!["orphan".into()]);
    assert_eq!(GroupView::of(&group).detach, Detach::Yes);
}

/// What the group asks is not known, except where a user has detached the instance itself.
#[test]
fn an_instance_of_a_group_that_does_not_parse_waits_unless_it_is_released() {
    let unknown = Seen { group: None, invalid_group: true, mine: vec![machine(PowerState::On)], ..seen() };
    check(vec![("NoGroup", false, unknown.clone()), ("NoGroup", true, unknown.clone())]);
    for (deleting, wanted) in [(false, "NoGroup"), (true, "Gone")] {
        let mut instance = instance(deleting);
        instance.annotations_mut().insert(crate::api::DETACH.to_owned(), "true".to_owned());
        assert_eq!(name(&plan(&instance, &unknown)), wanted);
    }
}

#[test]
fn a_detached_instance_reports_the_machine_that_it_leaves() {
    let detached = Seen {
        group: Some(GroupView { paused: false, detach: Detach::Yes, deleting: false, adopting: false }),
        ..seen()
    };
    let mut instance = instance(true);
    assert_eq!(name(&plan(&instance, &detached)), "Gone");
    instance.status =
        Some(crate::api::VmInstanceStatus { vm_ref: Some("vm-1".into()), ..Default::default() });
    assert_eq!(name(&plan(&instance, &detached)), "Release");
    assert_eq!(name(&plan(&instance, &Seen { released: true, ..detached.clone() })), "Gone");
    // Where its removal has begun, it may not stay.
    let machine = || vec![machine(PowerState::Off)];
    for (kind, progress, mine, wanted) in [
        (TaskKind::Destroy, Progress::Sending, machine(), "Removing"),
        (TaskKind::Destroy, Progress::Running, machine(), "Removing"),
        (TaskKind::Destroy, Progress::Succeeded, vec![], "Gone"),
        (TaskKind::Destroy, Progress::Failed(fault(Kind::Fault)), machine(), "Fail"),
        (TaskKind::PowerOff, Progress::Running, machine(), "Removing"),
        (TaskKind::PowerOff, Progress::Succeeded, machine(), "Settle"),
        (TaskKind::PowerOn, Progress::Running, machine(), "Release"),
    ] {
        let seen = Seen { request: Some((kind, progress)), mine, ..detached.clone() };
        assert_eq!(name(&plan(&instance, &seen)), wanted, "{kind:?}");
    }
    let doubtful = Seen { doubt: InDoubt::ResponseLost, mine: machine(), ..detached.clone() };
    assert_eq!(name(&plan(&instance, &doubtful)), "Refresh", "whether it was removed shows in the inventory");
    for (missing, wanted) in [
        (Missing::Unknown(vm("vm-1")), "LookUp"),
        (Missing::LookingUp, "Removing"),
        (Missing::Gone, "Gone"),
        (Missing::Elsewhere(vm("vm-1")), "Release"),
        (Missing::Unclear(vm("vm-1")), "Release"),
    ] {
        assert_eq!(name(&plan(&instance, &Seen { missing, ..detached.clone() })), wanted);
    }
    assert_eq!(name(&plan(&instance, &Seen { tracked: false, ..detached.clone() })), "Track");
    // By its own annotation, once the group has adopted every machine: it would be adopted again.
    instance.annotations_mut().insert(crate::api::DETACH.to_owned(), "true".to_owned());
    for (adopting, wanted) in [(true, "Adopting"), (false, "Release")] {
        let group = GroupView { paused: false, detach: Detach::No, deleting: false, adopting };
        assert_eq!(name(&plan(&instance, &Seen { group: Some(group), ..seen() })), wanted);
    }
}

/// The machine has the marker of another cluster, or none: it stays, and an event says so.
#[test]
fn a_machine_that_was_lost_is_released_with_its_instance() {
    let lost =
        Seen { stranger: Some(vm("vm-1")), lost: Some(Lost::OtherCluster("copy".to_owned())), ..seen() };
    for (wanted, seen) in [
        ("Release", lost.clone()),
        ("Gone", Seen { released: true, ..lost.clone() }),
        ("Gone", Seen { lost: None, ..lost }),
        ("Gone", seen()),
    ] {
        assert_eq!(name(&plan(&instance(true), &seen)), wanted);
    }
}

/// What is destroyed cannot be brought back: a value that is not clear stops the removal, on the instance and on its group.
#[test]
fn an_unclear_detach_stops_the_removal() {
    let group = |detach| Some(GroupView { paused: false, detach, deleting: false, adopting: false });
    let seen = |detach| Seen { group: group(detach), mine: vec![machine(PowerState::Off)], ..seen() };
    let rows = [
        (Some("True"), Detach::No, true, "DetachUnclear"),
        (None, Detach::Unclear, true, "DetachUnclear"),
        (Some(""), Detach::Unclear, true, "DetachUnclear"),
        // What is clear counts.
        (Some("true"), Detach::Unclear, true, "Gone"),
        (Some("True"), Detach::Yes, true, "Gone"),
        (None, Detach::No, true, "Destroy"),
        // As long as nothing is deleted the machine is kept as it should be.
        (Some("True"), Detach::Unclear, false, "PowerOn"),
    ];
    for (value, detach, deleted, wanted) in rows {
        let mut instance = instance(deleted);
        instance.metadata.annotations = value.map(|value| [(crate::api::DETACH.into(), value.into())].into());
        let turn = plan(&instance, &seen(detach));
        assert_eq!(name(&turn), wanted, "{value:?} {detach:?}");
        if let Turn::Blocked { message, .. } = turn {
            assert!(message.contains("write \"true\", or remove the annotation"), "{message}");
        }
    }
}
