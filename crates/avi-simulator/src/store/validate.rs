//! Checks of a single body: required fields, defaults, valid values. Knows no other object.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::kind::Kind;
use super::text;
use crate::{ApiError, Version};

/// The first version without the resource `PERMISSION_PINGACCESSAGENT`.
const WITHOUT_PING_ACCESS: Version = Version(30, 2, 1);

/// The maximum number of levels of nesting of an object, itself included. JSON parsers accept 128, and replies put objects
/// into lists.
pub(super) const MAX_DEPTH: usize = 100;

/// Checks the required fields and the values of a body.
pub(super) fn check(kind: &Kind, version: Version, body: &Map<String, Value>) -> Result<(), ApiError> {
    if body.values().any(|value| is_deeper_than(value, MAX_DEPTH - 1)) {
        return Err(invalid(kind, "values are nested too deeply."));
    }
    for path in kind.required {
        check_required(body, path).map_err(|at| invalid(kind, &format!("{at}: This field is required.")))?;
    }
    if body.contains_key("name") && body.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(invalid(kind, "name: write a text that is not empty."));
    }
    match kind.name {
        "network" => check_subnets(kind, body),
        "serviceenginegroup" if list(body, "labels").len() > 1 => {
            Err(invalid(kind, "labels: Maximum of 1 items allowed."))
        }
        "ipamdnsproviderprofile" => check_ipam(kind, body),
        "role" => check_role(kind, version, body),
        "controllerproperties" => check_range(kind, body, "api_idle_timeout", 0..=1440),
        "systemconfiguration" => match body.get("portal_configuration") {
            Some(Value::Object(portal)) => check_range(kind, portal, "api_force_timeout", 1..=24),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Creates a 400 that starts with the kind's name.
pub(super) fn invalid(kind: &Kind, text: &str) -> ApiError {
    ApiError::new(400, format!("{}: {text}", kind.model))
}

/// Returns whether a value has more than `depth` levels of nesting.
pub(super) fn is_deeper_than(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(list) => depth == 0 || list.iter().any(|value| is_deeper_than(value, depth - 1)),
        Value::Object(map) => depth == 0 || map.values().any(|value| is_deeper_than(value, depth - 1)),
        _ => depth == 0,
    }
}

/// Checks that the last step of a path exists in each parent that exists. The error is the path of a missing field.
fn check_required(body: &Map<String, Value>, path: &str) -> Result<(), String> {
    fn walk(body: &Map<String, Value>, path: &str, parent: &str) -> Result<(), String> {
        let (step, rest) = path.split_once('.').unwrap_or((path, ""));
        let (name, many) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        let here = format!("{parent}{name}");
        match body.get(name) {
            None | Some(Value::Null) if rest.is_empty() => Err(here),
            None | Some(Value::Null) => Ok(()),
            Some(Value::Array(list)) if many => list.iter().enumerate().try_for_each(|(index, value)| {
                let here = format!("{here}[{index}]");
                value.as_object().ok_or(here.clone()).and_then(|value| walk(value, rest, &format!("{here}.")))
            }),
            Some(Value::Object(value)) if !many && !rest.is_empty() => walk(value, rest, &format!("{here}.")),
            Some(_) if rest.is_empty() => Ok(()),
            Some(_) => Err(here),
        }
    }
    walk(body, path, "")
}

fn list<'a>(body: &'a Map<String, Value>, field: &str) -> &'a [Value] {
    body.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Parses an address `{addr, type}`; the type must match.
pub(super) fn parse_address(value: Option<&Value>) -> Option<IpAddr> {
    let value = value?;
    let address: IpAddr = text(value, "addr").parse().ok()?;
    let expected = if address.is_ipv4() { "V4" } else { "V6" };
    (text(value, "type") == expected).then_some(address)
}

fn check_subnets(kind: &Kind, body: &Map<String, Value>) -> Result<(), ApiError> {
    for subnet in list(body, "configured_subnets") {
        let prefix = subnet.get("prefix").unwrap_or(&Value::Null);
        let network = parse_address(prefix.get("ip_addr"))
            .ok_or_else(|| invalid(kind, "configured_subnets.prefix.ip_addr: not an address of its type."))?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        if prefix.get("mask").and_then(Value::as_u64).is_none_or(|mask| mask > bits) {
            return Err(invalid(kind, &format!("configured_subnets.prefix.mask: write 0 to {bits}.")));
        }
        for range in subnet.get("static_ip_ranges").and_then(Value::as_array).into_iter().flatten() {
            let bound = |end: &str| parse_address(range.pointer(&format!("/range/{end}")));
            let (Some(begin), Some(end)) = (bound("begin"), bound("end")) else {
                return Err(invalid(kind, "static_ip_ranges.range: not addresses of their type."));
            };
            if begin > end || begin.is_ipv4() != end.is_ipv4() {
                return Err(invalid(kind, &format!("static_ip_ranges.range: {begin} is after {end}.")));
            }
            if !matches!(
                text(range, "type"),
                "" | "STATIC_IPS_FOR_VIP_AND_SE" | "STATIC_IPS_FOR_VIP" | "STATIC_IPS_FOR_SE"
            ) {
                return Err(invalid(kind, "static_ip_ranges.type: unknown value."));
            }
        }
    }
    Ok(())
}

