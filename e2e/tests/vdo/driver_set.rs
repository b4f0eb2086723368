//! A DriverSet: what a VDOConfig cannot say, and drivers that stay when it goes.

use e2e::{PATIENCE, Rig as _, VdoRig};
use serde_json::{Value, json};
use testbed::eventually;

use crate::manifests::matrix;

const DAEMON_SET: &str = "vsphere-cloud-controller-manager";
const PART_OF: &str = "applyset.kubernetes.io/part-of";

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "vdo.vmware.com/v1beta1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// Applies a DriverSet with CPI, which stays when it goes, and all that it names.
async fn apply(rig: &VdoRig) {
    let connection =
        json!({"server": rig.vcenter.host(), "credentials": "account", "certificateAuthority": "authority"});
    let set = json!({"matrix": "matrix", "deletionPolicy": "Orphan",
        "cpi": {"connections": ["vc"], "versionPolicy": "Pinned", "version": "1.36.0"}});
    let inline = matrix(rig, &["1.36.0", "1.36.1"]).to_string();
    let items = json!([
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "account"},
            "stringData": {"username": rig.vcenter.user(), "password": rig.vcenter.password()}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "authority"},
            "data": {"ca.crt": rig.vcenter.ca_pem()}},
        object("CompatibilityMatrix", "matrix", &json!({"inline": inline})),
        object("VSphereConnection", "vc", &connection),
        object("DriverSet", "set", &set),
    ]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    rig.kubectl_stdin(&["apply", "--server-side", "-f", "-"], &list.to_string()).await.unwrap();
}

/// Waits until a condition of the DriverSet has this reason.
async fn says(rig: &VdoRig, condition: &str, reason: &str) -> Value {
    eventually(&format!("{condition} says {reason}"), PATIENCE, async || {
        let set = rig.get(rig.namespace(), "driverset", "set").await?.unwrap_or_default();
        let found = e2e::condition(&set["status"], condition).is_some_and(|found| found["reason"] == reason);
        anyhow::ensure!(found, "its status is {}", set["status"]);
        Ok(Some(set["status"].clone()))
    })
    .await
    .unwrap()
}

async fn daemon_set(rig: &VdoRig) -> Value {
    rig.get("kube-system", "daemonset", DAEMON_SET).await.unwrap().expect("CPI is installed")
}

#[tokio::test]
async fn a_driver_outlives_the_operator_and_its_driver_set() {
    let rig = VdoRig::start().await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    apply(&rig).await;
    let status = says(&rig, "CPIAvailable", "SettingUpNodes").await;
    assert_eq!(status["cpi"]["version"], "1.36.0", "the version is pinned: {status}");
    let used = rig.get(rig.namespace(), "compatibilitymatrix", "matrix").await.unwrap().unwrap();
    assert_eq!(e2e::ready(&used["status"]), Some(("True", "AsAsked")), "{used}");
    let connection = rig.get(rig.namespace(), "vsphereconnection", "vc").await.unwrap().unwrap();
    assert_eq!(connection["status"]["version"], "8.0.3", "{connection}");
    let conf = rig.get("kube-system", "configmap", "cloud-config").await.unwrap().unwrap();
    assert!(conf["data"].to_string().contains("BEGIN CERTIFICATE"), "{conf}");
    let before = daemon_set(&rig).await;

    // Another process knows what is installed, and leaves it as it is.
    drop(operator);
    rig.set_up_nodes().await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    says(&rig, "Ready", "AsAsked").await;
    let after = daemon_set(&rig).await;
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);

    // It stays, and belongs to no object: a VDOConfig does not take it.
    rig.kubectl(&["delete", "driverset", "set"]).await.unwrap();
    let left = daemon_set(&rig).await;
    assert!(
        left["metadata"]["uid"] == before["metadata"]["uid"] && left["metadata"]["labels"][PART_OF].is_null()
    );
    assert!(rig.get("kube-system", "configmap", "vdo-cpi").await.unwrap().is_none());
    rig.write_matrix(&matrix(&rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();
    let status = rig.says("CPIAvailable", "ForeignDriver").await.unwrap();
    assert!(status.to_string().contains(DAEMON_SET), "{status}");
}
