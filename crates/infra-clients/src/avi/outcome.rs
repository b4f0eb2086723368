//! The outcomes of calls, and changes to objects: plain values.

use serde_json::Value;

use super::error::{Error, Kind};
use super::objects::{Object, Rest};

/// The outcome of a lookup by name.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<T> {
    /// No object has the name.
    None,
    /// One object has it.
    One(T),
    /// Several have it: networks, or objects in several clouds or tenants.
    Several(Vec<T>),
}

impl<T: Object> Found<T> {
    /// Returns the one object, or none.
    ///
    /// # Errors
    ///
    /// [`Kind::Ambiguous`] if there are several.
    pub fn at_most_one(self) -> Result<Option<T>, Error> {
        match self {
            Self::None => Ok(None),
            Self::One(object) => Ok(Some(object)),
            Self::Several(objects) => {
                let name = objects.first().map_or("", |object| &object.meta().name);
                Err(Error::new(Kind::Ambiguous, format!("{} objects have the name {name:?}", objects.len())))
            }
        }
    }
}

/// The outcome of [`Api::create_or_find`](super::Api::create_or_find).
#[derive(Debug, Clone, PartialEq)]
pub enum Created<T> {
    /// This call created it.
    Made(T),
    /// One of that name exists: created earlier, by another client, or by this call if its answer was lost. Its
    /// markers say whose it is.
    Found(T),
}

impl<T> Created<T> {
    /// Returns the object.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Made(object) | Self::Found(object) => object,
        }
    }
}

/// The outcome of [`Api::update`](super::Api::update).
#[derive(Debug, Clone, PartialEq)]
pub enum Updated<T> {
    /// The object as the controller has it now.
    Written(T),
    /// There was nothing to change, and nothing was sent.
    Unchanged(T),
}

impl<T> Updated<T> {
    /// Returns the object.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Written(object) | Self::Unchanged(object) => object,
        }
    }
}

/// A change to parts of an object; fields that it does not name stay. It reaches one level deep: to change what is
/// inside list items or nested objects use [`Api::update`](super::Api::update).
#[derive(Debug, Clone, Default)]
pub struct Patch(Rest);

impl Patch {
    /// Creates an empty change.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to lists, and sets other fields. Do not repeat it without need: a list grows each time.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "the controller's word for it; nothing is summed")]
    pub fn add(self, fields: Value) -> Self {
        self.with("add", fields)
    }

    /// Sets fields; a list is replaced as a whole.
    #[must_use]
    pub fn replace(self, fields: Value) -> Self {
        self.with("replace", fields)
    }

    /// Removes matching items from lists, and removes other fields.
    #[must_use]
    pub fn delete(self, fields: Value) -> Self {
        self.with("delete", fields)
    }

    pub(super) fn body(&self) -> Value {
        Value::Object(self.0.0.clone())
    }

    fn with(mut self, operation: &str, fields: Value) -> Self {
        match (self.0.0.get_mut(operation), fields) {
            (Some(Value::Object(so_far)), Value::Object(fields)) => {
                for (field, value) in fields {
                    match (so_far.get_mut(&field), value) {
                        (Some(Value::Array(items)), Value::Array(more)) if operation != "replace" => {
                            items.extend(more);
                        }
                        (_, value) => drop(so_far.insert(field, value)),
                    }
                }
            }
            (_, fields) => self.0.set(operation, fields),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_is_all_that_was_said() {
        let patch = Patch::new()
            .add(json!({"a": [1], "b": 1}))
            .add(json!({"a": [2], "b": 2}))
            .delete(json!({"c": [1]}))
            .delete(json!({"c": [2]}))
            .replace(json!({"d": [1]}))
            .replace(json!({"d": [2]}));
        let body = json!({"add": {"a": [1, 2], "b": 2}, "delete": {"c": [1, 2]}, "replace": {"d": [2]}});
        assert_eq!(patch.body(), body);
    }
}
