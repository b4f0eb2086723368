//! Several writes as one: all of them, or none. Knows what was before, and not why a write was refused.

use std::collections::BTreeSet;

use super::Store;
use super::kind::Kind;
use super::table::Object;
use super::vip::Lease;

/// How something was before a write. Nothing is deleted among writes that are one, so there is no note of that.
pub(super) enum Undo {
    /// An object; `None` if it was not there.
    Object(&'static Kind, String, Option<Object>),
    /// The addresses of a vsvip.
    Leases(String, Vec<Lease>),
    /// What an upgrade had added to a role.
    Upgraded(String, BTreeSet<String>),
}

impl Store {
    /// Carries out writes, and takes all of them back if `writes` fails in the end. Times go on nevertheless.
    ///
    /// # Errors
    /// What `writes` fails with.
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

    /// Notes how it was, if somebody may want it back.
    pub(super) fn note(&mut self, before: impl FnOnce() -> Undo) {
        if let Some(undo) = &mut self.undo {
            undo.push(before());
        }
    }

    fn restore(&mut self, before: Undo) {
        match before {
            Undo::Object(kind, _, Some(object)) => self.commit(kind, object),
            Undo::Object(kind, uuid, None) => self.withdraw(kind, &uuid),
            Undo::Leases(vsvip, had) => self.leases.put_back(&vsvip, had),
            Undo::Upgraded(role, added) => drop(self.upgraded.insert(role, added)),
        }
    }
}
