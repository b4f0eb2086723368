//! One tenant's clones and calls that never end delay other groups for a limited time.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig};
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::api::ListParams;
use serde_json::json;
use testbed::{Fault, Vcsim, eventually};

use crate::place;
use crate::safety::instance_says;

/// Longer than any test.
const LONG: Duration = Duration::from_hours(10);

/// Writes into the status of each instance that is being cloned that its clone was requested so long ago; how many there are.
async fn date_back(rig: &VmRig, minutes: i64) -> usize {
    let since = Timestamp::now() - minutes.minutes();
    let patch =
        json!({"status": {"task": {"submittedAt": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}}});
    let all = rig.api("VmInstance").list(&ListParams::default()).await.unwrap().items;
    let cloning = all.iter().filter(|instance| instance.data["status"]["task"].is_object());
    let names: Vec<_> = cloning.filter_map(|instance| instance.metadata.name.clone()).collect();
    for name in &names {
        let patch = patch.to_string();
        let patch = ["patch", "vgi", name, "--subresource=status", "--type=merge", "-p", &patch];
        rig.kubectl(&patch).await.unwrap();
    }
    names.len()
}

/// The clones of one group hang. The group that waits says for what, and clones once they have had their time; the group
/// whose clones hang clones no more than it may.
#[tokio::test(flavor = "multi_thread")]
async fn clones_that_hang_hold_their_places_for_an_hour() {
    let _place = place().await;
    let rig = VmRig::with_clones_of(LONG).await.unwrap();
    let launch = rig.launch().env("MAX_CLONES", "1");
    let operator = rig.operator_with(&launch).await.unwrap();
    rig.apply("hog", 2, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", 1).await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    instance_says(&rig, "web-0", "Queued").await;
    drop(operator);

    rig.vcenter.set_clone_time(Duration::ZERO).await.unwrap();
    assert_eq!(date_back(&rig, 30).await, 1);
    let operator = rig.operator_with(&launch).await.unwrap();
    eventually("the group says what it waits for", PATIENCE, async || {
        let status = rig.status("web").await?;
        let message = status["lastMessage"].as_str().unwrap_or_default();
        ensure!(message.contains("web-0: ") && message.contains("1 of another group among them"), "{status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    drop(operator);

    assert_eq!(date_back(&rig, 120).await, 1);
    let _operator = rig.operator_with(&launch).await.unwrap();
    rig.settled("web", 1).await.unwrap();
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 2, "one of each group");
}

/// A group that is detached and deleted while its clone is in flight gives its place away only when the clone has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_detached_group_keeps_the_place_of_its_clone() {
    let _place = place().await;
    let time = Duration::from_secs(20);
    let rig = VmRig::with_clones_of(time).await.unwrap();
    let _operator = rig.operator_with(&rig.launch().env("MAX_CLONES", "1")).await.unwrap();
    rig.apply("hog", 1, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", 1).await.unwrap();
    let begun = Instant::now();
    let detach = ["annotate", "vg", "hog", "vm.codeconnect.vmworld.com/detach=true"];
    rig.kubectl(&detach).await.unwrap();
    rig.remove("hog").await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    instance_says(&rig, "web-0", "Queued").await;
    rig.called_often("CloneVM_Task", 2).await.unwrap();
    assert!(begun.elapsed() > time / 2, "{:?}", begun.elapsed());
    rig.settled("web", 1).await.unwrap();
}

/// The clone of a group that was detached and deleted goes on, and a restart forgets whose it was. An instance that is younger
/// does not wait for it. The clock of the vCenter is behind until the clone is queued, so that it is an old one.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_clone_without_an_owner_delays_no_younger_instance() {
    let _place = place().await;
    let vcenter = Vcsim::builder().clone_time(LONG).clock_offset(Duration::from_mins(20), false);
    let rig = VmRig::with(vcenter).await.unwrap();
    let operator = rig.operator().await.unwrap();
    rig.apply("hog", 1, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", 1).await.unwrap();
    let detach = ["annotate", "vg", "hog", "vm.codeconnect.vmworld.com/detach=true"];
    rig.kubectl(&detach).await.unwrap();
    rig.remove("hog").await.unwrap();
    rig.vcenter.set_clock_right().await.unwrap();
    rig.vcenter.fault(Fault::soap("CloneVM_Task", "NoPermission").until_cleared()).await.unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    rig.reason("web", "PermissionDenied").await.unwrap();
    drop(operator);

    rig.vcenter.clear_faults().await.unwrap();
    rig.vcenter.set_clone_time(Duration::ZERO).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    rig.remove("web").await.unwrap();
}

/// The vCenter answers no call to power off. One group has many such calls waiting.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_hang_hold_up_their_own_group() {
    let _place = place().await;
    let rig = VmRig::with(Vcsim::builder()).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    for (name, replicas) in [("hog", 12), ("web", 1)] {
        rig.apply_and_settle(name, replicas).await.unwrap();
    }
    rig.vcenter.reset_calls().await.unwrap();
    rig.vcenter.fault(Fault::hang("PowerOffVM_Task").until_cleared()).await.unwrap();
    rig.delete("hog").await.unwrap();
    rig.called_often("PowerOffVM_Task", 8).await.unwrap();
    let begun = Instant::now();
    rig.apply_and_settle("web", 3).await.unwrap();
    let took = begun.elapsed();
    println!("web was scaled within {took:?}");
    assert!(took < Duration::from_secs(30), "it waits for the calls of another group: {took:?}");
    rig.vcenter.clear_faults().await.unwrap();
    rig.gone("hog").await.unwrap();
}