fn check_ipam(kind: &Kind, body: &Map<String, Value>) -> Result<(), ApiError> {
    let of = body.get("type").and_then(Value::as_str).unwrap_or_default();
    if !of.starts_with("IPAMDNS_TYPE_") {
        return Err(invalid(kind, &format!("type: '{of}' is not one of IPAMDNS_TYPE_….")));
    }
    let Some(profile) = body.get("internal_profile") else { return Ok(()) };
    if !matches!(of, "IPAMDNS_TYPE_INTERNAL" | "IPAMDNS_TYPE_INTERNAL_DNS") {
        return Err(invalid(kind, &format!("internal_profile: not with type {of}.")));
    }
    let usable = profile.get("usable_networks").and_then(Value::as_array);
    let labels = |network: &Value| network.get("labels").and_then(Value::as_array).map_or(0, Vec::len);
    if usable.into_iter().flatten().any(|network| labels(network) > 1) {
        return Err(invalid(kind, "usable_networks.labels: Maximum of 1 items allowed."));
    }
    Ok(())
}

fn check_role(kind: &Kind, version: Version, body: &Map<String, Value>) -> Result<(), ApiError> {
    for privilege in list(body, "privileges") {
        let resource = text(privilege, "resource");
        if !resources(version).any(|known| known == resource) {
            return Err(invalid(kind, &format!("privileges.resource: '{resource}' is not a resource.")));
        }
        if !matches!(text(privilege, "type"), "NO_ACCESS" | "READ_ACCESS" | "WRITE_ACCESS") {
            return Err(invalid(kind, &format!("privileges.type of {resource}: unknown value.")));
        }
    }
    if list(body, "filters").len() > 4 {
        return Err(invalid(kind, "filters: Maximum of 4 items allowed."));
    }
    if let Some(filter) =
        list(body, "filters").iter().find(|filter| !MATCHES.contains(&text(filter, "match_operation")))
    {
        let operation = text(filter, "match_operation");
        return Err(invalid(kind, &format!("filters.match_operation: '{operation}' is unknown.")));
    }
    Ok(())
}

/// Checks that a number, if present, is in a range.
fn check_range(
    kind: &Kind,
    body: &Map<String, Value>,
    field: &str,
    range: RangeInclusive<u64>,
) -> Result<(), ApiError> {
    match body.get(field) {
        Some(value) if !value.as_u64().is_some_and(|number| range.contains(&number)) => {
            let (least, most) = range.into_inner();
            Err(invalid(kind, &format!("{field}: write {least} to {most}.")))
        }
        _ => Ok(()),
    }
}

/// Returns the value at a dotted path.
pub(super) fn field_mut<'a>(body: &'a mut Map<String, Value>, path: &str) -> Option<&'a mut Value> {
    let mut steps = path.split('.');
    let first = body.get_mut(steps.next()?)?;
    steps.try_fold(first, |value, step| value.get_mut(step))
}

/// Fills in the defaults that the body lacks, also inside objects that it has.
pub(super) fn fill_defaults(body: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (key, default) in defaults {
        match (body.get_mut(key), default) {
            (None, _) => {
                body.insert(key.clone(), default.clone());
            }
            (Some(Value::Object(inner)), Value::Object(defaults)) => fill_defaults(inner, defaults),
            _ => {}
        }
    }
}

/// Removes the fields with their default value.
pub(super) fn remove_defaults(body: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (key, default) in defaults {
        if let (Some(Value::Object(inner)), Value::Object(defaults)) = (body.get_mut(key), default) {
            remove_defaults(inner, defaults);
            if inner.is_empty() {
                body.remove(key);
            }
        } else if body.get(key) == Some(default) {
            body.remove(key);
        }
    }
}

/// Orders JSON values for `sort`: missing, false, true, numbers, texts, then all others as text.
pub(super) fn compare(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    fn rank(value: Option<&Value>) -> u8 {
        match value {
            None | Some(Value::Null) => 0,
            Some(Value::Bool(false)) => 1,
            Some(Value::Bool(true)) => 2,
            Some(Value::Number(_)) => 3,
            Some(Value::String(_)) => 4,
            Some(_) => 5,
        }
    }
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => {
            a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default())
        }
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (Some(a), Some(b)) if rank(Some(a)) == 5 => a.to_string().cmp(&b.to_string()),
        _ => Ordering::Equal,
    })
}

