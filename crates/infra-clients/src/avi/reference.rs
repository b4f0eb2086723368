//! Refs: the URLs by which objects refer to each other. Owns their parsing and comparison; follows none.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::query::escape;

/// A ref: `https://host/api/<kind>/<uuid>`, often with `#name`, or `/api/<kind>/?name=<name>`. It is kept, and sent
/// back, as it was received. Two refs are equal if they name the same object: host and `#name` are ignored. A ref by
/// uuid and one by name are never equal, even if they lead to the same object.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Ref {
    text: String,
    kind: String,
    target: Target,
    name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Target {
    Uuid(String),
    Name(String),
    /// Not in the form of a ref: the whole text.
    Other(String),
}

impl Ref {
    /// Creates a ref to the object of that kind (`network`) and uuid.
    #[must_use]
    pub fn new(kind: &str, uuid: &str) -> Self {
        Self::from(format!("/api/{}/{}", escape(kind), escape(uuid)))
    }

    /// Creates a ref to the object of that kind and name, which the controller looks up when it receives the ref.
    #[must_use]
    pub fn by_name(kind: &str, name: &str) -> Self {
        Self::from(format!("/api/{}/?name={}", escape(kind), escape(name)))
    }

    /// Returns the kind of object, as in its path: `network`. Empty if this is not a ref.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the object's uuid, unless the ref is by name.
    #[must_use]
    pub fn uuid(&self) -> Option<&str> {
        match &self.target {
            Target::Uuid(uuid) => Some(uuid),
            Target::Name(_) | Target::Other(_) => None,
        }
    }

    /// Returns the object's name, if the ref has it: `#name` in answers to writes and with
    /// [`Query::include_name`](super::Query::include_name), or a ref by name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.target {
            Target::Name(name) => Some(name),
            _ => self.name.as_deref(),
        }
    }

    /// Returns host and port, if the ref has them.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once("://")?;
        rest.split(['/', '?', '#']).next().filter(|host| !host.is_empty())
    }

    /// Returns the ref as it was received.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether it names the object of that kind and uuid.
    #[must_use]
    pub fn is(&self, kind: &str, uuid: &str) -> bool {
        self.kind == kind && self.uuid() == Some(uuid)
    }
}

impl From<String> for Ref {
    fn from(text: String) -> Self {
        let (kind, target, name) =
            take_apart(&text).unwrap_or_else(|| (String::new(), Target::Other(text.clone()), None));
        Self { text, kind, target, name }
    }
}

impl From<&str> for Ref {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Ref> for String {
    fn from(reference: Ref) -> Self {
        reference.text
    }
}

fn take_apart(text: &str) -> Option<(String, Target, Option<String>)> {
    let (url, name) = match text.split_once('#') {
        Some((url, name)) => (url, Some(name.to_owned())),
        None => (text, None),
    };
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map(|at| &rest[at..])?,
        None => url,
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    if segments.next()? != "api" {
        return None;
    }
    let kind = decoded(segments.next()?);
    let target = match (segments.next(), segments.next()) {
        (Some(uuid), None) => Target::Uuid(decoded(uuid)),
        (None, _) => {
            let name = query.split('&').find_map(|pair| pair.strip_prefix("name="))?;
            Target::Name(decoded(&name.replace('+', " ")))
        }
        _ => return None,
    };
    Some((kind, target, name))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl PartialEq for Ref {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.target == other.target
    }
}

impl Eq for Ref {}

impl std::hash::Hash for Ref {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
        self.target.hash(state);
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form() {
        let full = Ref::from("https://10.0.0.1:8443/api/network/network-1-cloud-2#my net");
        assert_eq!(
            (full.kind(), full.uuid(), full.name()),
            ("network", Some("network-1-cloud-2"), Some("my net"))
        );
        assert_eq!(full.host(), Some("10.0.0.1:8443"));
        assert_eq!(full, Ref::new("network", "network-1-cloud-2"));
        assert!(full.is("network", "network-1-cloud-2") && !full.is("pool", "network-1-cloud-2"));
        assert_eq!(Ref::from("https://h//api/tenant/admin/"), Ref::from("/api/tenant/admin#admin"));
        let named = Ref::by_name("network", "a b&c");
        assert_eq!((named.uuid(), named.name()), (None, Some("a b&c")));
        assert_eq!(named, Ref::from("https://h/api/network?name=a+b%26c&x=y"));
        assert_ne!(Ref::new("network", "n-1"), Ref::new("network", "n-11"), "not by what they begin with");
        for odd in [
            "",
            "x",
            "https://h",
            "/api/",
            "/api/pool",
            "/api/pool/a/b",
            "https://h/other/pool/a",
            "/api/pool?x",
        ] {
            let odd = Ref::from(odd);
            assert_eq!((odd.kind(), odd.uuid(), odd.name()), ("", None, None), "{odd}");
        }
        assert_ne!(Ref::from("x"), Ref::from("y"));
    }

    proptest! {
        #[test]
        fn any_text_is_kept(text in "\\PC*") {
            let json = serde_json::to_string(&text).unwrap();
            let reference: Ref = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(reference.as_str(), &text);
            prop_assert_eq!(serde_json::to_string(&reference).unwrap(), json);
        }

        #[test]
        fn what_is_made_is_read_again(kind in "[a-z]{1,20}", id in "\\PC{1,40}") {
            prop_assert!(Ref::new(&kind, &id).is(&kind, &id));
            let named = Ref::by_name(&kind, &id);
            prop_assert_eq!(named.name(), Some(&*id));
        }
    }
}
