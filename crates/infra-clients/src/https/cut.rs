//! Why there is no answer: how far the request got, and the innermost cause as text. Never decides what that means.

use std::error::Error;

/// How far a request without an answer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// TLS could not be agreed on: nothing was sent.
    Tls,
    /// No connection, or it ended before a byte of the request was written: nothing was sent.
    Connect,
    /// The request was sent, or may have been.
    Sent,
}

/// A request without an answer.
pub(crate) struct Cut {
    pub(crate) stage: Stage,
    /// Whether a time limit was exceeded.
    pub(crate) timeout: bool,
    /// The cause.
    pub(crate) message: String,
}

impl Cut {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let (mut tls, mut closed, mut unsent, mut cause) = (None, false, error.is_builder(), None);
        let mut source = error.source();
        while let Some(error) = source {
            tls = tls.or_else(|| tls_error(error));
            // hyper reports so that no byte of a request was written.
            unsent |= error.downcast_ref().is_some_and(hyper::Error::is_canceled);
            let io = error.downcast_ref::<std::io::Error>();
            closed |= io.is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof);
            // Only the innermost error says what happened; the others name the layers.
            cause = Some(error.to_string());
            source = error.source();
        }
        let cause = cause.unwrap_or_else(|| "unknown cause".to_owned());
        // Nothing is sent before there is a connection.
        let (stage, message) = match tls {
            Some(tls) if error.is_connect() => (Stage::Tls, tls_words(tls)),
            None if error.is_connect() => (Stage::Connect, format!("cannot connect: {cause}")),
            _ if unsent => (Stage::Connect, format!("it was not sent: {cause}")),
            _ if closed => (Stage::Sent, "the connection was cut: closed by the server".to_owned()),
            _ => (Stage::Sent, format!("the connection was cut: {cause}")),
        };
        Self { stage, timeout: error.is_timeout(), message }
    }
}

/// Returns the TLS error within any number of I/O errors.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    tls_error(error.downcast_ref::<std::io::Error>()?.get_ref()?)
}

fn tls_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => other.0.to_string(),
        rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer) => {
            "the server's certificate was not issued by a trusted authority".to_owned()
        }
        other => format!("no secure connection: {other}"),
    }
}
