//! Names and conditions of Kubernetes objects, as every operator has them.

use serde_json::{Value, json};

/// The name of an object, in the namespace of the rig unless it names another. Objects of a kind of cluster scope are in none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Id<'a> {
    /// `None`: the namespace of the rig.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: &'a str,
}

impl<'a> From<&'a str> for Id<'a> {
    fn from(name: &'a str) -> Self {
        Self { namespace: None, name }
    }
}

impl<'a> From<&'a String> for Id<'a> {
    fn from(name: &'a String) -> Self {
        Self { namespace: None, name }
    }
}

impl<'a> From<(&'a str, &'a str)> for Id<'a> {
    fn from((namespace, name): (&'a str, &'a str)) -> Self {
        Self { namespace: Some(namespace), name }
    }
}

/// Returns the condition of this type in a status.
#[must_use]
pub fn condition<'a>(status: &'a Value, r#type: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == r#type)
}

/// Returns status and reason of the Ready condition in a status.
#[must_use]
pub fn ready(status: &Value) -> Option<(&str, &str)> {
    let ready = condition(status, "Ready")?;
    Some((ready["status"].as_str()?, ready["reason"].as_str()?))
}

/// Returns whether a status answers this generation of the object.
#[must_use]
pub fn is_answered(status: &Value, generation: Option<i64>) -> bool {
    let observed = status["observedGeneration"].as_i64();
    let observed = observed.or_else(|| condition(status, "Ready")?["observedGeneration"].as_i64());
    observed == generation
}

/// Returns the manifest of a namespace.
#[must_use]
pub(crate) fn namespace(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } })
}
