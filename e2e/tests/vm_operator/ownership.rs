//! Must hold 5: only what has the group's own marker is touched.

use e2e::{Rig, VmRig};

use crate::{place, start_web};

#[tokio::test(flavor = "multi_thread")]
async fn groups_with_lookalike_names_never_meet() {
    let _place = place().await;
    let rig = VmRig::builder().alone().start().await.unwrap();
    let _operator = rig.operator().await.unwrap();
    for (namespace, name, replicas) in [("a-b", "c", 2), ("a", "b-c", 3)] {
        rig.create_namespace(namespace).await.unwrap();
        rig.apply((namespace, name), replicas, "photon").await.unwrap();
    }
    rig.settled(("a-b", "c"), 2).await.unwrap();
    rig.settled(("a", "b-c"), 3).await.unwrap();
    rig.remove(("a-b", "c")).await.unwrap();
    rig.settled(("a", "b-c"), 3).await.unwrap();
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert_eq!(machines, (0..3).map(|n| format!("/DC0/vm/vm-operator/a.b-c/b-c-{n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_machine_survives_scale_down_and_delete() {
    let (_place, rig, _operator) = start_web(3).await;
    let folder = &rig.folder("web");
    rig.vcenter.add_vm(folder, "web-7").await.unwrap();
    rig.vcenter.power_off(&format!("{folder}/web-7")).await.unwrap();
    let stranger = async || {
        let vms = rig.vcenter.vms_in(folder).await.unwrap();
        vms.into_iter().find(|vm| vm.name == "web-7").expect("the stranger is there")
    };
    let before = stranger().await;
    rig.apply_and_settle("web", 1).await.unwrap();
    assert_eq!(stranger().await, before);

    rig.remove("web").await.unwrap();
    assert_eq!(stranger().await, before, "neither powered nor destroyed");
    rig.event("FolderKept").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_in_the_way_is_named_and_its_going_is_noticed() {
    let (_place, rig, _operator) = start_web(1).await;
    let folder = &rig.folder("web");
    rig.vcenter.add_vm(folder, "web-1").await.unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    let status = rig.reason("web", "NameConflict").await.unwrap();
    assert_eq!(status["readyReplicas"], 1);
    rig.vcenter.rename_vm(&format!("{folder}/web-1"), "elsewhere").await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_machine_is_still_ours() {
    let (_place, rig, _operator) = start_web(2).await;
    let folder = &rig.folder("web");
    rig.vcenter.rename_vm(&format!("{folder}/web-0"), "a/b % ü\\").await.unwrap();
    rig.vcenter.power_off(&format!("{folder}/a%2fb %25 ü%5c")).await.unwrap();
    rig.on(&format!("{folder}/a%2fb %25 ü%5c")).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 2, "none was made in its place");
    rig.remove("web").await.unwrap();
    assert!(rig.machines().await.unwrap().is_empty());
}
