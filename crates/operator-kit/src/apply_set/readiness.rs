//! Whether an object does its work: the rules of `kstatus` for the kinds that operators deploy.

use kube::ResourceExt as _;
use kube::core::DynamicObject;
use serde_json::Value;

/// Returns why an object is not ready; `None` if it is.
///
/// Workloads are ready when their newest generation is rolled out, a CustomResourceDefinition when it is served, a Job when it
/// is complete. Another kind is ready unless its status answers an older generation or has a Ready condition that is not
/// True.
#[must_use]
pub fn not_ready(object: &DynamicObject) -> Option<String> {
    let kind = object.types.as_ref().map_or("", |types| types.kind.as_str());
    let status = &object.data["status"];
    let (generation, observed) = (object.metadata.generation, status["observedGeneration"].as_i64());
    if object.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    if observed.is_some_and(|observed| generation.is_some_and(|generation| observed < generation)) {
        return Some("its newest generation has not been observed".to_owned());
    }
    match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" => replicas_missing(object, observed),
        "DaemonSet" => pods_missing(status, observed),
        "Job" => job_unfinished(status),
        "CustomResourceDefinition" => condition_missing(status, "Established", true),
        "APIService" => condition_missing(status, "Available", true),
        "Pod" => condition_missing(status, "Ready", true),
        "Namespace" => (status["phase"] != "Active").then(|| "it is not active".to_owned()),
        _ => condition_missing(status, "Ready", false),
    }
}

/// Returns what keeps an object that is being deleted: its finalizers, and what the conditions of a CustomResourceDefinition or a
/// Namespace say about them.
///
/// A CustomResourceDefinition that is deleted within a second of its first use may fail to list its objects once (`storage is
/// (re)initializing`); an API server of Kubernetes 1.36 tries again after up to 5 minutes then.
#[must_use]
pub fn not_gone(object: &DynamicObject) -> String {
    if object.metadata.deletion_timestamp.is_none() {
        return "it was deleted just now".to_owned();
    }
    let said = object.data["status"]["conditions"].as_array().into_iter().flatten();
    let said = said.filter(|condition| condition["status"] == "True" && keeps(text(&condition["type"])));
    let namespace = object.data["spec"]["finalizers"].as_array().into_iter().flatten().map(text);
    let finalizers = object.finalizers().iter().map(String::as_str).chain(namespace).collect::<Vec<_>>();
    let finalizers = match &finalizers[..] {
        [] => "it ends".to_owned(),
        names => format!("finalizer {}", names.join(", ")),
    };
    let said = said.map(|condition| text(&condition["message"]).to_owned());
    std::iter::once(finalizers).chain(said).collect::<Vec<_>>().join("; ")
}

/// Returns whether a condition of this type, where it is True, says what keeps an object that is being deleted.
fn keeps(type_: &str) -> bool {
    type_ == "Terminating" || (type_.starts_with("Namespace") && !type_.ends_with("Discovered"))
}

fn replicas_missing(object: &DynamicObject, observed: Option<i64>) -> Option<String> {
    let status = &object.data["status"];
    let wanted = object.data["spec"]["replicas"].as_i64().unwrap_or(1);
    if let Some(stuck) = condition(status, "Progressing").filter(|condition| condition["status"] == "False") {
        return Some(format!("it does not progress: {}", text(&stuck["message"])));
    }
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    // A StatefulSet that was never updated has no updatedReplicas field that counts.
    let updated =
        if status["updatedReplicas"].is_null() { count("replicas") } else { count("updatedReplicas") };
    let available = if status["availableReplicas"].is_null() {
        count("readyReplicas")
    } else {
        count("availableReplicas")
    };
    let settled =
        observed.is_some() && updated >= wanted && available >= wanted && count("replicas") <= wanted;
    (!settled).then(|| format!("{available} of {wanted} replicas are available, {updated} are updated"))
}

fn pods_missing(status: &Value, observed: Option<i64>) -> Option<String> {
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let wanted = count("desiredNumberScheduled");
    let (updated, available) = (count("updatedNumberScheduled"), count("numberAvailable"));
    let settled = observed.is_some() && updated >= wanted && available >= wanted;
    (!settled).then(|| format!("{available} of {wanted} pods are available, {updated} are updated"))
}

fn job_unfinished(status: &Value) -> Option<String> {
    if let Some(failed) = condition(status, "Failed").filter(|condition| condition["status"] == "True") {
        return Some(format!("it failed: {}", text(&failed["message"])));
    }
    condition_missing(status, "Complete", true)
}

