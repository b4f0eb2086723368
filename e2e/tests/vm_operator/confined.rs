//! The operator with `WATCH_NAMESPACE`, under the Roles that it prints for those namespaces.

use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use e2e::{PATIENCE, Rig, VmRig, VmRigBuilder};
use testbed::{Vcsim, eventually, project_root};

use crate::place;

/// Gives the operator the rights that it prints for these namespaces, and no others.
async fn confine(rig: &VmRig, namespaces: &str) {
    let binary = e2e::binary("vm-operator").unwrap();
    let printed = Command::new(binary).args(["rbac", "--watch-namespace", namespaces]).output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let roles = String::from_utf8(printed.stdout).unwrap();
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    rig.control_plane().kubectl_stdin(&apply, &roles).await.unwrap();
}

/// Starts a rig of its own with the namespaces `a` and `b`, where alone the operator has rights.
async fn start(builder: VmRigBuilder) -> VmRig {
    let rig = builder.alone().start().await.unwrap();
    for name in ["a", "b"] {
        rig.create_namespace(name).await.unwrap();
    }
    confine(&rig, "a,b").await;
    rig
}

/// One that it may not read keeps no other from its care. One that is deleted with its groups waits for the rights.
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_serves_the_namespaces_that_it_may_read() {
    let _place = place().await;
    let rig = start(VmRig::builder()).await;
    let launch = |namespaces: &str| rig.launch().env("WATCH_NAMESPACE", namespaces);
    let [a, b] = [("a", "web"), ("b", "web")];
    let operator = rig.spawn(&launch("a,missing,b")).unwrap();
    rig.apply_and_settle(a, 1).await.unwrap();
    rig.apply_and_settle(b, 1).await.unwrap();
    let (status, report) = operator.get("/readyz").await.unwrap();
    assert_eq!(status, 200, "{report}");
    assert!(report.contains("nothing is done in the namespace missing until it exists"), "{report}");
    eventually("it says that it works, and where not", PATIENCE, async || {
        let log = std::fs::read_to_string(rig.log_path())?;
        let line = log.lines().find(|line| line.contains("the controllers work")).map(str::to_owned);
        Ok(line.filter(|line| line.contains("missing")))
    })
    .await
    .unwrap();

    let kubectl = rig.control_plane();
    // Kubernetes may delete it before the groups.
    kubectl.kubectl(&["-n", "b", "delete", "role", "vm-operator"]).await.unwrap();
    kubectl.kubectl(&["delete", "namespace", "b", "--wait=false"]).await.unwrap();
    rig.apply_and_settle(a, 2).await.unwrap();
    let group = kubectl.kubectl(&["-n", "b", "get", "vmgroup", "web", "-o", "name"]).await.unwrap();
    assert!(!group.is_empty(), "it waits for the operator");

    // As the page says.
    let base = project_root().unwrap().join("deploy/vm-operator/base");
    let base = ["apply", "--server-side", "--force-conflicts", "-k", base.to_str().unwrap()];
    kubectl.kubectl(&base).await.unwrap();
    kubectl.kubectl(&["wait", "--for=delete", "namespace/b", "--timeout=300s"]).await.unwrap();
    confine(&rig, "a").await;
    rig.apply_and_settle(a, 3).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 3, "none of b is left");
}

/// They may be in a folder that was renamed: another one would have none of them.
#[tokio::test(flavor = "multi_thread")]
async fn the_root_folder_is_not_made_while_machines_of_a_namespace_are_not_known() {
    let _place = place().await;
    let rig = start(VmRig::builder()).await;
    let launch = rig.launch().env("WATCH_NAMESPACE", "a,b");
    let operator = rig.spawn(&launch).unwrap();
    rig.apply_and_settle(("b", "web"), 1).await.unwrap();
    drop(operator);
    rig.control_plane().kubectl(&["-n", "b", "delete", "role", "vm-operator"]).await.unwrap();
    rig.vcenter.rename_folder("/DC0/vm/vm-operator", "archive").await.unwrap();
    let _operator = rig.spawn(&launch).unwrap();
    rig.apply(("a", "web"), 1, "photon").await.unwrap();
    let status = rig.reason(("a", "web"), "VCenterRootFolderMoved").await.unwrap();
    let message = status["lastMessage"].as_str().unwrap();
    assert!(message.contains("WATCH_NAMESPACE, which may have machines in it: b: create"), "{message}");
    assert!(rig.machines().await.unwrap().is_empty(), "there is no such folder");
    confine(&rig, "b").await;
    rig.vcenter.rename_folder("/DC0/vm/archive", "vm-operator").await.unwrap();
    rig.settled(("a", "web"), 1).await.unwrap();
    assert_eq!(rig.machines().await.unwrap().len(), 2);
}

/// Others wait behind its clones until these have ended, and behind nothing that it waits for itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_its_role_holds_no_place_among_the_clones() {
    let _place = place().await;
    let vcenter = Vcsim::builder().clone_time(Duration::from_secs(30));
    let mut rig = start(VmRig::builder().vcenter(vcenter)).await;
    let launch = rig.launch().env("WATCH_NAMESPACE", "a,b").env("MAX_CLONES", "1");
    let operator = rig.spawn(&launch).unwrap();
    rig.apply(("b", "web"), 3, "photon").await.unwrap();
    rig.called_often("CloneVM_Task", 1).await.unwrap();
    rig.apply(("a", "web"), 1, "photon").await.unwrap();
    let queued = [
        "-n",
        "a",
        "wait",
        "vgi/web-0",
        "--for=jsonpath={.status.conditions[0].reason}=Queued",
        "--timeout=60s",
    ];
    eventually("its machine is to be made", PATIENCE, async || {
        Ok(Some(rig.control_plane().kubectl(&["-n", "a", "get", "vgi", "web-0"]).await?))
    })
    .await
    .unwrap();
    rig.control_plane().kubectl(&queued).await.unwrap();
    rig.control_plane().kubectl(&["-n", "b", "delete", "role", "vm-operator"]).await.unwrap();
    // A watch that is granted goes on until its connection ends.
    let plane = rig.control_plane_mut().unwrap();
    plane.stop_apiserver().await.unwrap();
    plane.start_apiserver().await.unwrap();
    eventually("the namespace is refused", PATIENCE, async || {
        let (_, report) = operator.get("/readyz").await?;
        ensure!(report.contains("nothing is done in the namespace b"), "{report}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 1, "its first clone has not ended yet");
    rig.settled(("a", "web"), 1).await.unwrap();
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 2, "none of those that wait in b");
}
