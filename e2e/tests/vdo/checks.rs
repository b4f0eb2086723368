//! The preflight checks: what they find holds an installation up, until it is corrected or the check is switched off.

use e2e::{PATIENCE, Rig as _, VdoRig};
use testbed::eventually;

use crate::manifests::matrix;

const CPI: (&str, &str, &str) = ("kube-system", "daemonset", "vsphere-cloud-controller-manager");

#[tokio::test]
async fn what_a_check_finds_holds_an_installation_up_until_it_is_switched_off() {
    let rig = VdoRig::start().await.unwrap();
    rig.vcenter.set_extra_config("/DC0/vm/node-2", "disk.enableUUID", None).await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.write_matrix(&matrix(&rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();
    let status = rig.says("CPIAvailable", "ChecksFailed").await.unwrap();
    let checks = e2e::condition(&status, "ChecksPassed").unwrap();
    let message = checks["message"].as_str().unwrap();
    assert!(
        checks["status"] == "False" && message.starts_with("[block-install] DiskUuid: node-2: "),
        "{checks}"
    );
    assert!(rig.get(CPI.0, CPI.1, CPI.2).await.unwrap().is_none());
    let found = r#"vdo_check_findings{check="DiskUuid",severity="block-install"} 1"#;
    let (_, metrics) = operator.get("/metrics").await.unwrap();
    assert!(metrics.lines().any(|line| line == found), "{metrics}");
    rig.event("DiskUuid").await.unwrap();

    let annotate = |names: &str| format!("vdo.vmware.com/skip-checks={names}");
    rig.kubectl(&["annotate", "vdoconfig", "vdo", &annotate("NoSuchCheck")]).await.unwrap();
    let status = rig.reason("vdo", "InvalidSettings").await.unwrap();
    assert!(status.to_string().contains("unknown check"), "{status}");
    rig.kubectl(&["annotate", "--overwrite", "vdoconfig", "vdo", &annotate("Tools, DiskUuid")])
        .await
        .unwrap();
    let status = rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    assert_eq!(e2e::condition(&status, "ChecksPassed").unwrap()["reason"], "ChecksWarn", "{status}");

    // What runs is kept, whatever is found.
    rig.kubectl(&["annotate", "vdoconfig", "vdo", "vdo.vmware.com/skip-checks-"]).await.unwrap();
    eventually("the check fails again", PATIENCE, async || {
        let status = rig.status("vdo").await?;
        let checks = e2e::condition(&status, "ChecksPassed").cloned().unwrap_or_default();
        anyhow::ensure!(checks["status"] == "False", "{status}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    assert!(rig.get(CPI.0, CPI.1, CPI.2).await.unwrap().is_some());
}
