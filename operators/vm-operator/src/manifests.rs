//! What `deploy/vm-operator` is generated from: the kinds, and the verbs the operator uses.

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::CustomResourceExt;
use operator_kit::Error;
use operator_kit::manifests::{self, Documents, cluster_role, role, rule};

use crate::OPERATOR;
use crate::api::{GROUP, VmGroup, VmInstance};

/// Both CustomResourceDefinitions.
pub fn crds() -> Result<String, Error> {
    manifests::crds(&[VmGroup::crd(), VmInstance::crd()])
}

/// The ClusterRole and, for leader election, the Role.
pub fn rbac() -> Result<String, Error> {
    Documents::new()
        .with(&cluster_role(OPERATOR.name, cluster_rules()))?
        .with(&role(OPERATOR.name, manifests::lease_rules(OPERATOR.lease_name())))?
        .yaml()
}

fn cluster_rules() -> Vec<PolicyRule> {
    let mut rules = vec![
        // patch: the finalizer.
        rule(GROUP, &["vmgroups"], &["list", "patch", "watch"]),
        rule(GROUP, &["vminstances"], &["create", "delete", "get", "list", "patch", "watch"]),
        rule(GROUP, &["vmgroups/status", "vminstances/status"], &["patch"]),
        // Owner references that block the group's deletion, where that is enforced.
        rule(GROUP, &["vmgroups/finalizers"], &["update"]),
        PolicyRule {
            resource_names: Some(vec!["kube-system".to_owned()]),
            ..rule("", &["namespaces"], &["get"])
        },
    ];
    rules.extend(manifests::event_rules());
    rules
}
