//! The places of a spec at which a CRD's schema and a sample object say what belongs there.
//!
//! Owns the walk through properties, items and map entries. Next: [`rules`](super::rules), what is put at a place.

use std::fmt;

use serde_json::{Map, Value};

/// One step from an object to a value in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A property of the schema.
    Field(String),
    /// An entry of a map.
    Entry(String),
    /// An item of a list.
    Item(usize),
}

/// The way from an object to a value in it. Displayed as in the API server's messages: `spec.ports[0].name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(Vec<Step>);

impl Path {
    /// Returns the path of a field of the object itself.
    #[must_use]
    pub fn field(name: &str) -> Self {
        Self(vec![Step::Field(name.to_owned())])
    }

    /// Returns the path with one more step.
    #[must_use]
    pub fn then(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// Returns the path of an entry of this map.
    #[must_use]
    pub fn entry(&self, key: &str) -> Self {
        self.then(Step::Entry(key.to_owned()))
    }

    /// Returns the path of a dotted name, such as `.spec.replicas` of the scale subresource.
    #[must_use]
    pub fn dotted(path: &str) -> Self {
        Self(
            path.split('.')
                .filter(|name| !name.is_empty())
                .map(|name| Step::Field(name.to_owned()))
                .collect(),
        )
    }

    /// Returns the name of the innermost field: what a clear message must have.
    #[must_use]
    pub fn last_field(&self) -> &str {
        let names = self.0.iter().rev().filter_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Entry(_) | Step::Item(_) => None,
        });
        names.into_iter().next().unwrap_or_default()
    }

    /// Returns whether one of two values is in the other, or they are the same.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }

    /// Returns the value at the path.
    #[must_use]
    pub fn get<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(object, |value, step| match step {
            Step::Field(name) | Step::Entry(name) => value.as_object()?.get(name),
            Step::Item(index) => value.as_array()?.get(*index),
        })
    }

    /// Sets the value at the path, or removes it. Creates missing objects on the way; does nothing where the path leads
    /// through a value of another type or an item that does not exist.
    pub fn set(&self, object: &mut Value, new: Option<&Value>) {
        let Some((last, way)) = self.0.split_last() else { return };
        let mut value = object;
        for step in way {
            let next = match (step, value) {
                (Step::Field(name) | Step::Entry(name), Value::Object(map)) => {
                    Some(map.entry(name.clone()).or_insert_with(|| Value::Object(Map::new())))
                }
                (Step::Item(index), Value::Array(items)) => items.get_mut(*index),
                _ => None,
            };
            let Some(next) = next else { return };
            value = next;
        }
        match (last, value, new) {
            (Step::Field(name) | Step::Entry(name), Value::Object(map), Some(new)) => {
                map.insert(name.clone(), new.clone());
            }
            (Step::Field(name) | Step::Entry(name), Value::Object(map), None) => {
                map.remove(name);
            }
            (Step::Item(index), Value::Array(items), Some(new)) => {
                if let Some(item) = items.get_mut(*index) {
                    *item = new.clone();
                }
            }
            _ => {}
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Field(name) if index == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Entry(key) => write!(f, "[{key}]")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// The kinds of values that a schema describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `type: integer`.
    Integer,
    /// `type: number`.
    Number,
    /// `type: string`.
    Text,
    /// `type: boolean`.
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
    /// `type: array`.
    List,
    /// `type: object` with `properties`.
    Object,
    /// `type: object` with a schema of its `additionalProperties`.
    Map,
    /// Any value or object: `x-kubernetes-preserve-unknown-fields`, or nothing that restricts it.
    Anything,
}

impl Shape {
    /// Returns the shape of the values of a schema.
    #[must_use]
    pub fn of(schema: &Value) -> Self {
        if schema["x-kubernetes-int-or-string"] == true {
            return Self::IntOrString;
        }
        match schema["type"].as_str() {
            Some("integer") => Self::Integer,
            Some("number") => Self::Number,
            Some("string") => Self::Text,
            Some("boolean") => Self::Boolean,
            Some("array") => Self::List,
            Some("object") if schema["additionalProperties"].is_object() => Self::Map,
            Some("object") if schema["properties"].as_object().is_some_and(|fields| !fields.is_empty()) => {
                Self::Object
            }
            _ => Self::Anything,
        }
    }
}

/// A place in an object.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// Where it is.
    pub path: Path,
    /// What the CRD says of it.
    pub schema: &'a Value,
    /// What the sample has there.
    pub value: Option<&'a Value>,
}

