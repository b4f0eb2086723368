//! Fault injection: which requests a fault matches, and what happens to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault to inject.
///
/// As JSON, for the control API: `{"method": "POST", "path": "/api/pool", "times": 2, "skip": 0, "what": …}` with
/// `what` one of `{"status": {"code": 503, "body": "…", "retry_after": 5}}`, `{"delay_ms": 200}`, `"cut_before"`,
/// `"cut_after"`, `"half_reply"`, `"stale"`; only `what` is required.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method it matches; `None`: any.
    #[serde(default)]
    pub method: Option<String>,
    /// The path it matches, including all paths below it: `/api/pool` matches `/api/pool/pool-1`, but not
    /// `/api/poolgroup`. The segment `*` matches any segment, the empty path every path.
    #[serde(default)]
    pub path: String,
    /// How many matching requests pass before the fault takes effect; default 0.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it affects; `None`: all, until the faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens to a request.
    pub what: Effect,
}

/// What a fault does to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Sends this response instead of processing the request.
    Status {
        /// The HTTP status, from 200 to 999.
        code: u16,
        /// The body, sent unchanged as `application/json`; `None`: `{"error": "…"}` with the status.
        #[serde(default)]
        body: Option<String>,
        /// `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Waits so many milliseconds of real time before it processes the request.
    DelayMs(u64),
    /// Closes the connection without processing the request.
    CutBefore,
    /// Processes the request and closes the connection without a response.
    CutAfter,
    /// Processes the request, sends half of the response and closes the connection. Sends nothing if the response cannot
    /// have a body, as that of DELETE.
    HalfReply,
    /// Responds 412, as if another client had just written the object. Does not process the request.
    Stale,
}

impl Fault {
    /// Creates a fault that affects every request until the faults are cleared.
    #[must_use]
    pub fn new(what: Effect) -> Self {
        Self { method: None, path: String::new(), skip: 0, times: None, what }
    }

    /// Creates a fault that responds with the status `code`.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::new(Effect::Status { code, body: None, retry_after: None })
    }

    /// Creates a fault that delays every request.
    #[must_use]
    pub fn delay(by: Duration) -> Self {
        Self::new(Effect::DelayMs(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Restricts the fault to a method and a path (see [`Fault::path`]).
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        path.clone_into(&mut self.path);
        self
    }

    /// Restricts the fault to a path (see [`Fault::path`]).
    #[must_use]
    pub fn under(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Limits how many requests the fault affects.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Returns an error for a fault that could never take effect.
    pub(super) fn validate(&self) -> Result<(), &'static str> {
        match &self.what {
            Effect::Status { code, .. } if !(200..=999).contains(code) => {
                Err("code: write a status from 200 to 999")
            }
            _ if self.path.contains('?') => Err("path: remove the query, faults match the path only"),
            _ => Ok(()),
        }
    }

    fn matches(&self, method: &str, segments: &[String]) -> bool {
        let mut path = self.path.split('/').filter(|part| !part.is_empty());
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path
                .by_ref()
                .zip(segments.iter().map(Some).chain(std::iter::repeat(None)))
                .all(|(wanted, part)| part.is_some_and(|part| wanted == "*" || wanted == part))
    }
}

/// The active faults, oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Appends a fault.
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Removes all faults.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the effect of the first fault that matches the request and is due, and counts it.
    pub(super) fn take_effect(&mut self, method: &str, segments: &[String]) -> Option<Effect> {
        for fault in &mut self.0 {
            if !fault.matches(method, segments) {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
                continue;
            }
            match &mut fault.times {
                Some(0) => continue,
                Some(times) => *times -= 1,
                None => {}
            }
            let effect = fault.what.clone();
            self.0.retain(|fault| fault.times != Some(0));
            return Some(effect);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Vec<String> {
        path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn paths_match_segment_by_segment() {
        let fault = Fault::status(503).on("post", "/api/pool");
        assert!(fault.matches("POST", &segments("/api/pool/pool-1")));
        assert!(fault.matches("POST", &segments("/api/pool")));
        assert!(!fault.matches("POST", &segments("/api/poolgroup")));
        assert!(!fault.matches("POST", &segments("/api")));
        assert!(!fault.matches("GET", &segments("/api/pool")));
        assert!(Fault::status(503).under("/api/*/x").matches("GET", &segments("/api/pool/x")));
        assert!(Fault::status(503).matches("GET", &segments("/login")));
    }

    #[test]
    fn skip_and_times_count_requests() {
        let mut faults = Faults::default();
        faults.add(Fault::status(503).times(2).skip(1));
        let affected: Vec<bool> = (0..4).map(|_| faults.take_effect("GET", &[]).is_some()).collect();
        assert_eq!(affected, [false, true, true, false]);
    }

    #[test]
    fn faults_are_read_from_json() {
        let text = r#"{"path": "/api/pool", "times": 1, "what": {"status": {"code": 503}}}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        assert_eq!(fault, Fault::status(503).under("/api/pool").times(1));
        let text = r#"{"what": "cut_after"}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        assert_eq!(fault, Fault::new(Effect::CutAfter));
    }
}
