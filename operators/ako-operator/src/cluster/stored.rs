//! What a workload cluster stored of an object that was sent to it.
//!
//! An admission policy may change what is sent, such as the registry of an image. What differs is then no reason to send it again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::live::contains;
use crate::delivery::Target;

/// After how long an object is sent again that was stored otherwise: the policy may have gone.
const AGAIN: Duration = Duration::from_hours(1);

/// Objects that a workload cluster stored otherwise than they were sent. Holds hashes: an object may hold credentials.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    target: Target,
    hash: u64,
    at: Timestamp,
}

impl Stored {
    /// Remembers what was stored of an object that was sent.
    pub(super) fn insert(&mut self, target: &Target, sent: &Value, stored: &Value, now: Timestamp) {
        self.0.retain(|entry| entry.target != *target);
        if !contains(stored, sent) {
            self.0.push(Entry { target: target.clone(), hash: hash(sent, stored), at: now });
        }
    }

    /// Returns what is remembered at this time.
    pub(super) fn at(mut self, now: Timestamp) -> Self {
        self.0.retain(|entry| now.duration_since(entry.at).unsigned_abs() < AGAIN);
        self
    }

    /// Returns whether this is what was stored when this was sent.
    pub(super) fn is_answer(&self, target: &Target, sent: &Value, live: &Value) -> bool {
        let known = self.0.iter().find(|entry| entry.target == *target);
        known.is_some_and(|entry| entry.hash == hash(sent, live))
    }
}

/// Hashes what was sent and what was stored of its fields.
fn hash(sent: &Value, stored: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Equal values have equal texts within a process.
    sent.to_string().hash(&mut hasher);
    part(stored, sent).to_string().hash(&mut hasher);
    hasher.finish()
}

/// Returns what a value has of the fields of another one.
fn part(live: &Value, of: &Value) -> Value {
    match (live, of) {
        (Value::Object(live), Value::Object(of)) => {
            let fields = of.iter().filter_map(|(key, of)| Some((key.clone(), part(live.get(key)?, of))));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        (Value::Array(live), Value::Array(of)) if live.len() == of.len() => {
            live.iter().zip(of).map(|(live, of)| part(live, of)).collect()
        }
        (live, _) => live.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::delivery::removal;

    #[test]
    fn what_a_policy_makes_of_an_object_is_its_answer_until_one_of_them_changes() {
        let target = removal().remove(0);
        let sent = json!({"spec": {"image": "a/ako", "list": [1], "n": null}});
        let stored = json!({"spec": {"image": "mirror/ako", "list": [1, 2], "default": 1}, "status": {}});
        let now = Timestamp::UNIX_EPOCH;
        let mut memory = Stored::default();
        memory.insert(&target, &sent, &stored, now);
        for (what, target, sent, live, is_answer) in [
            ("the answer", &target, &sent, &stored, true),
            (
                "of other fields",
                &target,
                &sent,
                &json!({"spec": {"image": "mirror/ako", "list": [1, 2]}, "status": {"ready": 1}}),
                true,
            ),
            ("edited", &target, &sent, &json!({"spec": {"image": "b/ako", "list": [1, 2]}}), false),
            ("another entry", &target, &sent, &json!({"spec": {"image": "mirror/ako", "list": [1]}}), false),
            ("sent otherwise", &target, &json!({"spec": {"image": "c/ako", "list": [1]}}), &stored, false),
            ("another object", &removal()[1], &sent, &stored, false),
        ] {
            assert_eq!(memory.is_answer(target, sent, live), is_answer, "{what}");
        }
        let later = |seconds| now + jiff::SignedDuration::from_secs(seconds);
        assert!(memory.clone().at(later(3599)).is_answer(&target, &sent, &stored));
        assert!(!memory.clone().at(later(3600)).is_answer(&target, &sent, &stored), "it is sent again");
        memory.insert(&target, &sent, &sent, now);
        assert!(!memory.is_answer(&target, &sent, &stored), "stored as it was sent");
    }
}
