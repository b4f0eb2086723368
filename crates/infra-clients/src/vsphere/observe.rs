//! Reports every call to an observer. Owns no metric.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::Error;

/// One call and how it ended.
#[derive(Debug, Clone, Copy)]
pub struct Exchange<'a> {
    /// The method, such as `CloneVM_Task`: one of about 25 that this client calls.
    pub method: &'static str,
    /// Why there is no answer that can be used.
    pub error: Option<&'a Error>,
    /// From sending to the end of the answer; the wait for the limit on calls is not included.
    pub elapsed: Duration,
}

impl Exchange<'_> {
    /// Returns whether vCenter said that the session of this call has ended.
    #[must_use]
    pub fn is_session_lost(&self) -> bool {
        self.error.is_some_and(Error::is_session_lost)
    }
}

/// Receives every call that was sent, also those that found no session. Must not block.
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
