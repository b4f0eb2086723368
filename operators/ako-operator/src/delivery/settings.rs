//! The keys of AKO's ConfigMap. Owns which field of the AKODeploymentConfig each key comes from, and its default.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::Install;
use super::addresses::{Subnet, host};
use crate::api::{ExtraConfigs, IpType, NodeNetwork, Place, ServiceType};
use crate::problem::Problem;

/// The keys that AKO reads again while it runs. It reads all others when it starts.
pub const LIVE_KEYS: [&str; 3] = ["deleteConfig", "enableEvents", "logLevel"];

/// Returns the data of AKO's ConfigMap: 44 keys, and 2 more with the service type NodePort.
///
/// # Errors
/// Says which address of the AKODeploymentConfig AKO cannot use.
pub fn settings(install: &Install) -> Result<BTreeMap<String, String>, Problem> {
    let extra = install.spec.extra_configs.clone().unwrap_or_default();
    let mut settings = of_controller(install)?;
    settings.extend(of_ako(install, &extra));
    settings.extend(of_networks(install, &extra)?);
    settings.extend(of_ingresses(&extra));
    Ok(settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// Returns a hash of the settings that AKO reads only when it starts. The Secret is not part of it: AKO fails its liveness probe
/// from a change of its Secret on, and a hash in an annotation would let readers of Pods guess at a password.
pub(super) fn hash_of(settings: &BTreeMap<String, String>) -> String {
    let read_once: BTreeMap<_, _> =
        settings.iter().filter(|(key, _)| !LIVE_KEYS.contains(&key.as_str())).collect();
    HEXLOWER.encode(&Sha256::digest(json!(read_once).to_string()))
}

type Keys = Vec<(&'static str, String)>;

fn of_controller(install: &Install) -> Result<Keys, Problem> {
    let spec = &install.spec;
    let tenant = Place::from(spec).tenant_of(&install.namespace, &install.name);
    Ok(vec![
        ("controllerIP", host(&spec.controller)?.to_owned()),
        ("controllerVersion", install.effective_controller_version().to_owned()),
        ("cloudName", spec.cloud_name.clone()),
        ("serviceEngineGroupName", spec.service_engine_group.clone()),
        ("tenantName", tenant),
        // Empty: the VRF of the cloud.
        ("vrfName", String::new()),
        ("dedicatedTenantMode", text(false)),
        ("vpcMode", text(false)),
    ])
}

fn of_ako(install: &Install, extra: &ExtraConfigs) -> Keys {
    let log = extra.log.clone().unwrap_or_default();
    let selector = extra.namespace_selector.clone().unwrap_or_default();
    vec![
        ("clusterName", install.cluster_name()),
        ("primaryInstance", text(extra.primary_instance.unwrap_or(true))),
        ("fullSyncFrequency", extra.full_sync_frequency.clone().unwrap_or_else(|| "1800".to_owned())),
        ("apiServerPort", extra.api_server_port.unwrap_or(8080).to_string()),
        ("cniPlugin", extra.cni_plugin.as_ref().map_or_else(|| "antrea".to_owned(), word)),
        ("disableStaticRouteSync", text(extra.disable_static_route_sync.unwrap_or(true))),
        ("enableEVH", text(extra.enable_evh.unwrap_or(false))),
        ("layer7Only", text(extra.layer7_only.unwrap_or(false))),
        ("servicesAPI", text(extra.services_api.unwrap_or(false))),
        ("vipPerNamespace", text(extra.vip_per_namespace.unwrap_or(false))),
        ("istioEnabled", text(extra.istio_enabled.unwrap_or(false))),
        ("useDefaultSecretsOnly", text(extra.use_default_secrets_only.unwrap_or(false))),
        ("enableEvents", text(extra.enable_events.unwrap_or(true))),
        ("logLevel", log.log_level.as_ref().map_or_else(|| "INFO".to_owned(), word)),
        ("deleteConfig", text(install.delete_config)),
        ("nsSyncLabelKey", selector.label_key.unwrap_or_default()),
        ("nsSyncLabelValue", selector.label_value.unwrap_or_default()),
        ("blockedNamespaceList", json!(extra.blocked_namespace_list.clone().unwrap_or_default()).to_string()),
        ("ipFamily", word(&extra.ip_family.unwrap_or(IpType::V4))),
        ("enablePrometheus", text(false)),
        ("fqdnReusePolicy", "InterNamespaceAllowed".to_owned()),
        // Its CRD operator is not delivered.
        ("akoCRDOperatorEnabled", text(false)),
    ]
}

fn of_networks(install: &Install, extra: &ExtraConfigs) -> Result<Keys, Problem> {
    let networks = extra.networks_config.clone().unwrap_or_default();
    let l4 = extra.l4_config.clone().unwrap_or_default();
    Ok(vec![
        ("vipNetworkList", vip_networks(install)?),
        ("enableRHI", text(networks.enable_rhi.unwrap_or(false))),
        ("nsxtT1LR", networks.nsxt_t1_lr.unwrap_or_default()),
        ("bgpPeerLabels", json!(networks.bgp_peer_labels.unwrap_or_default()).to_string()),
        ("defaultDomain", l4.default_domain.unwrap_or_default()),
        ("autoFQDN", l4.auto_fqdn.as_ref().map_or_else(|| "disabled".to_owned(), word)),
        ("defaultLBController", text(true)),
    ])
}

fn of_ingresses(extra: &ExtraConfigs) -> Keys {
    let ingress = extra.ingress.clone().unwrap_or_default();
    let service_type = ingress.service_type.unwrap_or(ServiceType::NodePort);
    let mut keys = vec![
        ("serviceType", word(&service_type)),
        ("shardVSSize", ingress.shard_vs_size.as_ref().map_or_else(|| "SMALL".to_owned(), word)),
        (
            "passthroughShardSize",
            ingress.passthrough_shard_size.as_ref().map_or_else(|| "SMALL".to_owned(), word),
        ),
        ("defaultIngController", text(ingress.default_ingress_controller.unwrap_or(false))),
        ("noPGForSNI", text(ingress.no_pg_for_sni.unwrap_or(false))),
        ("enableMCI", text(ingress.enable_mci.unwrap_or(false))),
        ("nodeNetworkList", node_networks(&ingress.node_network_list.unwrap_or_default())),
    ];
    if service_type == ServiceType::NodePort {
        let selector = extra.node_port_selector.clone().unwrap_or_default();
        keys.push(("nodeKey", selector.key.unwrap_or_default()));
        keys.push(("nodeValue", selector.value.unwrap_or_default()));
    }
    keys
}

/// Returns the network of the virtual services as AKO reads it: a list of one.
pub(super) fn vip_networks(install: &Install) -> Result<String, Problem> {
    let data = &install.spec.data_network;
    let subnet = Subnet::parse("spec.dataNetwork.cidr", &data.cidr)?;
    Ok(format!("[{{\"networkName\":{},\"{}\":\"{subnet}\"}}]", json!(data.name), subnet.key()))
}

/// Returns the networks of nodes as AKO reads them.
pub(super) fn node_networks(networks: &[NodeNetwork]) -> String {
    serde_json::to_string(networks).unwrap_or_default()
}

pub(super) fn text(value: bool) -> String {
    value.to_string()
}

/// Returns the word of the API for a value.
pub(super) fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
