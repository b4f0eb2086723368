//! The status of a group, by tables.
#![expect(clippy::too_many_lines, reason = "a table is as long as its rows")]

mod drift;

use std::sync::Arc;

use infra_clients::vsphere::vms::fixtures as vcenter;
use infra_clients::vsphere::{Error as Fault, Kind};
use operator_kit::Key;

use super::*;
use crate::api::FINALIZER;
use crate::fixtures;
use crate::visibility::Blind;
use crate::vmgroup::seen::FolderSeen;
use crate::vminstance::Unseen;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

type End = Outcome<Done, Error>;

/// A member whose machine is powered on and made from the present spec.
fn member(slot: i32) -> Member {
    let instance = fixtures::instance(slot);
    Member::ready(Key::of(&instance), slot, instance.spec.revision())
}

fn seen(members: Vec<Member>) -> Seen {
    Seen { members, max_replicas: 100, ..Seen::default() }
}

fn blind(reported: bool) -> Blind {
    Blind { reason: "VCenterUnreachable", message: "no answer".into(), reported, needs_help: false }
}

fn waiting(reason: &'static str) -> End {
    Outcome::Waiting(reason, "a message".into())
}

fn failed(kind: Kind) -> End {
    let fault = Fault::new(kind, "no");
    Outcome::Failed(Arc::new(Error::VCenter { doing: "CreateFolder", fault }))
}

fn status_of(old: Option<&VmGroupStatus>, seen: &Seen, outcome: &End) -> Option<VmGroupStatus> {
    status(old, &fixtures::group(2), Some(seen), outcome, NOW)
}

/// Status, reason and message of a condition.
fn condition_of<'a>(status: &'a VmGroupStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let condition = conditions::get(&status.conditions, type_)?;
    assert_eq!(condition.observed_generation, Some(1));
    Some((&condition.status, &condition.reason, &condition.message))
}

#[test]
fn phase_and_ready_say_how_the_pass_ended() {
    let blocked = || Outcome::Blocked(reason::NAME_CONFLICT, "a message".into());
    let tally = "2 of 2 virtual machines are ready";
    let removing = "the virtual machines are being removed";
    let unreachable = "VCenterUnreachable";
    let rows: [(&str, End, bool, bool, [&str; 5]); 16] = [
        ("as asked", Outcome::Settled, false, false, ["RUNNING", "True", "AsAsked", tally, "Idle"]),
        (
            "instances were created",
            Outcome::Acted(Done::default()),
            false,
            false,
            ["PENDING", "False", "Scaling", tally, "Scaling"],
        ),
        (
            "machines are awaited",
            waiting(reason::SCALING),
            false,
            false,
            ["PENDING", "False", "Scaling", "a message", "Scaling"],
        ),
        (
            "paused",
            waiting(reason::PAUSED),
            false,
            false,
            ["PENDING", "False", "Paused", "a message", "Paused"],
        ),
        (
            "a machine needs help",
            blocked(),
            false,
            false,
            ["ERROR", "False", "NameConflict", "a message", "Idle"],
        ),
        (
            "a request was refused",
            failed(Kind::Forbidden),
            false,
            false,
            ["ERROR", "False", "PermissionDenied", "…", "Idle"],
        ),
        (
            "a request was not answered",
            failed(Kind::Timeout),
            false,
            false,
            ["PENDING", "False", unreachable, "…", "Scaling"],
        ),
        (
            "the namespace is being deleted",
            Outcome::Failed(Arc::new(Error::NamespaceTerminating)),
            false,
            false,
            ["ERROR", "False", "NamespaceTerminating", "…", "Idle"],
        ),
        (
            "a name is taken",
            Outcome::Failed(Arc::new(Error::Taken("web-0".into()))),
            false,
            false,
            ["PENDING", "False", "WaitingForPredecessor", "…", "Scaling"],
        ),
        (
            "deleted: instances were deleted",
            Outcome::Acted(Done::default()),
            true,
            false,
            ["DELETING", "False", "Removing", removing, "Scaling"],
        ),
        (
            "deleted: machines are being removed",
            waiting(reason::REMOVING),
            true,
            false,
            ["DELETING", "False", "Removing", "a message", "Scaling"],
        ),
        (
            "deleted: a machine needs help",
            blocked(),
            true,
            false,
            ["ERROR", "False", "NameConflict", "a message", "Idle"],
        ),
        (
            "blind for long",
            waiting(unreachable),
            false,
            true,
            ["PENDING", "Unknown", unreachable, "a message", unreachable],
        ),
        (
            "blind for long, and a person has to act",
            Outcome::Blocked("VCenterUnreachable", "a message".into()),
            false,
            true,
            ["ERROR", "Unknown", unreachable, "a message", "Idle"],
        ),
        (
            "finalizers of others are left",
            waiting(operator_kit::driver::FINALIZERS_LEFT),
            true,
            false,
            ["DELETING", "False", "FinalizersLeft", "a message", "Idle"],
        ),
        (
            "paused, while blind",
            waiting(reason::PAUSED),
            false,
            true,
            ["PENDING", "False", "Paused", "a message", "Paused"],
        ),
    ];
    for (situation, outcome, deleting, is_blind, [phase, ready, reason, message, progressing]) in rows {
        let mut group = fixtures::group(2);
        if deleting {
            group = fixtures::deleting(group);
        }
        let seen = Seen { blind: is_blind.then(|| blind(true)), ..seen(vec![member(0), member(1)]) };
        let new = status(None, &group, Some(&seen), &outcome, NOW).unwrap();
        let message = match &outcome {
            Outcome::Failed(error) => format!("{tally}; {error}"),
            _ => message.to_owned(),
        };
        assert_eq!(new.phase.as_deref(), Some(phase), "{situation}");
        assert_eq!(condition_of(&new, condition::READY), Some((ready, reason, &*message)), "{situation}");
        assert_eq!(new.last_message.as_deref(), Some(&*message), "{situation}");
        let (is_progressing, why, _) = condition_of(&new, condition::PROGRESSING).unwrap();
        assert_eq!((is_progressing == "True", why), (progressing == "Scaling", progressing), "{situation}");
        assert_eq!((new.observed_generation, new.desired_replicas), (Some(1), Some(2)), "{situation}");
        assert_eq!(new.selector.as_deref(), Some("vm.codeconnect.vmworld.com/group=web"), "{situation}");
    }
}

