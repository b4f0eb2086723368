//! References from one object to another, in both of Cluster API's shapes.

use serde::Deserialize;

/// A reference to an object: v1beta1's `{apiVersion, kind, name, namespace}` or v1beta2's `{apiGroup, kind, name}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub struct Reference {
    /// The API group; empty for Kubernetes' core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// The namespace; only in v1beta1. In v1beta2 it is that of the referring object.
    pub namespace: Option<String>,
}

impl Reference {
    /// Returns whether it refers to an object: an empty reference stands for none.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.name.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    api_group: Option<String>,
    api_version: Option<String>,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    namespace: Option<String>,
}

impl From<Raw> for Reference {
    fn from(raw: Raw) -> Self {
        let group = raw.api_group.unwrap_or_else(|| {
            // `v1` alone is the core group.
            raw.api_version
                .as_deref()
                .and_then(|version| version.split_once('/'))
                .map_or_else(String::new, |(group, _)| group.to_owned())
        });
        Self { group, kind: raw.kind, name: raw.name, namespace: raw.namespace }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_shapes_are_read() {
        let read = |value| serde_json::from_value::<Reference>(value).unwrap();
        let new = read(json!({"apiGroup": "infra.x-k8s.io", "kind": "Infra", "name": "a"}));
        let old = read(
            json!({"apiVersion": "infra.x-k8s.io/v1beta1", "kind": "Infra", "name": "a", "namespace": "n"}),
        );
        assert_eq!(
            (new.group.as_str(), new.kind.as_str(), new.name.as_str()),
            ("infra.x-k8s.io", "Infra", "a")
        );
        assert_eq!(old, Reference { namespace: Some("n".into()), ..new });
        assert_eq!(read(json!({"apiVersion": "v1", "kind": "Node", "name": "a"})).group, "");
        assert!(!read(json!({})).is_set());
    }
}
