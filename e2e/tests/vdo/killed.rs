//! An operator that is killed again and again, while drivers are installed, upgraded and removed: the end is the same.

use std::cell::Cell;

use e2e::{PATIENCE, Rig as _, VdoRig};
use testbed::ApiProxy;

use crate::manifests::matrix;

/// After how many changes the operator is killed: it never has the response to one.
const CHANGES: u32 = 1;
/// The least number of kills: fewer are no proof.
const KILLS: u32 = 15;

/// Runs the operator behind the proxy, and starts it again whenever it is killed.
async fn keep_running(rig: &VdoRig, proxy: &ApiProxy, kills: &Cell<u32>) {
    loop {
        let mut operator = rig.spawn_with(proxy.kubeconfig(), &rig.launch()).unwrap();
        proxy.kill_point().await;
        operator.process.kill().await;
        kills.set(kills.get() + 1);
        proxy.reopen();
    }
}

/// Installs both drivers, upgrades CPI and removes both.
async fn whole_life(rig: &VdoRig) -> [std::collections::BTreeMap<String, serde_json::Value>; 3] {
    rig.write_matrix(&matrix(rig, &["1.36.0"])).await.unwrap();
    rig.apply_configs().await.unwrap();
    rig.says("CSIAvailable", "NodesUninitialized").await.unwrap();
    rig.set_up_nodes().await.unwrap();
    rig.says("CSIAvailable", "SettingUpNodes").await.unwrap();
    rig.register_csi().await.unwrap();
    rig.settled(PATIENCE).await.unwrap();
    let installed = rig.drivers().await.unwrap();
    rig.write_matrix(&matrix(rig, &["1.36.0", "1.36.1"])).await.unwrap();
    rig.cpi_becomes(":v1.36.1", PATIENCE).await.unwrap();
    rig.settled(PATIENCE).await.unwrap();
    let upgraded = rig.drivers().await.unwrap();
    rig.delete("vdo").await.unwrap();
    rig.gone("vdo").await.unwrap();
    [installed, upgraded, rig.drivers().await.unwrap()]
}

/// Returns which objects are there, and of what versions.
fn shown(states: &[std::collections::BTreeMap<String, serde_json::Value>]) -> Vec<Vec<String>> {
    let of = |(name, object): (&String, &serde_json::Value)| {
        format!("{name} {}", object["spec"]["template"]["spec"]["containers"])
    };
    states.iter().map(|state| state.iter().map(of).collect()).collect()
}

#[tokio::test]
async fn an_operator_that_is_killed_again_and_again_ends_as_another() {
    let clean = VdoRig::start().await.unwrap();
    let mut operator = clean.spawn(&clean.launch()).unwrap();
    operator.ready().await.unwrap();
    let wanted = whole_life(&clean).await;
    assert!(wanted[2].is_empty(), "{:?}", wanted[2]);
    drop(operator);
    drop(clean);

    let rig = VdoRig::start().await.unwrap();
    let proxy = ApiProxy::killing(rig.control_plane(), rig.kubeconfig(), CHANGES).await.unwrap();
    let kills = Cell::new(0);
    let ended = tokio::select! {
        ended = whole_life(&rig) => ended,
        () = keep_running(&rig, &proxy, &kills) => unreachable!(),
    };
    println!("killed {} times", kills.get());
    assert!(kills.get() >= KILLS, "killed {} times", kills.get());
    assert_eq!(shown(&ended), shown(&wanted));
}
