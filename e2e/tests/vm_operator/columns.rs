//! What `kubectl get vg` shows: the original's columns, drift, deletion, and no status that anyone wrote by hand.

use anyhow::ensure;
use e2e::{PATIENCE, VmRig};
use kube::ResourceExt;
use serde_json::json;
use testbed::{Fault, eventually};

use crate::start_web;

/// Returns the cells of a row of `kubectl get vg`, the message as one cell.
async fn row(rig: &VmRig, name: &str, wide: bool) -> Vec<String> {
    let output = if wide { "wide" } else { "" };
    let table = rig.kubectl(&["get", "vg", name, "--no-headers", "-o", output]).await.unwrap();
    let cells: Vec<&str> = table.split_whitespace().collect();
    let message = if wide { 10 } else { 7 };
    let (cells, words) = cells.split_at(message.min(cells.len()));
    cells.iter().map(ToString::to_string).chain([words.join(" ")]).collect()
}

/// Waits until the row's message contains a text.
async fn row_says(rig: &VmRig, name: &str, text: &str) -> Vec<String> {
    eventually(&format!("the row of {name} says {text}"), PATIENCE, async || {
        let row = row(rig, name, true).await;
        ensure!(row.last().is_some_and(|message| message.contains(text)), "it is {row:?}");
        Ok(Some(row))
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_says_what_a_user_has_to_know() {
    let (_place, rig, _operator) = start_web(3).await;

    let table = rig.kubectl(&["get", "vg", "-o", "wide"]).await.unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    let (seed, beside) =
        (["NAME", "PHASE", "CURRENT", "DESIRED", "CPU", "MEMORY", "TEMPLATE"], ["READY", "SYNCED", "AGE"]);
    assert_eq!(header, [&seed[..], &beside, &["LAST_MESSAGE"]].concat());
    let ready = "3 of 3 virtual machines are ready";
    assert_eq!(row(&rig, "web", false).await, ["web", "RUNNING", "3", "3", "1", "1", "photon", ready]);
    assert_eq!(row(&rig, "web", true).await[7..9], ["3/3", "True"]);

    drift_is_shown(&rig, ready).await;
    a_deleted_instance_comes_back_under_its_name(&rig).await;
    a_status_written_by_hand_is_corrected(&rig).await;

    rig.vcenter.fault(Fault::hang("PowerOffVM_Task").until_cleared()).await.unwrap();
    rig.delete("web").await.unwrap();
    let row = row_says(&rig, "web", "left to remove").await;
    assert_eq!(row[1], "DELETING", "{row:?}");
    rig.vcenter.clear_faults().await.unwrap();
    rig.gone("web").await.unwrap();
}

/// Machines from an earlier spec show in the row and as one event, also while all are ready.
async fn drift_is_shown(rig: &VmRig, ready: &str) {
    let patch = json!({ "spec": { "cpu": 2 } }).to_string();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    let row = row_says(rig, "web", "3 of 3 virtual machines were made from an earlier cpu").await;
    assert_eq!([&row[1], &row[7], &row[8]], ["RUNNING", "3/3", "False"], "{row:?}");
    assert!(row[10].starts_with(ready), "{row:?}");
    eventually("one event says so", PATIENCE, async || {
        let events = rig.kubectl(&["get", "events", "--field-selector=reason=OutdatedMachines"]).await?;
        ensure!(events.matches("Warning").count() == 1, "{events}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// The instance comes back under its name, and so does its machine, from the present spec.
async fn a_deleted_instance_comes_back_under_its_name(rig: &VmRig) {
    let instances = rig.api("VmInstance");
    let before = instances.get("web-1").await.unwrap().uid();
    rig.kubectl(&["delete", "vgi", "web-1", "--timeout=180s"]).await.unwrap();
    eventually("web-1 is another", PATIENCE, async || {
        let now = instances.get_opt("web-1").await?;
        Ok(now.filter(|now| now.uid() != before).map(drop))
    })
    .await
    .unwrap();
    row_says(rig, "web", "; 2 of 3 virtual machines were made").await;
    let machines: Vec<_> = rig.vcenter.vms_in(&rig.folder("web")).await.unwrap();
    let mut machines: Vec<_> = machines.iter().map(|vm| (&*vm.name, vm.cpu)).collect();
    machines.sort_unstable();
    assert_eq!(machines, [("web-0", 1), ("web-1", 2), ("web-2", 1)]);
}

/// What is wrong is corrected, and what does not belong there is removed.
async fn a_status_written_by_hand_is_corrected(rig: &VmRig) {
    let edit = async |kind: &str, name: &str, status: serde_json::Value| {
        let before = rig.api(kind).get(name).await.unwrap().data["status"].clone();
        let patch = json!({ "status": status }).to_string();
        let edit = ["patch", kind, name, "--subresource=status", "--type=merge", "-p", &patch];
        rig.kubectl(&edit).await.unwrap();
        eventually(&format!("the status of {name} is corrected"), PATIENCE, async || {
            let now = rig.api(kind).get(name).await?.data["status"].clone();
            ensure!(now == before, "it was {before}, and is {now}");
            Ok(Some(()))
        })
        .await
        .unwrap();
    };
    edit("VmGroup", "web", json!({"phase": "ERROR", "readyReplicas": 7, "lastMessage": "by hand"})).await;
    let task = json!({"ref": "task-9", "kind": "Clone", "submittedAt": "2026-01-01T00:00:00Z"});
    edit("VmInstance", "web-0", json!({"vmRef": "vm-999", "power": null, "task": task})).await;
}
