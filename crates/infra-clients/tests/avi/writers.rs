//! Many writers to one object.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};

use anyhow::Result;
use avi_simulator::{Effect, Fault};
use futures::future::join_all;
use infra_clients::avi::objects::RangeUse;
use infra_clients::avi::{Avi, Kind, NETWORK, POOL, Patch, Updated};
use serde_json::json;

use crate::rig::{NEVER, Rig, SOON, network, pool, refused, subnet};

/// Each refusal is the success of another writer, so that the last of this many has succeeded.
const WRITERS: u8 = 100;

/// A hundred writers, each with a subnet of its own: every subnet is written, each once. None writes before one of
/// each client has read, so that all of these but one are refused.
async fn storm(rig: &Rig, clients: &[Avi]) -> Result<usize> {
    let made = rig.api().create(NETWORK, &network("n", &rig.cloud().await?, Vec::new())).await?;
    let behind = rig.control().requests().last().map_or(0, |request| request.number);
    let (readers, all) = (Arc::new((Mutex::new(BTreeSet::new()), Condvar::new())), clients.len());
    let writers = (0..WRITERS).map(|number| {
        let client = usize::from(number) % clients.len();
        let (api, uuid) = (clients[client].default_api(), made.meta.uuid.clone());
        let readers = Arc::clone(&readers);
        tokio::spawn(async move {
            let mut tries = 0;
            let written = api.update(NETWORK, &uuid, |network| {
                tries += 1;
                tokio::task::block_in_place(|| {
                    let (readers, more) = &*readers;
                    let mut readers = readers.lock().unwrap();
                    if readers.insert(client) {
                        more.notify_all();
                        // A client that never reads fails the test, and must not keep it from ending.
                        drop(more.wait_timeout_while(readers, SOON, |readers| readers.len() < all));
                    }
                });
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
    let read = rig.api().get(NETWORK, &made.meta.uuid).await?;
    let mut landed: Vec<String> =
        read.configured_subnets.iter().map(|subnet| subnet.prefix.ip_addr.addr.clone()).collect();
    landed.sort();
    let mut wanted: Vec<String> = (0..WRITERS).map(|number| format!("10.0.{number}.0")).collect();
    wanted.sort();
    assert_eq!(landed, wanted);
    let stale = rig.control().requests_after(behind).iter().filter(|request| request.status == 412).count();
    println!("{} clients: {stale} refusals, {most} tries at most", clients.len());
    Ok(stale)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_tasks_of_one_client() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| config.reply_timeout = NEVER).await?;
    let stale = storm(&rig, std::slice::from_ref(&rig.avi)).await?;
    assert_eq!(stale, 0, "they wait for each other");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_tasks_of_many_clients() -> Result<()> {
    let rig = Rig::start().await?;
    let client = || {
        rig.client(|config| {
            config.stale_tries = WRITERS.into();
            config.reply_timeout = NEVER;
        })
    };
    let clients: Vec<Avi> = (0..25).map(|_| client()).collect::<Result<_>>()?;
    let stale = storm(&rig, &clients).await?;
    assert!(stale >= 24, "no storm: {stale} refusals");
    Ok(())
}

/// The number of attempts is limited, and an object that the closure does not change is not written.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_limited() -> Result<()> {
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
