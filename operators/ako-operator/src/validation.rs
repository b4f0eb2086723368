//! What is wrong with an AKODeploymentConfig, without asking AVI or reading Secrets.
//!
//! A pure function for the admission webhook and for the condition Ready. Fields are named as the original's webhook names them, and
//! its messages begin with the original's words. What only AVI can answer is not looked at: that becomes a condition.

mod port_groups;

use infra_clients::avi::Scope;
use ipnet::IpNet;
use operator_kit::webhook::FieldError;

use crate::api::{
    ADMIN_TENANT, AkoDeploymentConfigSpec, DEFAULT_ADC, MANAGEMENT_ADC, SecretRef, TenantContext, TenantScope,
};
use crate::ranges::parse_pools;
use crate::selection::parse_selector;

/// What a field that must not change says.
const CHANGED: &str = "field should not be changed";

/// Returns everything that is wrong with the AKODeploymentConfig of this name; with `old`, also with its update.
#[must_use]
pub fn validate(
    name: &str,
    spec: &AkoDeploymentConfigSpec,
    old: Option<&AkoDeploymentConfigSpec>,
) -> Vec<FieldError> {
    let mut problems = Vec::new();
    let mut add = |field: &str, message| problems.push(FieldError { field: field.to_owned(), message });
    if old.is_some_and(|old| old.cluster_selector != spec.cluster_selector) {
        add("spec.ClusterSelector", CHANGED.to_owned());
    } else if let Err(error) = parse_selector(spec) {
        add("spec.ClusterSelector", error.to_string());
    } else if spec.has_empty_selector() && name != DEFAULT_ADC {
        add("spec.ClusterSelector", "field should not be empty for non-default ADC".to_owned());
    }
    if spec.controller_version.as_deref().is_some_and(|version| !is_version(version)) {
        let message = "invalid controller version format, example valid controller version: 21.1.4";
        add("spec.ControllerVersion", message.to_owned());
    }
    let replicas = spec.extra_configs.as_ref().and_then(|extra| extra.replica_count);
    if replicas.is_some_and(|replicas| !(1..=2).contains(&replicas)) {
        add("spec.extraConfigs.replicaCount", "replica count must be 1 or 2".to_owned());
    }
    if old.is_some_and(|old| old.control_plane_network != spec.control_plane_network) {
        add("spec.ControlPlaneNetwork", CHANGED.to_owned());
    } else if let Some(network) = &spec.control_plane_network
        && let Err(error) = parse_cidr("control plane", &network.cidr)
    {
        add("spec.controlPlaneNetwork.cidr", error);
    }
    match parse_cidr("data plane", &spec.data_network.cidr) {
        Err(error) => add("spec.dataNetwork.cidr", error),
        Ok(subnet) => {
            let wrong = parse_pools(subnet, &spec.data_network.ip_pools).err().unwrap_or_default();
            for problem in wrong {
                add("spec.dataNetwork.ipPools", problem);
            }
        }
    }
    for message in port_groups::wrong(spec) {
        add("spec.portGroups", message);
    }
    for (field, message) in wrong_references(spec) {
        add(field, message);
    }
    let (of, ..) = tenant(spec);
    if old.is_some_and(|old| tenant(old) != tenant(spec)) {
        add("spec.tenant", CHANGED.to_owned());
    } else if !Scope::can_name(of) {
        let message = format!(
            "{of:?} cannot be the tenant of AKO, which sends its name in a header: write one of printable ASCII without spaces at its ends"
        );
        add("spec.tenant.name", message);
    }
    problems
}

