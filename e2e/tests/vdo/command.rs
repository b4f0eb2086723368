//! The commands: what they say of a cluster before, while and after the operator works on it, and that they change nothing of it.

use e2e::{PATIENCE, Rig as _, VdoRig};
use serde_json::{Value, json};
use testbed::{Account, eventually};

use crate::manifests::matrix;

const CPI: (&str, &str, &str) = ("kube-system", "daemonset", "vsphere-cloud-controller-manager");

/// Another password of the account.
const NEXT: &str = "an0ther-passw0rd";

/// Returns what a plan says of a driver.
fn driver<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let drivers = plan["objects"][0]["drivers"].as_array().unwrap();
    drivers.iter().find(|of| of["driver"] == name).expect(name)
}

/// Returns how an object would be touched.
fn touched<'a>(driver: &'a Value, object: &str) -> &'a Value {
    let objects = driver["objects"].as_array().unwrap();
    objects.iter().find(|of| of["object"] == object).expect(object)
}

#[tokio::test]
async fn a_plan_says_what_the_operator_does_next() {
    let rig = VdoRig::start().await.unwrap();
    let mut versions = matrix(&rig, &["1.36.0", "1.37.0"]);
    versions["CPI"]["1.37.0"]["k8s"] = json!({"min": "1.99"});
    rig.write_matrix(&versions).await.unwrap();
    let nothing = rig.run(&["plan"]).await.unwrap();
    assert_eq!(nothing.code, 1);
    assert!(nothing.error.starts_with("error: no VDOConfig and no DriverSet"), "{nothing:?}");
    rig.apply_configs().await.unwrap();

    // Before the operator has done anything.
    let plan = rig.run(&["plan"]).await.unwrap();
    assert_eq!(plan.code, 0, "{plan:?}");
    for part in [
        "vCenter 8.0.3): the account is accepted, and sees 3 machines",
        "CPI 1.36.0: install\n    not 1.37.0: works with Kubernetes 1.99",
        "+ DaemonSet kube-system/vsphere-cloud-controller-manager",
        "CSI 3.7.3: wait (WaitingForDriver): CPI is not installed\n    then:\n",
        "0 to change, 0 to delete; 1 held up",
    ] {
        assert!(plan.out.contains(part), "no {part}: {}", plan.out);
    }
    assert!(rig.get(CPI.0, CPI.1, CPI.2).await.unwrap().is_none());
    let cache = rig.kubectl(&["get", "configmap", "-A", "-o", "name"]).await.unwrap();
    assert!(!cache.contains("vdo-file") && !cache.contains("vdo-cpi"), "it writes nothing: {cache}");
    let status = rig.run(&["status"]).await.unwrap();
    assert!(status.code == 3 && status.out.contains("has not answered the present spec"), "{status:?}");

    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    let plan = rig.run_json(&["plan"]).await.unwrap();
    assert_eq!(driver(&plan, "CPI")["step"], "keep", "{plan}");
    assert_eq!(driver(&plan, "CSI")["held"]["reason"], "NodesUninitialized", "{plan}");
    rig.set_up_nodes().await.unwrap();
    rig.register_csi().await.unwrap();
    rig.settled(PATIENCE).await.unwrap();
    let status = rig.run(&["status", "--wait", "--timeout=2m"]).await.unwrap();
    assert_eq!(status.code, 0, "{status:?}");
    let plan = rig.run(&["plan", "--exit-code"]).await.unwrap();
    assert!(plan.code == 0 && plan.out.contains("keep, nothing changes"), "{plan:?}");

    drop(operator);
    what_differs_is_shown(&rig).await;

    // And what a deletion does.
    rig.kubectl(&["delete", "vdoconfig", "vdo", "--wait=false"]).await.unwrap();
    let plan = rig.run(&["plan"]).await.unwrap();
    for part in [
        "CSI 3.7.3: remove",
        "- DaemonSet vmware-system-csi/vsphere-csi-node",
        "CPI 1.36.0: wait (WaitingForDriver)",
    ] {
        assert!(plan.out.contains(part), "no {part}: {}", plan.out);
    }
}

