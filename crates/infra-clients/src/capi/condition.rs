//! Conditions of both contract versions in one shape, and the patch that changes some. Owns their place in a status; sends nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition as KubeCondition, Time};
use kube::api::Patch;
use serde::Deserialize;
use serde_json::{Value, json};

use super::object::{Object, Spec};
use super::patch;
use super::version::Version;

/// The status of a condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum ConditionStatus {
    /// It is true.
    True,
    /// It is false.
    False,
    /// It is not known.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A condition of Cluster API's own type (contract v1beta1) or of Kubernetes' (contract v1beta2).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Its type, such as `Available`.
    #[serde(rename = "type")]
    pub type_: String,
    /// Whether it is true.
    pub status: ConditionStatus,
    /// The reason. May be empty in contract v1beta1.
    pub reason: String,
    /// The message, for people.
    pub message: String,
    /// `Error`, `Warning` or `Info`; only in contract v1beta1 and there only with `False`.
    pub severity: Option<String>,
    /// The `metadata.generation` it was observed at; only in contract v1beta2.
    pub observed_generation: Option<i64>,
    /// When its status changed last.
    pub last_transition_time: Option<Time>,
}

impl ConditionStatus {
    /// Returns the status as Kubernetes spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Condition {
    /// Returns whether it says the same as another condition of its type: status, reason and message.
    #[must_use]
    pub fn says(&self, other: &KubeCondition) -> bool {
        self.status.as_str() == other.status && self.reason == other.reason && self.message == other.message
    }

    /// Returns whether it is true.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// The conditions of one object, wherever its version has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
    /// Whether the object has a status at all.
    pub(super) has_status: bool,
    current: Vec<Condition>,
    v1beta1: Vec<Condition>,
}

impl Conditions {
    /// Returns the condition of that type: contract v1beta2's if there is one, else v1beta1's.
    ///
    /// Some types mean something else in each contract, above all `Ready`: where that matters see
    /// [`Conditions::current`] and [`Conditions::v1beta1`].
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Condition> {
        self.current.iter().chain(&self.v1beta1).find(|condition| condition.type_ == name)
    }

    /// Returns whether [`Conditions::get`] finds one, and it is true.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(Condition::is_true)
    }

    /// Returns those of contract v1beta2: `Available`, `RemoteConnectionProbe`, `Deleting`, … None where Cluster API
    /// is older than 1.9.
    #[must_use]
    pub fn current(&self) -> &[Condition] {
        &self.current
    }

    /// Returns those of contract v1beta1: `Ready`, `ControlPlaneInitialized`, `PreTerminateDeleteHookSucceeded`, …
    #[must_use]
    pub fn v1beta1(&self) -> &[Condition] {
        &self.v1beta1
    }
}

impl<S: Spec> Object<S> {
    /// Returns the conditions at the top of the status, in the order of the version that the object was read in.
    fn top_conditions(&self) -> &[Condition] {
        match self.version {
            Version::V1Beta1 => self.conditions.v1beta1(),
            Version::V1Beta2 => self.conditions.current(),
        }
    }

    /// Returns the patch of the status subresource that sets and removes conditions of others than Cluster API, and keeps all other
    /// conditions. A condition whose status stays keeps its time. `None`: they are so already.
    ///
    /// They stand at the top of the status, in the format of the version that the object was read in.
    #[must_use]
    pub fn change_conditions(&self, set: &[KubeCondition], remove: &[&str]) -> Option<Patch<Value>> {
        let present = self.top_conditions();
        let mut operations = Vec::new();
        let mut missing = Vec::new();
        for condition in set {
            let at = present.iter().position(|known| known.type_ == condition.type_);
            let known = at.and_then(|at| present.get(at));
            if known.is_some_and(|known| known.says(condition)) {
                continue;
            }
            let same_status = known.filter(|known| known.status.as_str() == condition.status);
            let time = same_status.and_then(|known| known.last_transition_time.as_ref());
            let written = written(condition, time, self.version);
            match at {
                Some(at) => operations.push(
                    json!({"op": "replace", "path": format!("/status/conditions/{at}"), "value": written}),
                ),
                None => missing.push(written),
            }
        }
        if present.is_empty() && !missing.is_empty() {
            if !self.conditions.has_status {
                // Of a new object. The patch is of its version, so that no other status is lost.
                operations.push(json!({"op": "add", "path": "/status", "value": {}}));
            }
            operations.push(json!({"op": "add", "path": "/status/conditions", "value": missing}));
        } else {
            let added =
                missing.iter().map(|new| json!({"op": "add", "path": "/status/conditions/-", "value": new}));
            operations.extend(added);
        }
        // From the last one on: each removal moves those behind it.
        for (at, _) in present.iter().enumerate().rev().filter(|(_, known)| remove.contains(&&*known.type_)) {
            operations.push(json!({"op": "remove", "path": format!("/status/conditions/{at}")}));
        }
        (!operations.is_empty()).then(|| patch::operations_of_this_version(&self.metadata, operations))
    }
}

/// Returns a condition in the format of a version.
fn written(condition: &KubeCondition, time: Option<&Time>, version: Version) -> Value {
    let mut value = json!({
        "type": condition.type_,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": time.unwrap_or(&condition.last_transition_time),
    });
    match version {
        // Required there with False, and allowed with nothing else.
        Version::V1Beta1 if condition.status == "False" => value["severity"] = "Info".into(),
        Version::V1Beta1 => {}
        Version::V1Beta2 => {
            if let Some(generation) = condition.observed_generation {
                value["observedGeneration"] = generation.into();
            }
        }
    }
    value
}

