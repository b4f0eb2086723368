//! Conversion between API versions: objects are stored in the newest shape, a client reads and writes that of its version.
//!
//! Before 20.1.3 a subnet has `static_ranges` and `static_ips`, an IPAM profile `usable_network_refs`. Since then they are
//! `static_ip_ranges` (with a `type`) and `usable_networks` (with labels). A field of the other shape is dropped. The
//! privileges of a role for resources that a version does not know are hidden from it.

use serde_json::{Map, Value, json};

use super::text;
use super::validate::is_removed;
use crate::Version;

/// The default type of a range.
const RANGE_TYPE: &str = "STATIC_IPS_FOR_VIP_AND_SE";

/// Converts a body from the shape of `version` to the newest.
pub(super) fn to_newest(kind: &str, version: Version, body: &mut Map<String, Value>) {
    let old = version < Version::STATIC_IP_RANGES;
    match kind {
        "network" => each_subnet(body, |subnet| {
            let ranges = subnet.remove("static_ranges");
            let single = subnet.remove("static_ips");
            if !old {
                return;
            }
            subnet.remove("static_ip_ranges");
            let given = ranges.is_some() || single.is_some();
            let mut all: Vec<Value> =
                list(ranges).map(|range| json!({"range": range, "type": RANGE_TYPE})).collect();
            all.extend(list(single).map(|ip| json!({"range": {"begin": ip, "end": ip}, "type": RANGE_TYPE})));
            if given {
                subnet.insert("static_ip_ranges".to_owned(), Value::Array(all));
            }
        }),
        "ipamdnsproviderprofile" => {
            let Some(Value::Object(profile)) = body.get_mut("internal_profile") else { return };
            let refs = profile.remove("usable_network_refs");
            if !old {
                return;
            }
            profile.remove("usable_networks");
            if refs.is_some() {
                let networks = list(refs).map(|nw_ref| json!({"nw_ref": nw_ref})).collect();
                profile.insert("usable_networks".to_owned(), Value::Array(networks));
            }
        }
        _ => {}
    }
}

/// Converts a body from the newest shape to that of `version`.
pub(super) fn to_version(kind: &str, version: Version, body: &mut Map<String, Value>) {
    let old = version < Version::STATIC_IP_RANGES;
    match kind {
        "role" => {
            let Some(Value::Array(privileges)) = body.get_mut("privileges") else { return };
            privileges.retain(|privilege| !is_removed(version, text(privilege, "resource")));
        }
        "network" if old => each_subnet(body, |subnet| {
            if let Some(ranges) = subnet.remove("static_ip_ranges") {
                let plain =
                    list(Some(ranges)).filter_map(|mut range| range.get_mut("range").map(Value::take));
                subnet.insert("static_ranges".to_owned(), plain.collect());
            }
        }),
        "ipamdnsproviderprofile" if old => {
            let Some(Value::Object(profile)) = body.get_mut("internal_profile") else { return };
            if let Some(networks) = profile.remove("usable_networks") {
                let plain =
                    list(Some(networks)).filter_map(|mut network| network.get_mut("nw_ref").map(Value::take));
                profile.insert("usable_network_refs".to_owned(), plain.collect());
            }
        }
        _ => {}
    }
}

/// Restores what a body of an old version cannot express, from the stored object `old`: the types of unchanged ranges and
/// the labels of unchanged networks. The body must be in the newest shape with canonical refs.
pub(super) fn restore_unseen(kind: &str, version: Version, old: &Value, body: &mut Map<String, Value>) {
    if version >= Version::STATIC_IP_RANGES {
        return;
    }
    let entries =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    match kind {
        "network" => {
            let mut subnets = entries(old, "configured_subnets");
            each_subnet(body, |subnet| {
                let same = subnets.iter().position(|was| was.get("prefix") == subnet.get("prefix"));
                let Some(was) = same.map(|at| subnets.remove(at)) else { return };
                restore(subnet.get_mut("static_ip_ranges"), entries(&was, "static_ip_ranges"), "range");
            });
        }
        "ipamdnsproviderprofile" => {
            let networks =
                old.get("internal_profile").map(|was| entries(was, "usable_networks")).unwrap_or_default();
            let profile = body.get_mut("internal_profile");
            restore(profile.and_then(|profile| profile.get_mut("usable_networks")), networks, "nw_ref");
        }
        _ => {}
    }
}

/// Replaces each entry by one of `before` with the same `key`; uses each of `before` once.
fn restore(now: Option<&mut Value>, mut before: Vec<Value>, key: &str) {
    for entry in now.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(at) = before.iter().position(|was| was.get(key) == entry.get(key)) {
            *entry = before.remove(at);
        }
    }
}

