//! The registry of kinds, one entry each. Holds no objects.
//!
//! Names and required fields are those of the controller's swagger; the tenancy is what clients rely on.

/// The value of a secret field in replies and snapshots.
pub(super) const SENSITIVE: &str = "<sensitive>";

/// The tenants in which objects of a kind exist and are visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenancy {
    /// In no tenant: one name space, visible in every tenant (`tenant`, `user`, `cluster`).
    System,
    /// Only in `admin`: visible in every tenant, writable in `admin` (`cloud`).
    Admin,
    /// In a tenant; those of `admin` are visible in every tenant (`network`, `serviceenginegroup`).
    Shared,
    /// In a tenant; all are visible in `admin`, those of `admin` in every tenant (`role`).
    Directory,
    /// In a tenant, visible only there, except the built-in ones (`pool`, `virtualservice`).
    Own,
}

/// The operations of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// List and create; read, replace, patch and delete an object.
    Collection,
    /// One object, at `/api/<kind>`: read, replace, patch.
    Singleton,
    /// Created by the controller: read only.
    Runtime,
    /// A target of refs only: the simulator has no objects of the kind and does not check such refs.
    Foreign,
}

/// A kind of objects, at `/api/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// The name in paths and at the start of uuids: `vsvip`.
    pub name: &'static str,
    /// The name in messages: `VsVip`.
    pub model: &'static str,
    /// The resource of a role's privileges: `PERMISSION_…`.
    pub permission: &'static str,
    /// The tenants in which objects are visible.
    pub tenancy: Tenancy,
    /// The operations.
    pub shape: Shape,
    /// Whether its objects belong to a cloud (`cloud_ref`).
    pub clouded: bool,
    /// Whether several objects may have the same name.
    pub names_repeat: bool,
    /// The required fields as paths, `configured_subnets[].prefix.mask`. The last step is required in each parent that exists.
    pub required: &'static [&'static str],
    /// The defaults of fields, as a JSON object.
    pub defaults: &'static str,
    /// The paths of secrets, which replies do not show.
    pub secrets: &'static [&'static str],
}

impl Kind {
    const fn new(
        name: &'static str,
        model: &'static str,
        permission: &'static str,
        tenancy: Tenancy,
    ) -> Self {
        Self {
            name,
            model,
            permission,
            tenancy,
            shape: Shape::Collection,
            clouded: false,
            names_repeat: false,
            required: &["name"],
            defaults: "{}",
            secrets: &[],
        }
    }

    const fn clouded(mut self) -> Self {
        self.clouded = true;
        self
    }

    const fn required(mut self, required: &'static [&'static str]) -> Self {
        self.required = required;
        self
    }

    const fn defaults(mut self, defaults: &'static str) -> Self {
        self.defaults = defaults;
        self
    }

    const fn secrets(mut self, secrets: &'static [&'static str]) -> Self {
        self.secrets = secrets;
        self
    }

    const fn names_repeat(mut self) -> Self {
        self.names_repeat = true;
        self
    }

    const fn shaped(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    /// Returns the kind at `/api/<name>`.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.name == name)
    }

    /// Returns whether the kind allows an HTTP method, at `/api/<name>` or, with `single`, at an object's path.
    #[must_use]
    pub fn allows(&self, method: &str, single: bool) -> bool {
        match (self.shape, method) {
            (Shape::Foreign, _) => false,
            (_, "GET" | "HEAD" | "OPTIONS") | (Shape::Singleton, "PUT" | "PATCH") => true,
            (Shape::Collection, "POST") => !single,
            (Shape::Collection, "PUT" | "PATCH" | "DELETE") => single,
            _ => false,
        }
    }

    /// Returns whether a dotted path leads to a secret or to an object that contains one.
    pub(super) fn hides(&self, path: &str) -> bool {
        self.secrets.iter().any(|secret| {
            secret.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// Returns whether objects can have `markers`, by which the filters of roles select.
    pub(super) fn has_markers(&self) -> bool {
        MARKED.contains(&self.name)
    }

    /// Returns whether objects are in a tenant.
    pub(super) fn has_tenant(&self) -> bool {
        self.tenancy != Tenancy::System
    }
}

const NETWORK: &[&str] = &[
    "name",
    "configured_subnets[].prefix",
    "configured_subnets[].prefix.ip_addr",
    "configured_subnets[].prefix.ip_addr.addr",
    "configured_subnets[].prefix.ip_addr.type",
    "configured_subnets[].prefix.mask",
    "configured_subnets[].static_ip_ranges[].range",
    "configured_subnets[].static_ip_ranges[].range.begin",
    "configured_subnets[].static_ip_ranges[].range.begin.addr",
    "configured_subnets[].static_ip_ranges[].range.begin.type",
    "configured_subnets[].static_ip_ranges[].range.end",
    "configured_subnets[].static_ip_ranges[].range.end.addr",
    "configured_subnets[].static_ip_ranges[].range.end.type",
];
const ROLE: &[&str] = &[
    "name",
    "privileges[].resource",
    "privileges[].type",
    "filters[].match_label",
    "filters[].match_label.key",
];
const TENANT_DEFAULTS: &str = r#"{"local":true,"config_settings":{"tenant_vrf":false,
    "se_in_provider_context":true,"tenant_access_to_provider_se":true}}"#;
