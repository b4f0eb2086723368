//! A Cluster API object as the operators see it. Owns the envelope (version, metadata, conditions) and how kube
//! addresses it; each kind owns its content.
//!
//! Nothing here can be serialized, so that no object is written back as a whole: fields that these types do not have
//! would be lost. Writes are patches of single fields, created by the methods of each kind and by
//! [`patch`](super::patch).

use std::borrow::Cow;
use std::fmt::Debug;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::DynamicResourceScope;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::condition::{Conditions, WithConditions};
use super::version::{ReadIn, Version};

/// The group of Cluster, Machine and MachineDeployment.
pub const CORE_GROUP: &str = "cluster.x-k8s.io";
/// Label of everything that belongs to a Cluster: the Cluster's name.
pub const CLUSTER_NAME_LABEL: &str = "cluster.x-k8s.io/cluster-name";
/// Annotation of an object that Cluster API's controllers skip, with any value.
pub const PAUSED_ANNOTATION: &str = "cluster.x-k8s.io/paused";

/// The spec of one of Cluster API's kinds.
pub trait Spec: Clone + Debug + Default + DeserializeOwned + Send + Sync + 'static {
    /// The status of the kind.
    type Status: Clone + Debug + Default + DeserializeOwned + Send + Sync + 'static;
    /// The kind.
    const KIND: &'static str;
    /// Its API group.
    const GROUP: &'static str;
    /// Its plural, as in a URL.
    const PLURAL: &'static str;
}

/// An object in either version; see the aliases [`Cluster`](super::Cluster), [`Machine`](super::Machine), …
#[derive(Debug, Clone, Default)]
pub struct Object<S: Spec> {
    /// The version it was read in.
    pub version: Version,
    /// The metadata.
    pub metadata: ObjectMeta,
    /// The spec, as far as the operators read it.
    pub spec: S,
    /// The status without the conditions, as far as the operators read it.
    pub status: S::Status,
    /// The conditions, wherever the version has them.
    pub conditions: Conditions,
}

impl<S: Spec> Object<S> {
    /// Returns its name; empty before the API server has seen it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Returns its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Returns whether its deletion was requested; finalizers may delay it for long.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Returns the value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(key).map(String::as_str)
    }

    /// Returns the value of a label.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Returns whether it has the annotation that makes Cluster API's controllers skip this object.
    pub(super) fn is_paused_by_annotation(&self) -> bool {
        self.annotation(PAUSED_ANNOTATION).is_some()
    }
}

/// Returns the name of the Cluster that an object of any kind belongs to: its label.
pub fn cluster_name(object: &impl Resource) -> Option<&str> {
    object.meta().labels.as_ref()?.get(CLUSTER_NAME_LABEL).map(String::as_str)
}

/// Returns the owner that is a Cluster, in any version of the reference.
pub fn owning_cluster(object: &impl Resource) -> Option<&OwnerReference> {
    let owners = object.meta().owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| {
        owner.kind == "Cluster"
            && owner.api_version.split_once('/').is_some_and(|(group, _)| group == CORE_GROUP)
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "S: Spec")]
struct Envelope<S: Spec> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: S,
    status: Option<WithConditions<S::Status>>,
}

impl<'de, S: Spec> Deserialize<'de> for Object<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Envelope { api_version, metadata, spec, status } = Envelope::<S>::deserialize(deserializer)?;
        let version = Version::of_api_version(&api_version);
        let has_status = status.is_some();
        let (mut conditions, status) = status.unwrap_or_default().split(version);
        conditions.has_status = has_status;
        Ok(Self { version, metadata, spec, status, conditions })
    }
}

impl<S: Spec> Resource for Object<S> {
    type DynamicType = ReadIn;
    type Scope = DynamicResourceScope;

