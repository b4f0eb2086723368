//! The status of an instance, by tables.

mod requested;

use std::sync::Arc;

use infra_clients::vsphere::vms::fixtures as vcenter;
use infra_clients::vsphere::{Error as Fault, Kind};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::api::{TaskKind, TaskStatus};
use crate::fixtures;
use crate::visibility::Blind;
use crate::vminstance::seen::{Lost, Machine, Progress};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

type End = Outcome<Done, Error>;

/// A situation, how the pass ends, what was seen, and the status and reason of Ready.
type Row = (&'static str, End, Option<Seen>, Option<(&'static str, &'static str)>);

fn machine() -> Machine {
    Machine {
        moref: vcenter::vm_ref("vm-1"),
        power: Some(PowerState::On),
        revision: Some("made-from".into()),
        marked: true,
        template: false,
    }
}

fn task() -> TaskStatus {
    TaskStatus { r#ref: "task-1".into(), kind: TaskKind::Clone, submitted_at: Time(NOW) }
}

fn blind(reported: bool) -> Blind {
    Blind { reason: "VCenterUnreachable", message: "no answer".into(), reported, needs_help: false }
}

fn seen() -> Seen {
    Seen { tracked: true, ..Seen::default() }
}

fn waiting(reason: &'static str) -> End {
    Outcome::Waiting(reason, "a message".into())
}

fn failed(kind: Kind) -> End {
    let fault = Fault::new(kind, "no");
    Outcome::Failed(Arc::new(Error::VCenter { doing: "CloneVM_Task", fault }))
}

/// How the pass ends, and Ready with its reason; `None` where the last status stands.
#[test]
fn ready_says_how_the_pass_ended() {
    let blinded = |reported| Seen { blind: Some(blind(reported)), ..seen() };
    let cloning = Seen { task: Some(task()), ..seen() };
    let rows: [Row; 16] = [
        ("as asked", Outcome::Settled, Some(seen()), Some(("True", "AsAsked"))),
        ("nothing was requested", Outcome::Acted(Done::default()), Some(seen()), None),
        ("the inventory is being refreshed", waiting(reason::REFRESHING), Some(seen()), None),
        ("the clone is not answered yet", waiting(reason::CLONING), Some(seen()), None),
        ("the clone runs", waiting(reason::CLONING), Some(cloning), Some(("False", "Cloning"))),
        ("a place in the queue is awaited", waiting(reason::QUEUED), Some(seen()), Some(("False", "Queued"))),
        ("paused", waiting(reason::PAUSED), Some(seen()), Some(("False", "Paused"))),
        ("paused, while blind", waiting(reason::PAUSED), Some(blinded(true)), Some(("False", "Paused"))),
        ("just blind", waiting("VCenterUnreachable"), Some(blinded(false)), None),
        (
            "blind for long",
            waiting("VCenterUnreachable"),
            Some(blinded(true)),
            Some(("Unknown", "VCenterUnreachable")),
        ),
        (
            "the machine cannot be read",
            waiting(reason::MACHINE_UNCLEAR),
            Some(seen()),
            Some(("Unknown", "MachineUnclear")),
        ),
        (
            "a stranger has the name",
            Outcome::Blocked(reason::NAME_CONFLICT, "rename it".into()),
            Some(seen()),
            Some(("False", "NameConflict")),
        ),
        ("a request was refused", failed(Kind::Forbidden), Some(seen()), Some(("False", "PermissionDenied"))),
        (
            "a request was not answered",
            failed(Kind::Timeout),
            Some(seen()),
            Some(("False", "VCenterUnreachable")),
        ),
        ("nothing was observed, and it failed", failed(Kind::Busy), None, Some(("False", "Busy"))),
        (
            "the machine does not stay on",
            Outcome::Failed(Arc::new(Error::Unstable("PowerOnVM_Task"))),
            Some(seen()),
            Some(("False", "MachineUnstable")),
        ),
    ];
    for (situation, outcome, seen, wanted) in rows {
        let status = status(None, &fixtures::instance(0), seen.as_ref(), &outcome, NOW);
        let ready = status.as_ref().and_then(|status| conditions::get(&status.conditions, condition::READY));
        let got = ready.map(|ready| (&*ready.status, &*ready.reason));
        assert_eq!(got, wanted, "{situation}");
        if let Some(ready) = ready {
            assert_eq!(ready.observed_generation, Some(1), "{situation}");
            assert!(!ready.message.is_empty(), "{situation}");
        }
        assert_eq!(status.is_some(), wanted.is_some(), "{situation}");
        assert!(status.is_none_or(|status| status.observed_generation == Some(1)), "{situation}");
    }
}

/// What the last status said: a machine of an earlier power state and revision.
fn old() -> VmInstanceStatus {
    VmInstanceStatus {
        vm_ref: Some("vm-old".into()),
        power: Some("poweredOff".into()),
        revision: Some("earlier".into()),
        task: Some(TaskStatus { r#ref: "task-old".into(), ..task() }),
        ..VmInstanceStatus::default()
    }
}

/// It was not looked up: the task's end says enough.
#[test]
fn a_machine_that_was_destroyed_is_recorded_no_more() {
    let destroyed = Seen {
        request: Some((TaskKind::Destroy, Progress::Succeeded)),
        missing: Missing::Unknown(vcenter::vm_ref("vm-1")),
        ..seen()
    };
    let old = VmInstanceStatus { vm_ref: Some("vm-1".into()), ..VmInstanceStatus::default() };
    let outcome = waiting(operator_kit::driver::FINALIZERS_LEFT);
    let instance = fixtures::deleting(fixtures::instance(0));
    let new = status(Some(&old), &instance, Some(&destroyed), &outcome, NOW).unwrap();
    assert_eq!((new.vm_ref, new.conditions[0].reason.as_str()), (None, "FinalizersLeft"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table is as long as its rows")]
fn the_record_follows_what_is_seen() {
    let has = |machine| Seen { mine: vec![machine], ..seen() };
    let record = |vm: Option<&str>, power: Option<&str>, revision: Option<&str>| VmInstanceStatus {
        vm_ref: vm.map(Into::into),
        power: power.map(Into::into),
        revision: revision.map(Into::into),
        ..VmInstanceStatus::default()
    };
    let found = record(Some("vm-1"), Some("poweredOn"), Some("made-from"));
    let marked = VmInstanceStatus { marked: Some(true), ..found.clone() };
    let kept = VmInstanceStatus { task: None, ..old() };
    let none = VmInstanceStatus::default();
    let missing = |missing| Seen { missing, ..seen() };
    let moref = || vcenter::vm_ref("vm-old");
    let rows = [
        ("its machine", has(machine()), marked.clone()),
        ("its machine, not marked yet", has(Machine { marked: false, ..machine() }), found.clone()),
        (
            "its machine, powered off",
            has(Machine { power: Some(PowerState::Off), ..machine() }),
            VmInstanceStatus { power: Some("poweredOff".into()), ..marked.clone() },
        ),
        (
            "its machine, suspended",
            has(Machine { power: Some(PowerState::Suspended), ..machine() }),
            VmInstanceStatus { power: Some("suspended".into()), ..marked.clone() },
        ),
        (
            "its machine on a host that does not answer, without a revision",
            has(Machine { power: None, revision: None, ..machine() }),
            VmInstanceStatus { power: None, revision: None, ..marked.clone() },
        ),
        (
            "its machine, and a clone task",
            Seen { task: Some(task()), ..has(machine()) },
            VmInstanceStatus { task: Some(task()), ..marked },
        ),
        ("two machines", Seen { mine: vec![machine(), machine()], ..seen() }, kept.clone()),
        ("no machine", seen(), none.clone()),
        (
            "no machine, and a clone task",
            Seen { task: Some(task()), ..seen() },
            VmInstanceStatus { task: Some(task()), ..none.clone() },
        ),
        (
            "what its clone has made, which is not in sight",
            Seen { task: Some(task()), ..missing(Missing::Unknown(vcenter::vm_ref("vm-7"))) },
            VmInstanceStatus { vm_ref: Some("vm-7".into()), task: Some(task()), ..kept.clone() },
        ),
        (
            "what its clone has made, which cannot be read",
            Seen { task: Some(task()), ..missing(Missing::Unclear(vcenter::vm_ref("vm-7"))) },
            VmInstanceStatus { vm_ref: Some("vm-7".into()), task: Some(task()), ..kept.clone() },
        ),
        (
            "what another clone has made, which is not the instance's yet",
            missing(Missing::Unknown(vcenter::vm_ref("vm-7"))),
            kept.clone(),
        ),
        ("a machine that does not exist", missing(Missing::Gone), none),
        ("a machine that was not looked up", missing(Missing::Unknown(moref())), kept.clone()),
        ("a machine that is being looked up", missing(Missing::LookingUp), kept.clone()),
        ("a machine that was moved", missing(Missing::Elsewhere(moref())), kept.clone()),
        ("a machine that is elsewhere and cannot be read", missing(Missing::Unclear(moref())), kept.clone()),
        ("a machine that cannot be read", Seen { unread: Some(moref()), ..seen() }, kept.clone()),
        ("a machine that was lost", Seen { lost: Some(Lost::NoMarker("marker".into())), ..seen() }, kept),
        ("an instance that is not tracked", Seen { tracked: false, ..has(machine()) }, old()),
        ("a blind inventory", Seen { blind: Some(blind(true)), ..seen() }, old()),
    ];
    for (situation, seen, wanted) in rows {
        let outcome = waiting(reason::QUEUED);
        let new = status(Some(&old()), &fixtures::instance(0), Some(&seen), &outcome, NOW).unwrap();
        let new = VmInstanceStatus { conditions: Vec::new(), observed_generation: None, ..new };
        assert_eq!(new, wanted, "{situation}");
    }
}

#[test]
fn a_machine_that_was_powered_on_once_stays_provisioned() {
    let provisioned = Some(VmInstanceStatus { provisioned: Some(true), ..VmInstanceStatus::default() });
    for (situation, old, outcome, wanted) in [
        ("the first time", None, Outcome::Settled, Some(true)),
        ("not yet", None, waiting(reason::POWERING_ON), None),
        ("again", provisioned.clone(), waiting(reason::POWERING_ON), Some(true)),
        ("the clone has failed", provisioned, failed(Kind::NoResources), Some(true)),
    ] {
        let new = status(old.as_ref(), &fixtures::instance(0), Some(&seen()), &outcome, NOW).unwrap();
        assert_eq!(new.provisioned, wanted, "{situation}");
    }
}

/// The marker of a machine that lost it is remembered, and so are conditions of other types.
#[test]
fn what_the_last_status_says_of_other_things_stays() {
    let mut old = VmInstanceStatus { marked: Some(true), ..old() };
    conditions::set(&mut old.conditions, "Other", Status::True, "Because", "", Some(1), NOW);
    let unmarked = Seen { mine: vec![Machine { marked: false, ..machine() }], ..seen() };
    let mut instance = fixtures::instance(0);
    instance.metadata.generation = Some(2);
    let new = status(Some(&old), &instance, Some(&unmarked), &Outcome::Settled, NOW).unwrap();
    assert_eq!((new.marked, new.observed_generation), (Some(true), Some(2)));
    assert!(conditions::get(&new.conditions, "Other").is_some());
}

/// The vCenter is recorded as soon as an instance is seen in it, and stays when its machine is gone.
#[test]
fn references_are_recorded_with_their_vcenter() {
    let here = || Seen { vcenter: Some("here".into()), ..seen() };
    let elsewhere = crate::vminstance::AnotherVcenter { recorded: "there".into(), connected: "here".into() };
    let old = |vcenter: Option<&str>| VmInstanceStatus {
        vm_ref: Some("vm-1".into()),
        vcenter: vcenter.map(str::to_owned),
        ..VmInstanceStatus::default()
    };
    for (situation, old, seen, wanted) in [
        ("a machine", old(None), Seen { mine: vec![machine()], ..here() }, Some("here")),
        ("it was brought here", old(Some("there")), Seen { mine: vec![machine()], ..here() }, Some("here")),
        ("a clone", VmInstanceStatus::default(), Seen { task: Some(task()), ..here() }, Some("here")),
        ("the machine is gone", old(Some("here")), Seen { missing: Missing::Gone, ..here() }, Some("here")),
        ("nothing was made", VmInstanceStatus::default(), here(), Some("here")),
        ("a paused one", old(None), Seen { tracked: false, ..here() }, Some("here")),
        ("out of sight", old(Some("there")), Seen { blind: Some(blind(true)), ..seen() }, Some("there")),
        (
            "a machine that cannot be read",
            old(None),
            Seen { unread: Some(vcenter::vm_ref("vm-1")), ..here() },
            Some("here"),
        ),
        (
            "another vCenter",
            old(Some("there")),
            Seen { other_vcenter: Some(elsewhere), ..here() },
            Some("there"),
        ),
    ] {
        let outcome = Outcome::Blocked("InAnotherVCenter", String::new());
        let new = status(Some(&old), &fixtures::instance(0), Some(&seen), &outcome, NOW).unwrap();
        assert_eq!(new.vcenter.as_deref(), wanted, "{situation}");
    }
}
