//! Values in the form that the bindings' XML writer takes. Owns the serialization of data objects that are written
//! field by field; knows no vim method.

use std::borrow::Cow;

use miniserde::ser::{Fragment, Map, Serialize};

/// Anything that can be written as a parameter or a field.
pub(super) type Value<'a> = &'a (dyn Serialize + Send + Sync);

/// A data object: its type name, and its fields in the order of the schema.
pub(super) struct Data<'a> {
    pub(super) type_name: &'static str,
    pub(super) fields: Vec<(&'static str, Value<'a>)>,
}

impl Serialize for Data<'_> {
    fn begin(&self) -> Fragment<'_> {
        Fragment::Map(Box::new(DataMap { data: self, at: 0 }))
    }
}

struct DataMap<'b, 'a> {
    data: &'b Data<'a>,
    at: usize,
}

impl Map for DataMap<'_, '_> {
    fn next(&mut self) -> Option<(Cow<'_, str>, &dyn Serialize)> {
        let at = self.at;
        self.at += 1;
        let Some(field) = at.checked_sub(1) else {
            return Some((Cow::Borrowed("_typeName"), &self.data.type_name));
        };
        self.data.fields.get(field).map(|(name, value)| (Cow::Borrowed(*name), *value as &dyn Serialize))
    }
}

/// A string where the schema has `anyType`.
pub(super) struct AnyString<'a>(pub(super) &'a str);

impl Serialize for AnyString<'_> {
    fn begin(&self) -> Fragment<'_> {
        Fragment::Map(Box::new(AnyStringMap(self.0, 0)))
    }
}

struct AnyStringMap<'a>(&'a str, usize);

impl Map for AnyStringMap<'_> {
    fn next(&mut self) -> Option<(Cow<'_, str>, &dyn Serialize)> {
        self.1 += 1;
        match self.1 {
            1 => Some((Cow::Borrowed("_typeName"), &"string")),
            2 => Some((Cow::Borrowed("_value"), &self.0)),
            _ => None,
        }
    }
}
