//! How often this client logs in: once for all that wait, once after a session ended, and after a refusal once in a
//! lock period.

use std::time::Duration;

use anyhow::{Result, ensure};
use avi_simulator::{Effect, Fault};
use futures::future::join_all;
use infra_clients::avi::{Avi, Config, Credentials, Kind, POOL, Query};
use infra_clients::{Class, Failure};
use infra_clients::{Secret, Trust};
use testbed::eventually;

use crate::front::{Front, Manner};
use crate::rig::{Rig, SOON, pool, refused};

/// Starts a simulator with a proxy in front of it.
async fn fronted() -> Result<(Rig, Front)> {
    let rig = Rig::start().await?;
    let front = Front::of(rig.sim.url()).await?;
    Ok((rig, front))
}

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
    // And once more when the session ends during all of them.
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
        refused(listed?, Kind::Unauthorized)?;
    }
    refused(avi.versions().await, Kind::Unauthorized)?;
    assert_eq!(rig.control().requests().len(), 1);
    // Another wrong password is sent once, too; the account is still not locked.
    assert!(avi.set_credentials(Credentials::password("admin", Secret::new("wrong as well"))).await);
    for _ in 0..5 {
        refused(avi.versions().await, Kind::Unauthorized)?;
    }
    assert_eq!(rig.control().logins().failed, 2);
    assert!(avi.set_credentials(Credentials::password("admin", Secret::new(rig.sim.admin_password()))).await);
    avi.versions().await?;
    assert_eq!(rig.control().logins().total, 3);
    Ok(())
}

/// A caller that gives up during a login causes no second attempt by the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_survives_its_caller() -> Result<()> {
    let (rig, front) = fronted().await?;
    let avi = rig.client(|config| {
        config.controller = front.url();
        config.credentials = Credentials::password("admin", Secret::new("wrong"));
    })?;
    front.be(Manner::Holding);
    let caller = tokio::spawn({
        let avi = avi.clone();
        async move { avi.versions().await }
    });
    eventually("the login", SOON, async || Ok((rig.control().logins().total == 1).then_some(()))).await?;
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()), "gave up");
    front.be(Manner::Kind);
    refused(avi.versions().await, Kind::Unauthorized)?;
    assert_eq!(rig.control().logins().total, 1);
    Ok(())
}

/// Callers that waited for a login without an answer share its error; a later call tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_login_is_shared() -> Result<()> {
    let (rig, front) = fronted().await?;
    let avi = rig.client(|config| config.controller = front.url())?;
    front.be(Manner::Silent);
    // All of them have called before the server is looked at for the first time.
    let waiting = join_all((0..20).map(|_| async { avi.default_api().create(POOL, &pool("p")).await }));
    let cut = async {
        eventually("a connection", SOON, async || Ok((front.accepted() > 0).then_some(()))).await?;
        front.be(Manner::Kind);
        Ok::<(), anyhow::Error>(())
    };
    let (waited, cut) = tokio::join!(waiting, cut);
    cut?;
    for made in waited {
        let error = refused(made, Kind::Unreachable)?;
        ensure!(error.class() == Class::Retry && !error.in_doubt(), "the pool was never sent: {error:?}");
    }
    assert_eq!((front.accepted(), rig.control().logins().total), (1, 0), "one try for all");
    avi.default_api().create(POOL, &pool("p")).await?;
    assert_eq!(rig.control().logins().total, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_idle_time_it_logs_out() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| {
        config.idle_logout = Some(Duration::from_millis(200));
    })
    .await?;
    // A call in flight is not idle time.
    rig.control().fault(Fault::delay(Duration::from_millis(700)).on("GET", "/api/pool").times(1));
    rig.api().all(POOL, &Query::new()).await?;
    eventually("the logout", SOON, async || Ok((rig.count("POST", "/logout") == 1).then_some(()))).await?;
    let ended: Vec<String> = rig.control().requests().into_iter().map(|request| request.path).collect();
    assert_eq!(ended, ["/login", "/api/pool", "/logout"], "in the order in which they were answered");
    rig.api().all(POOL, &Query::new()).await?;
    assert_eq!(rig.control().logins().total, 2);
    eventually("the other logout", SOON, async || Ok((rig.count("POST", "/logout") == 2).then_some(())))
        .await?;
    assert_eq!(rig.control().logins().total, 2);
    Ok(())
}

