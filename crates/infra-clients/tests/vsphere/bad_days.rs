//! Sessions that end, connections that are cut, servers that hang.

use std::time::Duration;

use anyhow::Result;
use infra_clients::Failure;
use infra_clients::vsphere::vms::{Change, Inventory, Link, TaskState};
use infra_clients::vsphere::{Error, Kind, MoRef, vms};
use testbed::{Fault, Outage, Vcsim, eventually};

use crate::rig::{Rig, SOON, down, start, template, up};

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_under_load() -> Result<()> {
    // Eight calls at a time, so that the last are not sent before the first sessions have expired.
    let sim = Vcsim::builder()
        .call_delay("CloneVM_Task", Duration::from_millis(200))
        .clone_time(Duration::from_millis(500));
    let rig = Rig::with(sim, |_, _| {}).await?;
    let folder = rig.vms.create_folder("f").await?;
    template(&rig.vms, "photon").await?;
    let changes = rig.vms.changes();
    let names: Vec<String> = (0..60).map(|i| format!("vm-{i}")).collect();
    let submit = async |name: &str| {
        loop {
            match rig.submit(&folder, name).await {
                Err(error) if error.downcast_ref().is_some_and(Error::is_unsent) => {}
                submitted => return submitted,
            }
        }
    };
    let clones = futures::future::join_all(names.iter().map(|name| submit(name)));
    let expiry = async {
        let mut goal = 5;
        for _ in 0..3 {
            let called = eventually("some clones", SOON, async || {
                let called = rig.sim.calls().await?.get("CloneVM_Task").copied().unwrap_or(0);
                Ok((called >= goal).then_some(called))
            });
            goal = called.await? + 16;
            rig.sim.expire_sessions().await?;
        }
        anyhow::Ok(())
    };
    let (clones, expired) = tokio::join!(clones, expiry);
    expired?;
    for task in clones {
        assert_eq!(rig.ended(&task?).await?.state, TaskState::Success);
    }
    eventually("all VMs to be known", SOON, async || {
        rig.vms.fresh().await.ok();
        Ok((rig.vms.read(|inventory| inventory.vms_in(&folder).count()) == 60).then_some(()))
    })
    .await?;
    let sessions = rig.sim.sessions().await?;
    assert_eq!(sessions.max, 1, "{sessions:?}");
    assert!((2..=4).contains(&sessions.logins) && sessions.failed_logins == 0, "{sessions:?}");

    // Each VM appeared once, however often it was reported.
    let mut came = 0;
    for change in rig.received(changes).await? {
        assert!(!matches!(change, Change::Vm { after: None, .. }), "nothing went away");
        came += u32::from(matches!(change, Change::Vm { before: None, .. }));
    }
    assert_eq!(came, 60);
    Ok(())
}

/// What the caller decided on may have changed by the end of the login.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_meets_an_ended_session_is_not_sent() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "a").await?;
    rig.sim.fault(Fault::hang("WaitForUpdatesEx").until_cleared()).await?;
    rig.sim.expire_sessions().await?;
    let error = rig.vms.power_off(&vm).await.unwrap_err();
    assert!(error.is_unsent() && !error.in_doubt() && error.kind() == Kind::SessionEnded, "{error}");
    assert!(rig.sim.vms_in("/DC0/vm/vm-operator/f").await?[0].is_on(), "it was not sent again");
    assert_eq!(rig.sim.sessions().await?.now, 1, "there is another session");
    rig.vms.power_off(&vm).await?;
    Ok(())
}

/// No caller makes a call; only the keep-alive can notice.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_session_at_rest() -> Result<()> {
    let rig = Rig::with(Vcsim::builder(), |session, _| session.keep_alive = Duration::from_secs(1)).await?;
    rig.sim.expire_sessions().await?;
    rig.sim.add_vm("/DC0/vm/vm-operator", "meanwhile").await?;
    eventually("the VM to be known", SOON, async || {
        Ok(rig.vms.read(|inventory| inventory.vms().next().cloned()))
    })
    .await?;
    up(&rig.vms).await?;
    assert_eq!(rig.sim.sessions().await?.logins, 2);
    Ok(())
}

