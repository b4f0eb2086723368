//! AviInfraSetting: the network and the service engine group of the control planes' virtual services, for AKO in the management cluster.
//!
//! Owns its name, and what of it an AKODeploymentConfig asks for. The kind belongs to AKO: where its CRD is not installed there is
//! none, which is no error. It has no owner reference: a foreground deletion would remove it while Services name it.

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use serde_json::{Map, Value, json};

use crate::api::{AkoDeploymentConfig, AkoDeploymentConfigSpec, ControlPlaneNetwork, ShardSize};
use crate::delivery::{MANAGED_BY, MANAGED_BY_LABEL};
use crate::metadata::change_metadata;

/// What the management cluster has.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// The kind is not served: AKO's CRDs are not installed.
    NotInstalled,
    /// There is none of this name.
    Absent,
    /// It is there.
    Present {
        /// Its labels and owners.
        metadata: Box<ObjectMeta>,
        /// Its spec.
        spec: Value,
        /// What AKO of the management cluster says of it: `status` is `Accepted`, or `Rejected` with an `error`.
        status: Value,
    },
}

/// A change of what the management cluster has.
#[derive(Clone, Debug, PartialEq)]
pub enum InfraSettingChange {
    /// It is created.
    Create(Box<DynamicObject>),
    /// It is changed, by a merge patch.
    Patch(Value),
    /// It is deleted, if it is still the same.
    Delete(Preconditions),
}

/// Returns the name of the AviInfraSetting of an AKODeploymentConfig.
#[must_use]
pub fn name_of(adc: &str) -> String {
    format!("{adc}-ais")
}

/// Returns whether an AKODeploymentConfig asks for one: it names a network of the control planes.
#[must_use]
pub fn is_asked_for(spec: &AkoDeploymentConfigSpec) -> bool {
    spec.control_plane_network.as_ref().is_some_and(|network| !network.name.is_empty())
}

/// Returns whether the control planes have a subnet of their own, so that a virtual service without the AviInfraSetting would have an
/// address of the wrong one.
#[must_use]
pub fn is_apart(spec: &AkoDeploymentConfigSpec) -> bool {
    subnet_apart(spec).is_some()
}

/// Returns the subnet of the control planes, if it is not that of the data network.
#[must_use]
pub fn subnet_apart(spec: &AkoDeploymentConfigSpec) -> Option<IpNet> {
    let subnet = |cidr: &str| cidr.parse::<IpNet>().ok().map(|cidr| cidr.trunc());
    let control_plane = spec.control_plane_network.as_ref().and_then(|network| subnet(&network.cidr));
    control_plane
        .filter(|subnet_of| is_asked_for(spec) && Some(*subnet_of) != subnet(&spec.data_network.cidr))
}

/// Returns how what the management cluster has is to be changed; `None` if it is right, or there can be none.
#[must_use]
pub fn change(adc: &AkoDeploymentConfig, live: &Live) -> Option<InfraSettingChange> {
    if !is_asked_for(&adc.spec) {
        return None;
    }
    let wanted = spec_of(&adc.spec);
    match live {
        Live::NotInstalled => None,
        Live::Absent => {
            let mut object = DynamicObject::new(&name_of(&adc.name_any()), &resource());
            object.metadata = metadata_of(adc);
            object.data = json!({ "spec": wanted });
            Some(InfraSettingChange::Create(Box::new(object)))
        }
        Live::Present { metadata, spec, .. } => {
            let mut patch = Map::new();
            // One that the original made, or a person, is taken over: AKO finds it by this name.
            let metadata = change_metadata(metadata, &metadata_of(adc));
            if !metadata.is_empty() {
                patch.insert("metadata".to_owned(), metadata.into());
            }
            if shown(spec) != shown(&wanted) {
                let mut wanted = wanted;
                if wanted.get("nsxSettings").is_none() {
                    wanted["nsxSettings"] = Value::Null;
                }
                patch.insert("spec".to_owned(), wanted);
            }
            (!patch.is_empty()).then(|| InfraSettingChange::Patch(patch.into()))
        }
    }
}

/// Returns how one that an earlier version or the original has made is changed so that Kubernetes does not delete it with an
/// AKODeploymentConfig, which the operator does; `None` if it does not.
#[must_use]
pub fn release(adc: &AkoDeploymentConfig, live: &Live) -> Option<InfraSettingChange> {
    let Live::Present { metadata, .. } = live else { return None };
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let others: Vec<_> =
        owners.iter().filter(|owner| Some(&owner.uid) != adc.metadata.uid.as_ref()).collect();
    (others.len() < owners.len()).then(|| {
        let version = &metadata.resource_version;
        let labels = json!({ MANAGED_BY_LABEL: MANAGED_BY });
        InfraSettingChange::Patch(
            json!({ "metadata": { "resourceVersion": version, "ownerReferences": others, "labels": labels } }),
        )
    })
}

