//! The one error of this client: what kind of failure it was and what the controller said. Owns the mapping from
//! statuses and texts to kinds; never holds a secret: the callers that create an error have hidden them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::{Class, Failure};

/// What went wrong, as far as a caller has to tell failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// This client's own settings cannot work.
    Config,
    /// No connection to the controller, or it was cut.
    Unreachable,
    /// The controller's certificate is not trusted, or TLS could not be agreed on.
    Tls,
    /// No answer in time.
    Timeout,
    /// The controller, or a proxy in front of it, cannot answer now.
    Unavailable,
    /// The controller refused the credentials, or the account may not be used. The client does not send the same
    /// credentials again.
    Unauthorized,
    /// The account's roles do not allow it.
    Forbidden,
    /// The object, or the tenant of the call, does not exist.
    NotFound,
    /// Several objects have the name.
    Ambiguous,
    /// The name is taken, or the object is in use by another.
    Conflict,
    /// Another client changed the object in between.
    Stale,
    /// The controller does not accept what was asked for.
    Invalid,
    /// The controller is being upgraded and takes no changes.
    Upgrading,
    /// Too many requests, or too many sessions of the account.
    RateLimited,
    /// The call was dropped because this process is ending.
    Canceled,
    /// An answer that could not be understood.
    Protocol,
}

/// Every [`Failure::reason`] of this client.
pub const REASONS: &[&str] = &[
    "AviSettingsInvalid",
    "AviUnreachable",
    "AviCertificateRefused",
    "AviLoginRefused",
    "AviPermissionDenied",
    "AviObjectNotFound",
    "AviNameAmbiguous",
    "AviConflict",
    "AviObjectChanged",
    "AviRequestInvalid",
    "AviUpgrading",
    "AviRateLimited",
    "AviCallCanceled",
];

impl Kind {
    fn class_and_reason(self) -> (Class, &'static str) {
        match self {
            Self::Config => (Class::NeedsHelp, "AviSettingsInvalid"),
            Self::Unreachable | Self::Timeout | Self::Unavailable | Self::Protocol => {
                (Class::Retry, "AviUnreachable")
            }
            Self::Tls => (Class::NeedsHelp, "AviCertificateRefused"),
            Self::Unauthorized => (Class::Refused, "AviLoginRefused"),
            Self::Forbidden => (Class::NeedsHelp, "AviPermissionDenied"),
            Self::NotFound => (Class::NeedsHelp, "AviObjectNotFound"),
            Self::Ambiguous => (Class::NeedsHelp, "AviNameAmbiguous"),
            Self::Conflict => (Class::NeedsHelp, "AviConflict"),
            Self::Stale => (Class::Retry, "AviObjectChanged"),
            Self::Invalid => (Class::NeedsHelp, "AviRequestInvalid"),
            Self::Upgrading => (Class::Retry, "AviUpgrading"),
            Self::RateLimited => (Class::Retry, "AviRateLimited"),
            Self::Canceled => (Class::Retry, "AviCallCanceled"),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Config => "correct the AVI controller's address or CA certificate",
            Self::Unreachable | Self::Timeout => {
                "check the controller's address and port, its load, and the network and firewalls in between"
            }
            Self::Unavailable => "wait until the controller's services are up again; the call is retried",
            Self::Protocol => {
                "check that the address is an AVI controller's and that no proxy answers in its place"
            }
            Self::Tls => {
                "give the CA certificate that signed the controller's certificate, and use the host name the certificate was issued for"
            }
            Self::Unauthorized => {
                "correct user name and password or token, check that the account is not locked or expired"
            }
            Self::Forbidden => "have an AVI administrator give the account a role with the missing privilege",
            Self::NotFound => "check the name and the tenant, and that the object has not been removed",
            Self::Ambiguous => "rename all but one of the objects of that name, or name the cloud",
            Self::Conflict => "rename or remove the other object, or what still uses this one",
            Self::Stale => "the call is retried with the newest state of the object",
            Self::Invalid => "correct the value that the controller refused",
            Self::Upgrading => "wait until the controller's upgrade has ended",
            Self::RateLimited => "the call is retried more slowly",
            Self::Canceled => "the process is ending, and cancels its calls",
        }
    }
}

/// A failed call. Cheap to clone.
///
/// ```no_run
/// # use infra_clients::avi::{Api, POOL};
/// # use infra_clients::{Class, Failure};
/// # use std::time::Duration;
/// # async fn example(api: Api) -> Option<Duration> {
/// match api.delete(POOL, "pool-1").await {
///     Ok(_) => None,
///     Err(error) => match error.class() {
///         Class::Retry => Some(error.retry_after().unwrap_or(Duration::from_secs(5))),
///         // The client sends refused credentials once in a lock period.
///         Class::Refused => error.retry_after(),
///         Class::NeedsHelp => {
///             eprintln!("{error}: {}", error.remedy());
///             None
///         }
///     },
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct Error(Arc<Repr>);

