//! Which VmInstances scaling down removes.

use super::*;
use crate::vmgroup::seen::Answer;

/// Checks that each scaling down removes the first of these, in this order.
fn takes(members: &[Member], wanted: &[&str]) {
    for taken in 1..=members.len() {
        let replicas = i32::try_from(members.len() - taken).unwrap();
        let scale = scale(plan(&group(replicas, "t"), &seen(members.to_vec())));
        assert_eq!(victims(&scale), wanted[..taken], "{replicas} stay");
    }
}

#[test]
fn the_least_loss_comes_first() {
    // A machine that was moved stays as it is; one that cannot be read may work.
    let moved = Member { unseen: Unseen::Moved, on: false, ..member(0) };
    let none = Member { exists: false, on: false, made_from: None, ..member(1) };
    let off = Member { on: false, ..member(2) };
    let hidden = Member { unseen: Unseen::Hidden, on: false, made_from: None, ..member(3) };
    let unread = Member { unseen: Unseen::Unread, exists: false, on: false, made_from: None, ..member(4) };
    let members = [moved, none, off, hidden, unread, member(5)];
    takes(&members, &["g-0", "g-1", "g-2", "g-5", "g-4", "g-3"]);
}

#[test]
fn what_was_read_counts_more_than_what_is_shown() {
    let read = |works, member: Member| Member { answer: Answer::Given { works: Some(works) }, ..member };
    let is_on = read(true, Member { on: false, ..member(0) });
    let is_off = read(false, member(1));
    takes(&[is_on, is_off, read(true, member(2))], &["g-1", "g-2", "g-0"]);
}

#[test]
fn of_equals_the_outdated_then_the_highest_come_first() {
    let outdated = Member { made_from: Some("old".into()), ..member(1) };
    takes(&[member(0), outdated, member(2), member(3)], &["g-1", "g-3", "g-2", "g-0"]);
}

/// Where each is decides which one goes.
#[test]
fn none_is_chosen_before_the_vcenter_has_answered_of_all() {
    let moref = MoRef::new("VirtualMachine", "vm-1");
    // As its last status says.
    let unanswered = Member {
        unseen: Unseen::Hidden,
        machine: Some(moref.clone()),
        on: false,
        made_from: None,
        ..member(0)
    };
    let asked = Member { answer: Answer::Awaited, ..unanswered.clone() };
    let gone = Member {
        unseen: Unseen::Nothing,
        answer: Answer::Given { works: None },
        exists: false,
        ..unanswered.clone()
    };
    let turn = |first: &Member, replicas, census| {
        plan(&group(replicas, "t"), &Seen { census, ..seen(vec![first.clone(), member(1)]) })
    };
    let Turn::LookAgain(Plan::TakeCensus(machines)) = turn(&unanswered, 1, Refresh::None) else {
        panic!("the inventory is not brought up to date")
    };
    assert_eq!(machines, std::slice::from_ref(&moref));
    let waits = |turn: Turn<Plan>, says: &str| {
        let Turn::Wait { reason: reason::SCALING, message, .. } = turn else { panic!("no wait: {turn:?}") };
        assert!(message.contains(says), "{message}");
    };
    waits(turn(&gone, 1, Refresh::Requested), "the inventory is brought up to date");
    let Turn::LookAgain(Plan::LookUp(machines)) = turn(&unanswered, 1, Refresh::Served) else {
        panic!("it does not ask")
    };
    assert_eq!(machines, [(unanswered.key.clone(), moref)]);
    waits(turn(&asked, 1, Refresh::Served), "vm-1 of g-0");
    let outdated = Member { answer: Answer::Outdated, ..unanswered.clone() };
    let Turn::LookAgain(Plan::LookUpAgain(machines)) = turn(&outdated, 1, Refresh::Served) else {
        panic!("it does not ask again")
    };
    assert_eq!(machines, [(unanswered.key.clone(), MoRef::new("VirtualMachine", "vm-1"))]);
    assert_eq!(victims(&scale(turn(&gone, 1, Refresh::Served))), ["g-0"]);
    // Nothing is chosen: nothing is to be known.
    assert_eq!(scale(turn(&asked, 3, Refresh::None)).create, [2]);
    assert_eq!(victims(&scale(turn(&asked, 0, Refresh::None))), ["g-1", "g-0"]);
    let going = Member { deleting: true, ..unanswered };
    assert_eq!(victims(&scale(turn(&going, 0, Refresh::None))), ["g-1"]);
}
