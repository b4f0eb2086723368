//! What an error means for an object, and the kit's own errors.
//!
//! Owns the vocabulary; `backoff` chooses the delays.

use std::{any::Any, error::Error as StdError, fmt, net::SocketAddr, time::Duration};

use kube::{
    config::{InferConfigError, KubeconfigError},
    core::Status,
};

use crate::{backoff::LONGEST, lease::NotLeader};

/// What follows a failed reconcile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disposition {
    /// May work when tried again: after 1 s, doubled up to 5 min, at least the server's Retry-After.
    Transient {
        /// The server's Retry-After.
        retry_after: Option<Duration>,
    },
    /// A person has to act (rights, capacity, credentials, a name, a policy): a Warning event, and delays as for `Transient`,
    /// since no event reports that it was done.
    NeedsHelp {
        /// The server's Retry-After.
        retry_after: Option<Duration>,
    },
}

impl Disposition {
    /// `Transient` without a Retry-After.
    pub const TRANSIENT: Self = Self::Transient { retry_after: None };
    /// `NeedsHelp` without a Retry-After.
    pub const NEEDS_HELP: Self = Self::NeedsHelp { retry_after: None };

    /// Returns whether a person has to act.
    #[must_use]
    pub const fn needs_help(self) -> bool {
        !matches!(self, Self::Transient { .. })
    }

    /// Returns the metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Transient { .. } => "transient",
            Self::NeedsHelp { .. } => "needs_help",
        }
    }
}

/// An error a reconcile may end with.
///
/// An operator's error type has a variant for [`KitError`], what the driver and Kubernetes report, and one for each outside
/// system.
pub trait ReconcileError: StdError + From<KitError> + Send + Sync + 'static {
    /// Returns the reason, a CamelCase constant that condition, event and metric share and the docs explain, and what
    /// follows.
    fn classify(&self) -> (&'static str, Disposition);

    /// Returns the reason.
    fn reason(&self) -> &'static str {
        self.classify().0
    }

    /// Returns every reason of the operator's own errors, for counters that start at 0. Default: none.
    #[must_use]
    fn reasons() -> Vec<&'static str> {
        Vec::new()
    }

    /// Returns what follows.
    fn disposition(&self) -> Disposition {
        self.classify().1
    }
}

/// Reason of a request to Kubernetes that failed, and may work when it is tried again.
pub const KUBERNETES_API: &str = "KubernetesApi";
/// Reason of a request that Kubernetes refuses as it stands, or until its RBAC or an admission policy is corrected.
pub const KUBERNETES_REFUSED: &str = "KubernetesRefused";
/// Reason of [`KitError::NotLeader`].
pub const NOT_LEADER: &str = "NotLeader";
/// Reason of [`KitError::Panicked`] and [`KitError::StillChanging`].
pub const INTERNAL_ERROR: &str = "InternalError";

/// What every reconcile may fail with, whatever the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KitError {
    /// The Kubernetes API server refused a request or did not answer.
    #[error("Kubernetes API: {}", Chain(.0))]
    Kubernetes(kube::Error),
    /// The finalizer cannot be added.
    #[error("the finalizer cannot be added, so nothing is done for the object: {}", refusal(.0))]
    NotHeld(kube::Error),
    /// The finalizer cannot be removed.
    #[error("nothing is left to do, but the finalizer cannot be removed, which keeps the object: {}", refusal(.0))]
    NotReleased(kube::Error),
    /// The status cannot be written.
    #[error("the status cannot be written, and is out of date until it can: {}", refusal(.0))]
    NotWritten(kube::Error),
    /// This process does not lead any longer and must not write.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// A step panicked.
    #[error("a bug in the operator: a step panicked: {0}; report it with the operator's log")]
    Panicked(String),
    /// The bounded look-again loop did not come to an end.
    #[error("a bug in the operator: the plan does not settle; report it with the operator's log")]
    StillChanging,
}

impl KitError {
    /// Returns the failure for what a panic carries.
    pub(crate) fn panicked(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Panicked(text.unwrap_or_else(|| "no message".to_owned()))
    }

    /// Returns the failure for a finalizer that was not added.
    pub(crate) fn not_held(error: kube::Error) -> Self {
        if is_fenced(&error) { Self::NotLeader(NotLeader) } else { Self::NotHeld(error) }
    }