#[derive(Clone)]
struct Repr {
    kind: Kind,
    status: Option<u16>,
    text: String,
    call: Option<String>,
    retry_after: Option<Duration>,
    in_doubt: bool,
    repeatable: bool,
    /// Whether the text is the controller's own.
    said: bool,
}

/// Longest text of the controller that is kept, in bytes.
const LONGEST_TEXT: usize = 512;

impl Error {
    /// Creates an error that is not an answer of the controller.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self(Arc::new(Repr {
            kind,
            status: None,
            text: truncated(text.into()),
            call: None,
            retry_after: None,
            in_doubt: false,
            repeatable: false,
            said: false,
        }))
    }

    /// Creates the error of an answer that is a refusal. `said` is the controller's text, or `None` if something else
    /// answered.
    pub(super) fn refusal(status: u16, said: Option<&str>, retry_after: Option<Duration>) -> Self {
        let said = said.map(str::trim).filter(|said| !said.is_empty());
        let text = said.map_or_else(|| format!("HTTP {status}"), |said| said.replace(char::is_control, " "));
        Self::new(kind_of(status, said), text).with(|repr| {
            repr.status = Some(status);
            repr.retry_after = retry_after;
            repr.said = said.is_some();
            // 429 comes before the work; the others may come from a server or a gateway that had begun it.
            repr.in_doubt = matches!(status, 500 | 502..=599);
        })
    }

    fn with(mut self, change: impl FnOnce(&mut Repr)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Adds method and path of the call.
    pub(super) fn in_call(self, method: &http::Method, path: &str) -> Self {
        self.with(|repr| {
            repr.call = Some(format!("{method} {path}"));
            // A read has no effect to be in doubt about.
            repr.in_doubt &= !method.is_safe();
        })
    }

    pub(super) fn doubtful(self) -> Self {
        self.with(|repr| repr.in_doubt = true)
    }

    /// Returns it as the failure of something before the call, which was never sent.
    pub(super) fn harmless(self) -> Self {
        self.with(|repr| repr.in_doubt = false)
    }

    /// Returns it as that of a connection that broke before an answer began: a read may be sent again at once.
    pub(super) fn broken_connection(self) -> Self {
        self.with(|repr| repr.repeatable = true)
    }

    /// Returns the same failure, which a retry before that time meets again.
    pub(super) fn after(self, pause: Duration) -> Self {
        self.with(|repr| repr.retry_after = Some(pause))
    }

    pub(super) fn with_status(self, status: u16) -> Self {
        self.with(|repr| repr.status = Some(status))
    }

    /// The same failure as another kind.
    pub(super) fn of_kind(self, kind: Kind) -> Self {
        self.with(|repr| repr.kind = kind)
    }

    /// Returns what kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns the HTTP status, if there was an answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Returns what the controller said, or what happened instead; at most 512 bytes, secrets replaced by `***`.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns method and path of the call that failed; none for errors before any call.
    #[must_use]
    pub fn call(&self) -> Option<&str> {
        self.0.call.as_deref()
    }

    /// Returns whether the controller does not know the session.
    pub(super) fn expired(&self) -> bool {
        matches!(self.0.status, Some(401 | 419))
    }

    /// Returns whether the controller itself, and not a proxy, refused what was asked for.
    pub(super) fn is_refusal(&self) -> bool {
        self.0.said && matches!(self.0.kind, Kind::Unauthorized | Kind::Forbidden | Kind::Invalid)
    }

    pub(super) fn repeatable(&self) -> bool {
        self.0.repeatable
    }

    /// Returns whether the object itself, and not its tenant or the whole API, does not exist.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.kind == Kind::NotFound && self.0.status == Some(404) && !no_tenant(&self.0.text)
    }
}

