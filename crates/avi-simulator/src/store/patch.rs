//! PATCH: `add`, `replace` and `delete` one level deep, and RFC 6902. Knows no kinds.
//!
//! A list gains (`add`), is swapped (`replace`) or loses (`delete`) elements; anything else is set by `add` and
//! `replace` alike and removed by `delete`. What lies inside of an object cannot be addressed.

use json_patch::{AddOperation, CopyOperation, MoveOperation, PatchOperation, ReplaceOperation};
use serde_json::{Map, Value};

use super::validate::{DEEPEST, deeper_than};
use crate::{ApiError, Rule, Rules};

/// The operations of one `json_patch`: each may move all that a list has.
const OPERATIONS: usize = 1000;

/// What the `copy` and `move` operations of one `json_patch` may add up to: values, and bytes of text. Everything else
/// that a patch brings stands in it, and so is bounded by the size of a request.
const COPIED: usize = 1 << 20;

/// Applies `{"add"|"replace"|"delete": {field: value, …}}`.
///
/// # Errors
/// 400 for another operation, or fields that are no object.
pub(super) fn apply(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    rules: &Rules,
) -> Result<(), ApiError> {
    if patch.is_empty() {
        return Err(refused("add, replace or delete is wanted"));
    }
    for (operation, fields) in patch {
        let Value::Object(fields) = fields else {
            return Err(refused(&format!("{operation} wants an object of fields")));
        };
        for (field, value) in fields {
            match operation.as_str() {
                "add" if rules.holds(Rule::PatchAdd) => add(target, field, value),
                "add" | "replace" => {
                    target.insert(field.clone(), value.clone());
                }
                "delete" if rules.holds(Rule::PatchDelete) => delete(target, field, value),
                "delete" => {}
                other => return Err(refused(&format!("'{other}' is none of add, replace, delete"))),
            }
        }
    }
    Ok(())
}

/// Applies the RFC 6902 operations under `json_patch`; all of them or none.
///
/// # Errors
/// 400 if it is no such patch, stands beside other operations, does not apply, or makes too much of too little.
pub(super) fn json(target: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), ApiError> {
    if patch.len() > 1 {
        return Err(refused("json_patch stands alone"));
    }
    let operations = patch.get("json_patch").cloned().unwrap_or_default();
    let operations: json_patch::Patch =
        serde_json::from_value(operations).map_err(|e| refused(&e.to_string()))?;
    if operations.0.len() > OPERATIONS {
        return Err(refused(&format!("json_patch takes at most {OPERATIONS} operations")));
    }
    let mut whole = Value::Object(std::mem::take(target));
    let mut left = COPIED;
    for operation in &operations.0 {
        bounded(&whole, operation, &mut left)?;
        json_patch::patch(&mut whole, std::slice::from_ref(operation))
            .map_err(|e| refused(&e.to_string()))?;
    }
    match whole {
        Value::Object(map) => {
            *target = map;
            Ok(())
        }
        _ => Err(refused("json_patch leaves no object")),
    }
}

/// Refuses an operation that copies or moves more than is `left`, or puts something deeper than an object may be.
fn bounded(whole: &Value, operation: &PatchOperation, left: &mut usize) -> Result<(), ApiError> {
    let (path, value) = match operation {
        PatchOperation::Add(AddOperation { path, value })
        | PatchOperation::Replace(ReplaceOperation { path, value }) => (path, Some(value)),
        PatchOperation::Move(MoveOperation { path, from })
        | PatchOperation::Copy(CopyOperation { path, from }) => {
            let value = from.resolve(whole).ok();
            if value.is_some_and(|value| !spend(value, left)) {
                return Err(refused("json_patch copies and moves more than it may"));
            }
            (path, value)
        }
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    let depth = DEEPEST.checked_sub(path.count());
    if value.is_some_and(|value| depth.is_none_or(|depth| deeper_than(value, depth))) {
        return Err(refused("json_patch makes values that are nested too deeply"));
    }
    Ok(())
}

/// Takes what a value amounts to from what is left; false if it does not suffice.
fn spend(value: &Value, left: &mut usize) -> bool {
    let cost = 1 + value.as_str().map_or(0, str::len);
    let Some(rest) = left.checked_sub(cost) else { return false };
    *left = rest;
    match value {
        Value::Array(list) => list.iter().all(|value| spend(value, left)),
        Value::Object(map) => map.iter().all(|(key, value)| {
            *left = left.saturating_sub(key.len());
            spend(value, left)
        }),
        _ => true,
    }
}

fn refused(text: &str) -> ApiError {
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
            list.retain(|one| !gone.iter().any(|gone| covers(gone, one)));
        }
        (Some(Value::Array(list)), gone) => list.retain(|one| !covers(gone, one)),
        _ => {
            target.remove(field);
        }
    }
}

/// Whether an element is meant: everything said of it is so. What is not said may be anything.
fn covers(said: &Value, element: &Value) -> bool {
    match (said, element) {
        (Value::Object(said), Value::Object(element)) => {
            said.iter().all(|(key, said)| element.get(key).is_some_and(|value| covers(said, value)))
        }
        _ => said == element,
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
            json(&mut target, &patch)?;
        } else {
            apply(&mut target, &patch, &Rules::default())?;
        }
        Ok(Value::Object(target))
    }

    #[test]
    fn add_replace_and_delete() {
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
    fn what_is_no_patch_is_refused() {
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
    fn rfc_6902_applies() {
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
        fn replace_twice_is_replace_once_and_forgets(a in prop::collection::vec(any::<u8>(), 0..8), b in prop::collection::vec(any::<u8>(), 0..8)) {
            let patch = json!({"replace": {"l": b}});
            let once = patched(json!({"l": a}), patch.clone()).unwrap();
            prop_assert_eq!(&patched(once.clone(), patch).unwrap(), &once);
            prop_assert_eq!(once, json!({"l": b}));
        }

        #[test]
        fn delete_twice_is_delete_once(a in prop::collection::vec(0..9_u8, 0..12), b in prop::collection::vec(0..9_u8, 0..6)) {
            let patch = json!({"delete": {"l": b}});
            let once = patched(json!({"l": a}), patch.clone()).unwrap();
            prop_assert!(once["l"].as_array().unwrap().iter().all(|left| !b.iter().any(|gone| left == gone)));
            prop_assert_eq!(patched(once.clone(), patch).unwrap(), once);
        }
    }
}
