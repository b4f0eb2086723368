//! The one error of this module: what kind of failure it was, and in whose words. Owns the mapping from Kubernetes'
//! answers to kinds; never looks at message texts.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::{Class, Failure};

/// Most characters that are kept of a message of another server.
const MESSAGE: usize = 1000;

/// What went wrong, as far as a caller has to tell failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The cluster does not serve the API, or no version of it that this module knows, or not the version any more
    /// that it served at discovery.
    NotInstalled,
    /// No connection to the API server, or it was cut.
    Unreachable,
    /// The API server's certificate is not trusted, or TLS could not be agreed on.
    Tls,
    /// No answer in time.
    Timeout,
    /// The API server answers that it cannot serve now (HTTP 500, 503, 504).
    Unavailable,
    /// Too many requests; [`Failure::retry_after`] may say how long to wait.
    RateLimited,
    /// The credentials are refused.
    Unauthorized,
    /// The credentials are known and not allowed to do this.
    Forbidden,
    /// The object does not exist: the API server says so of exactly this object.
    NotFound,
    /// The object was changed since it was read, or exists already.
    Conflict,
    /// The API server refused what was asked for.
    Invalid,
    /// The fields of an object contradict each other, or are of another type than was asked for.
    InvalidSpec,
    /// Cluster API has not written the Cluster's kubeconfig Secret yet.
    NoKubeconfig,
    /// The kubeconfig Secret exists and cannot, or must not, be used.
    BadKubeconfig,
    /// The client was created from a kubeconfig that has been replaced or removed since: get a new client.
    Replaced,
    /// An answer that could not be understood.
    Protocol,
}

/// Every [`Failure::reason`] of this client.
pub const REASONS: &[&str] = &[
    "ClusterApiNotInstalled",
    "ClusterUnreachable",
    "ClusterCertificateRefused",
    "ClusterRateLimited",
    "ClusterLoginRefused",
    "ClusterPermissionDenied",
    "ClusterObjectNotFound",
    "ClusterObjectChanged",
    "ClusterRequestInvalid",
    "ClusterObjectInvalid",
    "ClusterKubeconfigMissing",
    "ClusterKubeconfigInvalid",
    "ClusterKubeconfigReplaced",
];

impl Kind {
    fn class_and_reason(self) -> (Class, &'static str) {
        match self {
            Self::NotInstalled => (Class::NeedsHelp, "ClusterApiNotInstalled"),
            Self::Unreachable | Self::Timeout | Self::Unavailable | Self::Protocol => {
                (Class::Retry, "ClusterUnreachable")
            }
            Self::Tls => (Class::NeedsHelp, "ClusterCertificateRefused"),
            Self::RateLimited => (Class::Retry, "ClusterRateLimited"),
            Self::Unauthorized => (Class::Refused, "ClusterLoginRefused"),
            Self::Forbidden => (Class::NeedsHelp, "ClusterPermissionDenied"),
            Self::NotFound => (Class::NeedsHelp, "ClusterObjectNotFound"),
            Self::Conflict => (Class::Retry, "ClusterObjectChanged"),
            Self::Invalid => (Class::NeedsHelp, "ClusterRequestInvalid"),
            Self::InvalidSpec => (Class::NeedsHelp, "ClusterObjectInvalid"),
            Self::NoKubeconfig => (Class::Retry, "ClusterKubeconfigMissing"),
            Self::BadKubeconfig => (Class::NeedsHelp, "ClusterKubeconfigInvalid"),
            Self::Replaced => (Class::Retry, "ClusterKubeconfigReplaced"),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::NotInstalled => {
                "install what serves this API (Cluster API, or the provider, in v1beta1 or v1beta2); where it was upgraded, restart the operator"
            }
            Self::Unreachable => {
                "check that the cluster's control plane runs and can be reached from the operator's pod"
            }
            Self::Timeout => "check the cluster's control plane and the network to it; the call is retried",
            Self::Unavailable => {
                "the API server is overloaded or starting; the call is retried, and if that lasts, check its log"
            }
            Self::Protocol => {
                "check that it is a Kubernetes API server that answers, and no proxy in its place"
            }
            Self::Tls => {
                "check the certificate authority in the cluster's kubeconfig Secret, and what answers at its address"
            }
            Self::RateLimited => {
                "the API server is overloaded; the call is retried, and if that lasts, check its load"
            }
            Self::Unauthorized => {
                "check that the cluster's kubeconfig Secret holds credentials that are still valid"
            }
            Self::Forbidden => "grant the operator the right that the message names",
            Self::NotFound => "check the name, and that the object has not been removed",
            Self::Conflict => "the object is read again and the call retried",
            Self::Invalid => "correct the value that the API server refused",
            Self::InvalidSpec => "correct the field that the message names",
            Self::NoKubeconfig => {
                "wait until the control plane is initialized: Cluster API writes the Secret then"
            }
            Self::BadKubeconfig => {
                "correct the cluster's kubeconfig Secret, with everything it needs inside it"
            }
            Self::Replaced => "the call is retried with the present kubeconfig",
        }
    }
}