    /// Returns the failure for a finalizer that was not removed.
    pub(crate) fn not_released(error: kube::Error) -> Self {
        if is_fenced(&error) { Self::NotLeader(NotLeader) } else { Self::NotReleased(error) }
    }

    /// Returns the failure for a status that was not written.
    pub(crate) fn not_written(error: kube::Error) -> Self {
        if is_fenced(&error) { Self::NotLeader(NotLeader) } else { Self::NotWritten(error) }
    }
}

/// Returns why a request failed, and what to do where it is refused.
fn refusal(error: &kube::Error) -> String {
    let remedy = match classify_kube(error).1 {
        Disposition::NeedsHelp { .. } if says(error, TOO_LARGE) => "; remove labels or annotations from it",
        Disposition::NeedsHelp { .. } if says(error, UNDECLARED) => {
            "; apply the CustomResourceDefinitions of this version of the operator"
        }
        Disposition::NeedsHelp { .. } => "; correct the RBAC, admission policy or webhook that refuses it",
        Disposition::Transient { .. } => "",
    };
    format!("Kubernetes API: {}{remedy}", Chain(error))
}

/// Returns whether the API server says this of an object, as an error of its own.
fn says(error: &kube::Error, what: &str) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 500 && status.message.contains(what))
}

impl From<kube::Error> for KitError {
    fn from(error: kube::Error) -> Self {
        if is_fenced(&error) { Self::NotLeader(NotLeader) } else { Self::Kubernetes(error) }
    }
}

impl ReconcileError for KitError {
    fn classify(&self) -> (&'static str, Disposition) {
        match self {
            Self::Kubernetes(error)
            | Self::NotHeld(error)
            | Self::NotReleased(error)
            | Self::NotWritten(error) => classify_kube(error),
            Self::NotLeader(_) => (NOT_LEADER, Disposition::TRANSIENT),
            Self::Panicked(_) | Self::StillChanging => (INTERNAL_ERROR, Disposition::NEEDS_HELP),
        }
    }
}

/// Returns reason and disposition of a failed request to the API server.
pub(crate) fn classify_kube(error: &kube::Error) -> (&'static str, Disposition) {
    match error {
        kube::Error::Api(status) => match of_answer(status) {
            refused @ Disposition::NeedsHelp { .. } => (KUBERNETES_REFUSED, refused),
            passing @ Disposition::Transient { .. } => (KUBERNETES_API, passing),
        },
        error if is_fenced(error) => (NOT_LEADER, Disposition::TRANSIENT),
        _ => (KUBERNETES_API, Disposition::TRANSIENT),
    }
}

/// Returns whether the write fence of the client refused the request.
fn is_fenced(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Service(cause) if cause.is::<NotLeader>())
}

/// What etcd says of an object that is larger than its limit of 1.5 MiB.
const TOO_LARGE: &str = "request is too large";
/// What the API server says of a field that a `CustomResourceDefinition` of an earlier version lacks.
const UNDECLARED: &str = "not declared in schema";

/// Returns what follows an answer of the Kubernetes API server that is no success.
fn of_answer(status: &Status) -> Disposition {
    let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    // The answer may be a webhook's of others, and holds the object for that time.
    let retry_after = (seconds > 0).then(|| Duration::from_secs(seconds.into()).min(LONGEST));
    match status.code {
        // Refused as it stands, by the API server or an admission policy; or until the RBAC is repaired.
        400 | 401 | 403 | 405 | 413 | 415 | 422 => Disposition::NeedsHelp { retry_after },
        500 if [TOO_LARGE, UNDECLARED].iter().any(|text| status.message.contains(text)) => {
            Disposition::NeedsHelp { retry_after }
        }
        // 404, 409 and 410 pass when the cache has caught up.
        _ => Disposition::Transient { retry_after },
    }
}

/// A request to the API server that got no answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer from {server}")]
pub(crate) struct Unreachable {
    /// The URL of the API server.
    pub(crate) server: String,
    pub(crate) source: tower::BoxError,
}

