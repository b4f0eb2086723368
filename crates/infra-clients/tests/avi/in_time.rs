//! No call hangs. The answers never come here, so that no machine is too slow to distinguish a time limit from an
//! answer: a call either ends by itself, or never.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use avi_simulator::Fault;
use futures::future::join_all;
use infra_clients::avi::{Avi, Config, Kind, Limit, POOL, Query};
use infra_clients::{Class, Failure};
use testbed::eventually;

use crate::front::{Front, Manner};
use crate::rig::{NEVER, Rig, SOON, ends, pool, refused};

const WAIT: Duration = Duration::from_millis(300);

/// Returns a client that is logged in and has short time limits.
async fn hasty(rig: &Rig, change: impl FnOnce(&mut Config)) -> Result<Avi> {
    let avi = rig.client(|config| {
        config.reply_timeout = WAIT;
        change(config);
    })?;
    // A busy machine may need several attempts.
    eventually("a login in time", SOON, async || Ok(avi.versions().await.ok())).await?;
    Ok(avi)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer() -> Result<()> {
    let rig = Rig::start().await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    let api = hasty(&rig, |_| {}).await?.default_api();
    rig.control().fault(Fault::delay(NEVER).under("/api/pool"));
    let looked = ends(api.all(POOL, &Query::new())).await?.map(drop);
    ensure!(!refused(looked, Kind::Timeout)?.in_doubt(), "it only looked");
    let calls = [
        ends(api.create(POOL, &pool("q"))).await?.map(drop),
        ends(api.replace(POOL, &made)).await?.map(drop),
        ends(api.delete(POOL, &made.meta.uuid)).await?.map(drop),
    ];
    for written in calls {
        ensure!(refused(written, Kind::Timeout)?.in_doubt(), "it was sent");
    }
    let made = ends(api.create_or_find(POOL, &pool("r"))).await?;
    ensure!(!refused(made, Kind::Timeout)?.in_doubt(), "it never came to the making");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_to_a_login_nor_a_logout() -> Result<()> {
    let rig = Rig::start().await?;
    let avi = hasty(&rig, |_| {}).await?;
    rig.control().fault(Fault::delay(NEVER).under("/login"));
    rig.control().fault(Fault::delay(NEVER).under("/logout"));
    refused(ends(avi.close()).await?, Kind::Timeout)?;
    let error = refused(ends(avi.default_api().create(POOL, &pool("p"))).await?, Kind::Timeout)?;
    ensure!(!error.in_doubt(), "it was never sent");
    Ok(())
}

/// The wait for the limit on calls, and for the lock of an object, is limited.
#[tokio::test(flavor = "multi_thread")]
async fn no_place_among_the_calls() -> Result<()> {
    let rig = Rig::start().await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    let api = hasty(&rig, |config| config.limit = Limit::new(2)).await?.default_api();
    rig.control().fault(Fault::delay(NEVER).under("/api/pool"));
    let listed = join_all((0..100).map(|_| async { ends(api.all(POOL, &Query::new())).await }));
    for listed in listed.await {
        let error = listed?.err().context("an answer")?;
        ensure!(matches!(error.kind(), Kind::Timeout | Kind::Unavailable), "{error:?}");
        ensure!(error.class() == Class::Retry && !error.in_doubt(), "{error:?}");
    }
    let written =
        join_all((0..100).map(|_| ends(api.update(POOL, &made.meta.uuid, |pool| pool.created_by = None))));
    for written in written.await {
        let error = written?.err().context("an answer")?;
        ensure!(matches!(error.kind(), Kind::Timeout | Kind::Unavailable), "{error:?}");
        ensure!(error.class() == Class::Retry && !error.in_doubt(), "{error:?}");
    }
    Ok(())
}

/// A server accepts the connection and sends nothing, not even TLS.
#[tokio::test(flavor = "multi_thread")]
async fn no_handshake() -> Result<()> {
    let rig = Rig::start().await?;
    let front = Front::of(rig.sim.url()).await?;
    front.be(Manner::Silent);
    let avi = rig.client(|config| {
        config.controller = front.url();
        config.connect_timeout = WAIT;
        config.reply_timeout = NEVER;
    })?;
    let error = refused(ends(avi.versions()).await?, Kind::Unreachable)?;
    ensure!(error.text().contains("connect") && !error.in_doubt(), "{error:?}");
    ensure!(front.accepted() > 0 && rig.control().requests().is_empty(), "it got through");
    Ok(())
}

/// An answer begins and never ends.
#[tokio::test(flavor = "multi_thread")]
async fn no_end() -> Result<()> {
    let rig = Rig::start().await?;
    let front = Front::of(rig.sim.url()).await?;
    let avi = rig.client(|config| {
        config.controller = front.url();
        config.reply_timeout = NEVER;
        config.body_timeout = WAIT;
    })?;
    let pools: Vec<_> = (0..500).map(|number| serde_json::json!({"name": format!("p{number}")})).collect();
    rig.control().seed_value(serde_json::json!({"pool": pools}))?;
    eventually("a login in time", SOON, async || Ok(avi.versions().await.ok())).await?;
    // More than a TLS record, which is read only when it is complete, and less than a page of pools.
    front.be(Manner::Breaking(20_000));
    let error = refused(ends(avi.default_api().all(POOL, &Query::new())).await?, Kind::Timeout)?;
    ensure!(error.text().contains("not complete") && error.status() == Some(200), "{error:?}");
    Ok(())
}
