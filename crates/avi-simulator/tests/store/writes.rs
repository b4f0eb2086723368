//! Create, replace, patch and delete.

use avi_simulator::{Assumptions, Rules};
use serde_json::{Value, json};

use crate::rig::{BASE, Rig, text, uuid};

#[test]
fn every_collection_can_be_created_read_replaced_patched_and_deleted() {
    for kind in avi_simulator::store::KINDS {
        let mut rig = Rig::new();
        if !kind.allows("POST", false) {
            continue;
        }
        let mut body = json!({"name": "one"});
        for (field, value) in [
            ("vtype", json!("CLOUD_NONE")),
            ("type", json!("IPAMDNS_TYPE_INTERNAL")),
            ("profile", json!({"type": "PROTOCOL_TYPE_TCP_PROXY"})),
            ("persistence_type", json!("PERSISTENCE_TYPE_TLS")),
            ("certificate", json!({"certificate": "PEM"})),
            ("mode", json!("WAF_MODE_ENFORCEMENT")),
            ("waf_profile_ref", json!("/api/wafprofile?name=System-WAF-Profile")),
            ("dns_policy_index", json!(1)),
            ("network_security_policy_index", json!(2)),
        ] {
            if kind.required.contains(&field) {
                body[field] = value;
            }
        }
        let made = rig.create(kind.name, body.clone());
        let id = uuid(&made);
        assert!(id.starts_with(&format!("{}-", kind.name)), "{id}");
        let mut read = rig.get(kind.name, &id, "").unwrap();
        read["name"] = json!("two");
        let replaced =
            rig.put(kind.name, &id, read).unwrap_or_else(|error| panic!("{}: {error:?}", kind.name));
        assert_eq!(replaced["name"], "two");
        let patched = rig.patch(kind.name, &id, json!({"add": {"description": "d"}})).unwrap();
        assert_eq!(
            (&patched["description"], &patched["name"]),
            (&json!("d"), &json!("two")),
            "{}",
            kind.name
        );
        rig.delete(kind.name, &id).unwrap_or_else(|error| panic!("{}: {error:?}", kind.name));
        let gone = rig.get(kind.name, &id, "").unwrap_err();
        assert_eq!((gone.status, gone.text()), (404, format!("{} object not found!", kind.model).as_str()));
        assert_eq!(rig.delete(kind.name, &id).unwrap_err().status, 404);
        for missing in kind.required.iter().filter(|path| !path.contains(['[', '.'])) {
            let mut lacking = body.clone();
            lacking.as_object_mut().unwrap().remove(*missing);
            if kind.name == "user" {
                continue;
            }
            let error = rig.try_create(kind.name, lacking).unwrap_err();
            assert_eq!(error.status, 400, "{} without {missing}", kind.name);
            assert!(
                error.text().contains(&format!("{missing}: This field is required.")),
                "{}",
                error.text()
            );
        }
        assert!(rig.store.check().is_empty(), "{:?}", rig.store.check());
    }
}

#[test]
fn methods_that_a_kind_lacks_get_405() {
    let mut rig = Rig::new();
    let refused = |error: avi_simulator::ApiError, method: &str| {
        assert_eq!((error.status, error.text()), (405, format!("Method '{method}' not allowed.").as_str()));
    };
    refused(rig.try_create("vimgrnwruntime", json!({"name": "n"})).unwrap_err(), "POST");
    refused(rig.put("vimgrnwruntime", "x", json!({})).unwrap_err(), "PUT");
    refused(rig.patch("serviceengine", "x", json!({})).unwrap_err(), "PATCH");
    refused(rig.delete("systemconfiguration", "default").unwrap_err(), "DELETE");
    for (kind, error) in [
        ("", rig.try_create("", json!({})).unwrap_err()),
        ("pools", rig.try_create("pools", json!({})).unwrap_err()),
        ("image", rig.delete("image", "x").unwrap_err()),
    ] {
        assert_eq!(error.status, 404, "{kind}");
    }
}

