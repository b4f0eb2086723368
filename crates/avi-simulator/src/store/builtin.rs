//! What a controller has before anybody wrote to it, and what comes and goes with a cloud. Fills in the refs an object
//! has without saying so.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::resolve::Place;
use super::table::{Id, Table};
use super::validate::resources;
use super::{ADMIN, Store, fresh_uuid, refs, text};
use crate::{ApiError, Caller, Version};

/// Built-in objects of one kind whose name and type are all a client asks of them: kind, field, its value, name.
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

/// The built-in role over everything in a tenant, its users and roles too: the one such role that a tenant's user may
/// have.
pub(super) const TENANT_ADMIN: &str = "Tenant-Admin";

/// Built-in roles, and the resources each of them cannot write, by the beginning of their names.
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

/// What every cloud has.
const FURNITURE: &[(&str, &str)] =
    &[("vrfcontext", "global"), ("vrfcontext", "management"), ("serviceenginegroup", "Default-Group")];

/// Whether every cloud brings objects of this kind.
pub(super) fn furnishes(kind: &Kind) -> bool {
    FURNITURE.iter().any(|(name, _)| *name == kind.name)
}

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
    /// Makes everything a fresh controller has.
    pub(super) fn build_in(&mut self) {
        self.install("tenant", Some(ADMIN), json!({"name": "admin", "local": true}));
        self.install("useraccountprofile", None, json!({"name": "Default-User-Account-Profile"}));
        let unlocked = json!({"name": "No-Lockout-User-Account-Profile", "max_login_failure_count": 0,
            "account_lock_timeout": 0, "credentials_timeout_threshold": 0});
        self.install("useraccountprofile", None, unlocked);
        for (name, without, access) in ROLES {
            let privileges: Vec<Value> = resources(Version::NEWEST)
                .map(|resource| {
                    let stem = resource.trim_start_matches("PERMISSION_");
                    let denied = without.iter().any(|prefix| stem.starts_with(prefix));
                    json!({"resource": resource, "type": if denied { "NO_ACCESS" } else { access }})
                })
                .collect();
            self.install("role", None, json!({"name": name, "privileges": privileges}));
        }
        self.install(
            "user",
            Some("user-1"),
            json!({"name": "admin", "username": "admin", "is_superuser": true, "is_active": true, "local": true,
                "full_name": "System Administrator", "default_tenant_ref": "/api/tenant/admin",
                "access": [{"role_ref": "/api/role/?name=System-Admin", "all_tenants": true}]}),
        );
        self.install("cloud", None, json!({"name": "Default-Cloud", "vtype": "CLOUD_NONE"}));
        let cloud = self.default_cloud();
        self.furnish(&cloud, 0);
        for (kind, field, value, name) in PROFILES {
            let value = if *kind == "networkprofile" { json!({"type": value}) } else { json!(value) };
            let mut body = json!({"name": name});
            body[*field] = value;
            self.install(kind, None, body);
        }
        let policy = json!({"name": "System-WAF-Policy", "mode": "WAF_MODE_DETECTION_ONLY",
            "waf_profile_ref": "/api/wafprofile/?name=System-WAF-Profile"});
        self.install("wafpolicy", None, policy);
        self.install(
            "backupconfiguration",
            None,
            json!({"name": "Backup-Configuration", "save_local": true}),
        );
        self.install(
            "sslkeyandcertificate",
            None,
            json!({"name": "System-Default-Cert",
            "certificate": {"subject": {"common_name": "System Default EC Cert"}, "self_signed": true}}),
        );
        self.install(
            "cluster",
            None,
            json!({"name": "cluster-0-1",
            "nodes": [{"name": "node1", "ip": {"addr": "127.0.0.1", "type": "V4"}}]}),
        );
        self.install(
            "systemconfiguration",
            Some("default"),
            json!({"default_license_tier": "ENTERPRISE",
            "portal_configuration": {"api_force_timeout": 24, "allow_basic_authentication": false, "password_strength_check": false,
                "minimum_password_length": 8, "enable_https": true, "redirect_to_https": true},
            "dns_configuration": {}, "global_tenant_config": {"tenant_vrf": false,
                "se_in_provider_context": true, "tenant_access_to_provider_se": true}}),
        );
        self.install("controllerproperties", Some("global"), json!({"api_idle_timeout": 15}));
        self.install("seproperties", Some("global"), json!({}));
    }

    /// Makes a built-in object; the table of what is made is fixed, so that a refusal is a mistake in it.
    fn install(&mut self, kind: &str, uuid: Option<&str>, body: Value) {
        let Some(kind) = Kind::named(kind) else { return };
        let made = self.make(kind, uuid, body, 0);
        debug_assert!(made.is_ok(), "{} {:?}", kind.name, made.err());
    }

    /// Makes an object as the controller itself, one that is built in.
    pub(super) fn make(
        &mut self,
        kind: &'static Kind,
        uuid: Option<&str>,
        body: Value,
        now: u64,
    ) -> Result<String, ApiError> {
        let caller = Self::itself(now);
        let uuid = uuid.map_or_else(|| fresh_uuid(kind), str::to_owned);
        let old = self.find(kind, &uuid).cloned();
        let body = match body {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let mut object = self.compose(&caller, kind, uuid, old.as_ref(), body)?;
        object.builtin = true;
        Ok(self.settle(&caller, kind, object))
    }

    /// Whether an object came with the controller under this name.
    pub(super) fn built_in(&self, kind: &str, uuid: &str, name: &str) -> bool {
        let object = self.tables.get(kind).and_then(|table| table.get(uuid));
        object.is_some_and(|object| object.builtin && object.name == name)
    }

    /// What a cloud always has.
    fn furnish(&mut self, cloud: &str, now: u64) {
        let cloud_ref = refs::canonical("cloud", cloud);
        for (kind, name) in FURNITURE {
            let kind = *kind;
            let mut body = json!({"name": name, "cloud_ref": cloud_ref});
            if kind == "vrfcontext" {
                body["system_default"] = Value::Bool(true);
            }
            if let Some(kind) = Kind::named(kind) {
                let made = self.make(kind, None, body, now);
                debug_assert!(made.is_ok(), "{name} {:?}", made.err());
            }
        }
    }

    /// What a tenant has in every cloud that it does not share with the others.
    fn furnish_tenant(&mut self, tenant: &str, cloud: &str, now: u64) {
        for (name, object) in [("vrfcontext", "global"), ("serviceenginegroup", "Default-Group")] {
            let Some(kind) = Kind::named(name).filter(|kind| self.keeps_apart(kind, tenant)) else {
                continue;
            };
            let table = self.tables.get(name);
            let there = table.is_some_and(|table| {
                table.named(object).any(|there| there.tenant == tenant && there.cloud == cloud)
            });
            if there {
                continue;
            }
            let body = json!({"name": object, "tenant_ref": refs::canonical("tenant", tenant),
                "cloud_ref": refs::canonical("cloud", cloud)});
            let made = self.make(kind, None, body, now);
            debug_assert!(made.is_ok(), "{object} {:?}", made.err());
        }
    }

    /// What the controller makes because a client wrote an object.
    pub(super) fn come_along(&mut self, caller: &Caller, kind: &Kind, uuid: &str, new: bool) {
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
                self.furnish(uuid, caller.now);
                for tenant in tenants {
                    self.furnish_tenant(&tenant, uuid, caller.now);
                }
            }
            "tenant" => {
                for cloud in uuids("cloud") {
                    self.furnish_tenant(uuid, &cloud, caller.now);
                }
            }
            _ => {}
        }
    }

    /// What the controller removes with an object: of a cloud or a tenant, what it came with, and of a cloud what it
    /// discovered.
    pub(super) fn goes_along(&self, kind: &Kind, uuid: &str) -> BTreeSet<Id> {
        let discovered = format!("-{uuid}");
        let goes = |id: &&Id| {
            let object = self.tables.get(id.kind).and_then(|table| table.get(&id.uuid));
            let found = matches!(id.kind, "network" | "vimgrnwruntime") && id.uuid.ends_with(&discovered);
            object.is_some_and(|object| match kind.name {
                "cloud" => object.cloud == uuid && (object.builtin || found),
                _ => object.tenant == uuid && object.builtin,
            })
        };
        match kind.name {
            "cloud" | "tenant" => {
                let id = Id { kind: kind.name, uuid: uuid.to_owned() };
                self.referrers.get(&id).into_iter().flatten().filter(goes).cloned().collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// The uuid of the cloud of objects that name none: the first, which is built in, whatever its name is by now.
    pub(super) fn default_cloud(&self) -> String {
        let clouds = self.tables.get("cloud");
        clouds.and_then(|clouds| clouds.iter().next()).map(|cloud| cloud.uuid.clone()).unwrap_or_default()
    }

    /// The refs of an object that says nothing of them.
    pub(super) fn fill_refs(&self, kind: &Kind, place: Place<'_>, body: &mut Map<String, Value>) {
        let wanted: &[(&str, &str, &str)] = match kind.name {
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
        for (field, kind, name) in wanted {
            if body.contains_key(*field) {
                continue;
            }
            let found = Kind::named(kind).and_then(|kind| self.by_name(kind, name, place).ok());
            if let Some(uuid) = found {
                body.insert((*field).to_owned(), Value::String(refs::canonical(kind, uuid)));
            }
        }
    }

    /// The kept body of the object named so, for what follows from a cloud's own settings.
    pub(super) fn cloud_named(&self, uuid_or_name: &str) -> Option<String> {
        let clouds = self.tables.get("cloud")?;
        let found = clouds.get(uuid_or_name).or_else(|| clouds.named(uuid_or_name).next())?;
        Some(text(&found.value, "uuid").to_owned())
    }
}
