//! What an error means for an object, and the kit's own errors.
//!
//! Owns the vocabulary; never a delay: those are chosen in [`backoff`](crate::backoff) alone.

use std::{error::Error as StdError, fmt, net::SocketAddr, time::Duration};

/// What is to happen after a reconcile failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disposition {
    /// Not an error: something awaited is not there yet. Again after the given time, else upon the next event.
    Wait {
        /// `None`: an event will come.
        after: Option<Duration>,
    },
    /// May work when tried again: exponential per-object delay, at least what the other side asked for.
    Transient {
        /// The other side's Retry-After.
        retry_after: Option<Duration>,
    },
    /// Only a person can put it right: a Warning event; again when the spec changes, and hourly.
    Permanent,
    /// The session or credentials were refused. The client has dropped the session; as `Transient` from here.
    Auth,
}

impl Disposition {
    /// Transient without a wish of the other side.
    pub const TRANSIENT: Self = Self::Transient { retry_after: None };

    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Wait { .. } => "wait",
            Self::Transient { .. } => "transient",
            Self::Permanent => "permanent",
            Self::Auth => "auth",
        }
    }
}

/// An error a reconcile may end with.
pub trait ReconcileError: StdError + Send + Sync + 'static {
    /// What is to happen next.
    fn disposition(&self) -> Disposition;

    /// CamelCase constant used by condition, event and metric alike, documented in `docs/`.
    fn reason(&self) -> &'static str;
}

/// The disposition of an answer of the Kubernetes API server, for operators' error types to build on.
#[must_use]
pub fn kubernetes(error: &kube::Error) -> Disposition {
    let kube::Error::Api(status) = error else { return Disposition::TRANSIENT };
    let retry_after = status
        .details
        .as_ref()
        .map(|details| u64::from(details.retry_after_seconds))
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs);
    match status.code {
        // Refused as it stands; 404, 409, 410 pass when the cache has caught up, 403 when the RBAC is repaired.
        400 | 405 | 413 | 415 | 422 => Disposition::Permanent,
        _ => Disposition::Transient { retry_after },
    }
}

/// Why an operator's process cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `--log-level` cannot be parsed.
    #[error("--log-level: {0}")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    /// `--metrics-addr` cannot be bound.
    #[error("--metrics-addr: cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// No kubeconfig and no ServiceAccount.
    #[error("no way to reach Kubernetes: {0}")]
    KubeConfig(#[from] kube::config::InferConfigError),
    /// The Kubernetes client could not be built.
    #[error("Kubernetes client: {0}")]
    Client(#[source] Box<kube::Error>),
    /// A metric was registered twice or badly named.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The runtime, a signal handler or /proc.
    #[error("operating system: {0}")]
    Io(#[from] std::io::Error),
    /// The leader Lease was lost; another replica may be writing, so this process must end.
    #[error("the leader Lease was lost")]
    LeaseLost,
    /// A controller ended without being asked to.
    #[error("controller {0} ended although nobody asked it to")]
    ControllerEnded(&'static str),
    /// The work did not end in time after SIGTERM.
    #[error("still busy {} s after the signal to stop", .0.as_secs())]
    ShutdownTimeout(Duration),
    /// A manifest cannot be written.
    #[error("manifest: {0}")]
    Manifest(String),
    /// The operator's own error.
    #[error(transparent)]
    Operator(Box<dyn StdError + Send + Sync>),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

/// An error with all its causes on one line: `a: b: c`. Answers of the API server are reduced to their message.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.0))
    }
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    if let Some(kube::Error::Api(status)) = error.downcast_ref() {
        // Its own text carries the whole answer in debug form.
        return format!("{} ({})", status.message, status.code);
    }
    let own = error.to_string();
    let Some(source) = error.source() else { return own };
    // Most errors print their source themselves.
    let (plain, told) = (source.to_string(), chain(source));
    if own.contains(&plain) { own.replace(&plain, &told) } else { format!("{own}: {told}") }
}

#[cfg(test)]
mod tests {
    use kube::{core::Status, runtime::watcher};

    use super::*;

    fn answer(code: u16) -> Disposition {
        kubernetes(&kube::Error::Api(Box::new(Status { code, ..Status::default() })))
    }

    #[test]
    fn answers_are_classified() {
        assert_eq!(answer(422), Disposition::Permanent);
        for code in [401, 403, 404, 409, 410, 429, 500, 503] {
            assert_eq!(answer(code), Disposition::TRANSIENT, "{code}");
        }
    }

    #[test]
    fn causes_are_told_once() {
        let io = std::io::Error::other("disk full");
        assert_eq!(Chain(&Error::Io(io)).to_string(), "operating system: disk full");
        let status = Status { code: 403, message: "no".to_owned(), ..Status::default() };
        let refused = watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)));
        let told = Chain(&refused).to_string();
        assert!(told.ends_with("no (403)") && !told.contains("Status"), "{told}");
    }
}