#[test]
fn refs_of_all_forms_are_stored_in_the_canonical_form() {
    let mut rig = Rig::new();
    let monitor = rig.uuid_of("healthmonitor", "System-TCP");
    let kept = json!([format!("/api/healthmonitor/{monitor}")]);
    for form in [
        format!("https://elsewhere/api/healthmonitor/{monitor}"),
        format!("{BASE}/api/healthmonitor/{monitor}#System-TCP"),
        format!("/api/healthmonitor/{monitor}"),
        "/api/healthmonitor/?name=System-TCP".to_owned(),
        "/api/healthmonitor?name=System-TCP".to_owned(),
        monitor.clone(),
    ] {
        let made = rig
            .create("pool", json!({"name": "p", "health_monitor_refs": [form, ""], "ssl_profile_ref": ""}));
        let pool = uuid(&made);
        assert_eq!(rig.store.object("pool", &pool).unwrap()["health_monitor_refs"], kept, "{form}");
        assert!(made.get("ssl_profile_ref").is_none(), "an empty ref is removed");
        assert_eq!(
            made["health_monitor_refs"],
            json!([format!("{BASE}/api/healthmonitor/{monitor}#System-TCP")])
        );
        rig.delete("pool", &pool).unwrap();
    }
}

#[test]
fn names_are_unique_per_tenant_and_cloud() {
    let mut rig = Rig::new();
    let tenant = uuid(&rig.create("tenant", json!({"name": "t"})));
    rig.create("cloud", json!({"name": "c", "vtype": "CLOUD_NONE"}));
    rig.create("pool", json!({"name": "p"}));
    let error = rig.try_create("pool", json!({"name": "p"})).unwrap_err();
    assert_eq!(error.status, 409);
    assert!(error.text().contains("already exists"), "{}", error.text());
    rig.create("pool", json!({"name": "p", "cloud_ref": "/api/cloud?name=c"}));
    rig.as_tenant(&tenant, |rig| rig.create("pool", json!({"name": "p"})));
    let q = uuid(&rig.create("pool", json!({"name": "q"})));
    assert_eq!(rig.patch("pool", &q, json!({"replace": {"name": "p"}})).unwrap_err().status, 409);
    rig.patch("pool", &q, json!({"replace": {"name": "q"}})).unwrap();
    let wide = Assumptions { names_unique_per_cloud: false, ..Assumptions::default() };
    let mut other = Rig::with(Rules::default(), wide);
    other.create("cloud", json!({"name": "c", "vtype": "CLOUD_NONE"}));
    other.create("pool", json!({"name": "p"}));
    let second = other.try_create("pool", json!({"name": "p", "cloud_ref": "/api/cloud?name=c"}));
    assert_eq!(second.unwrap_err().status, 409);
    rig.create("network", json!({"name": "net"}));
    rig.create("network", json!({"name": "net"}));
    assert_eq!(rig.list("network", "name=net")["count"], 2);
    let error = rig.try_create(
        "pool",
        json!({"name": "x", "placement_networks": [{"network_ref": "/api/network?name=net"}]}),
    );
    assert!(error.unwrap_err().text().contains("More than one Network"));
    rig.create("user", json!({"name": "u", "username": "login"}));
    for taken in [
        json!({"name": "login"}),
        json!({"name": "v", "username": "login"}),
        json!({"name": "u", "username": "w"}),
    ] {
        let error = rig.try_create("user", taken).unwrap_err();
        assert_eq!((error.status, error.text()), (409, "User with this Username already exist"));
    }
}

#[test]
fn a_slug_is_the_uuid() {
    let mut rig = Rig::new();
    let made = rig.store.create(&rig.caller, "pool", Some("pool-fixed"), json!({"name": "p"})).unwrap();
    assert_eq!(uuid(&made), "pool-fixed");
    let again = rig.store.create(&rig.caller, "pool", Some("pool-fixed"), json!({"name": "q"})).unwrap_err();
    assert_eq!(again.status, 409);
    assert!(rig.store.create(&rig.caller, "pool", Some(""), json!({"name": "r"})).is_ok());
}

