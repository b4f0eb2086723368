//! Connections that the server closes just when they are used again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use avi_simulator::{Effect, Fault};
use infra_clients::Failure;
use infra_clients::avi::{Kind, POOL, Query};

use crate::front::{Front, Manner};
use crate::rig::{Rig, pool, refused};

/// A write either succeeds, or fails and was never sent, or fails in doubt; in no case is it sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn writes_on_connections_that_close() -> Result<()> {
    const CONNECTIONS: usize = 100;
    // How many connections close just in time depends on the machine, but one in forty does in any case.
    const WRITES: u32 = 40 * 120;
    let rig = Rig::start().await?;
    let front = Front::of(rig.sim.url()).await?;
    let avi = rig.client(|config| config.controller = front.url())?;
    avi.versions().await?;
    let (mut made, mut unsent, mut doubtful) = (0_u64, 0_u64, 0_u64);
    for number in 0..WRITES {
        if number >= 1200 && front.accepted() > CONNECTIONS {
            break;
        }
        // Sometimes long before the next call, sometimes after it, and mostly just then.
        front.be(Manner::Impatient(Duration::from_micros(u64::from(number % 40) * 50)));
        match avi.default_api().create(POOL, &pool(&format!("p{number}"))).await {
            Ok(_) => made += 1,
            Err(error) => {
                let doubt = refused::<()>(Err(error), Kind::Unreachable)?.in_doubt();
                *(if doubt { &mut doubtful } else { &mut unsent }) += 1;
            }
        }
    }
    let mut there: BTreeMap<String, u32> = BTreeMap::new();
    for pool in rig.api().all(POOL, &Query::new()).await? {
        *there.entry(pool.meta.name).or_default() += 1;
    }
    let sent = rig.count("POST", "/api/pool");
    println!(
        "{made} made, {unsent} not sent, {doubtful} in doubt, {sent} sent, {} there, {} connections",
        there.len(),
        front.accepted()
    );
    ensure!(there.values().all(|times| *times == 1), "made twice");
    ensure!((made..=made + doubtful).contains(&sent), "sent twice");
    ensure!(front.accepted() > CONNECTIONS, "the connections were not closed");
    Ok(())
}

/// A read is repeated once.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_on_a_connection_that_closes() -> Result<()> {
    let rig = Rig::start().await?;
    rig.api().create(POOL, &pool("p")).await?;
    for what in [Effect::CutBefore, Effect::HalfReply] {
        rig.control().reset_requests();
        rig.control().fault(Fault::new(what).on("GET", "/api/pool").times(1));
        rig.api().by_name(POOL, "p", &Query::new()).await?.at_most_one()?.context("it is there")?;
        ensure!(rig.count("GET", "/api/pool") == 2, "{:?}", rig.control().counters());
    }
    Ok(())
}