#[test]
fn the_last_status_stands() {
    let rows = [
        ("nothing was observed", None, waiting(reason::PAUSED), false),
        ("just blind", Some(blind(false)), waiting("VCenterUnreachable"), false),
        ("just blind, and settled", Some(blind(false)), Outcome::Settled, false),
        ("just blind, and a step failed", Some(blind(false)), failed(Kind::Timeout), true),
        ("blind for long", Some(blind(true)), waiting("VCenterUnreachable"), true),
    ];
    for (situation, blind, outcome, is_written) in rows {
        let seen = blind.map(|blind| Seen { blind: Some(blind), ..seen(Vec::new()) });
        let new = status(None, &fixtures::group(2), seen.as_ref(), &outcome, NOW);
        assert_eq!(new.is_some(), is_written, "{situation}");
    }
}

#[test]
fn a_pass_that_failed_before_it_observed_leaves_the_rest_of_the_status() {
    let old = VmGroupStatus {
        replicas: Some(2),
        ready_replicas: Some(2),
        ready: Some("2/2".into()),
        folder: Some("group-1".into()),
        ..VmGroupStatus::default()
    };
    for (deleting, kind, phase) in [
        (false, Kind::Forbidden, "ERROR"),
        (true, Kind::Timeout, "DELETING"),
        (false, Kind::Timeout, "PENDING"),
    ] {
        let mut group = fixtures::group(3);
        group.metadata.deletion_timestamp =
            deleting.then_some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW));
        let outcome = failed(kind);
        let Outcome::Failed(error) = &outcome else { unreachable!() };
        let (reason, message) = (error.reason(), error.to_string());
        let new = status(Some(&old), &group, None, &outcome, NOW).unwrap();
        assert_eq!(condition_of(&new, condition::READY), Some(("False", reason, &*message)));
        assert_eq!((new.phase.as_deref(), new.last_message.as_deref()), (Some(phase), Some(&*message)));
        assert_eq!((new.observed_generation, new.desired_replicas), (Some(1), Some(3)));
        assert_eq!((new.replicas, new.folder), (old.replicas, old.folder.clone()));
        assert_eq!((new.ready_replicas, new.ready.as_deref()), (Some(0), Some("0/3")), "not looked at");
    }
}

