//! The one error of downloads: what kind of failure it was, of which address, and what a person can do.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use super::Address;
use crate::failure::{Class, Failure};

/// What went wrong, as far as a caller has to tell failures apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// No connection, or it was cut.
    Unreachable,
    /// The server's certificate is not trusted, or TLS could not be agreed on.
    Tls,
    /// Not all of it came in time.
    Timeout,
    /// The server cannot answer now.
    Unavailable,
    /// The server wants other credentials, or any.
    Refused,
    /// There is nothing at the address.
    NotFound,
    /// It is larger than allowed.
    TooLarge,
    /// The server leads elsewhere, where a download does not follow.
    Redirect,
    /// What came is not what was announced or asked for.
    Corrupt,
}

/// Every [`Failure::reason`] of downloads.
pub const REASONS: &[&str] = &[
    "DownloadUnreachable",
    "DownloadCertificateRefused",
    "DownloadRefused",
    "DownloadNotFound",
    "DownloadInvalid",
];

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Unreachable,
        Self::Tls,
        Self::Timeout,
        Self::Unavailable,
        Self::Refused,
        Self::NotFound,
        Self::TooLarge,
        Self::Redirect,
        Self::Corrupt,
    ];

    fn class_and_reason(self) -> (Class, &'static str) {
        match self {
            Self::Unreachable | Self::Timeout | Self::Unavailable => (Class::Retry, "DownloadUnreachable"),
            Self::Tls => (Class::NeedsHelp, "DownloadCertificateRefused"),
            Self::Refused => (Class::NeedsHelp, "DownloadRefused"),
            Self::NotFound => (Class::NeedsHelp, "DownloadNotFound"),
            Self::TooLarge | Self::Redirect | Self::Corrupt => (Class::NeedsHelp, "DownloadInvalid"),
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "check the address, its DNS name, the proxy, and the network and firewalls in between; or use a ConfigMap or a directory"
            }
            Self::Tls => {
                "use the host name that the certificate was issued for, and a certificate of an authority that the system trusts"
            }
            Self::Timeout => "check the server's load and the network; the download is retried",
            Self::Unavailable => "wait until the server is up again; the download is retried",
            Self::Refused => "name a Secret with credentials that may read it, or make it readable for all",
            Self::NotFound => "correct the address, or publish the file there",
            Self::TooLarge => "name the manifest itself, not an archive",
            Self::Redirect => "write the address that the redirect leads to, with https",
            Self::Corrupt => {
                "check that the address is that of the file, and that no proxy answers in its place"
            }
        }
    }
}

/// A failed download.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    address: String,
    message: String,
}

impl Error {
    pub(super) fn new(kind: Kind, address: &Address, message: impl Into<String>) -> Self {
        Self { kind, address: address.to_string(), message: message.into() }
    }

    pub(super) fn of_status(address: &Address, status: StatusCode) -> Self {
        let kind = match status.as_u16() {
            401 | 403 | 407 => Kind::Refused,
            404 | 410 => Kind::NotFound,
            408 | 425 | 429 | 500..=599 => Kind::Unavailable,
            _ => Kind::Corrupt,
        };
        Self::new(kind, address, format!("the server answers with HTTP {status}"))
    }

    /// Returns what kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl Failure for Error {
    fn reason(&self) -> &'static str {
        self.kind.class_and_reason().1
    }

    fn remedy(&self) -> &'static str {
        self.kind.remedy()
    }

    fn class(&self) -> Class {
        self.kind.class_and_reason().0
    }

    fn retry_after(&self) -> Option<Duration> {
        None
    }

    fn in_doubt(&self) -> bool {
        false
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot download {}: {}", self.address, self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reasons_are_listed_and_used() {
        let used: BTreeSet<_> = Kind::ALL.iter().map(|kind| kind.class_and_reason().1).collect();
        assert_eq!(used, REASONS.iter().copied().collect());
    }

    #[test]
    fn statuses_have_kinds() {
        let address = "https://host/a?sig=x".parse().unwrap();
        for (status, kind, class) in [
            (401, Kind::Refused, Class::NeedsHelp),
            (403, Kind::Refused, Class::NeedsHelp),
            (404, Kind::NotFound, Class::NeedsHelp),
            (429, Kind::Unavailable, Class::Retry),
            (503, Kind::Unavailable, Class::Retry),
            (400, Kind::Corrupt, Class::NeedsHelp),
        ] {
            let error = Error::of_status(&address, StatusCode::from_u16(status).unwrap());
            assert_eq!((error.kind(), error.class(), error.in_doubt()), (kind, class, false), "{status}");
            assert!(
                error.to_string().starts_with("cannot download https://host/a: the server answers with HTTP")
            );
        }
    }
}
