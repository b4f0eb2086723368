//! `spec.extraConfigs`: settings that reach AKO. The operator has no opinion on most of them: each becomes a key of AKO's ConfigMap.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adc::IpType;

/// Declares structs of optional fields, which are all that these settings have.
macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $about:literal])+ $(#[serde($serde:meta)])? $(#[schemars($schema:meta)])? $field:ident: $type:ty,)+
    })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            $(
                $(#[doc = $about])+
                #[serde(default, skip_serializing_if = "Option::is_none")]
                $(#[serde($serde)])?
                $(#[schemars($schema)])?
                pub $field: Option<$type>,
            )+
        }
    )+};
}

settings! {
    /// Further settings of AKO. What is not set has AKO's default, unless the field says another.
    ExtraConfigs {
        /// Whether this AKO is the primary one of its Cluster; exactly one is. Default: true.
        primary_instance: bool,
        /// Number of AKO Pods: 1 or 2. Default: 1.
        #[schemars(range(min = 1, max = 2))]
        replica_count: i32,
        /// AKO's log.
        log: Log,
        /// Seconds between two full synchronizations of AKO with the controller, as text. Default: 1800.
        full_sync_frequency: String,
        /// TCP port of AKO's own API server, which its liveness probe asks. Default: 8080.
        api_server_port: i64,
        /// Whether AKO writes no static routes to the Pods' nodes: the service engines reach the Pods without. Default: true.
        disable_static_route_sync: bool,
        /// CNI plugin of the Clusters. Default: antrea. For Cilium set it only with IPAM of cluster scope.
        cni_plugin: CniPlugin,
        /// Whether virtual services use Enhanced Virtual Hosting. Default: false.
        #[serde(rename = "enableEVH")]
        enable_evh: bool,
        /// Whether AKO balances layer 7 only. Default: false.
        #[serde(rename = "layer7Only")]
        layer7_only: bool,
        /// Whether AKO serves the Gateway API for layer 4. Default: false.
        #[serde(rename = "servicesAPI")]
        services_api: bool,
        /// With Enhanced Virtual Hosting, whether each namespace has a parent virtual service. Default: false.
        vip_per_namespace: bool,
        /// Whether the Clusters use Istio. Default: false.
        istio_enabled: bool,
        /// Whether AKO handles only default Secrets of its own namespace. For OpenShift. Default: false.
        use_default_secrets_only: bool,
        /// Whether AKO publishes Kubernetes events.
        enable_events: bool,
        /// Namespaces that AKO ignores.
        blocked_namespace_list: Vec<String>,
        /// Address family of the virtual services. Default: V4.
        ip_family: IpType,
        /// Label of the namespaces that AKO handles. Default: all namespaces.
        namespace_selector: NamespaceSelector,
        /// Label of the nodes that serve NodePorts, with the service type NodePort.
        node_port_selector: NodePortSelector,
        /// Features of AKO.
        feature_gates: FeatureGates,
        /// Networks of the virtual services.
        networks_config: NetworksConfig,
        /// Ingresses.
        ingress: Ingress,
        /// Layer 4.
        #[serde(rename = "l4Config")]
        l4_config: L4Config,
        /// Rights of AKO.
        rbac: Rbac,
    }
    /// AKO's log.
    Log {
        /// Name of a PersistentVolumeClaim for the log.
        persistent_volume_claim: String,
        /// Where the claim is mounted.
        mount_path: String,
        /// File name of AKO's log.
        log_file: String,
        /// File name of the AKO gateway's log.
        ako_gateway_log_file: String,
        /// Level. Default: INFO.
        log_level: LogLevel,
    }
    /// Features of AKO.
    FeatureGates {
        /// Whether AKO serves the Gateway API, with a second container.
        #[serde(rename = "GatewayAPI")]
        gateway_api: bool,
    }
    /// Label of the namespaces that AKO handles.
    NamespaceSelector {
        /// Key of the label.
        label_key: String,
        /// Value of the label.
        label_value: String,
    }
    /// Label of the nodes that serve NodePorts.
    NodePortSelector {
        /// Key of the label.
        key: String,
        /// Value of the label.
        value: String,
    }
    /// Networks of the virtual services.
    NetworksConfig {
        /// Whether virtual services are advertised by BGP. Default: false.
        #[serde(rename = "enableRHI")]
        enable_rhi: bool,
        /// BGP peers that virtual services are advertised to, by label.
        bgp_peer_labels: Vec<String>,
        /// Tier-1 router of the backend network, in an NSX-T cloud.
        #[serde(rename = "nsxtT1LR")]
        nsxt_t1_lr: String,
    }
    /// Ingresses.
    Ingress {
        /// Whether the Clusters get no IngressClass. Default: false.
        disable_ingress_class: bool,
        /// Whether AKO is the default ingress controller.
        default_ingress_controller: bool,
        /// Number of shared virtual services. Default: SMALL.
        #[serde(rename = "shardVSSize")]
        shard_vs_size: ShardSize,
        /// Number of shared virtual services for passthrough. Default: SMALL.
        passthrough_shard_size: PassthroughShardSize,
        /// How AKO reaches Pods. Default: NodePort.
        service_type: ServiceType,
        /// Networks and subnets of the nodes, in a vCenter cloud with the service type ClusterIP.
        node_network_list: Vec<NodeNetwork>,
        /// Whether virtual services of SNI have no pool group, and so no HTTP caching. Default: false.
        #[serde(rename = "noPGForSNI")]
        no_pg_for_sni: bool,
        /// Whether AKO serves multi-cluster ingresses.
        #[serde(rename = "enableMCI")]
        enable_mci: bool,
    }
    /// A network of nodes.
    NodeNetwork {
        /// Name of the AVI network.
        network_name: String,
        /// Its subnets.
        cidrs: Vec<String>,
    }
    /// Layer 4.
    L4Config {
        /// Sub-domain of virtual services, where the cloud has several.
        default_domain: String,
        /// How names of Services are formed.
        #[serde(rename = "autoFQDN")]
        auto_fqdn: AutoFqdn,
    }
    /// Rights of AKO.
    Rbac {
        /// Whether a PodSecurityPolicy is created.
        psp_enabled: bool,
        /// API version of the PodSecurityPolicy.
        #[serde(rename = "pspPolicyAPIVersion")]
        psp_policy_api_version: String,
    }
}

