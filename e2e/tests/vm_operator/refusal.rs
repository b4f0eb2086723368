//! An admission policy that has the API server refuse writes.

use e2e::{PATIENCE, VmRig};
use serde_json::json;
use testbed::eventually;

/// What the policy refuses as well, to tell whether it is enforced.
const PROBE: [&str; 4] = ["create", "configmap", "refusal-probe", "--dry-run=server"];

/// A policy that is enforced in the rig's namespace.
pub struct Refusal {
    name: String,
}

impl Refusal {
    /// Refuses writes of a resource of the operator, such as `vmgroups/status`, of objects for which a CEL expression is true.
    pub async fn of(rig: &VmRig, resource: &str, expression: &str) -> Self {
        let name = format!("refusal-{}", rig.namespace());
        let rule = |group: &str, resource: &str| {
            json!({ "apiGroups": [group], "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"], "resources": [resource] })
        };
        let allowed = format!(
            "request.resource.resource == 'configmaps' ? object.metadata.name != 'refusal-probe' : !({expression})"
        );
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": { "name": &name },
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": rig.namespace() } },
                    "resourceRules": [rule("vm.codeconnect.vmworld.com", resource), rule("", "configmaps")],
                },
                "validations": [{ "expression": allowed, "message": "as the test wants it" }],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": { "name": &name },
            "spec": { "policyName": &name, "validationActions": ["Deny"] },
        });
        for object in [policy, binding] {
            rig.kubectl_stdin(&["apply", "-f", "-"], &object.to_string()).await.unwrap();
        }
        eventually("the policy to be enforced", PATIENCE, async || {
            Ok(rig.kubectl(&PROBE).await.is_err().then_some(()))
        })
        .await
        .unwrap();
        Self { name }
    }

    /// Ends the policy. The API server enforces it for a moment longer.
    pub async fn end(self, rig: &VmRig) {
        rig.kubectl(&["delete", "validatingadmissionpolicybinding", &self.name]).await.unwrap();
        eventually("the policy to end", PATIENCE, async || {
            Ok(rig.kubectl(&PROBE).await.is_ok().then_some(()))
        })
        .await
        .unwrap();
    }
}
