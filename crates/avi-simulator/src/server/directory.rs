//! Queries of the configuration that the server itself needs: users, tenants, profiles, settings. Only reads.

use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::accounts::Profile;
use super::clock::Micros;
use super::sessions::Limits;
use crate::Store;

const MINUTE: Micros = 60_000_000;
const HOUR: Micros = 60 * MINUTE;
const DAY: Micros = 24 * HOUR;

/// Returns a text field.
pub(super) fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object.get(field)?.as_str()
}

/// Returns a boolean field; false if it is missing.
fn flag(object: &Value, field: &str) -> bool {
    object.get(field).and_then(Value::as_bool).unwrap_or_default()
}

/// Returns the object that a reference names: `/api/<kind>/<uuid>` or `/api/<kind>/?name=N`, with or without a host in
/// front and `#name` at the end, or a bare uuid.
pub(super) fn resolve<'a>(store: &'a Store, kind: &str, reference: &str) -> Option<&'a Value> {
    let reference = reference.split('#').next().unwrap_or_default();
    if let Some((_, query)) = reference.split_once('?') {
        let name = query.split('&').find_map(|pair| pair.strip_prefix("name="))?;
        let name = percent_decode_str(&name.replace('+', " ")).decode_utf8_lossy().into_owned();
        let uuid = text(find_by_name(store, kind, &name)?, "uuid")?.to_owned();
        return store.object(kind, &uuid);
    }
    let uuid = reference.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    store.object(kind, uuid)
}

/// Returns the uuid of the object that a reference names.
pub(super) fn resolve_uuid<'a>(store: &'a Store, kind: &str, reference: &str) -> Option<&'a str> {
    resolve(store, kind, reference).and_then(|object| text(object, "uuid"))
}

/// Returns the first object of that name in any tenant.
pub(super) fn find_by_name<'a>(store: &'a Store, kind: &str, name: &'a str) -> Option<&'a Value> {
    store.objects_named(kind, name).find(|object| text(object, "name") == Some(name))
}

/// Returns the user with this `username`.
pub(super) fn find_user<'a>(store: &'a Store, username: &'a str) -> Option<&'a Value> {
    store.objects_named("user", username).find(|user| self::username(user) == username)
}

/// Returns the user's `username`, or `name` if there is none.
pub(super) fn username(user: &Value) -> &str {
    text(user, "username").or_else(|| text(user, "name")).unwrap_or_default()
}

/// Returns whether the user has every privilege in every tenant.
pub(super) fn is_superuser(user: &Value) -> bool {
    flag(user, "is_superuser")
}

/// Returns whether the account may log in; default true.
pub(super) fn is_active(user: &Value) -> bool {
    user.get("is_active").and_then(Value::as_bool).unwrap_or(true)
}

/// One entry of a user's `access`.
pub(super) struct Access<'a> {
    pub(super) role: &'a Value,
    /// The tenant's uuid; `None`: all tenants.
    pub(super) tenant: Option<&'a str>,
}

/// Returns the entries of a user's `access` whose role and tenant exist.
pub(super) fn access_entries<'a>(store: &'a Store, user: &'a Value) -> impl Iterator<Item = Access<'a>> {
    let entries = user.get("access").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    entries.iter().filter_map(|entry| {
        let role = resolve(store, "role", text(entry, "role_ref")?)?;
        if flag(entry, "all_tenants") {
            return Some(Access { role, tenant: None });
        }
        let tenant = resolve_uuid(store, "tenant", text(entry, "tenant_ref")?)?;
        Some(Access { role, tenant: Some(tenant) })
    })
}

/// Returns the tenants that the user has access to.
pub(super) fn accessible_tenants<'a>(store: &'a Store, user: &'a Value) -> Vec<&'a Value> {
    let everywhere = is_superuser(user) || access_entries(store, user).any(|access| access.tenant.is_none());
    store
        .objects("tenant")
        .filter(|tenant| {
            everywhere || access_entries(store, user).any(|access| access.tenant == text(tenant, "uuid"))
        })
        .collect()
}

/// Returns the uuid of the tenant of a request without `X-Avi-Tenant`.
pub(super) fn default_tenant<'a>(store: &'a Store, user: &Value) -> &'a str {
    text(user, "default_tenant_ref")
        .and_then(|reference| resolve_uuid(store, "tenant", reference))
        .unwrap_or("admin")
}

/// Returns the user's account profile, or the default profile.
pub(super) fn profile(store: &Store, user: &Value) -> Profile {
    let profile = text(user, "user_profile_ref")
        .and_then(|reference| resolve(store, "useraccountprofile", reference))
        .or_else(|| find_by_name(store, "useraccountprofile", "Default-User-Account-Profile"));
    let number = |field: &str, default: u64| {
        profile.and_then(|profile| profile.get(field)?.as_u64()).unwrap_or(default)
    };
    let some = |number: u64| (number > 0).then_some(number);
    Profile {
        max_sessions: some(number("max_concurrent_sessions", 0)).and_then(|max| usize::try_from(max).ok()),
        max_failures: some(number("max_login_failure_count", 3)),
        lock_time: number("account_lock_timeout", 30).saturating_mul(MINUTE),
        history: usize::try_from(number("max_password_history_count", 4)).unwrap_or(usize::MAX),
        max_age: some(number("credentials_timeout_threshold", 180)).map(|days| days.saturating_mul(DAY)),
    }
}

/// The controller's settings for sessions, passwords and requests.
pub(super) struct Settings {
    pub(super) limits: Limits,
    /// `allow_basic_authentication`; default false.
    pub(super) basic: bool,
    /// `minimum_password_length`, in characters; default 8.
    pub(super) password_length: usize,
    /// `password_strength_check`; default false.
    pub(super) password_strength: bool,
    /// `portal_request_rate_limit`, in requests per second; `None`: no limit.
    pub(super) rate: Option<u64>,
    /// `api_idle_timeout`, in minutes; default 15.
    pub(super) idle_minutes: u64,
}

impl Settings {
    /// Reads the settings.
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
