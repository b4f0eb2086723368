//! The rights of a caller: privileges by resource, restricted by labels. The server derives them from the user's roles;
//! the store checks them. Knows neither objects nor users.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Assumptions, Scope};

/// The access level of a privilege.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `NO_ACCESS`.
    None,
    /// `READ_ACCESS`.
    Read,
    /// `WRITE_ACCESS`, which includes reading.
    Write,
}

impl Level {
    /// Parses a level; unknown texts are [`Level::None`].
    fn parse(text: &str) -> Self {
        match text {
            "READ_ACCESS" => Level::Read,
            "WRITE_ACCESS" => Level::Write,
            _ => Level::None,
        }
    }
}

/// The rights of a caller.
#[derive(Debug, Clone)]
pub struct Rights(Option<Arc<Vec<Grant>>>);

impl Rights {
    /// Returns all rights in all tenants.
    #[must_use]
    pub fn all() -> Self {
        Self(None)
    }

    /// Returns the union of the grants.
    #[must_use]
    pub fn of(grants: Vec<Grant>) -> Self {
        Self(Some(Arc::new(grants)))
    }

    /// Returns whether some object of the resource (`PERMISSION_…`) can be accessed in the scope at that level.
    #[must_use]
    pub fn allow(&self, resource: &str, level: Level, scope: &Scope) -> bool {
        self.any_grant(resource, level, |grant| match scope {
            Scope::All => true,
            Scope::Tenant(tenant) => grant.applies_to(tenant),
        })
    }

    /// Returns whether a grant of the level or more satisfies `condition`; true with all rights.
    pub(crate) fn any_grant(&self, resource: &str, level: Level, condition: impl Fn(&Grant) -> bool) -> bool {
        let Some(grants) = &self.0 else { return true };
        grants.iter().any(|grant| grant.level(resource) >= level && condition(grant))
    }

    /// Returns a key that is equal for rights that make the same objects of the resource visible; empty for all rights.
    pub(crate) fn visibility_key(&self, resource: &str) -> String {
        let Some(grants) = &self.0 else { return String::new() };
        let seen = grants.iter().filter(|grant| grant.level(resource) >= Level::Read);
        format!(
            "{:?}",
            seen.map(|grant| (&grant.tenant, &grant.filters, grant.unlabelled)).collect::<Vec<_>>()
        )
    }
}

/// What a role grants in one tenant or in all.
#[derive(Debug, Clone)]
pub struct Grant {
    /// The tenant's uuid; `None`: all tenants.
    tenant: Option<String>,
    /// By resource; a missing one is [`Level::None`].
    levels: BTreeMap<String, Level>,
    /// All of them must match.
    filters: Vec<LabelFilter>,
    /// Whether the filters admit objects without labels.
    unlabelled: bool,
}

impl Grant {
    /// Creates the grant of a role (an object of kind `role`) in a tenant, by uuid; `None`: all tenants.
    #[must_use]
    pub fn of_role(role: &Value, tenant: Option<&str>) -> Self {
        let mut levels = BTreeMap::new();
        for privilege in list(role, "privileges") {
            let level = Level::parse(text(privilege, "type"));
            let highest = levels.entry(text(privilege, "resource").to_owned()).or_insert(level);
            *highest = level.max(*highest);
        }
        let enabled = |filter: &&Value| filter.get("enabled") != Some(&Value::Bool(false));
        Self {
            tenant: tenant.map(str::to_owned),
            levels,
            filters: list(role, "filters").iter().filter(enabled).map(LabelFilter::parse).collect(),
            unlabelled: role.get("allow_unlabelled_access") != Some(&Value::Bool(false)),
        }
    }

    fn level(&self, resource: &str) -> Level {
        self.levels.get(resource).copied().unwrap_or(Level::None)
    }

    /// Returns the tenant's uuid; `None`: all tenants.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// Returns whether the grant applies to a tenant, by uuid.
    pub(crate) fn applies_to(&self, tenant: &str) -> bool {
        self.tenant().is_none_or(|own| own == tenant)
    }

    /// Returns whether the filters admit an object, by its labels.
    pub(crate) fn admits(&self, object: &Map<String, Value>, assumptions: &Assumptions) -> bool {
        if self.filters.is_empty() {
            return true;
        }
        let mut labels: Vec<Label<'_>> = elements(object.get("markers"))
            .iter()
            .map(|marker| {
                (text(marker, "key"), list(marker, "values").iter().filter_map(Value::as_str).collect())
            })
            .collect();
        if assumptions.labels_count_as_markers {
            labels.extend(
                elements(object.get("labels"))
                    .iter()
                    .map(|label| (text(label, "key"), vec![text(label, "value")])),
            );
        }
        if assumptions.unlabelled_is_without_key {
            labels.retain(|(key, _)| self.filters.iter().any(|filter| filter.key == *key));
        }
        if labels.is_empty() {
            self.unlabelled
        } else {
            self.filters.iter().all(|filter| filter.matches(&labels))
        }
    }
}

