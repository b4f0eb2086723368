//! A machine that an administrator took away, and an instance whose group is gone, leave the machine as it is.

use std::time::Duration;

use e2e::{PATIENCE, Rig, VmRig};
use serde_json::json;
use testbed::{Account, Connection, Fault, Outage, eventually};

use crate::refusal::Refusal;
use crate::safety::instance_says;
use crate::{start_operator, start_web};

const RESCUE: &str = "/DC0/vm/rescue";

/// Returns whether each machine in the folder is on, by name.
async fn powered(rig: &VmRig, folder: &str) -> Vec<(String, bool)> {
    let vms = rig.vcenter.vms_in(folder).await.unwrap();
    let mut vms: Vec<_> = vms.iter().map(|vm| (vm.name.clone(), vm.is_on())).collect();
    vms.sort();
    vms
}

/// A backup tool, or `kubectl create -f`, restores VmInstances of a group that was detached and deleted: the garbage
/// collector deletes them at once.
#[tokio::test(flavor = "multi_thread")]
async fn restored_instances_of_a_detached_group_destroy_nothing() {
    let (_place, rig, _operator) = start_web(2).await;
    let folder = rig.folder("web");
    let backup = rig.kubectl(&["get", "vgi", "-o", "yaml"]).await.unwrap();
    rig.kubectl(&["annotate", "vg", "web", "vm.codeconnect.vmworld.com/detach=true"]).await.unwrap();
    rig.remove("web").await.unwrap();
    rig.kubectl(&["wait", "--for=delete", "vgi", "--all", "--timeout=180s"]).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();

    rig.kubectl_stdin(&["create", "-f", "-"], &backup).await.unwrap();
    rig.kubectl(&["delete", "vgi", "--all", "--timeout=180s"]).await.unwrap();
    let on = [("web-0".to_owned(), true), ("web-1".to_owned(), true)];
    assert_eq!(powered(&rig, &folder).await, on);
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("PowerOffVM_Task") && !calls.contains_key("Destroy_Task"), "{calls:?}");
    rig.event("MachineReleased").await.unwrap();
}

/// While calls of a slow vCenter are in flight, an administrator pauses the group and moves its machines away.
#[tokio::test(flavor = "multi_thread")]
async fn requests_in_the_queue_end_with_a_pause() {
    let (_place, rig, _operator) = start_operator().await;
    let folder = rig.folder("web");
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    rig.apply_and_settle("web", 12).await.unwrap();
    let slow = Duration::from_secs(10);
    rig.vcenter.fault(Fault::delay("PowerOffVM_Task", slow).until_cleared()).await.unwrap();
    rig.delete("web").await.unwrap();
    rig.called_often("PowerOffVM_Task", 8).await.unwrap();
    let patch = json!({"spec": {"paused": true}}).to_string();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    rig.reason("web", "Paused").await.unwrap();
    for (name, _) in powered(&rig, &folder).await {
        rig.vcenter.move_vm(&format!("{folder}/{name}"), RESCUE).await.unwrap();
    }
    // The calls in flight have their effect; those in the queue are taken back.
    eventually("the calls in flight have ended", PATIENCE, async || {
        let off = powered(&rig, RESCUE).await.iter().filter(|(_, on)| !on).count();
        Ok((off == 8).then_some(()))
    })
    .await
    .unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    let patch = json!({"spec": {"paused": false}}).to_string();
    rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    rig.gone("web").await.unwrap();
    assert_eq!(powered(&rig, RESCUE).await.iter().filter(|(_, on)| *on).count(), 4);
    assert!(rig.vcenter.removed_vms().await.unwrap().is_empty());
}

