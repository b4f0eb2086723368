//! Faults of single calls and outages of a simulated vCenter.

use std::time::Duration;

use serde::Serialize;

/// A rule that makes calls of one method fail. It applies to one call unless changed.
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
    #[serde(skip_serializing_if = "String::is_empty")]
    naming: String,
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
    Garbage,
    Truncate,
}

impl Fault {
    fn new(method: &str, kind: Kind) -> Self {
        Self { method: method.to_owned(), naming: String::new(), times: 1, kind }
    }

    /// Answers with the vim fault of this type name, such as `NoPermission`, and does not run the call.
    #[must_use]
    pub fn soap(method: &str, vim_type: &str) -> Self {
        Self::new(method, Kind::Fault { fault: vim_type.to_owned() })
    }

    /// Answers a `*_Task` method with a task that ends in the vim fault, and does not run the call.
    #[must_use]
    pub fn task(method: &str, vim_type: &str) -> Self {
        Self::new(method, Kind::TaskFault { fault: vim_type.to_owned() })
    }

    /// Closes the connection and does not run the call.
    #[must_use]
    pub fn cut_before(method: &str) -> Self {
        Self::new(method, Kind::CutBefore)
    }

    /// Runs the call, then closes the connection without an answer.
    #[must_use]
    pub fn cut_after(method: &str) -> Self {
        Self::new(method, Kind::CutAfter)
    }

    /// Answers with an HTTP status and does not run the call.
    #[must_use]
    pub fn status(method: &str, status: u16) -> Self {
        Self::new(method, Kind::Status { status })
    }

    /// Answers with status 200 and a page of HTML, as a proxy in between does, and does not run the call.
    #[must_use]
    pub fn garbage(method: &str) -> Self {
        Self::new(method, Kind::Garbage)
    }

    /// Runs the call, then answers with its status and the first half of its body. The length of the response is
    /// right: only the XML shows that something is missing.
    #[must_use]
    pub fn truncate(method: &str) -> Self {
        Self::new(method, Kind::Truncate)
    }

    /// Does not answer until the rules are cleared; then runs the call if the client still waits.
    #[must_use]
    pub fn hang(method: &str) -> Self {
        Self::new(method, Kind::Hang)
    }

    /// Runs the call after this time, if the client still waits.
    #[must_use]
    pub fn delay(method: &str, time: Duration) -> Self {
        Self::new(method, Kind::Delay { delay_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX) })
    }

    /// Applies the rule only to calls that name this object, such as `vm-42`.
    #[must_use]
    pub fn naming(mut self, reference: &str) -> Self {
        reference.clone_into(&mut self.naming);
        self
    }

    /// Applies the rule to that many calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = i64::from(times);
        self
    }

    /// Applies the rule to all calls until [`crate::Vcsim::clear_faults`].
    #[must_use]
    pub fn until_cleared(mut self) -> Self {
        self.times = -1;
        self
    }
}

/// The state of the whole SDK endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "status", rename_all = "snake_case")]
pub enum Outage {
    /// It serves requests.
    None,
    /// The port is closed, and so are open connections. The port is the same when the outage ends.
    Refuse,
    /// Connections are accepted and no request is answered, long polls in progress included. When the outage ends,
    /// calls whose client still waits are run and answered.
    Hang,
    /// Every request is answered with this HTTP status.
    Status(u16),
}
