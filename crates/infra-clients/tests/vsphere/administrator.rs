//! What administrators and other clients do behind the client's back, and updates that a vCenter loses.

use std::time::Duration;

use anyhow::{Context, Result};
use infra_clients::vsphere::vms::{Change, Connection, Outside, TaskState};
use infra_clients::vsphere::{Kind, MoRef, PowerState};
use infra_clients::{Class, Failure};
use testbed::{Fault, Happened, NewVm, Vcsim, eventually};

use crate::rig::{IDLE, OWNER, Rig, SOON, spec, template};

const FOLDER: &str = "/DC0/vm/vm-operator/f";

/// A pool of the same name is found again, and the next clone works: no restart is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_resource_pool_needs_no_restart() -> Result<()> {
    let rig = Rig::with(Vcsim::builder().pools(&["team"]), |_, vms| {
        vms.resource_pool = Some("team".to_owned());
    })
    .await?;
    let root = rig.root()?;
    rig.make(&root, "before").await?;
    let photon = template(&rig.vms, "photon").await?;
    rig.sim.recreate_pool("team").await?;
    let error = match rig.vms.clone_vm(&spec(&photon, &root, "failed")).await {
        Err(error) => error,
        Ok(task) => {
            let task = rig.ended(&task).await?;
            task.error.clone().with_context(|| format!("no fault: {task:?}"))?
        }
    };
    assert_eq!((error.kind(), error.class()), (Kind::NotFound, Class::Retry), "{error}");
    assert_eq!(error.object().map(MoRef::kind), Some("ResourcePool"));
    rig.sim.reset_calls().await?;
    let task = rig.vms.clone_vm(&spec(&photon, &root, "after")).await?;
    assert_eq!(rig.ended(&task).await?.state, TaskState::Success);
    let calls = rig.calls_but(IDLE).await?;
    assert_eq!(calls, [("CloneVM_Task".to_owned(), 1), ("RetrievePropertiesEx".to_owned(), 1)].into());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_was_moved_out_is_found_and_comes_back() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "a").await?;
    rig.vms.fresh().await?;
    rig.sim.move_vm(&format!("{FOLDER}/a"), "/DC0/vm").await?;
    rig.vms.fresh().await?;
    assert!(rig.vms.read(|inventory| inventory.vm(&vm).is_none()));
    rig.vms.look_up(&vm);
    let found = eventually("the answer", SOON, async || {
        Ok(rig.vms.read(|inventory| inventory.outside(&vm).cloned()))
    })
    .await?;
    let Outside::Elsewhere(found) = found else { anyhow::bail!("{found:?}") };
    assert_eq!((&*found.name, found.power), ("a", Some(PowerState::On)));
    assert_eq!(found.marker(OWNER), Some("a<b&c é"));
    rig.sim.move_vm("/DC0/vm/a", FOLDER).await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert!(inventory.vm(&vm).is_some() && inventory.outside(&vm).is_none());
    });
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_edited_markers_are_shown() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "a").await?;
    rig.sim.copy_vm(&format!("{FOLDER}/a"), FOLDER, "copy").await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert_eq!(inventory.vms_marked(OWNER, "a<b&c é").count(), 2, "a copy has the markers");
        let copy = inventory.vm_named(&folder, "copy").unwrap();
        assert_ne!(copy.instance_uuid, inventory.vm(&vm).unwrap().instance_uuid);
    });
    rig.sim.set_extra_config(&format!("{FOLDER}/copy"), OWNER, Some("日本")).await?;
    rig.sim.set_extra_config(&format!("{FOLDER}/a"), OWNER, None).await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        assert_eq!(inventory.vms_marked(OWNER, "a<b&c é").count(), 0);
        assert_eq!(inventory.vms_marked(OWNER, "日本").count(), 1);
        assert_eq!(inventory.vm(&vm).unwrap().marker(OWNER), None);
    });
    Ok(())
}

/// Of a VM whose host is away vCenter has no markers, which is not the same as none.
#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_cannot_be_read_has_unknown_markers() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let vm = rig.make(&folder, "a").await?;
    rig.vms.fresh().await?;
    let path = format!("{FOLDER}/a");
    rig.sim.set_connection(&path, testbed::Connection::Disconnected, false).await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        let vm = inventory.vm(&vm).unwrap();
        assert_eq!((vm.connection, &vm.markers), (Some(Connection::Disconnected), &None));
        assert_eq!(inventory.vms_marked(OWNER, "a<b&c é").count(), 0);
    });
    rig.sim.set_connection(&path, testbed::Connection::Connected, true).await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| assert_eq!(inventory.vm(&vm).unwrap().marker(OWNER), Some("a<b&c é")));
    Ok(())
}

