//! What was asked and what was answered: the request log, counters and logins. Keeps no header, no body, no secret.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use super::clock::Micros;

/// The oldest entries go when there are more than this; counters stay.
const KEPT: usize = 100_000;

/// One request, as answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoggedRequest {
    /// Counts from 1 and never starts anew.
    pub number: u64,
    /// When the answer was ready, in microseconds since 1970 on the controller's clock.
    pub at: u64,
    /// The connection it came on, counted from 1.
    pub connection: u64,
    /// `GET`, `POST` …
    pub method: String,
    /// The path as it came.
    pub path: String,
    /// What stood behind `?`, undecoded; empty if nothing.
    pub query: String,
    /// The path with `{uuid}` for uuids, as the counters know it.
    pub template: String,
    /// The status answered; 0 where the connection was cut instead.
    pub status: u16,
    /// `X-Avi-Tenant`, or `X-Avi-Tenant-UUID`, as sent.
    pub tenant: Option<String>,
    /// The username of the session.
    pub user: Option<String>,
    /// `X-Avi-Version`, as sent.
    pub version: Option<String>,
    /// Whether a fault hit it.
    pub fault: bool,
}

/// The logins so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Logins {
    /// `POST /login` in all, whatever came of it.
    pub total: u64,
    /// Those not answered with 200.
    pub failed: u64,
}

/// Requests by method and path template.
pub type Counters = BTreeMap<(String, String), u64>;

#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: VecDeque<LoggedRequest>,
    counters: Counters,
    logins: Logins,
    numbers: u64,
}

impl Journal {
    pub(super) fn write(&mut self, mut entry: LoggedRequest, at: Micros) {
        self.numbers += 1;
        entry.number = self.numbers;
        entry.at = at;
        if entry.method == "POST" && entry.template == "/login" {
            self.logins.total += 1;
            self.logins.failed += u64::from(entry.status != 200);
        }
        *self.counters.entry((entry.method.clone(), entry.template.clone())).or_default() += 1;
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Those behind the number; 0 for all.
    pub(super) fn entries(&self, behind: u64) -> Vec<LoggedRequest> {
        let begin = self.entries.partition_point(|entry| entry.number <= behind);
        self.entries.range(begin..).cloned().collect()
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters.clone()
    }

    pub(super) fn logins(&self) -> Logins {
        self.logins
    }

    /// Empties the log and sets all counters to nought.
    pub(super) fn reset(&mut self) {
        *self = Self { numbers: self.numbers, ..Self::default() };
    }
}

/// `/api/pool/{uuid}/runtime` for the parts of a path.
pub(super) fn template(segments: &[String]) -> String {
    let mut text = String::new();
    for (index, part) in segments.iter().enumerate() {
        text.push('/');
        // Of the third part on only words of the API are kept: uuids have digits and dashes.
        let identifier = index >= 2 && segments[0] == "api" && part.contains('-');
        text.push_str(if identifier { "{uuid}" } else { part });
    }
    if text.is_empty() { "/".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates() {
        let of = |path: &str| {
            template(&path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>())
        };
        assert_eq!(of("//api/pool/"), "/api/pool");
        assert_eq!(of("/api/user/user-1"), "/api/user/{uuid}");
        assert_eq!(of("/api/cluster/runtime"), "/api/cluster/runtime");
        assert_eq!(of("/api/user-token"), "/api/user-token");
        assert_eq!(of("/"), "/");
    }
}
