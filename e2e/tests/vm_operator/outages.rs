//! Must hold 6: sessions that expire, a vCenter that is away, an API server that restarts.

use std::time::Duration;

use e2e::{Rig, VmRig};
use testbed::{Fault, Outage, Vcsim};

use crate::{large_place, place, start_operator};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_expire_under_load() {
    let _place = large_place().await;
    // Eight calls at a time, so that the last are not sent before the first sessions have expired.
    let vcenter = Vcsim::builder()
        .call_delay("CloneVM_Task", Duration::from_millis(200))
        .clone_time(Duration::from_millis(500));
    let rig = VmRig::with(vcenter).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.apply("web", 40, "photon").await.unwrap();
    for goal in [5, 20, 35] {
        rig.called_often("CloneVM_Task", goal).await.unwrap();
        rig.vcenter.expire_sessions().await.unwrap();
    }
    rig.settled("web", 40).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 40);
    let sessions = rig.vcenter.sessions().await.unwrap();
    assert!(sessions.max <= 2, "{sessions:?}");
    assert_eq!(sessions.failed_logins, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vcenter_that_is_down_for_half_a_minute() {
    let _place = place().await;
    let vcenter = Vcsim::builder().clone_time(Duration::from_millis(500));
    let rig = VmRig::with(vcenter).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 3).await.unwrap();
    rig.kubectl(&["wait", "vgi", "--all", "--for=condition=Ready", "--timeout=180s"]).await.unwrap();

    let before = status_writes(&rig, "web");
    rig.vcenter.outage(Outage::Refuse).await.unwrap();
    let down = std::time::Instant::now();
    let status = rig.reason("web", "VCenterUnreachable").await.unwrap();
    assert_eq!(status["readyReplicas"], 0, "what cannot be seen is not claimed: {status}");
    assert_eq!(e2e::ready(&status).map(|(s, _)| s), Some("Unknown"));
    // The errors differ, the reason does not: one status is written for each object.
    for (second, outage) in [(13, Outage::Status(503)), (16, Outage::Refuse), (19, Outage::Status(503))] {
        tokio::time::sleep(Duration::from_secs(second).saturating_sub(down.elapsed())).await;
        rig.vcenter.outage(outage).await.unwrap();
    }
    let written: Vec<_> = status_writes(&rig, "web").split_off(before.len());
    let by_object = |name: &str| written.iter().filter(|object| *object == name).count();
    let counts = ["web", "web-0", "web-1", "web-2"].map(by_object);
    assert_eq!(counts, [1; 4], "{written:?}");
    rig.apply("web", 6, "photon").await.unwrap();
    rig.apply("new", 2, "photon").await.unwrap();
    rig.reason("new", "VCenterUnreachable").await.unwrap();
    tokio::time::sleep(Duration::from_secs(30).saturating_sub(down.elapsed())).await;
    rig.vcenter.outage(Outage::None).await.unwrap();

    rig.settled("web", 6).await.unwrap();
    rig.settled("new", 2).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 8);
    assert!(rig.vcenter.sessions().await.unwrap().max <= 2);
}

/// Returns the objects of a group whose statuses the operator has written, in order.
fn status_writes(rig: &VmRig, group: &str) -> Vec<String> {
    let requests = rig.requests().unwrap().into_iter();
    let statuses = requests.filter(|event| event.is_write() && event.subresource == "status");
    statuses.map(|event| event.name).filter(|name| name.starts_with(group)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vcenter_that_answers_503_or_hangs() {
    let (_place, rig, _operator) = start_operator().await;
    for (name, outage) in [("busy", Outage::Status(503)), ("hung", Outage::Hang)] {
        rig.vcenter.outage(outage).await.unwrap();
        rig.apply(name, 2, "photon").await.unwrap();
        // No sign tells that it hangs; if the operator has not met it by then, there is less to recover from.
        tokio::time::sleep(Duration::from_secs(2)).await;
        rig.vcenter.outage(Outage::None).await.unwrap();
        rig.settled(name, 2).await.unwrap();
    }
    assert_eq!(rig.machines().await.unwrap().len(), 4);
    assert!(rig.vcenter.sessions().await.unwrap().max <= 2);
}

/// Faults of single calls: refused, failed as tasks, contradicted.
#[tokio::test(flavor = "multi_thread")]
async fn faults_are_reported_and_end() {
    let (_place, rig, _operator) = start_operator().await;
    rig.vcenter
        .fault(Fault::task("CloneVM_Task", "InsufficientResourcesFault").until_cleared())
        .await
        .unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    let status = rig.reason("web", "NoResources").await.unwrap();
    assert_eq!(status["phase"], "ERROR");
    rig.vcenter.clear_faults().await.unwrap();
    rig.settled("web", 2).await.unwrap();

    let machine = format!("{}/web-0", rig.folder("web"));
    rig.vcenter.fault(Fault::soap("PowerOnVM_Task", "TaskInProgress").times(2)).await.unwrap();
    rig.vcenter.power_off(&machine).await.unwrap();
    rig.on(&machine).await.unwrap();
    rig.vcenter.fault(Fault::task("Destroy_Task", "InvalidState").times(1)).await.unwrap();
    rig.remove("web").await.unwrap();
    assert!(rig.machines().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_restarts_in_a_burst() {
    let _place = large_place().await;
    let vcenter = Vcsim::builder().clone_time(Duration::from_secs(1));
    let mut rig = VmRig::builder().vcenter(vcenter).alone().start().await.unwrap();
    let mut operator = rig.operator().await.unwrap();
    rig.apply("web", 30, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", 10).await.unwrap();
    rig.control_plane_mut().unwrap().stop_apiserver().await.unwrap();
    rig.control_plane_mut().unwrap().start_apiserver().await.unwrap();
    rig.settled("web", 30).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 30);
    rig.remove("web").await.unwrap();
    assert!(operator.process.try_wait().is_none(), "the process goes on");
}
