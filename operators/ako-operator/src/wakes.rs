//! The objects that a change of another one wakes. Pure: `program` subscribes to the changes, and wakes.
//!
//! ```text
//!   AKODeploymentConfig ──▶ Clusters, endpoints, the other AKODeploymentConfigs
//!   Cluster ──▶ AKODeploymentConfigs     Machine, Service ──▶ its Cluster, its endpoint     EndpointSlice ──▶ its endpoint
//! ```
//!
//! The object itself is woken by its own watch. What a controller writes into a status must wake none that writes in answer.

use std::collections::BTreeSet;

use infra_clients::capi::{Cluster, Machine, secret_name};
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use operator_kit::{Change, Foreign, Guarded, Key, conditions};

use crate::api::{AkoDeploymentConfig, AkoDeploymentConfigStatus, MOVE_ANNOTATION, PRE_TERMINATE_HOOK};
use crate::delivery::addon;
use crate::endpoint::objects::{self, SERVICE_LABEL};
use crate::endpoint::share_of;
use crate::selection::readiness;
use crate::user;

/// Objects of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All of them.
    All,
    /// Those with these keys; mostly none.
    These(Vec<Key>),
}

impl Default for Which {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Which {
    fn one(key: Key) -> Self {
        Self::These(vec![key])
    }
}

/// The objects that a change wakes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Woken {
    /// Clusters, for the controller that delivers AKO.
    pub(crate) clusters: Which,
    /// Clusters, for the controller of control planes' endpoints.
    pub(crate) endpoints: Which,
    /// AKODeploymentConfigs.
    pub(crate) adcs: Which,
}

/// An AKODeploymentConfig has changed.
pub(crate) fn by_config(change: &Change<AkoDeploymentConfig>) -> Woken {
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    let known: BTreeSet<Key> = before.into_iter().flat_map(delivered_to).collect();
    let now: BTreeSet<Key> = after.into_iter().flat_map(delivered_to).collect();
    let offers = before.map(offer_of) != after.map(offer_of);
    let quotes = before.map(quote_of) != after.map(quote_of);
    // One that another has recorded may be taken over from this one, and one that has left may be waited for.
    let claims = known != now || before.map(claim_of) != after.map(claim_of);
    // Where AKO works of one that has lost its record, its workload cluster says.
    let recorded = || Which::These(now.symmetric_difference(&known).cloned().collect());
    Woken {
        clusters: if offers || quotes { Which::All } else { recorded() },
        endpoints: if offers { Which::All } else { Which::default() },
        adcs: if claims { Which::All } else { Which::default() },
    }
}

/// A Cluster has changed.
pub(crate) fn by_cluster(change: &Change<Foreign<Cluster>>) -> Woken {
    let wishes = change.before.as_ref().map(wish_of) != change.after.as_ref().map(wish_of);
    Woken { adcs: if wishes { Which::All } else { Which::default() }, ..Woken::default() }
}

/// A Machine has changed.
pub(crate) fn by_machine(change: &Change<Foreign<Machine>>) -> Woken {
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    let Some(machine) = change.newest().and_then(Guarded::valid) else { return Woken::default() };
    let only_if = |differs: bool| if differs { Which::one(cluster_of(machine)) } else { Which::default() };
    Woken {
        clusters: only_if(before.map(hook_of) != after.map(hook_of)),
        endpoints: only_if(before.map(share_of) != after.map(share_of)),
        ..Woken::default()
    }
}

/// A Service of type LoadBalancer has changed.
pub(crate) fn by_service(change: &Change<Service>) -> Woken {
    let Some(cluster) = change.newest().map(Key::of).as_ref().and_then(balanced_by) else {
        return Woken::default();
    };
    // AKO of a management cluster waits for the Service.
    let is_new = change.before.is_none();
    let clusters = if is_new { Which::one(cluster.clone()) } else { Which::default() };
    // One that is being deleted waits for the Services that name its AviInfraSetting.
    let adcs = if change.after.is_none() { Which::All } else { Which::default() };
    Woken { clusters, endpoints: Which::one(cluster), adcs }
}

/// An EndpointSlice has changed.
pub(crate) fn by_slice(change: &Change<EndpointSlice>) -> Woken {
    let slice = change.newest().and_then(Guarded::valid);
    let cluster = slice.and_then(|slice| service_of(slice)).as_ref().and_then(balanced_by);
    Woken { endpoints: Which::These(cluster.into_iter().collect()), ..Woken::default() }
}

/// Returns the key of a Cluster that is being deleted while it is paused: `clusterctl move` lets it go, and its AKO lives on.
pub(crate) fn moved_cluster(change: &Change<Foreign<Cluster>>) -> Option<Key> {
    let cluster = change.after.as_ref().and_then(Guarded::valid)?;
    (cluster.is_deleting() && cluster.is_paused()).then(|| Key::of(&**cluster))
}

