//! Reads that do not wait: a request, and the answer as a change.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use infra_clients::Failure;
use infra_clients::vsphere::vms::{Change, Changes, Outside, Template};
use infra_clients::vsphere::{Kind, MoRef};
use testbed::{Account, Fault, Outage, Vcsim, eventually};

use crate::rig::{IDLE, Rig, SOON, down, spec, template};

/// Waits for a change that `found` takes something from.
async fn received<T>(changes: &mut Changes, mut found: impl FnMut(Change) -> Option<T>) -> Result<T> {
    let waiting = async {
        loop {
            let change = changes.next().await.context("the client was closed")?;
            if let Some(found) = found(change) {
                return Ok(found);
            }
        }
    };
    tokio::time::timeout(SOON, waiting).await.context("no such change")?
}

/// A refresh includes what came before it, however many are requested, and they share polls.
#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_complete_and_cheap() -> Result<()> {
    let rig = Rig::start().await?;
    let began = std::time::Instant::now();
    rig.sim.reset_calls().await?;
    let root = rig.root()?;
    for i in 0..6 {
        let name = format!("vm-{i}");
        rig.sim.add_vm("/DC0/vm/vm-operator", &name).await?;
        let mut changes = rig.vms.changes();
        let tickets: Vec<_> = (0..20).map(|_| rig.vms.request_refresh()).collect();
        let newest = *tickets.last().context("20")?;
        let served = received(&mut changes, |change| match change {
            Change::Refreshed(ticket) if ticket >= newest => Some(ticket),
            _ => None,
        });
        let served = served.await?;
        rig.vms.read(|inventory| {
            assert!(
                tickets.iter().all(|ticket| inventory.refreshed(*ticket)),
                "{served:?} serves all before"
            );
            assert!(inventory.vm_named(&root, &name).is_some(), "{name}");
        });
    }
    let polls = rig.sim.calls().await?["WaitForUpdatesEx"];
    let limit = 10 + 1 + u64::try_from(began.elapsed().as_millis())? / 333;
    assert!(polls <= limit, "{polls} polls in {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_outlives_the_link() -> Result<()> {
    let rig = Rig::start().await?;
    rig.sim.outage(Outage::Refuse).await?;
    down(&rig.vms).await?;
    let mut changes = rig.vms.changes();
    let ticket = rig.vms.request_refresh();
    rig.sim.add_vm("/DC0/vm/vm-operator", "meanwhile").await?;
    assert!(!rig.vms.read(|inventory| inventory.refreshed(ticket)));
    rig.sim.outage(Outage::None).await?;
    let mut synced = false;
    received(&mut changes, |change| {
        synced |= matches!(change, Change::Synced);
        matches!(change, Change::Refreshed(_)).then_some(())
    })
    .await?;
    assert!(synced, "served by a complete report");
    assert!(rig.vms.read(|inventory| inventory.refreshed(ticket) && inventory.vms().count() == 1));
    Ok(())
}

