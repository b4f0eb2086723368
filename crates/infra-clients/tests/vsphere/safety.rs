//! What the client must never get wrong, whatever vCenter answers: one test for each promise.

use std::time::Duration;

use anyhow::{Context, Result};
use infra_clients::vsphere::Kind;
use infra_clients::vsphere::vms::{Change, Task};
use infra_clients::{Class, Failure};
use testbed::{Fault, Outage, Vcsim, eventually};

use crate::rig::{OWNER, Rig, SOON, spec, template};

/// HTTP 503 may come from a gateway after the vCenter began the work.
#[tokio::test(flavor = "multi_thread")]
async fn a_503_to_a_change_is_in_doubt_and_to_a_read_is_not() -> Result<()> {
    let rig = Rig::start().await?;
    let vm = rig.make(&rig.root()?, "a").await?;
    for fault in [Fault::status("PowerOffVM_Task", 503), Fault::status("CreateFolder", 503)] {
        rig.sim.fault(fault).await?;
    }
    let change = rig.vms.power_off(&vm).await.unwrap_err();
    assert_eq!((change.kind(), change.in_doubt(), change.class()), (Kind::Unavailable, true, Class::Retry));
    assert!(rig.vms.create_folder("f").await.unwrap_err().in_doubt());
    rig.vms.forget_template("debian");
    rig.sim.fault(Fault::status("RetrievePropertiesEx", 503)).await?;
    let read = template(&rig.vms, "debian").await.unwrap_err();
    assert_eq!((read.kind(), read.in_doubt()), (Kind::Unavailable, false), "{read}");
    Ok(())
}

/// A VM that vCenter says does not exist is removed from the inventory, though no update said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_does_not_exist_is_removed() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    for (i, fault) in [
        Fault::soap("PowerOffVM_Task", "ManagedObjectNotFound"),
        Fault::soap("PowerOnVM_Task", "ManagedObjectNotFound"),
        Fault::soap("Destroy_Task", "ManagedObjectNotFound"),
        Fault::soap("ReconfigVM_Task", "ManagedObjectNotFound"),
    ]
    .into_iter()
    .enumerate()
    {
        let vm = rig.make(&folder, &format!("vm-{i}")).await?;
        rig.vms.fresh().await?;
        assert!(rig.vms.read(|inventory| inventory.vm(&vm).is_some()));
        let mut changes = rig.vms.changes();
        rig.sim.fault(fault).await?;
        let submitted = match i {
            0 => rig.vms.power_off(&vm).await,
            1 => rig.vms.power_on(&vm).await,
            2 => rig.vms.destroy(&vm).await,
            _ => rig.vms.set_extra_config(&vm, &[("guestinfo.a", "b")]).await,
        };
        let error = submitted.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(rig.vms.read(|inventory| inventory.vm(&vm).is_none()));
        let gone = async {
            while let Some(change) = changes.next().await {
                if matches!(&change, Change::Vm { before: Some(before), after: None } if before.moref == vm) {
                    return true;
                }
            }
            false
        };
        assert!(tokio::time::timeout(SOON, gone).await?, "it is reported");
    }
    let submitted = {
        rig.sim.fault(Fault::soap("Destroy_Task", "ManagedObjectNotFound")).await?;
        rig.vms.destroy(&folder).await
    };
    assert_eq!(submitted.unwrap_err().kind(), Kind::NotFound);
    assert!(rig.vms.read(|inventory| inventory.folder(&folder).is_none()), "so is a folder");
    Ok(())
}

/// The object a task works on, and who submitted it.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_carry_user_and_object() -> Result<()> {
    let rig = Rig::start().await?;
    let user = rig.vms.user().context("the account as the login names it")?;
    let photon = template(&rig.vms, "photon").await?;
    rig.sim.set_clone_time(Duration::from_mins(1)).await?;
    let task = rig.submit(&rig.root()?, "a").await?;
    let reported = eventually("the task to be reported", SOON, async || {
        let task = rig.vms.read(|inventory| inventory.task(&task).cloned());
        Ok(task.filter(|task| task.user.is_some()))
    });
    let Task { entity, description_id, user: submitter, .. } = &*reported.await?;
    assert_eq!(
        submitter.as_ref(),
        Some(&user),
        "vCenter writes accounts differently than `VC_USER` has them"
    );
    assert_eq!((entity.as_ref(), &**description_id), (Some(&photon), "VirtualMachine.clone"));
    Ok(())
}

