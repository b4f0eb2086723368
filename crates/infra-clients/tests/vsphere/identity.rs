//! Which vCenter it is, and whether the root folder is the one that it was.

use std::time::Duration;

use anyhow::Result;
use infra_clients::Failure as _;
use infra_clients::vsphere::vms::{Link, Recorded, RecordedVm, Vms};
use infra_clients::vsphere::{Error, Kind, MoRef};
use testbed::{Account, Connection, Fault, Vcsim, eventually};

use crate::rig::{OWNER, Rig, SOON, start, up};

const FOLDER: &str = "/DC0/vm/vm-operator";

/// Waits until the link is down for a reason of this kind.
async fn down_for(vms: &Vms, kind: Kind) -> Result<Error> {
    eventually(&format!("down for {kind:?}"), SOON, async || {
        Ok(match vms.link().borrow().clone() {
            Link::Down(error) if error.kind() == kind => Some(error),
            _ => None,
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_vcenter_at_the_same_address_is_not_used() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().instance_uuid("the-first"), |_, _| {}).await?;
    assert_eq!(
        rig.vms.read(|inventory| inventory.vcenter().map(str::to_owned)).as_deref(),
        Some("the-first")
    );
    let root = rig.root()?;
    rig.sim.become_another("the-second").await?;
    let logins = rig.sim.sessions().await?.logins;
    let error = rig.vms.destroy(&root).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AnotherVCenter, "{error}");
    let error = down_for(&rig.vms, Kind::AnotherVCenter).await?;
    assert!(error.to_string().contains("the-first") && error.to_string().contains("the-second"), "{error}");
    assert_eq!(rig.sim.sessions().await?.logins, logins, "no password is sent to it");
    assert!(rig.sim.folders().await?.contains(&FOLDER.to_owned()));
    rig.sim.become_another("the-first").await?;
    up(&rig.vms).await
}

/// The address leads to another vCenter while the password is on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_another_vcenter_is_given_up() -> Result<()> {
    let sim = Vcsim::builder().instance_uuid("the-first").root_folder(false).start().await?;
    sim.fault(Fault::hang("Login")).await?;
    let (_session, vms) = start(&sim, |_, _| {})?;
    eventually("a login on its way", SOON, async || {
        Ok(sim.calls().await?.contains_key("Login").then_some(()))
    })
    .await?;
    sim.become_another("the-second").await?;
    sim.clear_faults().await?;
    down_for(&vms, Kind::AnotherVCenter).await?;
    assert_eq!((sim.sessions().await?.logins, sim.calls().await?["Logout"]), (1, 1));
    assert!(!sim.folders().await?.contains(&FOLDER.to_owned()), "nothing is made there");
    Ok(())
}

/// Any reference might be one of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_names_no_instance_uuid_is_not_used() -> Result<()> {
    let sim = Vcsim::start().await?;
    sim.become_another("").await?;
    let (_session, vms) = start(&sim, |_, _| {})?;
    down_for(&vms, Kind::Protocol).await?;
    assert_eq!(sim.sessions().await?.logins, 0);
    Ok(())
}

/// No password is blamed, and no login is held back, for a call that is not the login.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_before_the_login_is_no_refused_login() -> Result<()> {
    let sim = Vcsim::start().await?;
    sim.fault(Fault::soap("RetrieveServiceContent", "NoPermission")).await?;
    let (_session, vms) = start(&sim, |_, _| {})?;
    let error = down_for(&vms, Kind::Forbidden).await?;
    assert_eq!((error.retry_after(), sim.sessions().await?.logins), (None, 0), "{error}");
    Ok(())
}

/// A restarted vCenter, or one that was restored from its backup, has the same instanceUuid.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_vcenter_without_its_sessions_is_used() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().instance_uuid("the-first"), |_, _| {}).await?;
    rig.sim.become_another("the-first").await?;
    eventually("a folder is made", SOON, async || match rig.vms.create_folder("f").await {
        Err(error) if error.is_unsent() => Ok(None),
        made => Ok(Some(made?)),
    })
    .await?;
    Ok(())
}

/// Records a VM that [`Rig::make`] has made, or one of others.
fn recorded(vm: MoRef) -> Recorded {
    record(vec![made(vm)])
}

/// Records a VM that [`Rig::make`] has made.
fn made(moref: MoRef) -> RecordedVm {
    RecordedVm { moref, vcenter: None, marker: (OWNER, "a<b&c é".to_owned()) }
}