/// A status, with the conditions where either version has them.
#[derive(Default, Deserialize)]
pub(super) struct WithConditions<T> {
    #[serde(default)]
    conditions: Vec<Condition>,
    /// In v1beta1, the conditions that v1beta2 has at the top.
    #[serde(default)]
    v1beta2: Nested,
    /// In v1beta2, the conditions that v1beta1 has at the top.
    #[serde(default)]
    deprecated: Deprecated,
    #[serde(flatten)]
    pub(super) status: T,
}

#[derive(Default, Deserialize)]
struct Nested {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Default, Deserialize)]
struct Deprecated {
    #[serde(default)]
    v1beta1: Nested,
}

impl<T> WithConditions<T> {
    /// Returns the conditions of a status in `version`, and the rest of it.
    pub(super) fn split(self, version: Version) -> (Conditions, T) {
        let conditions = match version {
            Version::V1Beta1 => Conditions {
                current: self.v1beta2.conditions,
                v1beta1: self.conditions,
                ..Conditions::default()
            },
            Version::V1Beta2 => {
                let v1beta1 = self.deprecated.v1beta1.conditions;
                Conditions { current: self.conditions, v1beta1, ..Conditions::default() }
            }
        };
        (conditions, self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::Cluster;

    fn cluster(version: &str, conditions: &Value) -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": format!("cluster.x-k8s.io/{version}"), "kind": "Cluster",
            "metadata": {"name": "c", "resourceVersion": "7"},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str) -> KubeCondition {
        KubeCondition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: "m".into(),
            observed_generation: Some(3),
            last_transition_time: Time("2026-01-02T00:00:00Z".parse().unwrap()),
        }
    }

    fn operations(patch: Option<Patch<Value>>) -> Value {
        let Some(Patch::Json(patch)) = patch else { panic!("{patch:?}") };
        let mut operations = serde_json::to_value(patch).unwrap();
        let first = operations.as_array_mut().unwrap().remove(0);
        assert_eq!(first, json!({"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}));
        operations
    }

    const OLD: &str = "2025-01-02T00:00:00Z";

    #[test]
    fn a_condition_is_added_in_the_format_of_the_version() {
        let theirs = json!([{"type": "Available", "status": "True", "reason": "Available", "lastTransitionTime": OLD}]);
        let mine = [condition("Mine", "False", "Why")];
        let new = json!({"type": "Mine", "status": "False", "reason": "Why", "message": "m",
            "lastTransitionTime": "2026-01-02T00:00:00Z"});
        let with = |key: &str, value: Value| {
            let mut new = new.clone();
            new[key] = value;
            new
        };
        let changed = cluster("v1beta2", &theirs).change_conditions(&mine, &[]);
        let current = with("observedGeneration", json!(3));
        assert_eq!(
            operations(changed),
            json!([{"op": "add", "path": "/status/conditions/-", "value": current}])
        );
        let changed = cluster("v1beta1", &theirs).change_conditions(&mine, &[]);
        let old = with("severity", json!("Info"));
        assert_eq!(operations(changed), json!([{"op": "add", "path": "/status/conditions/-", "value": old}]));
        let changed = cluster("v1beta2", &json!([])).change_conditions(&mine, &[]);
        assert_eq!(
            operations(changed),
            json!([{"op": "add", "path": "/status/conditions", "value": [current]}])
        );
        let new: Cluster = serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "metadata": {"name": "c", "resourceVersion": "7"},
        }))
        .unwrap();
        let status = json!({"op": "add", "path": "/status", "value": {}});
        let conditions = json!({"op": "add", "path": "/status/conditions", "value": [current]});
        assert_eq!(operations(new.change_conditions(&mine, &[])), json!([status, conditions]), "no status");
    }

    #[test]
    fn what_says_the_same_is_not_written_and_a_status_that_stays_keeps_its_time() {
        let has = json!([
            {"type": "Mine", "status": "False", "reason": "Why", "message": "m", "lastTransitionTime": OLD},
            {"type": "Other", "status": "True", "reason": "X", "lastTransitionTime": OLD},
        ]);
        let cluster = cluster("v1beta2", &has);
        assert_eq!(cluster.change_conditions(&[condition("Mine", "False", "Why")], &["Absent"]), None);
        let time = |status: &str, reason: &str| {
            let changed = operations(cluster.change_conditions(&[condition("Mine", status, reason)], &[]));
            assert_eq!(changed[0]["path"], "/status/conditions/0");
            changed[0]["value"]["lastTransitionTime"].clone()
        };
        assert_eq!(time("False", "Other"), OLD);
        assert_eq!(time("True", "Why"), "2026-01-02T00:00:00Z");
    }

    #[test]
    fn conditions_are_removed_from_the_last_one_on() {
        let has = json!([
            {"type": "A", "status": "True", "lastTransitionTime": OLD},
            {"type": "B", "status": "True", "lastTransitionTime": OLD},
            {"type": "C", "status": "True", "lastTransitionTime": OLD},
        ]);
        let changed = cluster("v1beta2", &has).change_conditions(&[], &["A", "C"]);
        let removed = json!([
            {"op": "remove", "path": "/status/conditions/2"}, {"op": "remove", "path": "/status/conditions/0"}]);
        assert_eq!(operations(changed), removed);
    }
}
