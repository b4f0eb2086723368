//! One event for each step of a machine, also across restarts of the operator.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig};
use serde_json::Value;
use testbed::eventually;

use crate::start_web;

/// Returns how often each of these reasons was published about each object.
async fn counts(rig: &VmRig) -> BTreeMap<(String, String), u64> {
    let events = rig.kubectl(&["get", "events.events.k8s.io", "-o", "json"]).await.unwrap();
    let events: Value = serde_json::from_str(&events).unwrap();
    let mut counts = BTreeMap::new();
    for event in events["items"].as_array().unwrap() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key = (text(&event["regarding"]["name"]), text(&event["reason"]));
        *counts.entry(key).or_default() += event["series"]["count"].as_u64().unwrap_or(1);
    }
    counts
}

/// Waits until the events about the machines of a group are these, and no others.
async fn happened(rig: &VmRig, group: &str, wanted: &[(&str, &str, u64)]) {
    let wanted: BTreeMap<_, _> =
        wanted.iter().map(|(name, reason, n)| (((*name).to_owned(), (*reason).to_owned()), *n)).collect();
    eventually(&format!("the events of {group}"), PATIENCE, async || {
        let mut counts = counts(rig).await;
        counts.retain(|(name, _), _| name.starts_with(&format!("{group}-")));
        ensure!(counts == wanted, "{counts:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_of_a_machine_is_one_event() {
    let (_place, rig, operator) = start_web(3).await;
    let made: Vec<_> = ["web-0", "web-1", "web-2"]
        .iter()
        .flat_map(|name| [(*name, "Cloned", 1), (*name, "PoweredOn", 1)])
        .collect();
    happened(&rig, "web", &made).await;

    // A restart repeats nothing.
    drop(operator);
    let operator = rig.operator().await.unwrap();
    let path = |name: &str| format!("{}/{name}", rig.folder("web"));
    for times in 1..=2 {
        rig.vcenter.power_off(&path("web-1")).await.unwrap();
        // A machine that is off again before its repair has ended is repaired once.
        happened(&rig, "web", &[&made[..], &[("web-1", "Repaired", times)]].concat()).await;
    }
    rig.vcenter.unregister_vm(&path("web-0")).await.unwrap();
    rig.on(&path("web-0")).await.unwrap();
    rig.settled("web", 3).await.unwrap();
    let repaired = [&made[..], &[("web-0", "Repaired", 1), ("web-1", "Repaired", 2)]].concat();
    happened(&rig, "web", &repaired).await;

    // Nor does one that comes in the middle of a clone.
    rig.vcenter.set_clone_time(Duration::from_secs(3)).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    rig.apply("late", 2, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", 2).await.unwrap();
    drop(operator);
    let _operator = rig.operator().await.unwrap();
    rig.settled("late", 2).await.unwrap();
    let late = ["late-0", "late-1"].iter().flat_map(|name| [(*name, "Cloned", 1), (*name, "PoweredOn", 1)]);
    happened(&rig, "late", &late.collect::<Vec<_>>()).await;

    rig.apply_and_settle("web", 2).await.unwrap();
    happened(&rig, "web", &[&repaired[..], &[("web-2", "Removed", 1)]].concat()).await;
}
