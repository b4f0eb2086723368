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
#[derive(Debug, Clone)]
pub struct Assumptions {
    /// Entries of a page when the request does not say; 25.
    pub default_page_size: usize,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self { default_page_size: 25 }
    }
}