/// The vCenter does not report that a machine was moved and that another lost its marker.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_not_removed_on_old_information() {
    let (_place, rig, _operator) = start_operator().await;
    let folder = rig.folder("web");
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    rig.apply_and_settle("web", 3).await.unwrap();
    for name in ["web-0", "web-1"] {
        rig.vcenter.lose_updates(&format!("{folder}/{name}")).await.unwrap();
    }
    rig.vcenter.move_vm(&format!("{folder}/web-0"), RESCUE).await.unwrap();
    rig.vcenter.set_extra_config(&format!("{folder}/web-1"), "vmgroup/owner", None).await.unwrap();
    rig.remove("web").await.unwrap();
    assert_eq!(powered(&rig, RESCUE).await, [("web-0".to_owned(), true)]);
    assert_eq!(powered(&rig, &folder).await, [("web-1".to_owned(), true)]);
}

/// A machine went while its group was paused: the vCenter has not been asked for it when the group is resumed and scaled down.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_down_destroys_no_machine_where_another_has_gone() {
    let (_place, rig, _operator) = start_web(3).await;
    let folder = rig.folder("web");
    let patch = async |spec: serde_json::Value| {
        let patch = json!({ "spec": spec }).to_string();
        rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    };
    patch(json!({ "paused": true })).await;
    instance_says(&rig, "web-0", "Paused").await;
    rig.vcenter.unregister_vm(&format!("{folder}/web-0")).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    patch(json!({ "paused": false, "replicas": 2 })).await;
    rig.settled("web", 2).await.unwrap();
    let on = [("web-1".to_owned(), true), ("web-2".to_owned(), true)];
    assert_eq!(powered(&rig, &folder).await, on);
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("Destroy_Task") && !calls.contains_key("CloneVM_Task"), "{calls:?}");
}

/// What the operator knew before it chooses is of a time when the machine was there: a last status, an inventory that a silent link has kept, and a
/// vCenter that answers no read in time.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_down_asks_again_before_it_chooses() {
    let (_place, rig, mut operator) = start_web(3).await;
    let folder = rig.folder("web");
    let first = format!("{folder}/web-0");
    let patch = async |spec: serde_json::Value| {
        let patch = json!({ "spec": spec }).to_string();
        rig.kubectl(&["patch", "vg", "web", "--type=merge", "-p", &patch]).await.unwrap();
    };
    let is_chosen = async |what: &str| {
        rig.settled("web", 2).await.unwrap();
        let on = [("web-1".to_owned(), true), ("web-2".to_owned(), true)];
        assert_eq!(powered(&rig, &folder).await, on, "{what}");
        let calls = rig.calls().await.unwrap();
        assert!(
            !calls.contains_key("Destroy_Task") && !calls.contains_key("CloneVM_Task"),
            "{what}: {calls:?}"
        );
        patch(json!({ "replicas": 3 })).await;
        rig.settled("web", 3).await.unwrap();
        rig.vcenter.reset_calls().await.unwrap();
    };
    rig.vcenter.reset_calls().await.unwrap();
    rig.vcenter.set_connection(&first, Connection::Disconnected, false).await.unwrap();
    instance_says(&rig, "web-0", "MachineUnclear").await;
    operator.process.kill().await;
    rig.vcenter.unregister_vm(&first).await.unwrap();
    patch(json!({ "replicas": 2 })).await;
    operator = rig.operator().await.unwrap();
    is_chosen("a last status").await;

    rig.vcenter.outage_for(Outage::Hang, Duration::from_secs(20)).await.unwrap();
    rig.vcenter.unregister_vm(&first).await.unwrap();
    patch(json!({ "replicas": 2 })).await;
    is_chosen("an old inventory").await;

    rig.vcenter.lose_updates(&first).await.unwrap();
    rig.vcenter.unregister_vm(&first).await.unwrap();
    patch(json!({ "replicas": 2 })).await;
    is_chosen("a lost update").await;

    patch(json!({ "paused": true })).await;
    instance_says(&rig, "web-0", "Paused").await;
    rig.vcenter.unregister_vm(&first).await.unwrap();
    let slow = Fault::delay("RetrievePropertiesEx", Duration::from_secs(14));
    rig.vcenter.fault(slow.until_cleared()).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    patch(json!({ "paused": false, "replicas": 2 })).await;
    // Together once, then alone, with another read beside it.
    rig.called_often("RetrievePropertiesEx", 5).await.unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    is_chosen("a vCenter that is slow").await;
    operator.process.kill().await;
}

