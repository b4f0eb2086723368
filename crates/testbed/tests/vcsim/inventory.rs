//! What administrators and other clients do to the inventory.

use std::collections::BTreeSet;
use std::time::Duration;

use testbed::{Connection, Happened, NewVm, SimVm, Vcsim, eventually};

use crate::{FOLDER, SOON, logged_in, reference};

async fn vm(vcsim: &Vcsim, path: &str) -> SimVm {
    vcsim.vms().await.unwrap().into_iter().find(|vm| vm.path == path).unwrap()
}

#[tokio::test]
async fn copy_has_the_markers_and_an_identity_of_its_own() {
    let vcsim = Vcsim::start().await.unwrap();
    vcsim.add_folder(FOLDER, "other").await.unwrap();
    vcsim.add_vm(FOLDER, "one").await.unwrap();
    let (one, other) = (format!("{FOLDER}/one"), format!("{FOLDER}/other"));
    vcsim.set_extra_config(&one, "infra.owner", Some("x")).await.unwrap();
    vcsim.power_on(&one).await.unwrap();

    vcsim.copy_vm(&one, &other, "copy").await.unwrap();
    let (one, copy) = (vm(&vcsim, &one).await, vm(&vcsim, &format!("{other}/copy")).await);
    assert_eq!(copy.extra_config["infra.owner"], "x");
    assert!(one.is_on() && !copy.is_on());
    assert!(copy.moref != one.moref && copy.instance_uuid != one.instance_uuid && copy.uuid != one.uuid);

    let error = vcsim.copy_vm(&one.path, &other, "copy").await.unwrap_err();
    assert!(error.to_string().contains("DuplicateName"), "{error}");
    vcsim.copy_vm("/DC0/vm/none", &other, "x").await.unwrap_err();
}

#[tokio::test]
async fn moved_machine_has_another_parent() {
    let vcsim = Vcsim::start().await.unwrap();
    vcsim.add_vm(FOLDER, "one").await.unwrap();
    let (inside, outside) = (format!("{FOLDER}/one"), "/DC0/vm/one");
    let moref = vm(&vcsim, &inside).await.moref;
    vcsim.move_vm(&inside, "/DC0/vm").await.unwrap();
    assert_eq!(vm(&vcsim, outside).await.moref, moref);
    vcsim.move_vm(outside, "/DC0/vm/none").await.unwrap_err();

    let sdk = logged_in(&vcsim).await;
    let parent = async || sdk.properties(("VirtualMachine", &moref), &["parent"]).await;
    let before = parent().await;
    vcsim.move_vm(outside, FOLDER).await.unwrap();
    assert_ne!(parent().await, before);
}

#[tokio::test]
async fn extra_config_takes_any_text() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.add_vm(FOLDER, "one").await.unwrap();
    let path = format!("{FOLDER}/one");
    let value = "ü🦀<&>\"\u{2028}\u{e000}";
    vcsim.set_extra_config(&path, "key ü", Some(value)).await.unwrap();
    let one = vm(&vcsim, &path).await;
    assert_eq!(one.extra_config["key ü"], value);
    let body = sdk.properties(("VirtualMachine", &one.moref), &["config.extraConfig"]).await;
    assert!(body.contains("<key>key ü</key>") && body.contains("ü🦀&lt;&amp;&gt;"), "{body}");

    vcsim.set_extra_config(&path, "key ü", None).await.unwrap();
    assert!(!vm(&vcsim, &path).await.extra_config.contains_key("key ü"));
    vcsim.set_extra_config("/DC0/vm/none", "a", None).await.unwrap_err();
}

#[tokio::test]
async fn machines_are_added_in_one_request() {
    let vcsim = Vcsim::start().await.unwrap();
    let uuid = "0d9bd1f2-0000-0000-0000-000000000001";
    let first = NewVm::new("a/1").instance_uuid(uuid).marker("infra.owner", "x").marker("infra.slot", "1");
    let second = NewVm::new("b").size(4, 2048).on(false);
    vcsim.add_vms(FOLDER, &[first.clone(), second]).await.unwrap();
    let vms = vcsim.vms_in(FOLDER).await.unwrap();
    let (one, two) = (&vms[0], &vms[1]);
    assert!(one.name == "a/1" && one.is_on() && one.instance_uuid == uuid, "{one:?}");
    assert_eq!(
        (one.extra_config["infra.owner"].as_str(), one.extra_config["infra.slot"].as_str()),
        ("x", "1")
    );
    assert!(
        !two.is_on() && (two.cpu, two.memory_mb) == (4, 2048) && !two.instance_uuid.is_empty(),
        "{two:?}"
    );
    let error = vcsim.add_vms(FOLDER, &[NewVm::new("c"), first]).await.unwrap_err();
    assert!(error.to_string().contains("DuplicateName"), "{error}");
    assert_eq!(vcsim.vms_in(FOLDER).await.unwrap().len(), 3);
}

