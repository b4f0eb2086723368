//! What exists at one moment, in the API server and outside, as texts that can be compared between runs.

use std::collections::BTreeMap;

use anyhow::Result;
use kube::api::ListParams;
use serde_json::Value;

use crate::rig::Rig;

/// Each value by its path.
pub(super) type Snapshot = BTreeMap<String, String>;

/// Returns what exists now.
pub(super) async fn take<R: Rig>(rig: &R) -> Result<Snapshot> {
    let site = rig.site();
    let mut snapshot = Snapshot::new();
    for kind in R::SUBJECT.kinds {
        for object in site.api(kind.kind).list(&ListParams::default()).await? {
            let path = format!("{}/{}", kind.kind, object.metadata.name.clone().unwrap_or_default());
            let mut object = serde_json::to_value(object)?;
            if let Some(metadata) = object["metadata"].as_object_mut() {
                // Which client wrote which field how often says nothing about the state.
                metadata.remove("managedFields");
            }
            flatten(&path, &object, site.namespace(), &mut snapshot);
        }
    }
    for (path, value) in rig.outside().await? {
        flatten(&format!("outside {path}"), &value, site.namespace(), &mut snapshot);
    }
    Ok(snapshot)
}

/// Adds all values under a path.
fn flatten(path: &str, value: &Value, namespace: &str, into: &mut Snapshot) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{path}.{name}"), value, namespace, into);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                // Conditions are found by their types.
                let key = item["type"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                flatten(&format!("{path}[{key}]"), item, namespace, into);
            }
        }
        Value::String(text) => {
            into.insert(path.to_owned(), generic(text, namespace));
        }
        other => {
            into.insert(path.to_owned(), other.to_string());
        }
    }
}

/// Replaces what is new in every run: the namespace, times and UUIDs.
fn generic(text: &str, namespace: &str) -> String {
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

    #[test]
    fn what_is_new_in_every_run_is_replaced() {
        let uuid = "0d9bd1f2-0000-4000-8000-00000000000a";
        for (text, wanted) in [
            ("2026-11-28T12:47:32Z", "TIME"),
            ("rig-7/web", "NAMESPACE/web"),
            (uuid, "UUID"),
            (&format!("owner {uuid}/web-0"), "owner UUID/web-0"),
            ("vm-66 is on", "vm-66 is on"),
        ] {
            assert_eq!(generic(text, "rig-7"), wanted);
        }
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let mut snapshot = Snapshot::new();
        let object = json!({ "a": [{ "type": "Ready", "status": "True" }], "b": [1] });
        flatten("x", &object, "rig-7", &mut snapshot);
        let wanted = [("x.a[Ready].status", "True"), ("x.a[Ready].type", "Ready"), ("x.b[0]", "1")];
        assert_eq!(snapshot, wanted.map(|(path, value)| (path.to_owned(), value.to_owned())).into());
    }
}
