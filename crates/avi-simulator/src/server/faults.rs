//! Faults on demand: which request they hit, and what happens to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that goes wrong, on purpose.
///
/// As JSON, for the control API: `{"method": "POST", "path": "/api/pool", "times": 2, "skip": 0, "what": …}` with
/// `what` one of `{"status": {"code": 503, "body": "…", "retry_after": 5}}`, `{"delay_ms": 200}`, `"cut_before"`,
/// `"cut_after"`, `"half_reply"`, `"stale"`; only `what` must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Hits only this method; any if `None`.
    #[serde(default)]
    pub method: Option<String>,
    /// Hits this path and what lies under it, part by part: `/api/pool` hits `/api/pool/pool-1` and not
    /// `/api/poolgroup`. A part `*` is any. Everything if empty.
    #[serde(default)]
    pub path: String,
    /// How many requests it lets pass before it begins; 0.
    #[serde(default)]
    pub skip: u32,
    /// How many requests it hits; `None` is all, until the faults are cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens to them.
    pub what: Effect,
}

/// What a fault does to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// Answers this instead of doing anything.
    Status {
        /// The HTTP status, from 200 to 999.
        code: u16,
        /// The body, sent as `application/json` as it is; `{"error": "…"}` of the status if `None`.
        #[serde(default)]
        body: Option<String>,
        /// `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// Waits, in real milliseconds, and then does what was asked.
    DelayMs(u64),
    /// Closes the connection; nothing was done.
    CutBefore,
    /// Does what was asked and closes the connection without a reply.
    CutAfter,
    /// Does what was asked, sends half of the reply and closes the connection. Of a reply that cannot have a body, as
    /// of DELETE, it sends nothing.
    HalfReply,
    /// Answers 412, as if somebody else had written the object just before.
    Stale,
}

impl Fault {
    /// A fault that hits every request, until the faults are cleared.
    #[must_use]
    pub fn new(what: Effect) -> Self {
        Self { method: None, path: String::new(), skip: 0, times: None, what }
    }

    /// Answers `code`.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::new(Effect::Status { code, body: None, retry_after: None })
    }

    /// Waits before everything.
    #[must_use]
    pub fn delay(by: Duration) -> Self {
        Self::new(Effect::DelayMs(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Hits only this method and this path (see [`Fault::path`]).
    #[must_use]
    pub fn on(mut self, method: &str, path: &str) -> Self {
        self.method = Some(method.to_owned());
        path.clone_into(&mut self.path);
        self
    }

    /// Hits only this path (see [`Fault::path`]).
    #[must_use]
    pub fn under(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Hits this many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Lets this many requests pass first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Why it could never happen as it stands.
    pub(super) fn complaint(&self) -> Option<&'static str> {
        match &self.what {
            Effect::Status { code, .. } if !(200..=999).contains(code) => Some("code: 200 to 999 is wanted"),
            _ if self.path.contains('?') => Some("path: it has no query"),
            _ => None,
        }
    }

    fn hits(&self, method: &str, segments: &[String]) -> bool {
        let mut path = self.path.split('/').filter(|part| !part.is_empty());
        self.method.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && path
                .by_ref()
                .zip(segments.iter().map(Some).chain(std::iter::repeat(None)))
                .all(|(wanted, part)| part.is_some_and(|part| wanted == "*" || wanted == part))
    }
}

/// The faults that are set, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What hits this request: the first fault that matches and is due.
    pub(super) fn strike(&mut self, method: &str, segments: &[String]) -> Option<Effect> {
        for fault in &mut self.0 {
            if !fault.hits(method, segments) {
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
    fn paths_match_part_by_part() {
        let fault = Fault::status(503).on("post", "/api/pool");
        assert!(fault.hits("POST", &segments("/api/pool/pool-1")));
        assert!(fault.hits("POST", &segments("/api/pool")));
        assert!(!fault.hits("POST", &segments("/api/poolgroup")));
        assert!(!fault.hits("POST", &segments("/api")));
        assert!(!fault.hits("GET", &segments("/api/pool")));
        assert!(Fault::status(503).under("/api/*/x").hits("GET", &segments("/api/pool/x")));
        assert!(Fault::status(503).hits("GET", &segments("/login")));
    }

    #[test]
    fn counted() {
        let mut faults = Faults::default();
        faults.add(Fault::status(503).times(2).skip(1));
        let struck: Vec<bool> = (0..4).map(|_| faults.strike("GET", &[]).is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
    }

    #[test]
    fn as_json() {
        let text = r#"{"path": "/api/pool", "times": 1, "what": {"status": {"code": 503}}}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        assert_eq!(fault, Fault::status(503).under("/api/pool").times(1));
        let text = r#"{"what": "cut_after"}"#;
        let fault: Fault = serde_json::from_str(text).expect("a fault");
        assert_eq!(fault, Fault::new(Effect::CutAfter));
    }
}
