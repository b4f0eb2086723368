//! An object as it is read from JSON: its metadata apart from the rest, and never more of it in memory than is kept.
//!
//! Anyone who may write an object chooses its managed fields, labels and annotations: they may be nested deeply, have times out of
//! range, and be a hundred times as large in memory as in JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{LAST_APPLIED, MOST_METADATA, TEXT, cut, is_of_group};

/// An object in parts.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) labels: Texts,
    pub(super) annotations: Texts,
    /// The other metadata, without `managedFields`.
    pub(super) metadata: Map<String, Value>,
    /// The object, with empty metadata if it has any.
    pub(super) object: Map<String, Value>,
}

/// Labels or annotations, as far as they are kept.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) kept: Option<BTreeMap<String, String>>,
    /// The bytes of all.
    pub(super) size: usize,
    /// The bytes of those that begin with the API group of the kind and are not kept.
    pub(super) dropped: usize,
}

/// Reads an object of a kind of this API group.
pub(super) struct Object<'a>(pub(super) &'a str);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Parts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parts, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Parts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts, A::Error> {
        let mut parts = Parts::default();
        while let Some(key) = map.next_key::<String>()? {
            if key == "metadata" {
                map.next_value_seed(Metadata { group: self.0, parts: &mut parts })?;
                // It is parsed apart, once.
                parts.object.insert(key, Value::Object(Map::new()));
            } else {
                parts.object.insert(key, map.next_value()?);
            }
        }
        Ok(parts)
    }
}

struct Metadata<'a> {
    group: &'a str,
    parts: &'a mut Parts,
}

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                // serde_json skips it without recursion, whatever it is.
                "managedFields" => drop(map.next_value::<IgnoredAny>()?),
                "labels" => self.parts.labels = map.next_value_seed(Keep(self.group))?,
                "annotations" => self.parts.annotations = map.next_value_seed(Keep(self.group))?,
                _ => drop(self.parts.metadata.insert(key, map.next_value()?)),
            }
        }
        Ok(())
    }
}

/// Reads labels or annotations, and keeps those of this API group first.
struct Keep<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Keep<'_> {
    type Value = Texts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep<'_> {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_unit<E>(self) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let (mut kept, mut size, mut dropped, mut own) = (BTreeMap::new(), 0, 0, 0);
        while let Some((key, mut value)) = map.next_entry::<String, String>()? {
            if key == LAST_APPLIED {
                continue;
            }
            cut(&mut value);
            let takes = 2 * TEXT + key.len() + value.len();
            size += takes;
            if is_of_group(&key, self.0) {
                own += takes;
                if own > MOST_METADATA {
                    dropped += takes;
                    continue;
                }
            } else if size > MOST_METADATA {
                continue;
            }
            kept.insert(key, value);
        }
        Ok(Texts { kept: Some(kept), size, dropped })
    }
}
