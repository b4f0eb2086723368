//! Reports every exchange with the controller to an observer. Owns no metric.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One request and its answer, or that there was none.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// `login`, `logout`, or the kind of object: `network`. A small set, fit for a label.
    pub resource: &'a str,
    /// The HTTP status; none if no answer came.
    pub status: Option<u16>,
    /// From sending to the end of the answer; the wait for the limit on calls is not included.
    pub elapsed: Duration,
}

/// Receives every exchange. Must not block.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Exchange<'_>) + Send + Sync>);

impl Observer {
    /// Creates an observer that calls a function.
    pub fn new(hear: impl Fn(&Exchange<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(super) fn hear(&self, exchange: &Exchange<'_>) {
        (self.0)(exchange);
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