/// A key and its values, of an object.
type Label<'a> = (&'a str, Vec<&'a str>);

/// One entry of a role's `filters`.
#[derive(Debug, Clone)]
struct LabelFilter {
    key: String,
    /// An object matches with one of these values; if the list is empty, with any.
    values: Vec<String>,
    glob: bool,
    negated: bool,
}

impl LabelFilter {
    fn parse(filter: &Value) -> Self {
        let label = filter.get("match_label").unwrap_or(&Value::Null);
        let operation = text(filter, "match_operation");
        Self {
            key: text(label, "key").to_owned(),
            values: list(label, "values").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            glob: operation.contains("GLOB"),
            negated: operation.contains("NOT"),
        }
    }

    fn matches(&self, labels: &[Label<'_>]) -> bool {
        let equals =
            |wanted: &str, value: &str| if self.glob { matches_glob(wanted, value) } else { wanted == value };
        let hit = labels.iter().filter(|(key, _)| *key == self.key).any(|(_, values)| {
            self.values.is_empty()
                || values.iter().any(|value| self.values.iter().any(|wanted| equals(wanted, value)))
        });
        hit != self.negated
    }
}

/// Returns whether a text matches a pattern in which `*` stands for any text and `?` for any character. The number of
/// steps is at most the product of the lengths.
fn matches_glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // The position of the last `*` in the pattern, and the position in the text from which it matches.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    elements(object.get(field))
}

fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn globs_match_whole_texts() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*b*b", "abab", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("c1-*", "c1-x", true),
            ("c1-*", "c10-x", false),
        ] {
            assert_eq!(matches_glob(pattern, text), expected, "{pattern} {text}");
        }
        assert!(
            !matches_glob(&"*a".repeat(2000), &"a".repeat(1999)),
            "a pattern with many * takes polynomial time"
        );
    }

    #[test]
    fn filters_admit_objects_by_label() {
        let marked = |key: &str, value: &str| json!({"markers": [{"key": key, "values": [value, "also"]}]});
        let (one, two, other) = (marked("cluster", "c1"), marked("cluster", "c2"), marked("team", "c1"));
        let (bare, labelled) = (json!({}), json!({"labels": [{"key": "cluster", "value": "c1"}]}));
        let objects = [&one, &two, &other, &bare, &labelled];
        let filter = |operation: &str, values: &[&str]| json!({"match_operation": operation, "match_label": {"key": "cluster", "values": values}});
        let equals = filter("ROLE_FILTER_EQUALS", &["c1", "c9"]);
        let team = json!({"match_label": {"key": "team"}});
        let mut off = filter("ROLE_FILTER_EQUALS", &["none"]);
        off["enabled"] = json!(false);
        let plain = Assumptions::default();
        let labels = Assumptions { labels_count_as_markers: true, ..Assumptions::default() };
        let by_key = Assumptions { unlabelled_is_without_key: true, ..Assumptions::default() };
        for (role, assumptions, expected) in [
            (json!({}), &plain, [true; 5]),
            (json!({"allow_unlabelled_access": false}), &plain, [true; 5]),
            (json!({"filters": [equals]}), &plain, [true, false, false, true, true]),
            (json!({"filters": [equals, off]}), &plain, [true, false, false, true, true]),
            (json!({"filters": [off], "allow_unlabelled_access": false}), &plain, [true; 5]),
            (
                json!({"filters": [equals], "allow_unlabelled_access": false}),
                &plain,
                [true, false, false, false, false],
            ),
            (
                json!({"filters": [equals], "allow_unlabelled_access": false}),
                &labels,
                [true, false, false, false, true],
            ),
            (json!({"filters": [equals]}), &by_key, [true, false, true, true, true]),
            (
                json!({"filters": [filter("ROLE_FILTER_DOES_NOT_EQUAL", &["c1"])], "allow_unlabelled_access": false}),
                &plain,
                [false, true, true, false, false],
            ),
            (
                json!({"filters": [filter("ROLE_FILTER_GLOB_MATCH", &["*2"])]}),
                &plain,
                [false, true, false, true, true],
            ),
            (
                json!({"filters": [filter("ROLE_FILTER_GLOB_DOES_NOT_MATCH", &["c?"])]}),
                &plain,
                [false, false, true, true, true],
            ),
            (json!({"filters": [filter("", &[])]}), &plain, [true, true, false, true, true]),
            (json!({"filters": [equals, team]}), &plain, [false, false, false, true, true]),
        ] {
            let grant = Grant::of_role(&role, None);
            assert_eq!(
                objects.map(|object| grant.admits(object.as_object().unwrap(), assumptions)),
                expected,
                "{role}"
            );
        }
    }
}