/// The vCenter does not report that a machine was powered off, or that its host does not answer any more: the machine is read before one is chosen.
#[tokio::test(flavor = "multi_thread")]
async fn scaling_down_removes_the_machine_that_does_not_work() {
    let (_place, rig, _operator) = start_web(3).await;
    let folder = rig.folder("web");
    let first = format!("{folder}/web-0");
    for is_off in [true, false] {
        rig.vcenter.lose_updates(&first).await.unwrap();
        if is_off {
            rig.vcenter.fault(Fault::soap("PowerOnVM_Task", "TaskInProgress").until_cleared()).await.unwrap();
            rig.vcenter.power_off(&first).await.unwrap();
        } else {
            rig.vcenter.set_connection(&first, Connection::Disconnected, true).await.unwrap();
        }
        rig.kubectl(&["scale", "vg/web", "--replicas=2"]).await.unwrap();
        let chosen = ["get", "vgi", "-o", "jsonpath={.items[?(@.metadata.deletionTimestamp)].metadata.name}"];
        eventually("one is chosen", PATIENCE, async || {
            let is_chosen = !rig.kubectl(&chosen).await?.is_empty() || rig.machines().await?.len() < 3;
            Ok(is_chosen.then_some(()))
        })
        .await
        .unwrap();
        rig.vcenter.clear_faults().await.unwrap();
        if !is_off {
            rig.vcenter.restore_updates().await.unwrap();
            rig.vcenter.set_connection(&first, Connection::Connected, true).await.unwrap();
        }
        rig.settled("web", 2).await.unwrap();
        rig.vcenter.restore_updates().await.unwrap();
        let on = [("web-1".to_owned(), true), ("web-2".to_owned(), true)];
        assert_eq!(powered(&rig, &folder).await, on);
        rig.kubectl(&["scale", "vg/web", "--replicas=3"]).await.unwrap();
        rig.settled("web", 3).await.unwrap();
    }
}

/// The vCenter does not answer the read of one machine. Meanwhile another one goes, and nothing reports that.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_goes_while_another_one_hangs_is_chosen() {
    let (_place, rig, _operator) = start_web(4).await;
    let folder = rig.folder("web");
    let vms = rig.vcenter.vms().await.unwrap();
    let hangs = vms.iter().find(|vm| vm.path.ends_with("/web-2")).unwrap().moref.clone();
    let hang = Fault::hang("RetrievePropertiesEx").naming(&hangs).until_cleared();
    rig.vcenter.fault(hang).await.unwrap();
    rig.kubectl(&["scale", "vg/web", "--replicas=3"]).await.unwrap();
    // All are read together once; then the one that hangs alone.
    eventually("the group waits for the machine that hangs alone", PATIENCE, async || {
        let status = rig.status("web").await?.to_string();
        Ok(status.contains(&format!("the machine {hangs} of web-2")).then_some(()))
    })
    .await
    .unwrap();
    rig.vcenter.lose_updates(&format!("{folder}/web-0")).await.unwrap();
    rig.vcenter.unregister_vm(&format!("{folder}/web-0")).await.unwrap();
    rig.settled("web", 3).await.unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    rig.vcenter.restore_updates().await.unwrap();
    let on = ["web-1", "web-2", "web-3"].map(|name| (name.to_owned(), true));
    assert_eq!(powered(&rig, &folder).await, on);
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("Destroy_Task"), "{calls:?}");
}

