//! How often an object of a workload cluster was written of late: one that another program changes again after each write is not written
//! without end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use operator_kit::names::first_few;
use serde_json::Value;

use crate::delivery::Target;

/// How often the same is written of an object [within](WITHIN) this time.
const MOST: usize = 5;
/// See [`MOST`].
const WITHIN: Duration = Duration::from_mins(5);
/// Longest name of a program in a message.
const LONGEST_NAME: usize = 64;

/// The writes of late. Holds hashes: an object may hold credentials.
#[derive(Clone, Debug, Default)]
pub(super) struct Writes(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    target: Target,
    hash: u64,
    at: Vec<Timestamp>,
}

impl Writes {
    /// Counts a write of an object. Returns false where the same was written too often of late, which is not counted. `sent`: `None` for a
    /// removal.
    pub(super) fn admit(&mut self, target: &Target, sent: Option<&Value>, now: Timestamp) -> bool {
        let mut hasher = DefaultHasher::new();
        // Equal values have equal texts within a process.
        sent.map(ToString::to_string).hash(&mut hasher);
        let hash = hasher.finish();
        for entry in &mut self.0 {
            entry.at.retain(|at| now.duration_since(*at).unsigned_abs() < WITHIN);
        }
        self.0.retain(|entry| !entry.at.is_empty() && (entry.target != *target || entry.hash == hash));
        let known = self.0.iter().position(|entry| entry.target == *target);
        let Some(entry) = known.and_then(|position| self.0.get_mut(position)) else {
            self.0.push(Entry { target: target.clone(), hash, at: vec![now] });
            return true;
        };
        let is_admitted = entry.at.len() < MOST;
        if is_admitted {
            entry.at.push(now);
        }
        is_admitted
    }

    /// Takes the last write of an object back: it was refused.
    pub(super) fn take_back(&mut self, target: &Target) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.target == *target) {
            entry.at.pop();
        }
    }
}

/// Says who changes an object again that was written, as far as the object tells. `manager`: the operator's own field manager.
pub(super) fn blame(target: &Target, live: Option<&DynamicObject>, manager: &str) -> String {
    let Some(live) = live else { return format!("{target} (it is deleted)") };
    if live.metadata.deletion_timestamp.is_some() {
        let finalizers: Vec<_> = live.finalizers().iter().map(|name| short(name)).collect();
        return format!("{target} (it is being deleted, with the finalizers: {})", first_few(&finalizers));
    }
    let mut others: Vec<_> = live.managed_fields().iter().collect();
    others.sort_by_key(|entry| entry.time.as_ref().map(|time| std::cmp::Reverse(time.0)));
    let mut names: Vec<_> = others.iter().filter_map(|entry| entry.manager.as_deref()).map(short).collect();
    names.retain(|name| name != manager);
    names.dedup();
    if names.is_empty() {
        return format!("{target} (an admission policy may change it)");
    }
    format!("{target} (by {})", first_few(&names))
}

fn short(name: &str) -> String {
    name.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::delivery::removal;

    #[test]
    fn the_same_is_written_so_often_of_an_object_until_some_time_has_gone() {
        let (targets, mut writes) = (removal(), Writes::default());
        let (now, sent, other) = (Timestamp::UNIX_EPOCH, json!({"a": 1}), json!({"a": 2}));
        let later = |seconds| now + jiff::SignedDuration::from_secs(seconds);
        for second in 0..5 {
            assert!(writes.admit(&targets[0], Some(&sent), later(second)), "{second}");
        }
        assert!(!writes.admit(&targets[0], Some(&sent), later(5)));
        assert!(writes.admit(&targets[1], Some(&sent), later(5)), "another object");
        assert!(!writes.admit(&targets[0], Some(&sent), later(299)));
        assert!(writes.admit(&targets[0], Some(&sent), later(300)), "the first one is long ago");
        assert!(!writes.admit(&targets[0], Some(&sent), later(300)));
        assert!(writes.admit(&targets[0], Some(&other), later(300)), "something else is to be there");
        assert!(writes.admit(&targets[0], None, later(300)), "it is to go");
        for second in 301..330 {
            assert!(
                writes.admit(&targets[0], None, later(second)),
                "what is refused does not count: {second}"
            );
            writes.take_back(&targets[0]);
        }
    }

    #[test]
    fn the_object_tells_who_changes_it() {
        let target = removal().remove(0);
        let live = |metadata: Value| {
            serde_json::from_value::<DynamicObject>(json!({ "metadata": metadata })).unwrap()
        };
        let by = |manager: &str, second: u8| json!({"manager": manager, "time": format!("2026-01-01T00:00:{second:02}Z")});
        for (what, live, said) in [
            ("deleted", None, "(it is deleted)"),
            (
                "kept",
                Some(live(json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}))),
                "(it is being deleted, with the finalizers: a/b)",
            ),
            (
                "changed",
                Some(live(json!({"managedFields": [by("old", 1), by("us", 9), by("new", 5)]}))),
                "(by new, old)",
            ),
            (
                "by no other",
                Some(live(json!({"managedFields": [by("us", 1)]}))),
                "(an admission policy may change it)",
            ),
        ] {
            assert_eq!(blame(&target, live.as_ref(), "us"), format!("{target} {said}"), "{what}");
        }
    }
}
