//! Atomic groups of writes: records the state before each write and restores it if one fails.

use std::collections::BTreeSet;

use super::Store;
use super::kind::Kind;
use super::leases::Lease;
use super::table::Object;

/// The state before a write. There is no variant for deletion, because an atomic group deletes nothing.
pub(super) enum Undo {
    /// An object; `None` if it did not exist.
    Object(&'static Kind, String, Option<Object>),
    /// The leases of a vsvip.
    Leases(String, Vec<Lease>),
    /// The privileges that an upgrade had added to a role.
    Upgraded(String, BTreeSet<String>),
}

impl Store {
    /// Runs `writes` and undoes them all if it fails. Does not undo the advance of `_last_modified`.
    ///
    /// # Errors
    /// The error of `writes`.
    pub(super) fn all_or_nothing<T, E>(
        &mut self,
        writes: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        self.undo = Some(Vec::new());
        let result = writes(self);
        let done = self.undo.take().unwrap_or_default();
        if result.is_err() {
            done.into_iter().rev().for_each(|before| self.restore(before));
        }
        result
    }

    /// Records the state before a write, if an atomic group is running.
    pub(super) fn record_undo(&mut self, before: impl FnOnce() -> Undo) {
        if let Some(undo) = &mut self.undo {
            undo.push(before());
        }
    }

    fn restore(&mut self, before: Undo) {
        match before {
            Undo::Object(kind, _, Some(object)) => self.insert_object(kind, object),
            Undo::Object(kind, uuid, None) => self.remove_object(kind, &uuid),
            Undo::Leases(vsvip, had) => self.leases.set(&vsvip, had),
            Undo::Upgraded(role, added) => drop(self.upgraded.insert(role, added)),
        }
    }
}