/// A label is taken off a VmInstance, as by hand: its group is scaled down and deleted all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_the_label_of_its_group_holds_nothing_up() {
    let (_place, rig, _operator) = start_web(3).await;
    rig.kubectl(&["label", "vgi", "web-1", "vm.codeconnect.vmworld.com/group-"]).await.unwrap();
    rig.kubectl(&["scale", "vg/web", "--replicas=2"]).await.unwrap();
    rig.settled("web", 2).await.unwrap();
    let left: Vec<_> = powered(&rig, &rig.folder("web")).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["web-0", "web-1"]);
    rig.remove("web").await.unwrap();
    assert!(rig.machines().await.unwrap().is_empty());
}

/// The session ends while a machine is being destroyed, and the login takes long: meanwhile the machine is moved away, or detached.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_meets_an_ended_session_is_decided_again() {
    let (_place, rig, _operator) = start_operator().await;
    let folder = rig.folder("web");
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    let seconds = Duration::from_secs;
    for (number, is_moved) in [(0, true), (1, false)] {
        let name = format!("web-{number}");
        rig.vcenter.reset_calls().await.unwrap();
        rig.vcenter.fault(Fault::delay("Login", seconds(6)).times(1)).await.unwrap();
        rig.vcenter.fault(Fault::delay("Destroy_Task", seconds(3)).times(1)).await.unwrap();
        rig.kubectl(&["delete", "vgi", &name, "--wait=false"]).await.unwrap();
        rig.called_often("Destroy_Task", 1).await.unwrap();
        rig.vcenter.expire_sessions().await.unwrap();
        rig.called_often("Login", 1).await.unwrap();
        if is_moved {
            rig.vcenter.move_vm(&format!("{folder}/{name}"), RESCUE).await.unwrap();
        } else {
            let detach = "vm.codeconnect.vmworld.com/detach=true";
            rig.kubectl(&["annotate", "vgi", &name, detach]).await.unwrap();
        }
        let about = format!("involvedObject.name={name},reason=MachineReleased");
        eventually("the machine is released", PATIENCE, async || {
            let events = ["get", "events", "--field-selector", &about, "-o", "name"];
            Ok((!rig.kubectl(&events).await?.is_empty()).then_some(()))
        })
        .await
        .unwrap();
        let stays = powered(&rig, if is_moved { RESCUE } else { &folder }).await;
        assert!(stays.iter().any(|(found, _)| *found == name), "{stays:?}");
        assert_eq!(rig.vcenter.pending_faults().await.unwrap(), 0, "the login was slow");
    }
    assert!(rig.vcenter.removed_vms().await.unwrap().is_empty());
}

/// Neither does it report that their folder was moved: each machine is still in it.
#[tokio::test(flavor = "multi_thread")]
async fn machines_whose_folder_was_moved_are_not_removed_on_old_information() {
    let (_place, rig, _operator) = start_operator().await;
    let folder = rig.folder("web");
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    rig.vcenter.lose_updates(&folder).await.unwrap();
    for name in ["web-0", "web-1"] {
        rig.vcenter.lose_updates(&format!("{folder}/{name}")).await.unwrap();
    }
    rig.vcenter.move_folder(&folder, RESCUE).await.unwrap();
    rig.remove("web").await.unwrap();
    let moved = format!("{RESCUE}/{}", folder.rsplit('/').next().unwrap());
    let running = ["web-0", "web-1"].map(|name| (name.to_owned(), true));
    assert_eq!(powered(&rig, &moved).await, running);
}

/// The root folder was moved a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn machines_in_a_root_folder_that_was_moved_are_not_removed() {
    let (_place, rig, _operator) = start_operator().await;
    let folder = rig.folder("web");
    let root = folder.rsplit_once('/').unwrap().0;
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    rig.vcenter.move_folder(root, RESCUE).await.unwrap();
    rig.delete("web").await.unwrap();
    rig.reason("web", "VCenterRootFolderMoved").await.unwrap();
    let moved = folder.replace("/DC0/vm", RESCUE);
    assert_eq!(powered(&rig, &moved).await.iter().filter(|(_, on)| *on).count(), 2);
    rig.vcenter
        .move_folder(&format!("{RESCUE}/{}", root.rsplit('/').next().unwrap()), "/DC0/vm")
        .await
        .unwrap();
    rig.gone("web").await.unwrap();
    assert!(powered(&rig, &folder).await.is_empty());
}

