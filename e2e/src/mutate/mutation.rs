//! `Mutation`: one change of a spec, with a name that replays it.

use std::fmt;

use serde_json::Value;

use super::rules::{entries, rules};
use super::schema::{Path, places};

/// One change of an object. Displayed as its name: the path, a colon and the rule, as in `spec.cpu:max+1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    path: Path,
    rule: String,
    /// `None`: the value is removed.
    value: Option<Value>,
}

impl Mutation {
    /// Returns all mutations of the field `spec` of a sample: by the CRD's schema of the whole object, parents before what is
    /// in them, in the same order for the same schema and sample.
    #[must_use]
    pub fn all(schema: &Value, sample: &Value) -> Vec<Self> {
        let mut all = Vec::new();
        for place in places(Path::field("spec"), &schema["properties"]["spec"], sample.get("spec")) {
            let new = |path: &Path, (rule, value)| Self { path: path.clone(), rule, value };
            all.extend(rules(&place).into_iter().map(|rule| new(&place.path, rule)));
            all.extend(entries(&place).into_iter().map(|(key, rule)| new(&place.path.entry(&key), rule)));
        }
        all
    }

    /// Returns where it changes the object.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Changes an object.
    pub fn apply(&self, object: &mut Value) {
        self.path.set(object, self.value.as_ref());
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.rule)
    }
}