/// A plan shows what the operator would put back, and what a newer version and another password change.
async fn what_differs_is_shown(rig: &VdoRig) {
    let set = ["set", "image", "daemonset/vsphere-cloud-controller-manager", "*=other:v1"];
    rig.kubectl(&[&["-n", CPI.0][..], &set].concat()).await.unwrap();
    rig.write_matrix(&matrix(rig, &["1.36.0", "1.36.1"])).await.unwrap();
    rig.vcenter.set_account(&Account::new(rig.vcenter.user(), NEXT)).await.unwrap();
    rig.write_account(NEXT).await.unwrap();
    let plan = rig.run_json(&["plan"]).await.unwrap();
    let cpi = driver(&plan, "CPI");
    assert_eq!(
        (&cpi["step"], &cpi["installed"], &cpi["chosen"]),
        (&json!("upgrade"), &json!("1.36.0"), &json!("1.36.1"))
    );
    let fields = &touched(cpi, "DaemonSet kube-system/vsphere-cloud-controller-manager")["fields"];
    let image =
        fields.as_array().unwrap().iter().find(|of| of["path"] == "spec.template.spec.containers[0].image");
    let image = image.expect("the image differs");
    assert_eq!(image["before"], "other:v1");
    assert!(image["after"].as_str().unwrap().ends_with(":v1.36.1"), "{image}");
    let secret = touched(driver(&plan, "CSI"), "Secret vmware-system-csi/vsphere-config-secret");
    assert_eq!(secret["fields"][0]["after"], "***", "{secret}");
    let plan = rig.run(&["plan", "--exit-code"]).await.unwrap();
    assert!(plan.code == 3 && plan.out.contains("CPI 1.36.0 -> 1.36.1: upgrade"), "{plan:?}");
    assert!(!plan.out.contains(NEXT), "{plan:?}");
}

#[tokio::test]
async fn what_is_wrong_is_explained() {
    let rig = VdoRig::start().await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.vcenter.set_extra_config("/DC0/vm/node-2", "disk.enableUUID", None).await.unwrap();
    let mut versions = matrix(&rig, &["1.36.0", "1.37.0"]);
    versions["CPI"]["1.37.0"]["revoked"] = json!("it loses Nodes");
    rig.write_matrix(&versions).await.unwrap();
    rig.apply_configs().await.unwrap();
    rig.says("CPIAvailable", "ChecksFailed").await.unwrap();

    let checks = rig.run(&["check"]).await.unwrap();
    assert_eq!(checks.code, 3, "{checks:?}");
    for part in ["  + Connection", "  - DiskUuid", "node-2"] {
        assert!(checks.out.contains(part), "no {part}: {}", checks.out);
    }
    let checks = rig.run_json(&["check", "--fail-on=degraded"]).await.unwrap();
    assert_eq!(checks["objects"][0]["findings"][0]["check"], "DiskUuid", "{checks}");
    let explained = rig.run(&["explain"]).await.unwrap();
    for part in [
        "    blocked (ChecksFailed): ",
        "    - 1.37.0: was revoked: it loses Nodes\n    + 1.36.0: the highest version that fits\n",
        "VDOConfig default/vdo: CPIAvailable: ChecksFailed: ",
        "To go on all the same, switch the check off",
    ] {
        assert!(explained.out.contains(part), "no {part}: {}", explained.out);
    }
    assert_eq!(rig.run_json(&["explain", "disKuuid"]).await.unwrap()["word"], "DiskUuid");
    let unknown = rig.run(&["explain", "nonsense", "-o", "json"]).await.unwrap();
    let error: Value = serde_json::from_str(&unknown.error).unwrap();
    assert!(
        unknown.code == 1 && error["error"].as_str().unwrap().contains("write one of AsAsked"),
        "{unknown:?}"
    );
    let status = rig.run_json(&["status", "vdo", "-n", rig.namespace()]).await.unwrap();
    assert_eq!(status["ready"], false, "{status}");

    rig.kubectl(&["annotate", "vdoconfig", "vdo", "vdo.vmware.com/skip-checks=DiskUuid"]).await.unwrap();
    rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    drop(operator);
    what_runs_is_shown(&rig).await;
    a_login_is_tried_once(&rig).await;
}

/// What runs is shown apart from what vdo has applied.
async fn what_runs_is_shown(rig: &VdoRig) {
    let set = [
        "set",
        "image",
        "daemonset/vsphere-cloud-controller-manager",
        "*=cloud-pv-vsphere/cloud-provider-vsphere:v1.35.0",
    ];
    rig.kubectl(&[&["-n", CPI.0][..], &set].concat()).await.unwrap();
    eventually("the Pods have the image", PATIENCE, async || {
        let version = rig.run_json(&["version"]).await?;
        let cpi = version["drivers"][1].clone();
        anyhow::ensure!(cpi["running"] == json!(["1.35.0"]) && cpi["applied"] == "1.36.0", "{version}");
        Ok(Some(()))
    })
    .await
    .unwrap();
}

/// A login that is refused is shown, and tried once.
async fn a_login_is_tried_once(rig: &VdoRig) {
    rig.write_account(NEXT).await.unwrap();
    rig.vcenter.reset_calls().await.unwrap();
    let plan = rig.run(&["plan"]).await.unwrap();
    assert!(
        plan.out.contains("ConnectionNotReady") && plan.out.contains("VsphereCloudConfig default/vdo ("),
        "{plan:?}"
    );
    assert_eq!(rig.vcenter.calls().await.unwrap()["Login"], 1, "the vCenter would lock the account");
    let misplaced = rig.run(&["--metrics-addr=0", "plan"]).await.unwrap();
    assert!(misplaced.code == 2 && misplaced.error.contains("write `plan` first"), "{misplaced:?}");
}