/// Why an operator's process cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `--log-level` cannot be parsed.
    #[error("RUST_LOG (--log-level): {0}")]
    LogFilter(#[from] tracing_subscriber::filter::ParseError),
    /// `--metrics-addr` or `--webhook-addr` cannot be bound.
    #[error("{flag}: cannot listen on {address}: {source}")]
    Listen {
        /// The variable and the flag.
        flag: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// No kubeconfig and no ServiceAccount.
    #[error("no way to reach Kubernetes: {0}")]
    KubeConfig(String),
    /// The Kubernetes client cannot be built, or a request at start failed.
    #[error("Kubernetes client: {0}")]
    Client(#[source] Box<kube::Error>),
    /// The cluster's id is not given and cannot be read.
    #[error(
        "cannot read the cluster's id, which is the UID of the namespace kube-system: {problem}; {remedy}"
    )]
    ClusterId {
        /// Why not.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A metric was registered twice or badly named.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The TLS settings of the webhook cannot be used.
    #[error("webhook: TLS: {0}")]
    Tls(String),
    /// The runtime, a signal handler or /proc.
    #[error("operating system: {0}")]
    Io(#[from] std::io::Error),
    /// The leader Lease was lost; another replica may be writing, so this process must end.
    #[error("the leader Lease was lost")]
    LeaseLost,
    /// A background task panicked.
    #[error("a bug in the operator: the task {0} panicked")]
    TaskPanicked(String),
    /// The work did not end in time after SIGTERM.
    #[error("still busy {} s after the signal to stop", .0.as_secs())]
    ShutdownTimeout(Duration),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// A manifest cannot be written.
    #[error("manifest: {0}")]
    Manifest(String),
    /// The command `webhook` of an operator that has none.
    #[error("this operator has no admission webhook, so there is nothing to register")]
    NoWebhook,
    /// The operator's own error.
    #[error(transparent)]
    Operator(Box<dyn StdError + Send + Sync>),
}

impl From<InferConfigError> for Error {
    fn from(error: InferConfigError) -> Self {
        let in_pod = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        Self::KubeConfig(match error.source().and_then(|source| source.downcast_ref()) {
            // Its text quotes the file, which may hold credentials.
            Some(KubeconfigError::Parse(_)) => {
                "the file that KUBECONFIG names, or ~/.kube/config, is not a kubeconfig".to_owned()
            }
            // Outside of a Pod it is no news that this is none.
            Some(kubeconfig) if !in_pod => {
                format!("{}; correct the file that KUBECONFIG names, or ~/.kube/config", Chain(kubeconfig))
            }
            _ => Chain(&error).to_string(),
        })
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Client(Box::new(error))
    }
}

impl Error {
    /// Returns the error for an API server that did not answer with the namespace kube-system.
    ///
    /// Only where the answer will stay the same is another id a remedy: what was made under one id counts under another as
    /// another cluster's.
    pub(crate) fn cluster_id(error: &kube::Error) -> Self {
        let remedy = match error {
            kube::Error::Api(status) => match status.code {
                401 => "check that the token or client certificate of this process is valid for this cluster",
                403 => {
                    "let the ServiceAccount get that namespace (the operator's command `rbac` prints every right it needs); or set \
                     CLUSTER_ID (--cluster-id) to that UID: another id makes all that exists outside another cluster's"
                }
                _ => "wait until the API server serves it, and look at the API server's log",
            },
            _ => {
                "check that the API server runs at this URL, and its CA and the credentials in the kubeconfig"
            }
        };
        Self::ClusterId { problem: Chain(error).to_string(), remedy }
    }
}

/// Displays an error with all its causes on one line: `a: b: c`. Answers of the API server are reduced to their message.
pub struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self.0))
    }
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    let boxed = || error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref);
    match error.downcast_ref::<kube::Error>().or_else(boxed) {
        // Its own text has the whole answer in debug form.
        Some(kube::Error::Api(status)) => return format!("{} ({})", status.message, status.code),
        // Its own text only says that a layer of the client failed.
        Some(kube::Error::Service(cause)) => return chain(&**cause),
        _ => {}
    }
    let own = error.to_string();
    let Some(source) = error.source() else { return own };
    // Most errors print their source themselves.
    let (plain, chained) = (source.to_string(), chain(source));
    if own.contains(&plain) { own.replace(&plain, &chained) } else { format!("{own}: {chained}") }
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher;

    use super::*;

    fn answer(code: u16) -> Disposition {
        KitError::from(kube::Error::Api(Box::new(Status { code, ..Status::default() }))).disposition()
    }

    #[test]
    fn answers_are_classified() {
        for code in [400, 401, 403, 413, 422] {
            assert_eq!(answer(code), Disposition::NEEDS_HELP, "{code}");
        }
        for code in [404, 409, 410, 429, 500, 503] {
            assert_eq!(answer(code), Disposition::TRANSIENT, "{code}");
        }
    }

    /// An admission webhook of others may ask for days.
    #[test]
    fn a_retry_after_holds_no_object_for_long() {
        for (asked, waits) in [(0, None), (30, Some(30)), (86_400, Some(300))] {
            let status = serde_json::json!({ "code": 429, "details": { "retryAfterSeconds": asked } });
            let status: Status = serde_json::from_value(status).unwrap();
            let retry_after = waits.map(Duration::from_secs);
            assert_eq!(of_answer(&status), Disposition::Transient { retry_after }, "{asked}");
        }
    }

    #[test]
    fn a_refused_status_says_what_to_do() {
        let answer = |code, message: &str| {
            let status = Status { code, message: message.to_owned(), ..Status::default() };
            KitError::not_written(kube::Error::Api(Box::new(status)))
        };
        for (code, message, remedy) in [
            (403, "forbidden", "; correct the RBAC, admission policy or webhook that refuses it"),
            (500, "etcdserver: request is too large", "; remove labels or annotations from it"),
            (
                500,
                "failed to create typed patch object: .status.vm: field not declared in schema",
                "; apply the CustomResourceDefinitions of this version of the operator",
            ),
            (500, "etcdserver: leader changed", "(500)"),
        ] {
            let error = answer(code, message);
            let text = error.to_string();
            assert!(text.starts_with("the status cannot be written") && text.ends_with(remedy), "{text}");
            assert_eq!(error.disposition().needs_help(), remedy.starts_with(';'), "{text}");
        }
    }

    #[test]
    fn the_write_fence_is_recognised() {
        let refused = KitError::from(kube::Error::Service(Box::new(NotLeader)));
        assert_eq!(refused.reason(), NOT_LEADER);
    }

    #[test]
    fn an_unreachable_api_server_is_named() {
        let server = "https://10.0.0.1:6443".to_owned();
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let unreachable = Unreachable { server, source: refused.into() };
        let error = Error::from(kube::Error::Service(unreachable.into()));
        assert_eq!(
            Chain(&error).to_string(),
            "Kubernetes client: no answer from https://10.0.0.1:6443: connection refused"
        );
    }

    /// To set another id is dangerous, so it is no advice where the API server is only out of reach for now.
    #[test]
    fn another_cluster_id_is_advised_only_where_the_right_to_read_it_is_missing() {
        let server = "https://10.0.0.1:6443".to_owned();
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let unreachable = kube::Error::Service(Unreachable { server, source: refused.into() }.into());
        let answer =
            |code| kube::Error::Api(Box::new(Status { code, message: "no".to_owned(), ..Status::default() }));
        for (error, wanted, advised) in [
            (
                unreachable,
                "no answer from https://10.0.0.1:6443: connection refused; check that the API",
                false,
            ),
            (answer(401), "no (401); check that the token", false),
            (answer(403), "no (403); let the ServiceAccount get", true),
            (answer(503), "no (503); wait until", false),
        ] {
            let text = Chain(&Error::cluster_id(&error)).to_string();
            assert!(text.contains(wanted), "{text}");
            assert_eq!(text.contains("CLUSTER_ID (--cluster-id)"), advised, "{text}");
        }
    }

    #[test]
    fn causes_are_shown_once() {
        let io = std::io::Error::other("disk full");
        assert_eq!(Chain(&Error::Io(io)).to_string(), "operating system: disk full");
        let status = Status { code: 403, message: "no".to_owned(), ..Status::default() };
        let refused = watcher::Error::WatchStartFailed(kube::Error::Api(Box::new(status)));
        let text = Chain(&refused).to_string();
        assert!(text.ends_with("no (403)") && !text.contains("Status"), "{text}");
    }
}