fn record(vms: Vec<RecordedVm>) -> Recorded {
    Recorded::new(move || {
        let vms = vms.clone();
        async move { Ok(vms) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_folder_that_was_renamed_is_not_created() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "web-0").await?;
    let (_session, vms) = start(&rig.sim, |_, vms| {
        (vms.audit, vms.poll_wait) = (Duration::from_secs(1), Duration::from_secs(1));
        vms.recorded = Some(recorded(vm.clone()));
    })?;
    up(&vms).await?;
    // It has no record, and would create the folder again.
    rig.vms.close().await;
    rig.sim.rename_folder(FOLDER, "archive").await?;
    // One that runs finds it out as one that starts does.
    let (_other, starting) = start(&rig.sim, |_, vms| vms.recorded = Some(recorded(vm)))?;
    for vms in [&vms, &starting] {
        let error = down_for(vms, Kind::RootFolderMoved).await?;
        assert!(error.to_string().contains("are in archive, such as archive/f/web-0"), "{error}");
    }
    assert!(!rig.sim.folders().await?.contains(&FOLDER.to_owned()));
    rig.sim.rename_folder("/DC0/vm/archive", "vm-operator").await?;
    up(&vms).await?;
    up(&starting).await
}

/// It was moved into one that the account may not see, or its datacenter is hidden.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_folder_that_is_hidden_is_not_created() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "web-0").await?;
    let (_session, vms) = start(&rig.sim, |_, vms| {
        (vms.audit, vms.poll_wait) = (Duration::from_secs(1), Duration::from_secs(1));
        vms.recorded = Some(recorded(vm.clone()));
    })?;
    up(&vms).await?;
    // It has no record, and would create the folder again.
    rig.vms.close().await;
    rig.sim.add_datacenter("DC-new").await?;
    let account = || Account::new(rig.sim.user(), rig.sim.password());
    rig.sim.set_account(&account().hidden("/DC0")).await?;
    let error = down_for(&vms, Kind::Forbidden).await?;
    assert!(error.to_string().contains("datacenter \"DC0\" any more"), "{error}");
    rig.sim.set_account(&account()).await?;
    rig.sim.add_folder("/DC0/vm", "attic").await?;
    rig.sim.move_folder(FOLDER, "/DC0/vm/attic").await?;
    rig.sim.set_account(&account().hidden("/DC0/vm/attic")).await?;
    let (_other, starting) = start(&rig.sim, |_, vms| {
        (vms.datacenter, vms.recorded) = (Some("DC0".to_owned()), Some(recorded(vm.clone())));
    })?;
    let error = down_for(&starting, Kind::Forbidden).await?;
    assert!(error.to_string().contains(&vm.to_string()), "{error}");
    let folders = rig.sim.folders().await?;
    let of_root = |path: &&String| path.ends_with("/vm-operator");
    assert_eq!(folders.iter().filter(of_root).collect::<Vec<_>>(), ["/DC0/vm/attic/vm-operator"]);
    rig.sim.set_account(&account()).await?;
    rig.sim.move_folder("/DC0/vm/attic/vm-operator", "/DC0/vm").await?;
    for vms in [&vms, &starting] {
        up(vms).await?;
        assert!(vms.read(|inventory| inventory.vm(&vm).is_some()));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_folder_is_created_where_no_recorded_vm_is_left() -> Result<()> {
    let rig = Rig::start().await?;
    rig.sim.add_vm("/DC0/vm", "unmarked").await?;
    let unmarked = rig.sim.vms().await?.into_iter().find(|vm| vm.name == "unmarked").unwrap();
    let folder = rig.vms.create_folder("f").await?;
    let marked = rig.make(&folder, "web-0").await?;
    rig.sim.rename_folder(FOLDER, "archive").await?;
    let vm = |moref: &str| made(MoRef::new("VirtualMachine", moref));
    for (situation, vm) in [
        ("gone", vm("vm-gone")),
        ("unmarked", vm(&unmarked.moref)),
        ("of another owner", RecordedVm { marker: (OWNER, "another".to_owned()), ..vm(marked.value()) }),
        ("of another vCenter", RecordedVm { vcenter: Some("another".to_owned()), ..vm(marked.value()) }),
    ] {
        let (_session, vms) = start(&rig.sim, |_, vms| vms.recorded = Some(record(vec![vm])))?;
        up(&vms).await?;
        assert!(rig.sim.folders().await?.contains(&FOLDER.to_owned()), "{situation}");
        rig.sim.rename_folder(FOLDER, &format!("archive {situation}")).await?;
    }
    Ok(())
}

/// An administrator took one out of the root folder before it was renamed.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_folder_is_found_by_a_vm_that_is_still_in_it() -> Result<()> {
    let rig = Rig::start().await?;
    rig.sim.add_folder("/DC0/vm", "attic").await?;
    let mut vms = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let folder = rig.vms.create_folder(name).await?;
        vms.push(made(rig.make(&folder, "web-0").await?));
        if name != "c" {
            rig.sim.move_vm(&format!("{FOLDER}/{name}/web-0"), "/DC0/vm/attic").await?;
            rig.sim.rename_vm("/DC0/vm/attic/web-0", name).await?;
        }
    }
    // It has no record, and would create the folder again.
    rig.vms.close().await;
    rig.sim.rename_folder(FOLDER, "archive").await?;
    let (_session, vms) = start(&rig.sim, |_, config| config.recorded = Some(record(vms)))?;
    let error = down_for(&vms, Kind::RootFolderMoved).await?;
    assert!(error.to_string().contains("are in archive, such as archive/c/web-0"), "{error}");
    Ok(())
}

/// It may have its marker.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_vm_that_cannot_be_read_counts() -> Result<()> {
    let rig = Rig::start().await?;
    let vm = rig.make(&rig.root()?, "web-0").await?;
    // It has no record, and would create the folder again.
    rig.vms.close().await;
    rig.sim.rename_folder(FOLDER, "archive").await?;
    rig.sim.set_connection("/DC0/vm/archive/web-0", Connection::Disconnected, false).await?;
    let (_session, vms) = start(&rig.sim, |_, vms| vms.recorded = Some(recorded(vm)))?;
    down_for(&vms, Kind::RootFolderMoved).await?;
    Ok(())
}

/// What is about to be destroyed is a VM: the update that it became a template may have been lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_became_a_template_is_not_confirmed() -> Result<()> {
    let rig = Rig::start().await?;
    let vm = rig.make(&rig.root()?, "web-0").await?;
    let path = format!("{FOLDER}/web-0");
    rig.sim.power_off(&path).await?;
    rig.vms.fresh().await?;
    rig.sim.lose_updates(&path).await?;
    rig.sim.set_template(&path, true).await?;
    rig.vms.confirm(&vm);
    eventually("the template to be seen", SOON, async || {
        Ok(rig.vms.read(|inventory| inventory.vm(&vm).is_some_and(|vm| vm.template)).then_some(()))
    })
    .await?;
    Ok(())
}
