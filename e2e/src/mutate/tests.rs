#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::rules::minimal;
use super::{Mutation, Path, unset};

/// Returns the mutations of a spec with one field `f`: names without `spec.f`, and the value of the field afterwards.
fn of_field(field: &Value, sample: &Value) -> Vec<(String, Option<Value>)> {
    let schema = json!({ "properties": { "spec": { "type": "object", "properties": { "f": field } } } });
    let object = json!({ "spec": { "f": sample } });
    let mutations = Mutation::all(&schema, &object).into_iter();
    let mutations = mutations.filter(|mutation| mutation.path().to_string().starts_with("spec.f"));
    mutations
        .map(|mutation| {
            let mut changed = object.clone();
            mutation.apply(&mut changed);
            (mutation.to_string().replace("spec.f", ""), changed["spec"].get("f").cloned())
        })
        .collect()
}

fn names(mutations: &[(String, Option<Value>)]) -> Vec<&str> {
    mutations.iter().map(|(name, _)| name.as_str()).collect()
}

#[track_caller]
fn has(mutations: &[(String, Option<Value>)], name: &str, value: &Value) {
    let found = mutations.iter().find(|(found, _)| found == name);
    assert_eq!(
        found.unwrap_or_else(|| panic!("no {name} in {:?}", names(mutations))).1.as_ref(),
        Some(value)
    );
}

#[test]
fn an_integer_gets_each_edge_once() {
    let integer = json!({ "type": "integer", "minimum": 1.0, "maximum": 4 });
    let mutations = of_field(&integer, &json!(2));
    let expected = [
        (":absent", None),
        (":null", Some(json!(null))),
        (":wrong-type", Some(json!("text"))),
        (":min-1", Some(json!(0))),
        (":min", Some(json!(1))),
        (":max", Some(json!(4))),
        (":max+1", Some(json!(5))),
        (":negative", Some(json!(-1))),
        (":i32-max", Some(json!(i32::MAX))),
        (":i32-max+1", Some(json!(2_147_483_648_i64))),
        (":i64-max", Some(json!(i64::MAX))),
        (":fraction", Some(json!(1.5))),
    ];
    assert_eq!(mutations, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn what_the_sample_has_is_no_mutation() {
    let integer = json!({ "type": "integer", "minimum": 1, "maximum": 4 });
    assert!(!names(&of_field(&integer, &json!(4))).contains(&":max"));
    assert!(
        !names(&of_field(&json!({ "type": "boolean", "nullable": true }), &json!(null))).contains(&":null")
    );
}

#[test]
fn exclusive_bounds_are_the_next_integers() {
    let integer = json!({ "type": "integer", "minimum": 0, "exclusiveMinimum": true, "maximum": 9, "exclusiveMaximum": true });
    let mutations = of_field(&integer, &json!(5));
    has(&mutations, ":min-1", &json!(0));
    has(&mutations, ":min", &json!(1));
    has(&mutations, ":max", &json!(8));
    has(&mutations, ":max+1", &json!(9));
}

#[test]
fn an_edge_of_the_largest_integer_does_not_overflow() {
    let integer = json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX });
    let mutations = of_field(&integer, &json!(5));
    has(&mutations, ":max", &json!(i64::MAX));
    has(&mutations, ":min-1", &json!(i64::MIN));
}

#[test]
fn a_number_gets_its_bounds() {
    let mutations = of_field(&json!({ "type": "number", "minimum": 0.5, "maximum": 2.0 }), &json!(1.0));
    has(&mutations, ":min", &json!(0.5));
    has(&mutations, ":min-1", &json!(-0.5));
    has(&mutations, ":max+1", &json!(3.0));
}

#[test]
fn a_text_gets_lengths_and_what_breaks_paths() {
    let mutations = of_field(&json!({ "type": "string", "minLength": 2, "maxLength": 3 }), &json!("ab"));
    has(&mutations, ":empty", &json!(""));
    has(&mutations, ":min-length-1", &json!("a"));
    has(&mutations, ":min-length", &json!("aa"));
    has(&mutations, ":max-length", &json!("aaa"));
    has(&mutations, ":over-long", &json!("aaaa"));
    has(&mutations, ":wrong-type", &json!(1));
    has(&mutations, ":dot-dot", &json!(".."));
    has(&mutations, ":percent-2f", &json!("ab%2fab"));
    assert!(
        mutations
            .iter()
            .any(|(name, value)| name == ":unicode" && !value.as_ref().unwrap().to_string().is_ascii())
    );
    let unlimited = of_field(&json!({ "type": "string" }), &json!("ab"));
    assert!(unlimited.iter().any(
        |(name, value)| name == ":over-long" && value.as_ref().unwrap().as_str().unwrap().len() > 60_000
    ));
}

