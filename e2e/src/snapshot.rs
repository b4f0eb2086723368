//! What exists at one moment, in the API server and outside, and how two such snapshots differ.
//!
//! Owns what no comparison looks at: what is new in every run (the namespace, times, UUIDs), and the values at which two clean
//! runs differ. Perturbation and mutation compare by it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde_json::Value;

use crate::rig::Rig;

/// Each value by its path: of objects `<kind>/<name>/…`, of the outside `outside/…`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot(BTreeMap<String, Value>);

impl Snapshot {
    /// Returns what exists now.
    pub(crate) async fn take<R: Rig>(rig: &R) -> Result<Self> {
        let site = rig.site();
        let mut snapshot = Self::default();
        for kind in R::SUBJECT.kinds {
            for mut object in site.api(kind.kind).list(&ListParams::default()).await? {
                // Which client wrote which field how often says nothing about the state.
                object.managed_fields_mut().clear();
                let path = format!("{}/{}", kind.kind, object.name_any());
                snapshot.add(&path, &serde_json::to_value(object)?, site.namespace());
            }
        }
        for (path, value) in rig.outside().await? {
            snapshot.add(&format!("outside/{path}"), &value, site.namespace());
        }
        Ok(snapshot)
    }

    /// Returns the snapshot without the numbers that grow with each change of an object.
    pub(crate) fn without_versions(mut self) -> Self {
        const VERSIONS: [&str; 3] =
            ["/metadata/generation", "/metadata/resourceVersion", "/observedGeneration"];
        self.0.retain(|path, _| !VERSIONS.iter().any(|version| path.ends_with(version)));
        self
    }

    /// Adds each value below a path. Items of lists have the type or name that they state, else their number.
    fn add(&mut self, path: &str, value: &Value, namespace: &str) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, field) in fields {
                    self.add(&format!("{path}/{name}"), field, namespace);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    let name = item["type"].as_str().or_else(|| item["name"].as_str());
                    let name = name.map_or_else(|| index.to_string(), str::to_owned);
                    self.add(&format!("{path}/{name}"), item, namespace);
                }
            }
            Value::String(text) => {
                self.0.insert(path.to_owned(), without_news(text, namespace).into());
            }
            value => {
                self.0.insert(path.to_owned(), value.clone());
            }
        }
    }

    /// Returns the paths that have not the same value in both.
    fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a String> {
        let paths: BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        paths.into_iter().filter(|path| self.0.get(*path) != other.0.get(*path))
    }
}

/// The paths at which two clean runs differ, with `#` for each number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mask(BTreeSet<String>);

impl Mask {
    /// Returns where any two of these snapshots differ.
    pub(crate) fn between<'a>(pairs: impl IntoIterator<Item = (&'a Snapshot, &'a Snapshot)>) -> Self {
        let pairs = pairs.into_iter();
        Self(pairs.flat_map(|(one, other)| one.differing(other)).map(|path| without_numbers(path)).collect())
    }

    /// Returns how a snapshot differs from the expected one elsewhere, one line each; none if it does not.
    pub(crate) fn differences(&self, expected: &Snapshot, is: &Snapshot) -> Vec<String> {
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        expected
            .differing(is)
            // It counts the writes of all objects, and two clean runs may happen to have as many.
            .filter(|path| !path.ends_with("/metadata/resourceVersion"))
            .filter(|path| !self.0.contains(&without_numbers(path)))
            .map(|path| format!("{path}: {} instead of {}", text(is.0.get(path)), text(expected.0.get(path))))
            .collect()
    }

    /// Returns the paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Returns a path with `#` for each number, so that what is learned of one replica is true of the others.
fn without_numbers(path: &str) -> String {
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

/// Replaces what is new in every run: the namespace, times and UUIDs.
fn without_news(text: &str, namespace: &str) -> String {
    if text.parse::<k8s_openapi::jiff::Timestamp>().is_ok() {
        return "TIME".to_owned();
    }
    let words = text.replace(namespace, "NAMESPACE");
    let words = words.split_inclusive(|c: char| !c.is_ascii_hexdigit() && c != '-');
    words
        .map(|word| if is_uuid(word) { word.replace(&word[..36], "UUID") } else { word.to_owned() })
        .collect()
}

/// Returns whether a word begins with a UUID.
fn is_uuid(word: &str) -> bool {
    let groups: Vec<usize> = word.get(..36).unwrap_or_default().split('-').map(str::len).collect();
    word.is_ascii() && groups == [8, 4, 4, 4, 12]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const UUIDS: [&str; 2] = ["0d9bd1f2-0000-4000-8000-00000000000a", "0d9bd1f2-0000-4000-8000-00000000000b"];

    fn snapshot(path: &str, object: &Value) -> Snapshot {
        let mut snapshot = Snapshot::default();
        snapshot.add(path, object, "rig-7");
        snapshot
    }

    #[test]
    fn what_is_new_in_every_run_is_replaced() {
        let uuid = UUIDS[0];
        for (text, wanted) in [
            ("2026-11-28T12:47:32Z", "TIME"),
            ("rig-7/web", "NAMESPACE/web"),
            (uuid, "UUID"),
            (&format!("owner {uuid}/web-0"), "owner UUID/web-0"),
            ("vm-66 is on", "vm-66 is on"),
        ] {
            assert_eq!(without_news(text, "rig-7"), wanted);
        }
    }

    #[test]
    fn ids_versions_and_times_do_not_differ() {
        let object = |n: usize| {
            let time = format!("2026-11-28T12:47:3{n}Z");
            let object = json!({
                "metadata": {
                    "uid": UUIDS[n], "resourceVersion": n.to_string(), "generation": n, "creationTimestamp": time,
                    "ownerReferences": [{ "name": "web", "uid": UUIDS[n] }],
                },
                "status": { "observedGeneration": n, "conditions": [{ "type": "Ready", "lastTransitionTime": time }] },
            });
            snapshot("Thing/a-0", &object).without_versions()
        };
        assert_eq!(Mask::default().differences(&object(0), &object(1)), [""; 0]);
    }

    #[test]
    fn each_difference_is_named() {
        let one =
            json!({ "spec": { "uid": 1 }, "status": { "conditions": [{ "type": "Ready", "reason": "A" }] } });
        let other = json!({ "spec": { "uid": 2 }, "status": { "conditions": [{ "type": "Ready", "reason": "B" }], "more": [] } });
        assert_eq!(
            Mask::default().differences(&snapshot("Thing/a-0", &one), &snapshot("Thing/a-0", &other)),
            [
                "Thing/a-0/spec/uid: 2 instead of 1",
                "Thing/a-0/status/conditions/Ready/reason: \"B\" instead of \"A\"",
                "Thing/a-0/status/more: [] instead of nothing",
            ]
        );
    }

    #[test]
    fn what_differs_between_clean_runs_is_masked_for_every_replica_and_nothing_else() {
        let replica = |name: &str, id: u32, text: &str| {
            snapshot(name, &json!({ "status": { "ref": id, "text": text } }))
        };
        let mask = Mask::between([(&replica("Thing/a-0", 1, "x"), &replica("Thing/a-0", 2, "x"))]);
        let expected = replica("Thing/a-17", 3, "x");
        assert_eq!(mask.differences(&expected, &replica("Thing/a-17", 4, "x")), [""; 0]);
        assert_eq!(mask.differences(&expected, &replica("Thing/a-17", 4, "y")).len(), 1);
        assert_eq!(mask.differences(&expected, &Snapshot::default()).len(), 1, "missing");
        assert_eq!(mask.differences(&Snapshot::default(), &expected).len(), 1, "additional");
    }
}