#[test]
fn put_replaces_and_refuses_stale_objects() {
    let mut rig = Rig::new();
    let first = rig.create("pool", json!({"name": "p", "description": "d", "default_server_port": 8080}));
    let pool = uuid(&first);
    let second =
        rig.put("pool", &pool, json!({"name": "p", "_last_modified": first["_last_modified"]})).unwrap();
    assert!(second.get("description").is_none(), "a field that the body lacks is removed");
    assert_eq!(second["default_server_port"], 80, "or gets its default");
    let stamp = |value: &Value| text(value, "_last_modified").parse::<u64>().unwrap();
    assert!(stamp(&second) > stamp(&first), "also if the clock does not advance");
    let stale =
        rig.put("pool", &pool, json!({"name": "p", "_last_modified": first["_last_modified"]})).unwrap_err();
    assert_eq!(stale.status, 412);
    assert!(stale.text().contains("Concurrent Update Error"), "{}", stale.text());
    rig.put("pool", &pool, json!({"name": "p", "_last_modified": stamp(&second)}))
        .expect("a number is accepted");
    rig.put("pool", &pool, json!({"name": "p"})).expect("without the field the write is forced");
    assert_eq!(
        rig.patch("pool", &pool, json!({"_last_modified": "1", "add": {"x": 1}})).unwrap_err().status,
        412
    );
    let vip = rig.create("vsvip", json!({"name": "v"}));
    rig.put("vsvip", &uuid(&vip), json!({"name": "v"})).unwrap();
    let stale = rig.put("vsvip", &uuid(&vip), vip.clone()).unwrap_err();
    assert!(stale.text().contains("Need to reload object data VsVip"), "{}", stale.text());
    assert_eq!(rig.put("pool", "pool-none", json!({"name": "p"})).unwrap_err().status, 404);
    let strict = Assumptions { put_without_last_modified: false, ..Assumptions::default() };
    let mut rig = Rig::with(Rules::default(), strict);
    let pool = uuid(&rig.create("pool", json!({"name": "p"})));
    assert_eq!(rig.put("pool", &pool, json!({"name": "p"})).unwrap_err().status, 412);
}

#[test]
fn tenant_and_cloud_of_an_object_cannot_be_changed() {
    let mut rig = Rig::new();
    rig.create("cloud", json!({"name": "c", "vtype": "CLOUD_NONE"}));
    rig.create("tenant", json!({"name": "t"}));
    let pool = uuid(&rig.create("pool", json!({"name": "p"})));
    for field in [json!({"cloud_ref": "/api/cloud?name=c"}), json!({"tenant_ref": "/api/tenant?name=t"})] {
        let error = rig.patch("pool", &pool, json!({"replace": field})).unwrap_err();
        assert!(error.status == 400 && error.text().contains("cannot be changed"), "{error:?}");
    }
    let other = rig.put("pool", &pool, json!({"name": "p", "uuid": "pool-other"})).unwrap();
    assert_eq!(uuid(&other), pool, "the uuid in the body is ignored");
}

#[test]
fn patch_finds_refs_of_all_forms() {
    let mut rig = Rig::new();
    let pool = uuid(&rig.create(
        "pool",
        json!({"name": "p", "health_monitor_refs":
        ["/api/healthmonitor?name=System-TCP", "/api/healthmonitor?name=System-UDP"]}),
    ));
    let left = rig
        .patch(
            "pool",
            &pool,
            json!({"delete": {"health_monitor_refs": ["/api/healthmonitor/?name=System-TCP"]}}),
        )
        .unwrap();
    assert_eq!(left["health_monitor_refs"].as_array().unwrap().len(), 1);
    let more = rig
        .patch(
            "pool",
            &pool,
            json!({"add": {"health_monitor_refs": ["/api/healthmonitor?name=System-Ping"]}}),
        )
        .unwrap();
    assert_eq!(more["health_monitor_refs"].as_array().unwrap().len(), 2);
    assert!(
        rig.list("pool", &format!("refers_to=healthmonitor:{}", rig.uuid_of("healthmonitor", "System-Ping")))
            ["count"]
            == 1
    );
    assert!(
        rig.list("pool", &format!("refers_to=healthmonitor:{}", rig.uuid_of("healthmonitor", "System-TCP")))
            ["count"]
            == 0
    );
    let none = rig
        .patch("pool", &pool, json!({"delete": {"vrf_ref": ""}, "replace": {"health_monitor_refs": []}}))
        .unwrap();
    assert_eq!(none["health_monitor_refs"], json!([]));
    let tested = rig.patch("pool", &pool, json!({"json_patch": [
        {"op": "test", "path": "/name", "value": "p"},
        {"op": "add", "path": "/health_monitor_refs/-", "value": format!("{BASE}/api/healthmonitor/?name=System-UDP")},
        {"op": "replace", "path": "/default_server_port", "value": 81}]}));
    assert_eq!(tested.unwrap()["default_server_port"], 81);
    for wrong in [
        json!({"delete": {"name": ""}}),
        json!({"json_patch": [{"op": "test", "path": "/name", "value": "q"}]}),
        json!({"name": "x"}),
    ] {
        assert_eq!(rig.patch("pool", &pool, wrong.clone()).unwrap_err().status, 400, "{wrong}");
    }
}

