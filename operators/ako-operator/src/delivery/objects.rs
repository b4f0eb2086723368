//! All objects of a delivery, in the order in which they are applied, and that in which they are removed.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::{IngressClass, IngressClassSpec};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde::Serialize;
use serde_json::json;

use super::matrix::support;
use super::settings::settings;
use super::v2::{SERVICE_ACCOUNT, stateful_set};
use super::{
    CONFIG_MAP, Install, MANAGED_BY, MANAGED_BY_LABEL, NAMESPACE, Object, SECRET, STATEFUL_SET, Side,
    Support, Target,
};
use crate::api::reason::INVALID_SPEC;
use crate::problem::Problem;

const CLUSTER_ROLE: &str = "ako-cr";
/// Name of the IngressClass and of the GatewayClass, and the end of their controller's name.
const CLASS: &str = "avi-lb";
const CONTROLLER: &str = "ako.vmware.com/avi-lb";

/// The objects of a delivery, and whether the vendor documents the combination of versions.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// All objects, in the order in which they are to be applied. The same values give the same bytes.
    pub objects: Vec<Object>,
    /// Objects that other settings would have added. Those with the label [`MANAGED_BY_LABEL`] are of an earlier delivery.
    pub obsolete: Vec<Target>,
    /// Whether the combination of versions is documented.
    pub support: Support,
}

impl Install {
    /// Returns the name of the Cluster on the controller.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        cluster_name(&self.namespace, &self.name)
    }

    /// Returns the version of the controller's API that AKO is to use.
    pub(super) fn effective_controller_version(&self) -> &str {
        self.spec.controller_version.as_deref().unwrap_or(&self.controller_version)
    }

    fn has_ingress_class(&self) -> bool {
        let ingress = self.spec.extra_configs.as_ref().and_then(|extra| extra.ingress.as_ref());
        ingress.and_then(|ingress| ingress.disable_ingress_class) != Some(true)
    }
}

/// Returns the name on the controller of a Cluster.
#[must_use]
pub fn cluster_name(namespace: &str, name: &str) -> String {
    format!("{namespace}-{name}")
}

/// Returns all objects that AKO consists of.
///
/// # Errors
/// Says what of the values cannot be delivered, and what to write instead.
pub fn objects(install: &Install) -> Result<Delivery, Problem> {
    let version = install.effective_controller_version();
    let support = support(install.ako.version, version, install.kubernetes_version.as_deref())?;
    check_replicas(install)?;
    check_port(install)?;
    let gateway_image = gateway_image(install)?;
    let settings = settings(install)?;
    let mut objects = vec![
        typed(&Namespace { metadata: metadata(None, NAMESPACE), ..Namespace::default() }),
        typed(&ServiceAccount {
            metadata: metadata(Some(NAMESPACE), SERVICE_ACCOUNT),
            ..ServiceAccount::default()
        }),
    ];
    let is_primary = install.spec.is_primary();
    if is_primary {
        objects.push(typed(&ClusterRole {
            metadata: metadata(None, CLUSTER_ROLE),
            rules: Some(super::rules::rules(install.spec.has_gateway())),
            aggregation_rule: None,
        }));
    }
    objects.push(typed(&role_binding(install)));
    if is_primary && install.has_ingress_class() {
        objects.push(typed(&ingress_class(&settings)));
    }
    if is_primary && install.spec.has_gateway() {
        objects.push(gateway_class());
    }
    let stateful_set = stateful_set(install, &settings, gateway_image);
    let config_map = ConfigMap {
        metadata: metadata(Some(NAMESPACE), CONFIG_MAP),
        data: Some(settings),
        ..ConfigMap::default()
    };
    objects.extend([typed(&config_map), typed(&secret(install)), typed(&stateful_set)]);
    let mut obsolete = removal();
    obsolete.retain(|target| objects.iter().all(|object| object.target() != *target));
    Ok(Delivery { objects, obsolete, support })
}

/// Returns what is to be removed, in order: first the StatefulSet, as AKO ends abruptly when its Secret or ConfigMap changes, so the rest
/// waits until its Pods are gone. The list holds what any settings would add: what does not exist is no error, and what lacks the label
/// [`MANAGED_BY_LABEL`] belongs to another AKO.
///
/// The Namespace stays: claims for logs and pull Secrets in it are the user's. CRDs of AKO stay: objects of users are of their kinds.
#[must_use]
pub fn removal() -> Vec<Target> {
    vec![
        target::<StatefulSet>(Some(NAMESPACE), STATEFUL_SET),
        target::<Secret>(Some(NAMESPACE), SECRET),
        target::<ConfigMap>(Some(NAMESPACE), CONFIG_MAP),
        Target {
            side: Side::Workload,
            resource: gateway_resource(),
            namespace: None,
            name: CLASS.to_owned(),
        },
        target::<IngressClass>(None, CLASS),
        target::<ClusterRoleBinding>(None, &role_binding_name(false)),
        target::<ClusterRoleBinding>(None, &role_binding_name(true)),
        target::<ClusterRole>(None, CLUSTER_ROLE),
        target::<ServiceAccount>(Some(NAMESPACE), SERVICE_ACCOUNT),
    ]
}

