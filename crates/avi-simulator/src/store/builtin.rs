//! Objects that the controller itself creates: at its start, and with each cloud and tenant. Also the default refs of
//! objects.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::resolve::Place;
use super::table::{Id, Table};
use super::validate::resources;
use super::{ADMIN, Store, new_uuid, refs, text};
use crate::{ApiError, Caller, Version};

/// Built-in objects that need only a name and a type: kind, field of the type, its value, name.
const PROFILES: &[(&str, &str, &str, &str)] = &[
    ("applicationprofile", "type", "APPLICATION_PROFILE_TYPE_HTTP", "System-HTTP"),
    ("applicationprofile", "type", "APPLICATION_PROFILE_TYPE_HTTP", "System-Secure-HTTP"),
    ("applicationprofile", "type", "APPLICATION_PROFILE_TYPE_HTTP", "System-Secure-HTTP-VDI"),
    ("applicationprofile", "type", "APPLICATION_PROFILE_TYPE_L4", "System-L4-Application"),
    ("applicationprofile", "type", "APPLICATION_PROFILE_TYPE_SSL", "System-SSL-Application"),
    ("applicationprofile", "type", "APPLICATION_PROFILE_TYPE_DNS", "System-DNS"),
    ("applicationprofile", "type", "APPLICATION_PROFILE_TYPE_SYSLOG", "System-Syslog"),
    ("networkprofile", "profile", "PROTOCOL_TYPE_TCP_PROXY", "System-TCP-Proxy"),
    ("networkprofile", "profile", "PROTOCOL_TYPE_TCP_FAST_PATH", "System-TCP-Fast-Path"),
    ("networkprofile", "profile", "PROTOCOL_TYPE_UDP_FAST_PATH", "System-UDP-Fast-Path"),
    ("networkprofile", "profile", "PROTOCOL_TYPE_UDP_FAST_PATH", "System-UDP-Per-Pkt"),
    ("networkprofile", "profile", "PROTOCOL_TYPE_UDP_FAST_PATH", "System-UDP-No-Snat"),
    ("networkprofile", "profile", "PROTOCOL_TYPE_SCTP_FAST_PATH", "System-SCTP-Fast-Path"),
    ("networkprofile", "profile", "PROTOCOL_TYPE_SCTP_PROXY", "System-SCTP-Proxy"),
    ("healthmonitor", "type", "HEALTH_MONITOR_TCP", "System-TCP"),
    ("healthmonitor", "type", "HEALTH_MONITOR_UDP", "System-UDP"),
    ("healthmonitor", "type", "HEALTH_MONITOR_SCTP", "System-SCTP"),
    ("healthmonitor", "type", "HEALTH_MONITOR_PING", "System-Ping"),
    ("healthmonitor", "type", "HEALTH_MONITOR_HTTP", "System-HTTP"),
    ("healthmonitor", "type", "HEALTH_MONITOR_HTTPS", "System-HTTPS"),
    ("healthmonitor", "type", "HEALTH_MONITOR_DNS", "System-DNS"),
    (
        "applicationpersistenceprofile",
        "persistence_type",
        "PERSISTENCE_TYPE_CLIENT_IP_ADDRESS",
        "System-Persistence-Client-IP",
    ),
    (
        "applicationpersistenceprofile",
        "persistence_type",
        "PERSISTENCE_TYPE_HTTP_COOKIE",
        "System-Persistence-Http-Cookie",
    ),
    ("applicationpersistenceprofile", "persistence_type", "PERSISTENCE_TYPE_TLS", "System-Persistence-TLS"),
    ("sslprofile", "type", "SSL_PROFILE_TYPE_APPLICATION", "System-Standard"),
    ("sslprofile", "type", "SSL_PROFILE_TYPE_SYSTEM", "System-Standard-Portal"),
    ("analyticsprofile", "description", "", "System-Analytics-Profile"),
    ("wafprofile", "description", "", "System-WAF-Profile"),
    ("protocolparser", "description", "", "Default-TLS"),
    ("ipaddrgroup", "description", "", "Internal"),
    ("stringgroup", "type", "SG_TYPE_STRING", "System-Compressible-Content-Types"),
    ("stringgroup", "type", "SG_TYPE_STRING", "System-Devices-Mobile"),
];

