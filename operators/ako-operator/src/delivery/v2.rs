//! The StatefulSet of AKO 2.2.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapKeySelector, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource,
    ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler, LocalObjectReference, ObjectFieldSelector,
    PersistentVolumeClaimVolumeSource, PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe,
    ResourceRequirements, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{CONFIG_MAP, GATEWAY_CONTAINER, HASH_ANNOTATION, Install, NAMESPACE, STATEFUL_SET};
use crate::api::{ExtraConfigs, Log};

/// Name of the ServiceAccount.
pub(super) const SERVICE_ACCOUNT: &str = "ako-sa";
/// Label of AKO's Pods, with the value `ako`.
const POD_LABEL: &str = "app.kubernetes.io/name";

/// Variables of the container `ako`, and the keys of the ConfigMap that they come from. A key that is absent, or empty where the
/// variable must not be, has no variable: see [`variables`].
pub(super) const AKO: &[(&str, &str)] = &[
    ("CTRL_IPADDRESS", "controllerIP"),
    ("CTRL_VERSION", "controllerVersion"),
    ("CNI_PLUGIN", "cniPlugin"),
    ("ISTIO_ENABLED", "istioEnabled"),
    ("VIP_PER_NAMESPACE", "vipPerNamespace"),
    ("SHARD_VS_SIZE", "shardVSSize"),
    ("PASSTHROUGH_SHARD_SIZE", "passthroughShardSize"),
    ("FULL_SYNC_INTERVAL", "fullSyncFrequency"),
    ("PRIMARY_AKO_FLAG", "primaryInstance"),
    ("CLOUD_NAME", "cloudName"),
    ("TENANT_NAME", "tenantName"),
    ("DEDICATED_TENANT_MODE", "dedicatedTenantMode"),
    ("VRF_NAME", "vrfName"),
    ("CLUSTER_NAME", "clusterName"),
    ("ENABLE_RHI", "enableRHI"),
    ("ENABLE_EVH", "enableEVH"),
    ("SERVICES_API", "servicesAPI"),
    ("DEFAULT_DOMAIN", "defaultDomain"),
    ("DISABLE_STATIC_ROUTE_SYNC", "disableStaticRouteSync"),
    ("NSXT_T1_LR", "nsxtT1LR"),
    ("NAMESPACE_SYNC_LABEL_KEY", "nsSyncLabelKey"),
    ("NAMESPACE_SYNC_LABEL_VALUE", "nsSyncLabelValue"),
    ("DEFAULT_ING_CONTROLLER", "defaultIngController"),
    ("DEFAULT_LB_CONTROLLER", "defaultLBController"),
    ("SEG_NAME", "serviceEngineGroupName"),
    ("BGP_PEER_LABELS", "bgpPeerLabels"),
    ("NODE_NETWORK_LIST", "nodeNetworkList"),
    ("VIP_NETWORK_LIST", "vipNetworkList"),
    ("AKO_API_PORT", "apiServerPort"),
    ("SERVICE_TYPE", "serviceType"),
    ("NODE_KEY", "nodeKey"),
    ("NODE_VALUE", "nodeValue"),
    ("AUTO_L4_FQDN", "autoFQDN"),
    ("MCI_ENABLED", "enableMCI"),
    ("BLOCKED_NS_LIST", "blockedNamespaceList"),
    ("IP_FAMILY", "ipFamily"),
    ("USE_DEFAULT_SECRETS_ONLY", "useDefaultSecretsOnly"),
    ("VPC_MODE", "vpcMode"),
    ("PROMETHEUS_ENABLED", "enablePrometheus"),
    ("FQDN_REUSE_POLICY", "fqdnReusePolicy"),
    ("AKO_CRD_OPERATOR_ENABLED", "akoCRDOperatorEnabled"),
];

/// The same for the container `ako-gateway-api`.
pub(super) const GATEWAY: &[&str] = &[
    "CTRL_IPADDRESS",
    "CTRL_VERSION",
    "CNI_PLUGIN",
    "ISTIO_ENABLED",
    "FULL_SYNC_INTERVAL",
    "PRIMARY_AKO_FLAG",
    "CLOUD_NAME",
    "TENANT_NAME",
    "CLUSTER_NAME",
    "ENABLE_RHI",
    "NSXT_T1_LR",
    "SEG_NAME",
    "BGP_PEER_LABELS",
    "NODE_NETWORK_LIST",
    "VIP_NETWORK_LIST",
    "SERVICE_TYPE",
    "NODE_KEY",
    "NODE_VALUE",
];

