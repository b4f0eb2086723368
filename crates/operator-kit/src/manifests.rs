//! Manifests as YAML: what `crd` and `manifests` subcommands print.
//!
//! Owns the writing (deterministic, without nulls and empty statuses) and the rules every operator needs for the kit
//! itself; an operator adds its own.

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, PolicyRule, Role},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Serialize;
use serde_json::Value;

use crate::{apply::strip_nulls, error::Error};

/// Builds a stream of YAML documents.
#[derive(Debug, Default)]
pub struct Documents(Vec<Value>);

impl Documents {
    /// No documents yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one object: a CustomResourceDefinition, a ClusterRole, anything with `apiVersion` and `kind`.
    pub fn with(mut self, object: &impl Serialize) -> Result<Self, Error> {
        let mut value = serde_json::to_value(object).map_err(|error| Error::Manifest(error.to_string()))?;
        strip_nulls(&mut value);
        if let Some(members) = value.as_object_mut() {
            members.remove("status");
        }
        self.0.push(value);
        Ok(self)
    }

    /// The YAML text, keys sorted, `---` between documents.
    pub fn yaml(&self) -> Result<String, Error> {
        let mut text = String::new();
        for document in &self.0 {
            text.push_str("---\n");
            text.push_str(
                serde_saphyr::to_string(document)
                    .map_err(|error| Error::Manifest(error.to_string()))?
                    .trim_end(),
            );
            text.push('\n');
        }
        Ok(text)
    }
}

/// CustomResourceDefinitions as YAML.
pub fn crds<C: Serialize>(crds: &[C]) -> Result<String, Error> {
    crds.iter().try_fold(Documents::new(), Documents::with)?.yaml()
}

/// A rule of a role: these verbs on these resources of one API group (`""` is the core group).
#[must_use]
pub fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |items: &[&str]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// A ClusterRole of these rules.
#[must_use]
pub fn cluster_role(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ClusterRole { metadata, rules: Some(rules), aggregation_rule: None }
}

/// A Role of these rules; its namespace is kustomize's business.
#[must_use]
pub fn role(name: &str, rules: Vec<PolicyRule>) -> Role {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    Role { metadata, rules: Some(rules) }
}

/// What the driver needs for events, in every namespace it watches.
#[must_use]
pub fn event_rules() -> Vec<PolicyRule> {
    vec![rule("events.k8s.io", &["events"], &["create", "patch"])]
}

/// What leader election needs, in the operator's own namespace. `create` cannot be bound to a name.
#[must_use]
pub fn lease_rules(lease: &str) -> Vec<PolicyRule> {
    let named = rule("coordination.k8s.io", &["leases"], &["get", "update"]);
    vec![
        rule("coordination.k8s.io", &["leases"], &["create"]),
        PolicyRule { resource_names: Some(vec![lease.to_owned()]), ..named },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_deterministic_and_without_nulls() {
        let role = cluster_role("op", event_rules());
        let text = Documents::new()
            .with(&role)
            .unwrap()
            .with(&self::role("op", lease_rules("l")))
            .unwrap()
            .yaml()
            .unwrap();
        assert_eq!(text.matches("---\n").count(), 2);
        assert!(!text.contains("null"), "{text}");
        assert!(
            text.starts_with("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n"),
            "{text}"
        );
    }

    #[test]
    fn strings_other_parsers_take_for_something_else_are_quoted() {
        let tricky = [
            "yes",
            "on",
            "1.0",
            "null",
            "0x1f",
            "1e3",
            "",
            "a: b",
            "# no",
            "2024-01-01",
            "y",
            "~",
            "012",
            "0o7",
            "1_0",
            "-",
            "=",
            "12:30:45",
        ];
        let text = Documents::new().with(&tricky).unwrap().yaml().unwrap();
        for (line, item) in text.lines().skip(1).zip(tricky) {
            let quoted = line.trim_start_matches("- ");
            assert!(quoted.starts_with(['"', '\'']), "{item:?} written as {line:?}");
        }
    }

    #[test]
    fn texts_survive_the_writing() {
        let texts = [
            "Number of virtual machines wanted. ".repeat(12),
            "first line\n\nsecond: 'line' with \"quotes\"\n  indented\n".to_owned(),
            "  leading and trailing  ".to_owned(),
            "has(self.a) ? self.a == oldSelf.a : true".to_owned(),
            "^[a-z]([-a-z0-9]*[a-z0-9])?$".to_owned(),
            "tab\there # no comment, é ✓ \u{7f}".to_owned(),
        ];
        let value =
            serde_json::json!({ "texts": texts, "numbers": [0, -1, 1.5, 1_000_000_000_000_u64], "none": {} });
        let text = Documents::new().with(&value).unwrap().yaml().unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, value);
    }
}
