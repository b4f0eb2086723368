//! Objects in the shapes of several API versions.

use avi_simulator::Version;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::rig::{Rig, text, uuid};

const OLD: Version = Version(20, 1, 2);
const FIRST: Version = Version(20, 1, 3);

fn address(last: u8) -> Value {
    json!({"addr": format!("10.0.0.{last}"), "type": "V4"})
}

fn network(subnet: Value) -> Value {
    let mut subnet = subnet;
    subnet["prefix"] = json!({"ip_addr": address(0), "mask": 24});
    json!({"name": "n", "configured_subnets": [subnet]})
}

#[test]
fn networks_have_the_shape_of_the_version() {
    let mut rig = Rig::new();
    let old_range = json!({"begin": address(1), "end": address(9)});
    let new_range = json!({"range": old_range, "type": "STATIC_IPS_FOR_VIP_AND_SE"});
    let made =
        rig.as_version(OLD, |rig| rig.create("network", network(json!({"static_ranges": [old_range]}))));
    let subnet = &made["configured_subnets"][0];
    assert_eq!(
        (&subnet["static_ranges"], subnet.get("static_ip_ranges")),
        (&json!([old_range]), None),
        "the shape of the request"
    );
    let id = uuid(&made);
    let subnet = rig.get("network", &id, "").unwrap()["configured_subnets"][0].clone();
    assert_eq!(
        (&subnet["static_ip_ranges"], subnet.get("static_ranges")),
        (&json!([new_range]), None),
        "the newest shape"
    );
    let subnet =
        rig.as_version(FIRST, |rig| rig.get("network", &id, "")).unwrap()["configured_subnets"][0].clone();
    assert_eq!(
        subnet["static_ip_ranges"],
        json!([new_range]),
        "20.1.3 is the first version of the newest shape"
    );
    let more =
        network(json!({"static_ranges": [{"begin": address(20), "end": address(29)}]}))["configured_subnets"]
            .clone();
    let patched = rig
        .as_version(OLD, |rig| rig.patch("network", &id, json!({"add": {"configured_subnets": more}})))
        .unwrap();
    assert_eq!(patched["configured_subnets"].as_array().unwrap().len(), 2);
    let now = rig.list("network", "name=n")["results"][0]["configured_subnets"].clone();
    assert!(
        now.as_array()
            .unwrap()
            .iter()
            .all(|subnet| subnet["static_ip_ranges"].as_array().unwrap().len() == 1),
        "{now}"
    );
}

