//! Creating, changing and removing, and what the collector reports of it.

use std::time::Duration;

use anyhow::{Context, Result};
use infra_clients::vsphere::vms::{Change, TaskState};
use infra_clients::vsphere::{Error, Kind, MoRef, PowerState};
use infra_clients::{Class, Failure};
use testbed::{Fault, Vcsim, eventually};

use crate::rig::{IDLE, OWNER, Rig, SOON, spec, template};

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_from_clone_to_destroy() -> Result<()> {
    let rig = Rig::start().await?;
    let changes = rig.vms.changes();
    let folder = rig.vms.create_folder("ns.group").await?;
    let known = rig.vms.read(|inventory| inventory.folder_named("ns.group").cloned());
    assert_eq!(known.context("the folder is known at once")?.moref, folder);

    let template = template(&rig.vms, "photon").await?;
    rig.sim.reset_calls().await?;
    let task = rig.vms.clone_vm(&spec(&template, &folder, "group-0")).await?;
    rig.vms.read(|inventory| inventory.task(&task).cloned()).context("the task is known at once")?;
    let done = rig.ended(&task).await?;
    assert_eq!(done.state, TaskState::Success, "{done:?}");
    let moref = done.result.clone().context("the clone")?;
    rig.vms.fresh().await?;
    check_created(&rig, &moref, &folder).await?;

    for task in [
        rig.vms.power_off(&moref).await?,
        rig.vms.set_extra_config(&moref, &[("guestinfo.step", "2")]).await?,
        rig.vms.power_on(&moref).await?,
    ] {
        // Each is submitted before the one before has ended; the simulator runs them in order.
        let task = rig.ended(&task).await?;
        assert_eq!(task.state, TaskState::Success, "{task:?}");
    }
    let sim = rig.sim.vms_in("/DC0/vm/vm-operator/ns.group").await?.pop().context("in the simulator")?;
    let step = sim.extra_config.get("guestinfo.step").map(String::as_str);
    assert_eq!((step, sim.is_on()), (Some("2"), true));

    for task in
        [rig.vms.power_off(&moref).await?, rig.vms.destroy(&moref).await?, rig.vms.destroy(&folder).await?]
    {
        assert_eq!(rig.ended(&task).await?.state, TaskState::Success);
    }
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert!(inventory.vm(&moref).is_none() && inventory.folder(&folder).is_none());
        assert_eq!(inventory.vms().count(), 0);
    });
    let calls = rig.calls_but(IDLE).await?;
    assert_eq!(calls.values().sum::<u64>(), 7, "one call for each thing asked, and no other: {calls:?}");

    check_changes(&rig.received(changes).await?, &moref);
    Ok(())
}

/// The inventory and the simulator show the VM as it was asked for.
async fn check_created(rig: &Rig, moref: &MoRef, folder: &MoRef) -> Result<()> {
    let vm = rig.vms.read(|inventory| inventory.vm(moref).cloned()).context("the VM")?;
    assert_eq!((&*vm.name, vm.parent.as_ref(), vm.power), ("group-0", Some(folder), Some(PowerState::On)));
    assert_eq!(vm.marker(OWNER), Some("a<b&c é"));
    assert_eq!(vm.markers.as_ref().map(|markers| markers.len()), Some(2), "{:?}", vm.markers);
    assert_eq!(vm.instance_uuid.as_deref(), Some("5030b1c6-8a3f-4b52-9e70-0123456789ab"));
    rig.vms.read(|inventory| {
        assert_eq!(inventory.vm_named(folder, "group-0").map(|vm| &vm.moref), Some(moref));
        assert_eq!(inventory.vms_in(folder).count(), 1);
        assert_eq!(inventory.folder(folder).map(|folder| folder.children), Some(1));
    });
    let sim = rig.sim.vms_in("/DC0/vm/vm-operator/ns.group").await?.pop().context("in the simulator")?;
    assert_eq!(
        (sim.cpu, sim.memory_mb, sim.instance_uuid.as_str()),
        (2, 2048, "5030b1c6-8a3f-4b52-9e70-0123456789ab")
    );
    Ok(())
}

/// The changes say that the VM came and went, and that every task ended.
fn check_changes(changes: &[Change], moref: &MoRef) {
    let (mut came, mut went, mut tasks) = (0, 0, 0);
    for change in changes {
        match change {
            Change::Vm { before: None, after: Some(vm) } if vm.moref == *moref => came += 1,
            Change::Vm { before: Some(vm), after: None } if vm.moref == *moref => went += 1,
            Change::Task(task) if task.state.ended() => tasks += 1,
            _ => {}
        }
    }
    assert_eq!((came, went), (1, 1));
    assert!(tasks >= 7, "{tasks}");
}

