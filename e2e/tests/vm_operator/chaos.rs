//! Must hold 3, 4 and 7: killed at any moment, replies lost, leaders lost; never a machine too many, never a
//! status that claims what is not so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use e2e::{OperatorProcess, PATIENCE, Rig, VmRig, ready};
use testbed::{Fault, Vcsim, eventually};

use crate::safety::instance_says;
use crate::{large_place, place};

async fn clones(rig: &VmRig) -> u64 {
    rig.called("CloneVM_Task").await.unwrap()
}

/// Checks that there are exactly `n` machines, each of another slot, all on, and the stranger.
async fn exactly(rig: &VmRig, n: usize) {
    let folder = rig.folder("web");
    let vms = rig.vcenter.vms_in(&folder).await.unwrap();
    let owners: BTreeMap<_, _> = vms
        .iter()
        .filter_map(|vm| Some((vm.extra_config.get("vmgroup/owner")?.clone(), vm.is_on())))
        .collect();
    assert_eq!(
        owners.len(),
        n,
        "as many owners as machines: {:?}",
        vms.iter().map(|v| &v.name).collect::<Vec<_>>()
    );
    assert!(owners.values().all(|on| *on));
    assert_eq!(vms.len(), n + 1);
    assert!(vms.iter().any(|vm| vm.name == "stranger"));
}

/// Makes the group `web` with one machine, so that its folder is there, and puts a stranger into it.
async fn with_stranger(rig: &VmRig) {
    let folder = rig.folder("web");
    let operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 1).await.unwrap();
    rig.vcenter.add_vm(&folder, "stranger").await.unwrap();
    drop(operator);
}

/// Killed ten times while fifty machines are cloned, each time a little later.
#[tokio::test(flavor = "multi_thread")]
async fn killed_ten_times_in_a_burst_of_fifty() {
    let _place = large_place().await;
    let rig = VmRig::with_clones_of(Duration::from_millis(700)).await.unwrap();
    let folder = rig.folder("web");
    with_stranger(&rig).await;
    rig.apply("web", 50, "photon").await.unwrap();
    for round in 0..10u64 {
        let mut operator = rig.spawn(&rig.launch()).unwrap();
        // Not by the clock but by what it has done: between two clones, at another place each time.
        let goal = (clones(&rig).await + 1 + round).min(50);
        rig.called_often("CloneVM_Task", goal).await.unwrap();
        operator.process.kill().await;
    }
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 50).await.unwrap();
    exactly(&rig, 50).await;

    rig.remove("web").await.unwrap();
    let left = rig.vcenter.vms_in(&folder).await.unwrap();
    assert_eq!(left.iter().map(|vm| vm.name.as_str()).collect::<Vec<_>>(), ["stranger"]);
}

/// Waits until the replies to this many clones were cut. The vCenter counts calls when they come in, and one whose caller is gone by then is
/// not carried out.
async fn cut_replies(operator: &OperatorProcess, count: usize) {
    eventually(&format!("{count} clones have taken effect"), PATIENCE, async || {
        let log = operator.process.log();
        let cut = log.lines().filter(|line| line.contains("call failed") && line.contains("CloneVM_Task"));
        Ok((cut.count() >= count).then_some(()))
    })
    .await
    .unwrap();
}

/// Killed at the worst moment: clones were asked for, and no reply has arrived.
#[tokio::test(flavor = "multi_thread")]
async fn killed_between_the_request_and_its_reply() {
    let _place = large_place().await;
    let rig = VmRig::with_clones_of(Duration::from_secs(3)).await.unwrap();
    with_stranger(&rig).await;
    let mut operator = rig.operator().await.unwrap();
    rig.vcenter.fault(Fault::cut_after("CloneVM_Task").until_cleared()).await.unwrap();
    let before = clones(&rig).await;
    rig.apply("web", 9, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", before + 8).await.unwrap();
    cut_replies(&operator, 8).await;
    operator.process.kill().await;
    rig.vcenter.clear_faults().await.unwrap();
    let asked = clones(&rig).await;

    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 9).await.unwrap();
    exactly(&rig, 9).await;
    assert_eq!(clones(&rig).await, asked, "what was under way was waited for, not asked for again");
}

/// As before, of a group that is deleted before the next operator starts. By the clock of the vCenter, the clone is older than the group.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_reply_and_deleted() {
    let _place = place().await;
    let behind = Duration::from_mins(90);
    let vcenter = Vcsim::builder().clone_time(Duration::from_secs(20)).clock_offset(behind, false);
    let rig = VmRig::with(vcenter).await.unwrap();
    let mut operator = rig.operator().await.unwrap();
    rig.vcenter.fault(Fault::cut_after("CloneVM_Task").until_cleared()).await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    cut_replies(&operator, 1).await;
    operator.process.kill().await;
    rig.vcenter.clear_faults().await.unwrap();
    rig.delete("web").await.unwrap();

    let _operator = rig.operator().await.unwrap();
    instance_says(&rig, "web-0", "WaitingForEarlierClone").await;
    rig.gone("web").await.unwrap();
    assert_eq!(rig.vcenter.vms_in(&rig.folder("web")).await.unwrap(), []);
    assert_eq!(clones(&rig).await, 1);
    assert_eq!(rig.called("Destroy_Task").await.unwrap(), 1);
}

