//! What other people leave in the operator's way: finalizers, VmInstances without an owner, folders with a group's name.

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig, condition, ready};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::eventually;

use crate::start_web;

const AUDIT: &str = "example.com/audit";

/// Waits until a group's status is as the test wants it.
async fn says(rig: &VmRig, group: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the status of {group}"), PATIENCE, async || {
        let status = rig.status(group).await?;
        ensure!(fits(&status), "{status}");
        Ok(Some(status))
    })
    .await
    .unwrap()
}

/// Waits until only a finalizer of another keeps a VmInstance, and its status says so.
async fn kept(rig: &VmRig, name: &str) {
    eventually(&format!("{name} is kept by another"), PATIENCE, async || {
        let instance = rig.api("VmInstance").get(name).await?;
        ensure!(instance.metadata.finalizers.unwrap_or_default() == [AUDIT]);
        let status = &instance.data["status"];
        ensure!(ready(status) == Some(("False", "FinalizersLeft")) && status["power"].is_null(), "{status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// A VmInstance does not parse: its machine stays as it is and is no orphan, and its group says so, also in its deletion.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_instance_keeps_its_machine_and_its_group() {
    let (_place, rig, _operator) = start_web(2).await;
    let folder = rig.folder("web");
    rig.vcenter.add_vm(&folder, "stranger").await.unwrap();
    let notes = async |value: Value| {
        let notes: serde_json::Map<_, _> =
            (0..70).map(|n| (format!("vm.codeconnect.vmworld.com/note-{n}"), value.clone())).collect();
        let patch = Patch::Merge(json!({"metadata": {"annotations": notes}}));
        rig.api("VmInstance").patch_metadata("web-0", &PatchParams::default(), &patch).await.unwrap();
    };
    notes(json!("x".repeat(1024))).await;
    let unread = |status: &Value| {
        let names_it = status["lastMessage"].as_str().is_some_and(|text| text.contains("VmInstance web-0"));
        ready(status) == Some(("False", "InvalidInstance")) && names_it
    };
    let orphans = |status: &Value| condition(status, "OrphansFound").unwrap()["status"] == "True";
    let status = says(&rig, "web", unread).await;
    assert!(!orphans(&status), "{status}");
    // Also where the group needs no more than the others.
    for replicas in [1, 0] {
        rig.apply("web", replicas, "photon").await.unwrap();
        says(&rig, "web", |status| {
            unread(status) && status["desiredReplicas"] == replicas && status["readyReplicas"] == replicas
        })
        .await;
    }
    rig.delete("web").await.unwrap();
    let deletes =
        |status: &Value| unread(status) && status["lastMessage"].as_str().unwrap().starts_with("VmInstance");
    let status = says(&rig, "web", deletes).await;
    assert!(!orphans(&status), "{status}");
    eventually("only web-0 and the stranger's machine are left", PATIENCE, async || {
        let left = rig.machines().await?.len();
        ensure!(left == 2, "{left} are");
        Ok(Some(()))
    })
    .await
    .unwrap();
    let events = rig.kubectl(&["get", "events", "-o", "custom-columns=:.reason"]).await.unwrap();
    assert!(!events.contains("FolderKept"), "{events}");

    notes(Value::Null).await;
    rig.gone("web").await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 1, "the stranger's");
    rig.event("FolderKept").await.unwrap();
}

/// A tool holds the VmInstances of a group by a finalizer of its own and never removes it.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_with_a_foreign_finalizer_counts_as_gone() {
    let (_place, rig, _operator) = start_web(2).await;
    for name in ["web-0", "web-1"] {
        let add = json!([{"op": "add", "path": "/metadata/finalizers/-", "value": AUDIT}]).to_string();
        rig.kubectl(&["patch", "vgi", name, "--type=json", "-p", &add]).await.unwrap();
    }
    rig.kubectl(&["delete", "vgi", "web-0", "--wait=false"]).await.unwrap();
    kept(&rig, "web-0").await;
    let names_it = |status: &Value| {
        status["lastMessage"]
            .as_str()
            .is_some_and(|text| text.contains("VmInstance web-0") && text.contains(AUDIT))
    };
    says(&rig, "web", |status| {
        names_it(status) && status["phase"] == "RUNNING" && status["readyReplicas"] == 2
    })
    .await;
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert_eq!(machines, ["web-1", "web-2"].map(|name| format!("{}/{name}", rig.folder("web"))));

    // The group goes, and its folder with it.
    rig.remove("web").await.unwrap();
    kept(&rig, "web-1").await;
    assert!(!rig.vcenter.folders().await.unwrap().contains(&rig.folder("web")));
    // One of the same name is made with the next slots.
    rig.apply("web", 1, "photon").await.unwrap();
    says(&rig, "web", |status| names_it(status) && status["readyReplicas"] == 1).await;
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert_eq!(machines, [format!("{}/web-2", rig.folder("web"))]);
    rig.remove("web").await.unwrap();
    for name in ["web-0", "web-1"] {
        let free = json!({"metadata": {"finalizers": null}}).to_string();
        rig.kubectl(&["patch", "vgi", name, "--type=merge", "-p", &free]).await.unwrap();
    }
    rig.kubectl(&["wait", "--for=delete", "vgi", "--all", "--timeout=180s"]).await.unwrap();
}

/// A VmInstance that does not parse has lost its owner as well: only its name says whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_instance_without_owner_is_named() {
    let (_place, rig, _operator) = start_web(2).await;
    let patch = async |patch: Value| {
        let patch = Patch::Merge(json!({ "metadata": patch }));
        rig.api("VmInstance").patch_metadata("web-1", &PatchParams::default(), &patch).await.unwrap()
    };
    let before = patch(json!({ "ownerReferences": null })).await.metadata.finalizers;
    let many: Vec<_> = (0..1000).map(|n| format!("example.com/of-another-{n}")).collect();
    let all: Vec<_> = before.iter().flatten().chain(&many).collect();
    patch(json!({ "finalizers": all })).await;
    let unread = |status: &Value| {
        let message = status["lastMessage"].as_str().unwrap_or_default();
        ready(status) == Some(("False", "InvalidInstance"))
            && message.contains("VmInstance web-1 does not parse")
    };
    says(&rig, "web", unread).await;
    rig.apply("web", 3, "photon").await.unwrap();
    says(&rig, "web", |status| unread(status) && status["desiredReplicas"] == 3).await;
    rig.delete("web").await.unwrap();
    says(&rig, "web", |status| unread(status) && status["replicas"] == 0).await;
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    assert!(machines.contains(&format!("{}/web-1", rig.folder("web"))), "{machines:?}");

    patch(json!({ "finalizers": before })).await;
    rig.gone("web").await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 1, "the machine of the VmInstance without owner is left");
}

