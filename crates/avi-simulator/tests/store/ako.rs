//! The queries and bodies that AKO sends at its start, for a Service of type LoadBalancer, and for its deletion.

use serde_json::json;

use crate::rig::{BASE, Rig, text, uuid};

fn controller() -> Rig {
    let mut rig = Rig::new();
    let v4 = |addr: &str| json!({"addr": addr, "type": "V4"});
    rig.store
        .seed(
            json!({
                "cloud": [{"name": "vc", "vtype": "CLOUD_VCENTER",
                    "ipam_provider_ref": "/api/ipamdnsproviderprofile?name=ipam", "dns_provider_ref": "/api/ipamdnsproviderprofile?name=dns"}],
                "ipamdnsproviderprofile": [
                    {"name": "ipam", "type": "IPAMDNS_TYPE_INTERNAL", "internal_profile": {"usable_networks": [{"nw_ref": "/api/network/network-vip"}]}},
                    {"name": "dns", "type": "IPAMDNS_TYPE_INTERNAL_DNS", "internal_profile": {"dns_service_domain": [{"domain_name": "avi.test"}]}}],
                "network": [{"uuid": "network-vip", "name": "vip net", "cloud_ref": "/api/cloud?name=vc", "configured_subnets": [
                    {"prefix": {"ip_addr": v4("10.9.0.0"), "mask": 16},
                     "static_ip_ranges": [{"range": {"begin": v4("10.9.1.1"), "end": v4("10.9.1.200")}}]}]}],
            }),
            1,
        )
        .unwrap();
    rig
}

#[test]
fn the_requests_of_akos_start_are_answered() {
    let mut rig = controller();
    let one = |rig: &Rig, kind: &str, query: &str| {
        let list = rig.list(kind, query);
        assert_eq!(list["count"], 1, "{kind}?{query}");
        list["results"][0].clone()
    };
    one(&rig, "tenant", "include_name&name=admin");
    let cloud = one(&rig, "cloud", "include_name&name=vc");
    assert!(text(&cloud, "tenant_ref").ends_with("admin"));
    let ipam = text(&cloud, "ipam_provider_ref").split_once('#').unwrap().1.to_owned();
    assert_eq!(
        one(&rig, "ipamdnsproviderprofile", &format!("include_name&name={ipam}"))["type"],
        "IPAMDNS_TYPE_INTERNAL"
    );
    assert_eq!(rig.store.dns_domains(&uuid(&cloud)), ["avi.test"]);
    assert!(rig.store.dns_domains("cloud-none").is_empty());
    let group =
        one(&rig, "serviceenginegroup", "include_name&page_size=100&cloud_ref.name=vc&name.in=Default-Group");
    let mut labelled = group.clone();
    labelled["labels"] = json!([{"key": "clustername", "value": "c1"}]);
    rig.put("serviceenginegroup", &uuid(&group), labelled.clone()).expect("refs with names are accepted");
    assert_eq!(rig.put("serviceenginegroup", &uuid(&group), labelled).unwrap_err().status, 412);
    one(&rig, "network", "include_name&name=vip%20net&cloud_ref.name=vc");
    one(&rig, "network", "include_name&name=vip%20net&cloud_ref.name=vc&vrf_context_ref.name=global");
    assert!(rig.get("network", "network-vip", &format!("cloud_uuid={}&include_name", uuid(&cloud))).is_ok());
    let vrf = one(&rig, "vrfcontext", "name=global&include_name=true&cloud_ref.name=vc");
    let mut routed = rig.get("vrfcontext", &uuid(&vrf), "").unwrap();
    routed["static_routes"] = json!([{"route_id": "c1-1", "labels": [{"key": "clustername", "value": "c1"}],
        "prefix": {"ip_addr": {"addr": "10.244.0.0", "type": "V4"}, "mask": 24}, "next_hop": {"addr": "10.0.0.5", "type": "V4"}}]);
    rig.put("vrfcontext", &uuid(&vrf), routed).unwrap();
    for (kind, query) in [
        ("poolgroup", "include_name=true&cloud_ref.name=vc&created_by=ako-c1&page_size=100"),
        ("pool", "&include_name=true&cloud_ref.name=vc&created_by=ako-c1&page_size=100"),
        ("pkiprofile", "&include_name=true&created_by=ako-c1&page_size=100"),
        ("vsvip", "name.contains=c1--&include_name=true&cloud_ref.name=vc&page_size=100"),
        ("stringgroup", "&include_name=true&label_key=created_by&label_value=ako-c1&page_size=100"),
        ("virtualservice", "include_name=true&cloud_ref.name=vc&created_by=ako-c1&page_size=100"),
        ("applicationpersistenceprofile", "name.contains=c1--&include_name=true&page_size=100"),
    ] {
        assert_eq!(rig.list(kind, query), json!({"count": 0, "results": []}), "{kind}");
    }
    assert_eq!(rig.list("systemconfiguration", "")["default_license_tier"], "ENTERPRISE");
    assert!(!text(&rig.list("cluster", ""), "uuid").is_empty());
    assert_eq!(rig.list("tenant", "fields=name,attrs")["results"][0]["name"], "admin");
}