/// The built-in role with all access in a tenant, including its users and roles: the only such role that can be limited to
/// one tenant.
pub(super) const TENANT_ADMIN: &str = "Tenant-Admin";

/// The built-in roles: name, prefixes of the resources without access, access to all other resources.
const ROLES: &[(&str, &[&str], &str)] = &[
    ("System-Admin", &[], "WRITE_ACCESS"),
    (
        TENANT_ADMIN,
        &["CONTROLLER", "INTERNAL", "TENANT", "UPGRADE", "REBOOT", "IMAGE", "CLOUD", "LICENSING"],
        "WRITE_ACCESS",
    ),
    ("Application-Admin", ADMINISTRATION, "WRITE_ACCESS"),
    ("Application-Operator", ADMINISTRATION, "READ_ACCESS"),
    (
        "Security-Admin",
        &["CONTROLLER", "INTERNAL", "TENANT", "UPGRADE", "REBOOT", "USER", "ROLE", "CLOUD"],
        "READ_ACCESS",
    ),
];

/// The objects of every cloud.
const PER_CLOUD: &[(&str, &str)] =
    &[("vrfcontext", "global"), ("vrfcontext", "management"), ("serviceenginegroup", "Default-Group")];

/// Returns whether every cloud has built-in objects of the kind.
pub(super) fn is_created_per_cloud(kind: &Kind) -> bool {
    PER_CLOUD.iter().any(|(name, _)| *name == kind.name)
}

/// The prefixes of the resources for administration.
const ADMINISTRATION: &[&str] = &[
    "CONTROLLER",
    "INTERNAL",
    "TENANT",
    "USER",
    "ROLE",
    "UPGRADE",
    "REBOOT",
    "IMAGE",
    "CLOUD",
    "LICENSING",
    "SYSTEMCONFIGURATION",
    "SERVICEENGINE",
    "TECHSUPPORT",
    "SE_TOKEN",
    "CONTROLLERSITE",
];

impl Store {
    /// Creates all objects of a new controller.
    pub(super) fn create_builtins(&mut self) {
        self.install_builtin("tenant", Some(ADMIN), json!({"name": "admin", "local": true}));
        self.install_builtin("useraccountprofile", None, json!({"name": "Default-User-Account-Profile"}));
        let unlocked = json!({"name": "No-Lockout-User-Account-Profile", "max_login_failure_count": 0,
            "account_lock_timeout": 0, "credentials_timeout_threshold": 0});
        self.install_builtin("useraccountprofile", None, unlocked);
        self.install_roles();
        self.install_builtin(
            "user",
            Some("user-1"),
            json!({"name": "admin", "username": "admin", "is_superuser": true, "is_active": true, "local": true,
                "full_name": "System Administrator", "default_tenant_ref": "/api/tenant/admin",
                "access": [{"role_ref": "/api/role/?name=System-Admin", "all_tenants": true}]}),
        );
        self.install_builtin("cloud", None, json!({"name": "Default-Cloud", "vtype": "CLOUD_NONE"}));
        let cloud = self.default_cloud();
        self.create_cloud_objects(&cloud, 0);
        self.install_profiles();
        let policy = json!({"name": "System-WAF-Policy", "mode": "WAF_MODE_DETECTION_ONLY",
            "waf_profile_ref": "/api/wafprofile/?name=System-WAF-Profile"});
        self.install_builtin("wafpolicy", None, policy);
        self.install_builtin(
            "backupconfiguration",
            None,
            json!({"name": "Backup-Configuration", "save_local": true}),
        );
        self.install_builtin(
            "sslkeyandcertificate",
            None,
            json!({"name": "System-Default-Cert",
            "certificate": {"subject": {"common_name": "System Default EC Cert"}, "self_signed": true}}),
        );
        self.install_builtin(
            "cluster",
            None,
            json!({"name": "cluster-0-1",
            "nodes": [{"name": "node1", "ip": {"addr": "127.0.0.1", "type": "V4"}}]}),
        );
        self.install_builtin(
            "systemconfiguration",
            Some("default"),
            json!({"default_license_tier": "ENTERPRISE",
            "portal_configuration": {"api_force_timeout": 24, "allow_basic_authentication": false, "password_strength_check": false,
                "minimum_password_length": 8, "enable_https": true, "redirect_to_https": true},
            "dns_configuration": {}, "global_tenant_config": {"tenant_vrf": false,
                "se_in_provider_context": true, "tenant_access_to_provider_se": true}}),
        );
        self.install_builtin("controllerproperties", Some("global"), json!({"api_idle_timeout": 15}));
        self.install_builtin("seproperties", Some("global"), json!({}));
    }

