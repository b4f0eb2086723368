//! A cloud of the AVI simulator finds the port groups of the vCenter simulator: what ako-operator waits for after it
//! has made one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use anyhow::{Result, ensure};
use avi_simulator::Simulator;
use infra_clients::avi::{Api, Avi, Config, Credentials, NETWORK, Query, Scope};
use infra_clients::{Secret, Trust};
use testbed::{SimPortGroup, Vcsim, eventually};

/// A moment on an idle machine. Only what never happens takes this long.
const SOON: Duration = Duration::from_mins(2);
/// Of the simulator's clock, which the test puts forward.
const DELAY: Duration = Duration::from_mins(5);
const CLOUD: &str = "cloud-7f8b0d7c-6a51-4d0e-9f43-0f3b1a0c2d11";
const SWITCH: &str = "/DC0/network/DVS0";

#[tokio::test]
async fn port_groups_of_a_vcenter_become_networks_of_a_cloud() {
    let (vcsim, simulator) = tokio::join!(
        Vcsim::builder().switch(true).start(),
        Simulator::start(avi_simulator::Config::default())
    );
    let (vcsim, simulator) = (vcsim.unwrap(), simulator.unwrap());
    let control = simulator.control();
    control.seed(&format!("cloud: [{{uuid: {CLOUD}, name: vc, vtype: CLOUD_VCENTER}}]")).unwrap();
    let password = Secret::from(simulator.admin_password().to_owned());
    let mut config = Config::new(simulator.url(), Credentials::password("admin", password));
    config.trust = Trust::CaBundle(simulator.ca_pem().into());
    let avi = Avi::start(config).unwrap();
    let api = avi.api(Scope::admin());
    let discovery = vcsim.discovered_by(control.clone(), CLOUD, DELAY).await.unwrap();

    // One that is made: not before the delay, and under the uuid a cloud gives it.
    vcsim.add_port_group(SWITCH, "vip", 7).await.unwrap();
    discovery.look().await.unwrap();
    let groups = vcsim.port_groups().await.unwrap();
    let [first, vip] = groups.as_slice() else { panic!("{groups:?}") };
    assert!(networks(&api).await.unwrap().is_empty());
    control.advance_clock(DELAY);
    assert_eq!(networks(&api).await.unwrap(), expected(&[first, vip]));
    let network = api.find(NETWORK, &uuid(vip)).await.unwrap().unwrap();
    assert_eq!(network.vcenter_dvs, Some(true));

    // No client has to request a look.
    vcsim.remove_port_group(&first.path).await.unwrap();
    eventually("the network of the port group that was removed is gone", SOON, async || {
        control.advance_clock(DELAY);
        let left = networks(&api).await?;
        ensure!(left == expected(&[vip]), "{left:?}");
        Ok(Some(()))
    })
    .await
    .unwrap();
    assert!(control.check().is_empty(), "{:?}", control.check());
    assert!(vcsim.calls().await.unwrap().is_empty(), "the cloud's look costs no call");
}

fn uuid(group: &SimPortGroup) -> String {
    format!("{}-{CLOUD}", group.moref)
}

fn expected(groups: &[&SimPortGroup]) -> Vec<(String, String)> {
    let mut all: Vec<_> = groups.iter().map(|group| (group.name.clone(), uuid(group))).collect();
    all.sort();
    all
}

/// Returns name and uuid of the cloud's networks.
async fn networks(api: &Api) -> Result<Vec<(String, String)>> {
    let found = api.all(NETWORK, &Query::new().cloud_name("vc")).await?;
    let mut all: Vec<_> = found.into_iter().map(|network| (network.meta.name, network.meta.uuid)).collect();
    all.sort();
    Ok(all)
}
