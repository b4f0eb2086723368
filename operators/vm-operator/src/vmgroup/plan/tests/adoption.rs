//! What becomes of the machines that the original operator made.

use std::collections::HashSet;

use super::*;
use crate::vmgroup::seen::OriginalClones;

#[test]
fn machines_of_the_original_are_adopted_before_anything_else() {
    let mut group = group(1, "t");
    group.metadata.finalizers = Some(vec![ORIGINAL_FINALIZER.into()]);
    let machine = |name: &str| OriginalMachine { name: name.into(), instance_uuid: name.into(), slot: None };
    let originals = vec![machine("g-replica-aaaaaaaa"), machine("g-replica-bbbbbbbb")];
    let known = Originals {
        known: originals.clone(),
        unread: Some("g-replica-abcdefgh (vm-9)".into()),
        ..Originals::default()
    };
    let found = Seen { original_folder: Some(folder("n-g", 2)), originals: known, ..empty() };
    let Turn::Act(Plan::Adopt(adopted)) = plan(&group, &found) else { panic!("{:?}", plan(&group, &found)) };
    assert_eq!(
        adopted,
        [(0, originals[0].clone()), (1, originals[1].clone())],
        "also those beyond the replicas"
    );
    let done = Seen { original_folder: Some(folder("n-g", 2)), ..seen(vec![member(0), member(1)]) };
    assert!(matches!(plan(&group, &done), Turn::Wait { reason: reason::ADOPTING, after: Some(_), .. }));
    let foreign =
        Seen { original_folder: Some(FolderSeen { own: false, ..folder("n-g", 0) }), ..done.clone() };
    assert!(matches!(plan(&group, &foreign), Turn::Act(Plan::FinishAdoption)), "it is not recorded");
    record_folder(&mut group);
    assert!(matches!(plan(&group, &done), Turn::Act(Plan::FinishAdoption)));
}

/// The status names the folder, so that it is removed with the group.
fn record_folder(group: &mut VmGroup) {
    group.status = Some(VmGroupStatus { adopted_folder: Some("n-g".into()), ..VmGroupStatus::default() });
}

#[test]
fn adoption_waits_for_a_machine_that_cannot_be_read() {
    let mut group = group(1, "t");
    group.metadata.finalizers = Some(vec![ORIGINAL_FINALIZER.into(), FINALIZER.into()]);
    record_folder(&mut group);
    let unread = Originals { unread: Some("g-replica-abcdefgh (vm-9)".into()), ..Originals::default() };
    let seen = Seen { original_folder: Some(folder("n-g", 1)), originals: unread, ..empty() };
    for group in [group.clone(), deleted(group)] {
        assert!(matches!(plan(&group, &seen), Turn::Wait { reason: reason::MACHINE_UNCLEAR, .. }));
    }
}

#[test]
fn adoption_waits_for_clones_that_the_original_may_have_requested() {
    let mut group = group(1, "t");
    group.metadata.finalizers = Some(vec![ORIGINAL_FINALIZER.into(), FINALIZER.into()]);
    record_folder(&mut group);
    let turn = |clones: OriginalClones| {
        let originals = Originals { clones, ..Originals::default() };
        plan(&group, &Seen { original_folder: Some(folder("n-g", 0)), originals, ..seen(vec![member(0)]) })
    };
    let found = HashSet::from([MoRef::new("Task", "task-1")]);
    let examined = turn(OriginalClones::Unexamined(found.clone()));
    assert!(matches!(examined, Turn::LookAgain(Plan::WatchClones(clones)) if clones == found));
    let running = turn(OriginalClones::Running(2));
    let Turn::Wait { reason: reason::ADOPTING, message, after: Some(_) } = running else {
        panic!("{running:?}")
    };
    assert!(message.contains(": 2 of those"), "{message}");
    let ended = |refresh| turn(OriginalClones::Ended(refresh));
    assert!(matches!(ended(Refresh::None), Turn::LookAgain(Plan::RefreshOriginals)));
    assert!(matches!(ended(Refresh::Requested), Turn::Wait { reason: reason::ADOPTING, .. }));
    assert!(matches!(ended(Refresh::Served), Turn::Act(Plan::FinishAdoption)));
}

#[test]
fn machines_of_the_original_are_removed_with_their_group() {
    let machine =
        OriginalMachine { name: "g-replica-aaaaaaaa".into(), instance_uuid: "i".into(), slot: None };
    let found = || Seen {
        original_folder: Some(folder("n-g", 1)),
        originals: Originals { known: vec![machine.clone()], ..Originals::default() },
        ..empty()
    };
    let adopted = || Seen { original_folder: Some(folder("n-g", 1)), folder: None, ..seen(vec![member(0)]) };
    for (finalizers, finishes) in
        [(vec![ORIGINAL_FINALIZER, FINALIZER], true), (vec![ORIGINAL_FINALIZER], false)]
    {
        let mut group = deleted(group(1, "t"));
        group.metadata.finalizers = Some(finalizers.into_iter().map(str::to_owned).collect());
        assert!(matches!(plan(&group, &found()), Turn::Act(Plan::Adopt(_))));
        record_folder(&mut group);
        match plan(&group, &adopted()) {
            Turn::Act(Plan::FinishAdoption) => assert!(finishes),
            // The original finalizer is the last one: it stays until the machines are gone.
            turn => assert!(!finishes && victims(&scale(turn)) == ["g-0"]),
        }
        // Detached, the machines stay.
        group.metadata.annotations = Some([(crate::api::DETACH.to_owned(), "true".to_owned())].into());
        assert!(matches!(plan(&group, &found()), Turn::Gone));
    }
}

#[test]
fn adoption_does_not_end_where_the_originals_machines_are_not_found_or_it_still_runs() {
    let mut group = group(2, "t");
    group.metadata.finalizers = Some(vec![ORIGINAL_FINALIZER.into(), FINALIZER.into()]);
    let missing = Seen { originals: Originals { no_folder: true, ..Originals::default() }, ..empty() };
    assert!(matches!(plan(&group, &missing), Turn::Act(Plan::FinishAdoption)), "it never made any");
    group.status = Some(VmGroupStatus { current_replicas: Some(2), ..VmGroupStatus::default() });
    assert_eq!(blocked(&plan(&group, &missing)), Some(reason::ORIGINALS_NOT_FOUND));
    let empty_folder = Seen { original_folder: Some(folder("n-g", 0)), ..empty() };
    assert_eq!(blocked(&plan(&group, &empty_folder)), Some(reason::ORIGINALS_NOT_FOUND));
    record_folder(&mut group);
    assert_eq!(blocked(&plan(&group, &missing)), Some(reason::ORIGINALS_NOT_FOUND), "recorded while paused");
    let gone = plan(&deleted(group.clone()), &missing);
    assert!(matches!(gone, Turn::Act(Plan::FinishAdoption)), "the group has removed them");
    let again = Seen { adopted: true, ..missing };
    assert_eq!(blocked(&plan(&group, &again)), Some(reason::ORIGINAL_STILL_RUNS));
}

#[test]
fn a_machine_that_was_adopted_before_keeps_its_slot() {
    let machine = |name: &str, slot| OriginalMachine { name: name.into(), instance_uuid: name.into(), slot };
    let machines = [machine("a", None), machine("b", Some(0)), machine("c", Some(5)), machine("d", Some(5))];
    let chosen = with_slots(&machines, [1].into());
    let chosen: Vec<_> = chosen.iter().map(|(slot, machine)| (*slot, machine.name.as_str())).collect();
    assert_eq!(chosen, [(0, "b"), (5, "c"), (2, "a")]);
}
