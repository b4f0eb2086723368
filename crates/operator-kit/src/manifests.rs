//! Manifests as YAML: what the commands `crd`, `rbac` and `manifests` print.
//!
//! Owns the writing (deterministic, without nulls and empty statuses) and the rights every operator needs for the kit
//! itself; an operator adds its own.

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Serialize;
use serde_json::Value;

use crate::{apply::strip_nulls, cli::Rights, error::Error};

/// Builds a stream of YAML documents.
#[derive(Debug, Default)]
pub(crate) struct Documents(Vec<Value>);

impl Documents {
    /// Adds one object: a CustomResourceDefinition, a ClusterRole, anything with `apiVersion` and `kind`.
    pub(crate) fn with(mut self, object: &impl Serialize) -> Result<Self, Error> {
        let mut value = serde_json::to_value(object).map_err(|error| Error::Manifest(error.to_string()))?;
        strip_nulls(&mut value);
        if let Some(members) = value.as_object_mut() {
            members.remove("status");
        }
        self.0.push(value);
        Ok(self)
    }

    /// Returns the YAML text, keys sorted, `---` between documents.
    pub(crate) fn yaml(&self) -> Result<String, Error> {
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

/// Returns CustomResourceDefinitions as YAML.
pub(crate) fn crds<C: Serialize>(crds: &[C]) -> Result<String, Error> {
    crds.iter().try_fold(Documents::default(), Documents::with)?.yaml()
}

/// The ServiceAccount an operator runs under. Its roles have the same name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) name: &'static str,
    pub(crate) namespace: &'static str,
}

/// Returns the roles of an operator as YAML.
///
/// Without `namespaces` a ClusterRole and the Role for the Lease, both without namespace and bindings: those are in the
/// kustomize base. With them everything, to be applied as it is: each namespace gets a Role, and the ClusterRole has only the
/// cluster-scoped rights.
pub(crate) fn rbac(account: Account, rights: Rights, namespaces: &[String]) -> Result<String, Error> {
    let Rights { mut namespaced, mut cluster } = rights;
    namespaced.push(rule("events.k8s.io", &["events"], &["create", "patch"]));
    let (name, lease) = (account.name, format!("{}-leader-election", account.name));
    if namespaces.is_empty() {
        namespaced.append(&mut cluster);
        let lease = role(&lease, None, lease_rules(name));
        return Documents::default().with(&cluster_role(name, namespaced))?.with(&lease)?.yaml();
    }
    let mut documents = Documents::default();
    if !cluster.is_empty() {
        documents = documents.with(&cluster_role(name, cluster))?.with(&cluster_role_binding(account))?;
    }
    documents = documents
        .with(&role(&lease, Some(account.namespace), lease_rules(name)))?
        .with(&role_binding(account, &lease, account.namespace))?;
    for namespace in namespaces {
        documents = documents
            .with(&role(name, Some(namespace), namespaced.clone()))?
            .with(&role_binding(account, name, namespace))?;
    }
    documents.yaml()
}

/// Returns a rule of a role: these verbs on these resources of one API group (`""` is the core group).
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

pub(crate) fn cluster_role(name: &str, rules: Vec<PolicyRule>) -> ClusterRole {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ClusterRole { metadata, rules: Some(rules), aggregation_rule: None }
}

pub(crate) fn role(name: &str, namespace: Option<&str>, rules: Vec<PolicyRule>) -> Role {
    let namespace = namespace.map(str::to_owned);
    let metadata = ObjectMeta { name: Some(name.to_owned()), namespace, ..ObjectMeta::default() };
    Role { metadata, rules: Some(rules) }
}

fn role_binding(account: Account, role: &str, namespace: &str) -> RoleBinding {
    let metadata = ObjectMeta {
        name: Some(role.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    };
    RoleBinding { metadata, role_ref: role_ref("Role", role), subjects: Some(vec![subject(account)]) }
}

fn cluster_role_binding(account: Account) -> ClusterRoleBinding {
    let metadata = ObjectMeta { name: Some(account.name.to_owned()), ..ObjectMeta::default() };
    let role_ref = role_ref("ClusterRole", account.name);
    ClusterRoleBinding { metadata, role_ref, subjects: Some(vec![subject(account)]) }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    let api_group = "rbac.authorization.k8s.io".to_owned();
    RoleRef { api_group, kind: kind.to_owned(), name: name.to_owned() }
}

fn subject(account: Account) -> Subject {
    Subject {
        kind: "ServiceAccount".to_owned(),
        name: account.name.to_owned(),
        namespace: Some(account.namespace.to_owned()),
        api_group: None,
    }
}

/// Returns what leader election needs, in the operator's own namespace. `create` cannot be bound to a name.
fn lease_rules(lease: &str) -> Vec<PolicyRule> {
    let named = rule("coordination.k8s.io", &["leases"], &["get", "update"]);
    vec![
        rule("coordination.k8s.io", &["leases"], &["create"]),
        PolicyRule { resource_names: Some(vec![lease.to_owned()]), ..named },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: Account = Account { name: "op", namespace: "system" };

    fn rights() -> Rights {
        Rights {
            namespaced: vec![rule("example.com", &["things"], &["list"])],
            cluster: vec![rule("", &["nodes"], &["list"])],
        }
    }

    #[test]
    fn documents_are_deterministic_and_without_nulls() {
        let text = rbac(ACCOUNT, rights(), &[]).unwrap();
        assert_eq!(text.matches("---\n").count(), 2);
        assert!(!text.contains("null"), "{text}");
        assert!(
            text.starts_with("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n"),
            "{text}"
        );
    }

    #[test]
    fn watched_namespaces_get_a_role_each_and_the_cluster_role_keeps_cluster_rights_only() {
        let text = rbac(ACCOUNT, rights(), &["a".to_owned(), "b".to_owned()]).unwrap();
        let documents: Vec<&str> = text.split("---\n").skip(1).collect();
        assert_eq!(documents.len(), 8);
        assert!(documents[0].contains("nodes") && !documents[0].contains("things"), "{text}");
        assert!(documents[4].contains("namespace: a") && documents[4].contains("things"), "{text}");
        assert!(
            documents[7].contains("kind: RoleBinding") && documents[7].contains("namespace: system"),
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
        let text = Documents::default().with(&tricky).unwrap().yaml().unwrap();
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
        let text = Documents::default().with(&value).unwrap().yaml().unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, value);
    }
}
