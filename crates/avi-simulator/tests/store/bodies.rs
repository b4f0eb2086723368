//! Invalid bodies and their errors.

use serde_json::{Value, json};

use crate::rig::Rig;

/// Checks that a POST of each body (kind, body, text of the error) gets 400 and changes nothing.
fn assert_refused(cases: &[(&str, Value, &str)]) {
    let mut rig = Rig::new();
    for (kind, body, text) in cases {
        let before = rig.store.snapshot();
        let error = rig.try_create(kind, body.clone()).unwrap_err();
        assert_eq!(error.status, 400, "{kind} {body}");
        assert!(error.text().contains(text), "{kind} {body}: {}", error.text());
        assert!(rig.store.diff(&before).is_empty(), "a refused write changes nothing");
    }
}

#[test]
fn invalid_fields_and_refs_are_refused() {
    assert_refused(&[
        ("pool", json!([]), "JSON object"),
        ("pool", json!("x"), "JSON object"),
        ("pool", json!({"name": ""}), "name"),
        ("pool", json!({"name": 3}), "name"),
        ("pool", json!({"name": null}), "name: This field is required."),
        ("pool", json!({"name": "p", "servers": [{"ip": {}}, {}]}), "servers[1].ip: This field is required."),
        ("pool", json!({"name": "p", "servers": {"ip": 1}}), "servers"),
        (
            "pool",
            json!({"name": "p", "health_monitor_refs": ["/api/healthmonitor?name=none"]}),
            "HealthMonitor object not found!",
        ),
        ("pool", json!({"name": "p", "vrf_ref": "/api/vrfcontext?name=none"}), "VrfContext not found"),
        (
            "pool",
            json!({"name": "p", "vrf_ref": "/api/pool?name=none"}),
            "vrf_ref must refer to VrfContext, not Pool",
        ),
        ("pool", json!({"name": "p", "vrf_ref": "what is this"}), "Invalid reference"),
        ("pool", json!({"name": "p", "cloud_ref": "/api/cloud?name=none"}), "Cloud object not found!"),
        ("pool", json!({"name": "p", "tenant_ref": "/api/tenant?name=none"}), "Tenant object not found!"),
        (
            "vsvip",
            json!({"name": "v", "vip": [{"auto_allocate_ip": false}]}),
            "vip[0].vip_id: This field is required.",
        ),
    ]);
}

#[test]
fn invalid_networks_are_refused() {
    let subnet = |prefix: Value, ranges: Value| json!({"name": "n", "configured_subnets": [{"prefix": prefix, "static_ip_ranges": ranges}]});
    let prefix = json!({"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24});
    let range = |begin: &str, end: &str| json!([{"range": {"begin": {"addr": begin, "type": "V4"}, "end": {"addr": end, "type": "V4"}}}]);
    assert_refused(&[
        (
            "network",
            subnet(json!({"mask": 24}), json!([])),
            "configured_subnets[0].prefix.ip_addr: This field is required.",
        ),
        (
            "network",
            subnet(json!({"ip_addr": {"addr": "10.0.0.0", "type": "V6"}, "mask": 24}), json!([])),
            "not an address of its type",
        ),
        (
            "network",
            subnet(json!({"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 33}), json!([])),
            "0 to 32",
        ),
        ("network", subnet(prefix.clone(), range("10.0.0.9", "10.0.0.1")), "10.0.0.9 is after 10.0.0.1"),
        (
            "network",
            subnet(prefix.clone(), json!([{"range": {"begin": {"addr": "10.0.0.9", "type": "V4"}}}])),
            "range.end: This field is required.",
        ),
        (
            "network",
            subnet(
                prefix.clone(),
                json!([{"range": range("10.0.0.1", "10.0.0.2")[0]["range"], "type": "X"}]),
            ),
            "static_ip_ranges.type",
        ),
    ]);
}

#[test]
fn invalid_profiles_roles_and_users_are_refused() {
    assert_refused(&[
        ("ipamdnsproviderprofile", json!({"name": "i", "type": "INTERNAL"}), "type"),
        (
            "ipamdnsproviderprofile",
            json!({"name": "i", "type": "IPAMDNS_TYPE_INFOBLOX", "internal_profile": {}}),
            "internal_profile",
        ),
        (
            "ipamdnsproviderprofile",
            json!({"name": "i", "type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {"usable_networks": [{}]}}),
            "usable_networks[0].nw_ref: This field is required.",
        ),
        ("serviceenginegroup", json!({"name": "s", "labels": [{"key": "a"}, {"key": "b"}]}), "labels"),
        (
            "role",
            json!({"name": "r", "privileges": [{"resource": "PERMISSION_POOL"}]}),
            "privileges[0].type: This field is required.",
        ),
        (
            "role",
            json!({"name": "r", "privileges": [{"resource": "PERMISSION_NOTHING", "type": "READ_ACCESS"}]}),
            "PERMISSION_NOTHING",
        ),
        (
            "role",
            json!({"name": "r", "privileges": [{"resource": "PERMISSION_POOL", "type": "ALL"}]}),
            "PERMISSION_POOL",
        ),
        ("user", json!({"name": "u", "access": [{"tenant_ref": "/api/tenant/admin"}]}), "access.role_ref"),
    ]);
}

#[test]
fn a_removed_resource_is_refused_since_its_version() {
    let mut rig = Rig::new();
    let body = json!({"name": "r", "privileges": [{"resource": "PERMISSION_PINGACCESSAGENT", "type": "READ_ACCESS"}]});
    assert_eq!(rig.try_create("role", body.clone()).unwrap_err().status, 400);
    rig.as_version(avi_simulator::Version(30, 1, 2), |rig| rig.create("role", body));
}
