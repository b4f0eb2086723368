//! Nothing hangs. What is waited for here never comes, so that no machine is too slow to tell a time-out from an answer:
//! a call either ends by itself long before [`PATIENCE`] is over, or never.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use avi_simulator::Fault;
use futures::future::join_all;
use infra_clients::avi::{Error, Kind, Limit, POOL, Query};

use crate::front::{Front, Manner};
use crate::rig::{Rig, pool, refused};

const WAIT: Duration = Duration::from_millis(300);
const NEVER: Duration = Duration::from_hours(1);
/// For a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

async fn rig(change: impl FnOnce(&mut infra_clients::avi::Config)) -> Result<Rig> {
    Rig::with(avi_simulator::Config::default(), |config| {
        config.connect_timeout = WAIT;
        config.reply_timeout = WAIT;
        config.body_timeout = WAIT;
        change(config);
    })
    .await
}

async fn ends<T>(call: impl Future<Output = Result<T, Error>>) -> Result<Result<T, Error>> {
    tokio::time::timeout(PATIENCE, call).await.context("it hangs")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer() -> Result<()> {
    let rig = rig(|_| {}).await?;
    rig.avi.versions().await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    rig.control().fault(Fault::delay(NEVER).under("/api/pool"));
    let (api, uuid) = (rig.api(), &*made.meta.uuid);
    let looked = ends(api.all(POOL, &Query::new())).await?.map(drop);
    ensure!(!refused(looked, Kind::Transport)?.may_have_happened(), "it only looked");
    let calls = [
        ends(api.create(POOL, &pool("q"))).await?.map(drop),
        ends(api.replace(POOL, &made)).await?.map(drop),
        ends(api.delete(POOL, uuid)).await?.map(drop),
    ];
    for written in calls {
        ensure!(refused(written, Kind::Transport)?.may_have_happened(), "it was sent");
    }
    let made = ends(api.create_or_find(POOL, &pool("r"))).await?;
    ensure!(!refused(made, Kind::Transport)?.may_have_happened(), "it never came to the making");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_to_a_login_nor_a_logout() -> Result<()> {
    let rig = rig(|_| {}).await?;
    rig.avi.versions().await?;
    rig.control().fault(Fault::delay(NEVER).under("/login"));
    rig.control().fault(Fault::delay(NEVER).under("/logout"));
    refused(ends(rig.avi.logout()).await?, Kind::Transport)?;
    let error = refused(ends(rig.api().create(POOL, &pool("p"))).await?, Kind::Transport)?;
    ensure!(!error.may_have_happened(), "it was never sent");
    Ok(())
}

/// Those who wait for their turn do not wait for ever, be it among the calls or among the writers of one object.
#[tokio::test(flavor = "multi_thread")]
async fn no_turn() -> Result<()> {
    let rig = rig(|config| config.limit = Limit::new(2)).await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    rig.control().fault(Fault::delay(NEVER).under("/api/pool"));
    let listed = join_all((0..100).map(|_| async {
        let api = rig.api();
        ends(api.all(POOL, &Query::new())).await
    }));
    for listed in listed.await {
        let error = listed?.err().context("an answer")?;
        ensure!(matches!(error.kind(), Kind::Transport | Kind::Unavailable), "{error:?}");
        ensure!(error.retryable() && !error.may_have_happened(), "{error:?}");
    }
    let written = join_all((0..100).map(|_| async {
        let api = rig.api();
        ends(api.update(POOL, &made.meta.uuid, |pool| pool.created_by = None)).await
    }));
    for written in written.await {
        let error = written?.err().context("an answer")?;
        ensure!(matches!(error.kind(), Kind::Transport | Kind::Unavailable), "{error:?}");
        ensure!(error.retryable() && !error.may_have_happened(), "{error:?}");
    }
    Ok(())
}

/// Somebody takes the connection and then says nothing, not even TLS.
#[tokio::test(flavor = "multi_thread")]
async fn no_handshake() -> Result<()> {
    let rig = rig(|_| {}).await?;
    let front = Front::of(rig.sim.url()).await?;
    front.be(Manner::Silent);
    let avi = rig.client(|config| {
        config.controller = front.url();
        config.connect_timeout = WAIT;
    })?;
    let error = refused(ends(avi.versions()).await?, Kind::Transport)?;
    ensure!(error.text().contains("connect") && !error.may_have_happened(), "{error:?}");
    ensure!(front.accepted() > 0 && rig.control().requests().is_empty(), "it got through");
    Ok(())
}

/// Something comes all the time, and never all of it.
#[tokio::test(flavor = "multi_thread")]
async fn no_end() -> Result<()> {
    let rig = rig(|_| {}).await?;
    let front = Front::of(rig.sim.url()).await?;
    let avi = rig.client(|config| {
        config.controller = front.url();
        config.reply_timeout = WAIT * 4;
        config.body_timeout = WAIT;
    })?;
    let pools: Vec<_> = (0..500).map(|number| serde_json::json!({"name": format!("p{number}")})).collect();
    rig.control().seed_value(serde_json::json!({"pool": pools}))?;
    avi.versions().await?;
    // Half a minute for what begins an answer, hours for the list.
    for pause in [Duration::from_micros(10), Duration::from_millis(100)] {
        front.be(Manner::ByteByByte(pause));
        let error = refused(ends(avi.default_api().all(POOL, &Query::new())).await?, Kind::Transport)?;
        ensure!(error.text().contains("within"), "{error:?}");
    }
    Ok(())
}