#[test]
fn how_many_machines_exist_and_are_ready() {
    let off = |slot| Member { on: false, ..member(slot) };
    let leaving = |slot| Member { deleting: true, ..member(slot) };
    let none = |slot| Member { exists: false, on: false, made_from: None, ..member(slot) };
    let moved = |slot| Member { unseen: Unseen::Moved, ..off(slot) };
    let reported = |replicas| Some(VmGroupStatus { replicas: Some(replicas), ..VmGroupStatus::default() });
    let of_original = Some(VmGroupStatus { current_replicas: Some(7), ..VmGroupStatus::default() });
    let rows = [
        ("no instance", None, vec![], false, (0, 0, "0/2")),
        ("two that are on", None, vec![member(0), member(1)], false, (2, 2, "2/2")),
        ("one is off", None, vec![member(0), off(1)], false, (2, 1, "1/2")),
        ("one is being removed", None, vec![member(0), leaving(1)], false, (2, 1, "1/2")),
        ("one is not made yet", None, vec![member(0), none(1)], false, (1, 1, "1/2")),
        ("one was moved", None, vec![member(0), moved(1)], false, (2, 1, "1/2")),
        ("the number of before is of no account", reported(5), vec![member(0)], false, (1, 1, "1/2")),
        ("blind: the number of before stands", reported(5), vec![none(0), none(1)], true, (5, 0, "0/2")),
        ("blind: the original operator's number stands", of_original, vec![], true, (7, 0, "0/2")),
        ("blind, and nothing was reported before", None, vec![none(0)], true, (0, 0, "0/2")),
    ];
    for (situation, old, members, is_blind, (exist, ready, text)) in rows {
        let seen = Seen { blind: is_blind.then(|| blind(true)), ..seen(members) };
        let new = status_of(old.as_ref(), &seen, &waiting(reason::SCALING)).unwrap();
        assert_eq!((new.replicas, new.current_replicas), (Some(exist), Some(exist)), "{situation}");
        assert_eq!((new.ready_replicas, new.ready.as_deref()), (Some(ready), Some(text)), "{situation}");
    }
}

/// Until the machines of the original operator are adopted, its number of them stands: the plan compares it with what is
/// found.
#[test]
fn the_original_operators_number_stands_until_the_adoption() {
    let old = VmGroupStatus { current_replicas: Some(3), ..VmGroupStatus::default() };
    for (situation, finalizer, members, wanted) in [
        ("not adopted", ORIGINAL_FINALIZER, vec![], 3),
        ("one is adopted", ORIGINAL_FINALIZER, vec![member(0)], 1),
        ("no group of the original", FINALIZER, vec![], 0),
    ] {
        let mut group = fixtures::group(2);
        group.metadata.finalizers = Some(vec![finalizer.into()]);
        let outcome = waiting(reason::SCALING);
        let new = status(Some(&old), &group, Some(&seen(members)), &outcome, NOW).unwrap();
        assert_eq!(new.replicas, Some(wanted), "{situation}");
    }
}

#[test]
fn the_folder_of_the_original_operator_is_remembered() {
    let (moref, name) = (vcenter::folder_ref("group-2"), "team-web".into());
    let folder = FolderSeen { moref, name, children: 1, own: true };
    let foreign = FolderSeen { own: false, ..folder.clone() };
    let old = VmGroupStatus { adopted_folder: Some("before".into()), ..VmGroupStatus::default() };
    for (situation, old, folder, wanted) in [
        ("found", None, Some(folder.clone()), Some("team-web")),
        ("found under another name", Some(&old), Some(folder), Some("team-web")),
        ("not found now", Some(&old), None, Some("before")),
        ("never found", None, None, None),
        ("an administrator's", None, Some(foreign), None),
    ] {
        let seen = Seen { original_folder: folder, ..seen(Vec::new()) };
        let new = status_of(old, &seen, &waiting(reason::SCALING)).unwrap();
        assert_eq!(new.adopted_folder.as_deref(), wanted, "{situation}");
    }
}