    fn install_roles(&mut self) {
        for (name, without, access) in ROLES {
            let privileges: Vec<Value> = resources(Version::NEWEST)
                .map(|resource| {
                    let stem = resource.trim_start_matches("PERMISSION_");
                    let denied = without.iter().any(|prefix| stem.starts_with(prefix));
                    json!({"resource": resource, "type": if denied { "NO_ACCESS" } else { access }})
                })
                .collect();
            self.install_builtin("role", None, json!({"name": name, "privileges": privileges}));
        }
    }

    fn install_profiles(&mut self) {
        for (kind, field, value, name) in PROFILES {
            let value = if *kind == "networkprofile" { json!({"type": value}) } else { json!(value) };
            let mut body = json!({"name": name});
            body[*field] = value;
            self.install_builtin(kind, None, body);
        }
    }

    /// Creates an object at the start. The bodies are constants, so a refusal is a bug in this file.
    fn install_builtin(&mut self, kind: &str, uuid: Option<&str>, body: Value) {
        let Some(kind) = Kind::find(kind) else { return };
        let created = self.create_builtin(kind, uuid, body, 0);
        debug_assert!(created.is_ok(), "{} {:?}", kind.name, created.err());
    }

    /// Creates or replaces a built-in object and returns its uuid.
    pub(super) fn create_builtin(
        &mut self,
        kind: &'static Kind,
        uuid: Option<&str>,
        body: Value,
        now: u64,
    ) -> Result<String, ApiError> {
        let caller = Self::own_caller(now);
        let uuid = uuid.map_or_else(|| new_uuid(kind), str::to_owned);
        let old = self.find(kind, &uuid).cloned();
        let body = match body {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let mut object = self.compose(&caller, kind, uuid, old.as_ref(), body)?;
        object.builtin = true;
        Ok(self.stamp_and_insert(&caller, kind, object))
    }

    /// Returns whether an object is built in and has this name.
    pub(super) fn is_builtin(&self, kind: &str, uuid: &str, name: &str) -> bool {
        let object = self.tables.get(kind).and_then(|table| table.get(uuid));
        object.is_some_and(|object| object.builtin && object.name == name)
    }

    /// Creates the objects of a cloud.
    fn create_cloud_objects(&mut self, cloud: &str, now: u64) {
        let cloud_ref = refs::canonical("cloud", cloud);
        for (kind, name) in PER_CLOUD {
            let kind = *kind;
            let mut body = json!({"name": name, "cloud_ref": cloud_ref});
            if kind == "vrfcontext" {
                body["system_default"] = Value::Bool(true);
            }
            if let Some(kind) = Kind::find(kind) {
                let created = self.create_builtin(kind, None, body, now);
                debug_assert!(created.is_ok(), "{name} {:?}", created.err());
            }
        }
    }

    /// Creates the objects that a tenant has in a cloud if it does not share those of `admin`.
    fn create_tenant_objects(&mut self, tenant: &str, cloud: &str, now: u64) {
        for (name, object) in [("vrfcontext", "global"), ("serviceenginegroup", "Default-Group")] {
            let Some(kind) = Kind::find(name).filter(|kind| self.has_own_objects(kind, tenant)) else {
                continue;
            };
            let table = self.tables.get(name);
            let exists = table.is_some_and(|table| {
                table.find_by_name(object).any(|known| known.tenant == tenant && known.cloud == cloud)
            });
            if exists {
                continue;
            }
            let body = json!({"name": object, "tenant_ref": refs::canonical("tenant", tenant),
                "cloud_ref": refs::canonical("cloud", cloud)});
            let created = self.create_builtin(kind, None, body, now);
            debug_assert!(created.is_ok(), "{object} {:?}", created.err());
        }
    }

    /// Creates the objects that depend on an object which a client wrote; `new` if the object was created.
    pub(super) fn create_dependents(&mut self, caller: &Caller, kind: &Kind, uuid: &str, new: bool) {
        let uuids = |kind: &str| -> Vec<String> {
            self.tables
                .get(kind)
                .into_iter()
                .flat_map(Table::iter)
                .map(|object| object.uuid.clone())
                .collect()
        };
        match kind.name {
            "cloud" if new => {
                let tenants = uuids("tenant");
                self.create_cloud_objects(uuid, caller.now);
                for tenant in tenants {
                    self.create_tenant_objects(&tenant, uuid, caller.now);
                }
            }
            "tenant" => {
                for cloud in uuids("cloud") {
                    self.create_tenant_objects(uuid, &cloud, caller.now);
                }
            }
            _ => {}
        }
    }

    /// Returns the objects that the controller deletes with a cloud or tenant: its built-in objects, and the networks that
    /// the cloud discovered.
    pub(super) fn find_dependents(&self, kind: &Kind, uuid: &str) -> BTreeSet<Id> {
        let suffix = format!("-{uuid}");
        let depends = |id: &&Id| {
            let object = self.tables.get(id.kind).and_then(|table| table.get(&id.uuid));
            let discovered = matches!(id.kind, "network" | "vimgrnwruntime") && id.uuid.ends_with(&suffix);
            object.is_some_and(|object| match kind.name {
                "cloud" => object.cloud == uuid && (object.builtin || discovered),
                _ => object.tenant == uuid && object.builtin,
            })
        };
        match kind.name {
            "cloud" | "tenant" => {
                let id = Id { kind: kind.name, uuid: uuid.to_owned() };
                self.referrers.get(&id).into_iter().flatten().filter(depends).cloned().collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Returns the uuid of the default cloud: the first one, which is built in, also after it was renamed.
    pub(super) fn default_cloud(&self) -> String {
        let clouds = self.tables.get("cloud");
        clouds.and_then(|clouds| clouds.iter().next()).map(|cloud| cloud.uuid.clone()).unwrap_or_default()
    }

    /// Sets the refs that have a default and that the body lacks.
    pub(super) fn fill_default_refs(&self, kind: &Kind, place: Place<'_>, body: &mut Map<String, Value>) {
        let defaults: &[(&str, &str, &str)] = match kind.name {
            "network" | "vsvip" | "vimgrnwruntime" => &[("vrf_context_ref", "vrfcontext", "global")],
            "pool" => &[("vrf_ref", "vrfcontext", "global")],
            "virtualservice" => &[
                ("vrf_context_ref", "vrfcontext", "global"),
                ("se_group_ref", "serviceenginegroup", "Default-Group"),
                ("application_profile_ref", "applicationprofile", "System-HTTP"),
                ("network_profile_ref", "networkprofile", "System-TCP-Proxy"),
                ("analytics_profile_ref", "analyticsprofile", "System-Analytics-Profile"),
            ],
            "user" => &[("user_profile_ref", "useraccountprofile", "Default-User-Account-Profile")],
            _ => &[],
        };
        for (field, kind, name) in defaults {
            if body.contains_key(*field) {
                continue;
            }
            let found = Kind::find(kind).and_then(|kind| self.find_by_name(kind, name, place).ok());
            if let Some(uuid) = found {
                body.insert((*field).to_owned(), Value::String(refs::canonical(kind, uuid)));
            }
        }
    }

    /// Returns the uuid of the cloud with this uuid or name.
    pub(super) fn find_cloud(&self, uuid_or_name: &str) -> Option<String> {
        let clouds = self.tables.get("cloud")?;
        let found = clouds.get(uuid_or_name).or_else(|| clouds.find_by_name(uuid_or_name).next())?;
        Some(text(&found.value, "uuid").to_owned())
    }
}
