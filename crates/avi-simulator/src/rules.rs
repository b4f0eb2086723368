//! The rules that can be broken, one at a time, to prove that the tests notice, and the switches for what nobody
//! has seen a real controller do.

use std::collections::BTreeSet;

/// A behaviour of the controller that clients rely on. A simulator started with one of them broken must make a
/// client's test suite fail: that is how the suites are proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// Writes need `X-CSRFToken` and `Referer`.
    Csrf,
    /// A session that expired or was logged out answers 401.
    SessionExpiry,
    /// A name is used once per type and tenant (and cloud).
    UniqueNames,
    /// An object that another refers to cannot be deleted.
    ReferentialIntegrity,
    /// A PUT with a stale `_last_modified` is refused with 412.
    OptimisticLock,
    /// Lists come in pages with `next`.
    Paging,
    /// A lookup sees only the tenant of the request.
    TenantScope,
    /// `name=` selects by the whole name.
    NameFilter,
    /// PATCH `add` appends to lists.
    PatchAdd,
    /// PATCH `delete` removes what matches.
    PatchDelete,
    /// Replies have the shape of the version that was asked for.
    VersionShape,
    /// `Slug` fixes the uuid of a POST.
    Slug,
    /// A wrong password is refused.
    PasswordCheck,
    /// A PUT replaces: fields left out are gone.
    PutReplaces,
    /// What a role does not grant is refused with 403.
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

/// Which rules hold: all, but for those broken on purpose.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    broken: BTreeSet<Rule>,
}

impl Rules {
    /// All rules but this one.
    #[must_use]
    pub fn without(mut self, rule: Rule) -> Self {
        self.broken.insert(rule);
        self
    }

    /// Whether the rule holds.
    #[must_use]
    pub fn holds(&self, rule: Rule) -> bool {
        !self.broken.contains(&rule)
    }
}

/// Behaviour that is inferred, not seen: each a switch, so that a client can be tried against both.
///
#[doc = include_str!("inferred.md")]
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Assumptions {
    /// Entries of a page when the request does not say; 25.
    pub default_page_size: usize,
    /// A page behind the last is refused with 404, as by the framework the controller is said to use; else it is an
    /// empty list. True.
    pub page_behind_last_is_404: bool,
    /// A PUT without `_last_modified` goes through; else it is stale. True.
    pub put_without_last_modified: bool,
    /// The status of "Cannot delete, object is referred by"; 403, which AKO's CRD operator takes for that.
    pub referred_status: u16,
    /// The status of "User with this Username already exist"; 409, as of other names in use.
    pub username_taken_status: u16,
    /// The status of a ref to an object that is not there; 400, which AKO expects of "VrfContext not found".
    pub missing_ref_status: u16,
    /// What a request without a live session is answered; 401. Clients treat 419 the same.
    pub expired_session_status: u16,
    /// What an `X-Avi-Version` above the controller's, or one that is no version, is answered; 400.
    pub invalid_version_status: u16,
    /// What a request over `portal_request_rate_limit` is answered; 429. The other candidate is 503.
    pub rate_limit_status: u16,
    /// What everything but `/api/useraccount` is answered once the password is too old; 403.
    pub credentials_expired_status: u16,
    /// Whether the `Referer` of a write must name the host it is sent to; true. That there is one is certain.
    pub referer_same_origin: bool,
    /// What a login is answered that is refused because the account is locked or inactive; 401.
    pub locked_status: u16,
    /// What a login is answered that would be one session too many; 401.
    pub too_many_sessions_status: u16,
    /// What is answered to a request for an object that exists and that the filters of the caller's roles hide; 403.
    /// With 404 it is answered as if it did not exist.
    pub hidden_status: u16,
    /// Whether an object that has markers, but none of a key that the role's filters name, is unlabelled; false.
    pub unlabelled_is_without_key: bool,
    /// Whether the filters of roles look at an object's `labels` beside its `markers`; false.
    pub labels_count_as_markers: bool,
    /// Whether two clouds of one tenant may each have an object of one name; true. VRF contexts and service engine
    /// groups may in any case: every cloud brings some of the same names.
    pub names_unique_per_cloud: bool,
    /// Whether users are shown with `password: "<sensitive>"`; false, they are shown without.
    pub password_masked_on_get: bool,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            default_page_size: 25,
            page_behind_last_is_404: true,
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
        }
    }
}