    fn kind(_: &ReadIn) -> Cow<'_, str> {
        S::KIND.into()
    }

    fn group(_: &ReadIn) -> Cow<'_, str> {
        S::GROUP.into()
    }

    fn version(read_in: &ReadIn) -> Cow<'_, str> {
        read_in.0.as_str().into()
    }

    fn plural(_: &ReadIn) -> Cow<'_, str> {
        S::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn object_ref(&self, _: &ReadIn) -> ObjectReference {
        ObjectReference {
            api_version: Some(Self::api_version(&ReadIn(self.version)).into_owned()),
            kind: Some(S::KIND.to_owned()),
            name: self.metadata.name.clone(),
            namespace: self.metadata.namespace.clone(),
            uid: self.metadata.uid.clone(),
            ..ObjectReference::default()
        }
    }

    fn owner_ref(&self, _: &ReadIn) -> Option<OwnerReference> {
        Some(OwnerReference {
            api_version: Self::api_version(&ReadIn(self.version)).into_owned(),
            kind: S::KIND.to_owned(),
            name: self.metadata.name.clone()?,
            uid: self.metadata.uid.clone()?,
            ..OwnerReference::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Cluster, Condition, KubeadmControlPlane, MachineDeployment};
    use super::*;

    fn read<S: Spec>(value: serde_json::Value) -> Object<S> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_cluster_reads_alike_in_both_versions() {
        let condition = |name, status| json!({"type": name, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let current = json!([condition("Available", "True")]);
        let old = json!([condition("Ready", "False")]);
        let metadata =
            json!({"name": "c", "namespace": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        let new: Cluster = read(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2",
            "metadata": metadata,
            "spec": {"paused": true, "controlPlaneEndpoint": {"host": "h", "port": 1}},
            "status": {
                "initialization": {"infrastructureProvisioned": true, "controlPlaneInitialized": true},
                "conditions": current,
                "deprecated": {"v1beta1": {"conditions": old}},
            },
        }));
        let before: Cluster = read(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta1",
            "metadata": metadata,
            "spec": {"paused": true, "controlPlaneEndpoint": {"host": "h", "port": 1}},
            "status": {
                "infrastructureReady": true, "controlPlaneReady": true,
                "conditions": old,
                "v1beta2": {"conditions": current},
            },
        }));
        assert_eq!((new.version, before.version), (Version::V1Beta2, Version::V1Beta1));
        for cluster in [&new, &before] {
            assert!(cluster.is_deleting() && cluster.is_paused(), "{cluster:?}");
            assert!(
                cluster.infrastructure_provisioned() && cluster.control_plane_initialized(),
                "{cluster:?}"
            );
            assert_eq!(cluster.control_plane_endpoint().unwrap().host, "h");
            let names = |conditions: &[Condition]| -> Vec<String> {
                conditions.iter().map(|condition| condition.type_.clone()).collect()
            };
            assert_eq!(names(cluster.conditions.current()), ["Available"]);
            assert_eq!(names(cluster.conditions.v1beta1()), ["Ready"]);
            assert!(cluster.conditions.is_true("Available") && !cluster.conditions.is_true("Ready"));
            assert!(cluster.conditions.get("Ready").is_some() && cluster.conditions.get("Gone").is_none());
        }
        let owned = |cluster: &Cluster| {
            let mut object = k8s_openapi::api::core::v1::ConfigMap::default();
            object.metadata.owner_references = cluster.owner_ref(&ReadIn::default()).map(|owner| vec![owner]);
            owning_cluster(&object).map(|owner| (owner.api_version.clone(), owner.uid.clone())).unwrap()
        };
        assert_eq!(owned(&new), ("cluster.x-k8s.io/v1beta2".into(), "u".into()));
        assert_eq!(owned(&before), ("cluster.x-k8s.io/v1beta1".into(), "u".into()));
    }

    #[test]
    fn nothing_is_needed() {
        let empty: Cluster = read(json!({"metadata": {"name": "c"}}));
        assert!(!empty.is_deleting() && !empty.is_paused() && !empty.is_class_based());
        assert!(empty.control_plane_endpoint().is_none() && empty.conditions == Conditions::default());
        // v1beta1 writes fields that are not set like this.
        let unset: Cluster = read(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta1",
            "spec": {"controlPlaneEndpoint": {"host": "", "port": 0}, "clusterNetwork": {"apiServerPort": 0}},
        }));
        assert!(unset.control_plane_endpoint().is_none() && unset.api_server_port().is_none());
    }

    #[test]
    fn one_object_can_be_paused() {
        let mut cluster = Cluster::default();
        assert!(!cluster.is_paused());
        cluster.metadata.annotations = Some([(PAUSED_ANNOTATION.into(), String::new())].into());
        assert!(cluster.is_paused());
    }

    #[test]
    fn sets_count_machines_in_both_versions() {
        let new: KubeadmControlPlane = read(json!({
            "apiVersion": "controlplane.cluster.x-k8s.io/v1beta2",
            "spec": {"replicas": 3, "version": "v1.34.1", "kubeadmConfigSpec": {"any": 1}},
            "status": {"replicas": 3, "readyReplicas": 2, "upToDateReplicas": 1},
        }));
        let old: MachineDeployment = read(json!({
            "apiVersion": "cluster.x-k8s.io/v1beta1",
            "spec": {"replicas": 3, "clusterName": "c", "paused": true},
            "status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 1, "v1beta2": {"upToDateReplicas": 0}},
        }));
        assert_eq!(new.status, old.status);
        assert_eq!((new.spec.version.as_str(), new.spec.replicas), ("v1.34.1", Some(3)));
        assert!(old.is_paused() && !new.is_paused());
    }
}
