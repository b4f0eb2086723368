//! The kinds of snapshots and their controller: installed on request, and never removed with a snapshot.

use e2e::{PATIENCE, Rig as _, VdoRig};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testbed::eventually;

const KIND: &str = "volumesnapshots.snapshot.storage.k8s.io";

/// Waits until the condition Ready of the DriverSet has this reason, and returns its message.
async fn says(rig: &VdoRig, reason: &str) -> String {
    eventually(&format!("the DriverSet says {reason}"), PATIENCE, async || {
        let set = rig.get(rig.namespace(), "driverset", "set").await?.unwrap_or_default();
        let ready = e2e::condition(&set["status"], "Ready").unwrap_or(&Value::Null);
        anyhow::ensure!(ready["reason"] == reason, "its status is {}", set["status"]);
        Ok(ready["message"].as_str().map(str::to_owned))
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn the_kinds_of_snapshots_stay_while_there_is_a_snapshot() {
    let rig = VdoRig::start().await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.set_up_nodes().await.unwrap();
    let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "vdo.vmware.com/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let items = json!([
        object("CompatibilityMatrix", "matrix", json!({"inline": rig.matrix(&["1.36.0"]).to_string()})),
        object("DriverSet", "set", json!({"matrix": "matrix", "snapshotController": {}})),
    ]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    rig.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &list.to_string()).await.unwrap();
    says(&rig, "AsAsked").await;
    let set = rig.get(rig.namespace(), "driverset", "set").await.unwrap().unwrap();
    assert_eq!(set["status"]["snapshotController"]["version"], "8.2.0", "{set}");
    let controller = rig.get("kube-system", "deployment", "snapshot-controller").await.unwrap().unwrap();
    let image = &controller["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(image, "registry.k8s.io/sig-storage/snapshot-controller:v8.2.0", "not that of the manifests");

    let snapshot = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": "backup"}, "spec": {"source": {"persistentVolumeClaimName": "data"}}});
    rig.kubectl_stdin(&["apply", "-f", "-"], &snapshot.to_string()).await.unwrap();
    rig.api("DriverSet").delete("set", &DeleteParams::default()).await.unwrap();
    let message = says(&rig, "SnapshotsInUse").await;
    assert!(message.contains(&format!("VolumeSnapshot {}/backup", rig.namespace())), "{message}");
    assert!(rig.get("", "crd", KIND).await.unwrap().is_some());

    rig.kubectl(&["delete", "volumesnapshot", "backup"]).await.unwrap();
    eventually("the DriverSet is gone", PATIENCE, async || {
        Ok(rig.api("DriverSet").get_opt("set").await?.is_none().then_some(()))
    })
    .await
    .unwrap();
    assert!(rig.get("", "crd", KIND).await.unwrap().is_none());
    assert!(rig.get("kube-system", "deployment", "snapshot-controller").await.unwrap().is_none());
}
