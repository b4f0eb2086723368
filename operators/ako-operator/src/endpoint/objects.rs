//! The Service of a control plane and its EndpointSlice: what they are to be, and how they differ from that. Pure functions.
//!
//! AKO reads EndpointSlices, and takes an endpoint that does not say that it is ready for one that is not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use infra_clients::capi::{Cluster, ReadIn};
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};
use operator_kit::Key;
use serde_json::{Map, Value, json};

use super::APISERVER_PORT;
use super::seen::Member;
use crate::api::{LATER_HA_FINALIZER, SYSTEM_NAMESPACE};
use crate::delivery::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::metadata::change_metadata;

/// End of the Services' names.
const SUFFIX: &str = "-control-plane";
/// Longest name of a Service.
const LONGEST_NAME: usize = 63;

/// Annotation for AKO: the Service's endpoints get the traffic, and not its node ports.
const SKIP_NODE_PORT: &str = "skipnodeport.ako.vmware.com/enabled";
/// Annotation for AKO: the address of the virtual service.
pub const ADDRESS_ANNOTATION: &str = "ako.vmware.com/load-balancer-ip";
/// Annotation for AKO: the AviInfraSetting of the virtual service.
pub const INFRA_ANNOTATION: &str = "aviinfrasetting.ako.vmware.com/name";
/// Annotation: name of the Cluster.
const CLUSTER_NAME: &str = "tkg.tanzu.vmware.com/cluster-name";
/// Annotation: namespace of the Cluster.
const CLUSTER_NAMESPACE: &str = "tkg.tanzu.vmware.com/cluster-namespace";

/// Label of an EndpointSlice: its Service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Label of an EndpointSlice: who writes it.
pub const SLICE_OWNER_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// Value of [`SLICE_OWNER_LABEL`] where Kubernetes mirrors Endpoints.
pub const MIRROR: &str = "endpointslicemirroring-controller.k8s.io";

/// Returns the name of a Cluster's Service.
#[must_use]
pub fn service_name(cluster: &Cluster) -> String {
    format!("{}-{}{SUFFIX}", cluster.namespace(), cluster.name())
}

/// Returns the key of the Cluster that a Service of this name would belong to.
#[must_use]
pub fn cluster_of(namespace: &str, service: &str) -> Option<Key> {
    let name = service.strip_prefix(namespace)?.strip_prefix('-')?.strip_suffix(SUFFIX)?;
    Some(Key::new(namespace, name))
}

/// Returns whether Kubernetes accepts a Service of this name.
#[must_use]
pub fn is_service_name(name: &str) -> bool {
    let is_right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_right)
}

/// Returns whether a Service of a control plane's name belongs to that control plane: by its owner, its finalizer or its annotations,
/// also those of the original operator.
#[must_use]
pub fn is_of(service: &Service, cluster: &Cluster) -> bool {
    let says = |key, value: &str| service.annotations().get(key).is_some_and(|is| is == value);
    let is_owned =
        service.owner_references().iter().any(|owner| Some(&owner.uid) == cluster.metadata.uid.as_ref());
    is_owned
        || service.finalizers().iter().any(|held| held == LATER_HA_FINALIZER)
        || says(CLUSTER_NAME, cluster.name()) && says(CLUSTER_NAMESPACE, cluster.namespace())
        || says(SKIP_NODE_PORT, "true")
}

/// Returns whether a Service of a control plane is being deleted, or Kubernetes deletes it with its Cluster. `lives`: whether the Cluster of
/// this key and UID is there, and is not being deleted.
#[must_use]
pub fn is_ending(service: &Service, lives: impl Fn(&Key, &str) -> bool) -> bool {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let owners = service.owner_references();
    let goes_with = |owner: &OwnerReference| {
        owner.kind == "Cluster" && !lives(&Key::new(namespace, &owner.name), &owner.uid)
    };
    service.metadata.deletion_timestamp.is_some() || !owners.is_empty() && owners.iter().all(goes_with)
}

/// What a Service depends on beside its Cluster.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Whether its address is of IPv4.
    pub is_v4: bool,
    /// TCP port of the endpoint.
    pub port: u16,
    /// The address that it is to have; `None`: any.
    pub address: Option<IpAddr>,
    /// Name of the AviInfraSetting.
    pub infra: Option<String>,
}

/// Returns the Service of a control plane.
#[must_use]
pub fn service(cluster: &Cluster, wish: &Wish) -> Service {
    let mut annotations: BTreeMap<String, String> =
        [(SKIP_NODE_PORT, "true"), (CLUSTER_NAME, cluster.name()), (CLUSTER_NAMESPACE, cluster.namespace())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let address = wish.address.map(|address| address.to_string());
    annotations.extend(address.clone().map(|address| (ADDRESS_ANNOTATION.to_owned(), address)));
    annotations.extend(wish.infra.clone().map(|name| (INFRA_ANNOTATION.to_owned(), name)));
    let mut metadata = ObjectMeta {
        name: Some(service_name(cluster)),
        namespace: Some(cluster.namespace().to_owned()),
        labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    };
    if cluster.namespace() == SYSTEM_NAMESPACE {
        // A management cluster's Cluster moves between clusters; its address must not go with what it leaves behind.
        metadata.finalizers = Some(vec![LATER_HA_FINALIZER.to_owned()]);
    } else {
        let version = ReadIn(cluster.version);
        metadata.owner_references = Some(vec![OwnerReference {
            api_version: Cluster::api_version(&version).into_owned(),
            kind: Cluster::kind(&version).into_owned(),
            name: cluster.name().to_owned(),
            uid: cluster.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        }]);
    }
    let port = ServicePort {
        port: wish.port.into(),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(APISERVER_PORT.into())),
        ..ServicePort::default()
    };
    let family = if wish.is_v4 { "IPv4" } else { "IPv6" };
    let spec = ServiceSpec {
        type_: Some("LoadBalancer".to_owned()),
        ports: Some(vec![port]),
        ip_families: Some(vec![family.to_owned()]),
        ip_family_policy: Some("SingleStack".to_owned()),
        load_balancer_ip: address,
        ..ServiceSpec::default()
    };
    Service { metadata, spec: Some(spec), status: None }
}

