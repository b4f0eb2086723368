//! Why an AKODeploymentConfig cannot be used as it is, or AKO not be delivered as it asks.

/// What is wrong, and what to do. [`crate::error::Error`] is for what failed; this is for what would be wrong however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The reason, of [`crate::api::reason`].
    pub reason: &'static str,
    /// What is wrong, and what to write or do instead.
    pub message: String,
}