/// Declares enums whose variants are documented words of the API.
macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $about:literal])+ $variant:ident = $word:literal,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
        pub enum $name { $($(#[doc = $about])+ #[serde(rename = $word)] $variant,)+ }
    )+};
}

words! {
    /// A level of AKO's log.
    LogLevel {
        /// Normal messages.
        Info = "INFO",
        /// Everything.
        Debug = "DEBUG",
        /// Warnings and errors.
        Warn = "WARN",
        /// Errors.
        Error = "ERROR",
    }
    /// A CNI plugin that AKO knows.
    CniPlugin {
        /// Antrea.
        Antrea = "antrea",
        /// Calico.
        Calico = "calico",
        /// Canal.
        Canal = "canal",
        /// Flannel.
        Flannel = "flannel",
        /// OpenShift SDN.
        Openshift = "openshift",
        /// NSX Container Plugin.
        Ncp = "ncp",
        /// OVN-Kubernetes.
        OvnKubernetes = "ovn-kubernetes",
        /// Cilium.
        Cilium = "cilium",
    }
    /// How many virtual services Ingresses share.
    ShardSize {
        /// 1.
        Small = "SMALL",
        /// 4.
        Medium = "MEDIUM",
        /// 8.
        Large = "LARGE",
        /// One for each Ingress.
        Dedicated = "DEDICATED",
    }
    /// How many virtual services passthrough routes share.
    PassthroughShardSize {
        /// 1.
        Small = "SMALL",
        /// 4.
        Medium = "MEDIUM",
        /// 8.
        Large = "LARGE",
    }
    /// How AKO reaches Pods.
    ServiceType {
        /// By ports of the nodes.
        NodePort = "NodePort",
        /// By the Pods' addresses.
        ClusterIp = "ClusterIP",
        /// By a port of its node for each Pod.
        NodePortLocal = "NodePortLocal",
    }
    /// How the name of a Service is formed.
    AutoFqdn {
        /// `<service>.<namespace>.<sub-domain>`.
        Default = "default",
        /// `<service>-<namespace>.<sub-domain>`.
        Flat = "flat",
        /// Not at all.
        Disabled = "disabled",
    }
}