/// Refused temporarily, and not for the credentials: it is retried.
#[tokio::test(flavor = "multi_thread")]
async fn too_many_sessions_is_no_wrong_password() -> Result<()> {
    let rig = Rig::start().await?;
    for code in [400, 401, 403] {
        let body = r#"{"error": "Maximum number of concurrent sessions reached"}"#.to_owned();
        let what = Effect::Status { code, body: Some(body), retry_after: None };
        rig.control().fault(Fault::new(what).on("POST", "/login").times(1));
        let avi = rig.client(|_| {})?;
        refused(avi.versions().await, Kind::RateLimited)?;
        avi.versions().await?;
    }
    Ok(())
}

/// Lets that much time pass at once, for this client and for the controller. To be used in a runtime of one thread.
async fn pass(rig: &Rig, time: Duration) {
    rig.control().advance_clock(time);
    tokio::time::pause();
    tokio::time::advance(time).await;
    // What waits for the network must not be taken for idle, which makes a paused clock move on.
    tokio::time::resume();
}

/// An account that others locked: one login in each lock period, and the first after its release succeeds.
#[tokio::test]
async fn a_locked_account_recovers() -> Result<()> {
    let rig = Rig::start().await?;
    for guess in ["1", "2", "3"] {
        refused(rig.client_of("admin", guess)?.versions().await, Kind::Unauthorized)?;
    }
    let mut period = Duration::ZERO;
    let avi = rig.client(|config| period = config.lock_period)?;
    assert_eq!(period, Duration::from_mins(30));
    let first = refused(avi.versions().await, Kind::Unauthorized)?;
    ensure!(first.class() == Class::Refused && first.retry_after() == Some(period), "{first:?}");
    assert_eq!(rig.control().logins().failed, 4);
    pass(&rig, Duration::from_mins(29)).await;
    let later = refused(avi.versions().await, Kind::Unauthorized)?;
    ensure!(later.retry_after().is_some_and(|left| left <= Duration::from_mins(1)), "{later:?}");
    assert_eq!(rig.control().logins().failed, 4, "no login within the period");
    pass(&rig, Duration::from_mins(1)).await;
    avi.versions().await?;
    assert_eq!(rig.control().logins().failed, 4);
    Ok(())
}

/// A user that is restored with the password it had: no other client tells this one. As long as the refusals go on, it tries
/// once in each period, however many callers there are.
#[tokio::test]
async fn a_restored_user_recovers() -> Result<()> {
    let rig = Rig::start().await?;
    let period = Duration::from_mins(45);
    let avi = rig.client(|config| config.lock_period = period)?;
    let refusal = Effect::Status {
        code: 401,
        body: Some(r#"{"error": "Invalid credentials"}"#.to_owned()),
        retry_after: None,
    };
    rig.control().fault(Fault::new(refusal).on("POST", "/login"));
    for turn in 1..4 {
        for called in join_all((0..10).map(|_| avi.versions())).await {
            refused(called, Kind::Unauthorized)?;
        }
        assert_eq!(rig.count("POST", "/login"), turn);
        pass(&rig, period).await;
    }
    rig.control().clear_faults();
    avi.versions().await?;
    assert_eq!(rig.count("POST", "/login"), 4);
    // The refusals are forgotten: the end of a session is followed by a login at once.
    rig.control().expire_sessions();
    avi.default_api().all(POOL, &Query::new()).await?;
    assert_eq!(rig.count("POST", "/login"), 5);
    Ok(())
}

/// A person unlocks the account and says so: one login follows, refused or not.
#[tokio::test]
async fn a_refused_login_is_repeated_on_request() -> Result<()> {
    let rig = Rig::start().await?;
    let avi = rig.client(|config| config.lock_period = Duration::MAX)?;
    let refusal = Effect::Status { code: 401, body: None, retry_after: None };
    rig.control().fault(Fault::new(refusal).on("POST", "/login").times(2));
    for turn in [1, 2] {
        for _ in 0..2 {
            refused(avi.versions().await, Kind::Unauthorized)?;
        }
        assert_eq!(rig.count("POST", "/login"), turn);
        avi.retry_refused();
    }
    for _ in 0..2 {
        avi.versions().await?;
        avi.retry_refused();
    }
    assert_eq!(rig.count("POST", "/login"), 3);
    Ok(())
}

/// A period too long for the clock does not end; other credentials are sent at once.
#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_do_not_wait() -> Result<()> {
    let rig = Rig::start().await?;
    let avi = rig.client(|config| {
        config.lock_period = Duration::MAX;
        config.credentials = Credentials::password("admin", Secret::new("wrong"));
    })?;
    for _ in 0..2 {
        let error = refused(avi.versions().await, Kind::Unauthorized)?;
        ensure!(error.retry_after().is_none(), "{error:?}");
    }
    assert!(!avi.set_credentials(Credentials::password("admin", Secret::new("wrong"))).await, "the same");
    refused(avi.versions().await, Kind::Unauthorized)?;
    assert_eq!(rig.control().logins().total, 1);
    assert!(avi.set_credentials(Credentials::password("admin", Secret::new(rig.sim.admin_password()))).await);
    avi.versions().await?;
    assert_eq!(rig.control().logins().total, 2);
    Ok(())
}

