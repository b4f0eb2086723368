//! The topology of a Cluster: its class, its Kubernetes version, and its variables. Owns setting a variable with all
//! others preserved; the ClusterClass defines what the variables mean.

use std::fmt;

use kube::api::Patch;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::cluster::Cluster;
use super::error::{Error, Kind};
use super::patch;

const VARIABLES: &str = "/spec/topology/variables";

/// The topology of a Cluster that is created from a ClusterClass.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Topology {
    /// Only in v1beta1.
    class: String,
    /// Only in v1beta1.
    class_namespace: Option<String>,
    class_ref: ClassRef,
    /// The Kubernetes version, such as `v1.34.1`.
    pub version: String,
    /// The variables of the Cluster; overrides of machines are not among them.
    pub variables: Vec<Variable>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ClassRef {
    name: String,
    namespace: Option<String>,
}

/// A value for a variable of the ClusterClass.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name, unique within a Cluster.
    pub name: String,
    /// Its value, of the type that the class defines.
    #[serde(default)]
    pub value: Value,
    /// Fields that this type does not have, such as v1beta1's `definitionFrom`.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl fmt::Debug for Variable {
    /// Leaves out the value, which may be secret: the URL of a proxy may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Topology {
    /// Returns the name of the ClusterClass.
    #[must_use]
    pub fn class(&self) -> &str {
        if self.class_ref.name.is_empty() { &self.class } else { &self.class_ref.name }
    }

    /// Returns the namespace of the ClusterClass, if it is not that of the Cluster.
    #[must_use]
    pub fn class_namespace(&self) -> Option<&str> {
        self.class_ref.namespace.as_deref().or(self.class_namespace.as_deref())
    }
}

impl Cluster {
    /// Returns the value of a topology variable; `None` if it is not set or there is no topology.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`]: the value is of another type.
    pub fn variable<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let variables = self.topology().map(|topology| topology.variables.as_slice()).unwrap_or_default();
        let Some(variable) = variables.iter().find(|variable| variable.name == name) else { return Ok(None) };
        T::deserialize(&variable.value).map(Some).map_err(|error| {
            let name = &variable.name;
            Error::new(Kind::InvalidSpec, format!("spec.topology.variables: {name}: {error}"))
        })
    }

    /// Returns the patch that sets one or more topology variables, and keeps the others and their order. `None`: all
    /// are set so already.
    ///
    /// # Errors
    /// [`Kind::InvalidSpec`]: the Cluster is not created from a ClusterClass.
    pub fn set_variables<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Result<Option<Patch<Value>>, Error> {
        let Some(topology) = self.topology() else {
            return Err(Error::new(
                Kind::InvalidSpec,
                "spec.topology: the Cluster is not made from a ClusterClass",
            ));
        };
        let mut variables = topology.variables.clone();
        for (name, value) in values {
            match variables.iter_mut().find(|variable| variable.name == name) {
                Some(variable) => variable.value = value,
                None => variables.push(Variable { name: name.to_owned(), value, rest: Map::new() }),
            }
        }
        let changed = variables != topology.variables;
        let patch = || patch::list_of_this_version(&self.metadata, VARIABLES, &variables);
        Ok(changed.then(patch))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::patch::tests::list_written;
    use super::*;

    fn cluster(variables: &Value) -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "kind": "Cluster",
            "metadata": {"name": "c", "resourceVersion": "7"},
            "spec": {"topology": {"classRef": {"name": "class"}, "version": "v1.34.1", "variables": variables}},
        }))
        .unwrap()
    }

    fn written(patch: Result<Option<Patch<Value>>, Error>) -> Option<Value> {
        list_written(patch.unwrap(), VARIABLES)
    }

    #[test]
    fn values_are_typed() {
        let cluster = cluster(&json!([
            {"name": "kubeVipLoadBalancerProvider", "value": true},
            {"name": "apiServerPort", "value": 6443},
            {"name": "apiServerEndpoint", "value": "10.0.0.1"},
        ]));
        assert_eq!(cluster.variable::<bool>("kubeVipLoadBalancerProvider").unwrap(), Some(true));
        assert_eq!(cluster.variable::<u16>("apiServerPort").unwrap(), Some(6443));
        assert_eq!(cluster.variable::<String>("apiServerEndpoint").unwrap().as_deref(), Some("10.0.0.1"));
        assert_eq!(cluster.variable::<bool>("absent").unwrap(), None);
        assert!(!format!("{cluster:?}").contains("10.0.0.1"), "a value may be a secret");
        let error = cluster.variable::<bool>("apiServerPort").unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidSpec);
        assert!(error.to_string().contains("apiServerPort"), "{error}");
    }

    #[test]
    fn both_shapes_of_class_are_read() {
        let old: Topology =
            serde_json::from_value(json!({"class": "a", "classNamespace": "n", "version": "v1"})).unwrap();
        let new: Topology =
            serde_json::from_value(json!({"classRef": {"name": "a", "namespace": "n"}, "version": "v1"}))
                .unwrap();
        for topology in [old, new] {
            assert_eq!((topology.class(), topology.class_namespace()), ("a", Some("n")));
        }
    }

    #[test]
    fn a_cluster_without_a_class_has_no_variables() {
        let plain = Cluster::default();
        assert!(!plain.is_class_based());
        assert_eq!(plain.variable::<bool>("x").unwrap(), None);
        assert_eq!(plain.set_variables([("x", json!(1))]).unwrap_err().kind(), Kind::InvalidSpec);
    }

    proptest! {
        #[test]
        fn setting_some_leaves_the_others(
            names in prop::collection::btree_set("[a-e]{1,2}", 0..6),
            set in prop::collection::btree_map("[a-e]{1,2}", 0..3u8, 0..4),
        ) {
            let before: Vec<Value> =
                names.iter().map(|name| json!({"name": name, "value": 1, "definitionFrom": name})).collect();
            let cluster = cluster(&before.clone().into());
            let values = || set.iter().map(|(name, value)| (name.as_str(), json!(value)));
            let after = written(cluster.set_variables(values())).unwrap_or_else(|| before.clone().into());
            let after: Vec<Value> = serde_json::from_value(after).unwrap();
            for (n, old) in before.iter().enumerate() {
                let mut expected = old.clone();
                if let Some(value) = set.get(old["name"].as_str().unwrap()) {
                    expected["value"] = json!(value);
                }
                prop_assert_eq!(&after[n], &expected);
            }
            for (name, value) in &set {
                let held: Vec<_> = after.iter().filter(|variable| variable["name"] == name.as_str()).collect();
                prop_assert_eq!(held.len(), 1);
                prop_assert_eq!(&held[0]["value"], &json!(value));
            }
            let again = self::cluster(&after.into());
            prop_assert!(again.set_variables(values()).unwrap().is_none());
        }
    }
}