/// Returns the place and all places below it, parents first, fields by name. Of a list it enters the first item, of a map the
/// first entry.
#[must_use]
pub fn places<'a>(path: Path, schema: &'a Value, value: Option<&'a Value>) -> Vec<Place<'a>> {
    let mut below = Vec::new();
    match Shape::of(schema) {
        // A part of an object that is not there would lack the others.
        Shape::Object if value.is_none() && schema["required"].is_array() => {}
        Shape::Object => {
            let mut fields: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
            fields.sort_by_key(|(name, _)| *name);
            for (name, field) in fields {
                let inner = value.and_then(|value| value.get(name));
                below.extend(places(path.then(Step::Field(name.clone())), field, inner));
            }
        }
        Shape::List => {
            if let Some(first) = value.and_then(|list| list.get(0)) {
                below.extend(places(path.then(Step::Item(0)), &schema["items"], Some(first)));
            }
        }
        Shape::Map => {
            if let Some((key, first)) = first_entry(value) {
                below.extend(places(path.entry(key), &schema["additionalProperties"], Some(first)));
            }
        }
        _ => {}
    }
    below.insert(0, Place { path, schema, value });
    below
}

/// Returns the entry of a map with the first key.
pub(super) fn first_entry(map: Option<&Value>) -> Option<(&String, &Value)> {
    map?.as_object()?.iter().min_by_key(|(key, _)| *key)
}

/// Returns the places of the field `spec` at which no sample has anything, so that their rules or those below them have nothing
/// to start from: fields that none sets, lists and maps without an item.
#[must_use]
pub fn unset(schema: &Value, samples: &[Value]) -> Vec<Path> {
    let specs: Vec<_> = samples.iter().filter_map(|sample| sample.get("spec")).collect();
    unset_in(&Path::field("spec"), &schema["properties"]["spec"], &specs)
}

/// Does the same at a place and below, with the samples' values there. Enters what [`places`] enters.
fn unset_in(path: &Path, schema: &Value, values: &[&Value]) -> Vec<Path> {
    let values: Vec<&Value> = values.iter().copied().filter(|value| !value.is_null()).collect();
    let items = |path: Path, schema: &Value, items: &[&Value]| match items {
        [] => vec![path],
        items => unset_in(&path, schema, items),
    };
    match Shape::of(schema) {
        _ if values.is_empty() => vec![path.clone()],
        Shape::Object => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            let below = fields.flat_map(|(name, field)| {
                let inner: Vec<_> = values.iter().filter_map(|value| value.get(name)).collect();
                unset_in(&path.then(Step::Field(name.clone())), field, &inner)
            });
            below.collect()
        }
        Shape::List => {
            // Fields that exclude each other are set in different items.
            let all: Vec<_> = values.iter().filter_map(|list| list.as_array()).flatten().collect();
            items(path.then(Step::Item(0)), &schema["items"], &all)
        }
        Shape::Map => {
            let first: Vec<_> = values.iter().filter_map(|map| first_entry(Some(map))).collect();
            let key = first.first().map_or("", |(key, _)| key.as_str());
            let first: Vec<_> = first.iter().map(|(_, value)| *value).collect();
            items(path.entry(key), &schema["additionalProperties"], &first)
        }
        _ => Vec::new(),
    }
}
