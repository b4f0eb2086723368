//! The seed's four objects: both drivers are installed in order, kept, upgraded and removed.

use e2e::{PATIENCE, Rig as _, VdoRig};
use serde_json::json;
use testbed::eventually;

use crate::manifests::matrix;

const CPI: (&str, &str, &str) = ("kube-system", "daemonset", "vsphere-cloud-controller-manager");
const CSI: (&str, &str, &str) = ("vmware-system-csi", "deployment", "vsphere-csi-controller");

#[tokio::test]
async fn drivers_are_installed_kept_upgraded_and_removed() {
    let rig = VdoRig::start().await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.write_matrix(&matrix(&rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();

    // CPI comes first; CSI waits for the Nodes that it sets up.
    let status = rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    assert_eq!(status["csi"]["phase"], "Deploying", "{status}");
    assert!(rig.image(CPI.0, CPI.1, CPI.2).await.unwrap().ends_with(":v1.36.0"));
    assert!(rig.get(CSI.0, CSI.1, CSI.2).await.unwrap().is_none());
    let conf = rig.get("kube-system", "configmap", "cloud-config").await.unwrap().unwrap();
    assert!(conf["data"]["vsphere.conf"].as_str().unwrap().contains("DC0"), "{conf}");
    rig.set_up_nodes().await.unwrap();
    rig.says("CSIAvailable", "SettingUpNodes").await.unwrap();
    rig.register_csi().await.unwrap();
    let status = rig.settled(PATIENCE).await.unwrap();
    assert_eq!(
        (&status["cpi"]["phase"], &status["csi"]["phase"]),
        (&json!("Configured"), &json!("Configured"))
    );
    assert_eq!(status["cpi"]["nodeStatus "]["node-2"], "ready", "{status}");
    assert_eq!(rig.downloads(), ["/cpi.yaml", "/csi.yaml"], "each file is fetched once");
    let cloud = rig.get(rig.namespace(), "vspherecloudconfig", "vdo").await.unwrap().unwrap();
    assert_eq!(cloud["status"]["config"], "verified", "{cloud}");

    // A pass in which nothing has changed writes nothing.
    let (before, passes) = (writes(&rig), operator.passes_of("vdoconfig").await.unwrap());
    rig.kubectl(&["annotate", "configmap", "compat-matrix-config", "touched=once"]).await.unwrap();
    eventually("a pass has ended", PATIENCE, async || {
        Ok((operator.passes_of("vdoconfig").await? > passes).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(writes(&rig), before);

    // What another client changes is put back.
    rig.kubectl(&["-n", CPI.0, "set", "image", "daemonset/vsphere-cloud-controller-manager", "*=other:v1"])
        .await
        .unwrap();
    rig.cpi_becomes(":v1.36.0", PATIENCE).await.unwrap();

    // A newer version in the matrix: CPI moves on.
    rig.write_matrix(&matrix(&rig, &["1.36.0", "1.36.1"])).await.unwrap();
    rig.cpi_becomes(":v1.36.1", PATIENCE).await.unwrap();
    rig.settled(PATIENCE).await.unwrap();

    are_removed(&rig).await;
}

/// The removal waits for volumes, and goes from storage to the cloud provider.
async fn are_removed(rig: &VdoRig) {
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "data"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "csi": {"driver": "csi.vsphere.vmware.com", "volumeHandle": "data"}},
    });
    rig.kubectl_stdin(&["create", "-f", "-"], &volume.to_string()).await.unwrap();
    rig.delete("vdo").await.unwrap();
    let status = rig.reason("vdo", "VolumesInUse").await.unwrap();
    assert!(status.to_string().contains("PersistentVolume data"), "{status}");
    assert!(rig.get(CSI.0, CSI.1, CSI.2).await.unwrap().is_some());
    // A Secret that another client keeps. The volume is of no use to the test any more: nothing detaches it.
    let finalizers = |names: &[&str]| json!({"metadata": {"finalizers": names}}).to_string();
    let kept = ["-n", CSI.0, "patch", "secret", "vsphere-config-secret", "--type=merge", "-p"];
    rig.kubectl(&[&kept[..], &[&finalizers(&["example.com/keep"])]].concat()).await.unwrap();
    rig.kubectl(&["delete", "persistentvolume", "data", "--wait=false"]).await.unwrap();
    let _ = rig.kubectl(&["patch", "persistentvolume", "data", "--type=merge", "-p", &finalizers(&[])]).await;
    eventually("the status says what keeps CSI", PATIENCE, async || {
        let config = rig.get(rig.namespace(), "vdoconfig", "vdo").await?.unwrap_or_default();
        let ready = e2e::condition(&config["status"], "Ready").map(ToString::to_string).unwrap_or_default();
        let text = "Secret vmware-system-csi/vsphere-config-secret: finalizer example.com/keep";
        anyhow::ensure!(ready.contains("CSI is removed first; left: ") && ready.contains(text), "{config}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    rig.kubectl(&[&kept[..], &[&finalizers(&[])]].concat()).await.unwrap();
    rig.gone("vdo").await.unwrap();
    for (namespace, kind, name) in
        [CPI, CSI, ("kube-system", "configmap", "cloud-config"), ("kube-system", "configmap", "vdo-csi")]
    {
        assert!(rig.get(namespace, kind, name).await.unwrap().is_none(), "{kind} {name}");
    }
}

/// Returns how often the operator has written, but for its Lease.
fn writes(rig: &VdoRig) -> usize {
    let requests = rig.requests().unwrap();
    requests.iter().filter(|event| event.is_write() && event.user == rig.account()).count()
}