/// The folder of a group was moved while a machine was cloned into it: the machine is found by its task, and no other is made.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_folder_was_moved_during_its_clone_is_known() {
    for (is_deleted, is_lost) in [(false, false), (true, false), (false, true), (true, true)] {
        let (_place, rig, _operator) = start_operator().await;
        if is_lost {
            rig.vcenter.fault(Fault::cut_after("CloneVM_Task").times(1)).await.unwrap();
        }
        let folder = rig.folder("web");
        rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
        rig.vcenter.set_clone_time(Duration::from_secs(3)).await.unwrap();
        rig.apply("web", 1, "photon").await.unwrap();
        rig.called_often("CloneVM_Task", 1).await.unwrap();
        rig.vcenter.move_folder(&folder, RESCUE).await.unwrap();
        if is_deleted {
            rig.remove("web").await.unwrap();
        } else {
            instance_says(&rig, "web-0", "MachineMoved").await;
        }
        let moved = format!("{RESCUE}/{}", folder.rsplit('/').next().unwrap());
        eventually("the machine is there", PATIENCE, async || {
            Ok((powered(&rig, &moved).await.len() == 1).then_some(()))
        })
        .await
        .unwrap();
        assert_eq!(rig.calls().await.unwrap().get("CloneVM_Task"), Some(&1), "deleted: {is_deleted}");
        let events = rig.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).await.unwrap();
        assert_eq!(events.contains("MachineReleased"), is_deleted, "{events}");
    }
}

/// The reply was lost, and the clone ended before the operator looked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_made_and_moved_while_no_operator_ran_is_known() {
    let (_place, rig, mut operator) = start_operator().await;
    let folder = rig.folder("web");
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    rig.vcenter.set_clone_time(Duration::from_secs(2)).await.unwrap();
    rig.vcenter.fault(Fault::cut_after("CloneVM_Task").times(1)).await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", 1).await.unwrap();
    operator.process.kill().await;
    eventually("the machine is made", PATIENCE, async || {
        Ok((powered(&rig, &folder).await.len() == 1).then_some(()))
    })
    .await
    .unwrap();
    rig.vcenter.move_folder(&folder, RESCUE).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    instance_says(&rig, "web-0", "MachineMoved").await;
    assert_eq!(rig.calls().await.unwrap().get("CloneVM_Task"), Some(&1));
}

/// A copy that was made while no operator ran has the marker of its machine, and is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_made_while_no_operator_ran_is_left_alone() {
    let (_place, rig, operator) = start_web(2).await;
    let folder = rig.folder("web");
    drop(operator);
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    rig.vcenter.copy_vm(&format!("{folder}/web-0"), RESCUE, "backup").await.unwrap();
    rig.vcenter.unregister_vm(&format!("{folder}/web-0")).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    rig.remove("web").await.unwrap();
    assert_eq!(powered(&rig, RESCUE).await.len(), 1, "the copy stays");
    let events = rig.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).await.unwrap();
    assert!(!events.contains("MachineMoved") && !events.contains("MachineReleased"), "{events}");
}

/// The account lost the right to see the machines: they are neither replaced nor given up.
#[tokio::test(flavor = "multi_thread")]
async fn machines_that_the_account_may_not_see_are_waited_for() {
    let (_place, rig, _operator) = start_web(2).await;
    let folder = rig.folder("web");
    let (user, password) = (rig.vcenter.user(), rig.vcenter.password());
    rig.vcenter.set_account(&Account::new(user, password).hidden(&folder)).await.unwrap();
    instance_says(&rig, "web-1", "MachineUnclear").await;
    rig.delete("web").await.unwrap();
    rig.vcenter.set_account(&Account::new(user, password)).await.unwrap();
    rig.gone("web").await.unwrap();
    assert!(powered(&rig, &folder).await.is_empty(), "they are removed once they are seen again");
    assert_eq!(rig.calls().await.unwrap().get("CloneVM_Task"), Some(&2));
}