/// Returns the StatefulSet for these settings. `gateway_image` is the image of the second container, if there is to be one.
pub(super) fn stateful_set(
    install: &Install,
    settings: &BTreeMap<String, String>,
    gateway_image: Option<&str>,
) -> StatefulSet {
    let extra = install.spec.extra_configs.clone().unwrap_or_default();
    let pod_labels = BTreeMap::from([(POD_LABEL.to_owned(), "ako".to_owned())]);
    let selector = LabelSelector { match_labels: Some(pod_labels.clone()), ..LabelSelector::default() };
    let annotations = annotations(&extra, super::settings::hash_of(settings));
    StatefulSet {
        metadata: super::objects::metadata(Some(NAMESPACE), STATEFUL_SET),
        spec: Some(StatefulSetSpec {
            service_name: Some("ako".to_owned()),
            replicas: Some(extra.replica_count.unwrap_or(1)),
            selector: selector.clone(),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(pod_labels),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(install, &extra, settings, gateway_image, selector)),
            },
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn pod(
    install: &Install,
    extra: &ExtraConfigs,
    settings: &BTreeMap<String, String>,
    gateway_image: Option<&str>,
    selector: LabelSelector,
) -> PodSpec {
    let log = extra.log.clone().unwrap_or_default();
    let gateway = gateway_image.map(|image| gateway_container(image, &log, settings));
    let pull_secrets =
        install.ako.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    // Two replicas on one node would fail together.
    let apart = PodAffinityTerm {
        label_selector: Some(selector),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    let anti_affinity = PodAntiAffinity {
        required_during_scheduling_ignored_during_execution: Some(vec![apart]),
        ..PodAntiAffinity::default()
    };
    PodSpec {
        service_account_name: Some(SERVICE_ACCOUNT.to_owned()),
        containers: [ako_container(install, extra, &log, settings)].into_iter().chain(gateway).collect(),
        image_pull_secrets: some(pull_secrets.collect()),
        volumes: some(volumes(extra, &log)),
        affinity: Some(Affinity { pod_anti_affinity: Some(anti_affinity), ..Affinity::default() }),
        ..PodSpec::default()
    }
}

/// Volumes for the log and, with Istio, for the certificates that its sidecar writes. AKO's container mounts the latter, so it is in the
/// template: an API server refuses a mount of a volume that only the sidecar's injection would add.
fn volumes(extra: &ExtraConfigs, log: &Log) -> Vec<Volume> {
    let claim = log.persistent_volume_claim.as_ref().filter(|claim| !claim.is_empty());
    let of_log = claim.map(|claim| Volume {
        name: LOG_VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.clone(),
            read_only: None,
        }),
        ..Volume::default()
    });
    let of_istio = (extra.istio_enabled == Some(true)).then(|| Volume {
        name: ISTIO_VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: None }),
        ..Volume::default()
    });
    of_log.into_iter().chain(of_istio).collect()
}

