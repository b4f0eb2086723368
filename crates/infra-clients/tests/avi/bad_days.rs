//! Controllers that restart, hang or break off, and other servers in their place: errors have the right kind, come in
//! time, and nothing is done twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use avi_simulator::{Effect, Fault};
use futures::StreamExt;
use futures::future::join_all;
use infra_clients::avi::objects::{Cloud, Meta};
use infra_clients::avi::{CLOUD, Created, Kind, Limit, NETWORK, POOL, Patch, Query, Ref};
use infra_clients::{Class, Failure};
use serde_json::{Value, json};
use testbed::eventually;

use crate::rig::{NEVER, Rig, SOON, ends, network, pool, refused};

/// Returns a client whose time limits never expire, so that a call that hangs is seen to hang.
async fn patient() -> Result<Rig> {
    Rig::with(avi_simulator::Config::default(), |config| {
        config.connect_timeout = NEVER;
        config.reply_timeout = NEVER;
        config.body_timeout = NEVER;
    })
    .await
}

fn thousand() -> Value {
    json!({"pool": (0..1000).map(|number| json!({"name": format!("p{number:04}")})).collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_and_restarted() -> Result<()> {
    let rig = patient().await?;
    for turn in 0..5 {
        rig.api().create(POOL, &pool(&format!("before-{turn}"))).await?;
        rig.sim.stop().await;
        let (api, during) = (rig.api(), pool(&format!("during-{turn}")));
        let error = refused(ends(api.create(POOL, &during)).await?, Kind::Unreachable)?;
        ensure!(error.class() == Class::Retry && error.status().is_none(), "{error:?}");
        refused(ends(api.all(POOL, &Query::new())).await?, Kind::Unreachable)?;
        rig.sim.restart().await?;
        // Session and connections are gone: a read does not fail.
        let names = rig.api().all(POOL, &Query::new()).await?;
        assert_eq!(names.iter().filter(|pool| pool.meta.name.starts_with("during")).count(), 0);
        assert_eq!(rig.control().logins().total, turn + 2);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_under_load() -> Result<()> {
    const WRITERS: usize = 40;
    let rig = Rig::start().await?;
    let over = Arc::new(AtomicBool::new(false));
    let writers = (0..WRITERS).map(|number| {
        let (api, over) = (rig.api(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut made = 0;
            while !over.load(Ordering::SeqCst) {
                let wanted = pool(&format!("p{number}-{made}"));
                // As an operator does: retry until it is so.
                while api.create_or_find(POOL, &wanted).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                made += 1;
            }
            made
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..3 {
        let before = rig.count("POST", "/api/pool");
        let working = async || Ok((rig.count("POST", "/api/pool") > before + 5).then_some(()));
        eventually("some work", SOON, working).await?;
        rig.sim.restart().await?;
    }
    over.store(true, Ordering::SeqCst);
    let mut wanted = BTreeSet::new();
    for (number, made) in tokio::time::timeout(SOON, join_all(writers)).await?.into_iter().enumerate() {
        wanted.extend((0..made?).map(|made| format!("p{number}-{made}")));
    }
    let there = rig.api().all(POOL, &Query::new()).await?;
    assert_eq!(there.len(), wanted.len(), "none twice");
    assert_eq!(there.into_iter().map(|pool| pool.meta.name).collect::<BTreeSet<_>>(), wanted);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_expire_in_the_middle_of_a_list() -> Result<()> {
    let rig = Rig::start().await?;
    rig.control().seed_value(thousand())?;
    let mut listed = rig.api().list(POOL, &Query::new().page_size(100));
    let mut seen = 0_u64;
    while let Some(pool) = listed.next().await {
        pool?;
        seen += 1;
        if seen.is_multiple_of(150) {
            rig.control().expire_sessions();
        }
        if seen == 500 {
            rig.sim.restart().await?;
        }
    }
    assert_eq!(seen, 1000);
    // On the first page, and on those from 200, 300, 500 (after both), 600, 800 and 900 on.
    assert_eq!(rig.control().logins().total, 7);
    Ok(())
}

/// For twenty seconds, with and without a session: every call fails at once, no client logs in more than once per
/// call, and afterwards all is as before.
#[tokio::test(flavor = "multi_thread")]
async fn unavailable_for_twenty_seconds() -> Result<()> {
    const OUTAGE: Duration = Duration::from_secs(20);
    let rig = patient().await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    let newcomer = rig.client(|config| config.reply_timeout = NEVER)?;
    rig.control().unavailable(true);
    let (mut rounds, begun) = (0, Instant::now());
    while begun.elapsed() < OUTAGE {
        let (api, uuid) = (rig.api(), &*made.meta.uuid);
        for result in [
            (ends(api.create(POOL, &pool("q"))).await?.map(drop), true),
            (ends(api.all(POOL, &Query::new())).await?.map(drop), false),
            // Fails when it reads the object.
            (ends(api.update(POOL, uuid, |pool| pool.created_by = None)).await?.map(drop), false),
            (ends(api.replace(POOL, &made)).await?.map(drop), true),
            (ends(api.delete(POOL, uuid)).await?.map(drop), true),
            (ends(newcomer.versions()).await?.map(drop), false),
        ] {
            let (result, writes) = result;
            let error = refused(result, Kind::Unavailable)?;
            ensure!(error.status() == Some(503) && error.class() == Class::Retry, "{error:?}");
            ensure!(
                error.in_doubt() == writes,
                "a gateway may answer 503 after the controller has begun: {error:?}"
            );
        }
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(rig.count("POST", "/login"), 1 + rounds, "one try each by the one that has no session");
    assert_eq!(rig.count("POST", "/api/pool"), 1 + rounds, "one request each");
    rig.control().unavailable(false);
    rig.api().create(POOL, &pool("q")).await?;
    newcomer.versions().await?;
    assert_eq!(rig.count("POST", "/login"), 1 + rounds + 1, "the old session goes on");
    assert_eq!(rig.api().all(POOL, &Query::new()).await?.len(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_wait() -> Result<()> {
    let rig = Rig::start().await?;
    for (code, kind) in [(429, Kind::RateLimited), (503, Kind::Unavailable)] {
        let what = Effect::Status { code, body: None, retry_after: Some(7) };
        rig.control().fault(Fault::new(what).on("POST", "/api/pool").times(1));
        let error = refused(rig.api().create(POOL, &pool("p")).await, kind)?;
        ensure!(error.retry_after() == Some(Duration::from_secs(7)), "{error:?}");
        ensure!(error.class() == Class::Retry && error.in_doubt() == (code == 503), "{error:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn half_replies() -> Result<()> {
    let rig = Rig::start().await?;
    rig.avi.versions().await?;
    rig.control().fault(Fault::new(Effect::HalfReply).under("/api/pool").times(3));
    let error = refused(rig.api().create(POOL, &pool("p")).await, Kind::Unreachable)?;
    ensure!(error.in_doubt(), "{error:?}");
    // A read is repeated once, and not more often.
    refused(rig.api().all(POOL, &Query::new()).await, Kind::Unreachable)?;
    assert_eq!(rig.count("GET", "/api/pool"), 2);
    assert_eq!(rig.api().all(POOL, &Query::new()).await?.len(), 1);
    Ok(())
}

/// The answer to the creation is lost: the object is found, and not created again.
#[tokio::test(flavor = "multi_thread")]
async fn no_second_object_after_a_lost_reply() -> Result<()> {
    for what in [Effect::CutAfter, Effect::HalfReply] {
        let rig = Rig::start().await?;
        rig.control().fault(Fault::new(what.clone()).on("POST", "/api/pool").times(1));
        let Created::Found(found) = rig.api().create_or_find(POOL, &pool("p")).await? else {
            anyhow::bail!("made twice")
        };
        assert_eq!(found.meta.name, "p");
        assert_eq!(
            (rig.count("POST", "/api/pool"), rig.api().all(POOL, &Query::new()).await?.len()),
            (1, 1),
            "{what:?}"
        );
        // The plain call is in doubt.
        rig.control().fault(Fault::new(what.clone()).on("POST", "/api/pool").times(1));
        let error = refused(rig.api().create(POOL, &pool("q")).await, Kind::Unreachable)?;
        ensure!(error.in_doubt() && error.class() == Class::Retry, "{error:?}");
        assert_eq!(rig.count("POST", "/api/pool"), 2, "{what:?}");
    }
    // Cut before it had an effect: the object does not exist, and the same call creates it later.
    let rig = Rig::start().await?;
    rig.control().fault(Fault::new(Effect::CutBefore).on("POST", "/api/pool").times(1));
    let error = refused(rig.api().create_or_find(POOL, &pool("p")).await, Kind::Unreachable)?;
    ensure!(error.in_doubt(), "{error:?}");
    assert_eq!(rig.count("POST", "/api/pool"), 1);
    ensure!(matches!(rig.api().create_or_find(POOL, &pool("p")).await?, Created::Made(_)), "there was none");
    Ok(())
}

/// PUT, PATCH and DELETE are not repeated when the outcome is unknown.
#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_to_other_writes() -> Result<()> {
    let rig = Rig::start().await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    for method in ["PUT", "DELETE"] {
        rig.control().fault(Fault::new(Effect::CutAfter).on(method, "/api/pool").times(1));
    }
    let mut runs = 0;
    let api = rig.api();
    let written = api.update(POOL, &made.meta.uuid, |pool| {
        runs += 1;
        pool.created_by = Some("me".to_owned());
    });
    ensure!(refused(written.await, Kind::Unreachable)?.in_doubt(), "PUT");
    assert_eq!((runs, rig.count("PUT", "/api/pool/{uuid}")), (1, 1));
    ensure!(refused(rig.api().delete(POOL, &made.meta.uuid).await, Kind::Unreachable)?.in_doubt(), "DELETE");
    assert_eq!(rig.count("DELETE", "/api/pool/{uuid}"), 1);
    ensure!(!rig.api().delete(POOL, &made.meta.uuid).await?, "it was deleted the first time");
    Ok(())
}

/// Another server answers at the address of the controller: no object counts as gone.
#[tokio::test(flavor = "multi_thread")]
async fn another_server_answers() -> Result<()> {
    let rig = Rig::start().await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    for (code, body, kind) in [
        (404, "<html>404 nginx</html>", Kind::Protocol),
        (404, "[]", Kind::Protocol),
        (302, "", Kind::Protocol),
        (200, "<html>Welcome</html>", Kind::Protocol),
        (200, "{}", Kind::Protocol),
        (502, "<html>Bad Gateway</html>", Kind::Unavailable),
        (500, "", Kind::Unavailable),
        (418, "", Kind::Protocol),
    ] {
        let what = Effect::Status { code, body: Some(body.to_owned()), retry_after: None };
        rig.control().fault(Fault::new(what).under("/api/pool").times(2));
        refused(rig.api().all(POOL, &Query::new()).await, kind).context(code)?;
        if code == 200 {
            rig.control().clear_faults();
        } else {
            refused(rig.api().delete(POOL, &made.meta.uuid).await, kind).context(code)?;
        }
    }
    ensure!(rig.api().find(POOL, &made.meta.uuid).await?.is_some(), "still there");
    Ok(())
}

/// Pages come from the controller that was asked, and lists end.
#[tokio::test(flavor = "multi_thread")]
async fn a_next_page_elsewhere() -> Result<()> {
    let (rig, elsewhere) = (Rig::start().await?, Rig::start().await?);
    rig.control().seed_value(thousand())?;
    let page = |next: String| Effect::Status {
        code: 200,
        body: Some(
            json!({"count": 1000, "results": [{"name": "x", "uuid": "pool-x"}], "next": next}).to_string(),
        ),
        retry_after: None,
    };
    let next = format!("{}/api/pool?page=2&page_size=200", elsewhere.sim.url());
    rig.control().fault(Fault::new(page(next)).on("GET", "/api/pool").times(1));
    assert_eq!(rig.api().all(POOL, &Query::new()).await?.len(), 1 + 800);
    assert_eq!(elsewhere.control().requests().len(), 0);
    // A list whose next page is an earlier one.
    let next = format!("{}/api/pool?page=2", rig.sim.url());
    rig.control().fault(Fault::new(page(next)).on("GET", "/api/pool"));
    refused(rig.api().all(POOL, &Query::new()).await, Kind::Protocol)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_too_large() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| config.max_reply = 20_000).await?;
    rig.control().seed_value(thousand())?;
    refused(rig.api().all(POOL, &Query::new()).await, Kind::Protocol)?;
    assert_eq!(rig.api().all(POOL, &Query::new().page_size(10).name_contains("p00")).await?.len(), 100);
    Ok(())
}

/// Clients of one controller can share a limit on calls; a list that is not read on does not count.
#[tokio::test(flavor = "multi_thread")]
async fn few_calls_at_once() -> Result<()> {
    const MOST: usize = 3;
    let limit = Limit::new(MOST);
    let rig = Rig::with(avi_simulator::Config::default(), |config| {
        config.limit = limit.clone();
        config.reply_timeout = NEVER;
    })
    .await?;
    rig.control().seed_value(thousand())?;
    let mut idle: Vec<_> = (0..5).map(|_| rig.api().list(POOL, &Query::new().page_size(10))).collect();
    for list in &mut idle {
        list.next().await.context("an object")??;
    }
    rig.control().fault(Fault::delay(NEVER).on("GET", "/api/pool"));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..MOST {
        let api = rig.api();
        calls.spawn(async move { api.all(POOL, &Query::new()).await });
    }
    eventually("all turns taken", SOON, async || {
        Ok((rig.control().requests_in_flight() == MOST).then_some(()))
    })
    .await?;
    let late = rig.client(|config| {
        config.limit = limit;
        config.reply_timeout = Duration::from_millis(300);
    })?;
    let error = refused(late.versions().await, Kind::Unavailable)?;
    ensure!(error.text().contains("under way") && error.status().is_none(), "{error:?}");
    // A caller that gives up frees its place.
    rig.control().clear_faults();
    calls.shutdown().await;
    rig.api().all(POOL, &Query::new()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_on_few_connections() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| config.limit = Limit::new(3)).await?;
    rig.control().seed_value(thousand())?;
    let calls = (0..60).map(|_| {
        let api = rig.api();
        async move { api.all(POOL, &Query::new().name("p0001")).await }
    });
    for call in join_all(calls).await {
        assert_eq!(call?.len(), 1);
    }
    let connections: BTreeSet<u64> =
        rig.control().requests().iter().map(|request| request.connection).collect();
    // A connection is returned a moment after its answer; the next call may have opened another by then.
    assert!(connections.len() < 30, "{connections:?}");
    Ok(())
}

/// The controller accepted the write and answered something that is not an object.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_an_unreadable_answer() -> Result<()> {
    let rig = Rig::start().await?;
    let made = rig.api().create(POOL, &pool("p")).await?;
    let (api, uuid) = (rig.api(), &*made.meta.uuid);
    let patch = Patch::new().replace(json!({"description": "d"}));
    for body in ["", "null", "[]", r#"{"name": 3}"#, "<html>Welcome</html>"] {
        for method in ["POST", "PUT", "PATCH"] {
            let what = Effect::Status { code: 200, body: Some(body.to_owned()), retry_after: None };
            rig.control().fault(Fault::new(what).on(method, "/api/pool"));
        }
        for result in [
            api.create(POOL, &pool("q")).await.map(drop),
            api.replace(POOL, &made).await.map(drop),
            api.update(POOL, uuid, |pool| pool.created_by = None).await.map(drop),
            api.patch(POOL, uuid, &patch).await.map(drop),
        ] {
            let error = refused(result, Kind::Protocol)?;
            ensure!(error.in_doubt() && error.status() == Some(200), "{body:?}: {error:?}");
            ensure!(error.call().is_some(), "{error:?}");
        }
        rig.control().clear_faults();
    }
    Ok(())
}

/// Names of networks may repeat, so that only this client can prevent a second one.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_tasks_create_one() -> Result<()> {
    let rig = Rig::start().await?;
    let cloud = rig.cloud().await?;
    let tasks = (0..20).map(|_| {
        let (api, wanted) = (rig.api(), network("n", &cloud, Vec::new()));
        tokio::spawn(async move { api.create_or_find(NETWORK, &wanted).await })
    });
    let mut made = 0;
    for task in join_all(tasks).await {
        made += usize::from(matches!(task??, Created::Made(_)));
    }
    assert_eq!((made, rig.api().all(NETWORK, &Query::new().name("n")).await?.len()), (1, 1));
    // In another cloud, in either form of the condition, there is none.
    let other = Cloud { meta: Meta::named("other"), vtype: "CLOUD_NONE".to_owned(), ..Cloud::default() };
    let other = Ref::new("cloud", &rig.api().create(CLOUD, &other).await?.meta.uuid);
    let by_name =
        rig.api().create_or_find(NETWORK, &network("n", &Ref::by_name("cloud", "other"), Vec::new())).await?;
    let Created::Made(by_name) = by_name else { anyhow::bail!("{by_name:?} is in another cloud") };
    assert_eq!(by_name.cloud_ref.as_ref(), Some(&other));
    let by_uuid = rig.api().create_or_find(NETWORK, &network("n", &other, Vec::new())).await?;
    assert_eq!(by_uuid.into_inner().meta.uuid, by_name.meta.uuid);
    Ok(())
}