#[test]
fn objects_with_referrers_and_built_in_objects_cannot_be_deleted() {
    let mut rig = Rig::new();
    let pool = uuid(&rig.create("pool", json!({"name": "p"})));
    let service =
        uuid(&rig.create("virtualservice", json!({"name": "v", "pool_ref": format!("/api/pool/{pool}")})));
    let error = rig.delete("pool", &pool).unwrap_err();
    assert_eq!(
        (error.status, error.text()),
        (403, "Cannot delete, object is referred by: ['VirtualService v']")
    );
    rig.patch("virtualservice", &service, json!({"delete": {"pool_ref": ""}})).unwrap();
    rig.delete("pool", &pool).unwrap();
    for (kind, name) in [
        ("applicationprofile", "System-L4-Application"),
        ("serviceenginegroup", "Default-Group"),
        ("tenant", "admin"),
        ("cloud", "Default-Cloud"),
        ("role", "System-Admin"),
        ("user", "admin"),
    ] {
        let id = rig.uuid_of(kind, name);
        assert_eq!(rig.delete(kind, &id).unwrap_err().status, 403, "{kind} {name} is built in");
    }
}

#[test]
fn secrets_are_masked_and_survive_a_write_of_the_mask() {
    let mut rig = Rig::new();
    let before = rig.store.snapshot();
    let made = rig.create("cloud", json!({"name": "c", "vtype": "CLOUD_VCENTER", "vcenter_configuration": {"username": "u", "password": "hidden1"}}));
    let cloud = uuid(&made);
    assert_eq!(made["vcenter_configuration"]["password"], "<sensitive>");
    let mut read = rig.get("cloud", &cloud, "").unwrap();
    read["dhcp_enabled"] = json!(true);
    rig.put("cloud", &cloud, read).unwrap();
    assert_eq!(rig.store.object("cloud", &cloud).unwrap()["vcenter_configuration"]["password"], "hidden1");
    for query in [
        "vcenter_configuration.password=hidden1",
        "vcenter_configuration=x",
        "vcenter_configuration.password=%3Csensitive%3E",
    ] {
        assert_eq!(rig.list("cloud", query)["count"], 0, "a filter does not reveal a secret: {query}");
    }
    assert_eq!(rig.list("cloud", "vcenter_configuration.username=u")["count"], 1);
    let user = rig.create("user", json!({"name": "u", "password": "hidden2"}));
    assert!(user.get("password").is_none());
    assert!(
        !format!("{:?}", rig.store.object("user", &uuid(&user))).contains("hidden2"),
        "the store does not keep passwords of users"
    );
    let key = rig.create("sslkeyandcertificate", json!({"name": "s", "certificate": {}, "key": "hidden3"}));
    assert_eq!(key["key"], "<sensitive>");
    let shown = format!("{:?} {:?}", rig.store.snapshot(), rig.store.diff(&before));
    assert!(!shown.contains("hidden"), "a snapshot has no secrets");
}

#[test]
fn users_have_one_name_before_version_30_and_two_since() {
    let mut rig = Rig::new();
    let old = rig.create("user", json!({"name": "u"}));
    assert_eq!(old["username"], "u");
    let new = rig.create("user", json!({"name": "Full Name", "username": "login"}));
    assert_eq!((&new["name"], &new["username"]), (&json!("Full Name"), &json!("login")));
    assert_eq!(rig.list("user", "name=login")["count"], 1);
    assert!(text(&new, "user_profile_ref").ends_with("#Default-User-Account-Profile"));
}