/// Returns the key of a Secret that has another version, is new or is gone.
pub(crate) fn changed_secret(change: &Change<PartialObjectMeta<Secret>>) -> Option<Key> {
    let version = |meta: &Guarded<PartialObjectMeta<Secret>>| meta.meta().resource_version.clone();
    let differs = change.before.as_ref().map(version) != change.after.as_ref().map(version);
    change.newest().filter(|_| differs).map(Key::of)
}

/// Returns the key of the Cluster of which a Secret would be the kubeconfig, the credentials of its user on AVI, or the add-on Secret.
pub(crate) fn owner_of(secret: &Key) -> Option<Key> {
    // Each of their names is the Cluster's and an end.
    let ends = [secret_name(""), user::secret_name(""), addon::secret_name("")];
    let name = ends.iter().find_map(|end| secret.name().strip_suffix(&**end))?;
    Some(Key::new(secret.namespace(), name))
}

/// Returns the key of a Machine's Cluster.
pub(crate) fn cluster_of(machine: &Machine) -> Key {
    Key::new(machine.namespace(), &machine.spec.cluster_name)
}

/// Returns the key of an EndpointSlice's Service.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.labels().get(SERVICE_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// Returns the key of the Cluster whose control plane the Service of this key balances.
fn balanced_by(service: &Key) -> Option<Key> {
    objects::cluster_of(service.namespace(), service.name())
}

/// Returns the condition Ready of an AKODeploymentConfig.
fn ready_of(adc: &Guarded<AkoDeploymentConfig>) -> Option<&Condition> {
    conditions::get(&adc.valid()?.status.as_ref()?.conditions, conditions::READY)
}

/// Returns what the conditions of Clusters quote of an AKODeploymentConfig: why it is not ready.
fn quote_of(adc: &Guarded<AkoDeploymentConfig>) -> impl PartialEq + use<> {
    let unready = ready_of(adc).filter(|ready| ready.status != "True");
    unready.map(|ready| (ready.reason.clone(), ready.message.clone()))
}

/// Returns what of an AKODeploymentConfig the Clusters have to know: its spec, whether it goes, and whether it is ready.
fn offer_of(adc: &Guarded<AkoDeploymentConfig>) -> impl PartialEq + use<> {
    let status = adc.valid().and_then(|adc| adc.status.clone()).unwrap_or_default();
    let ready = ready_of(adc).map(|ready| ready.status.clone());
    let meta = adc.meta();
    (
        meta.uid.clone(),
        meta.generation,
        meta.deletion_timestamp.is_some(),
        status.observed_generation,
        status.controller_version,
        ready,
    )
}

/// Returns the Clusters that an AKODeploymentConfig has recorded.
fn delivered_to(adc: &Guarded<AkoDeploymentConfig>) -> Vec<Key> {
    let status = adc.valid().and_then(|adc| adc.status.as_ref());
    status.into_iter().flat_map(AkoDeploymentConfigStatus::clusters).collect()
}

/// Returns what of an AKODeploymentConfig others have to know: what it has added to AVI, whether that can be read, and whether it goes.
fn claim_of(adc: &Guarded<AkoDeploymentConfig>) -> impl PartialEq + use<> {
    let added = adc.valid().and_then(|adc| adc.status.as_ref()?.added.clone());
    (adc.meta().uid.clone(), adc.meta().deletion_timestamp.is_some(), adc.valid().is_some(), added)
}

/// Returns what of a Cluster decides which AKODeploymentConfig it takes AKO from and records it, and whether it is looked for once it is gone.
fn wish_of(cluster: &Guarded<Foreign<Cluster>>) -> impl PartialEq + use<> {
    let meta = cluster.meta();
    let said = cluster.valid().map(|cluster| (readiness(cluster), cluster.is_paused()));
    let is_going = meta.deletion_timestamp.is_some();
    let asks = meta.annotations.as_ref().and_then(|annotations| annotations.get(MOVE_ANNOTATION).cloned());
    (meta.uid.clone(), meta.labels.clone(), meta.finalizers.clone(), asks, is_going, meta.generation, said)
}

/// Returns what of a Machine its Cluster has to know: whether it is being deleted, and its hook.
fn hook_of(machine: &Guarded<Foreign<Machine>>) -> (bool, Option<String>) {
    let meta = machine.meta();
    let hook = meta.annotations.as_ref().and_then(|annotations| annotations.get(PRE_TERMINATE_HOOK));
    (meta.deletion_timestamp.is_some(), hook.cloned())
}

#[cfg(test)]
mod tests;
