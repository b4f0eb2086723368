//! What a vCenter administrator does to the operator's machines, folders and sessions.

use e2e::{PATIENCE, Rig};
use testbed::{Fault, eventually};

use crate::safety::instance_says;
use crate::start_web;

/// A template is no machine of the group any more: it is not destroyed with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_became_a_template_is_kept() {
    let (_place, rig, operator) = start_web(2).await;
    let folder = rig.folder("web");
    drop(operator);
    let golden = format!("{folder}/web-1");
    rig.vcenter.power_off(&golden).await.unwrap();
    rig.vcenter.set_template(&golden, true).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();

    let _operator = rig.operator().await.unwrap();
    instance_says(&rig, "web-1", "MachineIsTemplate").await;
    rig.reason("web", "MachineIsTemplate").await.unwrap();
    assert_eq!(rig.called("PowerOnVM_Task").await.unwrap(), 0);
    rig.remove("web").await.unwrap();
    let left: Vec<_> = rig.vcenter.vms_in(&folder).await.unwrap();
    let left: Vec<_> = left.iter().map(|vm| (&*vm.path, vm.template)).collect();
    assert_eq!(left, [(&*golden, true)]);
    rig.event("MachineReleased").await.unwrap();
}

/// A removal is refused while an administrator works on the machine, and the update about that is lost: the next attempt
/// reads the machine again before it destroys anything.
#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_to_remove_a_machine_is_confirmed() {
    let (_place, rig, _operator) = start_web(2).await;
    let folder = rig.folder("web");
    rig.vcenter.fault(Fault::task("Destroy_Task", "TaskInProgress").until_cleared()).await.unwrap();
    rig.kubectl(&["delete", "vgi", "web-1", "--wait=false"]).await.unwrap();
    eventually("a refused removal", PATIENCE, async || {
        Ok((rig.called("Destroy_Task").await? > 0).then_some(()))
    })
    .await
    .unwrap();
    let golden = format!("{folder}/web-1");
    rig.vcenter.lose_updates(&golden).await.unwrap();
    rig.vcenter.set_template(&golden, true).await.unwrap();
    rig.vcenter.clear_faults().await.unwrap();
    rig.event("MachineReleased").await.unwrap();
    let left = rig.vcenter.vms_in(&folder).await.unwrap();
    assert!(left.iter().any(|vm| vm.path == golden && vm.template), "{left:?}");
}

/// Another root folder would have none of the machines, and each would count as moved.
#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_root_folder_is_not_created_again() {
    let (_place, rig, operator) = start_web(2).await;
    drop(operator);
    rig.vcenter.rename_folder("/DC0/vm/vm-operator", "archive").await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();

    let _operator = rig.spawn(&rig.launch()).unwrap();
    let status = rig.reason("web", "VCenterRootFolderMoved").await.unwrap();
    let message = status["lastMessage"].as_str().unwrap_or_default();
    assert!(message.contains("are in archive, such as archive/"), "{message}");
    assert!(message.contains("set VC_FOLDER to the folder"), "{message}");
    assert!(!rig.vcenter.folders().await.unwrap().contains(&"/DC0/vm/vm-operator".to_owned()));
    rig.vcenter.rename_folder("/DC0/vm/archive", "vm-operator").await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 0);
}

/// Sessions end again and again while every login succeeds: the password is right.
#[tokio::test(flavor = "multi_thread")]
async fn ended_sessions_are_no_refused_logins() {
    let (_place, rig, _operator) = start_web(1).await;

    rig.vcenter.fault(Fault::soap("CloneVM_Task", "NotAuthenticated").until_cleared()).await.unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    instance_says(&rig, "web-1", "VCenterSessionEnded").await;
    rig.vcenter.fault(Fault::soap("CreateFilter", "NotAuthenticated").until_cleared()).await.unwrap();
    rig.vcenter.expire_sessions().await.unwrap();
    let status = rig.reason("web", "VCenterSessionEnded").await.unwrap();
    let message = status["lastMessage"].as_str().unwrap_or_default();
    assert!(message.contains("logs in again by itself") && !message.contains("password"), "{message}");
    assert_eq!(status["phase"], "PENDING", "it passes by itself");
    rig.vcenter.clear_faults().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert_eq!(rig.vcenter.sessions().await.unwrap().failed_logins, 0);
}
