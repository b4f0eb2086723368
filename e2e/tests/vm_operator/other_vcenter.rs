//! The operator meets another vCenter than the one that has its machines: what is recorded is neither made again nor given up.

use e2e::{Launch, PATIENCE, Rig, VmRig};
use serde_json::Value;
use testbed::{NewVm, Vcsim, eventually};

use crate::refusal::Refusal;
use crate::{place, start_operator, start_web};

const DETACH: &str = "vm.codeconnect.vmworld.com/detach=true";

/// Returns how the operator is started with another vCenter.
fn at(rig: &VmRig, vcenter: &Vcsim) -> Launch {
    let launch = rig.launch().env("VC_HOST", vcenter.host()).env("VC_PASS", vcenter.password());
    launch.env("VC_CA_FILE", vcenter.ca_file())
}

/// Returns the machines of a vCenter, without its templates, by name: moref, and whether each is on.
async fn machines(vcenter: &Vcsim) -> Vec<(String, String, bool)> {
    let vms = vcenter.vms().await.unwrap().into_iter().filter(|vm| !vm.template);
    vms.map(|vm| (vm.name.clone(), vm.moref.clone(), vm.is_on())).collect()
}

fn message(status: &Value) -> &str {
    status["lastMessage"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_vcenter_gets_no_machine_that_the_first_has() {
    let (_place, rig, operator) = start_operator().await;
    for (name, replicas) in [("web", 2), ("going", 1)] {
        rig.apply_and_settle(name, replicas).await.unwrap();
    }
    let before = machines(&rig.vcenter).await;
    drop(operator);
    rig.delete("going").await.unwrap();

    let other = Vcsim::start().await.unwrap();
    let operator = rig.spawn(&at(&rig, &other)).unwrap();
    let status = rig.reason("web", "InAnotherVCenter").await.unwrap();
    assert_eq!((&status["replicas"], &status["readyReplicas"]), (&2.into(), &0.into()), "{status}");
    assert!(message(&status).contains("connected to the vCenter with the instanceUuid"), "{status}");
    rig.reason("going", "InAnotherVCenter").await.unwrap();
    // The operator works: what is new is made here.
    rig.apply_and_settle("new", 1).await.unwrap();
    let made: Vec<_> = machines(&other).await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(made, ["new-0"]);
    for instance in ["web-0", "web-1", "going-0"] {
        let instance = rig.api("VmInstance").get(instance).await.unwrap();
        assert!(instance.metadata.finalizers.is_some_and(|all| !all.is_empty()));
        assert!(instance.data["status"]["vmRef"].is_string(), "{:?}", instance.data);
    }
    rig.kubectl(&["annotate", "vg", "going", DETACH]).await.unwrap();
    rig.gone("going").await.unwrap();
    drop(operator);
    assert_eq!(machines(&rig.vcenter).await, before, "also of the group that was detached");

    rig.vcenter.reset_calls().await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.settled("web", 2).await.unwrap();
    rig.reason("new", "InAnotherVCenter").await.unwrap();
    assert_eq!(machines(&rig.vcenter).await, before);
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 0);
}

/// The first vCenter does not come back: a person lets go of its machines, and the group gets others.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_moves_to_another_vcenter_when_its_instances_are_detached() {
    let (_place, rig, operator) = start_web(2).await;
    drop(operator);
    let other = Vcsim::start().await.unwrap();
    let _operator = rig.spawn(&at(&rig, &other)).unwrap();
    rig.reason("web", "InAnotherVCenter").await.unwrap();
    rig.kubectl(&["delete", "vgi", "--all", "--wait=false"]).await.unwrap();
    crate::safety::instance_says(&rig, "web-1", "InAnotherVCenter").await;
    rig.kubectl(&["annotate", "vgi", "--all", DETACH]).await.unwrap();
    eventually("two machines in the other vCenter", PATIENCE, async || {
        let made = machines(&other).await;
        Ok((made.len() == 2 && made.iter().all(|(.., on)| *on)).then_some(()))
    })
    .await
    .unwrap();
    rig.settled("web", 2).await.unwrap();
    assert!(rig.vcenter.removed_vms().await.unwrap().is_empty());
}