#[test]
fn a_service_is_created_and_deleted_without_rest() {
    let mut rig = controller();
    let before = rig.store.snapshot();
    let markers = json!([{"key": "clustername", "values": ["c1"]}]);
    let vip = rig.create("vsvip", json!({"name": "c1--default-web", "tenant_ref": "/api/tenant/?name=admin", "cloud_ref": "/api/cloud?name=vc",
        "east_west_placement": false, "vrf_context_ref": "/api/vrfcontext?name=global", "markers": markers, "vsvip_cloud_config_cksum": "1",
        "vip": [{"vip_id": "0", "auto_allocate_ip": true, "ipam_network_subnet": {"network_ref": "/api/network/?name=vip net",
            "subnet": {"ip_addr": {"addr": "10.9.0.0", "type": "V4"}, "mask": 16}}}]}));
    assert_eq!(text(&vip["vip"][0]["ip_address"], "addr"), "10.9.1.1");
    let pool = rig.create("pool", json!({"name": "c1--default-web-TCP-80", "created_by": "ako-c1", "cloud_ref": "/api/cloud?name=vc",
        "tenant_ref": "/api/tenant/?name=admin", "vrf_ref": "/api/vrfcontext?name=global", "cloud_config_cksum": "2", "markers": markers,
        "health_monitor_refs": ["/api/healthmonitor/?name=System-TCP"], "servers": [{"ip": {"addr": "10.244.0.7", "type": "V4"}, "port": 80}]}));
    let policy = rig.create("l4policyset", json!({"name": "c1--default-web", "created_by": "ako-c1", "tenant_ref": "/api/tenant/?name=admin", "markers": markers,
        "l4_connection_policy": {"rules": [{"name": "r", "index": 0, "action": {"select_pool": {"pool_ref": "/api/pool/?name=c1--default-web-TCP-80"}}}]}}));
    let kept = policy.pointer("/l4_connection_policy/rules/0/action/select_pool/pool_ref").unwrap();
    assert!(
        kept.as_str().unwrap().ends_with("#c1--default-web-TCP-80"),
        "resolved by name in the only cloud that has one: {kept}"
    );
    let service = rig.create("virtualservice", json!({"name": "c1--default-web", "created_by": "ako-c1", "cloud_ref": "/api/cloud?name=vc", "markers": markers,
        "tenant_ref": "/api/tenant/?name=admin", "application_profile_ref": "/api/applicationprofile/?name=System-L4-Application",
        "network_profile_ref": "/api/networkprofile/?name=System-TCP-Fast-Path", "se_group_ref": "/api/serviceenginegroup?name=Default-Group",
        "vrf_context_ref": "/api/vrfcontext?name=global", "vsvip_ref": "/api/vsvip/?name=c1--default-web", "error_page_profile_ref": "",
        "cloud_config_cksum": "3", "l4_policies": [{"index": 20, "l4_policy_set_ref": "/api/l4policyset/?name=c1--default-web"}],
        "services": [{"port": 80, "port_range_end": 80}]}));
    assert!(text(&service, "vsvip_ref").ends_with("#c1--default-web"));
    assert!(rig.store.check().is_empty(), "{:?}", rig.store.check());
    let mine = rig
        .list("virtualservice", "name=c1--default-web&cloud_ref.name=vc&include_name=true&created_by=ako-c1");
    assert_eq!(mine["count"], 1);
    let read = rig.get("vsvip", &uuid(&vip), "include_name").unwrap();
    rig.put("vsvip", &uuid(&vip), read).expect("a read object can be written back");
    let stale = rig.put("vsvip", &uuid(&vip), vip.clone()).unwrap_err();
    assert!(stale.status == 412 && stale.text().contains("Need to reload object data VsVip"));
    assert_eq!(rig.delete("vsvip", &uuid(&vip)).unwrap_err().status, 403);
    for (kind, object) in
        [("virtualservice", &service), ("l4policyset", &policy), ("pool", &pool), ("vsvip", &vip)]
    {
        rig.delete(kind, &uuid(object)).unwrap();
    }
    assert!(rig.store.diff(&before).is_empty(), "objects are left");
}

