//! Kubernetes conditions.
//!
//! Owns the rules: times change only with the status, `Ready` comes first, messages are bounded. Never talks to the API
//! server.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition every kind has: `kubectl wait --for=condition=Ready`.
pub const READY: &str = "Ready";

/// Longest message kept, in bytes; the API allows 32,768, a reader fewer.
const MESSAGE_LIMIT: usize = 1024;

/// The status of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// Not known at present.
    Unknown,
}

impl Status {
    /// Returns the status as Kubernetes spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets one condition and returns whether anything but a time changed.
///
/// `lastTransitionTime` becomes `now` only when the status changes. `message` is cut to 1 KiB; it must contain no time and
/// no id that changes from pass to pass. `Ready` comes first, the others follow by name.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: Status,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let mut condition = Condition {
        type_: type_.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message: bounded(message).to_owned(),
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    let Some(known) = conditions.iter_mut().find(|known| known.type_ == type_) else {
        conditions.push(condition);
        conditions.sort_by(|a, b| (a.type_ != READY, &a.type_).cmp(&(b.type_ != READY, &b.type_)));
        return true;
    };
    if known.status == condition.status {
        condition.last_transition_time = known.last_transition_time.clone();
    }
    let changed = *known != condition;
    *known = condition;
    changed
}

/// Returns a message as a condition keeps it: its first 1 KiB. For the other texts of a status, which users may make as long as they like.
#[must_use]
pub fn bounded(message: &str) -> &str {
    cut(message, MESSAGE_LIMIT)
}

/// Returns the condition of this type.
#[must_use]
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Returns the longest prefix of at most `limit` bytes that ends at a character.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn time_moves_only_with_the_status() {
        let mut conditions = vec![];
        assert!(set(&mut conditions, READY, Status::False, "Creating", "0 of 3", Some(1), at(1)));
        assert!(!set(&mut conditions, READY, Status::False, "Creating", "0 of 3", Some(1), at(2)));
        assert!(set(&mut conditions, READY, Status::False, "Creating", "1 of 3", Some(1), at(3)));
        assert_eq!(conditions[0].last_transition_time, Time(at(1)));
        let before = conditions.clone();
        assert!(set(&mut conditions, READY, Status::True, "AsWanted", "", Some(2), at(4)));
        assert_eq!(conditions[0].last_transition_time, Time(at(4)));
        assert_ne!(before, conditions);
        assert_eq!(get(&conditions, READY).unwrap().status, "True");
    }

    #[test]
    fn ready_comes_first_and_order_is_stable() {
        let mut conditions = vec![];
        for type_ in ["Zeal", "Ready", "Accepted"] {
            set(&mut conditions, type_, Status::True, "R", "", None, at(0));
        }
        let order: Vec<_> = conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(order, ["Ready", "Accepted", "Zeal"]);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 9), "aé");
    }
}
