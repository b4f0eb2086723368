//! Who calls, as the store needs to know it. The server has authenticated them already.

use crate::store::ADMIN;
use crate::{Rights, Version};

/// One authenticated request, seen from the store.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account's `username`.
    pub user: String,
    /// Where the call looks and writes.
    pub scope: Scope,
    /// What it may see and write there.
    pub rights: Rights,
    /// The `X-Avi-Version` of the request: bodies and replies have that version's shape.
    pub version: Version,
    /// `https://host:port`, without a slash at the end: refs and `next` begin with it.
    pub base: String,
    /// Microseconds since 1970: `_last_modified` of what is written.
    pub now: u64,
}

/// The tenant of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One tenant, by its uuid.
    Tenant(String),
    /// `X-Avi-Tenant: *`: reads see every tenant in which the caller may read; what is made goes to `admin`.
    All,
}

impl Scope {
    /// The uuid of the tenant that what is made goes to if it does not say.
    pub(crate) fn home(&self) -> &str {
        match self {
            Scope::Tenant(tenant) => tenant,
            Scope::All => ADMIN,
        }
    }
}
