//! PATCH: `add`, `replace` and `delete` of top-level fields, and RFC 6902. Knows no kinds.
//!
//! `add` appends to a list, `replace` replaces it, `delete` removes elements. Any other field is set by `add` and `replace`
//! and removed by `delete`. Fields inside an object cannot be addressed.

use json_patch::{AddOperation, CopyOperation, MoveOperation, PatchOperation, ReplaceOperation};
use serde_json::{Map, Value};

use super::validate::{MAX_DEPTH, is_deeper_than};
use crate::{ApiError, Rule, Rules};

/// The maximum number of operations of one `json_patch`: each may move all elements of a list.
const MAX_OPERATIONS: usize = 1000;

/// The most that the `copy` and `move` operations of one `json_patch` may copy in total: values plus bytes of text. The
/// values of other operations are in the request, so its maximum size bounds them.
const MAX_COPIED: usize = 1 << 20;

/// Applies `{"add"|"replace"|"delete": {field: value, …}}`.
///
/// # Errors
/// 400 for another operation, or fields that are not an object.
pub(super) fn apply(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    rules: &Rules,
) -> Result<(), ApiError> {
    if patch.is_empty() {
        return Err(invalid_patch("write add, replace or delete"));
    }
    for (operation, fields) in patch {
        let Value::Object(fields) = fields else {
            return Err(invalid_patch(&format!("{operation} must be an object of fields")));
        };
        for (field, value) in fields {
            match operation.as_str() {
                "add" if rules.holds(Rule::PatchAdd) => add(target, field, value),
                "add" | "replace" => {
                    target.insert(field.clone(), value.clone());
                }
                "delete" if rules.holds(Rule::PatchDelete) => delete(target, field, value),
                "delete" => {}
                other => {
                    return Err(invalid_patch(&format!(
                        "unknown operation '{other}'; use add, replace or delete"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Applies the RFC 6902 operations in `json_patch`: all or none.
///
/// # Errors
/// 400 if the patch is invalid, has other operations too, does not apply, or exceeds a limit.
pub(super) fn apply_json_patch(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), ApiError> {
    if patch.len() > 1 {
        return Err(invalid_patch("json_patch cannot be combined with other operations"));
    }
    let operations = patch.get("json_patch").cloned().unwrap_or_default();
    let operations: json_patch::Patch =
        serde_json::from_value(operations).map_err(|e| invalid_patch(&e.to_string()))?;
    if operations.0.len() > MAX_OPERATIONS {
        return Err(invalid_patch(&format!("json_patch has more than {MAX_OPERATIONS} operations")));
    }
    let mut whole = Value::Object(std::mem::take(target));
    let mut left = MAX_COPIED;
    for operation in &operations.0 {
        check_operation(&whole, operation, &mut left)?;
        json_patch::patch(&mut whole, std::slice::from_ref(operation))
            .map_err(|e| invalid_patch(&e.to_string()))?;
    }
    match whole {
        Value::Object(map) => {
            *target = map;
            Ok(())
        }
        _ => Err(invalid_patch("json_patch replaces the object by another value")),
    }
}

/// Checks that an operation copies at most `left`, which it reduces, and does not nest values too deeply.
fn check_operation(whole: &Value, operation: &PatchOperation, left: &mut usize) -> Result<(), ApiError> {
    let (path, value) = match operation {
        PatchOperation::Add(AddOperation { path, value })
        | PatchOperation::Replace(ReplaceOperation { path, value }) => (path, Some(value)),
        PatchOperation::Move(MoveOperation { path, from })
        | PatchOperation::Copy(CopyOperation { path, from }) => {
            let value = from.resolve(whole).ok();
            if value.is_some_and(|value| !charge(value, left)) {
                return Err(invalid_patch("json_patch copies and moves too much"));
            }
            (path, value)
        }
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    let depth = MAX_DEPTH.checked_sub(path.count());
    if value.is_some_and(|value| depth.is_none_or(|depth| is_deeper_than(value, depth))) {
        return Err(invalid_patch("json_patch makes values that are nested too deeply"));
    }
    Ok(())
}

/// Subtracts the size of a value from `left`; false if it is larger.
fn charge(value: &Value, left: &mut usize) -> bool {
    let cost = 1 + value.as_str().map_or(0, str::len);
    let Some(rest) = left.checked_sub(cost) else { return false };
    *left = rest;
    match value {
        Value::Array(list) => list.iter().all(|value| charge(value, left)),
        Value::Object(map) => map.iter().all(|(key, value)| {
            *left = left.saturating_sub(key.len());
            charge(value, left)
        }),
        _ => true,
    }
}

fn invalid_patch(text: &str) -> ApiError {
    ApiError::new(400, format!("Invalid patch: {text}"))
}

fn add(target: &mut Map<String, Value>, field: &str, value: &Value) {
    match (target.get_mut(field), value) {
        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more.iter().cloned()),
        (Some(Value::Array(list)), one) => list.push(one.clone()),
        _ => {
            target.insert(field.to_owned(), value.clone());
        }
    }
}

fn delete(target: &mut Map<String, Value>, field: &str, value: &Value) {
    match (target.get_mut(field), value) {
        (Some(Value::Array(list)), Value::Array(gone)) => {
            list.retain(|one| !gone.iter().any(|gone| matches(gone, one)));
        }
        (Some(Value::Array(list)), gone) => list.retain(|one| !matches(gone, one)),
        _ => {
            target.remove(field);
        }
    }
}

/// Returns whether an element has every field of a pattern.
fn matches(pattern: &Value, element: &Value) -> bool {
    match (pattern, element) {
        (Value::Object(pattern), Value::Object(element)) => {
            pattern.iter().all(|(key, part)| element.get(key).is_some_and(|value| matches(part, value)))
        }
        _ => pattern == element,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn patched(target: Value, patch: Value) -> Result<Value, ApiError> {
        let (Value::Object(mut target), Value::Object(patch)) = (target, patch) else { panic!("objects") };
        if patch.contains_key("json_patch") {
            apply_json_patch(&mut target, &patch)?;
        } else {
            apply(&mut target, &patch, &Rules::default())?;
        }
        Ok(Value::Object(target))
    }

    #[test]
    fn add_replace_and_delete_change_fields_and_lists() {
        let target = json!({"name": "n", "l": [1, 2], "o": {"a": 1, "b": 2}, "s": [{"ip": {"addr": "1"}, "port": 80}, {"ip": {"addr": "2"}}]});
        for (patch, expected) in [
            (json!({"add": {"l": [3]}}), json!({"l": [1, 2, 3]})),
            (json!({"add": {"l": 3}}), json!({"l": [1, 2, 3]})),
            (json!({"add": {"name": "m"}}), json!({"name": "m"})),
            (json!({"add": {"new": [1]}}), json!({"new": [1]})),
            (json!({"add": {"o": {"c": 3}}}), json!({"o": {"c": 3}})),
            (json!({"replace": {"l": [9]}}), json!({"l": [9]})),
            (json!({"replace": {"name": "m"}}), json!({"name": "m"})),
            (json!({"delete": {"l": [2, 7]}}), json!({"l": [1]})),
            (json!({"delete": {"s": [{"ip": {"addr": "1"}}]}}), json!({"s": [{"ip": {"addr": "2"}}]})),
            (json!({"delete": {"s": [{"ip": {"addr": "1"}, "port": 81}]}}), json!({})),
            (json!({"delete": {"gone": ""}}), json!({})),
            (json!({"add": {"l": [5]}, "delete": {"l": [1]}}), json!({"l": [2, 5]})),
        ] {
            let mut whole = target.clone();
            whole.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
            assert_eq!(patched(target.clone(), patch.clone()).unwrap(), whole, "{patch}");
        }
        assert_eq!(patched(json!({"a": 1, "b": 2}), json!({"delete": {"a": ""}})).unwrap(), json!({"b": 2}));
    }

    #[test]
    fn invalid_patches_are_refused() {
        for patch in [
            json!({}),
            json!({"name": "x"}),
            json!({"move": {"name": "x"}}),
            json!({"add": ["name"]}),
            json!({"json_patch": [{"op": "fly", "path": "/a"}]}),
            json!({"json_patch": [{"op": "remove", "path": "/missing"}]}),
            json!({"json_patch": [{"op": "replace", "path": "", "value": 3}]}),
            json!({"json_patch": [], "add": {}}),
        ] {
            assert_eq!(patched(json!({"a": 1}), patch.clone()).unwrap_err().status, 400, "{patch}");
        }
    }

    #[test]
    fn rfc_6902_patches_apply() {
        let patch = json!({"json_patch": [
            {"op": "test", "path": "/a/0", "value": 1}, {"op": "add", "path": "/a/-", "value": 2}, {"op": "remove", "path": "/b"}]});
        assert_eq!(patched(json!({"a": [1], "b": 3}), patch).unwrap(), json!({"a": [1, 2]}));
    }

    proptest! {
        #[test]
        fn delete_undoes_add(before in prop::collection::vec(0..50_u8, 0..8), more in prop::collection::vec(50..99_u8, 0..8)) {
            let added = patched(json!({"l": before}), json!({"add": {"l": more}})).unwrap();
            prop_assert_eq!(added["l"].as_array().unwrap().len(), before.len() + more.len());
            let back = patched(added, json!({"delete": {"l": more}})).unwrap();
            prop_assert_eq!(back, json!({"l": before}));
        }

        #[test]
        fn replace_is_idempotent(a in prop::collection::vec(any::<u8>(), 0..8), b in prop::collection::vec(any::<u8>(), 0..8)) {
            let patch = json!({"replace": {"l": b}});
            let once = patched(json!({"l": a}), patch.clone()).unwrap();
            prop_assert_eq!(&patched(once.clone(), patch).unwrap(), &once);
            prop_assert_eq!(once, json!({"l": b}));
        }

        #[test]
        fn delete_is_idempotent(a in prop::collection::vec(0..9_u8, 0..12), b in prop::collection::vec(0..9_u8, 0..6)) {
            let patch = json!({"delete": {"l": b}});
            let once = patched(json!({"l": a}), patch.clone()).unwrap();
            prop_assert!(once["l"].as_array().unwrap().iter().all(|left| !b.iter().any(|gone| left == gone)));
            prop_assert_eq!(patched(once.clone(), patch).unwrap(), once);
        }
    }
}
