//! The consistency check of the whole configuration. Only reads.

use serde_json::Value;

use super::kind::{KINDS, Kind};
use super::table::{Id, Object, Table};
use super::{Store, refs, vip};

/// The kinds whose objects are useful only if another object refers to them.
const DEPENDENT_KINDS: &[&str] =
    &["vsvip", "pool", "poolgroup", "httppolicyset", "l4policyset", "vsdatascriptset"];

impl Store {
    /// Returns all faults, one sentence each; empty if the configuration is consistent.
    ///
    /// - A ref whose target does not exist.
    /// - A difference between the reverse index and the refs of the objects.
    /// - A lease of a vsvip that does not exist, or an address that a vsvip shows and does not lease, or the reverse.
    /// - An orphan: a vsvip, pool, pool group, policy set or data script that a program created (it has `created_by` or
    ///   `markers`) and to which no object refers. An object that a person created is not an orphan.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for kind in KINDS {
            for object in self.tables.get(kind.name).into_iter().flat_map(Table::iter) {
                self.check_object(kind, object, &mut faults);
            }
        }
        for (target, referrers) in &self.referrers {
            for id in referrers {
                let known = self.tables.get(id.kind).and_then(|table| table.get(&id.uuid));
                if known.is_none_or(|object| !object.refs.contains(target)) {
                    faults.push(format!(
                        "{} does not refer to {}, but the index says so",
                        self.display_name(id),
                        self.display_name(target)
                    ));
                }
            }
        }
        for holder in self.leases.holders().filter(|holder| self.object("vsvip", holder).is_none()) {
            faults.push(format!("vsvip {holder} holds addresses, but does not exist"));
        }
        for vsvip in self.tables.get("vsvip").into_iter().flat_map(Table::iter) {
            if self.leases.addresses_of(&vsvip.uuid) != vip::shown_addresses(&vsvip.value) {
                faults.push(format!("VsVip {} does not show the addresses that it holds", vsvip.name));
            }
        }
        faults.sort();
        faults
    }

    fn check_object(&self, kind: &Kind, object: &Object, faults: &mut Vec<String>) {
        let id = Id { kind: kind.name, uuid: object.uuid.clone() };
        for target in refs::collect(&object.value) {
            if self.object(target.kind, &target.uuid).is_none() {
                faults.push(format!(
                    "{} refers to {}, which does not exist",
                    self.display_name(&id),
                    refs::canonical(target.kind, &target.uuid)
                ));
            }
            if self.referrers.get(&target).is_none_or(|referrers| !referrers.contains(&id)) {
                faults.push(format!(
                    "{} refers to {}, but the index lacks it",
                    self.display_name(&id),
                    self.display_name(&target)
                ));
            }
        }
        let has = |field: &str| match object.value.get(field) {
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            _ => false,
        };
        if DEPENDENT_KINDS.contains(&kind.name)
            && (has("created_by") || has("markers"))
            && self.referrers.get(&id).into_iter().flatten().all(|referrer| *referrer == id)
        {
            faults.push(format!(
                "{} ({}) is an orphan: no object refers to it",
                self.display_name(&id),
                object.uuid
            ));
        }
    }
}