async fn called(rig: &Rig, method: &str) -> Result<()> {
    eventually(method, SOON, async || Ok(rig.sim.calls().await?.contains_key(method).then_some(()))).await
}

/// Waits until a report that began after this shows a VM that was made meanwhile, and the others with it.
async fn is_complete(rig: &Rig, folder: &MoRef, others: usize) -> Result<()> {
    rig.sim.add_vm("/DC0/vm/vm-operator/f", "meanwhile").await?;
    eventually("all VMs to be shown", SOON, async || {
        Ok((rig.vms.read(|inventory| inventory.vms_in(folder).count()) == others + 1).then_some(()))
    })
    .await?;
    up(&rig.vms).await?;
    // None of them was taken for one that is gone.
    let sessions = rig.sim.sessions().await?;
    assert!(sessions.now == 1 && sessions.failed_logins == 0, "{sessions:?}");
    Ok(())
}

/// The vCenter has a session then of which the client does not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_whose_answer_is_lost_in_part() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    rig.make(&folder, "a").await?;
    rig.sim.fault(Fault::truncate("Login").times(1)).await?;
    rig.sim.expire_sessions().await?;
    is_complete(&rig, &folder, 1).await?;
    assert_eq!(rig.sim.pending_faults().await?, 0);
    Ok(())
}

/// Neither that the login succeeded is known then, nor that the logout did not.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_after_a_login() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    rig.make(&folder, "a").await?;
    rig.sim.reset_calls().await?;
    rig.sim.fault(Fault::delay("Login", Duration::from_millis(500)).times(1)).await?;
    rig.sim.fault(Fault::cut_before("Logout").times(1)).await?;
    rig.sim.expire_sessions().await?;
    called(&rig, "Login").await?;
    rig.sim.fault(Fault::cut_before("RetrieveServiceContent").times(1)).await?;
    is_complete(&rig, &folder, 1).await?;
    assert_eq!(rig.sim.pending_faults().await?, 0);
    Ok(())
}

/// A login over the session that it left would be refused as if the password were wrong.
#[tokio::test(flavor = "multi_thread")]
async fn a_first_login_whose_answer_is_lost_in_part() -> Result<()> {
    let sim = Vcsim::builder().start().await?;
    sim.fault(Fault::truncate("Login").times(1)).await?;
    let (_session, vms) = start(&sim, |_, _| {})?;
    up(&vms).await?;
    let sessions = sim.sessions().await?;
    assert!(sessions.now == 1 && sessions.failed_logins == 0, "{sessions:?}");
    Ok(())
}

/// A caller that gives up in a login leaves a session of which the client does not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_gives_up_while_the_client_logs_in() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    rig.make(&folder, "a").await?;
    rig.sim.reset_calls().await?;
    rig.sim.fault(Fault::delay("WaitForUpdatesEx", Duration::from_secs(3)).times(1)).await?;
    rig.sim.fault(Fault::delay("Login", Duration::from_millis(500)).times(1)).await?;
    let _ = rig.vms.request_refresh();
    rig.sim.expire_sessions().await?;
    {
        let call = rig.vms.create_folder("g");
        // The call is dropped with the block.
        tokio::select! {
            made = call => panic!("{made:?}"),
            login = called(&rig, "Login") => login?,
        }
    }
    is_complete(&rig, &folder, 1).await
}