#[test]
fn ipam_profiles_have_the_shape_of_the_version() {
    let mut rig = Rig::new();
    let net = uuid(&rig.create("network", json!({"name": "n"})));
    let body = json!({"name": "i", "type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {"usable_network_refs": [format!("/api/network/{net}")]}});
    let made = rig.as_version(OLD, |rig| rig.create("ipamdnsproviderprofile", body));
    assert_eq!(made["internal_profile"]["usable_network_refs"].as_array().unwrap().len(), 1);
    let now = rig.get("ipamdnsproviderprofile", &uuid(&made), "include_name").unwrap();
    let nw_ref = text(&now["internal_profile"]["usable_networks"][0], "nw_ref");
    assert!(nw_ref.ends_with(&format!("/api/network/{net}#n")), "{nw_ref}");
    assert_eq!(now["internal_profile"]["ttl"], 30);
    assert_eq!(rig.delete("network", &net).unwrap_err().status, 403);
}

/// An old version has neither types of ranges nor labels, so a write must not change them.
#[test]
fn old_clients_preserve_fields_their_version_lacks() {
    let mut rig = Rig::new();
    let range =
        |begin, end, of: &str| json!({"range": {"begin": address(begin), "end": address(end)}, "type": of});
    let ranges = json!([range(1, 9, "STATIC_IPS_FOR_VIP"), range(20, 29, "STATIC_IPS_FOR_SE")]);
    let id = uuid(&rig.create("network", network(json!({"static_ip_ranges": ranges}))));
    let ranges_now =
        |rig: &Rig| rig.get("network", &id, "").unwrap()["configured_subnets"][0]["static_ip_ranges"].clone();
    rig.as_version(OLD, |rig| rig.patch("network", &id, json!({"add": {"description": "d"}}))).unwrap();
    assert_eq!(ranges_now(&rig), ranges, "a patch of another field");
    rig.as_version(OLD, |rig| {
        let mut read = rig.get("network", &id, "include_name").unwrap();
        read["configured_subnets"][0]["static_ranges"][1] = json!({"begin": address(40), "end": address(49)});
        read["configured_subnets"][0]["static_ranges"].as_array_mut().unwrap().reverse();
        rig.put("network", &id, read).unwrap();
    });
    assert_eq!(
        ranges_now(&rig),
        json!([range(40, 49, "STATIC_IPS_FOR_VIP_AND_SE"), range(1, 9, "STATIC_IPS_FOR_VIP")]),
        "an unchanged range keeps its type, a new one has the default"
    );
    let other = uuid(&rig.create("network", json!({"name": "o"})));
    let labels = json!([{"key": "k", "value": "v"}]);
    let profile = uuid(&rig.create("ipamdnsproviderprofile", json!({"name": "i", "type": "IPAMDNS_TYPE_INTERNAL",
        "internal_profile": {"usable_networks": [{"nw_ref": format!("/api/network/{id}"), "labels": labels}]}})));
    rig.as_version(OLD, |rig| {
        let mut read = rig.get("ipamdnsproviderprofile", &profile, "").unwrap();
        read["internal_profile"]["usable_network_refs"]
            .as_array_mut()
            .unwrap()
            .insert(0, json!(format!("/api/network/{other}")));
        rig.put("ipamdnsproviderprofile", &profile, read).unwrap();
    });
    let now = rig.get("ipamdnsproviderprofile", &profile, "").unwrap()["internal_profile"]["usable_networks"]
        .clone();
    assert_eq!((now[0].get("labels"), &now[1]["labels"]), (None, &labels), "{now}");
}

fn ranges() -> impl Strategy<Value = Vec<(u8, u8, usize)>> {
    prop::collection::vec((1..5_u8, 5..9_u8, 0..3_usize), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// A PUT or PATCH of a read object changes nothing, with any version.
    #[test]
    fn reading_and_writing_back_changes_nothing(
        subnets in prop::collection::vec((0..2_u8, ranges()), 0..4),
        labels in prop::collection::vec(0..3_u8, 0..4),
        version in prop::sample::select(vec![Version::UNSTATED, OLD, FIRST, Version(30, 2, 1)]),
    ) {
        const TYPES: [&str; 3] = ["STATIC_IPS_FOR_VIP_AND_SE", "STATIC_IPS_FOR_VIP", "STATIC_IPS_FOR_SE"];
        let mut rig = Rig::new();
        let range = |(begin, end, of): &(u8, u8, usize)| {
            json!({"range": {"begin": address(*begin), "end": address(*end)}, "type": TYPES[*of]})
        };
        let subnets: Vec<Value> = subnets.iter().map(|(mask, ranges)| {
            json!({"prefix": {"ip_addr": address(0), "mask": 24 + mask}, "static_ip_ranges": ranges.iter().map(range).collect::<Vec<_>>()})
        }).collect();
        let network = rig.create("network", json!({"name": "n", "configured_subnets": subnets}));
        let usable: Vec<Value> = labels.iter().map(|label| {
            json!({"nw_ref": network["url"], "labels": [{"key": "k", "value": label.to_string()}]})
        }).collect();
        let profile = rig.create("ipamdnsproviderprofile", json!({"name": "i", "type": "IPAMDNS_TYPE_INTERNAL",
            "internal_profile": {"usable_networks": usable}}));
        let before = rig.store.snapshot();
        for (kind, object) in [("network", &network), ("ipamdnsproviderprofile", &profile)] {
            rig.as_version(version, |rig| {
                let read = rig.get(kind, &uuid(object), "include_name").unwrap();
                rig.put(kind, &uuid(object), read.clone()).unwrap();
                rig.patch(kind, &uuid(object), json!({"replace": read})).unwrap();
            });
        }
        prop_assert!(rig.store.diff(&before).is_empty(), "{:?}", rig.store.diff(&before));
    }
}