/// Returns the resources of a version, with the prefix `PERMISSION_`.
pub(super) fn resources(version: Version) -> impl Iterator<Item = String> {
    let all = PERMISSIONS.iter().map(|resource| format!("PERMISSION_{resource}"));
    all.filter(move |resource| !is_removed(version, resource))
}

/// Returns whether a version has removed a resource.
pub(super) fn is_removed(version: Version, resource: &str) -> bool {
    resource == "PERMISSION_PINGACCESSAGENT" && version >= WITHOUT_PING_ACCESS
}

/// The match operations of a role's filters.
const MATCHES: &[&str] = &[
    "ROLE_FILTER_EQUALS",
    "ROLE_FILTER_DOES_NOT_EQUAL",
    "ROLE_FILTER_GLOB_MATCH",
    "ROLE_FILTER_GLOB_DOES_NOT_MATCH",
];

/// The resources of privileges, without the prefix `PERMISSION_`.
const PERMISSIONS: &[&str] = &[
    "CONTROLLER",
    "INTERNAL",
    "VIRTUALSERVICE",
    "POOL",
    "HEALTHMONITOR",
    "NETWORKPROFILE",
    "APPLICATIONPROFILE",
    "HTTPPOLICYSET",
    "IPADDRGROUP",
    "STRINGGROUP",
    "SSLPROFILE",
    "SSLKEYANDCERTIFICATE",
    "NETWORKSECURITYPOLICY",
    "APPLICATIONPERSISTENCEPROFILE",
    "ANALYTICSPROFILE",
    "VSDATASCRIPTSET",
    "TENANT",
    "PKIPROFILE",
    "AUTHPROFILE",
    "CLOUD",
    "SERVICEENGINE",
    "SERVICEENGINEGROUP",
    "NETWORK",
    "SYSTEMCONFIGURATION",
    "VRFCONTEXT",
    "USER",
    "ROLE",
    "ALERT",
    "ALERTCONFIG",
    "ALERTEMAILCONFIG",
    "ALERTSYSLOGCONFIG",
    "ACTIONGROUPCONFIG",
    "SNMPTRAPPROFILE",
    "UPGRADE",
    "REBOOT",
    "TECHSUPPORT",
    "EXEMPT",
    "VIRTUALSERVICE_MAINTENANCE",
    "POOL_MAINTENANCE",
    "TRAFFIC_CAPTURE",
    "MICROSERVICEGROUP",
    "IPAMDNSPROVIDERPROFILE",
    "CERTIFICATEMANAGEMENTPROFILE",
    "POOLGROUP",
    "PRIORITYLABELS",
    "POOLGROUPDEPLOYMENTPOLICY",
    "GSLB",
    "GSLBSERVICE",
    "GSLBGEODBPROFILE",
    "DNSPOLICY",
    "TRAFFICCLONEPROFILE",
    "SE_TOKEN",
    "WAFPOLICY",
    "WAFPROFILE",
    "USER_CREDENTIAL",
    "AUTOSCALE",
    "CUSTOMIPAMDNSPROFILE",
    "ERRORPAGEPROFILE",
    "ERRORPAGEBODY",
    "L4POLICYSET",
    "MICROSERVICE",
    "HARDWARESECURITYMODULEGROUP",
    "SECURITYPOLICY",
    "WAFPOLICYPSMGROUP",
    "PINGACCESSAGENT",
    "NETWORKSERVICE",
    "NATPOLICY",
    "PROTOCOLPARSER",
    "SSOPOLICY",
    "CONTROLLERSITE",
    "IMAGE",
    "UPGRADE_OPS",
    "UPGRADE_SEGROUP_OPS",
    "TESTSEDATASTORELEVEL1",
    "TESTSEDATASTORELEVEL2",
    "TESTSEDATASTORELEVEL3",
    "FILE_OBJECT",
    "IPREPUTATIONDB",
    "ICAP",
    "GSLBSERVICE_GROUP",
    "JWTSERVERPROFILE",
    "GEODB",
    "BOTDETECTIONPOLICY",
    "JWTPROFILE",
    "LABELGROUP",
    "WAFCRS",
    "AUTHMAPPINGPROFILE",
    "ALBSERVICESCONFIG",
    "ALBSERVICESSTATUS",
    "ALBSERVICESREG",
    "LICENSING",
    "ALBSERVICESUSERINFO",
    "TENANT_SYSTEM_CONFIGURATION",
    "CSRFPOLICY",
    "SERVICEAUTHPROFILE",
    "SYSTEMREPORT",
    "CLOUD_API",
    "TASKJOURNAL",
];