/// The operator runs with the wrong vCenter, then with the right one. A group that wants no machine there keeps its record, paused or
/// not, and removes its own folder in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_without_replicas_stays_in_its_vcenter() {
    let (_place, rig, operator) = start_operator().await;
    for name in ["idle", "paused"] {
        rig.apply_and_settle(name, 1).await.unwrap();
        rig.apply_and_settle(name, 0).await.unwrap();
    }
    let pause = |paused: bool| format!(r#"{{"spec": {{"paused": {paused}}}}}"#);
    rig.kubectl(&["patch", "vg", "paused", "--type=merge", "-p", &pause(true)]).await.unwrap();
    rig.reason("paused", "Paused").await.unwrap();
    let records = async || {
        let mut records = Vec::new();
        for name in ["idle", "paused"] {
            let status = rig.status(name).await.unwrap();
            records.push((status["vcenter"].clone(), status["folder"].clone()));
        }
        records
    };
    let before = records().await;
    assert!(before.iter().all(|(vcenter, folder)| vcenter.is_string() && folder.is_string()), "{before:?}");
    drop(operator);

    let other = Vcsim::start().await.unwrap();
    let operator = rig.spawn(&at(&rig, &other)).unwrap();
    rig.reason("idle", "InAnotherVCenter").await.unwrap();
    rig.apply_and_settle("never", 0).await.unwrap();
    // A pass over the paused one, too.
    rig.kubectl(&["patch", "vg", "paused", "--type=merge", "-p", r#"{"spec": {"cpu": 2}}"#]).await.unwrap();
    rig.reason("paused", "Paused").await.unwrap();
    drop(operator);
    assert_eq!(records().await, before);

    let _operator = rig.operator().await.unwrap();
    rig.kubectl(&["patch", "vg", "paused", "--type=merge", "-p", &pause(false)]).await.unwrap();
    // Nothing of the last is in the wrong vCenter, which its status names.
    for name in ["idle", "paused", "never"] {
        rig.settled(name, 0).await.unwrap();
        rig.remove(name).await.unwrap();
    }
    let left = rig.vcenter.folders().await.unwrap();
    assert!(
        !left.iter().any(|folder| [rig.folder("idle"), rig.folder("paused")].contains(folder)),
        "{left:?}"
    );
}

/// A vCenter is set up again at the same address while the operator runs, and the first one comes back.
#[tokio::test(flavor = "multi_thread")]
async fn another_vcenter_at_the_same_address_is_refused() {
    let _place = place().await;
    let rig = VmRig::with(Vcsim::builder().instance_uuid("the-first")).await.unwrap();
    let _operator = rig.operator().await.unwrap();
    rig.apply_and_settle("web", 2).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    rig.vcenter.become_another("the-second").await.unwrap();
    let status = rig.reason("web", "AnotherVCenter").await.unwrap();
    assert!(message(&status).contains("the-second"), "{status}");
    rig.apply("new", 1, "photon").await.unwrap();
    rig.reason("new", "AnotherVCenter").await.unwrap();
    rig.vcenter.become_another("the-first").await.unwrap();
    rig.settled("new", 1).await.unwrap();
    rig.settled("web", 2).await.unwrap();
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 1, "that of the new group");
}

/// After a restart with another vCenter nothing else would tell that a clone may run in the first.
#[tokio::test(flavor = "multi_thread")]
async fn no_machine_is_requested_before_a_status_names_the_vcenter() {
    let _place = place().await;
    let rig = VmRig::start().await.unwrap();
    let refusal = Refusal::of(&rig, "vmgroups/status", "true").await;
    let _operator = rig.operator().await.unwrap();
    rig.apply("web", 2, "photon").await.unwrap();
    crate::safety::instance_says(&rig, "web-1", "Recording").await;
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 0);
    refusal.end(&rig).await;
    // An edit ends the group's back-off.
    rig.apply_and_settle("web", 3).await.unwrap();
    assert_eq!(rig.called("CloneVM_Task").await.unwrap(), 3);
}

/// An administrator moved one machine to the other vCenter. The other machines, of which an earlier version recorded no vCenter, are
/// still in the first.
#[tokio::test(flavor = "multi_thread")]
async fn one_machine_that_was_carried_over_brings_no_other() {
    let (_place, rig, operator) = start_web(2).await;
    drop(operator);
    let forget = r#"{"status": {"vcenter": null}}"#;
    for instance in ["web-0", "web-1"] {
        rig.kubectl(&["patch", "vgi", instance, "--subresource=status", "--type=merge", "-p", forget])
            .await
            .unwrap();
    }
    let vms = rig.vcenter.vms().await.unwrap();
    let carried = vms.into_iter().find(|vm| vm.name == "web-0").unwrap();
    let (other, folder) = (Vcsim::start().await.unwrap(), format!("{}.web", rig.namespace()));
    other.add_folder("/DC0/vm/vm-operator", &folder).await.unwrap();
    let vm = NewVm::new("web-0").instance_uuid(&carried.instance_uuid);
    let vm = carried.extra_config.iter().fold(vm, |vm, (key, value)| vm.marker(key, value));
    other.add_vms(&rig.folder("web"), &[vm]).await.unwrap();

    let _operator = rig.spawn(&at(&rig, &other)).unwrap();
    crate::safety::instance_says(&rig, "web-0", "AsAsked").await;
    crate::safety::instance_says(&rig, "web-1", "InAnotherVCenter").await;
    rig.reason("web", "InAnotherVCenter").await.unwrap();
    let names: Vec<_> = machines(&other).await.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["web-0"]);
}