/// Faults of this family come and go with hosts and datastores.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_config_fault_is_retried_within_minutes() -> Result<()> {
    let rig = Rig::start().await?;
    for fault in ["GenericVmConfigFault", "VmConfigFault", "VirtualHardwareCompatibilityIssue"] {
        rig.sim.fault(Fault::task("CloneVM_Task", fault)).await?;
        let task = rig.submit(&rig.root()?, "a").await?;
        let task = rig.ended(&task).await?;
        let error = task.error.as_ref().context("a fault")?;
        assert_eq!((error.fault(), error.class()), (Some(fault), Class::Retry));
    }
    Ok(())
}

/// Names and markers of any characters come back as they were sent.
#[tokio::test(flavor = "multi_thread")]
async fn text_of_any_characters_is_data() -> Result<()> {
    let rig = Rig::start().await?;
    let root = rig.root()?;
    let photon = template(&rig.vms, "photon").await?;
    let texts = ["é", "日本語", "a%2", "%é", "👩‍👩‍👧", "<&>\"'", "e\u{301}", "\u{202e}x", " x ", "%%2f%"];
    for text in texts {
        let name = format!("vm-{text}-x");
        let mut spec = spec(&photon, &root, &name);
        let markers = [(OWNER, text), ("vmgroup/日", "x")];
        spec.extra_config = &markers;
        let task = rig.vms.clone_vm(&spec).await?;
        let vm = rig.ended(&task).await?.result.clone().with_context(|| format!("no VM {name:?}"))?;
        rig.vms.fresh().await?;
        rig.vms.read(|inventory| {
            let vm = inventory.vm(&vm).cloned().unwrap();
            assert_eq!((&*vm.name, vm.marker(OWNER)), (&*name, Some(text)));
            assert_eq!(vm.marker("vmgroup/日"), Some("x"));
            assert_eq!(inventory.vms_marked(OWNER, text).count(), 1, "{text:?}");
            assert!(inventory.vm_named(&root, &name).is_some(), "{name:?}");
        });
    }
    Ok(())
}

/// A complete report in between finds what the collector lost. At rest it costs these calls and no change.
#[tokio::test(flavor = "multi_thread")]
async fn complete_reports_are_taken_and_are_cheap() -> Result<()> {
    let rig = Rig::with(Vcsim::builder(), |_, vms| {
        (vms.audit, vms.poll_wait) = (Duration::from_secs(2), Duration::from_secs(1));
    })
    .await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "a").await?;
    rig.vms.fresh().await?;
    rig.sim.reset_calls().await?;
    let changes = rig.vms.changes();
    let calls = eventually("three complete reports", SOON, async || {
        let calls = rig.calls_but(&[]).await?;
        Ok((calls.get("DestroyPropertyCollector") >= Some(&3)).then_some(calls))
    })
    .await?;
    let reports = calls["DestroyPropertyCollector"];
    println!("{reports} complete reports: {calls:?}");
    for (method, count) in &calls {
        match method.as_str() {
            // The read finds the root folder by its path again. The times of tasks are by the vCenter's clock.
            "CreatePropertyCollector"
            | "CurrentTime"
            | "DestroyPropertyCollector"
            | "CreateFilter"
            | "RetrievePropertiesEx" => {
                assert!(count.abs_diff(reports) <= 1, "{calls:?}");
            }
            "WaitForUpdatesEx" => {}
            other => panic!("{other} has nothing to do here: {calls:?}"),
        }
    }
    rig.vms.read(|inventory| assert!(inventory.is_synced() && inventory.vm(&vm).is_some()));
    let received = rig.received(changes).await?;
    assert!(
        received.iter().all(|change| matches!(change, Change::Task(_) | Change::Lost)),
        "nothing has changed: {received:?}"
    );
    assert_eq!(received.iter().filter(|change| matches!(change, Change::Lost)).count(), 1, "at the end");
    Ok(())
}

/// Whether a call was refused before it was sent, or its answer lost, shows in the error.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_sent_is_not_in_doubt() -> Result<()> {
    let rig = Rig::start().await?;
    let vm = rig.make(&rig.root()?, "a").await?;
    rig.sim.outage(Outage::Refuse).await?;
    let error = rig.vms.power_off(&vm).await.unwrap_err();
    assert_eq!((error.kind(), error.in_doubt()), (Kind::Unreachable, false), "{error}");
    Ok(())
}