/// With any status of the controller, as long as the text is its own.
#[tokio::test(flavor = "multi_thread")]
async fn no_refused_login_is_tried_again_at_once() -> Result<()> {
    let rig = Rig::start().await?;
    for code in [400, 401, 403, 422] {
        rig.control().reset_requests();
        let body = r#"{"error": "User account is locked"}"#.to_owned();
        rig.control()
            .fault(Fault::new(Effect::Status { code, body: Some(body), retry_after: None }).times(1));
        let avi = rig.client(|_| {})?;
        for _ in 0..2 {
            let error = refused(avi.versions().await, Kind::Unauthorized)?;
            ensure!(error.status() == Some(code) && error.class() != Class::Retry, "{error:?}");
        }
        assert_eq!(rig.control().requests().len(), 1, "{code}");
    }
    Ok(())
}

/// A controller that does not even know new sessions does not get logins without limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_never_known() -> Result<()> {
    for status in [401, 419] {
        let rig = Rig::start().await?;
        rig.control().fault(Fault::status(status).under("/api/pool"));
        refused(rig.api().create(POOL, &pool("p")).await, Kind::Unauthorized)?;
        assert_eq!((rig.control().logins().total, rig.count("POST", "/api/pool")), (2, 2));
        rig.control().clear_faults();
        // The first time it is an expired session.
        rig.control().fault(Fault::status(status).under("/api/pool").times(1));
        rig.api().create(POOL, &pool("p")).await?;
        assert_eq!((rig.control().logins().total, rig.count("POST", "/api/pool")), (3, 4));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_sent_to_trusted_servers_only() -> Result<()> {
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
            let error = refused(avi.versions().await, Kind::Tls)?;
            ensure!(!error.in_doubt(), "{error:?}");
        }
    }
    assert_eq!(rig.control().logins().total, 2, "the password is sent to no other server");
    let config = |controller: &str| Config::new(controller, Credentials::password("u", Secret::new("p")));
    refused(Avi::start(config("http://controller")), Kind::Config)?;
    refused(Avi::start(config("u:p@controller")), Kind::Config)?;
    let mut bad = config("controller");
    bad.trust = Trust::CaBundle(Vec::new());
    refused(Avi::start(bad), Kind::Config)?;
    Ok(())
}

/// A web server in front of the controller that refuses has not checked the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_refusal_is_no_wrong_password() -> Result<()> {
    let rig = Rig::start().await?;
    for (code, body, kind) in [
        (403, "<html>403 Forbidden</html>", Kind::Protocol),
        (403, "", Kind::Protocol),
        (404, "<html></html>", Kind::Protocol),
        (302, "", Kind::Protocol),
        (400, "<html>400 Bad Request</html>", Kind::Invalid),
    ] {
        let what = Effect::Status { code, body: Some(body.to_owned()), retry_after: None };
        rig.control().fault(Fault::new(what).on("POST", "/login").times(1));
        let avi = rig.client(|_| {})?;
        refused(avi.versions().await, kind)?;
        // The same client logs in as soon as it is let through.
        avi.versions().await?;
    }
    Ok(())
}

/// Credentials that change during a login with the old ones: later calls use the new ones.
#[tokio::test(flavor = "multi_thread")]
async fn other_credentials_during_a_login() -> Result<()> {
    let (rig, front) = fronted().await?;
    let right = Credentials::password("admin", Secret::new(rig.sim.admin_password()));
    let avi = rig.client(|config| {
        config.controller = front.url();
        config.credentials = Credentials::password("admin", Secret::new("wrong"));
    })?;
    front.be(Manner::Holding);
    let early: Vec<_> = (0..10)
        .map(|_| {
            let avi = avi.clone();
            tokio::spawn(async move { avi.versions().await })
        })
        .collect();
    eventually("the login", SOON, async || Ok((rig.control().logins().total == 1).then_some(()))).await?;
    let (others, ()) = tokio::join!(avi.set_credentials(right), async { front.be(Manner::Kind) });
    assert!(others);
    avi.versions().await?;
    for early in early {
        // The refusal of the old ones, or a session with the new ones; in no case a second attempt with the old ones.
        if let Err(error) = early.await? {
            assert_eq!(error.kind(), Kind::Unauthorized);
        }
    }
    assert_eq!((rig.control().logins().total, rig.control().logins().failed), (2, 1));
    Ok(())
}