#[tokio::test]
async fn original_group_is_as_the_original_operator_leaves_it() {
    let vcsim = Vcsim::start().await.unwrap();
    let names = vcsim.add_original_group("team", "web", 5, 2, 3072).await.unwrap();
    let folder = format!("{FOLDER}/team-web");
    let vms = vcsim.vms_in(&folder).await.unwrap();
    assert_eq!(vms.iter().map(|vm| vm.name.clone()).collect::<BTreeSet<_>>(), names.into_iter().collect());
    assert_eq!(vms.len(), 5);
    for vm in &vms {
        let suffix = vm.name.strip_prefix("web-replica-").unwrap();
        assert!(suffix.len() == 8 && suffix.bytes().all(|b| b.is_ascii_lowercase()), "{suffix}");
        assert!(vm.is_on() && (vm.cpu, vm.memory_mb) == (2, 3072), "{vm:?}");
        assert!(!vm.extra_config.keys().any(|key| key.contains("infra")), "{vm:?}");
    }
    vcsim.add_original_group("team", "web", 1, 1, 1024).await.unwrap_err();
}

#[tokio::test]
async fn clone_of_another_user_names_that_user() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    let started =
        vcsim.start_clone("/DC0/vm/photon", FOLDER, "theirs", r"CORP\alice", Duration::from_hours(1));
    started.await.unwrap();
    let tasks = sdk.properties(("TaskManager", "TaskManager"), &["recentTask"]).await;
    let task = &reference("Task", &tasks).unwrap();
    let paths = ["info.reason", "info.state", "info.descriptionId", "info.entity", "info.queueTime"];
    let info = sdk.properties(("Task", task), &paths).await;
    assert!(info.contains(r#":type="TaskReasonUser""#), "{info}");
    assert!(info.contains(r"<userName>CORP\alice</userName>"), "{info}");
    assert!(info.contains(">running<") && info.contains(">VirtualMachine.clone<"), "{info}");

    vcsim.start_clone("/DC0/vm/photon", FOLDER, "soon", r"CORP\alice", Duration::ZERO).await.unwrap();
    let appears = async || Ok(vcsim.vms_in(FOLDER).await?.pop());
    let vm = eventually("the clone is there", SOON, appears).await.unwrap();
    assert!(vm.name == "soon" && !vm.is_on(), "{vm:?}");
}

#[tokio::test]
async fn folder_is_destroyed_and_its_machines_only_unregistered() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.add_folder(FOLDER, "group").await.unwrap();
    let folder = format!("{FOLDER}/group");
    vcsim.add_vms(&folder, &[NewVm::new("on"), NewVm::new("off").on(false)]).await.unwrap();
    let moref = sdk.find("Folder", &folder).await;
    let destroy = async || sdk.call("UnregisterAndDestroy_Task", ("Folder", &moref), "").await;

    let refused = sdk.outcome(&destroy().await).await;
    assert!(refused.contains(r#":type="InvalidPowerState""#), "{refused}");
    vcsim.power_off(&format!("{folder}/on")).await.unwrap();
    sdk.outcome(&destroy().await).await;
    assert!(!vcsim.folders().await.unwrap().contains(&folder));
    let removed = vcsim.removed_vms().await.unwrap();
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert!(
        removed.iter().all(|vm| vm.what == Happened::Unregistered && vm.path.starts_with(&folder)),
        "{removed:?}"
    );
    let (status, body) = destroy().await;
    assert!(status == 500 && body.contains(r#"xsi:type="ManagedObjectNotFound""#), "{body}");
}

#[tokio::test]
async fn unregistered_machine_is_unknown_to_calls() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.add_vms(FOLDER, &[NewVm::new("one").marker("owner", "x")]).await.unwrap();
    let path = format!("{FOLDER}/one");
    let moref = vm(&vcsim, &path).await.moref;
    vcsim.unregister_vm(&path).await.unwrap();
    vcsim.unregister_vm(&path).await.unwrap_err();
    let history = vcsim.history().await.unwrap();
    let its = history.iter().filter(|event| event.moref == moref && event.extra_config["owner"] == "x");
    let events: Vec<_> = its.map(|event| (event.what, event.path.as_str())).collect();
    assert_eq!(
        events,
        [(Happened::Made, &*path), (Happened::PoweredOn, ""), (Happened::Unregistered, &*path)]
    );
    for method in ["PowerOffVM_Task", "Destroy_Task"] {
        let (status, body) = sdk.call(method, ("VirtualMachine", &moref), "").await;
        assert!(status == 500 && body.contains(r#"xsi:type="ManagedObjectNotFound""#), "{method}: {body}");
        assert!(body.contains(&moref), "{method}: {body}");
    }
}

#[tokio::test]
async fn recreated_pool_is_another_object() {
    let vcsim = Vcsim::builder().pools(&["team"]).start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    let pool = async || sdk.find("ResourcePool", "/DC0/host/DC0_C0/Resources/team").await;
    let (folder, template) =
        (sdk.find("Folder", FOLDER).await, sdk.find("VirtualMachine", "/DC0/vm/photon").await);
    let clone = async |name: &str, pool: &str| {
        let args = format!(
            r#"<folder type="Folder">{folder}</folder><name>{name}</name><spec><location>
               <pool type="ResourcePool">{pool}</pool></location><template>0</template><powerOn>0</powerOn></spec>"#
        );
        sdk.call("CloneVM_Task", ("VirtualMachine", &template), &args).await
    };
    let before = pool().await;
    sdk.outcome(&clone("one", &before).await).await;
    vcsim.recreate_pool("team").await.unwrap();
    assert_ne!(pool().await, before);

    let (status, body) = clone("two", &before).await;
    assert!(status == 500 && body.contains(r#"xsi:type="ManagedObjectNotFound""#), "{body}");
    assert!(body.contains(&format!(r#"<obj type="ResourcePool">{before}</obj>"#)), "{body}");
    sdk.outcome(&clone("two", &pool().await).await).await;
    assert_eq!(vcsim.vms_in(FOLDER).await.unwrap().len(), 2);
    let error = vcsim.recreate_pool("none").await.unwrap_err();
    assert!(error.to_string().contains("none"), "{error}");
}

#[tokio::test]
async fn config_of_a_machine_on_a_host_that_is_away_is_unset() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.add_vms(FOLDER, &[NewVm::new("one")]).await.unwrap();
    let path = format!("{FOLDER}/one");
    let moref = vm(&vcsim, &path).await.moref;
    let this = ("VirtualMachine", moref.as_str());
    let read =
        async || sdk.properties(this, &["name", "config.instanceUuid", "runtime.connectionState"]).await;
    for state in
        [Connection::Inaccessible, Connection::Orphaned, Connection::Invalid, Connection::Disconnected]
    {
        vcsim.set_connection(&path, state, true).await.unwrap();
        assert_eq!(vm(&vcsim, &path).await.connection, state);
    }
    let readable = read().await;
    assert!(readable.contains(">disconnected<") && readable.contains("config.instanceUuid"), "{readable}");

    vcsim.set_connection(&path, Connection::Disconnected, false).await.unwrap();
    let unreadable = read().await;
    assert!(unreadable.contains(">one<") && !unreadable.contains("config."), "{unreadable}");
    let (status, body) = sdk.call("PowerOffVM_Task", this, "").await;
    assert!(status == 500 && body.contains(r#"xsi:type="InvalidState""#), "{body}");

    vcsim.set_connection(&path, Connection::Connected, true).await.unwrap();
    assert!(read().await.contains("config.instanceUuid"));
    sdk.outcome(&sdk.call("PowerOffVM_Task", this, "").await).await;
    assert!(!vm(&vcsim, &path).await.is_on());
}

#[tokio::test]
async fn removed_machine_whose_updates_are_lost_is_still_shown() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.add_vms(FOLDER, &[NewVm::new("one"), NewVm::new("two")]).await.unwrap();
    let (one, two) = (format!("{FOLDER}/one"), format!("{FOLDER}/two"));
    let (lost, seen) = (vm(&vcsim, &one).await.moref, vm(&vcsim, &two).await.moref);
    let mut watch = sdk.watch(FOLDER).await;
    watch.until("both are shown", |shown| shown.contains(&lost) && shown.contains(&seen)).await;

    vcsim.lose_updates(&one).await.unwrap();
    vcsim.unregister_vm(&one).await.unwrap();
    vcsim.unregister_vm(&two).await.unwrap();
    watch.until("only the other has left", |shown| !shown.contains(&seen)).await;
    assert!(watch.shown.contains(&lost));
    for method in ["PowerOffVM_Task", "Destroy_Task"] {
        let (status, body) = sdk.call(method, ("VirtualMachine", &lost), "").await;
        assert!(status == 500 && body.contains(r#"xsi:type="ManagedObjectNotFound""#), "{method}: {body}");
    }
    vcsim.restore_updates().await.unwrap();
    watch.until("it leaves", |shown| !shown.contains(&lost)).await;
    vcsim.lose_updates(&one).await.unwrap_err();
}

#[tokio::test]
async fn moved_machine_leaves_the_view_and_comes_back() {
    let vcsim = Vcsim::start().await.unwrap();
    let sdk = logged_in(&vcsim).await;
    vcsim.add_vms(FOLDER, &[NewVm::new("one")]).await.unwrap();
    let path = format!("{FOLDER}/one");
    let moref = vm(&vcsim, &path).await.moref;
    let mut watch = sdk.watch(FOLDER).await;
    watch.until("it is shown", |shown| shown.contains(&moref)).await;
    vcsim.move_vm(&path, "/DC0/vm").await.unwrap();
    watch.until("it has left", BTreeSet::is_empty).await;
    vcsim.move_vm("/DC0/vm/one", FOLDER).await.unwrap();
    watch.until("it is back", |shown| shown.contains(&moref)).await;
}