/// Returns which references to Secrets no Secret can have, and why.
#[must_use]
pub fn wrong_references(spec: &AkoDeploymentConfigSpec) -> Vec<(&'static str, String)> {
    let vcenter = spec.vcenter.as_ref();
    let references = [
        ("spec.adminCredentialRef", Some(&spec.admin_credential_ref)),
        ("spec.certificateAuthorityRef", Some(&spec.certificate_authority_ref)),
        ("spec.workloadCredentialRef", spec.workload_credential_ref.as_ref()),
        ("spec.vcenter.credentialRef", vcenter.map(|vcenter| &vcenter.credential_ref)),
        (
            "spec.vcenter.certificateAuthorityRef",
            vcenter.and_then(|vcenter| vcenter.certificate_authority_ref.as_ref()),
        ),
    ];
    let wrong = references.into_iter().filter_map(|(field, reference)| {
        let SecretRef { name, namespace } = reference?;
        let is_right = is_name(namespace, 63, &[]) && is_name(name, 253, &['.']);
        let message = format!(
            "{namespace:?} and {name:?} are no namespace and name of a Secret: write them with a-z, 0-9 and -"
        );
        (!is_right).then_some((field, message))
    });
    wrong.collect()
}

/// Returns why the AKODeploymentConfig of this name must not be deleted; `None` if it may be.
#[must_use]
pub fn refuse_deletion(name: &str) -> Option<&'static str> {
    (name == MANAGEMENT_ADC).then_some("can't delete akodeploymentconfig object for management cluster")
}

/// Returns the tenant, with the defaults for what is not set.
fn tenant(spec: &AkoDeploymentConfigSpec) -> (&str, TenantContext, TenantScope) {
    spec.tenant.as_ref().map_or((ADMIN_TENANT, TenantContext::default(), TenantScope::default()), |tenant| {
        (&tenant.name, tenant.context.unwrap_or_default(), tenant.scope.unwrap_or_default())
    })
}

/// Returns whether a text is the name of an object: RFC 1123, also with `more` between letters.
fn is_name(text: &str, longest: usize, more: &[char]) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = text.chars().next().is_some_and(is_letter) && text.chars().last().is_some_and(is_letter);
    ends && text.len() <= longest && text.chars().all(|c| is_letter(c) || c == '-' || more.contains(&c))
}

/// Returns whether a text is numbers with dots between them.
fn is_version(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split('.').all(is_number)
}

