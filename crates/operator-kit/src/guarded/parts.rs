//! An object as it is read from JSON: its metadata apart from the rest, and never more of it in memory than is kept.
//!
//! Anyone who may write an object chooses its managed fields, labels and annotations: they may be nested deeply, have times out of
//! range, and be a hundred times as large in memory as in JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
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
    /// The first member that is nested deeper than is read.
    pub(super) too_deep: Option<String>,
}

/// How many levels of a member are read. serde_json reads 128 and fails at the next one, with all that is in the same answer.
pub(super) const DEEPEST: usize = 100;

impl Parts {
    /// Reads the value of a member, or notes that it is nested too deeply.
    fn read<'de, A: MapAccess<'de>>(
        &mut self,
        map: &mut A,
        key: String,
        place: impl Fn(&mut Self) -> &mut Map<String, Value>,
    ) -> Result<(), A::Error> {
        match map.next_value_seed(Shallow(DEEPEST))? {
            Some(value) => drop(place(self).insert(key, value)),
            // As one that does not parse: the operator computes it again.
            None if key == "status" => {}
            None => drop(self.too_deep.get_or_insert(key)),
        }
        Ok(())
    }
}

/// Reads a value of at most so many levels; `None` for a deeper one, whose rest is skipped.
struct Shallow(usize);

impl<'de> DeserializeSeed<'de> for Shallow {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Value>, D::Error> {
        if self.0 == 0 {
            // serde_json skips it without recursion.
            return IgnoredAny::deserialize(deserializer).map(|_| None);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Shallow {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(Some(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Option<Value>, E> {
        Ok(Some(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Option<Value>, A::Error> {
        let mut list = Some(Vec::new());
        while let Some(value) = seq.next_element_seed(Shallow(self.0 - 1))? {
            match (value, &mut list) {
                (Some(value), Some(list)) => list.push(value),
                _ => list = None,
            }
        }
        Ok(list.map(Value::Array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Value>, A::Error> {
        let mut members = Some(Map::new());
        while let Some(key) = map.next_key::<String>()? {
            match (map.next_value_seed(Shallow(self.0 - 1))?, &mut members) {
                (Some(value), Some(members)) => drop(members.insert(key, value)),
                _ => members = None,
            }
        }
        Ok(members.map(Value::Object))
    }
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
                parts.read(&mut map, key, |parts| &mut parts.object)?;
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
                _ => self.parts.read(&mut map, key, |parts| &mut parts.metadata)?,
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
