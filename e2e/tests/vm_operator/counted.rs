//! Must hold 2: what it costs, counted at the vCenter and at the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{PATIENCE, Rig, VmRig};
use testbed::{Vcsim, eventually};

use crate::{large_place, place, start_web};

/// Calls that are the work itself.
const WORK: [&str; 6] =
    ["CloneVM_Task", "PowerOnVM_Task", "PowerOffVM_Task", "Destroy_Task", "CreateFolder", "WaitForUpdatesEx"];

fn count(calls: &BTreeMap<String, u64>, method: &str) -> u64 {
    calls.get(method).copied().unwrap_or(0)
}

fn overhead(calls: &BTreeMap<String, u64>) -> u64 {
    calls.iter().filter(|(method, _)| !WORK.contains(&method.as_str())).map(|(_, n)| n).sum()
}

/// Makes `groups` groups of `size` by clones that take this long, deletes them, and counts.
async fn round(groups: usize, size: usize, clone_time: Duration) {
    let templates: Vec<String> = (0..groups).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = templates.iter().map(String::as_str).collect();
    let rig = VmRig::with(Vcsim::builder().templates(&names).clone_time(clone_time)).await.unwrap();
    let begin = std::time::Instant::now();
    let _operator = rig.operator().await.unwrap();
    let (vms, folders) = (u64::try_from(groups * size).unwrap(), u64::try_from(groups).unwrap());

    for (n, template) in templates.iter().enumerate() {
        rig.apply(&format!("g{n}"), size, template).await.unwrap();
    }
    for n in 0..groups {
        rig.settled(&format!("g{n}"), size).await.unwrap();
    }
    let made = rig.calls().await.unwrap();
    assert_eq!(count(&made, "CloneVM_Task"), vms);
    assert_eq!(count(&made, "PowerOnVM_Task"), 0, "the clone spec's powerOn is honoured here");
    assert_eq!(count(&made, "CreateFolder"), folders);
    assert!(overhead(&made) <= 25, "{made:?}");
    let polls = count(&rig.vcenter.calls().await.unwrap(), "WaitForUpdatesEx");
    // Ten in a burst and three each second, of all seconds since the operator began (`vms::Config::poll_burst`).
    let elapsed = begin.elapsed();
    assert!(polls <= 12 + 4 * (elapsed.as_secs() + 1), "{polls} polls in {elapsed:?}");

    rig.vcenter.reset_calls().await.unwrap();
    for n in 0..groups {
        rig.delete(&format!("g{n}")).await.unwrap();
    }
    for n in 0..groups {
        rig.gone(&format!("g{n}")).await.unwrap();
    }
    let removed = rig.calls().await.unwrap();
    assert_eq!(count(&removed, "PowerOffVM_Task"), vms);
    assert_eq!(count(&removed, "Destroy_Task"), vms);
    assert_eq!(count(&removed, "UnregisterAndDestroy_Task"), folders);
    // Each folder is read, and then removed. Machines are confirmed before the power-off and before the removal, those of one
    // moment by one call; how many that are depends on the machine, but with a call for each there would be two of each.
    assert!(overhead(&removed) <= 25 + 2 * folders + vms / 2, "{removed:?}");
    assert_eq!(count(&removed, "CloneVM_Task") + count(&removed, "PowerOnVM_Task"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_for_each_of_fifty_machines_in_one_group() {
    let _place = large_place().await;
    round(1, 50, Duration::ZERO).await;
}

/// Must hold 1, too: all of them become ready.
#[tokio::test(flavor = "multi_thread")]
async fn one_call_for_each_of_two_hundred_machines_in_twenty_groups() {
    let _place = large_place().await;
    round(20, 10, Duration::from_secs(2)).await;
}

/// On a vCenter that ignores the clone spec's powerOn, each machine takes one PowerOn.
#[tokio::test(flavor = "multi_thread")]
async fn machines_that_come_up_off_are_powered_on_once() {
    let _place = place().await;
    let rig = VmRig::with(Vcsim::builder().honour_power_on(false)).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 5).await.unwrap();
    let calls = rig.calls().await.unwrap();
    assert_eq!((count(&calls, "CloneVM_Task"), count(&calls, "PowerOnVM_Task")), (5, 5));
}

/// At rest nothing is written, and nothing is called but the long poll; nor by another look at a settled group.
#[tokio::test(flavor = "multi_thread")]
async fn a_settled_group_costs_nothing() {
    let (_place, rig, operator) = start_web(3).await;

    let ours = async || Ok::<_, anyhow::Error>(rig.requests()?);
    let passes = async || operator.passes_of("vmgroup").await;
    // The group may have been ready before its instances said so.
    rig.kubectl(&["wait", "vgi", "--all", "--for=condition=Ready", "--timeout=180s"]).await.unwrap();
    // Writes made before that may still be on their way into the log.
    let quiet = async || {
        let mut last = (0, 0);
        eventually("the operator rests", PATIENCE, async || {
            let now = (ours().await?.len(), passes().await?);
            tokio::time::sleep(Duration::from_secs(1)).await;
            let rests = now == last;
            last = now;
            Ok(rests.then_some(now))
        })
        .await
        .unwrap()
    };
    let before = quiet().await;
    rig.vcenter.reset_calls().await.unwrap();

    // A touch of the metadata that changes nothing asked for: seen, and passed over.
    rig.kubectl(&["annotate", "vg/web", "touched=yes"]).await.unwrap();
    // A finalizer of another client makes every controller look again.
    let patch =
        r#"{"metadata":{"finalizers":["vm.codeconnect.vmworld.com/vm-operator","example.com/other"]}}"#;
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", patch]).await.unwrap();
    eventually("the group was looked at again", PATIENCE, async || {
        Ok((passes().await? > before.1).then_some(()))
    })
    .await
    .unwrap();
    let after = quiet().await;
    let writes: Vec<_> =
        ours().await.unwrap().split_off(before.0).into_iter().filter(testbed::AuditEvent::is_write).collect();
    assert!(after.1 > before.1 && writes.is_empty(), "{writes:?}");
    assert_eq!(rig.calls().await.unwrap(), BTreeMap::new());
}
