//! Distributed port groups, from creation to removal.

use anyhow::{Context, Result};
use infra_clients::Failure;
use infra_clients::vsphere::networks::{Binding, Networks, PortGroup, PortGroupSpec, Switch, Vlan};
use infra_clients::vsphere::{Error, Kind, MoRef, Session, Task, TaskState};
use testbed::{Fault, Outage, SimPortGroup, Vcsim, eventually};

use crate::rig::{SOON, session_config};

const VM: &str = "/DC0/vm/photon";

/// A simulator with a switch and nothing else, and a client.
struct Rig {
    sim: Vcsim,
    session: Session,
    networks: Networks,
    switch: Switch,
}

impl Rig {
    async fn start() -> Result<Self> {
        let sim = Vcsim::builder().switch(true).root_folder(false).start().await?;
        let session = Session::start(session_config(&sim))?;
        let networks = Networks::new(session.clone());
        let switch = networks.switch("DVS0").await?;
        Ok(Self { sim, session, networks, switch })
    }

    /// Waits for the end of a task.
    async fn ended(&self, submitted: Result<MoRef, Error>) -> Result<Task> {
        let moref = submitted?;
        eventually("the task to end", SOON, async || {
            let task = self.networks.task(&moref).await?.context("no such task")?;
            Ok(task.state.ended().then_some(task))
        })
        .await
    }

    /// Waits for the failure of a task; one that is refused at once fails, too.
    async fn failed(&self, submitted: Result<MoRef, Error>) -> Result<Error> {
        if let Err(error) = submitted {
            return Ok(error);
        }
        self.ended(submitted).await?.error.context("it succeeded")
    }

    async fn done(&self, submitted: Result<MoRef, Error>) -> Result<()> {
        let task = self.ended(submitted).await?;
        anyhow::ensure!(task.state == TaskState::Success, "{task:?}");
        Ok(())
    }

    async fn found(&self, name: &str) -> Result<PortGroup> {
        let found = self.networks.port_group_named(&self.switch.moref, name).await?;
        found.with_context(|| format!("no port group {name}"))
    }

    async fn seen(&self, name: &str) -> Result<SimPortGroup> {
        let all = self.sim.port_groups().await?;
        all.into_iter().find(|group| group.name == name).with_context(|| format!("no port group {name}"))
    }
}

