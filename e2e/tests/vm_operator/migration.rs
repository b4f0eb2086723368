//! What the original operator left: its objects, its finalizer, its folders and its machines.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::{PATIENCE, Rig, VmRig, group};
use kube::api::{ListParams, PostParams};
use serde_json::json;
use testbed::{Connection, Fault, NewVm, Vcsim, eventually};

use crate::place;

/// Returns the machines by path: moref, and whether they are on.
async fn machines(rig: &VmRig) -> BTreeMap<String, (String, bool)> {
    let vms = rig.vcenter.vms().await.unwrap().into_iter();
    let ours = vms.filter(|vm| vm.path.starts_with("/DC0/vm/vm-operator/"));
    ours.map(|vm| (vm.path.clone(), (vm.moref.clone(), vm.is_on()))).collect()
}

/// Groups as the original left them, two of which shared a folder, are adopted in place.
#[tokio::test(flavor = "multi_thread")]
async fn machines_of_the_original_are_adopted_none_doubled_none_lost() {
    let _place = place().await;
    let rig = VmRig::builder().alone().start().await.unwrap();
    for namespace in ["a", "a-b"] {
        rig.create_namespace(namespace).await.unwrap();
    }
    rig.vcenter.add_original_group(rig.namespace(), "web", 3, 1, 1024).await.unwrap();
    rig.vcenter.add_original_group("a-b", "c", 2, 1, 1024).await.unwrap();
    // The original put the machines of a/b-c into the folder of a-b/c.
    let others = ["b-c-replica-abcdefgh", "b-c-replica-ijklmnop"].map(|name| NewVm::new(name).size(1, 1024));
    rig.vcenter.add_vms("/DC0/vm/vm-operator/a-b-c", &others).await.unwrap();
    rig.vcenter.add_vm("/DC0/vm/vm-operator/default-web", "stranger").await.unwrap();
    let before = machines(&rig).await;
    // One group asks for more than the original made, one for fewer.
    for (namespace, name, replicas) in [("default", "web", 4), ("a-b", "c", 2), ("a", "b-c", 1)] {
        let mut group = group(name, replicas, "photon");
        group["metadata"]["finalizers"] = json!(["vm-operator"]);
        group["metadata"]["namespace"] = namespace.into();
        let api = rig.api_in(Some(namespace), "VmGroup");
        api.create(&PostParams::default(), &serde_json::from_value(group).unwrap()).await.unwrap();
    }

    let operator = rig.operator().await.unwrap();
    rig.settled("web", 4).await.unwrap();
    rig.settled(("a-b", "c"), 2).await.unwrap();
    rig.settled(("a", "b-c"), 1).await.unwrap();
    let after = machines(&rig).await;
    let (kept, made): (Vec<_>, Vec<_>) = after.keys().partition(|path| before.contains_key(*path));
    assert_eq!(made, ["/DC0/vm/vm-operator/default.web/web-3"]);
    assert_eq!(kept.len(), before.len() - 1, "one of three groups was scaled down by one: {after:?}");
    assert!(kept.iter().all(|path| after[*path] == before[*path]), "the same machines, and still on");
    let finalizers = ["get", "vg", "-A", "-o", "jsonpath={.items[*].metadata.finalizers[*]}"];
    let finalizers = rig.kubectl(&finalizers).await.unwrap();
    assert_eq!(finalizers, ["vm.codeconnect.vmworld.com/vm-operator"; 3].join(" "));

    let status = rig.status("web").await.unwrap();
    assert_eq!(status["adoptedFolder"], "default-web");

    // Another process knows them by their marker.
    drop(operator);
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 4).await.unwrap();
    assert_eq!(machines(&rig).await, after);

    // A machine that is replaced comes into the group's own folder.
    let adopted = rig.api("VmInstance").list(&ListParams::default()).await.unwrap();
    let adopted =
        adopted.iter().find(|i| i.data["spec"]["vmName"].as_str().unwrap().contains("-replica-")).unwrap();
    let name = adopted.metadata.name.clone().unwrap();
    rig.kubectl(&["delete", "vgi", &name, "--timeout=180s"]).await.unwrap();
    eventually("it is replaced", PATIENCE, async || {
        let own = machines(&rig).await.into_keys().filter(|path| path.contains("/default.web/")).count();
        Ok((own == 2).then_some(()))
    })
    .await
    .unwrap();
    rig.settled("web", 4).await.unwrap();

    for (namespace, name) in [("default", "web"), ("a-b", "c"), ("a", "b-c")] {
        rig.remove((namespace, name)).await.unwrap();
    }
    let left: Vec<_> = machines(&rig).await.into_keys().collect();
    assert_eq!(left, ["/DC0/vm/vm-operator/default-web/stranger"]);
    let folders = rig.vcenter.folders().await.unwrap();
    assert_eq!(folders, ["/DC0/vm", "/DC0/vm/vm-operator", "/DC0/vm/vm-operator/default-web"]);
}

