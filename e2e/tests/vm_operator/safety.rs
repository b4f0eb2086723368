//! What is not the operator's is never destroyed, and what is its own is destroyed only when asked: each test is a way in
//! which a machine was lost.

use std::collections::BTreeMap;

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig};
use serde_json::{Value, json};
use testbed::{Connection, Fault, SimVm, eventually};

use crate::{place, start_operator, start_web};

/// Returns the moref of each machine of the group, by name.
async fn morefs(rig: &VmRig) -> BTreeMap<String, String> {
    let folder = rig.folder("web");
    rig.vcenter.vms_in(&folder).await.unwrap().into_iter().map(|vm| (vm.name, vm.moref)).collect()
}

async fn machine(rig: &VmRig, path: &str) -> Option<SimVm> {
    rig.vcenter.vms().await.unwrap().into_iter().find(|vm| vm.path == path)
}

/// Waits until a VmInstance's Ready condition has this reason.
pub async fn instance_says(rig: &VmRig, name: &str, reason: &str) {
    eventually(&format!("{name} says {reason}"), PATIENCE, async || {
        let instance = rig.api("VmInstance").get(name).await?;
        let status = instance.data.get("status").cloned().unwrap_or_default();
        ensure!(e2e::ready(&status).is_some_and(|(_, said)| said == reason), "{status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// Waits until a condition of the group has this status; its message.
async fn condition(rig: &VmRig, type_: &str, wanted: &str) -> String {
    eventually(&format!("{type_} is {wanted}"), PATIENCE, async || {
        let status = rig.status("web").await?;
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|c| c["type"] == type_ && c["status"] == wanted);
        Ok(found.map(|found| found["message"].as_str().unwrap_or_default().to_owned()))
    })
    .await
    .unwrap()
}

/// A slot in the middle is free while the operator is away, and it comes back without its vCenter.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_the_vcenter_is_unreachable_destroys_no_machine() {
    let (_place, rig, operator) = start_web(4).await;
    // A machine that does not work goes first: the slot in the middle becomes free.
    let middle = format!("{}/web-1", rig.folder("web"));
    rig.vcenter.set_connection(&middle, Connection::Disconnected, true).await.unwrap();
    rig.reason("web", "MachineUnclear").await.unwrap();
    rig.apply("web", 3, "photon").await.unwrap();
    eventually("web-1 is chosen", PATIENCE, async || {
        let middle = rig.api("VmInstance").get("web-1").await?;
        Ok(middle.metadata.deletion_timestamp.map(drop))
    })
    .await
    .unwrap();
    rig.vcenter.set_connection(&middle, Connection::Connected, true).await.unwrap();
    rig.settled("web", 3).await.unwrap();
    assert!(rig.api("VmInstance").get_opt("web-1").await.unwrap().is_none());
    let before = morefs(&rig).await;
    drop(operator);

    rig.vcenter.reset_calls().await.unwrap();
    for (launch, reason) in [
        (rig.launch().env("VC_HOST", "127.0.0.1:1"), "VCenterUnreachable"),
        (rig.launch().env("VC_PASS", "wrong"), "VCenterLoginRefused"),
    ] {
        let operator = rig.spawn(&launch).unwrap();
        rig.reason("web", reason).await.unwrap();
        drop(operator);
    }
    for _ in 0..3 {
        let operator = rig.operator().await.unwrap();
        rig.settled("web", 3).await.unwrap();
        drop(operator);
    }
    assert_eq!(morefs(&rig).await, before, "the same machines, none made in between");
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("CloneVM_Task") && !calls.contains_key("Destroy_Task"), "{calls:?}");
}

/// An administrator copies a machine: the copy has the marker as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_machine_is_reported_and_never_touched() {
    let (_place, rig, operator) = start_web(2).await;
    let folder = rig.folder("web");
    rig.vcenter.copy_vm(&format!("{folder}/web-1"), &folder, "backup").await.unwrap();
    let copy = machine(&rig, &format!("{folder}/backup")).await.unwrap();
    assert!(copy.extra_config.contains_key("vmgroup/owner") && !copy.is_on());
    let message = condition(&rig, "OrphansFound", "True").await;
    assert!(message.contains(&format!("backup ({})", copy.moref)), "{message}");
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(metrics.contains("vm_operator_orphaned_machines 1\n"), "{metrics}");

    // The slot of the copied machine is freed and used again; then the machine itself is lost, then all is deleted.
    rig.apply_and_settle("web", 1).await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    rig.vcenter.unregister_vm(&format!("{folder}/web-1")).await.unwrap();
    eventually("web-1 is made again", PATIENCE, async || {
        Ok(machine(&rig, &format!("{folder}/web-1")).await.is_some_and(|vm| vm.is_on()).then_some(()))
    })
    .await
    .unwrap();
    rig.settled("web", 2).await.unwrap();
    rig.remove("web").await.unwrap();
    assert_eq!(rig.vcenter.vms_in(&folder).await.unwrap(), [copy], "as it was, and alone in its folder");
}