fn check_replicas(install: &Install) -> Result<(), Problem> {
    let replicas = install.spec.extra_configs.as_ref().and_then(|extra| extra.replica_count).unwrap_or(1);
    let message = match replicas {
        1 => return Ok(()),
        2 if install.spec.is_primary() => return Ok(()),
        2 => "spec.extraConfigs.replicaCount: a secondary AKO has one replica: write 1, or primaryInstance: true".to_owned(),
        other => format!("spec.extraConfigs.replicaCount: AKO runs with 1 or 2 replicas, not {other}"),
    };
    Err(Problem { reason: INVALID_SPEC, message })
}

fn check_port(install: &Install) -> Result<(), Problem> {
    let port = install.spec.extra_configs.as_ref().and_then(|extra| extra.api_server_port).unwrap_or(8080);
    if (1..=65535).contains(&port) {
        return Ok(());
    }
    let message =
        format!("spec.extraConfigs.apiServerPort: {port} is no TCP port: write a number from 1 to 65535");
    Err(Problem { reason: INVALID_SPEC, message })
}

/// Returns the image of the gateway container, if the gate is open.
fn gateway_image(install: &Install) -> Result<Option<&str>, Problem> {
    if !install.spec.has_gateway() {
        return Ok(None);
    }
    let image = install.ako.gateway_image.as_deref();
    image.map(Some).ok_or_else(|| Problem {
        reason: INVALID_SPEC,
        message: "spec.extraConfigs.featureGates.GatewayAPI: the operator knows no image of ako-gateway-api: start it with \
                  AKO_GATEWAY_IMAGE (--ako-gateway-image), or write false"
            .to_owned(),
    })
}

/// Returns the metadata of an object of ours.
pub(super) fn metadata(namespace: Option<&str>, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: namespace.map(str::to_owned),
        labels: Some(BTreeMap::from([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())])),
        ..ObjectMeta::default()
    }
}

fn role_binding(install: &Install) -> ClusterRoleBinding {
    let group = "rbac.authorization.k8s.io".to_owned();
    ClusterRoleBinding {
        metadata: metadata(None, &role_binding_name(install.spec.is_primary())),
        role_ref: RoleRef { api_group: group, kind: "ClusterRole".to_owned(), name: CLUSTER_ROLE.to_owned() },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: SERVICE_ACCOUNT.to_owned(),
            namespace: Some(NAMESPACE.to_owned()),
            api_group: None,
        }]),
    }
}

/// A secondary AKO has its own, beside that of the primary one.
fn role_binding_name(is_primary: bool) -> String {
    if is_primary { "ako-crb".to_owned() } else { format!("ako-crb-{NAMESPACE}") }
}

fn ingress_class(settings: &BTreeMap<String, String>) -> IngressClass {
    let mut metadata = metadata(None, CLASS);
    if settings.get("defaultIngController").is_some_and(|value| value == "true") {
        let default = ("ingressclass.kubernetes.io/is-default-class".to_owned(), "true".to_owned());
        metadata.annotations = Some(BTreeMap::from([default]));
    }
    let spec = IngressClassSpec { controller: Some(CONTROLLER.to_owned()), parameters: None };
    IngressClass { metadata, spec: Some(spec) }
}

fn gateway_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("gateway.networking.k8s.io", "v1beta1", "GatewayClass");
    ApiResource::from_gvk_with_plural(&kind, "gatewayclasses")
}

fn gateway_class() -> Object {
    let resource = gateway_resource();
    let mut object = DynamicObject::new(CLASS, &resource);
    object.metadata = metadata(None, CLASS);
    object.data = json!({ "spec": { "controllerName": CONTROLLER } });
    Object { resource, object }
}

fn secret(install: &Install) -> Secret {
    let credentials = &install.credentials;
    let data = [
        ("username", credentials.username.as_str()),
        ("password", credentials.password.expose()),
        ("certificateAuthorityData", credentials.ca_pem.as_str()),
    ];
    let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
    Secret {
        metadata: metadata(Some(NAMESPACE), SECRET),
        type_: Some("Opaque".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

fn target<K: Resource<DynamicType = ()>>(namespace: Option<&str>, name: &str) -> Target {
    Target {
        side: Side::Workload,
        resource: ApiResource::erase::<K>(&()),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }
}

/// Returns a typed object as one of any kind.
fn typed<K>(object: &K) -> Object
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let resource = ApiResource::erase::<K>(&());
    let mut dynamic = DynamicObject::new("", &resource);
    dynamic.metadata = object.meta().clone();
    let mut data = serde_json::to_value(object).unwrap_or_default();
    if let Some(members) = data.as_object_mut() {
        members.retain(|key, _| !matches!(key.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    dynamic.data = data;
    Object { resource, object: dynamic }
}
