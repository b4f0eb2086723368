//! References between objects: their place in a body, the forms that clients send, and the canonical form.
//!
//! The canonical form is `/api/<kind>/<uuid>`. It does not contain the controller's address.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::kind::Kind;
use super::query::decode;
use super::table::Id;

/// The target kinds of fields whose names do not tell it. Otherwise the name is `<kind>_ref` or `<kind>_refs`, in which
/// the kind may contain underscores.
static TARGETS: &[(&str, &str)] = &[
    ("bot_policy_ref", "botdetectionpolicy"),
    ("ca_ref", "sslkeyandcertificate"),
    ("default_tenant_ref", "tenant"),
    ("deployment_policy_ref", "poolgroupdeploymentpolicy"),
    ("dns_provider_ref", "ipamdnsproviderprofile"),
    ("east_west_dns_provider_ref", "ipamdnsproviderprofile"),
    ("east_west_ipam_provider_ref", "ipamdnsproviderprofile"),
    ("hardwaresecuritymodulegroup_ref", "hardwaresecuritymodulegroup"),
    ("host_refs", "vimgrhostruntime"),
    ("icap_request_profile_refs", "icapprofile"),
    ("ipam_provider_ref", "ipamdnsproviderprofile"),
    ("mgmt_network_ref", "network"),
    ("nw_ref", "network"),
    ("obj_cloud_ref", "cloud"),
    ("pool_group_ref", "poolgroup"),
    ("se_group_ref", "serviceenginegroup"),
    ("se_group_template_ref", "serviceenginegroup"),
    ("server_network_profile_ref", "networkprofile"),
    ("service_pool_group_ref", "poolgroup"),
    ("service_pool_ref", "pool"),
    ("sp_pool_refs", "pool"),
    ("ssl_key_certificate_refs", "sslkeyandcertificate"),
    ("usable_network_refs", "network"),
    ("user_profile_ref", "useraccountprofile"),
    ("vcenter_ref", "vcenterserver"),
    ("vh_parent_vs_ref", "virtualservice"),
    ("vimgrnw_ref", "vimgrnwruntime"),
    ("vrf_ref", "vrfcontext"),
    ("vs_datascript_set_ref", "vsdatascriptset"),
    ("vs_ref", "virtualservice"),
];

/// Returns the target kind of a field, if it is known.
pub(super) fn target_kind(field: &str) -> Option<&'static Kind> {
    if let Some((_, kind)) = TARGETS.iter().find(|(name, _)| *name == field) {
        return Kind::find(kind);
    }
    let stem = field.strip_suffix("_refs").or_else(|| field.strip_suffix("_ref"))?;
    Kind::find(&stem.replace('_', ""))
}

/// A parsed reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pointer {
    /// `https://host/api/pool/pool-1#name`, `/api/pool/pool-1`.
    Uuid(String, String),
    /// `/api/pool/?name=p`, `/api/pool?name=p`.
    Name(String, String),
    /// A uuid without a kind.
    Bare(String),
}

/// Parses a reference; `None` if it has no known form.
pub(super) fn parse(text: &str) -> Option<Pointer> {
    let text = text.trim();
    let path = match text.find("/api/") {
        Some(at) if text[..at].trim_matches('/').is_empty() || text.starts_with("http") => &text[at + 5..],
        Some(_) => return None,
        None if text.starts_with("api/") => &text[4..],
        None if text.contains(['/', '?', ' ']) => return None,
        None => {
            let uuid = text.split('#').next().unwrap_or_default();
            return (!uuid.is_empty()).then(|| Pointer::Bare(uuid.to_owned()));
        }
    };
    let path = path.trim_start_matches('/');
    let kind = path.split(['/', '?', '#']).next().unwrap_or_default();
    let rest = path[kind.len()..].trim_start_matches('/');
    if let Some(query) = rest.strip_prefix('?') {
        let name = query.split('&').find_map(|pair| pair.strip_prefix("name="))?;
        return Some(Pointer::Name(kind.to_lowercase(), decode(name)));
    }
    let uuid = rest.split(['#', '?', '/']).next().unwrap_or_default();
    (!kind.is_empty() && !uuid.is_empty()).then(|| Pointer::Uuid(kind.to_lowercase(), uuid.to_owned()))
}

/// Returns the canonical form.
pub(super) fn canonical(kind: &str, uuid: &str) -> String {
    format!("/api/{kind}/{uuid}")
}

/// Returns the uuid of a reference: the last segment of its path.
pub(super) fn uuid_of(text: &str) -> &str {
    text.split('#').next().unwrap_or_default().rsplit('/').next().unwrap_or_default()
}

/// Parses a reference in the canonical form; `None` if the simulator has no objects of its kind.
pub(super) fn parse_canonical(text: &str) -> Option<Id> {
    let (kind, uuid) = text.strip_prefix("/api/")?.split_once('/')?;
    let kind = Kind::find(kind)?;
    (kind.shape != super::kind::Shape::Foreign).then(|| Id { kind: kind.name, uuid: uuid.to_owned() })
}

