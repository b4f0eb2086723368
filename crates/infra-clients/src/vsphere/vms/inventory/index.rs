//! Indexes of the inventory: from a text to the objects that have it. Owns the sharing of texts, so that a text is in
//! memory once, however many objects and indexes have it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::vsphere::MoRef;

/// The objects that have a text. Nearly always one.
#[derive(Debug)]
pub(super) enum Entry {
    One(MoRef),
    #[expect(
        clippy::box_collection,
        reason = "nearly no entry has many, and every entry is as large as the largest"
    )]
    Many(Box<HashSet<MoRef>>),
}

impl Entry {
    fn iter(&self) -> impl Iterator<Item = &MoRef> {
        let (one, many) = match self {
            Self::One(moref) => (Some(moref), None),
            Self::Many(morefs) => (None, Some(morefs.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn insert(&mut self, moref: &MoRef) {
        match self {
            Self::One(one) if one == moref => {}
            Self::One(one) => *self = Self::Many(Box::new(HashSet::from([one.clone(), moref.clone()]))),
            Self::Many(morefs) => {
                morefs.insert(moref.clone());
            }
        }
    }

    /// Returns whether nothing is left.
    fn remove(&mut self, moref: &MoRef) -> bool {
        match self {
            Self::One(one) => one == moref,
            Self::Many(morefs) => {
                morefs.remove(moref);
                morefs.is_empty()
            }
        }
    }
}

/// Objects by a text.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Arc<str>, Entry>);

impl Index {
    pub(super) fn get<'a>(&'a self, text: &str) -> impl Iterator<Item = &'a MoRef> + use<'a> {
        self.0.get(text).into_iter().flat_map(Entry::iter)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &MoRef> {
        self.0.values().flat_map(Entry::iter)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, text: &Arc<str>, moref: &MoRef) {
        self.0
            .entry(text.clone())
            .and_modify(|entry| entry.insert(moref))
            .or_insert_with(|| Entry::One(moref.clone()));
    }

    pub(super) fn remove(&mut self, text: &str, moref: &MoRef) {
        if self.0.get_mut(text).is_some_and(|entry| entry.remove(moref)) {
            self.0.remove(text);
        }
    }

    /// Returns the text as the index has it, so that it is shared; a text of its own if the index does not have it.
    pub(super) fn shared(&self, text: &str) -> Arc<str> {
        self.0.get_key_value(text).map_or_else(|| text.into(), |(text, _)| text.clone())
    }
}

/// A few texts that many objects have: keys of markers, descriptions of tasks, accounts.
#[derive(Debug, Default)]
pub(super) struct Texts(HashSet<Arc<str>>);

/// Beyond this number texts are not shared any more: they are not as few as expected.
const MOST_TEXTS: usize = 1000;

impl Texts {
    pub(super) fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        if self.0.len() < MOST_TEXTS {
            self.0.insert(new.clone());
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_finds_what_is_left() {
        let (a, b, text): (_, _, Arc<str>) =
            (MoRef::new("VirtualMachine", "a"), MoRef::new("VirtualMachine", "b"), "x".into());
        let mut index = Index::default();
        index.insert(&text, &a);
        index.insert(&text, &a);
        assert_eq!(index.get("x").count(), 1);
        index.insert(&text, &b);
        assert_eq!(index.get("x").count(), 2);
        assert!(Arc::ptr_eq(&index.shared("x"), &text));
        index.remove("x", &a);
        index.remove("y", &a);
        assert_eq!(index.get("x").collect::<Vec<_>>(), [&b]);
        index.remove("x", &b);
        assert!(index.is_empty() && index.values().next().is_none());
    }
}
