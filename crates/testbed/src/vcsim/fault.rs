//! What can be made to go wrong at a simulated vCenter.

use std::time::Duration;

use serde::Serialize;

/// A rule by which calls of one method fail, once unless said otherwise.
///
/// ```
/// use testbed::Fault;
///
/// let forbidden = Fault::soap("CreateFolder", "NoPermission").until_cleared();
/// let in_doubt = Fault::cut_after("CloneVM_Task").times(3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    method: String,
    times: i64,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Kind {
    Fault { fault: String },
    TaskFault { fault: String },
    CutBefore,
    CutAfter,
    Status { status: u16 },
    Hang,
    Delay { delay_ms: u64 },
}

impl Fault {
    fn new(method: &str, kind: Kind) -> Self {
        Self { method: method.to_owned(), times: 1, kind }
    }

    /// Answers with the vim fault of this type name, such as `NoPermission`; nothing is run.
    #[must_use]
    pub fn soap(method: &str, vim_type: &str) -> Self {
        Self::new(method, Kind::Fault { fault: vim_type.to_owned() })
    }

    /// Answers a `*_Task` method with a task that ends in the vim fault; nothing else is run.
    #[must_use]
    pub fn task(method: &str, vim_type: &str) -> Self {
        Self::new(method, Kind::TaskFault { fault: vim_type.to_owned() })
    }

    /// Closes the connection; nothing is run.
    #[must_use]
    pub fn cut_before(method: &str) -> Self {
        Self::new(method, Kind::CutBefore)
    }

    /// Runs the call, then closes the connection without an answer.
    #[must_use]
    pub fn cut_after(method: &str) -> Self {
        Self::new(method, Kind::CutAfter)
    }

    /// Answers with an HTTP status; nothing is run.
    #[must_use]
    pub fn status(method: &str, status: u16) -> Self {
        Self::new(method, Kind::Status { status })
    }

    /// Does not answer until the rules are cleared; then runs the call if the client still waits.
    #[must_use]
    pub fn hang(method: &str) -> Self {
        Self::new(method, Kind::Hang)
    }

    /// Runs the call only after this time, if the client still waits.
    #[must_use]
    pub fn delay(method: &str, time: Duration) -> Self {
        Self::new(method, Kind::Delay { delay_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) })
    }

    /// For the next so many calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = i64::from(times);
        self
    }

    /// For all calls until [`crate::Vcsim::clear_faults`].
    #[must_use]
    pub fn until_cleared(mut self) -> Self {
        self.times = -1;
        self
    }
}

/// What the whole SDK endpoint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "status", rename_all = "snake_case")]
pub enum Outage {
    /// It serves.
    None,
    /// Nobody listens, and open connections are closed. The port is the same when it ends.
    Refuse,
    /// Connections are accepted and nothing is answered, long polls in progress included. When it ends,
    /// calls whose client still waits are run and answered.
    Hang,
    /// Every request is answered with this HTTP status.
    Status(u16),
}