/// A VM that comes into a folder while it is being removed is taken out of the inventory and keeps its files.
#[tokio::test(flavor = "multi_thread")]
async fn removing_a_folder_destroys_no_machine() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    let remove = "UnregisterAndDestroy_Task";
    rig.sim.fault(Fault::delay(remove, Duration::from_secs(1))).await?;
    let comes = async {
        let called = async || Ok(rig.sim.calls().await?.contains_key(remove).then_some(()));
        eventually("the call is there", SOON, called).await?;
        rig.sim.add_vm(FOLDER, "foreign").await
    };
    let (task, ()) = tokio::try_join!(async { Ok(rig.vms.remove_folder(&folder).await?) }, comes)?;
    assert_eq!(rig.ended(&task).await?.state, TaskState::Success);
    rig.vms.fresh().await?;
    assert!(rig.vms.read(|inventory| inventory.folder(&folder).is_none()));
    let removed = rig.sim.removed_vms().await?;
    assert_eq!(removed.len(), 1);
    assert_eq!(removed[0].what, Happened::Unregistered);
    Ok(())
}

/// A folder that is empty only because an update was lost is not removed.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_empty_is_not_removed() -> Result<()> {
    let rig = Rig::start().await?;
    let folder = rig.vms.create_folder("f").await?;
    rig.sim.lose_updates(FOLDER).await?;
    rig.sim.add_vm(FOLDER, "foreign").await?;
    let error = rig.vms.remove_folder(&folder).await.unwrap_err();
    assert!(error.kind() == Kind::Busy && error.to_string().contains("holds 1 objects"), "{error}");
    assert!(!rig.sim.calls().await?.contains_key("UnregisterAndDestroy_Task"));
    // The inventory is read again.
    eventually("it shows the machine", SOON, async || {
        Ok(rig.vms.read(|inventory| inventory.folder(&folder).is_some_and(|f| f.children == 1)).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_another_account_carries_its_name() -> Result<()> {
    let rig = Rig::start().await?;
    let photon = template(&rig.vms, "photon").await?;
    assert_ne!(rig.session.user().as_deref(), Some(rig.sim.user()), "the name that the vCenter uses");
    let (user, time) = ("CORP\\alice", Duration::from_mins(1));
    rig.sim.start_clone("/DC0/vm/photon", "/DC0/vm", "hers", user, time).await?;
    rig.submit(&rig.root()?, "ours").await?;
    rig.vms.fresh().await?;
    rig.vms.read(|inventory| {
        let tasks: Vec<_> = inventory.tasks().filter(|task| task.entity.as_ref() == Some(&photon)).collect();
        let ours = rig.session.user();
        assert!(tasks.iter().any(|task| task.user.as_deref() == Some("CORP\\alice")), "{tasks:?}");
        assert!(tasks.iter().any(|task| task.user == ours), "{tasks:?}");
    });
    Ok(())
}

/// The removal of a machine whose update was lost: a call on it says so, and so does the next complete report.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_update_is_found() -> Result<()> {
    let rig = Rig::with(Vcsim::builder(), |_, vms| {
        (vms.audit, vms.poll_wait) = (Duration::from_secs(5), Duration::from_secs(1));
    })
    .await?;
    let folder = rig.vms.create_folder("f").await?;
    let [called, reported, switched] = [
        rig.make(&folder, "called").await?,
        rig.make(&folder, "reported").await?,
        rig.make(&folder, "switched").await?,
    ];
    rig.vms.fresh().await?;
    let changes = rig.vms.changes();
    for name in ["called", "reported", "switched"] {
        rig.sim.lose_updates(&format!("{FOLDER}/{name}")).await?;
    }
    rig.sim.power_off(&format!("{FOLDER}/switched")).await?;
    for name in ["called", "reported"] {
        rig.sim.unregister_vm(&format!("{FOLDER}/{name}")).await?;
    }
    let error = rig.vms.power_off(&called).await.unwrap_err();
    assert_eq!((error.kind(), error.object()), (Kind::NotFound, Some(&called)));
    assert!(rig.vms.read(|inventory| inventory.vm(&called).is_none()), "the call's answer is believed");
    eventually("the complete report", SOON, async || {
        let found = rig.vms.read(|inventory| {
            inventory.vm(&reported).is_none()
                && inventory.vm(&switched).is_some_and(|vm| vm.power == Some(PowerState::Off))
        });
        Ok(found.then_some(()))
    })
    .await?;
    let received = rig.received(changes).await?;
    let gone = |vm: &MoRef| {
        let is = |change: &&Change| matches!(change, Change::Vm { before: Some(before), after: None } if before.moref == *vm);
        received.iter().filter(is).count()
    };
    assert_eq!((gone(&called), gone(&reported), gone(&switched)), (1, 1, 0), "{received:?}");
    assert_eq!(
        received.iter().filter(|change| matches!(change, Change::Lost)).count(),
        1,
        "only when it was closed: the inventory is current all the time"
    );
    Ok(())
}

/// Nonsense in an answer with status 200: what it was about is in doubt if it was a change, and nothing panics.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_in_an_answer_is_a_protocol_error() -> Result<()> {
    let rig = Rig::start().await?;
    let root = rig.root()?;
    let vm = rig.make(&root, "a").await?;
    let photon = template(&rig.vms, "photon").await?;
    for fault in [Fault::garbage, Fault::truncate] {
        for method in ["CloneVM_Task", "PowerOffVM_Task", "CreateFolder", "Destroy_Task"] {
            rig.sim.fault(fault(method)).await?;
            let error = match method {
                "CloneVM_Task" => rig.vms.clone_vm(&spec(&photon, &root, "b")).await,
                "PowerOffVM_Task" => rig.vms.power_off(&vm).await,
                "CreateFolder" => rig.vms.create_folder("f").await,
                _ => rig.vms.destroy(&vm).await,
            }
            .unwrap_err();
            assert_eq!(
                (error.kind(), error.in_doubt(), error.class(), error.method()),
                (Kind::Protocol, true, Class::Retry, Some(method)),
                "{error}"
            );
        }
        rig.vms.forget_template("photon");
        rig.sim.fault(fault("RetrievePropertiesEx")).await?;
        let error = template(&rig.vms, "photon").await.unwrap_err();
        assert_eq!((error.kind(), error.in_doubt()), (Kind::Protocol, false), "{error}");

        // The link comes up again, and the inventory is complete.
        for method in ["WaitForUpdatesEx", "CreatePropertyCollector", "CreateFilter"] {
            rig.sim.fault(fault(method)).await?;
        }
        eventually("the faults to be used up", SOON, async || {
            // Interrupts the poll in flight, which the faults do not hit.
            let _ = rig.vms.request_refresh();
            Ok((rig.sim.pending_faults().await? == 0).then_some(()))
        })
        .await?;
        eventually("a refresh", SOON, async || Ok(rig.vms.fresh().await.ok())).await?;
        assert!(rig.vms.read(|inventory| inventory.is_synced() && inventory.root_folder() == Some(&root)));
    }
    Ok(())
}

/// A server that answers nonsense from the start is reported, and is not a vCenter.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_vcenter_is_reported() -> Result<()> {
    let sim = Vcsim::start().await?;
    sim.fault(Fault::garbage("RetrieveServiceContent").until_cleared()).await?;
    let (_session, vms) = crate::rig::start(&sim, |_, _| {})?;
    let error = crate::rig::down(&vms).await?;
    assert_eq!((error.kind(), error.in_doubt()), (Kind::Protocol, false), "{error}");
    sim.clear_faults().await?;
    crate::rig::up(&vms).await
}

