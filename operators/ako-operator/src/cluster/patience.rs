//! How long the operator waits for an AKO that is to leave a Cluster. Pure.

use std::time::Duration;

use infra_clients::capi::{Cluster, ConditionStatus};
use jiff::Timestamp;

use crate::api::condition::RESOURCES_CLEANED_UP;

/// After how long the driver looks again by itself.
const RECHECK: Duration = Duration::from_mins(5);

/// How long AKO has had to leave a Cluster, and how long it may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// Since when AKO is to leave; `None`: nothing has been awaited yet.
    pub since: Option<Timestamp>,
    /// How long it may take; `None`: a person ends the wait.
    pub limit: Option<Duration>,
}

impl Patience {
    /// Reads it from the condition that says that AKO is to leave: its time stays while the condition is `False`, whatever its reason, and
    /// outlives the process. The time of the deletion would count hours in which no operator ran that could have asked AKO, and a Cluster
    /// that only loses its label has none.
    pub(super) fn of(cluster: &Cluster, limit: Option<Duration>) -> Self {
        let condition = cluster.conditions.get(RESOURCES_CLEANED_UP);
        let waiting = condition.filter(|condition| condition.status == ConditionStatus::False);
        Self { since: waiting.and_then(|condition| Some(condition.last_transition_time.as_ref()?.0)), limit }
    }

    /// Returns whether the time is over.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.left(now).is_some_and(|left| left.is_zero())
    }

    /// Returns when to look again, if the time is over before the driver looks by itself.
    #[must_use]
    pub fn next_look(&self, now: Timestamp) -> Option<Duration> {
        self.left(now).filter(|left| !left.is_zero() && *left < RECHECK)
    }

    fn left(&self, now: Timestamp) -> Option<Duration> {
        // A clock that was set back: nothing of the time has gone.
        let gone = Duration::try_from(now.duration_since(self.since?)).unwrap_or_default();
        Some(self.limit?.saturating_sub(gone))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_is_over_at_the_deadline_and_never_without_one() {
        let patience = |since: Option<i64>, limit: Option<u64>| Patience {
            since: since.map(at),
            limit: limit.map(Duration::from_secs),
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (what, patience, now, is_over, next) in [
            ("nothing is awaited yet", patience(None, Some(60)), 1000, false, None),
            ("no deadline", patience(Some(0), None), 1_000_000, false, None),
            ("it begins", patience(Some(100), Some(3600)), 100, false, None),
            ("soon", patience(Some(100), Some(3600)), 3460, false, seconds(240)),
            ("over", patience(Some(100), Some(3600)), 3700, true, None),
            ("long over", patience(Some(100), Some(3600)), 9_000_000, true, None),
            ("the clock was set back", patience(Some(100), Some(60)), 0, false, seconds(60)),
        ] {
            assert_eq!((patience.is_over(at(now)), patience.next_look(at(now))), (is_over, next), "{what}");
        }
    }

    /// As the operator left it: another process goes on from there.
    #[test]
    fn the_condition_says_since_when_ako_is_to_leave() {
        let limit = Some(Duration::from_mins(1));
        let of = |type_: &str, status: &str| {
            let condition = json!({ "type": type_, "status": status, "reason": "AKOCleaningUp", "message": "m",
                "lastTransitionTime": "1970-01-01T00:01:00Z" });
            let cluster = json!({ "apiVersion": "cluster.x-k8s.io/v1beta2", "metadata": { "name": "w1", "namespace": "default",
                "deletionTimestamp": "1970-01-01T00:00:00Z" }, "status": { "conditions": [condition] } });
            let cluster: Cluster = serde_json::from_value(cluster).unwrap();
            Patience::of(&cluster, limit).since
        };
        for (type_, status, since) in [
            (RESOURCES_CLEANED_UP, "False", Some(at(60))),
            (RESOURCES_CLEANED_UP, "True", None),
            ("AKOInstalled", "False", None),
        ] {
            assert_eq!(of(type_, status), since, "{type_} {status}");
        }
    }
}
