//! What is put at a place: the values at and beyond the edge of what its schema allows, and texts that break naive code.

use serde_json::{Map, Number, Value, json};

use super::schema::{Place, Shape, first_entry};

/// The length of a text at a place without `maxLength`.
const LONG: usize = 65_536;
/// A field that no schema has.
const UNKNOWN_FIELD: &str = "noSuchField";

/// A name and the new value; `None` removes it.
pub(super) type Rule = (String, Option<Value>);

/// Returns what is put at a place, in a fixed order, without what the sample has there and without a value twice. Entries of
/// maps have their own: see [`entries`].
pub(super) fn rules(place: &Place<'_>) -> Vec<Rule> {
    let mut all: Vec<Rule> = vec![("absent".to_owned(), None), ("null".to_owned(), Some(Value::Null))];
    let shape = Shape::of(place.schema);
    if let Some(wrong) = of_wrong_type(shape) {
        all.push(("wrong-type".to_owned(), Some(wrong)));
    }
    let mut add = |name: &str, value: Value| all.push((name.to_owned(), Some(value)));
    if let Some(values) = place.schema["enum"].as_array() {
        for value in values {
            add(
                &format!("enum-{}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
                value.clone(),
            );
        }
        add("enum-invalid", if shape == Shape::Text { json!("no-such-value") } else { json!(987_654) });
    }
    match shape {
        Shape::Integer => integers(place.schema, &mut add),
        Shape::Number => numbers(place.schema, &mut add),
        Shape::Text => texts(place, &mut add),
        Shape::Boolean => add("not", json!(place.value != Some(&Value::Bool(true)))),
        Shape::IntOrString => ints_or_strings(place.schema, &mut add),
        Shape::List => lists(place, &mut add),
        Shape::Object => objects(place, &mut add),
        Shape::Map => add("empty", json!({})),
        Shape::Anything => {
            add("empty", json!({}));
            add("nested", json!({ UNKNOWN_FIELD: [{ "..": null }] }));
        }
    }
    distinct(all, place.value)
}

/// Returns what is done to the entries of a map: key and rule.
pub(super) fn entries(place: &Place<'_>) -> Vec<(String, Rule)> {
    if Shape::of(place.schema) != Shape::Map {
        return Vec::new();
    }
    let fill = minimal(&place.schema["additionalProperties"]);
    let first = first_entry(place.value);
    let value = first.map_or_else(|| fill.clone(), |(_, value)| value.clone());
    let mut entries: Vec<(String, Rule)> = [
        ("added", "add"),
        ("", "empty-key"),
        ("..", "dot-dot-key"),
        ("a%2fb", "percent-2f-key"),
        ("ключ-鍵-🔑", "unicode-key"),
    ]
    .into_iter()
    .filter(|(key, _)| place.value.and_then(|map| map.get(key)).is_none())
    .map(|(key, rule)| (key.to_owned(), (rule.to_owned(), Some(value.clone()))))
    .collect();
    if let Some((key, _)) = first {
        entries.push((key.clone(), ("remove".to_owned(), None)));
    }
    entries
}

/// Drops what the sample has, and every value but the first of equal ones.
fn distinct(all: Vec<Rule>, current: Option<&Value>) -> Vec<Rule> {
    let mut kept: Vec<Rule> = Vec::new();
    for (name, value) in all {
        if value.as_ref() != current && !kept.iter().any(|(_, other)| *other == value) {
            kept.push((name, value));
        }
    }
    kept
}

fn of_wrong_type(shape: Shape) -> Option<Value> {
    match shape {
        Shape::Integer | Shape::Number | Shape::Boolean | Shape::List | Shape::Object | Shape::Map => {
            Some(json!("text"))
        }
        Shape::Text => Some(json!(1)),
        Shape::IntOrString => Some(json!(true)),
        Shape::Anything => None,
    }
}

fn integers(schema: &Value, add: &mut impl FnMut(&str, Value)) {
    if let Some(min) = whole(&schema["minimum"]) {
        let min = min.saturating_add(i64::from(schema["exclusiveMinimum"] == true));
        add("min-1", json!(min.saturating_sub(1)));
        add("min", json!(min));
    }
    if let Some(max) = whole(&schema["maximum"]) {
        let max = max.saturating_sub(i64::from(schema["exclusiveMaximum"] == true));
        add("max", json!(max));
        add("max+1", json!(max.saturating_add(1)));
    }
    add("negative", json!(-1));
    add("zero", json!(0));
    add("i32-max", json!(i32::MAX));
    add("i32-max+1", json!(i64::from(i32::MAX) + 1));
    add("i64-max", json!(i64::MAX));
    add("fraction", json!(1.5));
}

fn numbers(schema: &Value, add: &mut impl FnMut(&str, Value)) {
    for (name, bound, away) in [("min", &schema["minimum"], -1.0), ("max", &schema["maximum"], 1.0)] {
        if let Some(bound) = bound.as_f64() {
            add(name, json!(bound));
            add(&format!("{name}{}1", if away < 0.0 { "-" } else { "+" }), json!(bound + away));
        }
    }
    add("negative", json!(-1.5));
    add("zero", json!(0.0));
    add("i32-max", json!(f64::from(i32::MAX)));
    add("huge", json!(f64::MAX));
}

fn texts(place: &Place<'_>, add: &mut impl FnMut(&str, Value)) {
    let length = |key: &str| place.schema[key].as_u64().and_then(|length| usize::try_from(length).ok());
    let sample = place.value.and_then(Value::as_str).unwrap_or("a");
    add("empty", json!(""));
    if let Some(min) = length("minLength").filter(|min| *min > 1) {
        add("min-length-1", json!("a".repeat(min - 1)));
        add("min-length", json!("a".repeat(min)));
    }
    match length("maxLength") {
        Some(max) => {
            add("max-length", json!("a".repeat(max)));
            add("over-long", json!("a".repeat(max + 1)));
        }
        None => add("over-long", json!("a".repeat(LONG))),
    }
    add("blank", json!("  "));
    add("padded", json!(format!(" {sample} ")));
    add("new-line", json!(format!("{sample}\n{sample}")));
    add("control-character", json!(format!("{sample}\u{1}")));
    add("unicode", json!("ü-机器-🚀-\u{202e}e\u{301}"));
    add("markup", json!("<a b='\"'>&amp;"));
    add("dot-dot", json!(".."));
    add("dot-dot-slash", json!(format!("../{sample}")));
    add("percent-2f", json!(format!("{sample}%2f{sample}")));
}

fn ints_or_strings(schema: &Value, add: &mut impl FnMut(&str, Value)) {
    integers(schema, add);
    for (name, text) in
        [("percent", "50%"), ("over-percent", "101%"), ("numeric-text", "7"), ("text", "x"), ("empty", "")]
    {
        add(name, json!(text));
    }
}

fn lists(place: &Place<'_>, add: &mut impl FnMut(&str, Value)) {
    let items = place.value.and_then(Value::as_array).cloned().unwrap_or_default();
    let fill = minimal(&place.schema["items"]);
    let with = |item: &Value| {
        let mut longer = items.clone();
        longer.push(item.clone());
        Value::Array(longer)
    };
    add("empty", json!([]));
    add("push", with(&fill));
    if let Some((last, others)) = items.split_last() {
        add("pop", json!(others));
        add("duplicate", with(last));
    }
    if items.len() > 1 {
        add("reversed", items.iter().rev().cloned().collect());
    }
    if let Some(max) = place.schema["maxItems"].as_u64().and_then(|max| usize::try_from(max).ok()) {
        let mut many = items;
        many.resize(max, fill.clone());
        add("max-items", json!(many));
        many.push(fill);
        add("max-items+1", json!(many));
    }
}

fn objects(place: &Place<'_>, add: &mut impl FnMut(&str, Value)) {
    add("empty", json!({}));
    let mut more = place.value.and_then(Value::as_object).cloned().unwrap_or_default();
    more.insert(UNKNOWN_FIELD.to_owned(), json!("x"));
    add("unknown-field", Value::Object(more));
}

/// Returns a value that a schema allows, as far as that shows without its patterns and rules.
pub(super) fn minimal(schema: &Value) -> Value {
    if let Some(default) = schema.get("default") {
        return default.clone();
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match Shape::of(schema) {
        Shape::Integer | Shape::IntOrString => {
            let min = whole(&schema["minimum"])
                .map(|min| min.saturating_add(i64::from(schema["exclusiveMinimum"] == true)));
            json!(min.or_else(|| whole(&schema["maximum"])).unwrap_or(0))
        }
        Shape::Number => Number::from_f64(schema["minimum"].as_f64().unwrap_or(0.0)).into(),
        Shape::Text if schema["format"] == "date-time" => json!("2001-01-01T00:00:00Z"),
        Shape::Text => {
            let length = schema["minLength"].as_u64().and_then(|length| usize::try_from(length).ok());
            json!("a".repeat(length.unwrap_or(1).max(1)))
        }
        Shape::Boolean => json!(false),
        Shape::List => {
            let length = schema["minItems"].as_u64().and_then(|length| usize::try_from(length).ok());
            Value::Array(vec![minimal(&schema["items"]); length.unwrap_or(0)])
        }
        Shape::Object => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let field = |name: &str| (name.to_owned(), minimal(&schema["properties"][name]));
            Value::Object(required.map(field).collect::<Map<_, _>>())
        }
        Shape::Map | Shape::Anything => json!({}),
    }
}

/// Returns a bound of integers. The API server prints one with a fraction of zero if a CRD has it so.
fn whole(bound: &Value) -> Option<i64> {
    bound.as_i64().or_else(|| format!("{:.0}", bound.as_f64()?).parse().ok())
}
