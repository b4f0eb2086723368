//! What calls come to, and the changes that go with them: plain values.

use serde_json::Value;

use super::error::{Error, Kind};
use super::objects::{Object, Rest};

/// What a lookup by name came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Found<T> {
    /// There is none.
    None,
    /// There is one.
    One(T),
    /// There are several: networks, or the same name in several clouds or tenants.
    Several(Vec<T>),
}

impl<T: Object> Found<T> {
    /// The one, or none.
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

/// What [`Api::create_or_find`](super::Api::create_or_find) came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Created<T> {
    /// It was made by this call.
    Made(T),
    /// One of that name is there: made before, by somebody else, or by this call if its answer was lost. Its marks
    /// tell whose it is.
    Found(T),
}

impl<T> Created<T> {
    /// The object, whoever made it.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Made(object) | Self::Found(object) => object,
        }
    }
}

/// What [`Api::update`](super::Api::update) came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Updated<T> {
    /// The object as the controller has it now.
    Written(T),
    /// Nothing was to be changed, and nothing was sent.
    Unchanged(T),
}

impl<T> Updated<T> {
    /// The object.
    #[must_use]
    pub fn into_inner(self) -> T {
        match self {
            Self::Written(object) | Self::Unchanged(object) => object,
        }
    }
}

/// A change to parts of an object: fields that are not named stay. Reaches one level deep: what lies in a field's
/// list items or objects is changed by [`Api::update`](super::Api::update).
#[derive(Debug, Clone, Default)]
pub struct Patch(Rest);

impl Patch {
    /// No change yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends to lists, sets other fields. Not to be repeated lightly: a list grows each time.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "the controller's word for it; nothing is summed")]
    pub fn add(self, fields: Value) -> Self {
        self.with("add", fields)
    }

    /// Sets fields, lists as a whole.
    #[must_use]
    pub fn replace(self, fields: Value) -> Self {
        self.with("replace", fields)
    }

    /// Takes what matches out of lists, and away other fields.
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
