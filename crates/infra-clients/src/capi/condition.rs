//! Conditions of both contract versions in one shape. Owns their place in a status; never writes any.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;

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

impl Condition {
    /// Returns whether it is true.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// The conditions of one object, wherever its version has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions {
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
            Version::V1Beta1 => Conditions { current: self.v1beta2.conditions, v1beta1: self.conditions },
            Version::V1Beta2 => {
                Conditions { current: self.conditions, v1beta1: self.deprecated.v1beta1.conditions }
            }
        };
        (conditions, self.status)
    }
}
