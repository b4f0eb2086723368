//! What administrators and other clients do to the inventory.

use testbed::{SimVm, Vcsim};

use crate::{FOLDER, logged_in};

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