fn truncated(mut text: String) -> String {
    if text.len() > LONGEST_TEXT {
        let end = (0..=LONGEST_TEXT - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

/// Returns the kind of a refusal. Only this function looks at the controller's texts: where one status means several
/// things, or where the status for a case is not known.
fn kind_of(status: u16, said: Option<&str>) -> Kind {
    let says = |words: &str| said.is_some_and(|said| contains(said, words));
    match status {
        400..=499 if says("disallowed during upgrade") => Kind::Upgrading,
        400 | 403 | 409 | 412 | 422
            if says("Concurrent Update Error") || says("Need to reload object data") =>
        {
            Kind::Stale
        }
        400 | 403 | 409 | 422 if says("already exist") => Kind::Conflict,
        400 | 403 | 409 | 422 if says("object is referred by") => Kind::Conflict,
        400 | 401 | 403 if says("concurrent session") || says("maximum number of sessions") => {
            Kind::RateLimited
        }
        401 | 419 => Kind::Unauthorized,
        400 | 403 if said.is_some_and(no_tenant) => Kind::NotFound,
        // An answer that is not the controller's says nothing about account and object: a proxy sent it, or a
        // controller that is starting.
        403 if said.is_some() => Kind::Forbidden,
        404 if said.is_some() => Kind::NotFound,
        409 => Kind::Conflict,
        412 => Kind::Stale,
        429 => Kind::RateLimited,
        400 | 405 | 406 | 411 | 413..=415 | 422 | 501 => Kind::Invalid,
        408 | 500 | 502..=599 => Kind::Unavailable,
        _ => Kind::Protocol,
    }
}

/// Returns whether a refusal passes with time.
fn passing(said: &str) -> bool {
    contains(said, "No available free IPs") || no_tenant(said)
}

/// Returns whether the tenant of the call does not exist, which says nothing about the object.
fn no_tenant(said: &str) -> bool {
    contains(said, "Tenant") && contains(said, "does not exist")
}

fn contains(text: &str, words: &str) -> bool {
    text.as_bytes().windows(words.len()).any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}

impl From<crate::SettingError> for Error {
    fn from(error: crate::SettingError) -> Self {
        Self::new(Kind::Config, error.to_string())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(call) = &self.0.call {
            write!(f, "{call}: ")?;
        }
        f.write_str(&self.0.text)?;
        match self.0.status {
            Some(status) if self.0.text != format!("HTTP {status}") => write!(f, " (HTTP {status})"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.0.kind)?;
        if self.0.in_doubt {
            f.write_str(" in doubt")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

impl Failure for Error {
    fn reason(&self) -> &'static str {
        self.0.kind.class_and_reason().1
    }

    fn remedy(&self) -> &'static str {
        self.0.kind.remedy()
    }

    /// Returns the class of the kind. Some refusals pass with time although the request stays the same: no address is
    /// free, the tenant was created a moment ago.
    fn class(&self) -> Class {
        if passing(&self.0.text) { Class::Retry } else { self.0.kind.class_and_reason().0 }
    }

    /// What the controller asked for (`Retry-After`), at most an hour; after a refused login the rest of
    /// [`Config::lock_period`](super::Config::lock_period).
    fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    fn in_doubt(&self) -> bool {
        self.0.in_doubt
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const KINDS: [Kind; 16] = [
        Kind::Config,
        Kind::Unreachable,
        Kind::Tls,
        Kind::Timeout,
        Kind::Unavailable,
        Kind::Unauthorized,
        Kind::Forbidden,
        Kind::NotFound,
        Kind::Ambiguous,
        Kind::Conflict,
        Kind::Stale,
        Kind::Invalid,
        Kind::Upgrading,
        Kind::RateLimited,
        Kind::Canceled,
        Kind::Protocol,
    ];

    #[test]
    fn kinds() {
        for (status, said, kind) in [
            (
                400,
                "Cannot use Role R with access to Controller, Role, Tenant or User in non-admin tenant",
                Kind::Invalid,
            ),
            (400, "User with this Username already exist", Kind::Conflict),
            (401, "Invalid credentials", Kind::Unauthorized),
            (401, "CSRF token missing or incorrect.", Kind::Unauthorized),
            (403, "User 'u' is not authorized to read on resource R in tenant T", Kind::Forbidden),
            (403, "Tenant 'T' does not exist!", Kind::NotFound),
            (403, "Configuration is disallowed during upgrade", Kind::Upgrading),
            (403, "Cannot delete, object is referred by: ['VirtualService v']", Kind::Conflict),
            (404, "Network object not found!", Kind::NotFound),
            (405, "Method 'DELETE' not allowed.", Kind::Invalid),
            (409, "Pool with name p already exists", Kind::Conflict),
            (412, "Concurrent Update Error", Kind::Stale),
            (419, "", Kind::Unauthorized),
            (429, "", Kind::RateLimited),
            (500, "", Kind::Unavailable),
            (503, "", Kind::Unavailable),
            (302, "", Kind::Protocol),
        ] {
            let error = Error::refusal(status, Some(said), None);
            assert_eq!(error.kind(), kind, "{error:?}");
            assert_eq!(error.status(), Some(status));
        }
        for status in [403, 404] {
            assert_eq!(
                Error::refusal(status, None, None).kind(),
                Kind::Protocol,
                "a proxy's word proves nothing"
            );
        }
    }

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
    fn some_refusals_pass() {
        assert_eq!(Error::refusal(400, Some("No available free IPs"), None).class(), Class::Retry);
        assert_eq!(Error::refusal(400, Some("bad value"), None).class(), Class::NeedsHelp);
        assert_eq!(Error::refusal(401, Some("Invalid credentials"), None).class(), Class::Refused);
        assert_eq!(Error::refusal(503, None, None).class(), Class::Retry);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let error = Error::refusal(400, Some(&"é".repeat(1000)), None);
        assert!(error.text().len() <= LONGEST_TEXT && error.text().ends_with("é…"), "{}", error.text());
    }
}
