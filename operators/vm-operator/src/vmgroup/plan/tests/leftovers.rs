//! VmInstances that are no members and whose names are taken.

use super::*;
use crate::vmgroup::seen::{Leftover, LeftoverWhy, Stray, Unread};

/// A tool's finalizer keeps a VmInstance whose machine is destroyed.
#[test]
fn an_instance_that_finalizers_of_others_keep_counts_as_gone() {
    let why = LeftoverWhy::Finalizers("example.com/audit".into());
    let leftover = Leftover { name: "g-0".into(), slot: 0, why };
    let with = |members| Seen { leftovers: vec![leftover.clone()], ..seen(members) };
    assert_eq!(scale(plan(&group(2, "t"), &with(vec![member(1)]))).create, [2], "its name is taken");
    assert!(matches!(plan(&group(2, "t"), &with(vec![member(1), member(2)])), Turn::Settled));
    let turn = plan(&deleted(group(2, "t")), &with(Vec::new()));
    assert!(matches!(turn, Turn::Act(Plan::RemoveFolder(_))), "{turn:?}");
    let machine = OriginalMachine { name: "a".into(), instance_uuid: "a".into(), slot: None };
    assert_eq!(with_slots(&[machine], taken(&with(Vec::new())))[0].0, 1);
}

/// A user has removed the owner reference of a VmInstance: its machine still runs, so none is made in its place.
#[test]
fn an_instance_that_is_in_the_way_is_named_and_no_other_is_created_for_it() {
    let stray = Stray { name: "g-1".into(), slot: 1, problem: "it has no owner".into() };
    let with = |members| Seen { strays: vec![stray.clone()], ..seen(members) };
    assert_eq!(scale(plan(&group(3, "t"), &with(vec![member(0)]))).create, [2]);
    let turn = plan(&group(3, "t"), &with(vec![member(0), member(2)]));
    let Turn::Blocked { reason, message } = turn else { panic!("{turn:?}") };
    assert_eq!(reason, reason::INVALID_INSTANCE);
    assert!(message.contains("g-1") && message.contains("it has no owner; correct it"), "{message}");
    assert!(matches!(plan(&group(1, "t"), &with(vec![member(0)])), Turn::Settled), "not needed");
    let elsewhere = with(vec![member(0), member(2), member(3)]);
    assert!(matches!(plan(&group(3, "t"), &elsewhere), Turn::Settled), "there are as many");
    let machine = OriginalMachine { name: "a".into(), instance_uuid: "a".into(), slot: None };
    assert_eq!(with_slots(&[machine], taken(&with(vec![member(0)])))[0].0, 2, "its name is taken");
}

/// Nothing is known of its slot and its machine: none is made or adopted, and the group stays, until it parses.
#[test]
fn an_instance_that_does_not_parse_is_named_in_every_state_of_the_group() {
    let unread = Unread { name: "g-1".into(), problem: "its finalizers take 70000 bytes".into() };
    let with = |members| Seen { unread: vec![unread.clone()], ..seen(members) };
    let is_named = |situation: &str, turn: Turn<Plan>| {
        let Turn::Blocked { reason, message } = turn else { panic!("{situation}: {turn:?}") };
        assert_eq!(reason, reason::INVALID_INSTANCE, "{situation}");
        assert!(message.contains("VmInstance g-1 does not parse") && message.contains("70000"), "{message}");
    };
    let two = Seen { unread: vec![unread.clone(), unread.clone()], ..seen(Vec::new()) };
    let Turn::Blocked { message, .. } = plan(&group(1, "t"), &two) else { panic!("two do not parse") };
    assert!(message.contains("VmInstance g-1 (and 1 more) does not parse"), "{message}");
    is_named("one is missing", plan(&group(2, "t"), &with(vec![member(0)])));
    is_named("none is missing", plan(&group(1, "t"), &with(vec![member(0)])));
    is_named("none is asked for", plan(&group(0, "t"), &with(Vec::new())));
    assert_eq!(victims(&scale(plan(&group(0, "t"), &with(vec![member(0)])))), ["g-0"], "others are removed");
    is_named("deleted", plan(&deleted(group(1, "t")), &with(Vec::new())));
    let mut detached = deleted(group(1, "t"));
    detached.metadata.annotations = Some([(crate::api::DETACH.to_owned(), "true".to_owned())].into());
    is_named("detached", plan(&detached, &with(Vec::new())));
    let machine = OriginalMachine { name: "a".into(), instance_uuid: "a".into(), slot: None };
    let originals = Originals { known: vec![machine], ..Originals::default() };
    let mut adopting = group(1, "t");
    adopting.metadata.finalizers = Some(vec![ORIGINAL_FINALIZER.to_owned()]);
    is_named("adopting", plan(&adopting, &Seen { originals: originals.clone(), ..with(Vec::new()) }));
    is_named("adopting, and deleted", plan(&deleted(adopting), &Seen { originals, ..with(Vec::new()) }));
}
