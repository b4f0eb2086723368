//! What exists in a namespace and outside at rest, and how two such states differ.
//!
//! Owns what no comparison looks at: ids, versions and times, and the values at which two clean runs differ. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

/// Fields of `metadata` that differ between two objects with the same spec.
const IDS: &[&str] = &["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"];
/// Fields that differ between two runs wherever they are.
const TIMES: &[&str] = &["lastTransitionTime", "observedGeneration"];

/// How an operator answers a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ready, and the outside is as the spec asks.
    Settled {
        /// Whether all of it is: see [`Rig::is_in_sync`](crate::Rig::is_in_sync).
        in_sync: bool,
    },
    /// Not Ready, for this reason.
    Explained(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled { in_sync: true } => f.write_str("settled"),
            Self::Settled { in_sync: false } => f.write_str("settled, with something of an earlier spec"),
            Self::Explained(reason) => f.write_str(reason),
        }
    }
}

/// What exists at rest.
#[derive(Clone, Debug)]
pub(super) struct State {
    /// How the operator answers the object.
    pub(super) verdict: Verdict,
    /// Value by path: of objects `<kind>/<name>/…`, of the outside `outside/…`.
    facts: BTreeMap<String, Value>,
}

impl State {
    pub(super) fn new(verdict: Verdict) -> Self {
        Self { verdict, facts: BTreeMap::new() }
    }

    /// Adds an object or a part of the outside.
    pub(super) fn add(&mut self, path: &str, value: &Value) {
        flatten(path, value, false, &mut self.facts);
    }
}

/// The paths at which two clean runs differ, with `#` for each number.
#[derive(Clone, Debug, Default)]
pub(super) struct Mask(BTreeSet<String>);

impl Mask {
    /// Returns where two states differ.
    pub(super) fn between(one: &State, other: &State) -> Self {
        let paths = one.facts.keys().chain(other.facts.keys());
        Self(
            paths
                .filter(|path| one.facts.get(*path) != other.facts.get(*path))
                .map(|path| generic(path))
                .collect(),
        )
    }

    /// Returns how a state differs from the expected one elsewhere, one line each; none if it does not.
    pub(super) fn differences(&self, expected: &State, state: &State) -> Vec<String> {
        let paths: BTreeSet<_> = expected.facts.keys().chain(state.facts.keys()).collect();
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        paths
            .into_iter()
            .filter(|path| !self.0.contains(&generic(path)))
            .map(|path| (path, expected.facts.get(path), state.facts.get(path)))
            .filter(|(_, expected, is)| expected != is)
            .map(|(path, expected, is)| format!("{path}: {} instead of {}", text(is), text(expected)))
            .collect()
    }
}

/// Returns a path with `#` for each number, so that what is learned of one replica is true of the others.
fn generic(path: &str) -> String {
    let mut generic = String::new();
    for c in path.chars() {
        match c {
            '0'..='9' if generic.ends_with('#') => {}
            '0'..='9' => generic.push('#'),
            c => generic.push(c),
        }
    }
    generic
}

/// Adds each value below a path. Items of lists have the name or type that they state, else their number.
fn flatten(path: &str, value: &Value, in_metadata: bool, facts: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, field) in fields {
                let is_id = in_metadata && IDS.contains(&name.as_str());
                if !is_id && !TIMES.contains(&name.as_str()) {
                    flatten(&format!("{path}/{name}"), field, in_metadata || name == "metadata", facts);
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let name = item["type"].as_str().or_else(|| item["name"].as_str());
                let name = name.map_or_else(|| index.to_string(), str::to_owned);
                flatten(&format!("{path}/{name}"), item, in_metadata, facts);
            }
        }
        value => {
            facts.insert(path.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn state(object: &Value) -> State {
        let mut state = State::new(Verdict::Settled { in_sync: true });
        state.add("Thing/a-0", object);
        state
    }

    #[test]
    fn ids_and_times_do_not_differ() {
        let object = |id: u32| {
            json!({ "metadata": { "uid": id, "resourceVersion": id, "ownerReferences": [{ "uid": id }] },
                "status": { "observedGeneration": id, "conditions": [{ "type": "Ready", "lastTransitionTime": id }] } })
        };
        let differences = Mask::default().differences(&state(&object(1)), &state(&object(2)));
        assert_eq!(differences, [""; 0]);
    }

    #[test]
    fn each_difference_is_named() {
        let one =
            json!({ "spec": { "uid": 1 }, "status": { "conditions": [{ "type": "Ready", "reason": "A" }] } });
        let other = json!({ "spec": { "uid": 2 }, "status": { "conditions": [{ "type": "Ready", "reason": "B" }], "more": [] } });
        assert_eq!(
            Mask::default().differences(&state(&one), &state(&other)),
            [
                "Thing/a-0/spec/uid: 2 instead of 1",
                "Thing/a-0/status/conditions/Ready/reason: \"B\" instead of \"A\"",
                "Thing/a-0/status/more: [] instead of nothing",
            ]
        );
    }

    #[test]
    fn what_differs_between_clean_runs_is_masked_for_every_replica_and_nothing_else() {
        let object = |id: u32, text: &str| json!({ "status": { "ref": id, "text": text } });
        let mask = Mask::between(&state(&object(1, "x")), &state(&object(2, "x")));
        let replica = |id: u32, text: &str| {
            let mut state = State::new(Verdict::Settled { in_sync: true });
            state.add("Thing/a-17", &object(id, text));
            state
        };
        assert_eq!(mask.differences(&replica(3, "x"), &replica(4, "x")), [""; 0]);
        assert_eq!(mask.differences(&replica(3, "x"), &replica(4, "y")).len(), 1);
    }
}
