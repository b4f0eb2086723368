//! The commands that set vdo up and remove it: deploy, bundle, configure, delete, from flags alone.

use std::path::{Path, PathBuf};

use e2e::{PATIENCE, Rig as _, VdoRig};
use serde_json::{Value, json};
use testbed::eventually;

const NAMESPACE: &str = "vmware-system-vdo";
const CPI: &str = "vsphere-cloud-controller-manager";
const MANIFEST: &str = include_str!("../../../operators/vdo/src/render/tests/cpi.yaml");

/// Writes a file into the rig's directory; returns its path.
fn write(rig: &VdoRig, name: &str, text: &str) -> PathBuf {
    let path = rig.directory().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Configures CPI with the password in a file.
async fn configure(rig: &VdoRig, password: &Path, more: &[&str]) -> e2e::Printed {
    let (host, authority) = (rig.vcenter.host(), write(rig, "ca.pem", rig.vcenter.ca_pem()));
    let (authority, password) = (authority.to_str().unwrap(), password.to_str().unwrap());
    let flags = ["--server", &host, "--username", rig.vcenter.user(), "--ca-file", authority];
    let drivers = ["--datacenter=DC0", "--drivers=cpi", "--matrix=vdo-bundle", "--password-file", password];
    rig.run(&[&["configure", "drivers"][..], &flags, &drivers, more].concat()).await.unwrap()
}

#[tokio::test]
async fn vdo_is_set_up_and_removed_by_commands_alone() {
    let rig = VdoRig::start().await.unwrap();
    // It takes over what kubectl has applied.
    let deploy = ["deploy", "--image=registry.example.com/vdo:9"];
    let shown = rig.run(&[&deploy[..], &["--dry-run"]].concat()).await.unwrap();
    assert!(shown.code == 0 && shown.out.contains("~ Deployment vmware-system-vdo/vdo\n"), "{shown:?}");
    let image = rig.image(NAMESPACE, "deployment", "vdo").await.unwrap();
    assert!(image.starts_with("registry.invalid/"), "a dry run changes nothing: {image}");
    let deployed = rig.run(&deploy).await.unwrap();
    assert_eq!(deployed.code, 0, "{deployed:?}");
    assert_eq!(rig.image(NAMESPACE, "deployment", "vdo").await.unwrap(), "registry.example.com/vdo:9");

    are_manifests_brought(&rig).await;
    are_drivers_configured(&rig).await;

    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    eventually("CPI is installed", PATIENCE, async || {
        Ok(rig.get("kube-system", "daemonset", CPI).await?.map(drop))
    })
    .await
    .unwrap();
    rig.set_up_nodes().await.unwrap();
    let status = rig.run(&["status", "drivers", "--wait", "--timeout=3m"]).await.unwrap();
    assert!(status.code == 0 && status.out.contains("DriverSet vmware-system-vdo/drivers\n"), "{status:?}");
    assert!(rig.downloads().is_empty(), "the manifests are in the bundle");

    // What is there is deleted in order, and only on request.
    let refused = rig.run(&["delete", "drivers"]).await.unwrap();
    assert!(refused.code == 1 && refused.error.contains("write --yes"), "{refused:?}");
    let deleted = rig.run(&["delete", "drivers", "--yes", "--timeout=3m"]).await.unwrap();
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert!(rig.get("kube-system", "daemonset", CPI).await.unwrap().is_none());
    drop(operator);
    // An API server looks after up to 5 minutes again at a definition whose deletion failed.
    let deleted = rig.run(&["delete", "--all", "--operator", "--yes", "--timeout=8m"]).await.unwrap();
    assert_eq!(deleted.code, 0, "{deleted:?}");
    let gone = rig.run(&["status"]).await.unwrap();
    assert!(gone.code == 1 && gone.error.contains("has no kind VDOConfig: install vdo first"), "{gone:?}");
}

/// The manifests come with a bundle; a matrix is written from a file, or refused.
async fn are_manifests_brought(rig: &VdoRig) {
    write(rig, "cpi.yaml", MANIFEST);
    let matrix = json!({"CPI": {"1.36.0": {"deploymentPath": ["file:cpi.yaml"]}}});
    let file = write(rig, "matrix.json", &matrix.to_string());
    let (file, bundle) = (file.to_str().unwrap(), rig.directory().join("bundle"));
    let drivers = ["--kubernetes=1.36", "--vsphere=8.0.3", "--drivers=cpi", "--matrix", file];
    let bundled = rig.run(&[&["bundle", bundle.to_str().unwrap()][..], &drivers].concat()).await.unwrap();
    assert!(bundled.code == 0 && bundled.out.starts_with("CPI 1.36.0\n"), "{bundled:?}");
    let objects = bundle.join("objects.yaml");
    rig.kubectl(&["-n", NAMESPACE, "apply", "--server-side", "-f", objects.to_str().unwrap()]).await.unwrap();
    let written = rig.run(&["configure", "compatibility-matrix", "--file", file]).await.unwrap();
    assert_eq!(written.code, 0, "{written:?}");
    let bad = write(rig, "bad.json", "{\"CPI\": []}");
    let bad = rig.run(&["configure", "compatibility-matrix", "--file", bad.to_str().unwrap()]).await.unwrap();
    assert!(bad.code == 1 && bad.error.contains("is not of the form"), "{bad:?}");
}

/// Drivers are configured from flags; what is wrong is said before anything is written.
async fn are_drivers_configured(rig: &VdoRig) {
    let right = write(rig, "password", &format!("{}\n", rig.vcenter.password()));
    let wrong = configure(rig, &write(rig, "wrong", "wrong"), &[]).await;
    assert!(wrong.code == 1 && wrong.error.contains("--no-login"), "{wrong:?}");
    let missing = rig.run(&["configure", "drivers"]).await.unwrap();
    assert!(missing.code == 1 && missing.error.contains("write --server and --username"), "{missing:?}");
    let typo = configure(rig, &right, &["--datacenter=DC9"]).await;
    assert!(typo.code == 1 && typo.error.contains("DC9"), "{typo:?}");
    assert!(rig.get(NAMESPACE, "driverset", "drivers").await.unwrap().is_none());

    let shown = configure(rig, &right, &["--dry-run", "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["objects"][0]["stringData"]["password"], "***", "{shown}");
    assert!(rig.get(NAMESPACE, "secret", "drivers-account").await.unwrap().is_none());
    let written = configure(rig, &right, &[]).await;
    assert!(written.code == 0 && written.out.contains("accepts the account"), "{written:?}");
    let variable = [("VDO_PASSWORD", rig.vcenter.password())];
    let network = ["configure", "drivers", "--name=network", "--drivers=cni", "--dry-run"];
    assert_eq!(rig.run_with(&network, &variable).await.unwrap().code, 0);
}