/// The original was stopped while it made machines: its clones go on, and what they make is adopted.
#[tokio::test(flavor = "multi_thread")]
async fn machines_that_the_original_was_making_are_adopted() {
    let _place = place().await;
    // Its clock says that they are under way for more than an hour.
    let vcenter = Vcsim::builder().clock_offset(Duration::from_mins(70), false);
    let rig = VmRig::with(vcenter).await.unwrap();
    rig.vcenter.add_original_group(rig.namespace(), "web", 1, 1, 1024).await.unwrap();
    let folder = format!("/DC0/vm/vm-operator/{}-web", rig.namespace());
    for name in ["web-replica-bbbbbbbb", "web-replica-cccccccc"] {
        let time = Duration::from_secs(40);
        // Tasks name the account as a vCenter does.
        let user = r"VSPHERE.LOCAL\Administrator";
        rig.vcenter.start_clone("/DC0/vm/photon", &folder, name, user, time).await.unwrap();
    }
    create_original(&rig, "web", 3).await;
    let _operator = rig.operator().await.unwrap();
    let status = rig.reason("web", "Adopting").await.unwrap();
    assert!(status.to_string().contains("2 of those that were under way"), "{status}");
    rig.settled("web", 3).await.unwrap();
    let made: Vec<_> = machines(&rig).await.into_keys().collect();
    assert!(made.len() == 3 && made.iter().all(|path| path.contains("/web-replica-")), "{made:?}");
}

/// A machine of the original that the vCenter cannot read is waited for: none is made in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_the_original_on_a_disconnected_host_is_waited_for() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    rig.vcenter.add_original_group(rig.namespace(), "web", 2, 1, 1024).await.unwrap();
    let before = machines(&rig).await;
    let away = before.keys().next().unwrap();
    rig.vcenter.set_connection(away, Connection::Disconnected, false).await.unwrap();
    create_original(&rig, "web", 2).await;

    let _operator = rig.operator().await.unwrap();
    rig.reason("web", "MachineUnclear").await.unwrap();
    assert_eq!(machines(&rig).await.len(), 2);
    rig.vcenter.set_connection(away, Connection::Connected, true).await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert_eq!(machines(&rig).await, before, "the same machines, none made");
}

