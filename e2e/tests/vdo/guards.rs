//! What must not happen: drivers with an account that cannot log in or does not see the machines of the Nodes, and two objects that decide
//! about one driver.

use e2e::{PATIENCE, Rig as _, VdoRig};
use serde_json::json;
use testbed::eventually;

use crate::manifests::matrix;

const CPI: (&str, &str, &str) = ("kube-system", "daemonset", "vsphere-cloud-controller-manager");

#[tokio::test]
async fn no_driver_gets_an_account_that_cannot_be_used() {
    let rig = VdoRig::start().await.unwrap();
    // A Node without a machine: CPI would delete it.
    rig.join(4).await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.write_matrix(&matrix(&rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();
    let status = rig.says("CPIAvailable", "MachinesInvisible").await.unwrap();
    assert!(status.to_string().contains("node-4"), "{status}");
    assert!(rig.get(CPI.0, CPI.1, CPI.2).await.unwrap().is_none());

    rig.add_machine(4).await.unwrap();
    // The other account has not been asked: its Secret has another version.
    rig.write_account("another").await.unwrap();
    login_is_refused(&rig).await;
    rig.says("CPIAvailable", "ConnectionNotReady").await.unwrap();
    rig.write_account(rig.vcenter.password()).await.unwrap();
    rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    let secret = || rig.get("kube-system", "secret", "cpi-global-secret");
    let before = secret().await.unwrap().unwrap()["data"].clone();

    // A driver that runs keeps the account that it has.
    rig.vcenter.reset_calls().await.unwrap();
    rig.write_account("wrong").await.unwrap();
    login_is_refused(&rig).await;
    rig.says("CPIAvailable", "ConnectionNotReady").await.unwrap();
    assert_eq!(secret().await.unwrap().unwrap()["data"], before);
    assert_eq!(rig.vcenter.calls().await.unwrap()["Login"], 1, "the vCenter would lock the account");
    rig.write_account(rig.vcenter.password()).await.unwrap();
    rig.says("CPIAvailable", "SettingUpNodes").await.unwrap();

    // The older object decides.
    let second = json!({
        "apiVersion": "vdo.vmware.com/v1alpha1", "kind": "VDOConfig", "metadata": {"name": "second"},
        "spec": {"storageProvider": {"vsphereCloudConfig": "vdo"}},
    });
    rig.apply(None, &second).await.unwrap();
    let status = rig.reason("second", "Conflicting").await.unwrap();
    assert!(status.to_string().contains("VDOConfig default/vdo is older"), "{status}");
    rig.remove("second").await.unwrap();
    assert!(rig.get(CPI.0, CPI.1, CPI.2).await.unwrap().is_some());
}

async fn login_is_refused(rig: &VdoRig) {
    eventually("the login is refused", PATIENCE, async || {
        let cloud = rig.get(rig.namespace(), "vspherecloudconfig", "vdo").await?.unwrap_or_default();
        let ready = e2e::condition(&cloud["status"], "Ready");
        let is_refused = ready.is_some_and(|ready| ready["reason"] == "VCenterLoginRefused");
        anyhow::ensure!(is_refused && cloud["status"]["config"] == "failed", "{cloud}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}
