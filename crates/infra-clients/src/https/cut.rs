//! Why no answer came: how far the request got, and the innermost cause in words. Never decides what it means.

use std::error::Error;

/// How far a request without an answer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// TLS could not be agreed on: nothing was sent.
    Tls,
    /// No connection, or it ended before the request was begun: nothing was sent.
    Connect,
    /// It was, or may have been, sent.
    Sent,
}

/// A request without an answer.
pub(crate) struct Cut {
    pub(crate) stage: Stage,
    /// It took too long.
    pub(crate) timeout: bool,
    /// For people.
    pub(crate) message: String,
}

impl Cut {
    pub(crate) fn of(error: &reqwest::Error) -> Self {
        let (mut tls, mut closed, mut unsent, mut cause) = (None, false, error.is_builder(), None);
        let mut source = error.source();
        while let Some(error) = source {
            tls = tls.or_else(|| tls_error(error));
            // So hyper says that not one byte of a request was written.
            unsent |= error.downcast_ref().is_some_and(hyper::Error::is_canceled);
            let io = error.downcast_ref::<std::io::Error>();
            closed |= io.is_some_and(|io| io.kind() == std::io::ErrorKind::UnexpectedEof);
            // Only the innermost says what happened; the others where in the stack.
            cause = Some(error.to_string());
            source = error.source();
        }
        let cause = cause.unwrap_or_else(|| "unknown cause".to_owned());
        // Until it is connected nothing has been sent.
        let (stage, message) = match tls {
            Some(tls) if error.is_connect() => (Stage::Tls, tls_words(tls)),
            None if error.is_connect() => (Stage::Connect, format!("cannot connect: {cause}")),
            _ if unsent => (Stage::Connect, format!("it was not sent: {cause}")),
            _ if closed => (Stage::Sent, "the connection was cut: closed by the other side".to_owned()),
            _ => (Stage::Sent, format!("the connection was cut: {cause}")),
        };
        Self { stage, timeout: error.is_timeout(), message }
    }
}

/// The TLS error, in however many I/O errors it is wrapped.
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
