//! The identity of an object within its kind: namespace and name.

use std::{fmt, str::FromStr, sync::Arc};

use kube::Resource;

/// Namespace and name of an object. Cloning costs a reference count, so every map of the kit shares one allocation per
/// object.
///
/// Displays as `namespace/name`, and as `name` where the kind is cluster-scoped.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Key(
    /// `namespace/name`. Neither part can hold a slash.
    Arc<str>,
);

impl Key {
    /// Creates the key of the object `name` in `namespace`; an empty namespace stands for a cluster-scoped kind.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self(format!("{namespace}/{name}").into())
    }

    /// Returns the key of `object`.
    #[must_use]
    pub fn of(object: &impl Resource) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }

    /// Returns the namespace, empty for a cluster-scoped kind.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, name)| name)
    }
}

/// A text that is not the key of an object.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} is not the key of an object: write namespace/name, or the name where the kind is cluster-scoped"
)]
pub struct KeyError(String);

impl FromStr for Key {
    type Err = KeyError;

    /// Reads what a key displays as.
    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (namespace, name) = text.split_once('/').unwrap_or(("", text));
        let is_key = !name.is_empty() && !name.contains('/') && !text.starts_with('/');
        is_key.then(|| Self::new(namespace, name)).ok_or_else(|| KeyError(text.to_owned()))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.strip_prefix('/').unwrap_or(&self.0))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_text() {
        let key = Key::new("team", "web");
        assert_eq!((key.namespace(), key.name(), key.to_string().as_str()), ("team", "web", "team/web"));
        assert_eq!(Key::new("", "node-1").to_string(), "node-1");
    }

    #[test]
    fn a_key_is_read_as_it_is_shown() {
        for key in [Key::new("team", "web"), Key::new("", "node-1")] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        for text in ["", "/", "team/", "/web", "team/web/1"] {
            assert_eq!(text.parse::<Key>(), Err(KeyError(text.to_owned())));
        }
    }
}
