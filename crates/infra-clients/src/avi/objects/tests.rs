//! Whatever the controller sends is kept between reading an object and writing it back, at any depth.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Returns an object with these fields and those that every object has.
fn object_with(fields: Value) -> Value {
    let mut object = json!({
        "name": "n", "uuid": "x-1", "url": "https://c/api/x/x-1", "tenant_ref": "https://c/api/tenant/admin#admin",
        "_last_modified": "1700000000000000",
    });
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    object
}

const CLOUD_REF: &str = "https://c/api/cloud/cloud-1";

/// Returns every kind with every field that has a Rust type.
fn samples() -> Vec<(&'static str, Value)> {
    let mut samples = infrastructure_samples();
    samples.extend(account_and_service_samples());
    samples
}

fn infrastructure_samples() -> Vec<(&'static str, Value)> {
    let address = json!({"addr": "10.0.0.5", "type": "V4"});
    let label = json!([{"key": "k", "value": "v"}]);
    vec![
        (
            "cloud",
            object_with(
                json!({"vtype": "CLOUD_VCENTER", "ipam_provider_ref": "/api/p/p-1", "dhcp_enabled": true}),
            ),
        ),
        (
            "network",
            object_with(json!({
                "cloud_ref": CLOUD_REF, "vrf_context_ref": "/api/vrfcontext/v", "vimgrnw_ref": "/api/vimgrnwruntime/v",
                "vcenter_dvs": true, "dhcp_enabled": false, "exclude_discovered_subnets": false,
                "configured_subnets": [{
                    "prefix": {"ip_addr": address, "mask": 24},
                    "static_ip_ranges": [{"range": {"begin": address, "end": address}, "type": "STATIC_IPS_FOR_NEW"}],
                }],
            })),
        ),
        (
            "ipamdnsproviderprofile",
            object_with(json!({
                "type": "IPAMDNS_TYPE_INTERNAL",
                "internal_profile": {"usable_networks": [{"nw_ref": "/api/network/n", "labels": label}], "ttl": 30},
            })),
        ),
        (
            "serviceenginegroup",
            object_with(json!({"cloud_ref": CLOUD_REF, "labels": label, "ha_mode": "HA_MODE_SHARED"})),
        ),
    ]
}

fn account_and_service_samples() -> Vec<(&'static str, Value)> {
    let markers = json!([{"key": "clustername", "values": ["c1", "c2"]}]);
    vec![
        (
            "tenant",
            object_with(json!({"local": true, "config_settings": {
                "se_in_provider_context": true, "tenant_access_to_provider_se": true, "tenant_vrf": false,
            }})),
        ),
        (
            "role",
            object_with(json!({
                "privileges": [{"resource": "PERMISSION_POOL", "type": "SOME_ACCESS"}], "allow_unlabelled_access": true,
                "filters": [{
                    "match_label": {"key": "k", "values": ["v"]}, "match_operation": "ROLE_FILTER_GLOB", "enabled": true,
                }],
            })),
        ),
        (
            "user",
            object_with(json!({
                "username": "u", "password": "p", "default_tenant_ref": "/api/tenant/t", "service_user": false,
                "user_profile_ref": "/api/useraccountprofile/u",
                "access": [{"role_ref": "/api/role/r", "tenant_ref": "/api/tenant/t", "all_tenants": false}],
            })),
        ),
        (
            "virtualservice",
            object_with(json!({
                "cloud_ref": CLOUD_REF, "created_by": "ako-c1", "markers": markers, "vsvip_ref": "/api/vsvip/v",
                "pool_ref": "/api/pool/p", "vh_parent_vs_ref": "/api/virtualservice/v",
            })),
        ),
        ("pool", object_with(json!({"cloud_ref": CLOUD_REF, "created_by": "ako-c1", "markers": markers}))),
        ("vsvip", object_with(json!({"cloud_ref": CLOUD_REF, "markers": markers}))),
        ("vrfcontext", object_with(json!({"cloud_ref": CLOUD_REF}))),
        ("any", object_with(json!({"created_by": "ako-c1", "markers": markers}))),
    ]
}

fn through(kind: &str, object: Value) -> Result<Value, String> {
    fn by<T: Object>(object: Value) -> Result<Value, String> {
        let typed: T = serde_json::from_value(object).map_err(|error| error.to_string())?;
        serde_json::to_value(typed).map_err(|error| error.to_string())
    }
    match kind {
        "cloud" => by::<Cloud>(object),
        "network" => by::<Network>(object),
        "ipamdnsproviderprofile" => by::<IpamDnsProviderProfile>(object),
        "serviceenginegroup" => by::<ServiceEngineGroup>(object),
        "tenant" => by::<Tenant>(object),
        "role" => by::<Role>(object),
        "user" => by::<User>(object),
        "virtualservice" => by::<VirtualService>(object),
        "pool" => by::<Pool>(object),
        "vsvip" => by::<VsVip>(object),
        "vrfcontext" => by::<VrfContext>(object),
        _ => by::<Any>(object),
    }
}

/// Calls `change` with every object in the value, at any depth.
fn each_object(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| each_object(field, change));
            change(fields);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_object(item, change)),
        _ => {}
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter_map("no number of JSON", |number| {
            number.is_finite().then(|| Value::from(number))
        }),
        "\\PC*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("\\PC*", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Adds unknown fields to every object within the object.
    #[test]
    fn what_is_not_known_comes_back(extra in prop::collection::btree_map("x[a-z_]{0,6}", anything(), 1..4)) {
        for (kind, mut object) in samples() {
            each_object(&mut object, &mut |fields| fields.extend(extra.clone()));
            prop_assert_eq!(through(kind, object.clone()), Ok(object), "{}", kind);
        }
    }
}

/// Missing fields and `null` are neither added nor an error.
#[test]
fn what_is_not_there_stays_away() {
    // An object without these is meaningless.
    let needed = [
        "prefix",
        "ip_addr",
        "mask",
        "addr",
        "type",
        "range",
        "begin",
        "end",
        "nw_ref",
        "key",
        "resource",
        "match_label",
    ];
    for (kind, full) in samples() {
        let mut names = Vec::new();
        each_object(&mut full.clone(), &mut |fields| names.extend(fields.keys().cloned()));
        for name in names.iter().filter(|name| !needed.contains(&&***name)) {
            let (mut without, mut null) = (full.clone(), full.clone());
            each_object(&mut without, &mut |fields| drop(fields.remove(name)));
            assert_eq!(through(kind, without.clone()), Ok(without.clone()), "{kind} without {name}");
            each_object(&mut null, &mut |fields| {
                if let Some(field) = fields.get_mut(name) {
                    *field = Value::Null;
                }
            });
            // In `any` its meaning is not known, so it stays.
            let known = if kind == "any" && ["created_by", "markers", "key", "values"].contains(&&**name) {
                null.clone()
            } else {
                without
            };
            assert_eq!(through(kind, null), Ok(known), "{kind} with {name} null");
        }
    }
}

#[test]
fn marks_of_whatever_object() {
    let (_, any) = samples().pop().unwrap_or_default();
    let any: Any = serde_json::from_value(any).unwrap();
    assert_eq!(any.created_by(), Some("ako-c1"));
    assert!(
        Marker::any(&any.markers(), "clustername", "c2") && !Marker::any(&any.markers(), "clustername", "c3")
    );
    assert!(Any::default().markers().is_empty() && Any::default().created_by().is_none());
}