const PROFILE_DEFAULTS: &str = r#"{"max_password_history_count":4,"max_login_failure_count":3,
    "account_lock_timeout":30,"max_concurrent_sessions":0,"credentials_timeout_threshold":180,
    "login_failure_count_expiry_window":0}"#;
const SE_GROUP_DEFAULTS: &str = r#"{"ha_mode":"HA_MODE_SHARED","max_vs_per_se":10,"max_se":10,"min_scaleout_per_vs":1,
    "max_scaleout_per_vs":4,"buffer_se":1,"vcpus_per_se":1,"memory_per_se":2048,"disk_per_se":15,
    "se_name_prefix":"Avi","algo":"PLACEMENT_ALGO_PACKED"}"#;
const SERVICE_DEFAULTS: &str = r#"{"enabled":true,"type":"VS_TYPE_NORMAL","traffic_enabled":true,
    "east_west_placement":false,"scaleout_ecmp":false,"ign_pool_net_reach":true,"weight":1}"#;
const POOL_DEFAULTS: &str = r#"{"enabled":true,"default_server_port":80,"lb_algorithm":"LB_ALGORITHM_LEAST_CONNECTIONS",
    "graceful_disable_timeout":1,"connection_ramp_duration":10,"use_service_port":false}"#;

use Shape::{Foreign, Runtime, Singleton};
use Tenancy::{Admin, Directory, Own, Shared, System};