/// A failed call, or an object that contradicts itself. Cheap to clone; never holds credentials.
#[derive(Clone)]
pub struct Error(Arc<Repr>);

#[derive(Clone)]
struct Repr {
    kind: Kind,
    message: String,
    retry_after: Option<Duration>,
    in_doubt: bool,
}

impl Error {
    /// Creates an error that is not an answer of an API server.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Repr { kind, message: message.into(), retry_after: None, in_doubt: false }))
    }

    pub(super) fn after(mut self, pause: Duration) -> Self {
        Arc::make_mut(&mut self.0).retry_after = Some(pause);
        self
    }

    /// Returns the same failure, with its subject in front of the message.
    pub(super) fn about(mut self, subject: impl fmt::Display) -> Self {
        let repr = Arc::make_mut(&mut self.0);
        repr.message = format!("{subject}: {}", repr.message);
        self
    }

    /// Returns what kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the same failure of a request that may have taken effect.
    pub(super) fn doubtful(mut self) -> Self {
        Arc::make_mut(&mut self.0).in_doubt = true;
        self
    }

    /// Returns the same failure of a request that changes nothing, or that was never sent.
    pub(super) fn harmless(mut self) -> Self {
        Arc::make_mut(&mut self.0).in_doubt = false;
        self
    }

    /// Returns the error of a call that only read.
    pub(super) fn of_read(error: kube::Error) -> Self {
        Self::from(error).harmless()
    }

    /// Creates an error from a failed connection: the most specific kind in the chain of errors, and its texts.
    pub(super) fn of_connection(error: &(dyn StdError + 'static)) -> Self {
        let mut kind = Kind::Unreachable;
        let mut sent = true;
        let mut texts: Vec<String> = Vec::new();
        let mut link = Some(error);
        while let Some(cause) = link {
            if let Some(ours) = cause.downcast_ref::<Self>() {
                return ours.clone();
            }
            if cause.is::<rustls::Error>() {
                kind = Kind::Tls;
                sent = false;
            }
            let failure = cause.downcast_ref::<io::Error>();
            if failure.is_some_and(|failure| failure.kind() == io::ErrorKind::TimedOut) {
                kind = Kind::Timeout;
            }
            if failure.is_some_and(|failure| failure.kind() == io::ErrorKind::ConnectionRefused) {
                sent = false;
            }
            let text = cause.to_string();
            if !texts.last().is_some_and(|before| before.ends_with(&text)) {
                texts.push(text);
            }
            // source() of an I/O error skips the inner error.
            let inner = failure.and_then(io::Error::get_ref).map(|inner| inner as &(dyn StdError + 'static));
            link = inner.or_else(|| cause.source());
        }
        let error = Self::new(kind, texts.join(": "));
        if sent { error.doubtful() } else { error }
    }
}

impl From<kube::Error> for Error {
    /// Converts also an error of a [`Client`](kube::Client) that [`WorkloadClients`](super::WorkloadClients) created
    /// back to this type.
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => {
                let missing = status.details.as_ref().is_none_or(|details| details.name.is_empty());
                if status.code == 404 && missing {
                    let message = brief(status.message);
                    return Self::new(
                        Kind::NotInstalled,
                        format!("the API server knows no such API: {message}"),
                    );
                }
                let pause = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let mut error = Self::new(kind_of(status.code), brief(status.message));
                if matches!(error.kind(), Kind::Unavailable | Kind::Protocol) {
                    error = error.doubtful();
                }
                if pause == 0 { error } else { error.after(Duration::from_secs(pause.into())) }
            }
            kube::Error::SerdeError(error) => Self::new(Kind::Protocol, error.to_string()).doubtful(),
            kube::Error::Service(error) => Self::of_connection(&*error),
            kube::Error::HyperError(error) => Self::of_connection(&error),
            kube::Error::ReadEvents(error) => Self::of_connection(&error),
            other => Self::new(Kind::Protocol, other.to_string()).doubtful(),
        }
    }
}

/// Returns the beginning of a text: if the answer is not an API server's, it is a whole page.
fn brief(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE) {
        text.truncate(end);
        text.push('…');
    }
    text
}

