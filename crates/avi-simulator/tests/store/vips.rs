//! Allocation of the addresses of vsvips.

use serde_json::{Value, json};

use crate::rig::{Rig, text, uuid};

fn v4(addr: &str) -> Value {
    json!({"addr": addr, "type": "V4"})
}

fn subnet(network: &str, begin: &str, end: &str, of: &str) -> Value {
    json!({"prefix": {"ip_addr": v4(network), "mask": 24},
        "static_ip_ranges": [{"range": {"begin": v4(begin), "end": v4(end)}, "type": of}]})
}

/// Returns a rig with a cloud whose IPAM profile has the networks `one` (two addresses) and `two` (one).
fn with_addresses() -> Rig {
    let mut rig = Rig::new();
    rig.create(
        "network",
        json!({"name": "one", "configured_subnets": [
        subnet("10.0.9.0", "10.0.9.1", "10.0.9.99", "STATIC_IPS_FOR_SE"),
        subnet("10.0.0.0", "10.0.0.10", "10.0.0.11", "STATIC_IPS_FOR_VIP_AND_SE")]}),
    );
    let two = subnet("10.0.1.0", "10.0.1.10", "10.0.1.10", "STATIC_IPS_FOR_VIP");
    let v6 = |addr: &str| json!({"addr": addr, "type": "V6"});
    let six = json!({"prefix": {"ip_addr": v6("fd00::"), "mask": 64},
        "static_ip_ranges": [{"range": {"begin": v6("fd00::10"), "end": v6("fd00::11")}}]});
    rig.create("network", json!({"name": "two", "configured_subnets": [two, six]}));
    rig.create(
        "ipamdnsproviderprofile",
        json!({"name": "ipam", "type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {
        "usable_networks": [{"nw_ref": "/api/network?name=one"}, {"nw_ref": "/api/network?name=two"}]}}),
    );
    let cloud = rig.uuid_of("cloud", "Default-Cloud");
    rig.patch(
        "cloud",
        &cloud,
        json!({"add": {"ipam_provider_ref": "/api/ipamdnsproviderprofile?name=ipam"}}),
    )
    .unwrap();
    rig
}

fn automatic(name: &str) -> Value {
    json!({"name": name, "vip": [{"vip_id": "0", "auto_allocate_ip": true}]})
}

fn address(vsvip: &Value) -> &str {
    text(&vsvip["vip"][0]["ip_address"], "addr")
}

#[test]
fn addresses_are_allocated_in_order_kept_and_reused() {
    let mut rig = with_addresses();
    let made: Vec<Value> = ["a", "b", "c"].iter().map(|name| rig.create("vsvip", automatic(name))).collect();
    assert_eq!(made.iter().map(address).collect::<Vec<_>>(), ["10.0.0.10", "10.0.0.11", "10.0.1.10"]);
    let vip = &made[2]["vip"][0];
    assert!(text(&vip["ipam_network_subnet"], "network_ref").ends_with("#two"), "{vip}");
    assert_eq!(vip["ipam_network_subnet"]["subnet"]["mask"], 24);
    let error = rig.try_create("vsvip", automatic("d")).unwrap_err();
    assert_eq!((error.status, error.text()), (400, "No available free IPs"));
    rig.delete("vsvip", &uuid(&made[0])).unwrap();
    assert_eq!(address(&rig.create("vsvip", automatic("d"))), "10.0.0.10");
    let kept = rig.put("vsvip", &uuid(&made[1]), automatic("b")).unwrap();
    assert_eq!(address(&kept), "10.0.0.11", "a PUT without the address keeps it");
    let gone = rig.put("vsvip", &uuid(&made[1]), json!({"name": "b"})).unwrap();
    assert_eq!(gone["vip"], json!([]));
    assert_eq!(address(&rig.create("vsvip", automatic("e"))), "10.0.0.11");
    assert!(rig.store.check().is_empty(), "{:?}", rig.store.check());
}

