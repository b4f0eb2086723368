//! Statuses and finalizers that an admission policy refuses.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy as Policy, ValidatingAdmissionPolicyBinding as Binding,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use testbed::eventually;

use crate::things::{FINALIZER, Mode, Step, Thing, ThingSpec};
use crate::{Bench, PATIENCE};

/// Has a policy deny updates of these objects, or of their statuses. The last of them is made to see that the policy is in force.
async fn freeze(bench: &Bench, policy: &str, resource: &str, names: &[&str]) -> Api<Binding> {
    let policies: Api<Policy> = Api::all(bench.client.clone());
    let bindings: Api<Binding> = Api::all(bench.client.clone());
    let rules = json!([{
        "apiGroups": ["kit.example.com"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": [resource],
        "resourceNames": names,
    }]);
    let spec = json!({
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "false", "message": format!("{policy} is in force")}],
    });
    let binding =
        json!({"metadata": {"name": policy}, "spec": {"policyName": policy, "validationActions": ["Deny"]}});
    let policy = json!({"metadata": {"name": policy}, "spec": spec});
    policies.create(&PostParams::default(), &serde_json::from_value(policy).unwrap()).await.unwrap();
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
    let canary = *names.last().unwrap();
    bench.create(canary, Mode::Well).await;
    eventually("the policy is in force", PATIENCE, async || {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}, "status": {"conditions": []}}));
        let patched = if resource == "things/status" {
            bench.api.patch_status(canary, &PatchParams::default(), &patch).await
        } else {
            bench.api.patch(canary, &PatchParams::default(), &patch).await
        };
        Ok(matches!(patched, Err(kube::Error::Api(status)) if status.code == 422).then_some(()))
    })
    .await
    .unwrap();
    bindings
}

/// The status cannot say that it is refused, so an event does, once for all attempts.
pub async fn statuses_are_reported_by_one_event(bench: &Bench) {
    let bindings = freeze(bench, "frozen-statuses", "things/status", &["refused", "canary"]).await;
    bench.create("refused", Mode::Well).await;
    let warnings = bench.warned("refused", 1).await;
    let note = warnings[0].note.as_deref().unwrap_or_default();
    assert!(
        note.starts_with("the status cannot be written") && note.contains("frozen-statuses is in force"),
        "{note}"
    );
    bench.things.until("refused", crate::things::Step::Observe, 3).await;
    let warnings = bench.warnings("refused").await;
    assert!(warnings.len() == 1 && warnings[0].series.is_none(), "one for all attempts: {warnings:?}");
    bindings.delete("frozen-statuses", &DeleteParams::default()).await.unwrap();
    bench.says("refused", "Well").await;
}

/// The policy's answer has the code of a patch that does not fit the object any more.
pub async fn finalizers_are_reported_by_the_status(bench: &Bench) {
    let names = ["unheld", "unreleased", "finalizer-canary"];
    let bindings = freeze(bench, "frozen-objects", "things", &names).await;
    let mut held = Thing::new("unreleased", ThingSpec { mode: Mode::Well });
    held.finalizers_mut().push(FINALIZER.to_owned());
    bench.api.create(&PostParams::default(), &held).await.unwrap();
    bench.says("unreleased", "Well").await;
    bench.api.delete("unreleased", &DeleteParams::default()).await.unwrap();
    bench.create("unheld", Mode::Well).await;
    for (name, says) in [("unheld", "cannot be added"), ("unreleased", "cannot be removed")] {
        let thing = bench.says(name, "KubernetesRefused").await;
        let message = &thing.status.unwrap().conditions[0].message;
        assert!(
            message.contains(says)
                && message.contains("frozen-objects is in force")
                && message.contains("correct"),
            "{message}"
        );
        let warnings = bench.warned(name, 1).await;
        assert_eq!(warnings[0].reason.as_deref(), Some("KubernetesRefused"));
        // Others wait behind it in no queue of the operator.
        bench.things.until(name, Step::SetAside, 1).await;
    }
    bindings.delete("frozen-objects", &DeleteParams::default()).await.unwrap();
    bench.says("unheld", "Well").await;
    bench.gone("unreleased").await;
}
