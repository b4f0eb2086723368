//! Direct delivery: the objects that AKO consists of in a workload cluster.
//!
//! Pure: from values to objects, the same bytes for the same values. Never talks to anything; the Cluster controller applies the
//! objects in their order, and removes them in that of [`removal`].
//!
//! ```text
//!   Install ──▶ matrix: does this AKO work with this controller and this Kubernetes?
//!      │
//!      └──▶ settings: the keys of AKO's ConfigMap ──▶ template of the AKO minor ──▶ objects, in order
//!
//! addon: the Secret with data values from which TKG's add-on managers deliver AKO instead; way: which of the two a Cluster gets.
//! ```

pub mod addon;
mod addresses;
mod dry_run;
mod kinds;
mod matrix;
mod objects;
mod rules;
mod settings;
mod v2;
mod way;
mod yaml;

use std::fmt;

use infra_clients::Secret;
use kube::core::{ApiResource, DynamicObject};

use crate::api::AkoDeploymentConfigSpec;

pub use dry_run::{refusal, try_out};
pub use kinds::{AKO_GROUP, AwaitedKind, GATEWAY_API_GROUP, SERVICES_API_GROUP, awaited_kinds};
pub use matrix::{AkoMinor, Support};
pub use objects::{Delivery, cluster_name, objects, removal};
pub use way::{Setting, Way, Ways, form_of};

/// Namespace of AKO in a workload cluster.
pub const NAMESPACE: &str = "avi-system";
/// Name of AKO's StatefulSet.
pub const STATEFUL_SET: &str = "ako";
/// Name of the container of AKO's gateway.
pub const GATEWAY_CONTAINER: &str = "ako-gateway-api";
/// Name of AKO's ConfigMap.
pub const CONFIG_MAP: &str = "avi-k8s-config";
/// Name of the Secret with AKO's credentials. A change of it ends AKO, so it is not to be written at rest.
pub const SECRET: &str = "avi-secret";
/// Label of every object of a delivery, with the value [`MANAGED_BY`]: what lacks it is not ours to remove.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`]. Longer than the program's name: other programs have that name, too.
pub const MANAGED_BY: &str = crate::api::FINALIZER;
/// Key of the marker and of the label that AKO gives its objects on AVI, with the name of the Cluster there.
pub const MARKER: &str = "clustername";
/// Annotation of AKO's Pods: a hash of all settings that AKO reads only when it starts.
pub const HASH_ANNOTATION: &str = "ako-operator.network.tkg.tanzu.vmware.com/settings-hash";

/// Everything that a delivery depends on.
#[derive(Clone, Debug)]
pub struct Install {
    /// Spec of the AKODeploymentConfig that the Cluster takes AKO from.
    pub spec: AkoDeploymentConfigSpec,
    /// Namespace of the Cluster.
    pub namespace: String,
    /// Name of the Cluster.
    pub name: String,
    /// With which AKO logs in to the controller.
    pub credentials: Credentials,
    /// Version of the controller, as it says; `spec.controllerVersion` wins.
    pub controller_version: String,
    /// Version of the workload cluster's Kubernetes, where it is known.
    pub kubernetes_version: Option<String>,
    /// What runs; only for direct delivery.
    pub ako: Ako,
    /// Whether the Cluster is a management cluster.
    pub is_management: bool,
    /// Whether AKO is to remove what it made on the controller.
    pub delete_config: bool,
}

/// AKO's image, as the user says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ako {
    /// Image of AKO.
    pub image: String,
    /// Image of AKO's gateway container; only the GatewayAPI gate needs it.
    pub gateway_image: Option<String>,
    /// Names of Secrets in the namespace of AKO that the images are pulled with.
    pub pull_secrets: Vec<String>,
    /// Version of AKO; chooses the template.
    pub version: AkoMinor,
}

/// With which AKO logs in to the controller.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
    /// PEM certificates that the controller's certificate is checked with.
    pub ca_pem: String,
}

/// An object of a delivery. Formats as its kind and name: the object may hold credentials.
#[derive(Clone)]
pub struct Object {
    /// How its kind is addressed.
    pub resource: ApiResource,
    /// The object.
    pub object: DynamicObject,
}

impl Object {
    /// Returns which object it is.
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            side: Side::Workload,
            resource: self.resource.clone(),
            namespace: self.object.metadata.namespace.clone(),
            name: self.object.metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.target(), f)
    }
}

/// Which cluster an object is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The management cluster.
    Management,
    /// The workload cluster.
    Workload,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which cluster it is in.
    pub side: Side,
    /// How its kind is addressed.
    pub resource: ApiResource,
    /// Its namespace, unless it is cluster-wide.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, namespace, name, .. } = self;
        match namespace {
            Some(namespace) => write!(f, "{} {namespace}/{name}", resource.kind),
            None => write!(f, "{} {name}", resource.kind),
        }
    }
}

#[cfg(test)]
mod tests;
