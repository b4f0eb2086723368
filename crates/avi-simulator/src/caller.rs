//! The caller of a request, as the store needs to know it. The server has authenticated it.

use crate::{Rights, Scope, Version};

/// The caller of one authenticated request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account's `username`.
    pub user: String,
    /// The tenant of the request.
    pub scope: Scope,
    /// What the caller may read and write in that scope.
    pub rights: Rights,
    /// The `X-Avi-Version` of the request: request and reply have the shape of that version.
    pub version: Version,
    /// `https://host:port`, without a slash at the end: the start of refs and `next`.
    pub base: String,
    /// Microseconds since 1970: `_last_modified` of the objects that the request writes.
    pub now: u64,
}