/// `kubectl get -o yaml | sed | kubectl create`, then the copy is deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_copied_instance_destroys_nothing() {
    let _place = place().await;
    let rig = VmRig::builder().alone().start().await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    let namespace = rig.namespace();
    let other = format!("{namespace}-other");
    rig.create_namespace(&other).await.unwrap();
    let before = morefs(&rig).await;
    rig.vcenter.reset_calls().await.unwrap();

    let text = rig.kubectl(&["get", "vgi", "web-0", "-o", "json"]).await.unwrap();
    let original: Value = serde_json::from_str(&text).unwrap();
    for (namespace, name, keep_owner) in
        [(namespace, "copy", true), (namespace, "web-7", true), (other.as_str(), "web-0", false)]
    {
        let mut copy = original.clone();
        copy["metadata"] = json!({
            "name": name, "namespace": namespace, "finalizers": original["metadata"]["finalizers"],
            "labels": original["metadata"]["labels"],
            "ownerReferences": if keep_owner { original["metadata"]["ownerReferences"].clone() } else { json!([]) },
        });
        let create = ["-n", namespace, "create", "-f", "-"];
        rig.kubectl_stdin(&create, &copy.to_string()).await.unwrap();
        let named = format!("vgi/{name}");
        let wait = ["-n", namespace, "wait", &named, "--for=condition=Ready=False", "--timeout=180s"];
        rig.kubectl(&wait).await.unwrap();
        let text = rig.kubectl(&["-n", namespace, "describe", &named]).await.unwrap();
        assert!(text.contains("InvalidInstance"), "{text}");
        rig.kubectl(&["-n", namespace, "delete", &named, "--timeout=180s"]).await.unwrap();
    }
    // The fields that identify the machine are immutable.
    for (field, value) in [
        ("slot", json!(5)),
        ("vmName", json!("x")),
        ("groupUid", json!("x")),
        ("group", json!("x")),
        ("instanceUuid", json!("x")),
    ] {
        let patch = json!({"spec": {field: value}}).to_string();
        let error = rig.kubectl(&["patch", "vgi", "web-0", "--type=merge", "-p", &patch]).await.unwrap_err();
        assert!(format!("{error:#}").contains("is immutable"), "{error:#}");
    }
    // Without its owner it is not the group's, until it is given back.
    let owners = |value: &Value| json!({"metadata": {"ownerReferences": value}}).to_string();
    for (owner, reason) in
        [(json!(null), "InvalidInstance"), (original["metadata"]["ownerReferences"].clone(), "AsAsked")]
    {
        let patch = owners(&owner);
        rig.kubectl(&["patch", "vgi", "web-0", "--type=merge", "-p", &patch]).await.unwrap();
        instance_says(&rig, "web-0", reason).await;
    }
    rig.settled("web", 2).await.unwrap();
    assert_eq!(morefs(&rig).await, before);
    assert_eq!(rig.calls().await.unwrap(), BTreeMap::new(), "no machine was touched");
}

/// A machine that an administrator moved out of the folder is released.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_moved_out_of_the_folder_is_released() {
    let (_place, rig, operator) = start_operator().await;
    let folder = rig.folder("web");
    rig.vcenter.add_folder("/DC0/vm", "elsewhere").await.unwrap();
    rig.apply_and_settle("web", 3).await.unwrap();

    rig.vcenter.move_vm(&format!("{folder}/web-1"), "/DC0/vm/elsewhere").await.unwrap();
    instance_says(&rig, "web-1", "MachineMoved").await;
    rig.reason("web", "MachineMoved").await.unwrap();
    // Moved back, it is the instance's again.
    rig.vcenter.move_vm("/DC0/vm/elsewhere/web-1", &folder).await.unwrap();
    rig.settled("web", 3).await.unwrap();
    // Moved once more and given up, another takes its place, and it stays as it is.
    let moved = async |name: &str| {
        rig.vcenter.move_vm(&format!("{folder}/{name}"), "/DC0/vm/elsewhere").await.unwrap();
        instance_says(&rig, name, "MachineMoved").await;
    };
    moved("web-1").await;
    rig.kubectl(&["delete", "vgi", "web-1", "--timeout=180s"]).await.unwrap();
    rig.settled("web", 3).await.unwrap();
    rig.event("MachineReleased").await.unwrap();
    // It is the first victim, since it is not destroyed, also for a process that has not looked for it yet.
    moved("web-0").await;
    drop(operator);
    rig.apply("web", 2, "photon").await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert!(morefs(&rig).await.keys().eq(["web-1", "web-2"]));
    rig.remove("web").await.unwrap();
    for name in ["web-0", "web-1"] {
        let moved = machine(&rig, &format!("/DC0/vm/elsewhere/{name}")).await.unwrap();
        assert!(moved.is_on(), "{name} was powered off or destroyed");
    }
}