/// Returns how it goes with an AKODeploymentConfig, or stays as that of a person where Services name it; `None` if it is not the operator's, or
/// others own it as well. `is_named`: whether Services do.
#[must_use]
pub fn leave(live: &Live, is_named: bool) -> Option<InfraSettingChange> {
    let Live::Present { metadata, .. } = live else { return None };
    let labels = metadata.labels.as_ref();
    let is_ours = labels.and_then(|labels| labels.get(MANAGED_BY_LABEL)).is_some_and(|by| by == MANAGED_BY);
    if !is_ours || metadata.deletion_timestamp.is_some() {
        return None;
    }
    let (uid, resource_version) = (metadata.uid.clone(), metadata.resource_version.clone());
    if is_named {
        let labels = json!({ MANAGED_BY_LABEL: null });
        return Some(InfraSettingChange::Patch(
            json!({ "metadata": { "resourceVersion": resource_version, "labels": labels } }),
        ));
    }
    let is_shared = metadata.owner_references.iter().flatten().next().is_some();
    (!is_shared).then_some(InfraSettingChange::Delete(Preconditions { uid, resource_version }))
}

/// Returns name and label.
fn metadata_of(adc: &AkoDeploymentConfig) -> ObjectMeta {
    ObjectMeta {
        name: Some(name_of(&adc.name_any())),
        labels: Some([(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned())].into()),
        ..ObjectMeta::default()
    }
}

/// Returns what of a spec an AKODeploymentConfig decides; the rest is of others. The original wrote an empty router where there is none.
fn shown(spec: &Value) -> [Value; 4] {
    let router = spec["nsxSettings"]["t1lr"].as_str().unwrap_or_default();
    [
        spec["seGroup"]["name"].clone(),
        spec["network"]["vipNetworks"].clone(),
        spec["l7Settings"]["shardSize"].clone(),
        router.into(),
    ]
}

/// Returns the spec that an AKODeploymentConfig asks for.
fn spec_of(spec: &AkoDeploymentConfigSpec) -> Value {
    let extra = spec.extra_configs.clone().unwrap_or_default();
    let network = |network: &ControlPlaneNetwork| match network.cidr.parse::<IpNet>() {
        Ok(cidr) => {
            let key = if matches!(cidr, IpNet::V6(_)) { "v6cidr" } else { "cidr" };
            json!({ "networkName": network.name, key: cidr.trunc().to_string() })
        }
        // A CIDR that is none is reported before.
        Err(_) => json!({ "networkName": network.name }),
    };
    let networks: Vec<_> = spec.control_plane_network.iter().map(network).collect();
    let shard = extra.ingress.as_ref().and_then(|ingress| ingress.shard_vs_size).unwrap_or(ShardSize::Small);
    let mut wanted = json!({
        "seGroup": { "name": spec.service_engine_group },
        "network": { "vipNetworks": networks },
        "l7Settings": { "shardSize": shard },
    });
    let router = extra.networks_config.and_then(|networks| networks.nsxt_t1_lr);
    if let Some(router) = router.filter(|router| !router.is_empty()) {
        wanted["nsxSettings"] = json!({ "t1lr": router });
    }
    wanted
}

/// Reads the AviInfraSetting of this name.
///
/// # Errors
/// If the API server refuses the request or does not answer.
pub async fn find(client: &Client, name: &str) -> Result<Live, kube::Error> {
    match api(client).get(name).await {
        Ok(found) => Ok(Live::Present {
            metadata: Box::new(found.metadata),
            spec: found.data.get("spec").cloned().unwrap_or_default(),
            status: found.data.get("status").cloned().unwrap_or_default(),
        }),
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            // For a kind that it does not serve, the API server names nothing.
            let is_named = status.details.as_ref().is_some_and(|details| details.name == name);
            Ok(if is_named { Live::Absent } else { Live::NotInstalled })
        }
        Err(error) => Err(error),
    }
}

/// Carries out a change.
///
/// # Errors
/// If the API server refuses the request or does not answer.
pub async fn apply(
    client: &Client,
    manager: &str,
    name: &str,
    change: &InfraSettingChange,
) -> Result<(), kube::Error> {
    let manager = Some(manager.to_owned());
    match change {
        InfraSettingChange::Create(object) => {
            let params = PostParams { field_manager: manager, ..PostParams::default() };
            api(client).create(&params, object).await?;
        }
        InfraSettingChange::Patch(patch) => {
            let params = PatchParams { field_manager: manager, ..PatchParams::default() };
            api(client).patch(name, &params, &Patch::Merge(patch)).await?;
        }
        InfraSettingChange::Delete(same) => {
            let params = DeleteParams { preconditions: Some(same.clone()), ..DeleteParams::default() };
            match api(client).delete(name, &params).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                deleted => drop(deleted?),
            }
        }
    }
    Ok(())
}

fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("ako.vmware.com", "v1beta1", "AviInfraSetting");
    ApiResource::from_gvk_with_plural(&kind, "aviinfrasettings")
}

fn api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &resource())
}

#[cfg(test)]
mod tests;