fn parse_cidr(of: &str, cidr: &str) -> Result<IpNet, String> {
    cidr.parse().map_err(|_| format!("{of} network cidr {cidr:?} is not valid: write it like 10.0.0.0/24"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SELECTOR: &str = "spec.ClusterSelector";

    fn spec(change: &Value) -> AkoDeploymentConfigSpec {
        let secret = json!({ "name": "s", "namespace": "n" });
        let mut spec = json!({
            "clusterSelector": { "matchLabels": { "a": "b" } },
            "controller": "avi", "controllerVersion": "30.2.1", "cloudName": "c", "serviceEngineGroup": "g",
            "controlPlaneNetwork": { "name": "cp", "cidr": "10.1.0.0/24" },
            "dataNetwork": { "name": "dp", "cidr": "10.0.0.0/24" },
            "adminCredentialRef": secret, "certificateAuthorityRef": secret,
        });
        for (name, value) in change.as_object().unwrap() {
            spec[name] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn shown(problems: &[FieldError]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }

    fn data(cidr: &str, pools: &Value) -> Value {
        json!({ "dataNetwork": { "name": "dp", "cidr": cidr, "ipPools": pools } })
    }

    fn pool(start: &str, end: &str, kind: &str) -> Value {
        json!([{ "start": start, "end": end, "type": kind }])
    }

    fn check(cases: &[(&str, Value, &[&str])]) {
        for (name, change, wanted) in cases {
            let found = shown(&validate(name, &spec(change), None));
            assert_eq!(found.len(), wanted.len(), "{name} {change}: {found:?}");
            let begins = |(found, wanted): (&String, &&str)| found.starts_with(wanted);
            assert!(found.iter().zip(*wanted).all(begins), "{change}: {found:?}");
        }
    }

    /// With the next test, the cases of the original's `TestCreateNewAKODeploymentConfig` that need no AVI, and what it did not look at.
    #[test]
    fn selector_version_and_replicas_are_checked() {
        let replicas = |n: i32| json!({ "extraConfigs": { "replicaCount": n } });
        let expression = |value: Value| json!({ "clusterSelector": { "matchExpressions": [value] } });
        check(&[
            ("adc", json!({}), &[]),
            ("adc", json!({ "controllerVersion": null }), &[]),
            ("adc", json!({ "controllerVersion": "" }), &[]),
            (
                "adc",
                json!({ "controllerVersion": "1.2.x" }),
                &["spec.ControllerVersion: invalid controller version format"],
            ),
            ("adc", json!({ "controllerVersion": "1..2" }), &["spec.ControllerVersion: invalid"]),
            (
                "adc",
                json!({ "clusterSelector": null }),
                &["spec.ClusterSelector: field should not be empty for non-default ADC"],
            ),
            ("adc", json!({ "clusterSelector": {} }), &["spec.ClusterSelector: field should not be empty"]),
            (DEFAULT_ADC, json!({ "clusterSelector": {} }), &[]),
            (DEFAULT_ADC, json!({ "clusterSelector": null }), &[]),
            (
                "adc",
                expression(json!({ "key": "a", "operator": "Near" })),
                &["spec.ClusterSelector: \"Near\" is not"],
            ),
            (
                "adc",
                expression(json!({ "key": "a", "operator": "In" })),
                &["spec.ClusterSelector: a: In needs"],
            ),
            ("adc", replicas(1), &[]),
            ("adc", replicas(2), &[]),
            ("adc", replicas(0), &["spec.extraConfigs.replicaCount: replica count must be 1 or 2"]),
            ("adc", replicas(3), &["spec.extraConfigs.replicaCount: replica count must be 1 or 2"]),
        ]);
    }

    #[test]
    fn networks_are_checked() {
        let control_plane = |cidr: &str| json!({ "controlPlaneNetwork": { "name": "cp", "cidr": cidr } });
        check(&[
            ("adc", json!({ "controlPlaneNetwork": null }), &[]),
            ("adc", json!({ "controlPlaneNetwork": { "name": "", "cidr": "" } }), &[]),
            (
                "adc",
                control_plane("10.1.0.0"),
                &["spec.controlPlaneNetwork.cidr: control plane network cidr \"10.1.0.0\" is not valid:"],
            ),
            (
                "adc",
                data("10.0.0.0/33", &json!([])),
                &["spec.dataNetwork.cidr: data plane network cidr \"10.0.0.0/33\" is not valid:"],
            ),
            // The original went on with a CIDR that it could not parse, and panicked.
            ("adc", data("x", &pool("10.0.0.1", "10.0.0.2", "V4")), &["spec.dataNetwork.cidr: "]),
            (
                "adc",
                data("10.0.0.0/24", &pool("10.0.1.1", "10.0.1.2", "V4")),
                &["spec.dataNetwork.ipPools: Range [10.0.1.1,10.0.1.2] is not in cidr"],
            ),
            (
                "adc",
                data("10.0.0.0/24", &pool("10.0.0.2", "10.0.0.1", "V4")),
                &["spec.dataNetwork.ipPools: 10.0.0.2 is greater than 10.0.0.1"],
            ),
            (
                "adc",
                data("10.0.0.0/24", &pool("10.0.0.1", "10.0.0.2", "V6")),
                &["spec.dataNetwork.ipPools: data plane network ip pools type is not aligned"],
            ),
            ("adc", data("2001:db8::/64", &pool("2001:db8::1", "2001:db8::2", "V6")), &[]),
        ]);
    }

    #[test]
    fn names_of_secrets_are_checked() {
        let secret = |name: &str| json!({ "adminCredentialRef": { "name": name, "namespace": "n" } });
        let wrong: &[&str] = &["spec.adminCredentialRef: \"n\" and"];
        check(&[
            ("adc", secret("avi.admin-1"), &[]),
            ("adc", secret(""), wrong),
            ("adc", secret("../x"), wrong),
            ("adc", secret("A"), wrong),
            ("adc", secret("-a"), wrong),
            ("adc", secret(&"a".repeat(254)), wrong),
            (
                "adc",
                json!({ "workloadCredentialRef": { "name": "a", "namespace": "a.b" } }),
                &["spec.workloadCredentialRef: "],
            ),
        ]);
    }

    /// What is done in a tenant, and what AKO does, names it in a header.
    #[test]
    fn the_name_of_the_tenant_is_checked() {
        let name = |name: &str| json!({ "tenant": { "name": name } });
        let wrong: &[&str] = &["spec.tenant.name: "];
        check(&[
            ("adc", name("admin"), &[]),
            ("adc", name("team a (1)"), &[]),
            ("adc", name(""), &[]),
            ("adc", name("*"), wrong),
            ("adc", name(" team"), wrong),
            ("adc", name("team\n"), wrong),
            ("adc", name("te\u{7f}am"), wrong),
            ("adc", name("b\u{fc}ro"), wrong),
            ("adc", json!({ "tenant": { "name": "team ", "scope": "Namespace" } }), wrong),
        ]);
    }

    #[test]
    fn everything_that_is_wrong_is_listed() {
        let mut change = data("10.0.0.0/24", &pool("x", "y", "V4"));
        change["clusterSelector"] = json!({});
        change["controllerVersion"] = json!("x");
        let problems = validate("adc", &spec(&change), None);
        let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, [SELECTOR, "spec.ControllerVersion", "spec.dataNetwork.ipPools"]);
    }

    #[test]
    fn updates_are_checked() {
        let other = |name: &str| json!({ "name": name, "cidr": "10.1.0.0/24" });
        let cases: Vec<(Value, &[&str])> = vec![
            (json!({}), &[]),
            (json!({ "cloudName": "other", "controller": "other" }), &[]),
            (
                json!({ "clusterSelector": { "matchLabels": { "c": "d" } } }),
                &["spec.ClusterSelector: field should not be changed"],
            ),
            (json!({ "clusterSelector": null }), &["spec.ClusterSelector: field should not be changed"]),
            (
                json!({ "controlPlaneNetwork": other("x") }),
                &["spec.ControlPlaneNetwork: field should not be changed"],
            ),
            (
                json!({ "controlPlaneNetwork": null }),
                &["spec.ControlPlaneNetwork: field should not be changed"],
            ),
            // Documented as immutable by the original, which did not enforce it.
            (json!({ "tenant": { "name": "t" } }), &["spec.tenant: field should not be changed"]),
            (
                json!({ "tenant": { "name": "admin", "scope": "Cluster" } }),
                &["spec.tenant: field should not be changed"],
            ),
            (json!({ "tenant": { "name": "admin", "scope": "Shared" } }), &[]),
            (
                json!({ "tenant": { "name": "admin", "context": "Tenant" } }),
                &["spec.tenant: field should not be changed"],
            ),
            (json!({ "tenant": { "name": "admin", "context": "Provider" } }), &[]),
            // The original looked at pools only if the name or the CIDR had changed.
            (
                data("10.0.0.0/24", &pool("10.9.0.1", "10.9.0.2", "V4")),
                &["spec.dataNetwork.ipPools: Range [10.9.0.1,10.9.0.2] is not in cidr 10.0.0.0/24"],
            ),
        ];
        for (change, wanted) in cases {
            let found = shown(&validate("adc", &spec(&change), Some(&spec(&json!({})))));
            assert_eq!(found, wanted, "{change}");
        }
    }

    #[test]
    fn the_config_of_the_management_cluster_stays() {
        let wanted = Some("can't delete akodeploymentconfig object for management cluster");
        for (name, wanted) in [("adc", None), (DEFAULT_ADC, None), (MANAGEMENT_ADC, wanted)] {
            assert_eq!(refuse_deletion(name), wanted, "{name}");
        }
    }
}