#[test]
fn an_enum_gets_each_value_and_an_invalid_one() {
    let mutations = of_field(&json!({ "type": "string", "enum": ["On", "Off", "Auto"] }), &json!("On"));
    assert!(!names(&mutations).contains(&":enum-On"), "the sample has it");
    has(&mutations, ":enum-Off", &json!("Off"));
    has(&mutations, ":enum-Auto", &json!("Auto"));
    has(&mutations, ":enum-invalid", &json!("no-such-value"));
    has(&of_field(&json!({ "type": "integer", "enum": [1, 2] }), &json!(1)), ":enum-2", &json!(2));
}

#[test]
fn a_boolean_is_inverted() {
    has(&of_field(&json!({ "type": "boolean" }), &json!(true)), ":not", &json!(false));
    has(&of_field(&json!({ "type": "boolean", "nullable": true }), &json!(null)), ":not", &json!(true));
}

#[test]
fn an_int_or_string_gets_both() {
    let mutations = of_field(&json!({ "x-kubernetes-int-or-string": true }), &json!(1));
    has(&mutations, ":percent", &json!("50%"));
    has(&mutations, ":i32-max", &json!(i32::MAX));
    has(&mutations, ":wrong-type", &json!(true));
}

#[test]
fn a_list_is_pushed_popped_emptied_and_doubled_and_its_first_item_mutated() {
    let list = json!({ "type": "array", "maxItems": 3, "items": { "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string" }, "port": { "type": "integer", "minimum": 1 } } } });
    let one = json!({ "name": "one", "port": 7 });
    let two = json!({ "name": "two", "port": 8 });
    let mutations = of_field(&list, &json!([one, two]));
    has(&mutations, ":empty", &json!([]));
    has(&mutations, ":push", &json!([one, two, { "name": "a" }]));
    has(&mutations, ":pop", &json!([one]));
    has(&mutations, ":duplicate", &json!([one, two, two]));
    has(&mutations, ":reversed", &json!([two, one]));
    has(&mutations, ":max-items+1", &json!([one, two, { "name": "a" }, { "name": "a" }]));
    has(&mutations, "[0].port:min-1", &json!([{ "name": "one", "port": 0 }, two]));
    has(&mutations, "[0].name:absent", &json!([{ "port": 7 }, two]));
}

#[test]
fn entries_of_a_map_are_added_removed_and_mutated() {
    let map = json!({ "type": "object", "additionalProperties": { "type": "string", "maxLength": 5 } });
    let mutations = of_field(&map, &json!({ "b": "2", "a": "1" }));
    has(&mutations, ":empty", &json!({}));
    has(&mutations, "[added]:add", &json!({ "a": "1", "b": "2", "added": "1" }));
    has(&mutations, "[]:empty-key", &json!({ "a": "1", "b": "2", "": "1" }));
    has(&mutations, "[..]:dot-dot-key", &json!({ "a": "1", "b": "2", "..": "1" }));
    has(&mutations, "[a]:remove", &json!({ "b": "2" }));
    has(&mutations, "[a]:over-long", &json!({ "a": "aaaaaa", "b": "2" }));
    has(&mutations, "[a]:null", &json!({ "a": null, "b": "2" }));
}

#[test]
fn nested_objects_are_entered_and_mutated_themselves() {
    let object = json!({ "type": "object", "properties": {
        "inner": { "type": "object", "properties": { "leaf": { "type": "boolean" } } } } });
    let mutations = of_field(&object, &json!({ "inner": { "leaf": true } }));
    has(&mutations, ".inner.leaf:not", &json!({ "inner": { "leaf": false } }));
    has(&mutations, ".inner:absent", &json!({}));
    has(&mutations, ".inner:empty", &json!({ "inner": {} }));
    has(&mutations, ":unknown-field", &json!({ "inner": { "leaf": true }, "noSuchField": "x" }));
    has(&mutations, ".inner:unknown-field", &json!({ "inner": { "leaf": true, "noSuchField": "x" } }));
}

#[test]
fn a_field_that_the_sample_does_not_set_is_mutated_with_its_parents_created() {
    let object = json!({ "type": "object", "properties": {
        "inner": { "type": "object", "properties": { "leaf": { "type": "boolean" } } } } });
    let mutations = of_field(&object, &json!({}));
    has(&mutations, ".inner.leaf:not", &json!({ "inner": { "leaf": true } }));
    assert!(!names(&mutations).contains(&".inner:absent"));
}

