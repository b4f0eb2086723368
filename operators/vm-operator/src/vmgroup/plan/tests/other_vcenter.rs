//! The plan of a group whose status names another vCenter.

use super::*;

#[test]
fn a_group_of_another_vcenter_waits_for_a_person() {
    let elsewhere = || Some(AnotherVcenter { recorded: "there".into(), connected: "here".into() });
    let absent = |slot| Member { exists: false, on: false, ..member(slot) };
    let with = |members| Seen { elsewhere: elsewhere(), folder: None, ..seen(members) };
    let mut detached = deleted(group(2, "t"));
    detached.metadata.annotations = Some([(crate::api::DETACH.to_owned(), "true".to_owned())].into());
    for group in [group(0, "t"), group(2, "t"), deleted(group(2, "t"))] {
        assert_eq!(blocked(&plan(&group, &with(vec![absent(0)]))), Some("AnotherVCenter"), "{group:?}");
    }
    assert_eq!(blocked(&plan(&deleted(group(2, "t")), &with(vec![]))), Some("AnotherVCenter"), "its folder");
    assert_eq!(victims(&scale(plan(&detached, &with(vec![absent(0)])))), ["g-0"]);
    assert!(matches!(plan(&detached, &with(vec![])), Turn::Gone));
    // Without VmInstances there is no machine in the other vCenter. The status names this one before any is made.
    assert!(matches!(plan(&group(2, "t"), &with(vec![])), Turn::Wait { after: Some(RECORDED), .. }));
}