/// The right to mark machines is missing; meanwhile an administrator renames one and moves another.
#[tokio::test(flavor = "multi_thread")]
async fn machines_of_the_original_that_cannot_be_marked_are_not_doubled() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    rig.vcenter.add_original_group(rig.namespace(), "web", 3, 1, 1024).await.unwrap();
    rig.vcenter.add_folder("/DC0/vm", "elsewhere").await.unwrap();
    rig.vcenter.fault(Fault::soap("ReconfigVM_Task", "NoPermission").until_cleared()).await.unwrap();
    create_original(&rig, "web", 3).await;
    let _operator = rig.operator().await.unwrap();
    rig.reason("web", "PermissionDenied").await.unwrap();
    eventually("each machine is recorded", PATIENCE, async || {
        let path = "jsonpath={.items[*].status.vmRef}";
        let recorded = rig.kubectl(&["get", "vgi", "-o", path]).await?;
        Ok((recorded.split_whitespace().count() == 3).then_some(()))
    })
    .await
    .unwrap();
    let before: Vec<_> = machines(&rig).await.into_keys().collect();
    rig.vcenter.rename_vm(&before[0], "renamed").await.unwrap();
    rig.vcenter.move_vm(&before[1], "/DC0/vm/elsewhere").await.unwrap();
    eventually("the moved machine is missed", PATIENCE, async || {
        let path = "jsonpath={.items[*].status.conditions[0].reason}";
        Ok(rig.kubectl(&["get", "vgi", "-o", path]).await?.contains("MachineMoved").then_some(()))
    })
    .await
    .unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    let name = before[1].rsplit('/').next().unwrap();
    rig.vcenter
        .move_vm(
            &format!("/DC0/vm/elsewhere/{name}"),
            &format!("/DC0/vm/vm-operator/{}-web", rig.namespace()),
        )
        .await
        .unwrap();
    rig.settled("web", 3).await.unwrap();
    assert_eq!(machines(&rig).await.len(), 3, "none was made");
}

/// Settings that point elsewhere, and a marker that is removed by hand, neither double nor destroy what the original made.
#[tokio::test(flavor = "multi_thread")]
async fn machines_of_the_original_survive_wrong_settings() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    rig.vcenter.add_original_group(rig.namespace(), "web", 2, 1, 1024).await.unwrap();
    let before = machines(&rig).await;
    create_original(&rig, "web", 2).await;
    let status = json!({"status": {"currentReplicas": 2}}).to_string();
    let report = ["patch", "vg", "web", "--subresource=status", "--type=merge", "-p", &status];
    rig.kubectl(&report).await.unwrap();

    let operator = rig.operator_with(&rig.launch().env("VC_FOLDER", "typo")).await.unwrap();
    rig.reason("web", "OriginalsNotFound").await.unwrap();
    drop(operator);
    let operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert_eq!(machines(&rig).await, before, "the same machines, none made");
    drop(operator);
    for _ in 0..2 {
        let operator = rig.operator_with(&rig.launch().env("CLUSTER_ID", "another")).await.unwrap();
        let status = rig.reason("web", "NameConflict").await.unwrap();
        assert!(status["lastMessage"].as_str().unwrap().contains("set CLUSTER_ID="), "{status}");
        drop(operator);
    }
    let operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert_eq!(machines(&rig).await, before);
    drop(operator);

    // Removing the marker is how an administrator takes a machine away.
    let path = before.keys().next().unwrap();
    rig.vcenter.set_extra_config(path, "vmgroup/owner", None).await.unwrap();
    rig.delete("web").await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.gone("web").await.unwrap();
    assert_eq!(machines(&rig).await, [(path.clone(), before[path].clone())].into(), "as it was, and on");
    let events = rig.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).await.unwrap();
    assert!(events.contains("MachineReleased"), "{events}");
}

/// A group that was deleted while no operator ran has only the original's finalizer.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_deleted_before_it_was_adopted_leaves_nothing() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    rig.vcenter.add_original_group(rig.namespace(), "web", 2, 1, 1024).await.unwrap();
    create_original(&rig, "web", 2).await;
    rig.delete("web").await.unwrap();

    let _operator = rig.operator().await.unwrap();
    rig.gone("web").await.unwrap();
    assert!(machines(&rig).await.is_empty());
    assert_eq!(rig.vcenter.folders().await.unwrap(), ["/DC0/vm", "/DC0/vm/vm-operator"]);
}

/// Creates a group as the original operator leaves it.
async fn create_original(rig: &VmRig, name: &str, replicas: usize) {
    let mut group = group(name, replicas, "photon");
    group["metadata"]["finalizers"] = json!(["vm-operator"]);
    let api = rig.api("VmGroup");
    api.create(&PostParams::default(), &serde_json::from_value(group).unwrap()).await.unwrap();
}
