//! What the controller answers instead of what was asked for: a status and one of its three body shapes.

/// A refusal, as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: ErrorBody,
}

/// The shapes of error bodies seen on controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorBody {
    /// `{"error": "…"}`: almost all.
    Error(String),
    /// `{"detail": "…"}`: method not allowed.
    Detail(String),
    /// The bare text under a JSON content type: wrong CSRF token.
    Raw(String),
}

impl ApiError {
    /// `{"error": text}` with `status`.
    #[must_use]
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, body: ErrorBody::Error(text.into()) }
    }

    /// 405 for `method`.
    #[must_use]
    pub fn method_not_allowed(method: &str) -> Self {
        Self { status: 405, body: ErrorBody::Detail(format!("Method '{method}' not allowed.")) }
    }

    /// 412 for an object that somebody else has written since it was read, in the words AKO looks for. `model` is
    /// `VsVip`.
    #[must_use]
    pub fn stale(model: &str, name: &str) -> Self {
        Self::new(
            412,
            format!(
                "Concurrent Update Error: {model} {name} has changed. Need to reload object data {model}"
            ),
        )
    }

    /// The text of the body.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.body {
            ErrorBody::Error(text) | ErrorBody::Detail(text) | ErrorBody::Raw(text) => text,
        }
    }
}