/// Returns the merge patch that makes a Service as it should be; `None` if it is so. The families stay: Kubernetes keeps the first one.
#[must_use]
pub fn change_service(live: &Service, wanted: &Service) -> Option<Value> {
    let mut metadata = change_metadata(&live.metadata, &wanted.metadata);
    let kept = live.finalizers();
    let missing: Vec<_> = wanted.finalizers().iter().filter(|wanted| !kept.contains(wanted)).collect();
    if !missing.is_empty() {
        metadata.insert("finalizers".to_owned(), json!(kept.iter().chain(missing).collect::<Vec<_>>()));
    }
    let (is, wanted) = (live.spec.clone().unwrap_or_default(), wanted.spec.clone().unwrap_or_default());
    let mut spec = Map::new();
    if is.type_ != wanted.type_ {
        spec.insert("type".to_owned(), json!(wanted.type_));
    }
    let ports = |spec: &ServiceSpec| {
        let ports = spec.ports.iter().flatten();
        ports.map(|port| (port.port, port.protocol.clone(), port.target_port.clone())).collect::<Vec<_>>()
    };
    if ports(&is) != ports(&wanted) {
        spec.insert("ports".to_owned(), json!(wanted.ports));
    }
    if wanted.load_balancer_ip.is_some() && is.load_balancer_ip != wanted.load_balancer_ip {
        spec.insert("loadBalancerIP".to_owned(), json!(wanted.load_balancer_ip));
    }
    if is.selector.is_some_and(|selector| !selector.is_empty()) {
        // Kubernetes would write endpoints beside ours.
        spec.insert("selector".to_owned(), Value::Null);
    }
    patch(metadata, spec)
}

/// Returns the EndpointSlice of a Service. Machines with one address are one endpoint.
#[must_use]
pub fn slice(service: &Service, is_v4: bool, members: &[Member], ready_only: bool) -> EndpointSlice {
    // With none that is ready all get traffic: AVI looks itself whether they answer.
    let is_choosing = ready_only && members.iter().any(|member| member.is_ready);
    let mut known = BTreeSet::new();
    let endpoints = members.iter().filter(|member| known.insert(member.address)).map(|member| Endpoint {
        addresses: vec![member.address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(!is_choosing || member.is_ready),
            ..EndpointConditions::default()
        }),
        node_name: Some(member.name.clone()),
        ..Endpoint::default()
    });
    let labels = [(SERVICE_LABEL, service.name_any()), (SLICE_OWNER_LABEL, MANAGED_BY.to_owned())];
    EndpointSlice {
        metadata: ObjectMeta {
            name: Some(service.name_any()),
            namespace: service.namespace(),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            owner_references: Some(vec![OwnerReference {
                api_version: Service::api_version(&()).into_owned(),
                kind: Service::kind(&()).into_owned(),
                name: service.name_any(),
                uid: service.uid().unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        address_type: if is_v4 { "IPv4" } else { "IPv6" }.to_owned(),
        endpoints: endpoints.collect(),
        ports: Some(vec![EndpointPort {
            name: Some(String::new()),
            port: Some(APISERVER_PORT.into()),
            protocol: Some("TCP".to_owned()),
            ..EndpointPort::default()
        }]),
    }
}

/// Returns the merge patch that makes an EndpointSlice as it should be; `None` if it is so.
#[must_use]
pub fn change_slice(live: &EndpointSlice, wanted: &EndpointSlice) -> Option<Value> {
    let metadata = change_metadata(&live.metadata, &wanted.metadata);
    let mut rest = Map::new();
    if live.endpoints != wanted.endpoints {
        rest.insert("endpoints".to_owned(), json!(wanted.endpoints));
    }
    if live.ports != wanted.ports {
        rest.insert("ports".to_owned(), json!(wanted.ports));
    }
    (!metadata.is_empty() || !rest.is_empty()).then(|| {
        rest.insert("metadata".to_owned(), metadata.into());
        rest.into()
    })
}

fn patch(metadata: Map<String, Value>, spec: Map<String, Value>) -> Option<Value> {
    let mut patch = Map::new();
    for (member, change) in [("metadata", metadata), ("spec", spec)] {
        if !change.is_empty() {
            patch.insert(member.to_owned(), change.into());
        }
    }
    (!patch.is_empty()).then_some(patch.into())
}

/// Returns the address that a Service has.
#[must_use]
pub fn address(service: &Service) -> Option<IpAddr> {
    let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    balancer.ingress.iter().flatten().find_map(|ingress| ingress.ip.as_ref()?.parse().ok())
}

/// Returns the address that a Service asks for.
#[must_use]
pub fn asked_address(service: &Service) -> Option<IpAddr> {
    let annotation = service.annotations().get(ADDRESS_ANNOTATION);
    let field = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_ref());
    [annotation, field].into_iter().flatten().find_map(|address| address.parse().ok())
}

#[cfg(test)]
mod tests;