/// Sessions that end for idle time just when they are needed again: no call fails, and nothing is created twice.
#[tokio::test(flavor = "multi_thread")]
async fn idle_time_that_has_just_ended() -> Result<()> {
    let rig = Rig::with(avi_simulator::Config::default(), |config| {
        config.idle_logout = Some(Duration::from_millis(60));
    })
    .await?;
    for number in 0..100 {
        rig.api().create(POOL, &pool(&format!("p{number}"))).await?;
        if number % 20 == 0 {
            // Idle in any case, however late the clock is.
            let ended =
                async || Ok((rig.count("POST", "/logout") >= rig.control().logins().total).then_some(()));
            eventually("the logout", SOON, ended).await?;
        } else {
            tokio::time::sleep(Duration::from_millis(50 + number % 20)).await;
        }
    }
    assert_eq!(rig.api().all(POOL, &Query::new()).await?.len(), 100);
    let requests = rig.control().requests();
    let refused = requests.iter().filter(|request| request.status == 401).count();
    assert_eq!(refused, 0, "a call lost its session to the silence before it");
    Ok(())
}

/// Calls continue while other tasks log out, and while callers give up at any point.
#[tokio::test(flavor = "multi_thread")]
async fn logouts_and_callers_that_give_up() -> Result<()> {
    let rig = Rig::start().await?;
    let calls = (0..200_u64).map(|number| {
        let avi = rig.avi.clone();
        tokio::spawn(async move {
            let hasty = Duration::from_micros(number * 150);
            let call = async { avi.default_api().create(POOL, &pool(&format!("h{number}"))).await };
            if number % 3 == 0 {
                drop(tokio::time::timeout(hasty, call).await);
            } else if number % 20 == 1 {
                drop(tokio::time::timeout(hasty, avi.close()).await);
            } else {
                avi.default_api().create_or_find(POOL, &pool(&format!("p{number}"))).await?;
            }
            Ok::<(), infra_clients::avi::Error>(())
        })
    });
    for (number, call) in join_all(calls).await.into_iter().enumerate() {
        // The call fails after two logouts within it.
        if let Err(error) = call? {
            assert_eq!(error.kind(), Kind::Unauthorized, "{number}: {error:?}");
        }
    }
    // It is as usable as before: no place among the calls is lost.
    let calls = (0..50).map(|_| async { rig.api().all(POOL, &Query::new()).await });
    for listed in join_all(calls).await {
        listed?;
    }
    let names: Vec<String> =
        rig.api().all(POOL, &Query::new()).await?.into_iter().map(|pool| pool.meta.name).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
    Ok(())
}

/// A password that changes while its caller gives up, and while other credentials are set.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_password_in_between() -> Result<()> {
    let (rig, front) = fronted().await?;
    let avi = rig.client(|config| config.controller = front.url())?;
    let identity = |credentials: &Credentials| {
        let mut config = crate::rig::config(&rig.sim);
        config.controller = front.url();
        config.credentials = credentials.clone();
        config.identity()
    };
    let changes = |password: &'static str| {
        let avi = avi.clone();
        tokio::spawn(async move { avi.change_password(Secret::new(password)).await })
    };
    let arrived = async |times: u64| {
        let done = || rig.count("PUT", "/api/useraccount") == times;
        eventually("the change", SOON, async || Ok(done().then_some(()))).await
    };
    avi.versions().await?;
    front.be(Manner::Holding);
    let caller = changes("Sec0nd-password!");
    arrived(1).await?;
    caller.abort();
    assert!(caller.await.is_err_and(|error| error.is_cancelled()), "gave up");
    front.be(Manner::Kind);
    let second = identity(&Credentials::password("admin", Secret::new("Sec0nd-password!")))?;
    eventually("the new password", SOON, async || Ok((avi.identity() == second).then_some(()))).await?;
    rig.control().expire_sessions();
    avi.default_api().all(POOL, &Query::new()).await?;

    front.be(Manner::Holding);
    let caller = changes("Th1rd-password!");
    arrived(2).await?;
    let others = Credentials::password("another", Secret::new("else"));
    let (set, ()) = tokio::join!(avi.set_credentials(others.clone()), async { front.be(Manner::Kind) });
    assert!(set);
    caller.await??;
    assert_eq!(avi.identity(), identity(&others)?, "not overwritten");
    Ok(())
}
