//! Reads what the server itself must know from the configuration: users, tenants, profiles and settings. Only reads.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::accounts::Profile;
use super::clock::Micros;
use super::sessions::Limits;
use crate::Store;

const MINUTE: Micros = 60_000_000;
const HOUR: Micros = 60 * MINUTE;
const DAY: Micros = 24 * HOUR;

/// A field that is text.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

fn flag(object: &Value, field: &str) -> bool {
    object.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// The object that a reference means: `/api/<kind>/<uuid>`, `/api/<kind>/?name=N`, with or without a host before
/// and `#name` behind, or a bare uuid.
pub(super) fn referred<'a>(store: &'a Store, kind: &str, reference: &str) -> Option<&'a Value> {
    let reference = reference.split('#').next().unwrap_or_default();
    if let Some((_, query)) = reference.split_once('?') {
        let name = query.split('&').find_map(|pair| pair.strip_prefix("name="))?;
        let name = percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned();
        let uuid = text(named(store, kind, &name)?, "uuid")?.to_owned();
        return store.object(kind, &uuid);
    }
    let uuid = reference.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    store.object(kind, uuid)
}

/// The uuid that a reference means, whether there is such an object or not.
pub(super) fn referred_uuid<'a>(store: &'a Store, kind: &str, reference: &str) -> Option<&'a str> {
    referred(store, kind, reference).and_then(|object| text(object, "uuid"))
}

/// The first object of that name, in whichever tenant.
pub(super) fn named<'a>(store: &'a Store, kind: &str, name: &'a str) -> Option<&'a Value> {
    store.objects_named(kind, name).find(|object| text(object, "name") == Some(name))
}

/// The user who logs in under this name.
pub(super) fn user<'a>(store: &'a Store, username: &'a str) -> Option<&'a Value> {
    store.objects_named("user", username).find(|user| self::username(user) == username)
}

/// What the account calls itself in messages.
pub(super) fn username(user: &Value) -> &str {
    text(user, "username").or_else(|| text(user, "name")).unwrap_or_default()
}

/// Whether every privilege check is passed unlooked at.
pub(super) fn superuser(user: &Value) -> bool {
    flag(user, "is_superuser")
}

/// Whether the account may log in; true unless the object says otherwise.
pub(super) fn active(user: &Value) -> bool {
    user.get("is_active").and_then(Value::as_bool).unwrap_or(true)
}

/// One entry of a user's `access`.
pub(super) struct Access<'a> {
    pub(super) role: &'a Value,
    /// `None` is every tenant.
    pub(super) tenant: Option<&'a str>,
}

/// Where the user may do what.
pub(super) fn accesses<'a>(store: &'a Store, user: &'a Value) -> impl Iterator<Item = Access<'a>> {
    let entries = user.get("access").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(|entry| {
        let role = referred(store, "role", text(entry, "role_ref")?)?;
        if flag(entry, "all_tenants") {
            return Some(Access { role, tenant: None });
        }
        let tenant = referred_uuid(store, "tenant", text(entry, "tenant_ref")?)?;
        Some(Access { role, tenant: Some(tenant) })
    })
}

/// The tenants that the user may name in a request.
pub(super) fn tenants<'a>(store: &'a Store, user: &'a Value) -> Vec<&'a Value> {
    let everywhere = superuser(user) || accesses(store, user).any(|access| access.tenant.is_none());
    store
        .objects("tenant")
        .filter(|tenant| {
            everywhere || accesses(store, user).any(|access| access.tenant == text(tenant, "uuid"))
        })
        .collect()
}

/// The tenant of a user's requests that name none.
pub(super) fn default_tenant<'a>(store: &'a Store, user: &Value) -> &'a str {
    text(user, "default_tenant_ref")
        .and_then(|reference| referred_uuid(store, "tenant", reference))
        .unwrap_or("admin")
}

/// The profile of the user: the one named, or the default one.
pub(super) fn profile(store: &Store, user: &Value) -> Profile {
    let profile = text(user, "user_profile_ref")
        .and_then(|reference| referred(store, "useraccountprofile", reference))
        .or_else(|| named(store, "useraccountprofile", "Default-User-Account-Profile"));
    let number = |field: &str, default: u64| {
        profile.and_then(|profile| profile.get(field)?.as_u64()).unwrap_or(default)
    };
    let some = |number: u64| (number > 0).then_some(number);
    Profile {
        sessions: some(number("max_concurrent_sessions", 0)).and_then(|most| usize::try_from(most).ok()),
        failures: some(number("max_login_failure_count", 3)),
        lock: number("account_lock_timeout", 30).saturating_mul(MINUTE),
        history: usize::try_from(number("max_password_history_count", 4)).unwrap_or(usize::MAX),
        expiry: some(number("credentials_timeout_threshold", 180)).map(|days| days.saturating_mul(DAY)),
    }
}

/// What the controller's settings say about sessions and passwords.
pub(super) struct Settings {
    pub(super) limits: Limits,
    /// `allow_basic_authentication`; off.
    pub(super) basic: bool,
    /// `minimum_password_length`; 8.
    pub(super) password_length: usize,
    /// `password_strength_check`; off.
    pub(super) password_strength: bool,
    /// `portal_request_rate_limit`, requests per second; `None` is any number.
    pub(super) rate: Option<u64>,
    /// `api_idle_timeout`, in minutes.
    pub(super) idle_minutes: u64,
}

impl Settings {
    pub(super) fn read(store: &Store) -> Self {
        let properties = store.objects("controllerproperties").next();
        let portal = store
            .objects("systemconfiguration")
            .next()
            .and_then(|configuration| configuration.get("portal_configuration"));
        let number = |object: Option<&Value>, field: &str, default: u64| {
            object.and_then(|object| object.get(field)?.as_u64()).unwrap_or(default)
        };
        let portal_flag = |field: &str| portal.is_some_and(|portal| flag(portal, field));
        let idle_minutes = number(properties, "api_idle_timeout", 15);
        let force = number(portal, "api_force_timeout", 24);
        let rate = number(properties, "portal_request_rate_limit", 0);
        Self {
            limits: Limits {
                idle: (idle_minutes > 0).then(|| idle_minutes.saturating_mul(MINUTE)),
                force: (force > 0).then(|| force.saturating_mul(HOUR)),
            },
            basic: portal_flag("allow_basic_authentication"),
            password_length: usize::try_from(number(portal, "minimum_password_length", 8))
                .unwrap_or(usize::MAX),
            password_strength: portal_flag("password_strength_check"),
            rate: (rate > 0).then_some(rate),
            idle_minutes,
        }
    }
}
