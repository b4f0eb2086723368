//! What vSphere's cloud controller manager and CSI driver need of a vCenter, over the wire.

use testbed::{Account, Guest, NewVm, Vcsim};

use crate::{FOLDER, Sdk, logged_in, reference};

const UUID: &str = "4230c6a1-0000-4000-8000-00000000000a";

async fn find_by_uuid(sdk: &Sdk, datacenter: &str) -> Option<String> {
    let args = format!(
        r#"<datacenter type="Datacenter">{datacenter}</datacenter><uuid>{UUID}</uuid><vmSearch>true</vmSearch>"#
    );
    let (status, body) = sdk.call("FindByUuid", ("SearchIndex", "SearchIndex"), &args).await;
    assert_eq!(status, 200, "{body}");
    reference("VirtualMachine", &body)
}

#[tokio::test]
async fn a_node_is_found_by_its_uuid_in_its_datacenter() {
    let vcsim = Vcsim::builder().datacenters(2).start().await.unwrap();
    vcsim.add_vms(FOLDER, &[NewVm::new("one")]).await.unwrap();
    let path = format!("{FOLDER}/one");
    let guest = Guest::named("node-1")
        .uuid(UUID)
        .container_addresses(&["172.16.0.1"])
        .addresses(&["10.0.0.1", "fd00::1"]);
    vcsim.set_guest(&path, &guest).await.unwrap();
    let vm = vcsim.vms_in(FOLDER).await.unwrap().remove(0);
    assert_eq!((vm.uuid.as_str(), vm.host_name.as_str()), (UUID, "node-1"));
    assert_eq!(vm.addresses, ["172.16.0.1", "10.0.0.1", "fd00::1"]);

    let sdk = logged_in(&vcsim).await;
    let (here, elsewhere) = (sdk.find("Datacenter", "/DC0").await, sdk.find("Datacenter", "/DC1").await);
    assert_eq!(find_by_uuid(&sdk, &here).await, Some(vm.moref));
    assert_eq!(find_by_uuid(&sdk, &elsewhere).await, None);

    vcsim.set_guest(&path, &guest.tools_stopped()).await.unwrap();
    assert_eq!(vcsim.vms_in(FOLDER).await.unwrap()[0].addresses, [""; 0]);
    let error = vcsim.set_guest("/DC0/vm/none", &Guest::named("none")).await.unwrap_err();
    assert!(error.to_string().contains("no such object"), "{error}");
}

#[tokio::test]
async fn releases_tags_and_passwords_change() {
    let start = Vcsim::builder().release("8.0.3", "8.0.3.0", "24022515").hosts(3).datastores(2).start();
    let mut vcsim = start.await.unwrap();
    let sdk = logged_in(&vcsim).await;
    let about =
        async || sdk.call("RetrieveServiceContent", ("ServiceInstance", "ServiceInstance"), "").await.1;
    assert!(about().await.contains("<apiVersion>8.0.3.0</apiVersion>"));
    vcsim.set_release("9.0.0", "9.0.0.0", "24755230").await.unwrap();
    assert!(about().await.contains("<apiVersion>9.0.0.0</apiVersion>"));

    let store = sdk.find("Datastore", "/DC0/datastore/LocalDS_1").await;
    let access = sdk.properties(("Datastore", &store), &["summary.multipleHostAccess"]).await;
    assert!(access.contains(">true<"), "{access}");

    vcsim.attach_tag("k8s-zone", "zone-a", "/DC0/host/DC0_C0").await.unwrap();
    vcsim.attach_tag("k8s-zone", "zone-a", "/DC0/none").await.unwrap_err();

    let before = vcsim.password().to_owned();
    vcsim.set_password(r#" p"a\ss#;wörd"#).await.unwrap();
    assert_eq!(Sdk::new(&vcsim).login(vcsim.user(), &before).await.0, 500);
    logged_in(&vcsim).await;
}

#[tokio::test]
async fn two_vcenters_differ() {
    let (one, other) = tokio::join!(Vcsim::start(), Vcsim::start());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.host(), other.host());
    assert_ne!(one.thumbprint_sha256(), other.thumbprint_sha256());
    one.attach_tag("k8s-zone", "zone-a", "/DC0").await.unwrap();
    one.add_vm(FOLDER, "one").await.unwrap();
    assert!(other.vms_in(FOLDER).await.unwrap().is_empty());
    assert_eq!(Sdk::new(&other).login(one.user(), one.password()).await.0, 500);
}

#[tokio::test]
async fn an_account_that_does_not_see_a_node_finds_none() {
    let vcsim = Vcsim::start().await.unwrap();
    vcsim.add_vms(FOLDER, &[NewVm::new("one")]).await.unwrap();
    vcsim.set_guest(&format!("{FOLDER}/one"), &Guest::named("node-1").uuid(UUID)).await.unwrap();
    let blind = Account::new("cpi@vsphere.local", "secret");
    vcsim.set_account(&blind.clone().hidden(FOLDER)).await.unwrap();
    let (seeing, sdk) = (logged_in(&vcsim).await, Sdk::new(&vcsim));
    assert_eq!(sdk.login("cpi@vsphere.local", "secret").await.0, 200);
    let datacenter = sdk.find("Datacenter", "/DC0").await;
    assert!(find_by_uuid(&seeing, &datacenter).await.is_some());
    assert_eq!(find_by_uuid(&sdk, &datacenter).await, None);
    vcsim.set_account(&blind.clone()).await.unwrap();
    assert!(find_by_uuid(&sdk, &datacenter).await.is_some());
    vcsim.set_account(&blind.hidden("/DC0/vm/none")).await.unwrap_err();
}