fn ako_container(
    install: &Install,
    extra: &ExtraConfigs,
    log: &Log,
    settings: &BTreeMap<String, String>,
) -> Container {
    let port = i32::try_from(extra.api_server_port.unwrap_or(8080)).unwrap_or(8080);
    let mut mounts = log_mount(log);
    if extra.istio_enabled == Some(true) {
        mounts.push(mount(ISTIO_VOLUME, ISTIO_CERTS));
    }
    let stop = ["/bin/sh", "/var/pre_stop_hook.sh"].map(str::to_owned).to_vec();
    let pre_stop =
        LifecycleHandler { exec: Some(ExecAction { command: Some(stop) }), ..LifecycleHandler::default() };
    let status = HTTPGetAction {
        path: Some("/api/status".to_owned()),
        port: IntOrString::Int(port),
        ..HTTPGetAction::default()
    };
    let file = file_name(log.log_file.as_deref(), "avi.log");
    Container {
        name: "ako".to_owned(),
        image: Some(install.ako.image.clone()),
        ports: Some(vec![ContainerPort {
            name: Some("api".to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        env: Some(variables(AKO.iter().copied(), settings, log, &file)),
        volume_mounts: some(mounts),
        lifecycle: Some(Lifecycle { pre_stop: Some(pre_stop), ..Lifecycle::default() }),
        liveness_probe: Some(Probe {
            http_get: Some(status),
            initial_delay_seconds: Some(5),
            period_seconds: Some(10),
            ..Probe::default()
        }),
        resources: Some(resources()),
        ..Container::default()
    }
}

fn gateway_container(image: &str, log: &Log, settings: &BTreeMap<String, String>) -> Container {
    let file = file_name(log.ako_gateway_log_file.as_deref(), "avi-gw.log");
    let of_gateway = AKO.iter().copied().filter(|(name, _)| GATEWAY.contains(name));
    Container {
        name: GATEWAY_CONTAINER.to_owned(),
        image: Some(image.to_owned()),
        env: Some(variables(of_gateway, settings, log, &file)),
        volume_mounts: some(log_mount(log)),
        resources: Some(resources()),
        ..Container::default()
    }
}

const LOG_VOLUME: &str = "ako-pv-storage";
const ISTIO_VOLUME: &str = "istio-certs";
const ISTIO_CERTS: &str = "/etc/istio-output-certs/";

/// Returns a container's variables: those of the settings, and its own. NSXT_T1_LR exists only with a value.
fn variables(
    of_settings: impl Iterator<Item = (&'static str, &'static str)>,
    settings: &BTreeMap<String, String>,
    log: &Log,
    file: &str,
) -> Vec<EnvVar> {
    let is_set = |key: &str| settings.get(key).is_some_and(|value| key != "nsxtT1LR" || !value.is_empty());
    let of_setting = |(name, key): (&str, &str)| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            config_map_key_ref: Some(ConfigMapKeySelector {
                name: CONFIG_MAP.to_owned(),
                key: key.to_owned(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    let mut variables: Vec<_> = of_settings.filter(|(_, key)| is_set(key)).map(of_setting).collect();
    let plain = |name: &str, value: &str| EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    };
    let of_pod = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: path.to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    };
    if !log_mount(log).is_empty() {
        variables.push(plain("USE_PVC", "true"));
    }
    variables.push(plain("LOG_FILE_PATH", mount_path(log)));
    variables.push(plain("LOG_FILE_NAME", file));
    variables.push(of_pod("POD_NAME", "metadata.name"));
    variables.push(of_pod("POD_NAMESPACE", "metadata.namespace"));
    variables
}

/// Annotations of the Pods: the hash of the settings, and the parameters of Istio's sidecar injection.
fn annotations(extra: &ExtraConfigs, hash: String) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([(HASH_ANNOTATION.to_owned(), hash)]);
    if extra.istio_enabled == Some(true) {
        let mounts = r#"[{"name": "istio-certs", "mountPath": "/etc/istio-output-certs"}]"#;
        let config = "proxyMetadata:\n  OUTPUT_CERTS: /etc/istio-output-certs\n";
        let of_istio = [
            ("sidecar.istio.io/inject", "true"),
            ("traffic.sidecar.istio.io/includeInboundPorts", ""),
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", ""),
            ("proxy.istio.io/config", config),
            ("sidecar.istio.io/userVolumeMount", mounts),
        ];
        annotations.extend(of_istio.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    annotations
}

fn log_mount(log: &Log) -> Vec<VolumeMount> {
    let claim = log.persistent_volume_claim.as_ref().filter(|claim| !claim.is_empty());
    claim.map(|_| mount(LOG_VOLUME, mount_path(log))).into_iter().collect()
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn mount_path(log: &Log) -> &str {
    log.mount_path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/log")
}

fn file_name(file: Option<&str>, default: &str) -> String {
    file.filter(|file| !file.is_empty()).unwrap_or(default).to_owned()
}

fn resources() -> ResourceRequirements {
    let of = |cpu: &str, memory: &str| {
        let quantities = [("cpu", cpu), ("memory", memory)];
        Some(quantities.map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).into())
    };
    ResourceRequirements {
        requests: of("200m", "300Mi"),
        limits: of("350m", "400Mi"),
        ..ResourceRequirements::default()
    }
}

/// An empty list in an apply would differ from an absent one at the API server.
fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
