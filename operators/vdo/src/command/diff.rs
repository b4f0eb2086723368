//! How an object would change, field by field. Pure. What Secrets hold is never shown.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What the API server writes into an object.
const OF_SERVER: [&str; 5] = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"];
/// kubectl's copy of an object, which may hold a Secret's content.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Stands for what a Secret holds.
const HIDDEN: &str = "***";

/// A field that would change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Field {
    /// Where it is, such as `spec.template.spec.containers[0].image`.
    pub(super) path: String,
    /// Its value, if it has one.
    pub(super) before: Option<Value>,
    /// The value that it would get, if any.
    pub(super) after: Option<Value>,
}

/// Returns the fields that differ between an object as it is and as it would be.
pub(super) fn fields(kind: &str, before: &Value, after: &Value) -> Vec<Field> {
    let (before, after) = (shown(kind, before), shown(kind, after));
    let mut found = Vec::new();
    compare("", Some(&before), Some(&after), &mut found);
    if kind == "Secret" {
        for field in &mut found {
            let is_content = ["data", "stringData"].iter().any(|of| field.path.starts_with(of));
            if is_content {
                field.before = field.before.take().map(|_| json!(HIDDEN));
                field.after = field.after.take().map(|_| json!(HIDDEN));
            }
        }
    }
    found
}

/// Returns an object without what the API server writes.
fn shown(kind: &str, object: &Value) -> Value {
    let mut shown = object.clone();
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("status");
        // Every ServiceAccount of an old cluster has Secrets that a controller has added.
        if kind == "ServiceAccount" {
            fields.remove("secrets");
        }
    }
    if let Some(metadata) = shown["metadata"].as_object_mut() {
        for field in OF_SERVER {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    shown
}

fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Field>) {
    match (before, after) {
        (Some(before), Some(after)) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => members(path, before, after, found),
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            for index in 0..before.len().max(after.len()) {
                compare(&format!("{path}[{index}]"), before.get(index), after.get(index), found);
            }
        }
        (before, after) => {
            found.push(Field { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

fn members(path: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<Field>) {
    let new = after.keys().filter(|key| !before.contains_key(*key));
    for key in before.keys().chain(new) {
        let is_plain = key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        let path = match (path.is_empty(), is_plain) {
            (true, true) => key.clone(),
            (_, true) => format!("{path}.{key}"),
            (_, false) => format!("{path}[{key:?}]"),
        };
        compare(&path, before.get(key), after.get(key), found);
    }
}

/// Returns the lines that show a field: one, or those that differ of texts with several.
pub(super) fn lines(field: &Field) -> Vec<String> {
    let path = &field.path;
    match (&field.before, &field.after) {
        (Some(Value::String(before)), Some(Value::String(after)))
            if before.contains('\n') || after.contains('\n') =>
        {
            let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line));
            let new = after.lines().filter(|line| !before.lines().any(|other| other == *line));
            let gone = gone.map(|line| format!("  - {line}"));
            let new = new.map(|line| format!("  + {line}"));
            [format!("{path}:")].into_iter().chain(gone).chain(new).collect()
        }
        (Some(before), Some(after)) => vec![format!("{path}: {} -> {}", brief(before), brief(after))],
        (None, Some(after)) => vec![format!("{path}: + {}", brief(after))],
        (Some(before), None) => vec![format!("{path}: - {}", brief(before))],
        (None, None) => Vec::new(),
    }
}

/// Returns a value on one line, cut where it is long.
fn brief(value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let cut: String = text.chars().take(LONGEST).collect();
    format!("{cut}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(kind: &str, before: &Value, after: &Value) -> Vec<String> {
        fields(kind, before, after).iter().flat_map(lines).collect()
    }

    #[test]
    fn only_what_differs_is_shown() {
        for (before, after, wanted) in [
            (json!({"a": 1}), json!({"a": 1}), vec![]),
            (
                json!({"a": {"b": [1, 2]}}),
                json!({"a": {"b": [1, 3, 4]}}),
                vec!["a.b[1]: 2 -> 3", "a.b[2]: + 4"],
            ),
            (json!({"a": "x"}), json!({}), vec!["a: - \"x\""]),
            (
                json!({"metadata": {"labels": {"a.b/c": "x"}}}),
                json!({"metadata": {"labels": {"a.b/c": "y"}}}),
                vec!["metadata.labels[\"a.b/c\"]: \"x\" -> \"y\""],
            ),
            (
                json!({"metadata": {"uid": "1", "resourceVersion": "1", "generation": 1}, "status": {"a": 1}}),
                json!({"metadata": {"uid": "1", "resourceVersion": "2", "generation": 2}}),
                vec![],
            ),
            (
                json!({"data": {"conf": "a: 1\nb: 2\nc: 3"}}),
                json!({"data": {"conf": "a: 1\nb: 4\nc: 3"}}),
                vec!["data.conf:", "  - b: 2", "  + b: 4"],
            ),
        ] {
            assert_eq!(shows("ConfigMap", &before, &after), wanted);
        }
    }

    #[test]
    fn what_a_secret_holds_is_never_shown() {
        let secret = |password: &str| {
            json!({"data": {"password": password, "same": "c2FtZQ=="}, "type": "Opaque", "metadata": {
                "annotations": {LAST_APPLIED: format!("{{\"stringData\":{{\"password\":\"{password}\"}}}}")}}})
        };
        let shown = shows("Secret", &secret("b2xk"), &secret("bmV3"));
        assert_eq!(shown, ["data.password: \"***\" -> \"***\""]);
        let shown = shows("Secret", &json!({"metadata": {}}), &secret("bmV3"));
        assert!(!format!("{shown:?}").contains("bmV3"), "{shown:?}");
    }
}