/// Waits until each of these was looked up.
async fn looked_up(changes: &mut Changes, vms: &[&MoRef]) -> Result<()> {
    let mut open: BTreeSet<MoRef> = vms.iter().copied().cloned().collect();
    received(changes, |change| {
        if let Change::LookedUp(vm) = change {
            open.remove(&vm);
        }
        open.is_empty().then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn vms_that_are_not_shown_are_looked_up_in_one_call_and_each_is_asked_for_that_seems_gone() -> Result<()>
{
    let rig = Rig::start().await?;
    let elsewhere = template(&rig.vms, "photon").await?;
    let gone: Vec<MoRef> = (0..30).map(|i| MoRef::new("VirtualMachine", &format!("vm-9{i:03}"))).collect();
    let mut changes = rig.vms.changes();
    rig.sim.reset_calls().await?;
    for vm in gone.iter().chain([&elsewhere]) {
        rig.vms.look_up(vm);
        rig.vms.look_up(vm);
        assert!(rig.vms.is_looking_up(vm) && rig.vms.read(|inventory| inventory.outside(vm).is_none()));
    }
    looked_up(&mut changes, &gone.iter().chain([&elsewhere]).collect::<Vec<_>>()).await?;
    rig.vms.read(|inventory| {
        for vm in &gone {
            assert_eq!(inventory.outside(vm), Some(&Outside::Gone), "{vm}");
        }
        match inventory.outside(&elsewhere) {
            Some(Outside::Elsewhere(vm)) => assert_eq!(&*vm.name, "photon"),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(rig.calls_but(IDLE).await?, [("RetrievePropertiesEx".to_owned(), 1 + 30)].into());

    // Answered: asking again adds nothing to the call for another.
    let other = MoRef::new("VirtualMachine", "vm-8000");
    for vm in gone.iter().chain([&elsewhere]) {
        rig.vms.look_up(vm);
        assert!(!rig.vms.is_looking_up(vm), "{vm}");
    }
    rig.vms.look_up(&other);
    looked_up(&mut changes, &[&other]).await?;
    assert_eq!(rig.calls_but(IDLE).await?["RetrievePropertiesEx"], 31 + 2);
    Ok(())
}

/// Else one machine would keep the deletions and repairs of all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_cannot_be_read_keeps_no_other() -> Result<()> {
    let read = "RetrievePropertiesEx";
    let rig = Rig::with(Vcsim::builder(), |session, _| session.call_timeout = Duration::from_secs(2)).await?;
    let vm = |n: usize| MoRef::new("VirtualMachine", &format!("vm-9{n:03}"));
    let faults = [
        Fault::status(read, 504),
        Fault::cut_before(read),
        Fault::soap(read, "HostNotConnected"),
        Fault::soap(read, "NoPermission"),
        Fault::garbage(read),
        Fault::hang(read),
    ];
    let bad: Vec<_> = (0..faults.len()).map(vm).collect();
    let others: Vec<_> = (100..130).map(vm).collect();
    for (vm, fault) in bad.iter().zip(&faults) {
        rig.sim.fault(fault.clone().naming(vm.value()).until_cleared()).await?;
    }
    let mut changes = rig.vms.changes();
    for vm in bad.iter().chain(&others) {
        rig.vms.look_up(vm);
    }
    looked_up(&mut changes, &bad.iter().chain(&others).collect::<Vec<_>>()).await?;
    rig.vms.read(|inventory| {
        for (vm, fault) in bad.iter().zip(&faults) {
            match inventory.outside(vm) {
                Some(Outside::Elsewhere(vm)) => assert!(vm.markers.is_none(), "{fault:?}: {vm:?}"),
                other => panic!("{fault:?}: {other:?}"),
            }
        }
    });
    assert!(rig.vms.link().borrow().is_up());
    // The others were not kept until the last answer: some may have expired by now, and none is another one.
    let read = |vm: &MoRef| rig.vms.read(|inventory| inventory.outside(vm).cloned());
    assert!(others.iter().filter_map(read).all(|outside| outside == Outside::Gone));
    Ok(())
}

/// A vCenter shows nothing of a VM to an account without System.View on it.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_the_account_may_not_see_is_not_gone() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "a").await?;
    rig.vms.fresh().await?;
    let account = Account::new(rig.sim.user(), rig.sim.password()).hidden("/DC0/vm/vm-operator/f");
    rig.sim.set_account(&account).await?;
    rig.vms.fresh().await?;
    assert!(rig.vms.read(|inventory| inventory.vm(&vm).is_none()), "it is hidden");
    let mut changes = rig.vms.changes();
    rig.vms.look_up(&vm);
    looked_up(&mut changes, &[&vm]).await?;
    match rig.vms.read(|inventory| inventory.outside(&vm).cloned()) {
        Some(Outside::Elsewhere(vm)) => assert!(vm.markers.is_none(), "{vm:?}"),
        other => panic!("{other:?}"),
    }
    Ok(())
}

/// It counts for 30 s from its read on, however long the others of its look-up take.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_is_as_old_as_its_read() -> Result<()> {
    let rig = Rig::start().await?;
    let vm = rig.make(&rig.root()?, "a").await?;
    rig.vms.fresh().await?;
    let gone = MoRef::new("VirtualMachine", "vm-9999");
    // The call that reads both, and the one that asks whether the other exists.
    let slow = Fault::delay("RetrievePropertiesEx", Duration::from_secs(10)).naming(gone.value()).times(2);
    rig.sim.fault(slow).await?;
    let began = Instant::now();
    rig.vms.look_up(&gone);
    rig.vms.confirm(&vm);
    let confirmed = || rig.vms.read(|inventory| inventory.confirmed(&vm));
    eventually("a confirmation", SOON, async || Ok(confirmed().map(drop))).await?;
    assert!(began.elapsed() >= Duration::from_secs(20), "one of the calls was fast");
    eventually("the end of the confirmation", SOON, async || Ok(confirmed().is_none().then_some(()))).await?;
    assert!(began.elapsed() < Duration::from_secs(45), "it counts from its answer");
    Ok(())
}

/// One that is in the inventory, or comes into it, has no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_shown_is_not_outside() -> Result<()> {
    let rig = Rig::start().await?;
    let vm = rig.make(&rig.root()?, "a").await?;
    rig.vms.fresh().await?;
    let mut changes = rig.vms.changes();
    rig.vms.look_up(&vm);
    looked_up(&mut changes, &[&vm]).await?;
    rig.vms.read(|inventory| assert!(inventory.outside(&vm).is_none() && inventory.vm(&vm).is_some()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_outlives_the_link() -> Result<()> {
    let rig = Rig::start().await?;
    let [gone, other] = ["vm-9999", "vm-9998"].map(|vm| MoRef::new("VirtualMachine", vm));
    let mut changes = rig.vms.changes();
    rig.sim.fault(Fault::cut_before("RetrievePropertiesEx")).await?;
    rig.vms.look_up(&gone);
    looked_up(&mut changes, &[&gone]).await?;
    rig.sim.outage(Outage::Refuse).await?;
    down(&rig.vms).await?;
    rig.vms.look_up(&other);
    rig.sim.outage(Outage::None).await?;
    looked_up(&mut changes, &[&other]).await?;
    for vm in [&gone, &other] {
        assert_eq!(rig.vms.read(|inventory| inventory.outside(vm).cloned()), Some(Outside::Gone));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_scanned_for_once() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().templates(&["photon", "debian", "a/b"]), |_, _| {}).await?;
    let began = std::time::Instant::now();
    rig.sim.reset_calls().await?;
    let names = ["photon", "debian", "a/b", "/DC0/vm/debian", "photon", "DC0/vm/a%2fb"];
    let mut changes = rig.vms.changes();
    for name in names {
        rig.vms.request_template(name);
        assert!(matches!(rig.vms.template(name), Template::LookingUp), "{name}");
    }
    received(&mut changes, |change| matches!(change, Change::Templates).then_some(())).await?;
    let known = |name| match rig.vms.template(name) {
        Template::Known(moref) => Ok(moref),
        other => anyhow::bail!("{name}: {other:?}"),
    };
    let found = names.into_iter().map(known).collect::<Result<Vec<_>>>()?;
    assert_eq!((&found[0], &found[1], &found[2]), (&found[4], &found[3], &found[5]));
    let error = template(&rig.vms, "windows").await.unwrap_err();
    assert!(error.reason() == "TemplateNotFound" && error.to_string().contains("windows"), "{error}");
    // A scan is good for ten seconds.
    let scans = rig.calls_but(IDLE).await?.values().sum::<u64>();
    assert!(scans <= 1 + began.elapsed().as_secs() / 10, "{scans} in {:?}", began.elapsed());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_templates_are_found_by_name() -> Result<()> {
    let rig = Rig::start().await?;
    rig.sim.add_vm("/DC0/vm", "machine").await?;
    let error = template(&rig.vms, "machine").await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (Kind::NotFound, "TemplateNotFound"));
    assert!(error.to_string().contains("write its path: /DC0/vm/machine"), "{error}");
    let machine = template(&rig.vms, "/DC0/vm/machine").await?;
    let task = rig.vms.clone_vm(&spec(&machine, &rig.root()?, "copy")).await?;
    rig.ended(&task).await?.result.clone().context("a copy")?;

    rig.vms.forget_template("machine");
    let error = template(&rig.vms, "vm-operator/copy").await;
    assert!(error.is_ok(), "in the root folder: put there to be cloned");
    let folder = rig.vms.create_folder("f").await?;
    rig.make(&folder, "ours").await?;
    rig.vms.forget_template("machine");
    let error = template(&rig.vms, "vm-operator/f/ours").await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound, "what this client created is not cloned: {error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_was_replaced_is_found_again() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().templates(&["photon", "other"]), |_, _| {}).await?;
    let root = rig.root()?;
    let first = template(&rig.vms, "photon").await?;
    rig.sim.unregister_vm("/DC0/vm/photon").await?;
    assert!(matches!(rig.vms.template("photon"), Template::Known(_)), "the client cannot know");
    let error = rig.vms.clone_vm(&spec(&first, &root, "x")).await.unwrap_err();
    assert_eq!((error.kind(), error.object()), (Kind::NotFound, Some(&first)));
    let error = template(&rig.vms, "photon").await.unwrap_err();
    assert_eq!(error.reason(), "TemplateNotFound");
    rig.sim.rename_vm("/DC0/vm/other", "photon").await?;
    rig.vms.forget_template("photon");
    assert_ne!(template(&rig.vms, "photon").await?, first);
    Ok(())
}
