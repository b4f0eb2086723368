//! Many writers to one object.

use std::time::Instant;

use anyhow::Result;
use avi_simulator::{Effect, Fault};
use futures::future::join_all;
use infra_clients::avi::objects::RangeUse;
use infra_clients::avi::{Avi, Kind, NETWORK, POOL, Patch, Updated};
use serde_json::json;

use crate::rig::{Rig, network, pool, refused, subnet};

/// A hundred writers, each with a subnet of its own: every one lands, each once.
async fn storm(rig: &Rig, clients: &[Avi]) -> Result<usize> {
    let made = rig.api().create(NETWORK, &network("n", &rig.cloud().await?, Vec::new())).await?;
    let behind = rig.control().requests().last().map_or(0, |request| request.number);
    let begun = Instant::now();
    let writers = (0..100_u8).map(|number| {
        let (api, uuid) =
            (clients[usize::from(number) % clients.len()].default_api(), made.meta.uuid.clone());
        tokio::spawn(async move {
            let mut tries = 0;
            let written = api.update(NETWORK, &uuid, |network| {
                tries += 1;
                network.configured_subnets.push(subnet(number, RangeUse::VIP));
            });
            (written.await, tries)
        })
    });
    let mut most = 0;
    for written in join_all(writers).await {
        let (written, tries) = written?;
        assert!(matches!(written?, Updated::Written(_)));
        most = most.max(tries);
    }
    let taken = begun.elapsed();
    let read = rig.api().get(NETWORK, &made.meta.uuid).await?;
    let mut landed: Vec<String> =
        read.configured_subnets.iter().map(|subnet| subnet.prefix.ip_addr.addr.clone()).collect();
    landed.sort();
    let mut wanted: Vec<String> = (0..100).map(|number| format!("10.0.{number}.0")).collect();
    wanted.sort();
    assert_eq!(landed, wanted);
    let stale = rig.control().requests_behind(behind).iter().filter(|request| request.status == 412).count();
    println!("{} clients: {stale} refusals, {most} tries at most, {taken:?}", clients.len());
    Ok(stale)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_tasks_of_one_client() -> Result<()> {
    let rig = Rig::start().await?;
    let stale = storm(&rig, std::slice::from_ref(&rig.avi)).await?;
    assert_eq!(stale, 0, "they wait for each other");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_tasks_of_many_clients() -> Result<()> {
    let rig = Rig::start().await?;
    let clients: Vec<Avi> = (0..25).map(|_| rig.client(|_| {})).collect::<Result<_>>()?;
    let stale = storm(&rig, &clients).await?;
    assert!(stale > 0, "no storm");
    Ok(())
}

/// Tries are bounded, and what the closure leaves as it was is not written.
#[tokio::test(flavor = "multi_thread")]
async fn tries_end() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| config.stale_tries = 7).await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    rig.control().fault(Fault::new(Effect::Stale).on("PUT", "/api/pool").times(5));
    rig.control().fault(Fault::new(Effect::Stale).on("PATCH", "/api/pool").times(5));
    rig.api().update(POOL, &made.meta.uuid, |pool| pool.created_by = Some("me".to_owned())).await?;
    assert_eq!(rig.count("PUT", "/api/pool/{uuid}"), 6);
    rig.api().patch(POOL, &made.meta.uuid, &Patch::new().replace(json!({"description": "d"}))).await?;
    assert_eq!(rig.count("PATCH", "/api/pool/{uuid}"), 6);
    rig.api().update(POOL, &made.meta.uuid, |_| {}).await?;
    assert_eq!(rig.count("PUT", "/api/pool/{uuid}"), 6);
    rig.control().fault(Fault::new(Effect::Stale).on("PUT", "/api/pool"));
    refused(rig.api().update(POOL, &made.meta.uuid, |pool| pool.created_by = None).await, Kind::Stale)?;
    assert_eq!(rig.count("PUT", "/api/pool/{uuid}"), 6 + 7);
    Ok(())
}
