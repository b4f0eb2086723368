//! Tenants, roles and users.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AccessType, Meta, Rest, object};
use crate::Secret;
use crate::avi::reference::Ref;

/// A tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// Whether it was created here and not by a cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
    /// Who owns the service engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_settings: Option<TenantSettings>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(Tenant);

/// Who owns the service engines and routes of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TenantSettings {
    /// Whether the engines are the provider's (the provider context) and not the tenant's own. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se_in_provider_context: Option<bool>,
    /// Whether the tenant may see the provider's engines. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_access_to_provider_se: Option<bool>,
    /// Whether the tenant has routing contexts of its own. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_vrf: Option<bool>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Role {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// What is allowed, by resource.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub privileges: Vec<Privilege>,
    /// Which objects are meant, by their markers.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<RoleFilter>,
    /// Whether objects without markers count as allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_unlabelled_access: Option<bool>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(Role);

/// What is allowed with one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Privilege {
    /// The resource, such as `PERMISSION_POOL`.
    pub resource: String,
    /// What is allowed.
    #[serde(rename = "type")]
    pub kind: AccessType,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Privilege {
    /// Creates the privilege of that access to that resource.
    #[must_use]
    pub fn new(resource: impl Into<String>, kind: AccessType) -> Self {
        Self { resource: resource.into(), kind, rest: Rest::default() }
    }
}

/// A condition on an object's markers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoleFilter {
    /// The marker.
    pub match_label: MatchLabel,
    /// `ROLE_FILTER_EQUALS`, `ROLE_FILTER_GLOB` …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_operation: Option<String>,
    /// Whether the condition applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// The marker of a [`RoleFilter`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchLabel {
    /// Its key.
    pub key: String,
    /// The values that match.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A user account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct User {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The name to log in with. Default: the object's name. Not sent to controllers before 30.0.0, which do not have
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// A name for people, which nothing depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub full_name: Option<String>,
    /// The password to set; the controller does not return it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "exposed",
        deserialize_with = "hidden"
    )]
    pub password: Option<Secret>,
    /// What the account may do, and in which tenants.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub access: Vec<Access>,
    /// The tenant of its calls that name no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_tenant_ref: Option<Ref>,
    /// The rules for its password and its lock-out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_profile_ref: Option<Ref>,
    /// Whether it is the account of a program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_user: Option<bool>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(User);

/// What an account may do in one tenant, or in all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// The role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_ref: Option<Ref>,
    /// The tenant, unless all tenants are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_ref: Option<Ref>,
    /// Whether all tenants are meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_tenants: Option<bool>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

#[expect(clippy::ref_option, reason = "serde hands the field over so")]
fn exposed<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// What some controllers return in place of a secret. It must not be sent back as one.
const MASK: &str = "<sensitive>";

fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| text != MASK).map(Secret::new))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_password_goes_out_and_is_not_shown() {
        let user = User { meta: Meta::named("u"), password: Some(Secret::new("hunter2")), ..User::default() };
        assert!(!format!("{user:?}").contains("hunter2"), "{user:?}");
        let wire = serde_json::to_value(&user).unwrap();
        assert_eq!(wire, json!({"name": "u", "password": "hunter2"}));
        let back: User = serde_json::from_value(wire).unwrap();
        assert_eq!(back.password.unwrap().expose(), "hunter2");
        let masked: User = serde_json::from_value(json!({"name": "u", "password": "<sensitive>"})).unwrap();
        assert!(masked.password.is_none());
    }
}
