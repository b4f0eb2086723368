//! The tenant of a request.

/// The uuid of the tenant that always exists.
pub(crate) const ADMIN_TENANT: &str = "admin";

/// The tenant of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One tenant, by its uuid.
    Tenant(String),
    /// `X-Avi-Tenant: *`: a read covers every tenant in which the caller may read; a created object goes to `admin`.
    All,
}

impl Scope {
    /// Returns the uuid of the tenant in which an object is created if its body names none.
    pub(crate) fn home(&self) -> &str {
        match self {
            Scope::Tenant(tenant) => tenant,
            Scope::All => ADMIN_TENANT,
        }
    }
}
