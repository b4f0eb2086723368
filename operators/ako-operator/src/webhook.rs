//! The admission webhook: `validation`, before an AKODeploymentConfig is stored.
//!
//! Owns which check belongs to which operation. What only AVI or a Secret can answer becomes the condition Ready.

use kube::ResourceExt as _;
use operator_kit::webhook::{Refusal, Review, Verdict, Webhook};

use crate::api::AkoDeploymentConfig;
use crate::validation::{refuse_deletion, validate};

/// Returns the webhook.
pub(crate) fn webhook() -> Webhook {
    Webhook::default().with(review)
}

fn review(review: Review<'_, AkoDeploymentConfig>) -> Verdict {
    let problems = match review {
        Review::Create(new) => validate(&new.name_any(), &new.spec, None),
        Review::Update { old, new } => validate(&new.name_any(), &new.spec, Some(&old.spec)),
        Review::Delete(old) => {
            let refusal = refuse_deletion(&old.name_any());
            return refusal.map_or(Ok(Vec::new()), |message| Err(Refusal::Forbidden(message.to_owned())));
        }
    };
    if problems.is_empty() { Ok(Vec::new()) } else { Err(Refusal::Invalid(problems)) }
}

#[cfg(test)]
mod tests {
    use operator_kit::webhook::FieldError;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::MANAGEMENT_ADC;

    fn adc(name: &str, change: &Value) -> AkoDeploymentConfig {
        let reference = json!({ "name": "s", "namespace": "n" });
        let mut spec = json!({ "controller": "c", "cloudName": "c", "serviceEngineGroup": "g",
            "clusterSelector": { "matchLabels": { "a": "b" } }, "adminCredentialRef": reference,
            "certificateAuthorityRef": reference, "dataNetwork": { "name": "d", "cidr": "10.0.0.0/24" } });
        spec.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value(json!({ "apiVersion": "networking.tkg.tanzu.vmware.com/v1alpha1",
            "kind": "AKODeploymentConfig", "metadata": { "name": name }, "spec": spec }))
        .unwrap()
    }

    #[test]
    fn each_operation_has_its_checks() {
        let (as_is, other) = (json!({}), json!({ "clusterSelector": { "matchLabels": { "c": "d" } } }));
        assert_eq!(review(Review::Create(&adc("adc", &other))), Ok(vec![]));
        let changed = review(Review::Update { old: &adc("adc", &as_is), new: &adc("adc", &other) });
        let error = FieldError {
            field: "spec.ClusterSelector".to_owned(),
            message: "field should not be changed".to_owned(),
        };
        assert_eq!(changed, Err(Refusal::Invalid(vec![error])));
        assert_eq!(review(Review::Delete(&adc("adc", &as_is))), Ok(vec![]));
        let refused = review(Review::Delete(&adc(MANAGEMENT_ADC, &as_is)));
        assert!(matches!(refused, Err(Refusal::Forbidden(message)) if message.starts_with("can't delete")));
    }
}
