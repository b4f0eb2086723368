//! How soon the inventory shows what was done, and what that costs in calls and polls. The times are printed; what is
//! asserted holds on a machine of any speed.

use std::time::Instant;

use anyhow::{Context, Result};
use futures::future::join_all;
use infra_clients::vsphere::vms::Inventory;
use infra_clients::vsphere::{MoRef, PowerState};
use testbed::{Vcsim, eventually};

use crate::rig::{Rig, SOON, start, template, up};

const COUNT: usize = 50;

/// Waits until the inventory is as said; looks whenever it changes.
async fn shows(rig: &Rig, done: impl Fn(&Inventory) -> bool) -> Result<()> {
    let mut changes = rig.vms.changes();
    let waiting = async {
        while !rig.vms.read(&done) {
            changes.next().await.context("the client was closed")?;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(SOON, waiting).await?
}

/// Prints how long a step took and what it cost, and checks the bound on polls.
async fn report(rig: &Rig, step: &str, began: Instant) -> Result<()> {
    let took = began.elapsed();
    let calls = rig.sim.calls().await?;
    let polls = calls.get("WaitForUpdatesEx").copied().unwrap_or_default();
    println!("{step}: {} ms, {polls} polls, {calls:?}", took.as_millis());
    // 10 at once, 3 in advance and 3 a second; the one that was in flight, and one that began while this was counted.
    let allowed = 10 + 3 + 2 + u64::try_from(began.elapsed().as_millis())? * 3 / 1000;
    assert!(polls <= allowed, "{step}: {polls} polls in {took:?}");
    rig.sim.reset_calls().await
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_vms_are_created_powered_off_and_destroyed() -> Result<()> {
    let rig = Rig::start().await?;
    template(&rig.vms, "photon").await?;
    for round in 0..2 {
        rig.sim.reset_calls().await?;
        let began = Instant::now();
        let folder = rig.vms.create_folder(&format!("f{round}")).await?;
        let names: Vec<String> = (0..COUNT).map(|i| format!("vm-{i}")).collect();
        let submitted = join_all(names.iter().map(|name| rig.submit(&folder, name))).await;
        submitted.into_iter().collect::<Result<Vec<_>>>()?;
        shows(&rig, |inventory| inventory.vms_in(&folder).count() == COUNT).await?;
        report(&rig, "create 50", began).await?;

        let vms: Vec<MoRef> =
            rig.vms.read(|inventory| inventory.vms_in(&folder).map(|vm| vm.moref.clone()).collect());
        let began = Instant::now();
        let submitted = join_all(vms.iter().map(|vm| rig.vms.power_off(vm))).await;
        submitted.into_iter().collect::<Result<Vec<_>, _>>()?;
        let off =
            |inventory: &Inventory| inventory.vms_in(&folder).all(|vm| vm.power == Some(PowerState::Off));
        shows(&rig, off).await?;
        println!("power off 50: {} ms", began.elapsed().as_millis());
        let submitted = join_all(vms.iter().map(|vm| rig.vms.destroy(vm))).await;
        submitted.into_iter().collect::<Result<Vec<_>, _>>()?;
        shows(&rig, |inventory| inventory.vms_in(&folder).next().is_none()).await?;
        report(&rig, "power off and destroy 50", began).await?;
    }
    Ok(())
}

/// Changes that come one by one are each read by the poll that waits, and the limit on polls is kept.
#[tokio::test(flavor = "multi_thread")]
async fn single_changes_are_read_at_once() -> Result<()> {
    let rig = Rig::start().await?;
    rig.sim.reset_calls().await?;
    let start = Instant::now();
    for i in 0..12 {
        let began = Instant::now();
        rig.sim.add_vm("/DC0/vm/vm-operator", &format!("vm-{i}")).await?;
        shows(&rig, |inventory| inventory.vms().count() == i + 1).await?;
        println!("change {i}: {} ms", began.elapsed().as_millis());
    }
    report(&rig, "12 changes", start).await
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_takes_few_calls_one_after_the_other() -> Result<()> {
    let sim = Vcsim::builder().start().await?;
    let began = Instant::now();
    let (session, vms) = start(&sim, |_, _| {})?;
    up(&vms).await?;
    let took = began.elapsed();
    let calls = eventually("the first long poll", SOON, async || {
        let calls = sim.calls().await?;
        Ok((calls["WaitForUpdatesEx"] == 2).then_some(calls))
    })
    .await?;
    println!("connected in {} ms: {calls:?}", took.as_millis());
    let expected = [
        ("RetrieveServiceContent", 2),
        ("Login", 1),
        ("RetrievePropertiesEx", 1),
        ("CreatePropertyCollector", 1),
        ("CreateContainerView", 1),
        ("CreateFilter", 1),
        ("CurrentTime", 1),
        // The complete report, and the first that waits for a change.
        ("WaitForUpdatesEx", 2),
    ];
    assert_eq!(calls, expected.map(|(method, count)| (method.to_owned(), count)).into());
    session.close().await;
    Ok(())
}