/// Two clusters with one vCenter and a group of the same name: each has its folder, and neither sees the machines of the
/// other.
#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_on_one_vcenter_have_their_own_folders() {
    let _place = place().await;
    let rig = VmRig::builder().alone().start().await.unwrap();
    let operator = rig.operator_with(&rig.launch().env("VC_FOLDER", "vm-operator/cluster-a")).await.unwrap();
    rig.apply_and_settle("web", 1).await.unwrap();
    let other = VmRig::builder().alone().start().await.unwrap();
    let launch = rig.launch().env("VC_FOLDER", "vm-operator/cluster-b");
    let other_operator = other.operator_with(&launch).await.unwrap();
    other.apply_and_settle("web", 2).await.unwrap();
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert_eq!(
        machines,
        ["cluster-a/default.web/web-0", "cluster-b/default.web/web-0", "cluster-b/default.web/web-1"]
            .map(|path| format!("/DC0/vm/vm-operator/{path}"))
    );
    other.remove("web").await.unwrap();
    drop(other_operator);
    // A machine of another cluster that comes into the folder is not destroyed with it.
    rig.vcenter.add_vm("/DC0/vm/vm-operator/cluster-a/default.web", "foreign").await.unwrap();
    rig.remove("web").await.unwrap();
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert_eq!(machines, ["/DC0/vm/vm-operator/cluster-a/default.web/foreign"]);
    drop(operator);
}

/// The vCenter forgets to report that a machine is gone: what a call answers counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_exist_is_not_destroyed_again_and_again() {
    let (_place, rig, _operator) = start_web(2).await;
    let folder = rig.folder("web");
    for name in ["web-0", "web-1"] {
        rig.vcenter.lose_updates(&format!("{folder}/{name}")).await.unwrap();
        rig.vcenter.unregister_vm(&format!("{folder}/{name}")).await.unwrap();
    }
    rig.vcenter.reset_calls().await.unwrap();
    rig.remove("web").await.unwrap();
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("PowerOffVM_Task") && !calls.contains_key("Destroy_Task"), "{calls:?}");
}

/// Machines that went while the operator was away are looked up in one call, and each is asked for once more: it may be hidden.
#[tokio::test(flavor = "multi_thread")]
async fn machines_missing_after_a_restart_are_looked_up_in_one_call_and_asked_for_once() {
    let (_place, rig, operator) = start_web(12).await;
    let folder = rig.folder("web");
    drop(operator);
    for n in 0..10 {
        rig.vcenter.unregister_vm(&format!("{folder}/web-{n}")).await.unwrap();
    }
    // A start reads the site once, and the template once.
    rig.vcenter.reset_calls().await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.called_often("CloneVM_Task", 10).await.unwrap();
    let calls = rig.calls().await.unwrap();
    let reads = calls.get("RetrievePropertiesEx").copied().unwrap_or(0);
    assert!(reads <= 8 + 10, "{reads} reads for 10 machines: {calls:?}");
    assert_eq!(calls.get("CloneVM_Task"), Some(&10));
}

/// A clone of another client, of another template or by another user, delays no machine of ours.
#[tokio::test(flavor = "multi_thread")]
async fn clones_of_others_put_no_instance_in_doubt() {
    let _place = place().await;
    let rig = VmRig::with(testbed::Vcsim::builder().templates(&["photon", "other"])).await.unwrap();
    let operator = rig.operator().await.unwrap();
    rig.vcenter.fault(Fault::soap("CloneVM_Task", "NoPermission").until_cleared()).await.unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    rig.reason("web", "PermissionDenied").await.unwrap();
    drop(operator);
    rig.vcenter.clear_faults().await.unwrap();
    let hour = std::time::Duration::from_hours(1);
    // Tasks name the account as a vCenter does.
    for (template, name, user) in [
        ("/DC0/vm/other", "a", r"VSPHERE.LOCAL\Administrator".to_owned()),
        ("/DC0/vm/photon", "b", "another@vsphere.local".to_owned()),
    ] {
        rig.vcenter.start_clone(template, "/DC0/vm", name, &user, hour).await.unwrap();
    }
    // After a restart the instances are in doubt about clones that run.
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
}
