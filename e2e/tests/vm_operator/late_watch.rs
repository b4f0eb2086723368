//! What a person has written, and the watch has not brought yet.

use e2e::{OperatorProcess, PATIENCE, Rig as _, VmRig};
use testbed::{ApiProxy, Mark, Perturbation, eventually};

use crate::start_web;

/// The group is detached, and then a VmInstance of it is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_stays_although_the_watch_is_late_with_the_annotation() {
    let (_place, rig, operator) = start_web(2).await;
    drop(operator);
    // A restart writes nothing, so the first change of the group is that of this test.
    let late: Perturbation = "frozen-1000@modified/vmgroups/web#1".parse().unwrap();
    let (proxy, _operator) = start_behind_proxy(&rig, late).await;
    rig.vcenter.reset_calls().await.unwrap();
    rig.kubectl(&["annotate", "vg", "web", "vm.codeconnect.vmworld.com/detach=true"]).await.unwrap();
    rig.kubectl(&["delete", "vgi", "web-0", "--timeout=180s"]).await.unwrap();
    assert!(proxy.has_fired());
    let machines = rig.machines().await.unwrap();
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("PowerOffVM_Task") && !calls.contains_key("Destroy_Task"), "{calls:?}");
    assert_eq!(machines.get(&format!("{}/web-0", rig.folder("web"))), Some(&true), "{machines:?}");
}

/// A VmInstance is deleted by hand, and then its group is made smaller by one: nothing else has to go.
#[tokio::test(flavor = "multi_thread")]
async fn no_second_machine_goes_although_the_watch_is_late_with_a_deletion() {
    let (_place, rig, operator) = start_web(3).await;
    drop(operator);
    let late: Perturbation = "frozen-1000@modified/vminstances/web-0#1".parse().unwrap();
    let (proxy, operator) = start_behind_proxy(&rig, late).await;
    rig.kubectl(&["delete", "vgi", "web-0", "--wait=false"]).await.unwrap();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", r#"{"spec":{"replicas":2}}"#]).await.unwrap();
    eventually("the operator lists the VmInstances before it chooses", PATIENCE, async || {
        let is_list = |call: &&Mark| call.subject.verb == "list" && call.subject.resource == "vminstances";
        // The first one fills the cache.
        Ok((proxy.record().calls.iter().filter(is_list).count() > 1).then_some(()))
    })
    .await
    .unwrap();
    assert!(proxy.has_fired());
    drop(operator);
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert_eq!(machines, ["web-1", "web-2"].map(|name| format!("{}/{name}", rig.folder("web"))));
}

/// Starts the operator behind a proxy, and waits until it has read both kinds.
async fn start_behind_proxy(rig: &VmRig, late: Perturbation) -> (ApiProxy, OperatorProcess) {
    let proxy = ApiProxy::start(rig.control_plane(), rig.kubeconfig(), Some(late)).await.unwrap();
    let operator = rig.spawn_with(proxy.kubeconfig(), &rig.launch()).unwrap();
    eventually("the operator has read both kinds", PATIENCE, async || {
        let lists = ["vmgroups", "vminstances"].map(|kind| format!("watch/{kind}/"));
        let calls: Vec<_> = proxy.record().calls.iter().map(ToString::to_string).collect();
        Ok(lists.iter().all(|list| calls.iter().any(|call| call.starts_with(list))).then_some(()))
    })
    .await
    .unwrap();
    (proxy, operator)
}