#[test]
fn a_vip_may_set_its_network_subnet_and_address() {
    let mut rig = with_addresses();
    let place = |network: &str| json!({"network_ref": format!("/api/network/?name={network}")});
    let body = |name: &str, more: Value| {
        let mut body = automatic(name);
        body["vip"][0].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let named = rig.create("vsvip", body("n", json!({"ipam_network_subnet": place("two")})));
    assert_eq!(address(&named), "10.0.1.10");
    let mut elsewhere = place("one");
    elsewhere["subnet"] = json!({"ip_addr": v4("10.7.0.0"), "mask": 24});
    assert_eq!(
        rig.try_create("vsvip", body("s", json!({"ipam_network_subnet": elsewhere}))).unwrap_err().text(),
        "No available free IPs"
    );
    let mut here = place("one");
    here["subnet"] = json!({"ip_addr": v4("10.0.0.77"), "mask": 24});
    assert_eq!(address(&rig.create("vsvip", body("s", json!({"ipam_network_subnet": here})))), "10.0.0.10");
    let fixed = rig.create("vsvip", body("f", json!({"ip_address": v4("10.0.0.11")})));
    assert_eq!(address(&fixed), "10.0.0.11");
    let taken = rig.try_create("vsvip", body("g", json!({"ip_address": v4("10.0.0.11")}))).unwrap_err();
    assert!(taken.status == 400 && taken.text().contains("already in use"), "{taken:?}");
    assert_eq!(
        rig.try_create("vsvip", automatic("h")).unwrap_err().text(),
        "No available free IPs",
        "one by name, one by subnet, one fixed"
    );
    let moved =
        rig.put("vsvip", &uuid(&fixed), body("f", json!({"ip_address": v4("10.0.0.12")}))).unwrap_err();
    assert!(moved.text().contains("If a new preferred IP is needed, please recreate the VIP"), "{moved:?}");
    let renumbered = json!({"name": "f", "vip": [{"vip_id": "1", "auto_allocate_ip": true}]});
    let error = rig.put("vsvip", &uuid(&fixed), renumbered).unwrap_err();
    assert!(error.text().contains("Changing an existing VIP's vip_id is not supported"), "{error:?}");
    assert_eq!(
        rig.try_create("vsvip", body("w", json!({"ip_address": v4("fd00::1")}))).unwrap_err().status,
        400
    );
}

#[test]
fn both_families_are_allocated_from_one_network() {
    let mut rig = with_addresses();
    let body = |name: &str, of: &str| json!({"name": name, "vip": [{"vip_id": "0", "auto_allocate_ip": true, "auto_allocate_ip_type": of}]});
    let both = rig.create("vsvip", body("both", "V4_V6"));
    assert_eq!(
        (address(&both), text(&both["vip"][0]["ip6_address"], "addr")),
        ("10.0.1.10", "fd00::10"),
        "both from network two"
    );
    let six = rig.create("vsvip", body("six", "V6_ONLY"));
    assert_eq!(
        (six["vip"][0].get("ip_address"), text(&six["vip"][0]["ip6_address"], "addr")),
        (None, "fd00::11")
    );
    assert_eq!(rig.try_create("vsvip", body("more", "V4_V6")).unwrap_err().text(), "No available free IPs");
    rig.delete("vsvip", &uuid(&six)).unwrap();
    assert!(rig.try_create("vsvip", body("more", "V4_V6")).is_err(), "one family is not enough");
    let six = rig.create("vsvip", body("six", "V6_ONLY"));
    assert_eq!(text(&six["vip"][0]["ip6_address"], "addr"), "fd00::11", "the refused vsvip holds no address");
}

#[test]
fn without_ipam_no_address_is_allocated() {
    let mut rig = Rig::new();
    assert_eq!(rig.try_create("vsvip", automatic("a")).unwrap_err().text(), "No available free IPs");
    rig.create("vsvip", json!({"name": "static", "vip": [{"vip_id": "0", "ip_address": v4("192.0.2.1")}]}));
    let again = rig.try_create(
        "vsvip",
        json!({"name": "again", "vip": [{"vip_id": "0", "ip_address": v4("192.0.2.1")}]}),
    );
    assert!(again.unwrap_err().text().contains("already in use"));
}

#[test]
fn a_released_address_is_free_in_its_range_only() {
    let mut rig = Rig::new();
    let mut configured = subnet("10.0.0.0", "10.0.0.1", "10.0.0.2", "STATIC_IPS_FOR_VIP");
    let more =
        subnet("10.0.0.0", "10.0.0.50", "10.0.0.51", "STATIC_IPS_FOR_VIP")["static_ip_ranges"][0].clone();
    configured["static_ip_ranges"].as_array_mut().unwrap().push(more);
    rig.create("network", json!({"name": "n", "configured_subnets": [configured]}));
    let body = |name: &str| {
        let mut body = automatic(name);
        body["vip"][0]["ipam_network_subnet"] = json!({"network_ref": "/api/network?name=n"});
        body
    };
    let made: Vec<Value> = ["a", "b", "c"].iter().map(|name| rig.create("vsvip", body(name))).collect();
    rig.delete("vsvip", &uuid(&made[0])).unwrap();
    let rest: Vec<Value> = ["d", "e"].iter().map(|name| rig.create("vsvip", body(name))).collect();
    assert_eq!(rest.iter().map(address).collect::<Vec<_>>(), ["10.0.0.1", "10.0.0.51"]);
    assert_eq!(rig.try_create("vsvip", body("f")).unwrap_err().text(), "No available free IPs");
}

#[test]
fn a_thousand_addresses_are_reused_without_duplicates() {
    let mut rig = Rig::new();
    let range = subnet("10.1.0.0", "10.1.0.0", "10.1.3.231", "STATIC_IPS_FOR_VIP");
    rig.create("network", json!({"name": "n", "configured_subnets": [range]}));
    let body = |n: usize| {
        json!({"name": format!("v{n}"), "vip": [{"vip_id": "0", "auto_allocate_ip": true,
        "ipam_network_subnet": {"network_ref": "/api/network?name=n"}}]})
    };
    let mut made: Vec<Value> = (0..1000).map(|n| rig.create("vsvip", body(n))).collect();
    assert_eq!(rig.try_create("vsvip", body(1000)).unwrap_err().text(), "No available free IPs");
    for n in (0..1000).step_by(7) {
        rig.delete("vsvip", &uuid(&made[n])).unwrap();
    }
    for n in (0..1000).step_by(7) {
        made[n] = rig.create("vsvip", body(n));
    }
    let addresses: std::collections::BTreeSet<&str> = made.iter().map(address).collect();
    assert_eq!(addresses.len(), 1000);
}

/// Also an address that a client chose before its network was configured is in use.
#[test]
fn chosen_and_allocated_addresses_do_not_collide() {
    let mut rig = Rig::new();
    let network = uuid(&rig.create("network", json!({"name": "n"})));
    rig.create("vsvip", json!({"name": "early", "vip": [{"vip_id": "0", "ip_address": v4("10.0.0.1")}]}));
    let range = subnet("10.0.0.0", "10.0.0.1", "10.0.0.2", "STATIC_IPS_FOR_VIP");
    rig.patch("network", &network, json!({"add": {"configured_subnets": [range]}})).unwrap();
    let mut body = automatic("late");
    body["vip"][0]["ipam_network_subnet"] = json!({"network_ref": "/api/network?name=n"});
    assert_eq!(address(&rig.create("vsvip", body)), "10.0.0.2");
    let chosen = json!({"name": "x", "vip": [{"vip_id": "0", "ip_address": v4("10.0.0.2")}]});
    assert!(rig.try_create("vsvip", chosen).unwrap_err().text().contains("already in use"));
    assert_eq!(rig.store.check(), Vec::<String>::new());
}

/// The addresses for the first vips of a refused vsvip stay free.
#[test]
fn a_refused_vsvip_holds_no_address() {
    let mut rig = with_addresses();
    let vip = |id: u8| json!({"vip_id": id.to_string(), "auto_allocate_ip": true});
    let four: Vec<Value> = (0..4).map(vip).collect();
    let error = rig.try_create("vsvip", json!({"name": "four", "vip": four})).unwrap_err();
    assert_eq!(error.text(), "No available free IPs");
    let made = ["a", "b", "c"].map(|name| rig.create("vsvip", automatic(name)));
    assert_eq!(made.each_ref().map(address), ["10.0.0.10", "10.0.0.11", "10.0.1.10"]);
}
