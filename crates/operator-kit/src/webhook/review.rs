//! Reviews: from the bytes of an AdmissionReview to those of its answer.
//!
//! Owns reading, the choice of what is reviewed at all, the form of a refusal, and the count of decisions. Pure but for the count.

use std::collections::BTreeMap;

use http::StatusCode;
use kube::{
    Resource, ResourceExt,
    core::{
        DynamicObject, Status,
        admission::{AdmissionResponse, AdmissionReview, Operation},
        response::{StatusCause, StatusDetails},
    },
};
use prometheus::{IntCounterVec, Opts, Registry};
use serde::de::DeserializeOwned;

use super::{FieldError, Refusal, Request, Review, ReviewedKind, Verdict};
use crate::error::Error;

/// Operations that the webhook is registered for, as metrics name them.
const OPERATIONS: [&str; 3] = ["create", "update", "delete"];
/// What becomes of a request.
const RESULTS: [&str; 2] = ["allowed", "refused"];

/// Answers requests.
pub(super) struct Reviewer {
    by_path: BTreeMap<String, ReviewedKind>,
    requests: IntCounterVec,
}

impl Reviewer {
    /// Registers the metric.
    pub(super) fn new(kinds: Vec<ReviewedKind>, registry: &Registry) -> Result<Self, Error> {
        let options = Opts::new("operator_webhook_requests_total", "Requests for admission, by result");
        let requests = IntCounterVec::new(options, &["kind", "operation", "result"])?;
        registry.register(Box::new(requests.clone()))?;
        for kind in &kinds {
            for operation in OPERATIONS {
                for result in RESULTS {
                    requests.with_label_values(&[&kind.kind, operation, result]);
                }
            }
        }
        Ok(Self { by_path: kinds.into_iter().map(|kind| (kind.path(), kind)).collect(), requests })
    }

    /// Returns whether requests with this path are answered.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    /// Returns the answer to the body of a request with this path; the status of the response if there is none.
    pub(super) fn answer(&self, path: &str, body: &[u8]) -> Result<Vec<u8>, StatusCode> {
        let kind = self.by_path.get(path).ok_or(StatusCode::NOT_FOUND)?;
        let review: AdmissionReview<DynamicObject> =
            serde_json::from_slice(body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let request: Request = review.try_into().map_err(|_| StatusCode::BAD_REQUEST)?;
        let verdict = (kind.check)(&request);
        let result = if verdict.is_ok() { "allowed" } else { "refused" };
        if let Some(operation) = operation(&request) {
            self.requests.with_label_values(&[&kind.kind, operation, result]).inc();
        }
        let answer = respond(kind, &request, verdict).into_review();
        serde_json::to_vec(&answer).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }
}

fn operation(request: &Request) -> Option<&'static str> {
    match request.operation {
        Operation::Create => Some("create"),
        Operation::Update => Some("update"),
        Operation::Delete => Some("delete"),
        Operation::Connect => None,
    }
}

