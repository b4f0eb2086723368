//! Which VmInstances scaling down removes.

use super::*;

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
    let moved = Member { out_of_sight: Some(OutOfSight::Moved), on: false, ..member(0) };
    let none = Member { exists: false, on: false, made_from: None, ..member(1) };
    let off = Member { on: false, ..member(2) };
    let away = Some(OutOfSight::Unclear);
    let hidden = Member { out_of_sight: away, on: false, may_work: true, made_from: None, ..member(3) };
    let unread = Member { exists: false, on: false, may_work: true, made_from: None, ..member(4) };
    let members = [moved, none, off, hidden, unread, member(5)];
    takes(&members, &["g-0", "g-1", "g-2", "g-5", "g-4", "g-3"]);
}

#[test]
fn of_equals_the_outdated_then_the_highest_come_first() {
    let outdated = Member { made_from: Some("old".into()), ..member(1) };
    takes(&[member(0), outdated, member(2), member(3)], &["g-1", "g-3", "g-2", "g-0"]);
}