/// One that does not end during the test.
#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_reported_while_it_runs() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().clone_time(Duration::from_hours(1)), |_, _| {}).await?;
    let folder = rig.vms.create_folder("f").await?;
    let template = template(&rig.vms, "photon").await?;
    let task = rig.submit(&folder, "a").await?;
    let known = rig.vms.read(|inventory| inventory.task(&task).cloned()).context("known at once")?;
    assert!(!known.state.ended());
    let running = eventually("the collector to report the task", SOON, async || {
        let task = rig.vms.read(|inventory| inventory.task(&task).cloned());
        Ok(task.filter(|task| !task.description_id.is_empty()))
    })
    .await?;
    assert_eq!(running.entity.as_ref(), Some(&template));
    assert!(!running.state.ended(), "{running:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_typed() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let again = rig.vms.create_folder("f").await.unwrap_err();
    assert_eq!(
        (again.kind(), again.object(), again.method()),
        (Kind::DuplicateName, Some(&folder), Some("CreateFolder"))
    );
    assert!(!again.in_doubt() && again.class() == Class::NeedsHelp);

    let vm = rig.make(&folder, "a").await?;
    let task = rig.ended(&rig.submit(&folder, "a").await?).await?;
    let error = task.error.as_ref().context("the second of that name fails")?;
    assert_eq!(
        (error.kind(), error.object(), error.fault()),
        (Kind::DuplicateName, Some(&vm), Some("DuplicateName"))
    );

    let on = match rig.vms.power_on(&vm).await {
        Ok(task) => rig.ended(&task).await?.error.clone(),
        Err(error) => Some(error),
    };
    let on = on.context("it is on already")?;
    assert_eq!((on.kind(), on.existing_power()), (Kind::InvalidPowerState, Some(PowerState::On)), "{on}");

    rig.sim.fault(Fault::soap("CloneVM_Task", "NoPermission")).await?;
    let error = rig.submit(&folder, "b").await.unwrap_err();
    let error = error.downcast::<infra_clients::vsphere::Error>()?;
    assert_eq!((error.kind(), error.in_doubt()), (Kind::Forbidden, false), "{error}");

    rig.sim.fault(Fault::task("CloneVM_Task", "InsufficientMemoryResourcesFault")).await?;
    let task = rig.ended(&rig.submit(&folder, "c").await?).await?;
    assert_eq!(task.error.as_ref().map(Error::kind), Some(Kind::NoResources), "{task:?}");

    rig.sim.unregister_vm("/DC0/vm/vm-operator/f/a").await?;
    let gone = rig.vms.power_on(&vm).await.unwrap_err();
    assert_eq!((gone.kind(), gone.object()), (Kind::NotFound, Some(&vm)), "{gone}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_by_others_are_reported() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "a").await?;
    rig.vms.fresh().await?;
    let changes = rig.vms.changes();
    rig.sim.power_off("/DC0/vm/vm-operator/f/a").await?;
    rig.sim.add_vm("/DC0/vm/vm-operator/f", "stranger").await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert_eq!(inventory.vm(&vm).and_then(|vm| vm.power), Some(PowerState::Off));
        assert!(
            inventory
                .vm_named(&folder, "stranger")
                .is_some_and(|vm| vm.markers.as_ref().is_some_and(|markers| markers.is_empty()))
        );
    });
    rig.sim.rename_vm("/DC0/vm/vm-operator/f/stranger", "friend").await?;
    rig.sim.unregister_vm("/DC0/vm/vm-operator/f/a").await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert!(inventory.vm(&vm).is_none() && inventory.vm_named(&folder, "stranger").is_none());
        assert!(inventory.vm_named(&folder, "friend").is_some());
    });
    let (mut off, mut went) = (false, false);
    for change in rig.received(changes).await? {
        if let Change::Vm { before: Some(before), after } = change
            && before.moref == vm
        {
            match after {
                Some(after) => off |= after.power == Some(PowerState::Off),
                None => went = true,
            }
        }
    }
    assert!(off && went);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clones_share_the_polls() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().clone_time(Duration::from_secs(1)), |_, _| {}).await?;
    let folder = rig.vms.create_folder("f").await?;
    template(&rig.vms, "photon").await?;
    rig.sim.reset_calls().await?;
    let began = std::time::Instant::now();
    let names: Vec<String> = (0..50).map(|i| format!("vm-{i}")).collect();
    let clones = futures::future::join_all(names.iter().map(|name| rig.submit(&folder, name))).await;
    for task in clones {
        assert_eq!(rig.ended(&task?).await?.state, TaskState::Success);
    }
    rig.vms.fresh().await?;
    assert_eq!(rig.vms.read(|inventory| inventory.vms_in(&folder).count()), 50);
    let calls = rig.sim.calls().await?;
    println!("50 clones of 1 s in {:?}: {calls:?}", began.elapsed());
    assert_eq!(calls["CloneVM_Task"], 50);
    assert!(calls["WaitForUpdatesEx"] <= 8 + 4 * (began.elapsed().as_secs() + 1), "{calls:?}");
    assert!(rig.calls_but(IDLE).await?.keys().eq(["CloneVM_Task"]), "{calls:?}");
    Ok(())
}

/// More tasks than vCenter lists: those that drop out of the list are read by reference, all in one call.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_beyond_the_list_are_not_lost() -> Result<()> {
    let rig =
        Rig::with(Vcsim::builder().clone_time(Duration::from_secs(5)), |session, _| session.concurrency = 32)
            .await?;
    let folder = rig.vms.create_folder("f").await?;
    let names: Vec<String> = (0..250).map(|i| format!("vm-{i}")).collect();
    let clones = futures::future::join_all(names.iter().map(|name| rig.submit(&folder, name))).await;
    for task in clones {
        let task = task?;
        assert_eq!(rig.ended(&task).await?.state, TaskState::Success);
    }
    Ok(())
}
