//! Notes that a person deletes: the drivers are known by their workloads, and go with their object.

use e2e::{PATIENCE, Rig as _, VdoRig};
use testbed::eventually;

use crate::manifests::matrix;

#[tokio::test]
async fn drivers_whose_notes_are_gone_are_kept_and_removed() {
    let rig = VdoRig::start().await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.write_matrix(&matrix(&rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();
    rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    rig.set_up_nodes().await.unwrap();
    rig.register_csi().await.unwrap();
    rig.settled(PATIENCE).await.unwrap();
    let before = rig.drivers().await.unwrap();

    let delete = ["-n", "kube-system", "delete", "configmap", "vdo-cpi", "vdo-csi"];
    rig.kubectl(&delete).await.unwrap();
    // Nothing tells that a ConfigMap with notes has gone.
    rig.kubectl(&["annotate", "configmap", "compat-matrix-config", "touched=once"]).await.unwrap();
    eventually("the notes are there again", PATIENCE, async || {
        for (name, version) in [("vdo-cpi", "1.36.0"), ("vdo-csi", "3.7.3")] {
            let notes = rig.get("kube-system", "configmap", name).await?.unwrap_or_default();
            let is_whole = notes["data"]["version"] == version && notes["data"]["recovered"].is_null();
            anyhow::ensure!(is_whole, "{name} has {}", notes["data"]);
        }
        Ok(Some(()))
    })
    .await
    .unwrap();
    rig.settled(PATIENCE).await.unwrap();
    assert_eq!(rig.drivers().await.unwrap(), before);

    // Once more, and no pass sees it before the object is deleted.
    operator.process.kill().await;
    rig.kubectl(&delete).await.unwrap();
    rig.delete("vdo").await.unwrap();
    let mut operator = rig.spawn(&rig.launch()).unwrap();
    operator.ready().await.unwrap();
    rig.gone("vdo").await.unwrap();
    let left = rig.drivers().await.unwrap();
    assert!(left.is_empty(), "{:?}", left.keys());
}
