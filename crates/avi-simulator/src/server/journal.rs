//! The request log, with counters of requests and logins. Keeps neither bodies nor secrets.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::clock::Micros;

/// The maximum number of entries: beyond it the log drops the oldest. The counters count all requests.
const MAX_ENTRIES: usize = 100_000;

/// A request and the status of its response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedRequest {
    /// Counts from 1; [`Control::reset_requests`](super::Control::reset_requests) does not reset it.
    pub number: u64,
    /// When the response was ready: microseconds since 1970 on the controller's clock.
    pub at: u64,
    /// The number of its connection, from 1.
    pub connection: u64,
    /// `GET`, `POST` …
    pub method: String,
    /// The path as received.
    pub path: String,
    /// The query, not decoded; empty if there is none.
    pub query: String,
    /// The path with `{uuid}` in place of uuids, as in the counters.
    pub template: String,
    /// The status of the response; 0 if the connection was cut instead.
    pub status: u16,
    /// `X-Avi-Tenant`, or else `X-Avi-Tenant-UUID`, as received.
    pub tenant: Option<String>,
    /// The username of the session or login.
    pub user: Option<String>,
    /// `X-Avi-Version`, as received.
    pub version: Option<String>,
    /// Whether a fault affected it.
    pub fault: bool,
}

/// The number of logins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Logins {
    /// All `POST /login`, with any result.
    pub total: u64,
    /// Those with a status other than 200.
    pub failed: u64,
}

/// The number of requests by method and path template.
pub type Counters = BTreeMap<(String, String), u64>;

/// What the log records of a request that only its processing finds out.
#[derive(Debug, Default)]
pub(super) struct LogFields {
    pub(super) user: Option<String>,
}

/// The request log and the counters.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<LoggedRequest>,
    counters: Counters,
    logins: Logins,
    /// The number of the latest entry.
    last_number: u64,
}

impl Journal {
    /// Records a request; sets the entry's number and time.
    pub(super) fn record(&mut self, mut entry: LoggedRequest, at: Micros) {
        self.last_number += 1;
        entry.number = self.last_number;
        entry.at = at;
        if entry.method == "POST" && entry.template == "/login" {
            self.logins.total += 1;
            self.logins.failed += u64::from(entry.status != 200);
        }
        *self.counters.entry((entry.method.clone(), entry.template.clone())).or_default() += 1;
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Returns the entries with a number above `number`; 0 for all.
    pub(super) fn entries_after(&self, number: u64) -> Vec<LoggedRequest> {
        let begin = self.entries.partition_point(|entry| entry.number <= number);
        self.entries.range(begin..).cloned().collect()
    }

    /// Returns the counters of requests.
    pub(super) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    /// Returns the counters of logins.
    pub(super) fn logins(&self) -> Logins {
        self.logins
    }

    /// Removes all entries and sets the counters to 0.
    pub(super) fn reset(&mut self) {
        *self = Self { last_number: self.last_number, ..Self::default() };
    }
}

/// Returns the template of a path: `/api/pool/{uuid}/runtime`.
pub(super) fn path_template(segments: &[String]) -> String {
    let mut text = String::new();
    for (index, part) in segments.iter().enumerate() {
        text.push('/');
        // From the third segment on, a segment with a dash is a uuid: words of the API have none there.
        let is_uuid = index >= 2 && segments[0] == "api" && part.contains('-');
        text.push_str(if is_uuid { "{uuid}" } else { part });
    }
    if text.is_empty() { "/".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_replaced_in_templates() {
        let of = |path: &str| {
            path_template(
                &path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of("//api/pool/"), "/api/pool");
        assert_eq!(of("/api/user/user-1"), "/api/user/{uuid}");
        assert_eq!(of("/api/cluster/runtime"), "/api/cluster/runtime");
        assert_eq!(of("/api/user-token"), "/api/user-token");
        assert_eq!(of("/"), "/");
    }
}
