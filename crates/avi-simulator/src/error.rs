//! Error responses: a status and a body in one of three shapes.

/// An error response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: ErrorBody,
}

/// The shapes of error bodies that controllers send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ErrorBody {
    /// `{"error": "…"}`: almost all errors.
    Error(String),
    /// `{"detail": "…"}`: method not allowed.
    Detail(String),
    /// Plain text with a JSON content type: wrong CSRF token.
    Raw(String),
}

impl ApiError {
    /// Creates `{"error": text}` with `status`.
    #[must_use]
    pub fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, body: ErrorBody::Error(text.into()) }
    }

    /// Creates a 405 for `method`.
    #[must_use]
    pub fn method_not_allowed(method: &str) -> Self {
        Self { status: 405, body: ErrorBody::Detail(format!("Method '{method}' not allowed.")) }
    }

    /// Creates a 412 for an object that another client has written since it was read, with the text that AKO looks for.
    /// `model` is the kind's model, for example `VsVip`.
    #[must_use]
    pub fn stale(model: &str, name: &str) -> Self {
        Self::new(
            412,
            format!(
                "Concurrent Update Error: {model} {name} has changed. Need to reload object data {model}"
            ),
        )
    }

    /// Returns the text of the body.
    #[must_use]
    pub fn text(&self) -> &str {
        match &self.body {
            ErrorBody::Error(text) | ErrorBody::Detail(text) | ErrorBody::Raw(text) => text,
        }
    }
}