/// Every kind; the ones that clients use most come first.
pub static KINDS: &[Kind] = &[
    Kind::new("tenant", "Tenant", "PERMISSION_TENANT", System).defaults(TENANT_DEFAULTS),
    Kind::new("role", "Role", "PERMISSION_ROLE", Directory)
        .required(ROLE)
        .defaults(r#"{"allow_unlabelled_access":true}"#),
    Kind::new("user", "User", "PERMISSION_USER", System),
    Kind::new("useraccountprofile", "UserAccountProfile", "PERMISSION_USER", System).defaults(PROFILE_DEFAULTS),
    Kind::new("cloud", "Cloud", "PERMISSION_CLOUD", Admin)
        .required(&["name", "vtype"])
        .defaults(r#"{"dhcp_enabled":false,"mtu":1500,"prefer_static_routes":false,"enable_vip_static_routes":false,"license_type":"LIC_CORES"}"#)
        .secrets(&["vcenter_configuration.password", "nsxt_configuration.password"]),
    Kind::new("network", "Network", "PERMISSION_NETWORK", Shared)
        .clouded()
        .names_repeat()
        .required(NETWORK)
        .defaults(r#"{"dhcp_enabled":false,"exclude_discovered_subnets":false,"vcenter_dvs":true,"synced_from_se":false,"ip6_autocfg_enabled":false}"#),
    Kind::new("ipamdnsproviderprofile", "IpamDnsProviderProfile", "PERMISSION_IPAMDNSPROVIDERPROFILE", Shared)
        .required(&["name", "type", "internal_profile.usable_networks[].nw_ref"])
        .secrets(&["infoblox_profile.password", "aws_profile.secret_access_key", "openstack_profile.password"])
        .defaults(r#"{"allocate_ip_in_vrf":false}"#),
    Kind::new("serviceenginegroup", "ServiceEngineGroup", "PERMISSION_SERVICEENGINEGROUP", Shared)
        .clouded()
        .defaults(SE_GROUP_DEFAULTS),
    Kind::new("vrfcontext", "VrfContext", "PERMISSION_VRFCONTEXT", Shared)
        .clouded()
        .required(&["name", "static_routes[].route_id", "static_routes[].prefix", "static_routes[].next_hop"])
        .defaults(r#"{"system_default":false,"lldp_enable":true}"#),
    Kind::new("virtualservice", "VirtualService", "PERMISSION_VIRTUALSERVICE", Own)
        .clouded()
        .defaults(SERVICE_DEFAULTS),
    Kind::new("vsvip", "VsVip", "PERMISSION_VIRTUALSERVICE", Own)
        .clouded()
        .required(&["name", "vip[].vip_id"])
        .defaults(r#"{"east_west_placement":false}"#),
    Kind::new("pool", "Pool", "PERMISSION_POOL", Own)
        .clouded()
        .required(&["name", "servers[].ip"])
        .defaults(POOL_DEFAULTS),
    Kind::new("poolgroup", "PoolGroup", "PERMISSION_POOLGROUP", Own)
        .clouded()
        .required(&["name", "members[].pool_ref"])
        .defaults(r#"{"min_servers":0}"#),
    Kind::new("httppolicyset", "HTTPPolicySet", "PERMISSION_HTTPPOLICYSET", Own),
    Kind::new("l4policyset", "L4PolicySet", "PERMISSION_L4POLICYSET", Own),
    Kind::new("sslkeyandcertificate", "SSLKeyAndCertificate", "PERMISSION_SSLKEYANDCERTIFICATE", Own)
        .required(&["name", "certificate"])
        .defaults(r#"{"type":"SSL_CERTIFICATE_TYPE_VIRTUALSERVICE"}"#)
        .secrets(&["key", "key_passphrase"]),
    Kind::new("pkiprofile", "PKIProfile", "PERMISSION_PKIPROFILE", Own)
        .defaults(r#"{"crl_check":true,"ignore_peer_chain":false,"validate_only_leaf_crl":true}"#),
    Kind::new("vsdatascriptset", "VSDataScriptSet", "PERMISSION_VSDATASCRIPTSET", Own),
    Kind::new("stringgroup", "StringGroup", "PERMISSION_STRINGGROUP", Own).required(&["name", "type"]),
    Kind::new("ipaddrgroup", "IpAddrGroup", "PERMISSION_IPADDRGROUP", Own),
    Kind::new("applicationprofile", "ApplicationProfile", "PERMISSION_APPLICATIONPROFILE", Own)
        .required(&["name", "type"]),
    Kind::new("networkprofile", "NetworkProfile", "PERMISSION_NETWORKPROFILE", Own).required(&["name", "profile"]),
    Kind::new(
        "applicationpersistenceprofile",
        "ApplicationPersistenceProfile",
        "PERMISSION_APPLICATIONPERSISTENCEPROFILE",
        Own,
    )
    .required(&["name", "persistence_type"]),
    Kind::new("healthmonitor", "HealthMonitor", "PERMISSION_HEALTHMONITOR", Own).required(&["name", "type"]),
    Kind::new("sslprofile", "SSLProfile", "PERMISSION_SSLPROFILE", Own),
    Kind::new("analyticsprofile", "AnalyticsProfile", "PERMISSION_ANALYTICSPROFILE", Own),
    Kind::new("wafpolicy", "WafPolicy", "PERMISSION_WAFPOLICY", Own)
        .required(&["name", "mode", "waf_profile_ref"]),
    Kind::new("wafprofile", "WafProfile", "PERMISSION_WAFPROFILE", Own),
    Kind::new("wafcrs", "WafCRS", "PERMISSION_WAFCRS", Own),
    Kind::new("wafpolicypsmgroup", "WafPolicyPSMGroup", "PERMISSION_WAFPOLICYPSMGROUP", Own),
    Kind::new("errorpagebody", "ErrorPageBody", "PERMISSION_ERRORPAGEBODY", Own),
    Kind::new("errorpageprofile", "ErrorPageProfile", "PERMISSION_ERRORPAGEPROFILE", Own),
    Kind::new("securitypolicy", "SecurityPolicy", "PERMISSION_SECURITYPOLICY", Own)
        .required(&["name", "dns_policy_index", "network_security_policy_index"]),
    Kind::new("networksecuritypolicy", "NetworkSecurityPolicy", "PERMISSION_NETWORKSECURITYPOLICY", Own),
    Kind::new("authprofile", "AuthProfile", "PERMISSION_AUTHPROFILE", Own).required(&["name", "type"]),
    Kind::new("ssopolicy", "SSOPolicy", "PERMISSION_SSOPOLICY", Own),
    Kind::new("icapprofile", "IcapProfile", "PERMISSION_ICAP", Own).clouded(),
    Kind::new("botdetectionpolicy", "BotDetectionPolicy", "PERMISSION_BOTDETECTIONPOLICY", Own),
    Kind::new("csrfpolicy", "CSRFPolicy", "PERMISSION_CSRFPOLICY", Own),
    Kind::new("trafficcloneprofile", "TrafficCloneProfile", "PERMISSION_TRAFFICCLONEPROFILE", Own).clouded(),
    Kind::new("protocolparser", "ProtocolParser", "PERMISSION_PROTOCOLPARSER", Own),
    Kind::new("prioritylabels", "PriorityLabels", "PERMISSION_PRIORITYLABELS", Own).clouded(),
    Kind::new("dnspolicy", "DnsPolicy", "PERMISSION_DNSPOLICY", Own),
    Kind::new("natpolicy", "NatPolicy", "PERMISSION_NATPOLICY", Own),
    Kind::new("jwtserverprofile", "JWTServerProfile", "PERMISSION_JWTSERVERPROFILE", Own),
    Kind::new("pingaccessagent", "PingAccessAgent", "PERMISSION_PINGACCESSAGENT", Own),
    Kind::new("serverautoscalepolicy", "ServerAutoScalePolicy", "PERMISSION_AUTOSCALE", Own),
    Kind::new("autoscalelaunchconfig", "AutoScaleLaunchConfig", "PERMISSION_AUTOSCALE", Own),
    Kind::new("poolgroupdeploymentpolicy", "PoolGroupDeploymentPolicy", "PERMISSION_POOLGROUPDEPLOYMENTPOLICY", Own),
    Kind::new("certificatemanagementprofile", "CertificateManagementProfile", "PERMISSION_CERTIFICATEMANAGEMENTPROFILE", Own),
    Kind::new("hardwaresecuritymodulegroup", "HardwareSecurityModuleGroup", "PERMISSION_HARDWARESECURITYMODULEGROUP", Own),
    Kind::new("customipamdnsprofile", "CustomIpamDnsProfile", "PERMISSION_CUSTOMIPAMDNSPROFILE", Own),
    Kind::new("networkservice", "NetworkService", "PERMISSION_NETWORKSERVICE", Own).clouded(),
    Kind::new("labelgroup", "LabelGroup", "PERMISSION_LABELGROUP", Own),
    Kind::new("gslb", "Gslb", "PERMISSION_GSLB", Own),
    Kind::new("gslbservice", "GslbService", "PERMISSION_GSLBSERVICE", Own),
    Kind::new("cloudconnectoruser", "CloudConnectorUser", "PERMISSION_USER_CREDENTIAL", Admin)
        .secrets(&["private_key", "password", "vcenter_credentials.password", "nsxt_credentials.password"]),
    Kind::new("vcenterserver", "VCenterServer", "PERMISSION_CLOUD", Shared).clouded(),
    Kind::new("availabilityzone", "AvailabilityZone", "PERMISSION_CLOUD", Shared).clouded(),
    Kind::new("alertconfig", "AlertConfig", "PERMISSION_ALERTCONFIG", Own),
    Kind::new("actiongroupconfig", "ActionGroupConfig", "PERMISSION_ACTIONGROUPCONFIG", Own),
    Kind::new("scheduler", "Scheduler", "PERMISSION_SYSTEMCONFIGURATION", Own),
    Kind::new("backupconfiguration", "BackupConfiguration", "PERMISSION_SYSTEMCONFIGURATION", Admin)
        .secrets(&["backup_passphrase"]),
    Kind::new("fileobject", "FileObject", "PERMISSION_FILE_OBJECT", Own),
    Kind::new("geodb", "GeoDB", "PERMISSION_GEODB", Own),
    Kind::new("ipreputationdb", "IPReputationDB", "PERMISSION_IPREPUTATIONDB", Own),
    Kind::new("microservice", "MicroService", "PERMISSION_MICROSERVICE", Own),
    Kind::new("cluster", "Cluster", "PERMISSION_CONTROLLER", System).shaped(Singleton),
    Kind::new("systemconfiguration", "SystemConfiguration", "PERMISSION_SYSTEMCONFIGURATION", System)
        .shaped(Singleton)
        .secrets(&["email_configuration.auth_password"])
        .required(&[]),
    Kind::new("controllerproperties", "ControllerProperties", "PERMISSION_CONTROLLER", System)
        .shaped(Singleton)
        .required(&[]),
    Kind::new("seproperties", "SeProperties", "PERMISSION_SYSTEMCONFIGURATION", System)
        .shaped(Singleton)
        .required(&[]),
    Kind::new("vimgrnwruntime", "VIMgrNWRuntime", "PERMISSION_NETWORK", Shared)
        .shaped(Runtime)
        .clouded()
        .names_repeat()
        .required(&["name", "managed_object_id", "type"]),
    Kind::new("nsxtsegmentruntime", "NsxtSegmentRuntime", "PERMISSION_NETWORK", Shared)
        .shaped(Runtime)
        .clouded()
        .names_repeat(),
    Kind::new("serviceengine", "ServiceEngine", "PERMISSION_SERVICEENGINE", Shared).shaped(Runtime).clouded(),
    Kind::new("vimgrhostruntime", "VIMgrHostRuntime", "PERMISSION_CLOUD", Shared).shaped(Foreign),
    Kind::new("vimgrclusterruntime", "VIMgrClusterRuntime", "PERMISSION_CLOUD", Shared).shaped(Foreign),
    Kind::new("vimgrvmruntime", "VIMgrVMRuntime", "PERMISSION_CLOUD", Shared).shaped(Foreign),
    Kind::new("image", "Image", "PERMISSION_IMAGE", Admin).shaped(Foreign),
];

/// The kinds whose objects have `markers` in the swagger, "labels to be used for granular RBAC".
const MARKED: &[&str] = &[
    "analyticsprofile",
    "applicationpersistenceprofile",
    "applicationprofile",
    "authprofile",
    "autoscalelaunchconfig",
    "certificatemanagementprofile",
    "cloud",
    "dnspolicy",
    "errorpagebody",
    "errorpageprofile",
    "gslbservice",
    "hardwaresecuritymodulegroup",
    "healthmonitor",
    "httppolicyset",
    "ipamdnsproviderprofile",
    "ipaddrgroup",
    "ipreputationdb",
    "l4policyset",
    "natpolicy",
    "network",
    "networkprofile",
    "networksecuritypolicy",
    "networkservice",
    "pkiprofile",
    "pool",
    "poolgroup",
    "poolgroupdeploymentpolicy",
    "prioritylabels",
    "protocolparser",
    "sslkeyandcertificate",
    "sslprofile",
    "ssopolicy",
    "securitypolicy",
    "serverautoscalepolicy",
    "serviceenginegroup",
    "stringgroup",
    "trafficcloneprofile",
    "vsdatascriptset",
    "virtualservice",
    "vrfcontext",
    "vsvip",
    "wafcrs",
    "wafpolicy",
    "wafpolicypsmgroup",
    "wafprofile",
];
