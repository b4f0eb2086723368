//! What a person has written, and the watch has not brought yet.

use e2e::{PATIENCE, Rig};
use testbed::{ApiProxy, Perturbation, eventually};

use crate::start_web;

/// The group is detached, and then a VmInstance of it is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_stays_although_the_watch_is_late_with_the_annotation() {
    let (_place, rig, operator) = start_web(2).await;
    drop(operator);
    // A restart writes nothing, so the first change of the group is that of this test.
    let late: Perturbation = "frozen-1000@modified/vmgroups/web#1".parse().unwrap();
    let proxy = ApiProxy::start(rig.control_plane(), rig.kubeconfig(), Some(late)).await.unwrap();
    let _operator = rig.spawn_with(proxy.kubeconfig(), &rig.launch()).unwrap();
    eventually("the operator has read both kinds", PATIENCE, async || {
        let lists = ["vmgroups", "vminstances"].map(|kind| format!("watch/{kind}/"));
        let calls: Vec<_> = proxy.record().calls.iter().map(ToString::to_string).collect();
        Ok(lists.iter().all(|list| calls.iter().any(|call| call.starts_with(list))).then_some(()))
    })
    .await
    .unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    rig.kubectl(&["annotate", "vg", "web", "vm.codeconnect.vmworld.com/detach=true"]).await.unwrap();
    rig.kubectl(&["delete", "vgi", "web-0", "--timeout=180s"]).await.unwrap();
    assert!(proxy.has_fired());
    let machines = rig.machines().await.unwrap();
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("PowerOffVM_Task") && !calls.contains_key("Destroy_Task"), "{calls:?}");
    assert_eq!(machines.get(&format!("{}/web-0", rig.folder("web"))), Some(&true), "{machines:?}");
}
