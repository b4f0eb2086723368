//! The state checker: whether the configuration makes sense as a whole. Repairs nothing.

use serde_json::Value;

use super::kind::{KINDS, Kind};
use super::table::{Id, Object, Table};
use super::{Store, refs, vip};

/// Kinds whose objects serve another one and are of no use alone.
const SERVANTS: &[&str] = &["vsvip", "pool", "poolgroup", "httppolicyset", "l4policyset", "vsdatascriptset"];

impl Store {
    /// Everything that is wrong, one sentence each; empty if all is well.
    ///
    /// - A ref that leads to nothing.
    /// - The reverse index tells another story than the objects.
    /// - An address that is held for a vsvip that is gone, or that is not shown by the vsvip it is held for.
    /// - An orphan: a vsvip, pool, pool group, policy set or data script that a program made (`created_by`, or
    ///   `markers`) and that nothing refers to. What a person made alone may stand alone.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for kind in KINDS {
            for object in self.tables.get(kind.name).into_iter().flat_map(Table::iter) {
                self.check_object(kind, object, &mut wrong);
            }
        }
        for (target, referrers) in &self.referrers {
            for id in referrers {
                let known = self.tables.get(id.kind).and_then(|table| table.get(&id.uuid));
                if known.is_none_or(|object| !object.refs.contains(target)) {
                    wrong.push(format!(
                        "{} is indexed as referring to {}, but does not",
                        self.called(id),
                        self.called(target)
                    ));
                }
            }
        }
        for holder in self.leases.holders().filter(|holder| self.object("vsvip", holder).is_none()) {
            wrong.push(format!("addresses are held for {holder}, which is gone"));
        }
        for vsvip in self.tables.get("vsvip").into_iter().flat_map(Table::iter) {
            if self.leases.held_by(&vsvip.uuid) != vip::shown(&vsvip.value) {
                wrong.push(format!("VsVip {} shows other addresses than it holds", vsvip.name));
            }
        }
        wrong.sort();
        wrong
    }

    fn check_object(&self, kind: &Kind, object: &Object, wrong: &mut Vec<String>) {
        let id = Id { kind: kind.name, uuid: object.uuid.clone() };
        for target in refs::all(&object.value) {
            if self.object(target.kind, &target.uuid).is_none() {
                wrong.push(format!(
                    "{} refers to {}, which is not there",
                    self.called(&id),
                    refs::canonical(target.kind, &target.uuid)
                ));
            }
            if self.referrers.get(&target).is_none_or(|referrers| !referrers.contains(&id)) {
                wrong.push(format!(
                    "{} refers to {}, but is not indexed so",
                    self.called(&id),
                    self.called(&target)
                ));
            }
        }
        let made = |field: &str| match object.value.get(field) {
            Some(Value::Array(list)) => !list.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            _ => false,
        };
        if SERVANTS.contains(&kind.name)
            && (made("created_by") || made("markers"))
            && self.referrers.get(&id).into_iter().flatten().all(|referrer| *referrer == id)
        {
            wrong.push(format!("{} ({}) is an orphan: nothing refers to it", self.called(&id), object.uuid));
        }
    }
}
