//! What the operator is for: machines appear, scale, are powered on again, and go.

use std::collections::BTreeMap;

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig, ready};
use kube::api::ListParams;
use serde_json::json;
use testbed::{Fault, eventually};

use crate::refusal::Refusal;
use crate::safety::instance_says;
use crate::{large_place, place, start_operator, start_web};

#[tokio::test(flavor = "multi_thread")]
async fn machines_appear_scale_recover_and_go() {
    let (_place, rig, _operator) = start_operator().await;
    let status = rig.apply_and_settle("web", 3).await.unwrap();
    assert_eq!(status["phase"], "RUNNING");
    assert_eq!(status["currentReplicas"], 3);
    assert_eq!(status["desiredReplicas"], 3);
    assert_eq!(status["selector"], "vm.codeconnect.vmworld.com/group=web");
    let folder = &rig.folder("web");
    let machines: Vec<_> = rig.machines().await.unwrap().into_iter().collect();
    let expected: Vec<_> = (0..3).map(|slot| (format!("{folder}/web-{slot}"), true)).collect();
    assert_eq!(machines, expected);
    for vm in rig.vcenter.vms_in(folder).await.unwrap() {
        assert_eq!((vm.cpu, vm.memory_mb), (1, 1024));
        assert!(
            vm.extra_config["vmgroup/owner"].contains(&format!("/{}/web/", rig.namespace())),
            "{:?}",
            vm.extra_config
        );
    }

    rig.kubectl(&["scale", "vg/web", "--replicas=5"]).await.unwrap();
    rig.settled("web", 5).await.unwrap();
    rig.kubectl(&["wait", "--for=condition=Ready", "vg/web", "--timeout=180s"]).await.unwrap();

    // Two events, not one with the first note.
    let events = rig.event("creating 2 virtual machines").await.unwrap();
    assert!(events.contains("creating 3 virtual machines"), "{events}");

    rig.vcenter.power_off(&format!("{folder}/web-1")).await.unwrap();
    rig.on(&format!("{folder}/web-1")).await.unwrap();

    rig.vcenter.unregister_vm(&format!("{folder}/web-2")).await.unwrap();
    eventually(
        "web-2 is made again",
        PATIENCE,
        async || Ok((rig.machines().await?.len() == 5).then_some(())),
    )
    .await
    .unwrap();
    rig.settled("web", 5).await.unwrap();

    rig.kubectl(&["scale", "vg/web", "--replicas=0"]).await.unwrap();
    rig.settled("web", 0).await.unwrap();
    assert!(rig.machines().await.unwrap().is_empty());

    rig.kubectl(&["scale", "vg/web", "--replicas=2"]).await.unwrap();
    rig.settled("web", 2).await.unwrap();
    rig.remove("web").await.unwrap();
    assert!(rig.machines().await.unwrap().is_empty());
    assert_eq!(rig.vcenter.folders().await.unwrap(), ["/DC0/vm", "/DC0/vm/vm-operator"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_template_says_so_and_recovers_when_patched() {
    let (_place, rig, _operator) = start_operator().await;
    rig.apply("vg-2", 2, "no-such-template").await.unwrap();

    let status = rig.reason("vg-2", "TemplateNotFound").await.unwrap();
    assert_eq!(status["phase"], "ERROR");
    assert_eq!(status["readyReplicas"], 0);
    assert!(status["lastMessage"].as_str().unwrap().contains("no-such-template"), "{status}");
    rig.event("TemplateNotFound").await.unwrap();

    let patch = json!({ "spec": { "template": "photon" } }).to_string();
    rig.kubectl(&["patch", "vg", "vg-2", "--type=merge", "-p", &patch]).await.unwrap();
    rig.settled("vg-2", 2).await.unwrap();
}

/// A person who asks for less because the vCenter refuses more gets less.
#[tokio::test(flavor = "multi_thread")]
async fn a_corrected_spec_reaches_instances_whose_clones_fail() {
    let (_place, rig, _operator) = start_operator().await;
    let fault = Fault::task("CloneVM_Task", "InsufficientMemoryResourcesFault");
    rig.vcenter.fault(fault.until_cleared()).await.unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    let spec = |cpu: i32| json!({ "spec": { "cpu": cpu, "memory": cpu } }).to_string();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &spec(4)]).await.unwrap();
    rig.reason("web", "NoResources").await.unwrap();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &spec(2)]).await.unwrap();
    let cpus = ["get", "vgi", "-o", "jsonpath={.items[*].spec.cpu}"];
    eventually("the instances have the new spec", PATIENCE, async || {
        let found = rig.kubectl(&cpus).await?;
        anyhow::ensure!(found == "2 2", "{found}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    let machines = rig.vcenter.vms_in(&rig.folder("web")).await.unwrap();
    assert_eq!(machines.iter().map(|machine| machine.cpu).collect::<Vec<_>>(), [2, 2]);
}

/// A VmInstance that cannot be created keeps no other from the group's new spec.
#[tokio::test(flavor = "multi_thread")]
async fn one_instance_that_is_refused_delays_no_other() {
    let (_place, rig, _operator) = start_operator().await;
    let policy = Refusal::of(&rig, "vminstances", "object.metadata.name == 'web-2'").await;
    rig.apply("web", 3, "no-such-template").await.unwrap();
    instance_says(&rig, "web-1", "TemplateNotFound").await;
    let patch = json!({ "spec": { "template": "photon" } }).to_string();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    for name in ["web-0", "web-1"] {
        instance_says(&rig, name, "AsAsked").await;
    }
    policy.end(&rig).await;
    rig.settled("web", 3).await.unwrap();
}

/// Where the original wanted templates: in the operator's own folder. They are cloned, and left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_may_stand_in_the_operators_folder() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    rig.vcenter.add_vm("/DC0/vm/vm-operator", "golden").await.unwrap();
    let _operator = rig.operator().await.unwrap();
    // No template by its flag: it is cloned when its path is given, and the message says so.
    rig.apply("web", 2, "golden").await.unwrap();
    let status = rig.reason("web", "TemplateNotFound").await.unwrap();
    assert!(status["lastMessage"].as_str().unwrap().contains("/DC0/vm/vm-operator/golden"), "{status}");
    rig.apply("web", 2, "/DC0/vm/vm-operator/golden").await.unwrap();
    rig.settled("web", 2).await.unwrap();
    rig.apply("path", 1, "/DC0/vm/vm-operator/golden").await.unwrap();
    rig.settled("path", 1).await.unwrap();
    for name in ["web", "path"] {
        rig.remove(name).await.unwrap();
    }
    let left: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert_eq!(left, ["/DC0/vm/vm-operator/golden"]);
}

/// A datacenter takes its time to be searched for the template: every machine goes on when it is found.
#[tokio::test(flavor = "multi_thread")]
async fn all_machines_wait_for_one_look_up_of_the_template() {
    let (_place, rig, _operator) = start_operator().await;
    let slow = std::time::Duration::from_secs(2);
    rig.vcenter.fault(Fault::delay("RetrievePropertiesEx", slow).until_cleared()).await.unwrap();
    rig.apply_and_settle("web", 6).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_are_reported_and_reach_replaced_machines() {
    let (_place, rig, _operator) = start_web(2).await;

    let patch = json!({ "spec": { "cpu": 2, "memory": 3 } }).to_string();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    let synced = async |wanted: &str| {
        eventually(&format!("ConfigSynced is {wanted}"), PATIENCE, async || {
            let status = rig.status("web").await?;
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            Ok(conditions.iter().any(|c| c["type"] == "ConfigSynced" && c["status"] == wanted).then_some(()))
        })
        .await
        .unwrap();
    };
    synced("False").await;
    rig.kubectl(&["delete", "vgi", "--all", "--timeout=180s"]).await.unwrap();
    // In this order: until the old machines are seen to be gone, the status still counts them as ready.
    synced("True").await;
    rig.settled("web", 2).await.unwrap();
    let machines = rig.vcenter.vms_in(&rig.folder("web")).await.unwrap();
    assert_eq!(machines.len(), 2);
    for vm in machines {
        assert_eq!((vm.cpu, vm.memory_mb), (2, 3072));
    }
}

/// Must hold 1: two hundred machines stand in line, and one more group does not wait behind them.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_group_does_not_wait_behind_twenty_large_ones() {
    let _place = large_place().await;
    let rig = VmRig::start().await.unwrap();
    let _operator = rig.operator_with(&rig.launch().env("MAX_CLONES", "1")).await.unwrap();

    // Nothing moves before all stand in line, and the late group behind them.
    rig.vcenter.fault(Fault::hang("CloneVM_Task").until_cleared()).await.unwrap();
    for n in 0..20 {
        rig.apply(&format!("g{n}"), 10, "photon").await.unwrap();
    }
    queued(&rig, 199).await;
    rig.apply("late", 1, "photon").await.unwrap();
    queued(&rig, 200).await;
    rig.vcenter.clear_faults().await.unwrap();
    rig.settled("late", 1).await.unwrap();

    // The vCenter numbers machines in the order in which they are made.
    let vms = rig.vcenter.vms().await.unwrap();
    let made: BTreeMap<u64, &str> =
        vms.iter().map(|vm| (vm.moref.trim_start_matches("vm-").parse().unwrap(), &*vm.path)).collect();
    let late = format!("{}.late/", rig.namespace());
    let groups = made.values().filter_map(|path| path.strip_prefix("/DC0/vm/vm-operator/"));
    let before = groups.take_while(|path| !path.starts_with(&late)).count();
    assert!(before <= 21, "one is made when all stand in line, then one of each group: {made:?}");
}

/// Waits until so many machines stand in line to be cloned.
async fn queued(rig: &VmRig, count: usize) {
    let instances = rig.api("VmInstance");
    eventually(&format!("{count} stand in line"), PATIENCE, async || {
        let list = instances.list(&ListParams::default()).await?;
        let reasons = list.iter().filter_map(|i| ready(i.data.get("status")?).map(|(_, reason)| reason));
        let now = reasons.filter(|reason| *reason == "Queued").count();
        ensure!(now == count, "{now} do");
        Ok(Some(()))
    })
    .await
    .unwrap();
}