fn kind_of(status: u16) -> Kind {
    match status {
        401 => Kind::Unauthorized,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        // 410: the version that a read continues from is not kept any more.
        409 | 410 => Kind::Conflict,
        429 => Kind::RateLimited,
        400..500 => Kind::Invalid,
        500..600 => Kind::Unavailable,
        _ => Kind::Protocol,
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("retry_after", &self.0.retry_after)
            .field("in_doubt", &self.0.in_doubt)
            .finish()
    }
}

impl StdError for Error {}

impl Failure for Error {
    fn reason(&self) -> &'static str {
        self.0.kind.class_and_reason().1
    }

    fn remedy(&self) -> &'static str {
        self.0.kind.remedy()
    }

    fn class(&self) -> Class {
        self.0.kind.class_and_reason().0
    }

    /// Returns what the server asked for, or the rest of the time for which an unreachable cluster is not asked.
    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// A [`kube::Error`] does not say which call it was: an error made from one answers as for a write. Callers of a
    /// read ignore it.
    fn in_doubt(&self) -> bool {
        self.0.in_doubt
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use kube::core::Status;
    use serde_json::json;

    use super::*;

    const KINDS: [Kind; 16] = [
        Kind::NotInstalled,
        Kind::Unreachable,
        Kind::Tls,
        Kind::Timeout,
        Kind::Unavailable,
        Kind::RateLimited,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Invalid,
        Kind::InvalidSpec,
        Kind::NoKubeconfig,
        Kind::BadKubeconfig,
        Kind::Replaced,
        Kind::Protocol,
    ];

    #[test]
    fn reasons_are_listed_and_used() {
        let used: BTreeSet<_> = KINDS.map(|kind| Error::new(kind, "").reason()).into();
        assert_eq!(used, REASONS.iter().copied().collect());
    }

    /// A remedy follows `what is wrong: ` and says what is done, also where a person has to do nothing.
    #[test]
    fn remedies_complete_the_sentence() {
        for kind in KINDS {
            let remedy = kind.remedy();
            assert!(!remedy.contains("nothing"), "{kind:?}: {remedy}");
        }
    }

    #[test]
    fn answers_have_a_kind() {
        let cases = [
            (400, Kind::Invalid, false),
            (401, Kind::Unauthorized, false),
            (403, Kind::Forbidden, false),
            // Without the name of an object.
            (404, Kind::NotInstalled, false),
            (409, Kind::Conflict, true),
            (410, Kind::Conflict, true),
            (422, Kind::Invalid, false),
            (429, Kind::RateLimited, true),
            (500, Kind::Unavailable, true),
            (503, Kind::Unavailable, true),
        ];
        for (code, kind, retryable) in cases {
            let error = Error::from(kube::Error::Api(Box::new(Status::failure("no", "No").with_code(code))));
            assert_eq!((error.kind(), error.class() == Class::Retry), (kind, retryable), "{code}");
            assert!(error.to_string().ends_with("no"), "{error}");
        }
    }

    fn answer(status: &serde_json::Value) -> kube::Error {
        kube::Error::Api(Box::new(serde_json::from_value(status.clone()).unwrap()))
    }

    #[test]
    fn an_object_is_gone_only_if_the_api_server_says_so_of_it() {
        let gone = json!({
            "status": "Failure", "reason": "NotFound", "code": 404, "message": "clusters \"c\" not found",
            "details": {"name": "c", "group": "cluster.x-k8s.io", "kind": "clusters"},
        });
        assert_eq!(Error::from(answer(&gone)).kind(), Kind::NotFound);
        let page = json!({"status": "Failure", "reason": "Failed to parse error data", "code": 404, "message": "ä".repeat(5000)});
        let error = Error::from(answer(&page));
        assert_eq!((error.kind(), error.class() == Class::Retry), (Kind::NotInstalled, false));
        assert!(error.to_string().chars().count() < 1100, "{error}");
    }

    #[test]
    fn connections_fail_in_the_words_of_their_cause() {
        let tls = || io::Error::other(rustls::Error::HandshakeNotComplete);
        let cases = [
            (tls(), Kind::Tls),
            (io::Error::other(tls()), Kind::Tls),
            (io::Error::new(io::ErrorKind::TimedOut, "deadline"), Kind::Timeout),
            (io::Error::new(io::ErrorKind::ConnectionRefused, "refused"), Kind::Unreachable),
        ];
        for (cause, kind) in cases {
            let text = cause.to_string();
            let error = Error::from(kube::Error::Service(Box::new(cause)));
            assert_eq!((error.kind(), error.to_string()), (kind, text));
        }
        let ours = Error::new(Kind::Replaced, "old").after(Duration::from_secs(1));
        let back = Error::from(kube::Error::Service(Box::new(ours)));
        assert_eq!((back.kind(), back.retry_after()), (Kind::Replaced, Some(Duration::from_secs(1))));
    }
}
