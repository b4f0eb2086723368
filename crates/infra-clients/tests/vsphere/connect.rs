//! Connecting, and the reasons why it fails.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use infra_clients::vsphere::vms::{Change, Link};
use infra_clients::vsphere::{Kind, Trust};
use infra_clients::{Failure, Secret};
use testbed::{Fault, Outage, Vcsim, eventually};

use crate::rig::{IDLE, Rig, SOON, down, start, template, up};

#[tokio::test(flavor = "multi_thread")]
async fn by_every_kind_of_trust() -> Result<()> {
    let sim = Vcsim::start().await?;
    let other = Vcsim::start().await?;
    for trust in [
        Trust::CaBundle(sim.ca_pem().into()),
        Trust::Thumbprint(sim.thumbprint_sha1().parse()?),
        Trust::Thumbprint(sim.thumbprint_sha256().to_lowercase().replace(':', "").parse()?),
        Trust::Insecure,
    ] {
        let shown = format!("{trust:?}").chars().take(40).collect::<String>();
        let (session, vms) = start(&sim, |session, _| session.trust = trust)?;
        up(&vms).await.map_err(|error| error.context(shown))?;
        session.close().await;
    }
    for trust in [
        Trust::System,
        Trust::CaBundle(other.ca_pem().into()),
        Trust::Thumbprint(other.thumbprint_sha1().parse()?),
        Trust::Thumbprint(other.thumbprint_sha256().parse()?),
    ] {
        let (_, vms) = start(&sim, |session, _| session.trust = trust.clone())?;
        let error = down(&vms).await?;
        assert_eq!((error.kind(), error.in_doubt()), (Kind::Tls, false), "{error}");
        println!("{error}");
        let pinned = matches!(trust, Trust::Thumbprint(_));
        let shown =
            [sim.thumbprint_sha1(), sim.thumbprint_sha256()].iter().any(|is| error.to_string().contains(is));
        assert_eq!(pinned, shown, "a wrong thumbprint is reported with the right one: {error}");
    }
    let sessions = sim.sessions().await?;
    assert_eq!((sessions.now, sessions.max, sessions.logins), (0, 1, 4));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_it_only_polls_and_when_closed_it_logs_out() -> Result<()> {
    let wait = Duration::from_secs(1);
    let rig = Rig::with(Vcsim::builder(), |_, vms| vms.poll_wait = wait).await?;
    rig.vms.fresh().await?;
    rig.sim.reset_calls().await?;
    let began = Instant::now();
    let calls = eventually("four polls", SOON, async || {
        let calls = rig.sim.calls().await?;
        Ok((calls.get("WaitForUpdatesEx") >= Some(&4)).then_some(calls))
    })
    .await?;
    assert!(
        began.elapsed() >= wait * 2,
        "the polls between the first and the last waited: {:?}",
        began.elapsed()
    );
    assert_eq!(calls.len(), 1, "nothing else is called: {calls:?}");

    let mut changes = rig.vms.changes();
    rig.session.close().await;
    assert!(matches!(changes.next().await, Some(Change::Lost)));
    assert!(changes.next().await.is_none());
    let sessions = rig.sim.sessions().await?;
    assert_eq!((sessions.now, sessions.max, sessions.logins), (0, 1, 1));
    assert_eq!(rig.vms.fresh().await.unwrap_err().kind(), Kind::Canceled);
    assert_eq!(rig.vms.create_folder("x").await.unwrap_err().kind(), Kind::Canceled);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_tried_once() -> Result<()> {
    let sim = Vcsim::start().await?;
    let (_, vc) = start(&sim, |session, _| session.password = Secret::new("wrong"))?;
    let error = down(&vc).await?;
    assert_eq!(error.kind(), Kind::Unauthorized, "{error}");
    assert!(!error.to_string().contains("wrong"));
    for _ in 0..20 {
        assert_eq!(vc.fresh().await.unwrap_err().kind(), Kind::Unauthorized);
        assert_eq!(template(&vc, "photon").await.unwrap_err().kind(), Kind::Unauthorized);
    }
    let pause = error.retry_after().context("when the next login is sent")?;
    assert!(pause > Duration::from_secs(30), "{pause:?}");
    let sessions = sim.sessions().await?;
    assert_eq!((sessions.max, sessions.logins, sessions.failed_logins), (0, 0, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_at_first() -> Result<()> {
    let sim = Vcsim::start().await?;
    sim.outage(Outage::Refuse).await?;
    let (_, vc) = start(&sim, |_, _| {})?;
    let error = down(&vc).await?;
    assert_eq!((error.kind(), error.in_doubt()), (Kind::Unreachable, false), "{error}");
    assert_eq!(vc.create_folder("x").await.unwrap_err().kind(), Kind::Unreachable);
    sim.outage(Outage::Status(503)).await?;
    eventually("the 503 to show", SOON, async || {
        let Link::Down(error) = vc.link().borrow().clone() else { return Ok(None) };
        Ok((error.kind() == Kind::Unavailable).then_some(()))
    })
    .await?;
    sim.outage(Outage::None).await?;
    up(&vc).await?;
    assert_eq!(sim.sessions().await?.max, 1);
    Ok(())
}

/// One that starts says which setting is missing; what one that runs has found stays in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_datacenter_does_not_stop_a_client_that_has_found_the_first() -> Result<()> {
    let rig = Rig::with(Vcsim::builder(), |_, vms| {
        (vms.audit, vms.poll_wait) = (Duration::from_secs(1), Duration::from_secs(1));
    })
    .await?;
    rig.sim.add_datacenter("DC-new").await?;
    let error = down(&start(&rig.sim, |_, _| {})?.1).await?;
    assert_eq!(error.kind(), Kind::Ambiguous, "{error}");
    let mut link = rig.vms.link();
    link.mark_unchanged();
    // Each audit reads the site.
    rig.sim.reset_calls().await?;
    eventually("three audits", SOON, async || {
        Ok((rig.sim.calls().await?.get("RetrievePropertiesEx").copied() >= Some(3)).then_some(()))
    })
    .await?;
    assert!(!link.has_changed()? && link.borrow().is_up(), "{:?}", link.borrow());
    rig.make(&rig.root()?, "still").await?;
    // Also where it has to be found again: the first poll after the fault has another collector.
    rig.sim.fault(Fault::soap("WaitForUpdatesEx", "ManagedObjectNotFound")).await?;
    rig.sim.reset_calls().await?;
    eventually("another collector", SOON, async || {
        Ok(rig.sim.calls().await?.contains_key("CreatePropertyCollector").then_some(()))
    })
    .await?;
    up(&rig.vms).await?;
    rig.make(&rig.root()?, "again").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_datacenters_must_be_chosen_from() -> Result<()> {
    let sim = Vcsim::builder().datacenters(2).start().await?;
    let error = down(&start(&sim, |_, _| {})?.1).await?;
    assert_eq!(error.kind(), Kind::Ambiguous);
    assert!(error.to_string().contains("DC0, DC1"), "{error}");

    let error = down(&start(&sim, |_, vms| vms.datacenter = Some("DC7".to_owned()))?.1).await?;
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.to_string().contains("DC7") && error.to_string().contains("DC0, DC1"), "{error}");

    for name in ["DC1", "/DC1"] {
        let (session, vc) = start(&sim, |_, vms| vms.datacenter = Some(name.to_owned()))?;
        up(&vc).await?;
        assert!(template(&vc, "photon").await.is_ok());
        session.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clusters_must_be_chosen_from() -> Result<()> {
    let sim = Vcsim::builder().clusters(2).start().await?;
    let error = down(&start(&sim, |_, _| {})?.1).await?;
    assert_eq!(error.kind(), Kind::Ambiguous);
    assert!(error.to_string().contains("DC0_C0/Resources, DC0_C1/Resources"), "{error}");
    for name in ["DC0_C1", "DC0_C1/Resources", "/DC0/host/DC0_C1/Resources"] {
        let (session, vc) = start(&sim, |_, vms| vms.resource_pool = Some(name.to_owned()))?;
        up(&vc).await?;
        session.close().await;
    }
    let error = down(&start(&sim, |_, vms| vms.resource_pool = Some("gold".to_owned()))?.1).await?;
    assert!(error.kind() == Kind::Config && error.to_string().contains("gold"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_folder_with_the_name_of_a_template_is_named() -> Result<()> {
    let sim = Vcsim::start().await?;
    sim.add_vm("/DC0/vm", "taken").await?;
    let error = down(&start(&sim, |_, vms| vms.root_folder = "taken".to_owned())?.1).await?;
    assert_eq!(error.kind(), Kind::DuplicateName);
    assert!(
        error.to_string().contains("an object in DC0/vm has the name taken and is not a folder"),
        "{error}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn makes_the_root_folder_if_it_may() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().root_folder(false), |_, _| {}).await?;
    assert!(rig.sim.folders().await?.contains(&"/DC0/vm/vm-operator".to_owned()));
    assert!(rig.calls_but(IDLE).await?.values().sum::<u64>() <= 12);

    let sim = Vcsim::builder().root_folder(false).read_only_user(true).start().await?;
    let error = down(&start(&sim, |_, _| {})?.1).await?;
    assert_eq!(error.kind(), Kind::Forbidden);
    assert!(
        error.to_string().contains("DC0/vm/vm-operator") && error.to_string().contains("administrator"),
        "{error}"
    );
    Ok(())
}

/// What is logged while connecting, failing to, and working has no password.
#[tokio::test]
async fn the_password_is_in_no_log() -> Result<()> {
    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || sink.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let sim = Vcsim::start().await?;
    let (session, vc) = start(&sim, |_, _| {})?;
    up(&vc).await?;
    sim.expire_sessions().await?;
    template(&vc, "photon").await?;
    let mut wrong = crate::rig::session_config(&sim);
    wrong.password = Secret::new("Wr0ng-one");
    let shown = format!("{wrong:?}");
    down(&start(&sim, |session, _| *session = wrong)?.1).await?;
    session.close().await;
    drop(guard);
    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned() + &shown;
    assert!(log.contains("logged in") && log.contains("refused") && log.contains("TRACE"), "{log}");
    assert!(!log.contains(sim.password()) && !log.contains("Wr0ng-one"));
    Ok(())
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
