//! How often this client logs in: once for all who wait, once after a session ended, never again when refused.

use std::time::Duration;

use anyhow::{Result, ensure};
use avi_simulator::{Effect, Fault};
use futures::future::join_all;
use infra_clients::avi::{Avi, Config, Credentials, Kind, POOL, Query};
use infra_clients::{Secret, Trust};
use testbed::eventually;

use crate::rig::{Rig, SOON, pool, refused};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_tasks_one_login() -> Result<()> {
    let rig = Rig::start().await?;
    rig.control().fault(Fault::delay(Duration::from_millis(200)).on("POST", "/login"));
    let tasks = (0..50).map(|number| {
        let avi = rig.avi.clone();
        tokio::spawn(async move { avi.default_api().create(POOL, &pool(&format!("p{number}"))).await })
    });
    for made in join_all(tasks).await {
        made??;
    }
    assert_eq!(rig.control().logins().total, 1);
    // And one more when the session ends under all of them.
    for turn in 2..5 {
        rig.control().expire_sessions();
        let tasks = (0..50).map(|_| {
            let avi = rig.avi.clone();
            tokio::spawn(async move { avi.default_api().all(POOL, &Query::new()).await })
        });
        for listed in join_all(tasks).await {
            assert_eq!(listed??.len(), 50);
        }
        assert_eq!(rig.control().logins().total, turn);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_once_by_fifty_tasks() -> Result<()> {
    let rig = Rig::start().await?;
    rig.control().fault(Fault::delay(Duration::from_millis(100)).on("POST", "/login"));
    let avi = rig.client_of("admin", "wrong")?;
    let tasks = (0..50).map(|_| {
        let avi = avi.clone();
        tokio::spawn(async move { avi.default_api().all(POOL, &Query::new()).await })
    });
    for listed in join_all(tasks).await {
        refused(listed?, Kind::Auth)?;
    }
    refused(avi.versions().await, Kind::Auth)?;
    assert_eq!(rig.control().requests().len(), 1);
    // Another wrong one is tried once, too; the account is still not locked.
    assert!(avi.set_credentials(Credentials::password("admin", Secret::new("wrong as well"))).await);
    for _ in 0..5 {
        refused(avi.versions().await, Kind::Auth)?;
    }
    assert_eq!(rig.control().logins().failed, 2);
    assert!(avi.set_credentials(Credentials::password("admin", Secret::new(rig.sim.admin_password()))).await);
    avi.versions().await?;
    assert_eq!(rig.control().logins().total, 3);
    Ok(())
}

/// A caller that gives up in the middle of a login leaves no second try to the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_survives_its_caller() -> Result<()> {
    let rig = Rig::start().await?;
    rig.control().fault(Fault::delay(Duration::from_millis(300)).on("POST", "/login"));
    let avi = rig.client_of("admin", "wrong")?;
    let hasty = tokio::time::timeout(Duration::from_millis(100), avi.versions()).await;
    assert!(hasty.is_err(), "gave up");
    refused(avi.versions().await, Kind::Auth)?;
    assert_eq!(rig.control().logins().total, 1);
    Ok(())
}

/// Those who waited for a login that failed for want of an answer have their answer; who comes later tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_login_is_everybodys() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| {
        config.reply_timeout = Duration::from_millis(500);
    })
    .await?;
    rig.control().fault(Fault::delay(Duration::from_secs(2)).on("POST", "/login").times(1));
    let begun = std::time::Instant::now();
    let tasks = (0..20).map(|_| {
        let avi = rig.avi.clone();
        tokio::spawn(async move { avi.default_api().create(POOL, &pool("p")).await })
    });
    for made in join_all(tasks).await {
        let error = refused(made?, Kind::Transport)?;
        ensure!(error.retryable() && !error.may_have_happened(), "the pool was never sent: {error:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "one wait for all: {:?}", begun.elapsed());
    rig.api().create(POOL, &pool("p")).await?;
    assert!(rig.control().logins().total <= 2, "{:?}", rig.control().logins());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_silence_it_logs_out() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| {
        config.idle_logout = Some(Duration::from_millis(200));
    })
    .await?;
    // A call under way is no silence.
    rig.control().fault(Fault::delay(Duration::from_millis(700)).on("GET", "/api/pool").times(1));
    rig.api().all(POOL, &Query::new()).await?;
    assert_eq!(rig.count("POST", "/logout"), 0);
    eventually("the logout", SOON, async || Ok((rig.count("POST", "/logout") == 1).then_some(()))).await?;
    rig.api().all(POOL, &Query::new()).await?;
    assert_eq!(rig.control().logins().total, 2);
    eventually("the other logout", SOON, async || Ok((rig.count("POST", "/logout") == 2).then_some(())))
        .await?;
    assert_eq!(rig.control().logins().total, 2);
    Ok(())
}

/// Refused for now, and not for the credentials: to be tried again.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_sessions_is_no_wrong_password() -> Result<()> {
    let rig = Rig::start().await?;
    let body = r#"{"error": "Maximum number of concurrent sessions reached"}"#.to_owned();
    let what = Effect::Status { code: 401, body: Some(body), retry_after: None };
    rig.control().fault(Fault::new(what).on("POST", "/login").times(1));
    refused(rig.avi.versions().await, Kind::RateLimited)?;
    rig.avi.versions().await?;
    Ok(())
}

/// A controller that knows no session, however new, is not asked for another without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_never_known() -> Result<()> {
    for status in [401, 419] {
        let rig = Rig::start().await?;
        rig.control().fault(Fault::status(status).under("/api/pool"));
        refused(rig.api().create(POOL, &pool("p")).await, Kind::Auth)?;
        assert_eq!((rig.control().logins().total, rig.count("POST", "/api/pool")), (2, 2));
        rig.control().clear_faults();
        // Once is an expired session.
        rig.control().fault(Fault::status(status).under("/api/pool").times(1));
        rig.api().create(POOL, &pool("p")).await?;
        assert_eq!((rig.control().logins().total, rig.count("POST", "/api/pool")), (3, 4));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_it_trusts() -> Result<()> {
    let (rig, other) = (Rig::start().await?, Rig::start().await?);
    for (trust, trusted) in [
        (Trust::CaBundle(rig.sim.ca_pem().into()), true),
        (Trust::Insecure, true),
        (Trust::CaBundle(other.sim.ca_pem().into()), false),
        (Trust::System, false),
        (Trust::Thumbprint("ab".repeat(32).parse()?), false),
    ] {
        let avi = rig.client(|config| config.trust = trust)?;
        if trusted {
            avi.versions().await?;
        } else {
            let error = refused(avi.versions().await, Kind::Transport)?;
            ensure!(!error.may_have_happened(), "{error:?}");
        }
    }
    assert_eq!(rig.control().logins().total, 2, "the password goes to nobody else");
    let config = |controller: &str| Config::new(controller, Credentials::password("u", Secret::new("p")));
    refused(Avi::new(config("http://controller")), Kind::Config)?;
    refused(Avi::new(config("u:p@controller")), Kind::Config)?;
    let mut bad = config("controller");
    bad.trust = Trust::CaBundle(Vec::new());
    refused(Avi::new(bad), Kind::Config)?;
    Ok(())
}