#[test]
fn the_groups_own_folder_is_remembered() {
    let (moref, name) = (vcenter::folder_ref("group-2"), "team.web".into());
    let folder = FolderSeen { moref, name, children: 1, own: true };
    let foreign = FolderSeen { own: false, ..folder.clone() };
    let old = VmGroupStatus { folder: Some("group-1".into()), ..VmGroupStatus::default() };
    for (situation, old, folder, wanted) in [
        ("its own", None, Some(folder.clone()), Some("group-2")),
        ("another than before", Some(&old), Some(folder), Some("group-2")),
        ("not found now", Some(&old), None, Some("group-1")),
        ("an administrator's", None, Some(foreign), None),
    ] {
        let seen = Seen { folder, ..seen(Vec::new()) };
        let new = status_of(old, &seen, &waiting(reason::SCALING)).unwrap();
        assert_eq!(new.folder.as_deref(), wanted, "{situation}");
    }
}

fn outdated(slot: i32) -> Member {
    Member { made_from: Some("earlier".into()), ..member(slot) }
}

#[test]
fn orphans_found_names_them() {
    let orphans = |n: usize| (0..n).map(|i| format!("copy-{i} (vm-{i})")).collect::<Vec<_>>();
    for (orphans, wanted, text) in [
        (orphans(0), ("False", "NoOrphans"), ""),
        (orphans(1), ("True", "Orphans"), ": copy-0 (vm-0); "),
        (orphans(6), ("True", "Orphans"), ", copy-4 (vm-4) and 1 more; "),
    ] {
        let new = status_of(None, &Seen { orphans, ..seen(Vec::new()) }, &Outcome::Settled).unwrap();
        let (status, reason, message) = condition_of(&new, condition::ORPHANS_FOUND).unwrap();
        assert_eq!((status, reason), wanted);
        assert!(message.contains(text) && message.is_empty() == text.is_empty(), "{message}");
    }
}

/// A blind operator knows nothing of orphans and revisions: what was said of them stands.
#[test]
fn details_stand_while_the_vcenter_is_out_of_sight() {
    let seen_before = Seen { orphans: vec!["copy (vm-9)".into()], ..seen(vec![member(0), outdated(1)]) };
    let before = status_of(None, &seen_before, &Outcome::Settled).unwrap();
    let blinded = Seen { blind: Some(blind(true)), ..seen(vec![outdated(0)]) };
    let after = status_of(Some(&before), &blinded, &waiting("VCenterUnreachable")).unwrap();
    for type_ in [condition::CONFIG_SYNCED, condition::ORPHANS_FOUND] {
        assert_eq!(condition_of(&after, type_), condition_of(&before, type_), "{type_}");
    }
    let first = status_of(None, &blinded, &waiting("VCenterUnreachable")).unwrap();
    assert_eq!(condition_of(&first, condition::ORPHANS_FOUND), None);
}

#[test]
fn an_event_reports_what_a_person_should_know_once() {
    let fine = status_of(None, &seen(vec![member(0)]), &Outcome::Settled).unwrap();
    let drifted = status_of(None, &seen(vec![outdated(0)]), &Outcome::Settled).unwrap();
    let orphaned = Seen { orphans: vec!["copy (vm-9)".into()], ..seen(vec![outdated(0)]) };
    let orphaned = status_of(None, &orphaned, &Outcome::Settled).unwrap();
    for (situation, old, new, wanted) in [
        ("nothing", None, &fine, 0),
        ("drift of a new group", None, &drifted, 1),
        ("drift", Some(&fine), &drifted, 1),
        ("the same drift", Some(&drifted), &drifted, 0),
        ("orphans beside it", Some(&drifted), &orphaned, 1),
        ("both", Some(&fine), &orphaned, 2),
        ("both are over", Some(&orphaned), &fine, 0),
    ] {
        assert_eq!(news(old, new).len(), wanted, "{situation}");
    }
}