/// Calls `each` with every reference of a body: texts under keys that end with `_ref` or `_refs`, at any depth.
pub(super) fn visit<'a>(value: &'a Value, each: &mut impl FnMut(&'a str, &'a str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key.ends_with("_ref") => each(key, text),
                    Value::Array(list) if key.ends_with("_refs") => {
                        for entry in list {
                            match entry {
                                Value::String(text) => each(key, text),
                                other => visit(other, each),
                            }
                        }
                    }
                    _ => visit(value, each),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| visit(value, each)),
        _ => {}
    }
}

/// Replaces every reference of a body by the result of `each`; `Ok(None)` removes it.
pub(super) fn rewrite<E>(
    map: &mut Map<String, Value>,
    each: &mut impl FnMut(&str, &str) -> Result<Option<String>, E>,
) -> Result<(), E> {
    let mut gone = Vec::new();
    for (key, value) in map.iter_mut() {
        match value {
            Value::String(text) if key.ends_with("_ref") => match each(key, text)? {
                Some(new) => *text = new,
                None => gone.push(key.clone()),
            },
            Value::Array(list) if key.ends_with("_refs") => {
                let mut kept = Vec::with_capacity(list.len());
                for mut entry in list.drain(..) {
                    if let Value::String(text) = &entry {
                        kept.extend(each(key, text)?.map(Value::String));
                    } else {
                        rewrite_within(&mut entry, each)?;
                        kept.push(entry);
                    }
                }
                *list = kept;
            }
            _ => rewrite_within(value, each)?,
        }
    }
    for key in gone {
        map.remove(&key);
    }
    Ok(())
}

fn rewrite_within<E>(
    value: &mut Value,
    each: &mut impl FnMut(&str, &str) -> Result<Option<String>, E>,
) -> Result<(), E> {
    match value {
        Value::Object(map) => rewrite(map, each),
        Value::Array(list) => list.iter_mut().try_for_each(|value| rewrite_within(value, each)),
        _ => Ok(()),
    }
}

/// Returns the targets of all references of a stored object.
pub(super) fn collect(value: &Value) -> BTreeSet<Id> {
    let mut found = BTreeSet::new();
    visit(value, &mut |_, text| found.extend(parse_canonical(text)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_parsed_in_all_forms() {
        let uuid = |kind: &str, uuid: &str| Some(Pointer::Uuid(kind.into(), uuid.into()));
        let name = |kind: &str, name: &str| Some(Pointer::Name(kind.into(), name.into()));
        for (text, expected) in [
            ("https://10.0.0.1/api/pool/pool-1", uuid("pool", "pool-1")),
            ("https://10.0.0.1:8443/api/pool/pool-1#web front", uuid("pool", "pool-1")),
            ("https://10.0.0.1//api//pool/pool-1/", uuid("pool", "pool-1")),
            ("/api/tenant/admin", uuid("tenant", "admin")),
            ("api/Pool/pool-1", uuid("pool", "pool-1")),
            ("/api/pool/?name=web", name("pool", "web")),
            ("/api/pool?name=web%20front", name("pool", "web front")),
            ("/api/tenant/?name=a+b", name("tenant", "a b")),
            ("/api/VsVip/?cloud=x&name=v", name("vsvip", "v")),
            ("pool-1", Some(Pointer::Bare("pool-1".into()))),
            ("", None),
            ("/api/pool", None),
            ("/api/pool/", None),
            ("/api/pool?x=1", None),
            ("some words", None),
            ("ftp://h/api/pool/pool-1", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn references_are_found_and_removed_at_any_depth() {
        let body = serde_json::json!({
            "pool_ref": "/api/pool/a", "x": {"y": [{"nw_ref": "/api/network/b"}]},
            "ssl_profile_refs": ["/api/sslprofile/c", ""], "name_ref": 3
        });
        let mut seen = Vec::new();
        visit(&body, &mut |key, text| seen.push(format!("{key}={text}")));
        seen.sort();
        assert_eq!(
            seen,
            [
                "nw_ref=/api/network/b",
                "pool_ref=/api/pool/a",
                "ssl_profile_refs=",
                "ssl_profile_refs=/api/sslprofile/c"
            ]
        );
        let Value::Object(mut map) = body else { panic!("an object") };
        rewrite(&mut map, &mut |_, text| {
            Ok::<_, ()>((text.contains("/b") || text.contains("/c")).then(|| text.to_uppercase()))
        })
        .unwrap();
        assert_eq!(
            Value::Object(map),
            serde_json::json!({"x": {"y": [{"nw_ref": "/API/NETWORK/B"}]}, "ssl_profile_refs": ["/API/SSLPROFILE/C"], "name_ref": 3})
        );
    }
}