/// A filter on a view that does not exist reports no error.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_is_gone_is_not_an_empty_folder() -> Result<()> {
    let rig = Rig::with(Vcsim::builder(), |_, vms| vms.audit = Duration::from_secs(1)).await?;
    let folder = rig.vms.create_folder("f").await?;
    rig.make(&folder, "a").await?;
    let changes = rig.vms.changes();
    rig.sim.fault(Fault::delay("CreateFilter", Duration::from_secs(1)).times(1)).await?;
    rig.sim.reset_calls().await?;
    called(&rig, "CreateFilter").await?;
    rig.sim.drop_views().await?;
    is_complete(&rig, &folder, 1).await?;
    for change in rig.received(changes).await? {
        assert!(!matches!(change, Change::Vm { after: None, .. }), "nothing went away");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_nothing() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let gone = rig.make(&folder, "gone").await?;
    let stays = rig.make(&folder, "stays").await?;
    rig.vms.fresh().await?;
    let changes = rig.vms.changes();
    for outage in [Outage::Refuse, Outage::Status(503)] {
        rig.sim.outage(outage).await?;
        let error = match outage {
            Outage::Refuse => down(&rig.vms).await?,
            // The poll in flight does not fail; the next call does.
            _ => rig.vms.power_off(&stays).await.unwrap_err(),
        };
        let refused_connection = outage == Outage::Refuse;
        let want = if refused_connection { Kind::Unreachable } else { Kind::Unavailable };
        assert_eq!((error.kind(), error.in_doubt()), (want, !refused_connection), "{error}");
        let refused = rig.vms.power_off(&stays).await.unwrap_err();
        assert_eq!((refused.kind(), refused.in_doubt()), (want, !refused_connection), "{refused}");
        if outage == Outage::Refuse {
            rig.sim.unregister_vm("/DC0/vm/vm-operator/f/gone").await?;
            assert!(
                rig.vms.read(|inventory| !inventory.is_synced() && inventory.vm(&gone).is_some()),
                "not known to be gone"
            );
            assert_eq!(rig.vms.fresh().await.unwrap_err().kind(), Kind::Unreachable);
        }
        rig.sim.outage(Outage::None).await?;
        up(&rig.vms).await?;
    }
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert!(inventory.is_synced() && inventory.vm(&gone).is_none() && inventory.vm(&stays).is_some());
    });
    let sessions = rig.sim.sessions().await?;
    assert_eq!((sessions.max, sessions.logins), (1, 1), "the session outlived the outage");
    let mut seen = Vec::new();
    for change in rig.received(changes).await? {
        seen.push(match change {
            Change::Lost => "lost",
            Change::Synced => "synced",
            Change::Vm { before: Some(vm), after: None } if vm.moref == gone => "gone",
            _ => continue,
        });
    }
    assert_eq!(seen[..3], ["lost", "gone", "synced"], "{seen:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_times_out_alone() -> Result<()> {
    let rig =
        Rig::with(Vcsim::builder(), |session, _| session.call_timeout = Duration::from_secs(10)).await?;
    let root = rig.root()?;
    template(&rig.vms, "photon").await?;
    rig.sim.fault(Fault::hang("CloneVM_Task")).await?;
    let (hung, folder) = tokio::join!(rig.submit(&root, "a"), rig.vms.create_folder("meanwhile"));
    folder?;
    let error = hung.unwrap_err().downcast::<Error>()?;
    assert_eq!(
        (error.kind(), error.in_doubt(), error.method()),
        (Kind::Timeout, true, Some("CloneVM_Task")),
        "{error}"
    );
    assert!(rig.vms.link().borrow().is_up());
    Ok(())
}