/// Fills in what is said nowhere but inside of lists and optional parts.
pub(super) fn fill_defaults(kind: &str, body: &mut Map<String, Value>) {
    match kind {
        "network" => each_subnet(body, |subnet| {
            let Some(Value::Array(ranges)) = subnet.get_mut("static_ip_ranges") else { return };
            for range in ranges.iter_mut().filter_map(Value::as_object_mut) {
                range.entry("type").or_insert_with(|| Value::String(RANGE_TYPE.to_owned()));
            }
        }),
        "role" => {
            let Some(Value::Array(filters)) = body.get_mut("filters") else { return };
            for filter in filters.iter_mut().filter_map(Value::as_object_mut) {
                filter.entry("enabled").or_insert(Value::Bool(true));
                filter.entry("match_operation").or_insert_with(|| json!("ROLE_FILTER_EQUALS"));
            }
        }
        "ipamdnsproviderprofile" => {
            let internal = body.get("type").and_then(Value::as_str) == Some("IPAMDNS_TYPE_INTERNAL");
            if internal {
                body.entry("internal_profile").or_insert_with(|| json!({}));
            }
            if let Some(Value::Object(profile)) = body.get_mut("internal_profile") {
                profile.entry("ttl").or_insert_with(|| json!(30));
            }
        }
        _ => {}
    }
}

fn each_subnet(body: &mut Map<String, Value>, mut change: impl FnMut(&mut Map<String, Value>)) {
    let Some(Value::Array(subnets)) = body.get_mut("configured_subnets") else { return };
    subnets.iter_mut().filter_map(Value::as_object_mut).for_each(&mut change);
}

fn list(value: Option<Value>) -> impl Iterator<Item = Value> {
    match value {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
    .into_iter()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: Version = Version(20, 1, 2);
    const NEW: Version = Version(30, 2, 1);

    fn through(
        kind: &str,
        version: Version,
        body: &Value,
        how: fn(&str, Version, &mut Map<String, Value>),
    ) -> Value {
        let mut map = body.as_object().cloned().unwrap();
        how(kind, version, &mut map);
        Value::Object(map)
    }

    fn ip() -> impl Strategy<Value = Value> {
        any::<[u8; 4]>().prop_map(|b| json!({"addr": std::net::Ipv4Addr::from(b).to_string(), "type": "V4"}))
    }

    proptest! {
        #[test]
        fn old_clients_read_what_they_wrote(
            ranges in prop::collection::vec((ip(), ip()), 0..4),
            refs in prop::collection::vec("[a-z]{1,5}", 0..4),
        ) {
            let ranges: Vec<Value> = ranges.into_iter().map(|(begin, end)| json!({"begin": begin, "end": end})).collect();
            let network = json!({"name": "n", "configured_subnets": [{"prefix": 1, "static_ranges": ranges}, {"prefix": 2}]});
            let kept = through("network", OLD, &network, to_newest);
            prop_assert!(!kept.to_string().contains("static_ranges"));
            prop_assert_eq!(through("network", OLD, &kept, to_version), network);
            let profile = json!({"internal_profile": {"ttl": 1, "usable_network_refs": refs}});
            let kept = through("ipamdnsproviderprofile", OLD, &profile, to_newest);
            prop_assert_eq!(through("ipamdnsproviderprofile", OLD, &kept, to_version), profile);
        }

        #[test]
        fn ranges_of_the_default_type_survive_an_old_client(ranges in prop::collection::vec((ip(), ip()), 0..4)) {
            let ranges: Vec<Value> = ranges
                .into_iter()
                .map(|(begin, end)| json!({"range": {"begin": begin, "end": end}, "type": RANGE_TYPE}))
                .collect();
            let kept = json!({"configured_subnets": [{"static_ip_ranges": ranges}]});
            let old = through("network", OLD, &kept, to_version);
            prop_assert_eq!(through("network", OLD, &old, to_newest), kept);
        }
    }

    #[test]
    fn new_clients_use_the_newest_shape_only() {
        let kept = json!({"configured_subnets": [{"static_ip_ranges": [{"range": 1}]}]});
        assert_eq!(through("network", NEW, &kept, to_version), kept);
        let old = json!({"configured_subnets": [{"static_ranges": [1], "static_ips": [2]}]});
        assert_eq!(through("network", NEW, &old, to_newest), json!({"configured_subnets": [{}]}));
        assert_eq!(through("network", OLD, &kept, to_newest), json!({"configured_subnets": [{}]}));
    }

    #[test]
    fn single_addresses_become_ranges_of_one_address() {
        let old = json!({"configured_subnets": [{"static_ips": ["a"]}]});
        assert_eq!(
            through("network", OLD, &old, to_newest),
            json!({"configured_subnets": [{"static_ip_ranges": [{"range": {"begin": "a", "end": "a"}, "type": RANGE_TYPE}]}]})
        );
    }

    #[test]
    fn defaults_are_filled_in_inside_lists() {
        let body = json!({"configured_subnets": [{"static_ip_ranges": [{"range": 1}, {"type": "STATIC_IPS_FOR_SE"}]}]});
        let full = through("network", NEW, &body, |kind, _, body| fill_defaults(kind, body));
        let ranges = &full["configured_subnets"][0]["static_ip_ranges"];
        assert_eq!(ranges[0]["type"], RANGE_TYPE);
        assert_eq!(ranges[1]["type"], "STATIC_IPS_FOR_SE");
        let internal =
            through("ipamdnsproviderprofile", NEW, &json!({"type": "IPAMDNS_TYPE_INTERNAL"}), |k, _, b| {
                fill_defaults(k, b);
            });
        assert_eq!(internal["internal_profile"], json!({"ttl": 30}));
        let other =
            through("ipamdnsproviderprofile", NEW, &json!({"type": "IPAMDNS_TYPE_INFOBLOX"}), |k, _, b| {
                fill_defaults(k, b);
            });
        assert!(other.get("internal_profile").is_none());
    }
}
