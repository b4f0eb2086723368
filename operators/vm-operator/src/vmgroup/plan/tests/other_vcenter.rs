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