/// The group of a VmInstance that has lost its owner is deleted, and another of its name is made.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_owner_takes_its_slot_of_the_next_group() {
    let (_place, rig, _operator) = start_web(2).await;
    let disown = json!({"metadata": {"ownerReferences": null}}).to_string();
    rig.kubectl(&["patch", "vgi", "web-0", "--type=merge", "-p", &disown]).await.unwrap();
    let message = |status: &Value, text: &str| {
        status["lastMessage"].as_str().is_some_and(|message| message.contains(text))
    };
    says(&rig, "web", |status| {
        ready(status) == Some(("False", "InvalidInstance")) && message(status, "VmInstance web-0")
    })
    .await;
    assert_eq!(rig.machines().await.unwrap().len(), 2, "none is made in its place");
    rig.remove("web").await.unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    says(&rig, "web", |status| status["readyReplicas"] == 2 && message(status, "kubectl delete vgi web-0"))
        .await;
    let machines: Vec<_> = rig.machines().await.unwrap().into_keys().collect();
    let names = ["web-0", "web-1", "web-2"].map(|name| format!("{}/{name}", rig.folder("web")));
    assert_eq!(machines, names, "the machine of the former group is left");
    rig.kubectl(&["delete", "vgi", "web-0", "--timeout=180s"]).await.unwrap();
    says(&rig, "web", |status| status["readyReplicas"] == 2 && !message(status, "web-0")).await;
}

/// A VmInstance loses its owner, so the group does not count it: its machine is an orphan, which is reported and not touched.
#[tokio::test(flavor = "multi_thread")]
async fn the_machine_of_an_invalid_instance_is_an_orphan() {
    let (_place, rig, operator) = start_web(2).await;
    let folder = rig.folder("web");
    rig.vcenter.reset_calls().await.unwrap();
    let disown = json!({"metadata": {"ownerReferences": null}}).to_string();
    rig.kubectl(&["patch", "vgi", "web-0", "--type=merge", "-p", &disown]).await.unwrap();
    rig.apply("web", 1, "photon").await.unwrap();
    let is_orphaned = |status: &Value| {
        condition(status, "OrphansFound").is_some_and(|found| {
            found["status"] == "True"
                && found["message"].as_str().is_some_and(|text| text.contains("web-0 ("))
        })
    };
    says(&rig, "web", |status| is_orphaned(status) && status["readyReplicas"] == 1).await;
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(metrics.contains("vm_operator_orphaned_machines 1\n"), "{metrics}");

    rig.kubectl(&["delete", "vgi", "web-0", "--timeout=180s"]).await.unwrap();
    let machines = rig.machines().await.unwrap();
    assert!(machines.len() == 2 && machines.values().all(|on| *on), "{machines:?}");
    let calls = rig.calls().await.unwrap();
    assert!(!calls.contains_key("PowerOffVM_Task") && !calls.contains_key("Destroy_Task"), "{calls:?}");
    assert_eq!(
        machines.into_keys().collect::<Vec<_>>(),
        ["web-0", "web-1"].map(|name| format!("{folder}/{name}"))
    );
}

/// An administrator has empty folders in the operator's folder, one of each name that a group of a tenant may have.
#[tokio::test(flavor = "multi_thread")]
async fn empty_folders_of_an_administrator_stay() {
    let (_place, rig, _operator) = start_web(1).await;
    let (root, namespace) = ("/DC0/vm/vm-operator", rig.namespace());
    let folders =
        ["idle", "broken"].map(|group| [format!("{namespace}.{group}"), format!("{namespace}-{group}")]);
    for name in folders.as_flattened() {
        rig.vcenter.add_folder(root, name).await.unwrap();
    }
    // One wants no machine, the other gets none.
    for (name, replicas, reason) in [("idle", 0, "AsAsked"), ("broken", 1, "TemplateNotFound")] {
        let mut group = e2e::group(name, replicas, "none");
        group["metadata"]["finalizers"] = json!(["vm-operator"]);
        rig.kubectl_stdin(&["create", "-f", "-"], &group.to_string()).await.unwrap();
        rig.reason(name, reason).await.unwrap();
        rig.remove(name).await.unwrap();
    }
    // The folder of a group that had a machine goes.
    rig.remove("web").await.unwrap();
    let left = rig.vcenter.folders().await.unwrap();
    for name in folders.as_flattened() {
        assert!(left.contains(&format!("{root}/{name}")), "{name} was removed: {left:?}");
    }
    assert!(!left.contains(&rig.folder("web")), "{left:?}");
}