/// The answer is lost but the call took effect: a refresh shows it.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_cut_off() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().clone_time(Duration::from_millis(300)), |_, _| {}).await?;
    let folder = rig.vms.create_folder("f").await?;
    let template = template(&rig.vms, "photon").await?;
    for i in 0..5 {
        rig.sim.fault(Fault::cut_after("CloneVM_Task")).await?;
        let name = format!("vm-{i}");
        let error = rig.submit(&folder, &name).await.unwrap_err().downcast::<Error>()?;
        assert_eq!((error.kind(), error.in_doubt()), (Kind::Unreachable, true), "{error}");
        rig.vms.fresh().await?;
        let seen = rig.vms.read(|inventory| {
            let task = inventory.tasks().any(|task| {
                !task.state.ended()
                    && task.entity.as_ref() == Some(&template)
                    && task.description_id.contains("clone")
            });
            task || inventory.vm_named(&folder, &name).is_some()
        });
        assert!(
            seen,
            "neither task nor VM {name}: {:#?}",
            rig.vms.read(|inventory| inventory.tasks().cloned().collect::<Vec<_>>())
        );
    }
    eventually("all five", SOON, async || {
        Ok((rig.vms.read(|inventory| inventory.vms_in(&folder).count()) == 5).then_some(()))
    })
    .await?;
    assert_eq!(rig.sim.calls().await?["CloneVM_Task"], 5, "nothing was sent twice");

    rig.sim.fault(Fault::cut_before("CreateFolder")).await?;
    assert!(rig.vms.create_folder("g").await.unwrap_err().in_doubt());
    rig.vms.fresh().await?;
    assert!(rig.vms.read(|inventory| inventory.folder_named("g").is_none()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_that_fail_are_made_good() -> Result<()> {
    let rig = Rig::start().await?;
    let mut link = rig.vms.link();
    for (i, fault) in [
        Fault::cut_after("WaitForUpdatesEx"),
        Fault::status("WaitForUpdatesEx", 503),
        Fault::soap("WaitForUpdatesEx", "InvalidCollectorVersion"),
        Fault::soap("WaitForUpdatesEx", "ManagedObjectNotFound"),
        Fault::soap("WaitForUpdatesEx", "NotAuthenticated"),
        Fault::soap("WaitForUpdatesEx", "RequestCanceled"),
    ]
    .into_iter()
    .enumerate()
    {
        rig.sim.fault(fault).await?;
        let name = format!("vm-{i}");
        rig.sim.add_vm("/DC0/vm/vm-operator", &name).await?;
        eventually(&name, SOON, async || {
            Ok(rig.vms.read(|inventory| inventory.vms().any(|vm| *vm.name == *name)).then_some(()))
        })
        .await?;
        // The poll in flight may report the VM before the fault hits the next.
        eventually("the fault to be used up", SOON, async || {
            rig.vms.fresh().await.ok();
            Ok((rig.sim.pending_faults().await? == 0).then_some(()))
        })
        .await?;
        up(&rig.vms).await?;
        rig.vms.fresh().await?;
    }
    assert!(!matches!(*link.borrow_and_update(), Link::Down(_)));
    assert_eq!(rig.vms.read(|inventory| inventory.vms().count()), 6);
    assert_eq!(rig.sim.sessions().await?.max, 1);
    Ok(())
}

/// The root folder is removed: it is created again, and what was in it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_root_folder_goes() -> Result<()> {
    let rig = Rig::start().await?;
    let root = rig.root()?;
    let folder = rig.vms.create_folder("f").await?;
    rig.vms.fresh().await?;
    let task = rig.vms.destroy(&root).await?;
    eventually("another root folder", SOON, async || {
        let now =
            rig.vms.read(|inventory| inventory.root_folder().filter(|_| inventory.is_synced()).cloned());
        Ok(now.filter(|now| *now != root))
    })
    .await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert!(inventory.folder(&folder).is_none() && inventory.folder(&root).is_none());
    });
    assert_eq!(rig.ended(&task).await?.state, TaskState::Success);
    assert!(rig.sim.folders().await?.contains(&"/DC0/vm/vm-operator".to_owned()));
    Ok(())
}

/// Connections are accepted, nothing is answered, and no caller makes a call.
#[tokio::test(flavor = "multi_thread")]
async fn a_vcenter_that_hangs_is_found_by_the_poll() -> Result<()> {
    let defaults = vms::Config::new("f");
    assert!(defaults.poll_wait + defaults.poll_grace <= Duration::from_mins(1), "found within a minute");

    let rig = Rig::with(Vcsim::builder(), |session, vms| {
        session.call_timeout = Duration::from_secs(2);
        (vms.poll_wait, vms.poll_grace) = (Duration::from_secs(2), Duration::from_secs(2));
    })
    .await?;
    rig.sim.outage(Outage::Hang).await?;
    let error = down(&rig.vms).await?;
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    assert!(!rig.vms.read(Inventory::is_synced));
    let ticket = rig.vms.request_refresh();
    rig.sim.outage(Outage::None).await?;
    up(&rig.vms).await?;
    eventually("the refresh", SOON, async || {
        Ok(rig.vms.read(|inventory| inventory.refreshed(ticket)).then_some(()))
    })
    .await?;
    assert!(rig.sim.sessions().await?.max <= 2);
    Ok(())
}