/// Returns why a condition is not True. One that does not exist is missing only if it is `required`.
fn condition_missing(status: &Value, type_: &str, required: bool) -> Option<String> {
    match condition(status, type_) {
        None => required.then(|| format!("it has no condition {type_} yet")),
        Some(condition) if condition["status"] == "True" => None,
        Some(condition) => {
            Some(format!("{type_} is {}: {}", text(&condition["status"]), text(&condition["message"])))
        }
    }
}

fn condition<'a>(status: &'a Value, type_: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, generation: i64, data: &Value) -> DynamicObject {
        let mut object = json!({
            "apiVersion": "x/v1", "kind": kind, "metadata": {"name": "x", "generation": generation},
        });
        object.as_object_mut().unwrap().extend(data.as_object().unwrap().clone());
        serde_json::from_value(object).unwrap()
    }

    fn reason(kind: &str, generation: i64, data: &Value) -> Option<String> {
        not_ready(&object(kind, generation, data))
    }

    #[test]
    fn workloads_are_ready_when_the_newest_generation_is_rolled_out() {
        let deployment = |observed: i64, updated: i64, available: i64| {
            json!({"spec": {"replicas": 2}, "status": {
                "observedGeneration": observed, "replicas": 2, "updatedReplicas": updated, "availableReplicas": available,
            }})
        };
        assert_eq!(reason("Deployment", 3, &deployment(3, 2, 2)), None);
        assert!(reason("Deployment", 3, &deployment(2, 2, 2)).unwrap().contains("generation"));
        assert!(reason("Deployment", 3, &deployment(3, 1, 2)).unwrap().contains("1 are updated"));
        assert!(reason("Deployment", 3, &deployment(3, 2, 0)).unwrap().starts_with("0 of 2"));
        assert!(reason("Deployment", 1, &json!({"spec": {"replicas": 1}})).is_some(), "no status yet");
        let daemon = json!({"status": {"observedGeneration": 1, "desiredNumberScheduled": 3,
            "updatedNumberScheduled": 3, "numberAvailable": 2}});
        assert!(reason("DaemonSet", 1, &daemon).unwrap().starts_with("2 of 3 pods"));
    }

    #[test]
    fn what_keeps_a_deleted_object_is_said() {
        let kept = |kind: &str, metadata: &Value, data: &Value| {
            let mut object = object(kind, 1, data);
            object.metadata = serde_json::from_value(metadata.clone()).unwrap();
            not_gone(&object)
        };
        let ending = json!({"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(kept("ConfigMap", &json!({"name": "x"}), &json!({})), "it was deleted just now");
        assert_eq!(kept("Pod", &ending, &json!({})), "it ends");
        let mut held = ending.clone();
        held["finalizers"] = json!(["a.example/x", "b.example/y"]);
        assert_eq!(kept("ConfigMap", &held, &json!({})), "finalizer a.example/x, b.example/y");
        let with = |type_: &str, message: &str| json!({"type": type_, "status": "True", "message": message});
        let conditions =
            json!([with("Established", "served"), with("Terminating", "could not list instances")]);
        let definition = json!({"status": {"conditions": conditions}});
        assert_eq!(
            kept("CustomResourceDefinition", &held, &definition),
            "finalizer a.example/x, b.example/y; could not list instances"
        );
        let content = with("NamespaceContentRemaining", "pods. has 1 resource instances");
        let namespace = json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"conditions": [content]}});
        assert_eq!(
            kept("Namespace", &ending, &namespace),
            "finalizer kubernetes; pods. has 1 resource instances"
        );
    }

    #[test]
    fn other_kinds_by_their_conditions() {
        let with = |type_: &str, status: &str| json!({"status": {"conditions": [{"type": type_, "status": status, "message": "why"}]}});
        assert_eq!(reason("CustomResourceDefinition", 1, &with("Established", "True")), None);
        assert!(reason("CustomResourceDefinition", 1, &json!({})).is_some());
        assert_eq!(reason("Job", 1, &with("Complete", "True")), None);
        assert_eq!(reason("Job", 1, &with("Failed", "True")).unwrap(), "it failed: why");
        assert_eq!(reason("ConfigMap", 0, &json!({"data": {}})), None);
        assert_eq!(reason("Thing", 1, &with("Ready", "True")), None);
        assert_eq!(reason("Thing", 1, &with("Ready", "False")).unwrap(), "Ready is False: why");
        assert!(reason("Thing", 2, &json!({"status": {"observedGeneration": 1}})).is_some());
    }
}
