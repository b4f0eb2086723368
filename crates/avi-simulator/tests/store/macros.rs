//! Macros: several objects in one request, written all or none.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::rig::{Rig, text, uuid};

fn v4(addr: &str) -> Value {
    json!({"addr": addr, "type": "V4"})
}

/// Returns a controller with a network of ten addresses.
fn with_addresses() -> Rig {
    let mut rig = Rig::new();
    rig.create(
        "network",
        json!({"name": "n", "configured_subnets": [{"prefix": {"ip_addr": v4("10.0.0.0"), "mask": 24},
        "static_ip_ranges": [{"range": {"begin": v4("10.0.0.1"), "end": v4("10.0.0.10")}}]}]}),
    );
    rig
}

fn vip(name: &str) -> Value {
    json!({"name": name, "vip": [{"vip_id": "0", "auto_allocate_ip": true,
        "ipam_network_subnet": {"network_ref": "/api/network?name=n"}}]})
}

fn run_macro(rig: &mut Rig, model: &str, data: &Value) -> Result<Value, avi_simulator::ApiError> {
    rig.store.run_macro(&rig.caller, json!({"model_name": model, "data": data}))
}

#[test]
fn a_refused_part_undoes_the_macro() {
    let mut rig = with_addresses();
    let old = rig.create("pool", json!({"name": "old", "description": "before"}));
    let kept = rig.create("vsvip", vip("kept"));
    let before = rig.store.snapshot();
    let data = json!({"name": "vs",
        "a_vsvip_ref_data": {"name": "not a field of refs"},
        "vsvip_ref_data": vip("new"),
        "pool_ref_data": {"name": "old", "description": "after"},
        "ssl_profile_ref_data": {"name": "mine"},
        "network_security_policy_ref_data": {"name": "nsp", "tenant_ref": "/api/tenant?name=none"}});
    let error = run_macro(&mut rig, "VirtualService", &data).unwrap_err();
    assert_eq!((error.status, error.text()), (400, "Tenant object not found!"));
    let after = rig.store.diff(&before);
    assert!(after.is_empty(), "{after:?}");
    assert_eq!(rig.get("pool", &uuid(&old), "").unwrap()["_last_modified"], old["_last_modified"]);
    // A part of this macro releases the address of an existing vsvip; the undo restores it.
    let data = json!({"name": "vs", "vsvip_ref_data": {"name": "kept", "vip": []}, "pool_ref": "/api/pool?name=none"});
    assert_eq!(run_macro(&mut rig, "VirtualService", &data).unwrap_err().status, 400);
    assert_eq!(rig.store.check(), Vec::<String>::new());
    let next = rig.create("vsvip", vip("next"));
    let addresses = [&kept, &next].map(|vip| text(&vip["vip"][0]["ip_address"], "addr").to_owned());
    assert_eq!(
        addresses,
        ["10.0.0.1", "10.0.0.2"],
        "the address of the undone vsvip is free, that of the other is not"
    );
    assert_eq!(rig.names("pool", ""), ["old"], "the order is restored");
}

/// The undo also removes the objects that the controller created with the cloud.
#[test]
fn a_cloud_of_an_undone_macro_leaves_nothing() {
    let mut rig = Rig::new();
    let before = rig.store.snapshot();
    let data = json!({"name": "p", "vrf_ref": "/api/vrfcontext?name=none", "cloud_ref_data": {"name": "c", "vtype": "CLOUD_NONE"}});
    assert_eq!(run_macro(&mut rig, "Pool", &data).unwrap_err().status, 400);
    assert!(rig.store.diff(&before).is_empty(), "{:?}", rig.store.diff(&before));
}

#[test]
fn parts_are_written_at_any_depth() {
    let mut rig = Rig::new();
    let data = json!({"name": "vs", "pool_group_ref_data": {"name": "pg", "members": [
        {"priority_label": "20", "pool_ref_data": {"name": "one", "health_monitor_refs_data": [{"name": "hm", "type": "HEALTH_MONITOR_TCP"}]}},
        {"priority_label": "10", "pool_ref_data": {"name": "two"}}]}});
    let written = run_macro(&mut rig, "VirtualService", &data).unwrap();
    assert_eq!(written.as_array().unwrap().len(), 5);
    let group = rig.list("poolgroup", "name=pg&include_name")["results"][0].clone();
    assert!(text(&group["members"][1], "pool_ref").ends_with("#two"), "{group}");
    assert!(!group.to_string().contains("_data"), "{group}");
    assert_eq!(rig.store.check(), Vec::<String>::new());
}

#[test]
fn a_part_that_is_not_an_object_is_refused() {
    let mut rig = Rig::new();
    for data in [json!("pool-1"), json!([3]), json!(null)] {
        let body = json!({"name": "vs", "pool_ref_data": data});
        assert_eq!(run_macro(&mut rig, "VirtualService", &body).unwrap_err().status, 400, "{body}");
    }
    assert!(rig.names("virtualservice", "").is_empty());
}

/// A request in `admin` may write to any tenant, one in another tenant only there.
#[test]
fn a_tenant_cannot_write_to_another() {
    let mut rig = Rig::new();
    let a = uuid(&rig.create("tenant", json!({"name": "a"})));
    let b = uuid(&rig.create("tenant", json!({"name": "b"})));
    let pool = |by: &str| json!({"name": "p", "tenant_ref": "/api/tenant?name=a", "description": by});
    rig.as_tenant(&a, |rig| run_macro(rig, "Pool", &pool("a"))).unwrap();
    let refused = rig.as_tenant(&b, |rig| run_macro(rig, "Pool", &pool("b"))).unwrap_err();
    assert!(matches!(refused.status, 400 | 404), "{refused:?}");
    run_macro(&mut rig, "Pool", &pool("admin")).unwrap();
    assert_eq!(rig.as_tenant(&a, |rig| rig.list("pool", "name=p"))["results"][0]["description"], "admin");
}

#[derive(Debug, Clone)]
struct Part {
    vip: u8,
    pool: u8,
    fails: bool,
}

fn part() -> impl Strategy<Value = Part> {
    (0..6_u8, 0..6_u8, any::<bool>()).prop_map(|(vip, pool, fails)| Part { vip, pool, fails })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// After valid and invalid macros the leases match the vsvips, and an invalid macro changes nothing.
    #[test]
    fn macros_are_atomic(parts in prop::collection::vec(part(), 1..30)) {
        let mut rig = with_addresses();
        for Part { vip: v, pool, fails } in parts {
            let before = rig.store.snapshot();
            let mut data = json!({"name": format!("vs{v}"), "vsvip_ref_data": vip(&format!("v{v}")),
                "pool_ref_data": {"name": format!("p{pool}")}});
            if pool == v {
                data["vsvip_ref_data"]["vip"] = json!([]);
            }
            if fails {
                data["ssl_profile_ref"] = json!("/api/sslprofile?name=none");
            }
            let done = run_macro(&mut rig, "VirtualService", &data);
            prop_assert_eq!(done.is_err(), fails, "{:?}", done);
            if fails {
                prop_assert!(rig.store.diff(&before).is_empty());
            }
            prop_assert_eq!(rig.store.check(), Vec::<String>::new());
        }
    }
}
