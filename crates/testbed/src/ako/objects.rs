//! The objects that AKO makes for a Service of type LoadBalancer, with its marks.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use serde_json::{Value, json};

/// The kinds of [`all`], each before those that refer to it.
pub(super) const KINDS: [&str; 4] = ["vsvip", "pool", "l4policyset", "virtualservice"];

/// Returns the mark of all objects of a cluster's AKO but `vsvip`.
pub(super) fn created_by(cluster: &str) -> String {
    format!("ako-{cluster}")
}

/// Returns the name of a Service's objects.
pub(super) fn name(cluster: &str, service: &Service) -> String {
    format!("{cluster}--{}-{}", service.namespace().unwrap_or_default(), service.name_any())
}

/// Returns the objects of a Service, in the order of [`KINDS`].
pub(super) fn all(
    settings: &BTreeMap<String, String>,
    cluster: &str,
    service: &Service,
) -> [(&'static str, Value); 4] {
    let name = name(cluster, service);
    let setting = |key: &str| settings.get(key).map(String::as_str).unwrap_or_default();
    let tenant = format!("/api/tenant/?name={}", setting("tenantName"));
    let cloud = format!("/api/cloud?name={}", setting("cloudName"));
    let marks = json!([
        {"key": "clustername", "values": [cluster]},
        {"key": "Namespace", "values": [service.namespace()]},
        {"key": "ServiceName", "values": [service.name_any()]},
    ]);
    let common = json!({"name": name, "tenant_ref": tenant, "markers": marks});
    let with = |more: Value| {
        let (Value::Object(mut object), Value::Object(more)) = (common.clone(), more) else {
            return Value::Null;
        };
        object.extend(more);
        Value::Object(object)
    };
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
    let port = ports.first().map_or(80, |port| port.port);
    let created_by = created_by(cluster);
    let vip = with(
        json!({"cloud_ref": cloud, "vrf_context_ref": "/api/vrfcontext?name=global", "vip": [vip(setting("vipNetworkList"))]}),
    );
    let pool =
        with(json!({"cloud_ref": cloud, "created_by": created_by, "vrf_ref": "/api/vrfcontext?name=global"}));
    let rule = json!({"name": name, "index": 0, "action": {"select_pool": {"pool_ref": format!("/api/pool/?name={name}")}}});
    let policy = with(json!({"created_by": created_by, "l4_connection_policy": {"rules": [rule]}}));
    let service = with(json!({
        "cloud_ref": cloud, "created_by": created_by,
        "application_profile_ref": "/api/applicationprofile/?name=System-L4-Application",
        "network_profile_ref": "/api/networkprofile/?name=System-TCP-Fast-Path",
        "se_group_ref": format!("/api/serviceenginegroup?name={}", setting("serviceEngineGroupName")),
        "vrf_context_ref": "/api/vrfcontext?name=global",
        "vsvip_ref": format!("/api/vsvip/?name={name}"),
        "l4_policies": [{"index": 20, "l4_policy_set_ref": format!("/api/l4policyset/?name={name}")}],
        "services": [{"port": port, "port_range_end": port}],
    }));
    [("vsvip", vip), ("pool", pool), ("l4policyset", policy), ("virtualservice", service)]
}

/// Returns a VIP whose address comes from the first network of `vipNetworkList`, or from any.
fn vip(networks: &str) -> Value {
    let mut vip = json!({"vip_id": "0", "auto_allocate_ip": true});
    let networks: Value = serde_json::from_str(networks).unwrap_or_default();
    let (name, cidr) = (networks[0]["networkName"].as_str(), networks[0]["cidr"].as_str());
    if let (Some(name), Some((address, mask))) = (name, cidr.and_then(|cidr| cidr.split_once('/'))) {
        vip["ipam_network_subnet"] = json!({
            "network_ref": format!("/api/network/?name={name}"),
            "subnet": {"ip_addr": {"addr": address, "type": "V4"}, "mask": mask.parse::<u8>().unwrap_or(24)},
        });
    }
    vip
}