/// Calls an operator's function, unless there is nothing to refuse: what does not change a spec, what is being deleted already, and
/// the deletion of what does not parse. The registration has the same rule, which older API servers do not know.
pub(super) fn check<K>(request: &Request, check: fn(Review<'_, K>) -> Verdict) -> Verdict
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let (old, new) = (request.old_object.as_ref(), request.object.as_ref());
    match (&request.operation, old, new) {
        (Operation::Create, _, Some(new)) => check(Review::Create(&parse(new)?)),
        (Operation::Update, Some(old), Some(new)) => {
            if new.metadata.deletion_timestamp.is_some() || old.data.get("spec") == new.data.get("spec") {
                return Ok(Vec::new());
            }
            let new = parse(new)?;
            match parse(old) {
                Ok(old) => check(Review::Update { old: &old, new: &new }),
                Err(_) => check(Review::Create(&new)),
            }
        }
        (Operation::Delete, Some(old), _) => {
            parse(old).map_or(Ok(Vec::new()), |old| check(Review::Delete(&old)))
        }
        _ => Ok(Vec::new()),
    }
}

fn parse<K: DeserializeOwned>(object: &DynamicObject) -> Result<K, Refusal> {
    let invalid = |field: String, message: String| Refusal::Invalid(vec![FieldError { field, message }]);
    let value = serde_json::to_value(object).map_err(|error| invalid(".".to_owned(), error.to_string()))?;
    serde_path_to_error::deserialize(value)
        .map_err(|error| invalid(error.path().to_string(), error.inner().to_string()))
}

fn respond(kind: &ReviewedKind, request: &Request, verdict: Verdict) -> AdmissionResponse {
    let mut response = AdmissionResponse::from(request);
    match verdict {
        Ok(warnings) => response.warnings = (!warnings.is_empty()).then_some(warnings),
        Err(refusal) => {
            response.allowed = false;
            response.result = status(kind, &name(request), refusal);
        }
    }
    response
}

/// Returns the name of the object: of a deletion with a selector, the request has none.
fn name(request: &Request) -> String {
    let object = request.object.as_ref().or(request.old_object.as_ref());
    Some(request.name.clone())
        .filter(|name| !name.is_empty())
        .or_else(|| object.map(ResourceExt::name_any))
        .unwrap_or_default()
}

/// Returns the status of a refusal, with the texts of the API server's own refusals.
fn status(kind: &ReviewedKind, name: &str, refusal: Refusal) -> Status {
    let details = |causes| StatusDetails {
        name: name.to_owned(),
        group: kind.group.clone(),
        kind: kind.kind.clone(),
        uid: String::new(),
        causes,
        retry_after_seconds: 0,
    };
    match refusal {
        Refusal::Forbidden(message) => {
            Status::failure(&message, "Forbidden").with_code(403).with_details(details(Vec::new()))
        }
        Refusal::Invalid(errors) => {
            let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let text = match texts.as_slice() {
                [one] => one.clone(),
                several => format!("[{}]", several.join(", ")),
            };
            let message = format!("{}.{} {name:?} is invalid: {text}", kind.kind, kind.group);
            let cause = |FieldError { field, message }| StatusCause {
                reason: "FieldValueInvalid".to_owned(),
                message,
                field,
            };
            let causes = errors.into_iter().map(cause).collect();
            Status::failure(&message, "Invalid").with_code(422).with_details(details(causes))
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim as Claim;
    use serde_json::{Value, json};

    use super::*;
    use crate::webhook::Webhook;

    /// Refuses a class that is not `slow`, changes of the class, and the deletion of `kept`.
    fn rules(review: Review<'_, Claim>) -> Verdict {
        let class = |claim: &Claim| claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone());
        let wrong =
            |message: &str| FieldError { field: "spec.class".to_owned(), message: message.to_owned() };
        match review {
            Review::Create(new) if class(new).as_deref() == Some("slow") => Ok(vec!["it is slow".to_owned()]),
            Review::Create(_) => Err(Refusal::Invalid(vec![wrong("write slow")])),
            Review::Update { old, new } if class(old) == class(new) => Ok(Vec::new()),
            Review::Update { .. } => {
                Err(Refusal::Invalid(vec![wrong("must not change"), wrong("write slow")]))
            }
            Review::Delete(old) if old.name_any() == "kept" => Err(Refusal::Forbidden("it stays".to_owned())),
            Review::Delete(_) => Ok(Vec::new()),
        }
    }

    const PATH: &str = "/validate--v1-persistentvolumeclaim";

    fn reviewer() -> Reviewer {
        Reviewer::new(Webhook::default().with(rules).kinds, &Registry::new()).unwrap()
    }

    fn claim(name: &str, spec: &Value) -> Value {
        json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name }, "spec": spec })
    }

    fn ask(operation: &str, old: &Value, new: &Value) -> Value {
        let kind = json!({ "group": "", "version": "v1", "kind": "PersistentVolumeClaim" });
        let resource = json!({ "group": "", "version": "v1", "resource": "persistentvolumeclaims" });
        let request = json!({ "uid": "u", "kind": kind, "resource": resource, "operation": operation,
            "userInfo": {}, "object": new, "oldObject": old });
        let review =
            json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
        let answer = reviewer().answer(PATH, review.to_string().as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(
            (answer["apiVersion"].as_str(), answer["response"]["uid"].as_str()),
            (Some("admission.k8s.io/v1"), Some("u"))
        );
        answer["response"].clone()
    }

    #[test]
    fn the_operators_function_decides() {
        let (slow, fast) = (json!({ "storageClassName": "slow" }), json!({ "storageClassName": "fast" }));
        let allowed = ask("CREATE", &Value::Null, &claim("a", &slow));
        assert_eq!((&allowed["allowed"], &allowed["warnings"]), (&json!(true), &json!(["it is slow"])));

        let refused = ask("CREATE", &Value::Null, &claim("a", &fast));
        assert_eq!(refused["allowed"], false);
        let status = &refused["status"];
        assert_eq!(
            (&status["code"], &status["reason"], &status["status"]),
            (&json!(422), &json!("Invalid"), &json!("Failure"))
        );
        assert_eq!(status["message"], "PersistentVolumeClaim. \"a\" is invalid: spec.class: write slow");
        let cause = json!({ "reason": "FieldValueInvalid", "message": "write slow", "field": "spec.class" });
        assert_eq!(
            (&status["details"]["name"], &status["details"]["causes"]),
            (&json!("a"), &json!([cause]))
        );

        let refused = ask("UPDATE", &claim("a", &slow), &claim("a", &fast));
        let message = refused["status"]["message"].as_str().unwrap();
        assert!(message.ends_with("[spec.class: must not change, spec.class: write slow]"), "{message}");

        let refused = ask("DELETE", &claim("kept", &slow), &Value::Null);
        assert_eq!(
            (&refused["status"]["code"], &refused["status"]["message"]),
            (&json!(403), &json!("it stays"))
        );
        assert_eq!(ask("DELETE", &claim("a", &slow), &Value::Null)["allowed"], true);
    }

    #[test]
    fn what_changes_no_spec_and_what_is_being_deleted_is_allowed() {
        let (slow, fast) = (json!({ "storageClassName": "slow" }), json!({ "storageClassName": "fast" }));
        let mut labelled = claim("a", &fast);
        labelled["metadata"]["labels"] = json!({ "a": "b" });
        assert_eq!(ask("UPDATE", &claim("a", &fast), &labelled)["allowed"], true);
        let mut going = claim("a", &fast);
        going["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(ask("UPDATE", &claim("a", &slow), &going)["allowed"], true);
        assert_eq!(ask("CONNECT", &Value::Null, &Value::Null)["allowed"], true);
    }

    #[test]
    fn what_does_not_parse_is_refused_with_its_field_and_can_be_repaired_and_deleted() {
        let broken = claim("a", &json!({ "accessModes": [7] }));
        let refused = ask("CREATE", &Value::Null, &broken);
        let message = refused["status"]["message"].as_str().unwrap();
        assert!(message.contains("is invalid: spec"), "{message}");
        let slow = claim("a", &json!({ "storageClassName": "slow" }));
        assert_eq!(ask("UPDATE", &broken, &slow)["allowed"], true);
        assert_eq!(ask("UPDATE", &slow, &broken)["allowed"], false);
        assert_eq!(ask("DELETE", &broken, &Value::Null)["allowed"], true);
    }

    #[test]
    fn what_is_no_review_gets_no_answer() {
        assert_eq!(reviewer().answer("/other", b"{}"), Err(StatusCode::NOT_FOUND));
        for body in ["", "{}", r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#] {
            assert_eq!(reviewer().answer(PATH, body.as_bytes()), Err(StatusCode::BAD_REQUEST), "{body}");
        }
    }

    #[test]
    fn decisions_are_counted() {
        let registry = Registry::new();
        Reviewer::new(Webhook::default().with(rules).kinds, &registry).unwrap();
        let [family] = registry.gather().try_into().unwrap();
        assert_eq!(family.name(), "operator_webhook_requests_total");
        assert_eq!(family.get_metric().len(), 6, "three operations, two results, before the first request");
    }
}