/// Machines with large advanced parameters are read a few at a time.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_is_read_in_smaller_pages() -> Result<()> {
    let sim = Vcsim::builder().start().await?;
    let vms: Vec<_> =
        (0..90).map(|i| NewVm::new(&format!("vm-{i}")).marker(OWNER, &"x".repeat(20_000))).collect();
    sim.add_vms("/DC0/vm/vm-operator", &vms).await?;
    let (_session, vms) = crate::rig::start(&sim, |config, _| config.max_answer = 300_000)?;
    crate::rig::up(&vms).await?;
    assert_eq!(vms.read(|inventory| inventory.vms().count()), 90);
    Ok(())
}

/// Ten thousand machines are read in time that grows with their number, and one change among them costs one poll.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_machines() -> Result<()> {
    let sim = Vcsim::builder().start().await?;
    for group in 0..10 {
        sim.add_folder("/DC0/vm/vm-operator", &format!("g{group}")).await?;
        let vms: Vec<NewVm> = (0..1000)
            .map(|i| {
                NewVm::new(&format!("vm-{group}-{i}"))
                    .marker(OWNER, &format!("owner of {group} {i}"))
                    .marker("vmgroup/revision", "r1")
            })
            .collect();
        sim.add_vms(&format!("/DC0/vm/vm-operator/g{group}"), &vms).await?;
    }
    sim.reset_calls().await?;
    let began = std::time::Instant::now();
    let (_session, vms) = crate::rig::start(&sim, |_, _| {})?;
    crate::rig::up(&vms).await?;
    println!("10,000 machines read in {:?}: {:?}", began.elapsed(), sim.calls().await?);
    assert_eq!(vms.read(|inventory| inventory.vms().count()), 10_000);
    let began = std::time::Instant::now();
    sim.reset_calls().await?;
    sim.power_off("/DC0/vm/vm-operator/g3/vm-3-7").await?;
    vms.fresh().await?;
    println!("one change among them in {:?}: {:?}", began.elapsed(), sim.calls().await?);
    vms.read(|inventory| {
        let vm = inventory.vms_marked(OWNER, "owner of 3 7").next().unwrap();
        assert_eq!(vm.power, Some(PowerState::Off));
    });
    Ok(())
}
