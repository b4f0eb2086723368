//! The plan of a group whose status names another vCenter.

use super::*;
use crate::vminstance::AnotherVcenter;

#[test]
fn a_group_of_another_vcenter_waits_for_a_person() {
    let elsewhere = || Some(AnotherVcenter { recorded: "there".into(), connected: "here".into() });
    let absent = |slot| Member { exists: false, on: false, ..member(slot) };
    let with = |members| Seen { other_vcenter: elsewhere(), folder: None, ..seen(members) };
    let mut detached = deleted(group(2, "t"));
    detached.metadata.annotations = Some([(crate::api::DETACH.to_owned(), "true".to_owned())].into());
    for group in [group(0, "t"), group(2, "t"), deleted(group(2, "t"))] {
        assert_eq!(blocked(&plan(&group, &with(vec![absent(0)]))), Some("InAnotherVCenter"), "{group:?}");
    }
    assert_eq!(
        blocked(&plan(&deleted(group(2, "t")), &with(vec![]))),
        Some("InAnotherVCenter"),
        "its folder"
    );
    assert_eq!(victims(&scale(plan(&detached, &with(vec![absent(0)])))), ["g-0"]);
    assert!(matches!(plan(&detached, &with(vec![])), Turn::Gone));
    // Without VmInstances there is no machine in the other vCenter. The status names this one before any is made.
    let moves = plan(&group(2, "t"), &with(vec![]));
    assert!(
        matches!(moves, Turn::Wait { reason: "MovingToVCenter", after: Some(RECORDED), .. }),
        "{moves:?}"
    );
    assert_eq!(blocked(&plan(&group(0, "t"), &with(vec![]))), Some("InAnotherVCenter"), "it wants nothing");
    let mut paused = group(2, "t");
    paused.spec.paused = Some(true);
    assert!(matches!(plan(&paused, &with(vec![])), Turn::Wait { reason: "Paused", .. }));
}

/// A restart with another vCenter after the first VmInstance was made would miss the machines that have none yet.
#[test]
fn the_vcenter_is_recorded_before_machines_are_adopted() {
    let machine =
        OriginalMachine { name: "g-replica-aaaaaaaa".into(), instance_uuid: "i".into(), slot: None };
    let originals = Originals { known: vec![machine], ..Originals::default() };
    let here =
        Seen { vcenter: Some("here".into()), original_folder: Some(folder("n-g", 1)), originals, ..empty() };
    let mut original = group(1, "t");
    original.metadata.finalizers = Some(vec![ORIGINAL_FINALIZER.into()]);
    for group in [original.clone(), deleted(original)] {
        let unrecorded = plan(&group, &here);
        assert!(matches!(unrecorded, Turn::Wait { reason: reason::RECORDING, after: Some(RECORDED), .. }));
        let status = VmGroupStatus { vcenter: Some("here".into()), ..VmGroupStatus::default() };
        assert!(matches!(plan(&VmGroup { status: Some(status), ..group }, &here), Turn::Act(Plan::Adopt(_))));
    }
}