#[test]
fn a_place_without_restrictions_gets_any_value() {
    for schema in [json!({ "x-kubernetes-preserve-unknown-fields": true }), json!({ "type": "object" })] {
        let mutations = of_field(&schema, &json!({ "a": 1 }));
        has(&mutations, ":empty", &json!({}));
        has(&mutations, ":nested", &json!({ "noSuchField": [{ "..": null }] }));
        assert!(!names(&mutations).contains(&":wrong-type"), "no type is wrong");
    }
}

#[test]
fn the_spec_itself_is_mutated_first() {
    let schema = json!({ "properties": { "spec": { "type": "object", "properties": { "f": { "type": "boolean" } } } } });
    let mutations = Mutation::all(&schema, &json!({ "spec": { "f": true } }));
    let names: Vec<_> = mutations.iter().map(ToString::to_string).collect();
    assert_eq!(names[..4], ["spec:absent", "spec:null", "spec:wrong-type", "spec:empty"]);
}

#[test]
fn names_are_unique_and_the_order_does_not_depend_on_that_of_the_properties() {
    let schema = |fields: &str| {
        let fields: Value = serde_json::from_str(fields).unwrap();
        json!({ "properties": { "spec": { "type": "object", "properties": fields } } })
    };
    let sample = json!({ "spec": { "a": "x", "b": 1 } });
    let one = Mutation::all(&schema(r#"{"a":{"type":"string"},"b":{"type":"integer"}}"#), &sample);
    let other = Mutation::all(&schema(r#"{"b":{"type":"integer"},"a":{"type":"string"}}"#), &sample);
    assert_eq!(one, other);
    let mut names: Vec<_> = one.iter().map(ToString::to_string).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), one.len());
}

#[test]
fn a_place_that_no_sample_sets_is_noticed() {
    let spec = json!({ "type": "object", "properties": {
        "a": { "type": "string" }, "list": { "type": "array", "items": { "type": "string" } },
        "map": { "type": "object", "additionalProperties": { "type": "object", "properties": { "b": { "type": "string" } } } } } });
    let schema = json!({ "properties": { "spec": spec } });
    let unset_in = |specs: &[Value]| {
        let samples: Vec<_> = specs.iter().map(|spec| json!({ "spec": spec })).collect();
        unset(&schema, &samples).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(unset_in(&[json!({ "a": "x", "list": ["y"], "map": { "k": { "b": "z" } } })]), [""; 0]);
    let (one, other) =
        (json!({ "list": [], "map": { "k": {} } }), json!({ "a": "x", "map": { "l": { "b": "z" } } }));
    assert_eq!(unset_in(std::slice::from_ref(&one)), ["spec.a", "spec.list[0]", "spec.map[k].b"]);
    assert_eq!(unset_in(&[one, other]), ["spec.list[0]"], "samples complete each other");
    assert_eq!(unset_in(&[]), ["spec"]);
}

#[test]
fn a_minimal_value_has_what_is_required() {
    let schema = json!({ "type": "object", "required": ["a", "b", "c", "d", "e"], "properties": {
        "a": { "type": "string", "minLength": 3 }, "b": { "type": "integer", "minimum": 4, "exclusiveMinimum": true },
        "c": { "type": "string", "enum": ["x"] }, "d": { "type": "boolean", "default": true },
        "e": { "type": "array", "minItems": 1, "items": { "type": "number" } }, "f": { "type": "string" } } });
    assert_eq!(minimal(&schema), json!({ "a": "aaa", "b": 5, "c": "x", "d": true, "e": [0.0] }));
}

#[test]
fn paths_through_what_does_not_exist_change_nothing() {
    let mut object = json!({ "spec": { "list": [1], "text": "x" } });
    let before = object.clone();
    Path::field("spec")
        .then(super::Step::Field("list".to_owned()))
        .then(super::Step::Item(3))
        .set(&mut object, Some(&json!(2)));
    Path::dotted(".spec.text.deeper").set(&mut object, Some(&json!(2)));
    assert_eq!(object, before);
    Path::dotted(".spec.other.deeper").set(&mut object, Some(&json!(2)));
    assert_eq!(object["spec"]["other"], json!({ "deeper": 2 }));
}

#[test]
fn paths_that_contain_each_other_overlap() {
    let path = |text| Path::dotted(text);
    assert!(path("spec").overlaps(&path("spec.cpu")) && path("spec.cpu").overlaps(&path("spec")));
    assert!(!path("spec.cpu").overlaps(&path("spec.cpus")));
    assert_eq!(path("spec.cpu").last_field(), "cpu");
    assert_eq!(path("spec.map").entry("k").last_field(), "map");
}
