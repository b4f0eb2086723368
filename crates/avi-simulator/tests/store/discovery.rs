//! Discovery of port groups by a vCenter cloud.

use avi_simulator::store::PortGroup;
use serde_json::json;

use crate::rig::{Rig, text, uuid};

fn group(moid: &str, name: &str) -> PortGroup {
    PortGroup {
        moid: moid.into(),
        name: name.into(),
        dvs: true,
        hosts: vec!["host-1".into(), "host-2".into()],
    }
}

#[test]
fn port_groups_become_networks() {
    let mut rig = Rig::new();
    let cloud = uuid(&rig.create("cloud", json!({"name": "vc", "vtype": "CLOUD_VCENTER"})));
    let groups = [group("dvportgroup-81", "same"), group("82", "same"), group("network-7", "other")];
    let found = rig.store.discover("vc", &groups, 1).unwrap();
    assert_eq!(
        found,
        [format!("dvportgroup-81-{cloud}"), format!("dvportgroup-82-{cloud}"), format!("network-7-{cloud}")]
    );
    assert_eq!(
        rig.list("network", "name=same&cloud_ref.name=vc")["count"],
        2,
        "names of networks need not be unique"
    );
    let network = rig.get("network", &found[0], "include_name").unwrap();
    assert!(text(&network, "vimgrnw_ref").ends_with(&format!("/api/vimgrnwruntime/{}#same", found[0])));
    assert!(text(&network, "vrf_context_ref").ends_with("#global"));
    let runtime = rig.get("vimgrnwruntime", &found[0], "").unwrap();
    assert_eq!(runtime["host_refs"].as_array().unwrap().len(), 2);
    assert_eq!(runtime["managed_object_id"], "dvportgroup-81");
    let before = rig.store.snapshot();
    rig.store.discover(&cloud, &groups, 2).unwrap();
    assert!(rig.store.diff(&before).is_empty(), "a second discovery changes nothing");
    assert_eq!(
        rig.get("network", &found[0], "include_name").unwrap(),
        network,
        "_last_modified does not change"
    );
}

#[test]
fn a_network_in_use_survives_its_port_group() {
    let mut rig = Rig::new();
    let cloud = uuid(&rig.create("cloud", json!({"name": "vc", "vtype": "CLOUD_VCENTER"})));
    let found = rig
        .store
        .discover("vc", &[group("1", "plain"), group("2", "configured"), group("3", "used")], 1)
        .unwrap();
    let subnet = json!([{"prefix": {"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24}}]);
    rig.patch("network", &found[1], json!({"add": {"configured_subnets": subnet}})).unwrap();
    let profile = rig.create(
        "ipamdnsproviderprofile",
        json!({"name": "i", "type": "IPAMDNS_TYPE_INTERNAL",
        "internal_profile": {"usable_networks": [{"nw_ref": format!("/api/network/{}", found[2])}]}}),
    );
    let left = rig.store.discover("vc", &[group("2", "renamed")], 2).unwrap();
    assert_eq!(left, [found[1].clone()]);
    assert_eq!(rig.names("network", "cloud_ref.name=vc&sort=name"), ["renamed", "used"]);
    assert!(rig.get("network", &found[1], "").unwrap().get("configured_subnets").is_some());
    assert!(rig.store.check().is_empty(), "{:?}", rig.store.check());
    assert_eq!(rig.delete("cloud", &cloud).unwrap_err().status, 403, "a profile uses a network of the cloud");
    rig.delete("ipamdnsproviderprofile", &uuid(&profile)).unwrap();
    rig.delete("cloud", &cloud).unwrap();
    assert_eq!(
        rig.list("vimgrnwruntime", "")["count"],
        0,
        "the discovered objects are deleted with the cloud"
    );
    assert_eq!(rig.list("vrfcontext", "name=global")["count"], 1);
    assert!(rig.store.check().is_empty(), "{:?}", rig.store.check());
}

#[test]
fn only_vcenter_clouds_discover() {
    let mut rig = Rig::new();
    assert_eq!(rig.store.discover("Default-Cloud", &[], 1).unwrap_err().status, 400);
    assert_eq!(rig.store.discover("none", &[], 1).unwrap_err().status, 404);
}

#[test]
fn a_network_without_subnets_is_removed_with_its_port_group() {
    let mut rig = Rig::new();
    rig.create("cloud", json!({"name": "vc", "vtype": "CLOUD_VCENTER"}));
    let found = rig.store.discover("vc", &[group("1", "one")], 1).unwrap();
    let subnets = json!({"configured_subnets": [{"prefix": {"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24}}]});
    rig.patch("network", &found[0], json!({"add": subnets})).unwrap();
    rig.patch("network", &found[0], json!({"delete": subnets})).unwrap();
    rig.store.discover("vc", &[], 2).unwrap();
    assert_eq!(rig.list("network", "cloud_ref.name=vc")["count"], 0);
}