/// Whether the machines stay is seen before the deletion, which cannot be taken back, also where the vCenter is gone.
#[test]
fn the_row_and_a_condition_say_whether_the_machines_stay() {
    let stay = "detached: its virtual machines stay when it is deleted";
    let unclear = "detach is \"True\": write \"true\", or remove";
    let unseen = Seen { blind: Some(blind(true)), ..seen(vec![member(0)]) };
    for (value, wanted, starts) in
        [(None, None, ""), (Some("true"), Some("True"), stay), (Some("True"), Some("Unknown"), unclear)]
    {
        let mut group = fixtures::group(2);
        group.metadata.annotations = value.map(|value| [(crate::api::DETACH.into(), value.into())].into());
        for (seen, outcome) in
            [(&seen(vec![member(0)]), Outcome::Settled), (&unseen, waiting("VCenterUnreachable"))]
        {
            let new = status(None, &group, Some(seen), &outcome, NOW).unwrap();
            let detached = condition_of(&new, condition::DETACHED);
            assert_eq!(detached.map(|(status, ..)| status), wanted, "{value:?}");
            let last = new.last_message.as_deref().unwrap();
            let (_, message) = last.split_once("; ").unwrap_or_default();
            assert!(
                message.starts_with(starts) && message.is_empty() == starts.is_empty(),
                "{value:?}: {last}"
            );
            let warned = news(None, &new).iter().any(|notice| notice.reason() == "DetachUnclear");
            assert_eq!(warned, wanted == Some("Unknown"), "{value:?}");
        }
        // In the deletion Ready says it.
        let group = fixtures::deleting(group);
        let new = status(None, &group, Some(&seen(Vec::new())), &waiting(reason::REMOVING), NOW).unwrap();
        assert_eq!(new.last_message.as_deref(), Some("a message"), "{value:?}");
    }
}

/// Nothing that is in another vCenter counts as gone, and the vCenter of a group is recorded before anything is made.
#[test]
fn the_vcenter_of_a_group() {
    let elsewhere =
        || crate::vminstance::AnotherVcenter { recorded: "there".into(), connected: "here".into() };
    let absent = || Member { exists: false, on: false, ..member(0) };
    let here = |members| Seen { vcenter: Some("here".into()), ..seen(members) };
    let acted = || Outcome::Acted(Done::default());
    let old = |vcenter: &str| {
        let (vcenter, folder) = (Some(vcenter.into()), Some("group-9".into()));
        Some(VmGroupStatus { vcenter, folder, replicas: Some(2), ..VmGroupStatus::default() })
    };
    let blocked = || Outcome::Blocked("InAnotherVCenter", "a message".into());
    for (situation, old, seen, outcome, wanted) in [
        ("before anything is made", None, here(vec![]), acted(), Some("here")),
        ("no machine is seen", None, here(vec![absent()]), waiting(reason::SCALING), Some("here")),
        ("it is paused from the start", None, here(vec![]), waiting(reason::PAUSED), Some("here")),
        ("a vCenter without an instanceUuid", None, seen(vec![member(0)]), Outcome::Settled, None),
        (
            "out of sight",
            old("there"),
            Seen { blind: Some(blind(true)), ..seen(vec![]) },
            waiting("VCenterUnreachable"),
            Some("there"),
        ),
        (
            "another",
            old("there"),
            Seen { other_vcenter: Some(elsewhere()), ..here(vec![absent()]) },
            blocked(),
            Some("there"),
        ),
        (
            "the instances are detached",
            old("there"),
            Seen { other_vcenter: Some(elsewhere()), ..here(vec![absent()]) },
            acted(),
            Some("there"),
        ),
        (
            "it moves",
            old("there"),
            Seen { other_vcenter: Some(elsewhere()), ..here(vec![]) },
            waiting(reason::MOVING_TO_VCENTER),
            Some("here"),
        ),
        (
            "it is paused",
            old("there"),
            Seen { other_vcenter: Some(elsewhere()), ..here(vec![]) },
            waiting(reason::PAUSED),
            Some("there"),
        ),
        (
            "its machines were brought here",
            old("there"),
            here(vec![member(0)]),
            Outcome::Settled,
            Some("here"),
        ),
    ] {
        let new = status_of(old.as_ref(), &seen, &outcome).unwrap();
        assert_eq!(new.vcenter.as_deref(), wanted, "{situation}");
        let keeps_folder = old.is_some() && situation != "it moves";
        assert_eq!(new.folder.as_deref() == Some("group-9"), keeps_folder, "{situation}");
        if seen.other_vcenter.is_some() {
            assert_eq!((new.replicas, new.ready_replicas), (Some(2), Some(0)), "{situation}");
            assert!(conditions::get(&new.conditions, condition::CONFIG_SYNCED).is_none(), "{situation}");
        }
    }
}
