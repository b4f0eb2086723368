//! Conditions on a list. Owns the names of the controller's query parameters and their escaping; sends nothing.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::objects::USER;

/// Every character that can mean something in a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Returns text escaped for a URL.
pub(super) fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Selects objects of a type, and which fields of each. Conditions are joined by "and". Values are escaped here.
///
/// ```
/// use infra_clients::avi::Query;
/// let query = Query::new().name("my network").created_by("ako-c1").page_size(50);
/// assert_eq!(query.to_string(), "name=my%20network&created_by=ako-c1&page_size=50");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Largest number of entries in a page that controllers allow.
    pub const LARGEST_PAGE: u16 = 200;

    /// Creates a query that selects everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds any parameter of the controller, by its own name.
    #[must_use]
    pub fn param(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Selects objects of exactly that name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.param("name", name)
    }

    /// Selects objects whose name contains the text.
    #[must_use]
    pub fn name_contains(self, part: &str) -> Self {
        self.param("name.contains", part)
    }

    /// Selects objects in the cloud of that name. Only for types that belong to a cloud: objects of other types do
    /// not match.
    #[must_use]
    pub fn cloud_name(self, name: &str) -> Self {
        self.param("cloud_ref.name", name)
    }

    /// Selects objects in the cloud of that uuid. Only for types that belong to a cloud: objects of other types do
    /// not match.
    #[must_use]
    pub fn cloud_uuid(self, uuid: &str) -> Self {
        self.param("cloud_ref.uuid", uuid)
    }

    /// Selects objects whose `created_by` is this. AKO writes `ako-<cluster name>`. vsvip and vrfcontext have no such
    /// field.
    #[must_use]
    pub fn created_by(self, maker: &str) -> Self {
        self.param("created_by", maker)
    }

    /// Selects objects with a marker of that key and value.
    #[must_use]
    pub fn label(self, key: &str, value: &str) -> Self {
        self.param("label_key", key).param("label_value", value)
    }

    /// Selects objects that refer to this one.
    #[must_use]
    pub fn refers_to(self, kind: &str, uuid: &str) -> Self {
        self.param("refers_to", format!("{kind}:{uuid}"))
    }

    /// Selects these fields only, and those that every answer has. Do not write such objects back.
    #[must_use]
    pub fn fields(self, fields: &[&str]) -> Self {
        self.param("fields", fields.join(","))
    }

    /// Adds the names of referenced objects to the refs: [`Ref::name`](super::Ref::name).
    #[must_use]
    pub fn include_name(self) -> Self {
        self.param("include_name", "true")
    }

    /// Orders by a field; `-` in front of it reverses the order.
    #[must_use]
    pub fn sort(self, field: &str) -> Self {
        self.param("sort", field)
    }

    /// Sets the number of entries in a page: 1 to [`Query::LARGEST_PAGE`], which is the default.
    #[must_use]
    pub fn page_size(mut self, entries: u16) -> Self {
        self.0.retain(|(name, _)| *name != "page_size");
        self.param("page_size", entries.clamp(1, Self::LARGEST_PAGE).to_string())
    }

    /// Adds what a list of that kind leaves out unless it is asked for: users that are accounts of programs.
    pub(super) fn complete(self, kind: &str) -> Self {
        const ACCOUNTS: &str = "include_service_accounts";
        let said = self.0.iter().any(|(name, _)| *name == ACCOUNTS);
        if kind == USER.kind() && !said { self.param(ACCOUNTS, "true") } else { self }
    }

    pub(super) fn or_page_size(self, entries: u16) -> Self {
        if self.0.iter().any(|(name, _)| *name == "page_size") { self } else { self.page_size(entries) }
    }
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, (name, value)) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_char('&')?;
            }
            write!(f, "{name}={}", escape(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped() {
        let query = Query::new()
            .name("a b&c=d/é#%+")
            .refers_to("pool", "pool-1")
            .fields(&["name", "uuid"])
            .include_name();
        assert_eq!(
            query.to_string(),
            "name=a%20b%26c%3Dd%2F%C3%A9%23%25%2B&refers_to=pool%3Apool-1&fields=name%2Cuuid&include_name=true"
        );
    }

    #[test]
    fn lists_of_users_are_complete_unless_asked_otherwise() {
        let query = |query: Query, kind| query.complete(kind).to_string();
        assert_eq!(query(Query::new().name("u"), "user"), "name=u&include_service_accounts=true");
        assert_eq!(query(Query::new().name("u"), "role"), "name=u");
        let without = Query::new().param("include_service_accounts", "false");
        assert_eq!(query(without, "user"), "include_service_accounts=false");
    }

    #[test]
    fn pages_have_a_size_the_controller_allows() {
        assert_eq!(Query::new().page_size(0).to_string(), "page_size=1");
        assert_eq!(Query::new().page_size(5).page_size(5000).to_string(), "page_size=200");
        assert_eq!(Query::new().or_page_size(200).to_string(), "page_size=200");
        assert_eq!(Query::new().page_size(3).or_page_size(200).to_string(), "page_size=3");
    }
}
