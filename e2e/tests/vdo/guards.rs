//! What must not happen: CPI with an account that does not see the machines of the Nodes.

use e2e::VdoRig;

use crate::manifests::matrix;

#[tokio::test]
async fn cpi_is_not_installed_before_its_account_sees_every_machine() {
    let rig = VdoRig::start().await.unwrap();
    // A Node without a machine: CPI would delete it.
    rig.join(4).await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.write_matrix(&matrix(&rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();
    let status = rig.says("CPIAvailable", "MachinesInvisible").await.unwrap();
    assert!(status.to_string().contains("node-4"), "{status}");
    assert!(rig.get("kube-system", "daemonset", "vsphere-cloud-controller-manager").await.unwrap().is_none());

    // A wrong password is not tried again before its Secret changes, and changes nothing that runs.
    rig.write_account("wrong").await.unwrap();
    let cloud = async || rig.get(rig.namespace(), "vspherecloudconfig", "vdo").await;
    testbed::eventually("the login is refused", e2e::PATIENCE, async || {
        let cloud = cloud().await?.unwrap_or_default();
        anyhow::ensure!(cloud["status"]["config"] == "failed", "{cloud}");
        Ok(Some(()))
    })
    .await
    .unwrap();

    rig.add_machine(4).await.unwrap();
    rig.write_account(rig.vcenter.password()).await.unwrap();
    rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    assert!(rig.get("kube-system", "daemonset", "vsphere-cloud-controller-manager").await.unwrap().is_some());
}
