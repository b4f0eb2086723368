//! The rules that a test can break to prove that a client's suite detects it, and the switches for behaviour that was
//! inferred.

use std::collections::BTreeSet;

/// A behaviour of the controller on which clients rely. If the simulator breaks one, the test suite of a client must
/// fail: that proves the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Writes need `X-CSRFToken` and `Referer`.
    Csrf,
    /// A request with an expired or ended session gets 401.
    SessionExpiry,
    /// A name is unique per kind and tenant (and cloud).
    UniqueNames,
    /// An object to which another object refers cannot be deleted.
    ReferentialIntegrity,
    /// A PUT with a stale `_last_modified` is refused with 412.
    OptimisticLock,
    /// Lists have pages with `next`.
    Paging,
    /// A read returns only objects of the request's tenant.
    TenantScope,
    /// `name=` selects by the complete name.
    NameFilter,
    /// PATCH `add` appends to lists.
    PatchAdd,
    /// PATCH `delete` removes the matching elements.
    PatchDelete,
    /// Replies have the shape of the requested version.
    VersionShape,
    /// The header `Slug` of a POST sets the uuid.
    Slug,
    /// A wrong password is refused.
    PasswordCheck,
    /// A PUT removes the fields that its body lacks.
    PutReplaces,
    /// A request that no role grants gets 403.
    Permissions,
}

impl Rule {
    /// Every rule.
    pub const ALL: &[Rule] = &[
        Rule::Csrf,
        Rule::SessionExpiry,
        Rule::UniqueNames,
        Rule::ReferentialIntegrity,
        Rule::OptimisticLock,
        Rule::Paging,
        Rule::TenantScope,
        Rule::NameFilter,
        Rule::PatchAdd,
        Rule::PatchDelete,
        Rule::VersionShape,
        Rule::Slug,
        Rule::PasswordCheck,
        Rule::PutReplaces,
        Rule::Permissions,
    ];
}

/// The rules in force: all except the broken ones.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    broken: BTreeSet<Rule>,
}

impl Rules {
    /// Breaks a rule.
    #[must_use]
    pub fn without(mut self, rule: Rule) -> Self {
        self.broken.insert(rule);
        self
    }

    /// Returns whether the rule is in force.
    #[must_use]
    pub fn holds(&self, rule: Rule) -> bool {
        !self.broken.contains(&rule)
    }
}

/// Switches for behaviour that was inferred, not observed, so that a client can be tested with both.
///
#[doc = include_str!("inferred.md")]
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "the switches are independent")]
pub struct Assumptions {
    /// The page size of a request without `page_size`; default 25.
    pub default_page_size: usize,
    /// Whether a page after the last gets 404, as in the framework that the controller is said to use; otherwise it is an
    /// empty list. Default true.
    pub page_after_last_is_404: bool,
    /// Whether a PUT without `_last_modified` is accepted; otherwise it is stale. Default true.
    pub put_without_last_modified: bool,
    /// The status of "Cannot delete, object is referred by"; default 403, which AKO's CRD operator expects.
    pub referred_status: u16,
    /// The status of "User with this Username already exist"; default 409, as for other names in use.
    pub username_taken_status: u16,
    /// The status of a ref to an object that does not exist; default 400, which AKO expects with "VrfContext not found".
    pub missing_ref_status: u16,
    /// The status of a request without a live session; default 401. Clients treat 419 the same.
    pub expired_session_status: u16,
    /// The status of an `X-Avi-Version` that is invalid or above the controller's; default 400.
    pub invalid_version_status: u16,
    /// The status of a request above `portal_request_rate_limit`; default 429. The other candidate is 503.
    pub rate_limit_status: u16,
    /// The status of all requests except `/api/useraccount` after the password expired; default 403.
    pub credentials_expired_status: u16,
    /// Whether the `Referer` of a write must name the host of the request; default true. That it must exist is observed.
    pub referer_same_origin: bool,
    /// The status of a login to a locked or inactive account; default 401.
    pub locked_status: u16,
    /// The status of a login above `max_concurrent_sessions`; default 401.
    pub too_many_sessions_status: u16,
    /// The status of a request for an object that the filters of the caller's roles hide; default 403. With 404 the reply
    /// is that for an object that does not exist.
    pub hidden_status: u16,
    /// Whether an object counts as unlabelled if it has markers, but none with a key of the role's filters; default false.
    pub unlabelled_is_without_key: bool,
    /// Whether the filters of roles match an object's `labels` as well as its `markers`; default false.
    pub labels_count_as_markers: bool,
    /// Whether two clouds of a tenant may each have an object of the same name; default true. VRF contexts and service
    /// engine groups always may: each cloud has some of the same names.
    pub names_unique_per_cloud: bool,
    /// Whether users are returned with `password: "<sensitive>"`; default false: without the field.
    pub password_masked_on_get: bool,
    /// Whether a role that may read TENANT can be given in a tenant other than admin, as the vendor's published role for tenants is
    /// meant to; default false: one controller is reported to refuse every access to TENANT there.
    pub tenant_read_in_tenants: bool,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            default_page_size: 25,
            page_after_last_is_404: true,
            put_without_last_modified: true,
            referred_status: 403,
            username_taken_status: 409,
            missing_ref_status: 400,
            expired_session_status: 401,
            invalid_version_status: 400,
            rate_limit_status: 429,
            credentials_expired_status: 403,
            referer_same_origin: true,
            locked_status: 401,
            too_many_sessions_status: 401,
            hidden_status: 403,
            unlabelled_is_without_key: false,
            labels_count_as_markers: false,
            names_unique_per_cloud: true,
            password_masked_on_get: false,
            tenant_read_in_tenants: false,
        }
    }
}