/// Every reply to a clone, and later to a destroy, is cut after the call took effect.
#[tokio::test(flavor = "multi_thread")]
async fn replies_cut_after_clone_and_destroy() {
    let _place = large_place().await;
    let rig = VmRig::with_clones_of(Duration::from_millis(500)).await.unwrap();
    with_stranger(&rig).await;
    let _operator = rig.operator().await.unwrap();
    let before = clones(&rig).await;
    rig.vcenter.fault(Fault::cut_after("CloneVM_Task").times(20)).await.unwrap();
    rig.apply_and_settle("web", 50).await.unwrap();
    exactly(&rig, 50).await;
    assert_eq!(clones(&rig).await - before, 49, "one clone for each machine, replies lost or not");

    rig.vcenter.fault(Fault::cut_after("Destroy_Task").times(20)).await.unwrap();
    rig.vcenter.fault(Fault::cut_after("PowerOffVM_Task").times(20)).await.unwrap();
    rig.apply_and_settle("web", 10).await.unwrap();
    exactly(&rig, 10).await;
}

/// Must hold 4: a sampler compares what is claimed with what is, through restarts and losses.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_never_claims_what_is_not_so() {
    let _place = place().await;
    let rig = Arc::new(VmRig::start().await.unwrap());
    let folder = rig.folder("web");
    let mut operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 4).await.unwrap();

    // While no operator runs, one machine goes and another is switched off; what mends it is held up.
    operator.process.kill().await;
    rig.vcenter.unregister_vm(&format!("{folder}/web-0")).await.unwrap();
    rig.vcenter.power_off(&format!("{folder}/web-1")).await.unwrap();
    let stale = rig.api("VmGroup").get("web").await.unwrap();
    rig.vcenter.set_clone_time(Duration::from_secs(2)).await.unwrap();
    for method in ["CloneVM_Task", "PowerOnVM_Task"] {
        rig.vcenter.fault(Fault::hang(method).until_cleared()).await.unwrap();
    }

    let stop = Arc::new(AtomicBool::new(false));
    let sampler = tokio::spawn({
        let (rig, stop) = (Arc::clone(&rig), Arc::clone(&stop));
        async move {
            let mut lies = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                // Reality before and after the claim: it may change in between, but only for the better here.
                let group = rig.api("VmGroup").get("web").await?;
                let on = rig.vcenter.vms_in(&folder).await?.iter().filter(|vm| vm.is_on()).count();
                let status = &group.data["status"];
                let fresh = group.metadata.resource_version != stale.metadata.resource_version;
                let claimed = usize::try_from(status["readyReplicas"].as_u64().unwrap_or(0))?;
                if fresh && (claimed > on || (ready(status).is_some_and(|(s, _)| s == "True") && on < 4)) {
                    lies.push(format!("{on} are on, but: {status}"));
                }
            }
            anyhow::Ok(lies)
        }
    });
    let operator = rig.operator().await.unwrap();
    eventually("it says that two machines are missing", PATIENCE, async || {
        Ok((rig.status("web").await?["readyReplicas"] == 2).then_some(()))
    })
    .await
    .unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    rig.settled("web", 4).await.unwrap();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(sampler.await.unwrap().unwrap(), Vec::<String>::new());
    drop(operator);
}

/// Must hold 7: two replicas, one writes; its death hands over.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_dies_and_the_standby_takes_over() {
    let _place = place().await;
    let rig = VmRig::builder().alone().start().await.unwrap();
    let start = |name: &str| {
        let launch = rig.launch().arg("--enable-leader-election").env("POD_NAME", name);
        rig.spawn(&launch)
    };
    let leads = async |operator: &OperatorProcess| {
        let (_, metrics) = operator.get("/metrics").await?;
        Ok::<_, anyhow::Error>(metrics.lines().any(|l| l == "operator_leader 1"))
    };
    let mut first = start("first").unwrap();
    first.ready().await.unwrap();
    eventually("the first leads", PATIENCE, async || Ok(leads(&first).await?.then_some(()))).await.unwrap();
    let mut second = start("second").unwrap();
    second.ready().await.unwrap();
    rig.apply_and_settle("web", 3).await.unwrap();
    assert!(!leads(&second).await.unwrap(), "never two");
    assert_eq!(rig.vcenter.sessions().await.unwrap().now, 1, "a standby has no session");
    let (_, report) = second.get("/readyz").await.unwrap();
    assert!(report.contains("[+] vcenter: not tried, standby"), "{report}");

    rig.apply("web", 8, "photon").await.unwrap();
    first.process.kill().await;
    eventually("the second leads", PATIENCE, async || Ok(leads(&second).await?.then_some(()))).await.unwrap();
    rig.settled("web", 8).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 8);
}

/// A leader that was stopped for longer than its Lease ends instead of writing on.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_slept_through_its_lease_ends() {
    let _place = place().await;
    let rig = VmRig::builder().alone().start().await.unwrap();
    let folder = rig.folder("web");
    let start = |name: &str| {
        let launch = rig.launch().arg("--enable-leader-election").env("POD_NAME", name);
        rig.spawn(&launch)
    };
    let mut first = start("first").unwrap();
    first.ready().await.unwrap();
    rig.apply_and_settle("web", 1).await.unwrap();
    let mut second = start("second").unwrap();
    second.ready().await.unwrap();

    first.process.suspend().unwrap();
    rig.apply_and_settle("web", 4).await.unwrap();
    first.process.resume().unwrap();
    let status = tokio::time::timeout(PATIENCE, first.process.wait()).await.unwrap();
    assert!(!status.success(), "{status}");
    assert_eq!(rig.machines().await.unwrap().len(), 4);
    assert!(rig.vcenter.vms_in(&folder).await.unwrap().iter().all(testbed::SimVm::is_on));
}