/// While the statuses of VmInstances are refused, the process knows its machines.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_status_is_refused_and_that_was_moved_is_known() {
    let (_place, rig, _operator) = start_operator().await;
    let folder = rig.folder("web");
    rig.vcenter.add_folder("/DC0/vm", "rescue").await.unwrap();
    let policy = Refusal::of(&rig, "vminstances/status", "true").await;
    rig.apply("web", 1, "photon").await.unwrap();
    eventually("the machine is on", PATIENCE, async || {
        Ok(powered(&rig, &folder).await.first().is_some_and(|(_, on)| *on).then_some(()))
    })
    .await
    .unwrap();
    rig.vcenter.move_vm(&format!("{folder}/web-0"), RESCUE).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    rig.called_often("RetrievePropertiesEx", 1).await.unwrap();
    policy.end(&rig).await;
    instance_says(&rig, "web-0", "MachineMoved").await;
    assert_eq!(rig.calls().await.unwrap().get("CloneVM_Task"), None, "no other one is made");
}

/// `kubectl delete --cascade=orphan` keeps the machines.
#[tokio::test(flavor = "multi_thread")]
async fn orphaning_a_group_keeps_its_machines() {
    let (_place, rig, _operator) = start_web(3).await;
    let folder = rig.folder("web");
    let before = powered(&rig, &folder).await;
    rig.vcenter.reset_calls().await.unwrap();
    rig.kubectl(&["delete", "vg", "web", "--cascade=orphan", "--timeout=180s"]).await.unwrap();
    rig.kubectl(&["delete", "vgi", "--all", "--timeout=180s"]).await.unwrap();
    assert_eq!(powered(&rig, &folder).await, before);
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("PowerOffVM_Task") && !calls.contains_key("Destroy_Task"), "{calls:?}");
}

/// A machine that the vCenter cannot tell the state of is neither replaced nor removed, and the group says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_on_a_disconnected_host_is_waited_for() {
    let (_place, rig, _operator) = start_web(2).await;
    let folder = rig.folder("web");
    let path = format!("{folder}/web-1");
    rig.vcenter.set_connection(&path, Connection::Disconnected, false).await.unwrap();
    instance_says(&rig, "web-1", "MachineUnclear").await;
    rig.reason("web", "MachineUnclear").await.unwrap();
    rig.delete("web").await.unwrap();
    eventually("web-0 is gone", PATIENCE, async || {
        Ok((powered(&rig, &folder).await.len() == 1).then_some(()))
    })
    .await
    .unwrap();
    rig.reason("web", "MachineUnclear").await.unwrap();
    rig.vcenter.set_connection(&path, Connection::Connected, true).await.unwrap();
    rig.gone("web").await.unwrap();
    assert!(powered(&rig, &folder).await.is_empty());
}

/// A status that no operator wrote delays no other object.
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_none_is_ignored() {
    let (_place, rig, operator) = start_operator().await;
    for name in ["web", "other"] {
        rig.apply_and_settle(name, 1).await.unwrap();
    }
    drop(operator);
    let patch = json!({"status": {"vmRef": "vm-9\u{1}<"}}).to_string();
    let poison = ["patch", "vgi", "web-0", "--subresource=status", "--type=merge", "-p", &patch];
    rig.kubectl(&poison).await.unwrap();
    for name in ["web", "other"] {
        rig.vcenter.unregister_vm(&format!("{}/{name}-0", rig.folder(name))).await.unwrap();
    }
    let _operator = rig.operator().await.unwrap();
    for name in ["web", "other"] {
        eventually("the machine is made again", PATIENCE, async || {
            let on = powered(&rig, &rig.folder(name)).await;
            Ok((on == [(format!("{name}-0"), true)]).then_some(()))
        })
        .await
        .unwrap();
        rig.settled(name, 1).await.unwrap();
    }
}
