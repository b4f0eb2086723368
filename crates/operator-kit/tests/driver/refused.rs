//! Statuses that an admission policy refuses.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy as Policy, ValidatingAdmissionPolicyBinding as Binding,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testbed::eventually;

use crate::things::Mode;
use crate::{Bench, PATIENCE};

/// The status cannot say that it is refused, so an event does, once for all attempts.
pub async fn statuses_are_reported_by_one_event(bench: &Bench) {
    let policies: Api<Policy> = Api::all(bench.client.clone());
    let bindings: Api<Binding> = Api::all(bench.client.clone());
    let rules = json!([{
        "apiGroups": ["kit.example.com"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["things/status"],
        "resourceNames": ["refused", "canary"],
    }]);
    let spec = json!({
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "false", "message": "statuses are frozen"}],
    });
    let policy = json!({"metadata": {"name": "frozen"}, "spec": spec});
    let binding = json!({"metadata": {"name": "frozen"}, "spec": {"policyName": "frozen", "validationActions": ["Deny"]}});
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    bench.create("canary", Mode::Well).await;
    eventually("the policy is in force", PATIENCE, async || {
        let patch = Patch::Merge(json!({"status": {"conditions": []}}));
        let patched = bench.api.patch_status("canary", &PatchParams::default(), &patch).await;
        Ok(matches!(patched, Err(kube::Error::Api(status)) if status.code == 422).then_some(()))
    })
    .await
    .unwrap();

    bench.create("refused", Mode::Well).await;
    let warnings = bench.warned("refused", 1).await;
    let note = warnings[0].note.as_deref().unwrap_or_default();
    assert!(
        note.starts_with("the status cannot be written") && note.contains("statuses are frozen"),
        "{note}"
    );
    bench.things.until("refused", crate::things::Step::Observe, 3).await;
    let warnings = bench.warnings("refused").await;
    assert!(warnings.len() == 1 && warnings[0].series.is_none(), "one for all attempts: {warnings:?}");
    bindings.delete("frozen", &DeleteParams::default()).await.unwrap();
    bench.says("refused", "Well").await;
}