fn spec<'a>(name: &'a str, vlan: &'a Vlan) -> PortGroupSpec<'a> {
    PortGroupSpec {
        name,
        vlan,
        ports: 8,
        auto_expand: true,
        binding: Binding::Early,
        description: "made by a <test> & é",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_group_from_creation_to_removal() -> Result<()> {
    let rig = Rig::start().await?;
    let Rig { networks, switch, .. } = &rig;
    let folders = rig.sim.folders().await?;
    assert_eq!(switch.path, "DC0/network/DVS0");
    assert_eq!(networks.switch("/DC0/network/DVS0").await?, *switch);
    assert_eq!(networks.port_group_named(&switch.moref, "vip/a").await?, None);

    let vlan = Vlan::Id(7);
    rig.done(networks.create(&switch.moref, &spec("vip/a", &vlan)).await).await?;
    let group = rig.found("vip/a").await?;
    assert_eq!((group.switch.as_ref(), group.vlan.as_ref()), (Some(&switch.moref), Some(&vlan)));
    assert_eq!((group.ports, group.auto_expand, group.binding), (8, true, Some(Binding::Early)));
    assert_eq!(group.description, "made by a <test> & é");
    assert_eq!(networks.port_group(&group.moref).await?.as_ref(), Some(&group));
    let seen = rig.seen("vip/a").await?;
    assert_eq!(
        (&*seen.moref, seen.vlan, seen.ports, &*seen.binding),
        (group.moref.value(), 7, 8, "earlyBinding")
    );

    let trunk = Vlan::trunk([(100, 199), (7, 7)]);
    let other =
        PortGroupSpec { binding: Binding::Ephemeral, ports: 0, auto_expand: false, ..spec("vip/a", &trunk) };
    rig.done(networks.reconfigure(&group.moref, &group.version, &other).await).await?;
    let changed = rig.found("vip/a").await?;
    assert_eq!((changed.moref.clone(), changed.vlan), (group.moref.clone(), Some(trunk)));
    assert_eq!((changed.binding, changed.auto_expand), (Some(Binding::Ephemeral), false));
    assert_eq!(changed.description, "made by a <test> & é");
    assert_eq!(rig.seen("vip/a").await?.trunk, ["7-7", "100-199"]);

    rig.done(networks.rename(&group.moref, "literal %2f").await).await?;
    assert_eq!(rig.found("literal %2f").await?.moref, group.moref);
    rig.done(networks.destroy(&group.moref).await).await?;
    assert_eq!(networks.port_group(&group.moref).await?, None);
    assert_eq!(networks.users(&group.moref).await?, [""; 0]);

    // Nothing else was made: no VM folder above all.
    assert_eq!(rig.sim.folders().await?, folders);
    let calls = rig.sim.calls().await?;
    assert!(!calls.contains_key("CreateFolder"), "{calls:?}");
    rig.session.close().await;
    assert_eq!(rig.sim.sessions().await?.now, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_port_groups_are_typed() -> Result<()> {
    let rig = Rig::start().await?;
    let Rig { networks, switch, .. } = &rig;
    let vlan = Vlan::Id(7);
    rig.done(networks.create(&switch.moref, &spec("a", &vlan)).await).await?;
    let group = rig.found("a").await?;
    let error = rig.failed(networks.create(&switch.moref, &spec("a", &vlan)).await).await?;
    assert_eq!((error.kind(), error.object()), (Kind::DuplicateName, Some(&group.moref)), "{error}");
    let high = Vlan::Id(Vlan::LAST + 1);
    let error = rig.failed(networks.create(&switch.moref, &spec("b", &high)).await).await?;
    assert_eq!(error.kind(), Kind::Invalid, "{error}");

    rig.sim.describe_port_group("/DC0/network/a", "an administrator's").await?;
    let change = networks.reconfigure(&group.moref, &group.version, &spec("a", &vlan)).await;
    let error = rig.failed(change).await?;
    assert_eq!(error.kind(), Kind::Outdated, "{error}");
    assert_eq!(rig.found("a").await?.description, "an administrator's");

    rig.sim.attach("/DC0/network/a", VM, true).await?;
    assert_eq!(networks.users(&group.moref).await?, ["photon"]);
    let error = rig.failed(networks.destroy(&group.moref).await).await?;
    assert_eq!(error.kind(), Kind::InUse, "{error}");
    assert!(error.to_string().contains('a'), "it says what is in use: {error}");
    rig.sim.attach("/DC0/network/a", VM, false).await?;
    rig.done(networks.destroy(&group.moref).await).await?;
    let error = rig.failed(networks.destroy(&group.moref).await).await?;
    assert_eq!((error.kind(), error.object()), (Kind::NotFound, Some(&group.moref)), "{error}");
    Ok(())
}

/// Who creates has to find out whether there is one before it is created again.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_whose_answer_is_lost_is_in_doubt() -> Result<()> {
    let rig = Rig::start().await?;
    let Rig { networks, switch, .. } = &rig;
    let vlan = Vlan::Id(0);
    rig.sim.fault(Fault::cut_after("AddDVPortgroup_Task")).await?;
    let error = networks.create(&switch.moref, &spec("a", &vlan)).await.unwrap_err();
    assert!(error.in_doubt(), "{error:?}");
    eventually("the port group to be there", SOON, async || {
        networks.port_group_named(&switch.moref, "a").await.map_err(Into::into)
    })
    .await?;
    rig.sim.outage(Outage::Refuse).await?;
    let error = networks.create(&switch.moref, &spec("b", &vlan)).await.unwrap_err();
    assert!(!error.in_doubt(), "{error:?}");
    rig.sim.outage(Outage::None).await?;
    // The session has gone as well: a call logs in by itself.
    rig.sim.expire_sessions().await?;
    assert_eq!(networks.port_group_named(&switch.moref, "b").await?, None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_is_not_clear_is_refused() -> Result<()> {
    let sim = Vcsim::builder().switch(true).datacenters(2).start().await?;
    let networks = Networks::new(Session::start(session_config(&sim))?);
    let error = networks.switch("DVS0").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Ambiguous);
    assert!(error.to_string().contains("DC0/network/DVS0, DC1/network/DVS0"), "{error}");
    let error = networks.switch("DVS1").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Config, "{error}");
    assert_eq!(networks.switch("DC1/network/DVS0").await?.path, "DC1/network/DVS0");
    assert!(!networks.vcenter().await?.is_empty());
    Ok(())
}
