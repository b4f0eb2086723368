//! The data values from which TKG's add-on managers deliver AKO: the content of a Secret of the management cluster.
//!
//! Owns its bytes: both managers compare them, and a difference would install AKO again. What the original got wrong is right here:
//! `layer_7_only` and `enable_events` have keys of their own, a node port selector's value is its value, a subnet is its network. Also owns
//! the one change of data values that others may have written: `delete_config`.

use infra_clients::capi::{AddonForm, AddonSecret};
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::addresses::Subnet;
use super::settings::{node_networks, text, vip_networks, word};
use super::yaml::{Node, document, texts};
use super::{Install, NAMESPACE};
use crate::api::{ExtraConfigs, Ingress, Place, ServiceType, ShardSize};
use crate::problem::Problem;

/// The add-on of AKO.
pub const ADDON: &str = "load-balancer-and-ingress-service";
/// Its package, of which a release of TKG has one version.
pub const PACKAGE: &str = "load-balancer-and-ingress-service.tanzu.vmware.com";
/// What sort of add-on it is.
const CATEGORY: &str = "networking";

/// Returns the name of the Secret of the management cluster.
#[must_use]
pub fn secret_name(cluster: &str) -> String {
    AddonSecret::name_of(cluster, ADDON)
}

/// Returns the name of the Secret of the workload cluster into which an add-on manager writes the data values.
#[must_use]
pub fn data_values_name(cluster: &str, form: AddonForm) -> String {
    match form {
        AddonForm::Legacy => format!("{ADDON}-data-values"),
        AddonForm::ClusterBootstrap => format!("{cluster}-{ADDON}-data-values"),
    }
}

/// Returns the Secret of the management cluster, without an owner.
///
/// # Errors
/// Says which field of the AKODeploymentConfig has no subnet.
pub fn secret(install: &Install, form: AddonForm) -> Result<Secret, Problem> {
    let (namespace, cluster) = (&install.namespace, &install.name);
    let values = &values(install)?;
    Ok(AddonSecret { namespace, cluster, category: CATEGORY, addon: ADDON, form, values }.to_kubernetes())
}

/// Returns whether data values tell AKO to remove what it made; `None` if they cannot be read.
#[must_use]
pub fn delete_config(values: &str) -> Option<bool> {
    let value = find(values)?.value;
    Some(value == "true" || value == true)
}

/// Returns data values that tell AKO to remove what it made, and are the same otherwise, with comments and keys of others; `None` if they
/// cannot be read.
#[must_use]
pub fn told_to_delete(values: &str) -> Option<String> {
    let span = find(values)?.referenced.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let end = start + usize::try_from(span.byte_len()?).ok()?;
    let told = [values.get(..start)?, "\"true\"", values.get(end..)?].concat();
    (find(&told)?.value == "true").then_some(told)
}

/// What is read of data values.
#[derive(Deserialize)]
struct Values {
    #[serde(rename = "loadBalancerAndIngressService")]
    service: Service,
}

#[derive(Deserialize)]
struct Service {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    ako_settings: Settings,
}

#[derive(Deserialize)]
struct Settings {
    delete_config: Spanned<Value>,
}

fn find(values: &str) -> Option<Spanned<Value>> {
    let values: Values = serde_saphyr::from_str(values).ok()?;
    Some(values.service.config.ako_settings.delete_config)
}

/// Returns the data values, with AKO's credentials.
fn values(install: &Install) -> Result<infra_clients::Secret, Problem> {
    let service = vec![
        ("name", Node::Text(format!("ako-{}", install.cluster_name()))),
        ("namespace", Node::Text(NAMESPACE.to_owned())),
        ("config", Node::Map(config(install)?)),
    ];
    let document = document(&[("loadBalancerAndIngressService", Node::Map(service))]);
    Ok(infra_clients::Secret::new(document))
}