#[test]
fn a_macro_writes_the_inner_objects_first() {
    let mut rig = controller();
    let body = json!({"model_name": "VirtualService", "data": {"name": "m", "cloud_ref": "/api/cloud?name=vc",
        "vsvip_ref_data": {"name": "m-vip", "cloud_ref": "/api/cloud?name=vc", "vip": [{"vip_id": "0", "auto_allocate_ip": true}]},
        "pool_ref_data": {"name": "m-pool", "cloud_ref": "/api/cloud?name=vc"}}});
    let written = rig.store.run_macro(&rig.caller, body.clone()).unwrap();
    let urls: Vec<&str> = written.as_array().unwrap().iter().map(|one| text(one, "url")).collect();
    assert_eq!(urls.len(), 3);
    assert!(urls[2].starts_with(&format!("{BASE}/api/virtualservice/")), "{urls:?}");
    assert!(text(&written[2], "pool_ref").ends_with("#m-pool"));
    let before = rig.store.snapshot();
    rig.store.run_macro(&rig.caller, body).unwrap();
    assert!(
        rig.store.diff(&before).is_empty(),
        "a second run changes nothing: {:?}",
        rig.store.diff(&before)
    );
    assert_eq!(
        rig.store.run_macro(&rig.caller, json!({"model_name": "Nothing", "data": {}})).unwrap_err().status,
        400
    );
    assert_eq!(rig.store.run_macro(&rig.caller, json!({"model_name": "Pool"})).unwrap_err().status, 400);
}

#[test]
fn a_macro_replaces_only_objects_of_its_cloud_and_tenant() {
    let mut rig = controller();
    let tenant = uuid(&rig.create("tenant", json!({"name": "t"})));
    let pool = |cloud: &str, tenant: &str| {
        json!({"model_name": "Pool", "data": {"name": "p", "cloud_ref": format!("/api/cloud?name={cloud}"),
            "tenant_ref": format!("/api/tenant?name={tenant}")}})
    };
    for _ in 0..2 {
        for (cloud, tenant) in [("vc", "admin"), ("Default-Cloud", "admin"), ("vc", "t")] {
            rig.store
                .run_macro(&rig.caller, pool(cloud, tenant))
                .map_err(|error| (cloud, tenant, error))
                .unwrap();
        }
    }
    assert_eq!(rig.list("pool", "name=p")["count"], 2);
    assert_eq!(rig.as_tenant(&tenant, |rig| rig.list("pool", "name=p"))["count"], 1);
}

#[test]
fn the_profiles_of_ako_are_built_in() {
    let rig = Rig::new();
    for (kind, names) in [
        (
            "applicationprofile",
            &["System-HTTP", "System-Secure-HTTP", "System-L4-Application", "System-SSL-Application"][..],
        ),
        (
            "networkprofile",
            &["System-TCP-Proxy", "System-TCP-Fast-Path", "System-UDP-Fast-Path", "System-SCTP-Proxy"],
        ),
        ("healthmonitor", &["System-TCP", "System-UDP", "System-SCTP"]),
        ("sslprofile", &["System-Standard"]),
        ("protocolparser", &["Default-TLS"]),
        ("analyticsprofile", &["System-Analytics-Profile"]),
        ("useraccountprofile", &["Default-User-Account-Profile", "No-Lockout-User-Account-Profile"]),
        ("role", &["System-Admin", "Tenant-Admin", "Application-Admin"]),
        ("vrfcontext", &["global", "management"]),
    ] {
        for name in names {
            assert_eq!(rig.list(kind, &format!("name={name}"))["count"], 1, "{kind} {name}");
        }
    }
    assert!(rig.store.check().is_empty(), "{:?}", rig.store.check());
}