type Map = Vec<(&'static str, Node)>;

fn config(install: &Install) -> Result<Map, Problem> {
    let extra = install.spec.extra_configs.clone().unwrap_or_default();
    let log = extra.log.clone().unwrap_or_default();
    let rbac = extra.rbac.clone().unwrap_or_default();
    let selector = extra.node_port_selector.clone().unwrap_or_default();
    let gates = extra.feature_gates.clone().unwrap_or_default();
    let l4 = extra.l4_config.clone().unwrap_or_default();
    let credentials = &install.credentials;
    let role = if install.is_management { "management" } else { "workload" };
    let mut config = texts([("tkg_cluster_role", role.to_owned()), ("is_cluster_service", String::new())]);
    config.extend([
        ("replica_count", Node::Number(extra.replica_count.unwrap_or(1).into())),
        ("ako_settings", Node::Map(ako_settings(install, &extra))),
        ("network_settings", Node::Map(network_settings(install, &extra)?)),
        ("l7_settings", Node::Map(l7_settings(&extra.ingress.clone().unwrap_or_default()))),
    ]);
    let of_l4 = texts([
        ("default_domain", l4.default_domain.unwrap_or_default()),
        ("auto_fqdn", l4.auto_fqdn.as_ref().map(word).unwrap_or_default()),
    ]);
    let psp = vec![
        ("psp_enabled", Node::Bool(rbac.psp_enabled.unwrap_or(false))),
        ("psp_policy_api_version", Node::Text(rbac.psp_policy_api_version.unwrap_or_default())),
    ];
    let selector =
        texts([("key", selector.key.unwrap_or_default()), ("value", selector.value.unwrap_or_default())]);
    config.extend([
        ("l4_settings", Node::Map(of_l4)),
        ("controller_settings", Node::Map(controller_settings(install))),
        ("nodeport_selector", Node::Map(selector)),
        ("rbac", Node::Map(psp)),
    ]);
    config.extend(texts([
        ("persistent_volume_claim", log.persistent_volume_claim.unwrap_or_default()),
        ("mount_path", log.mount_path.unwrap_or_default()),
        ("log_file", log.log_file.unwrap_or_default()),
        ("ako_gateway_log_file", log.ako_gateway_log_file.unwrap_or_default()),
    ]));
    let of_user = texts([
        ("username", credentials.username.clone()),
        ("password", credentials.password.expose().to_owned()),
        ("certificate_authority_data", credentials.ca_pem.clone()),
    ]);
    config.push(("avi_credentials", Node::Map(of_user)));
    config.push(("feature_gates", Node::Map(texts([("gateway_api", set(gates.gateway_api))]))));
    Ok(config)
}

fn ako_settings(install: &Install, extra: &ExtraConfigs) -> Map {
    let log_level = extra.log.as_ref().and_then(|log| log.log_level);
    let selector = extra.namespace_selector.clone().unwrap_or_default();
    let blocked = extra.blocked_namespace_list.as_deref();
    let mut settings = texts([
        ("primary_instance", set(extra.primary_instance)),
        ("log_level", log_level.as_ref().map_or_else(|| "INFO".to_owned(), word)),
        ("full_sync_frequency", extra.full_sync_frequency.clone().unwrap_or_else(|| "1800".to_owned())),
    ]);
    settings.push(("api_server_port", Node::Number(extra.api_server_port.unwrap_or(8080))));
    settings.extend(texts([
        // AKO of a management cluster outlives all that uses it.
        ("delete_config", text(install.delete_config && !install.is_management)),
        ("disable_static_route_sync", text(extra.disable_static_route_sync.unwrap_or(true))),
        ("cluster_name", install.cluster_name()),
        ("cni_plugin", extra.cni_plugin.as_ref().map(word).unwrap_or_default()),
        ("sync_namespace", String::new()),
        ("enable_EVH", set(extra.enable_evh)),
        ("layer_7_only", set(extra.layer7_only)),
        ("services_api", set(extra.services_api)),
        ("vip_per_namespace", set(extra.vip_per_namespace)),
    ]));
    let selector = texts([
        ("label_key", selector.label_key.unwrap_or_default()),
        ("label_value", selector.label_value.unwrap_or_default()),
    ]);
    settings.push(("namespace_selector", Node::Map(selector)));
    settings.extend(texts([
        ("enable_events", set(extra.enable_events)),
        ("istio_enabled", set(extra.istio_enabled)),
        ("blocked_namespace_list", list(blocked)),
        ("ip_family", extra.ip_family.as_ref().map(word).unwrap_or_default()),
        ("use_default_secrets_only", set(extra.use_default_secrets_only)),
    ]));
    settings
}

fn network_settings(install: &Install, extra: &ExtraConfigs) -> Result<Map, Problem> {
    let spec = &install.spec;
    let data = Subnet::parse("spec.dataNetwork.cidr", &spec.data_network.cidr)?;
    let (name, subnet) = match &spec.control_plane_network {
        Some(network) => (&network.name, Subnet::parse("spec.controlPlaneNetwork.cidr", &network.cidr)?),
        None => (&spec.data_network.name, data),
    };
    let networks = extra.networks_config.clone().unwrap_or_default();
    let nodes = extra.ingress.as_ref().and_then(|ingress| ingress.node_network_list.as_deref());
    let nodes = nodes.filter(|nodes| !nodes.is_empty());
    Ok(texts([
        ("subnet_ip", data.address()),
        ("subnet_prefix", data.prefix()),
        ("network_name", spec.data_network.name.clone()),
        ("control_plane_network_name", name.clone()),
        ("control_plane_network_cidr", subnet.to_string()),
        ("node_network_list", nodes.map(node_networks).unwrap_or_default()),
        ("vip_network_list", vip_networks(install)?),
        ("enable_rhi", set(networks.enable_rhi)),
        ("nsxt_t1_lr", networks.nsxt_t1_lr.unwrap_or_default()),
        ("bgp_peer_labels", list(networks.bgp_peer_labels.as_deref())),
    ]))
}

fn l7_settings(ingress: &Ingress) -> Map {
    let is = |flag: Option<bool>| Node::Bool(flag.unwrap_or(false));
    let shards = word(&ingress.shard_vs_size.unwrap_or(ShardSize::Small));
    let passthrough = ingress.passthrough_shard_size.as_ref().map(word).unwrap_or_default();
    vec![
        ("disable_ingress_class", is(ingress.disable_ingress_class)),
        ("default_ing_controller", is(ingress.default_ingress_controller)),
        ("l7_sharding_scheme", Node::Text(String::new())),
        ("service_type", Node::Text(word(&ingress.service_type.unwrap_or(ServiceType::NodePort)))),
        ("shard_vs_size", Node::Text(shards)),
        ("pass_through_shardsize", Node::Text(passthrough)),
        ("no_pg_for_SNI", is(ingress.no_pg_for_sni)),
        ("enable_MCI", Node::Text(set(ingress.enable_mci))),
    ]
}

fn controller_settings(install: &Install) -> Map {
    let spec = &install.spec;
    texts([
        ("service_engine_group_name", spec.service_engine_group.clone()),
        ("controller_version", install.effective_controller_version().to_owned()),
        ("cloud_name", spec.cloud_name.clone()),
        ("controller_ip", spec.controller.clone()),
        (
            "tenant_name",
            spec.tenant
                .as_ref()
                .map_or_else(String::new, |_| Place::from(spec).tenant_of(&install.namespace, &install.name)),
        ),
    ])
}

/// A truth value as text; nothing where it is not set, so that the add-on's own default applies.
fn set(flag: Option<bool>) -> String {
    flag.map(text).unwrap_or_default()
}

/// A list as JSON; nothing where it is empty.
fn list(texts: Option<&[String]>) -> String {
    let texts = texts.filter(|texts| !texts.is_empty());
    texts.and_then(|texts| serde_json::to_string(texts).ok()).unwrap_or_default()
}
