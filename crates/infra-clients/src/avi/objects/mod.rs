//! The objects of the controller: typed where an operator decides by a field; every other field is kept as it was
//! received and sent back with the next write. Owns their shape in the newest version known; older field names are
//! replaced before.

mod accounts;
mod cleanup;
mod networks;

use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::reference::Ref;
pub use accounts::{Access, MatchLabel, Privilege, Role, RoleFilter, Tenant, TenantSettings, User};
pub use cleanup::{Marker, Pool, VirtualService, VrfContext, VsVip};
pub use networks::{
    Address, Cloud, InternalProfile, IpamDnsProviderProfile, Label, Network, Prefix, Range,
    ServiceEngineGroup, StaticRange, Subnet, UsableNetwork,
};

/// A type of object: its path under `/api/` and its Rust type. There is a constant for each; [`Resource::any`] for
/// the others.
pub struct Resource<T> {
    kind: &'static str,
    shape: PhantomData<fn() -> T>,
}

impl<T> Resource<T> {
    const fn new(kind: &'static str) -> Self {
        Self { kind, shape: PhantomData }
    }

    /// Returns the kind, as in its path and its refs: `network`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns a ref to the object of that uuid.
    #[must_use]
    pub fn reference(&self, uuid: &str) -> Ref {
        Ref::new(self.kind, uuid)
    }
}

impl Resource<Any> {
    /// Returns a type that has no Rust type here, such as `poolgroup`.
    #[must_use]
    pub const fn any(kind: &'static str) -> Self {
        Self::new(kind)
    }
}

impl<T> Clone for Resource<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Resource<T> {}

impl<T> fmt::Debug for Resource<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

/// Clouds. In tenant `admin`.
pub const CLOUD: Resource<Cloud> = Resource::new("cloud");
/// Networks of clouds. Names may repeat.
pub const NETWORK: Resource<Network> = Resource::new("network");
/// IPAM and DNS profiles.
pub const IPAM_PROFILE: Resource<IpamDnsProviderProfile> = Resource::new("ipamdnsproviderprofile");
/// Service engine groups of clouds.
pub const SE_GROUP: Resource<ServiceEngineGroup> = Resource::new("serviceenginegroup");
/// Tenants. Listed across tenants whatever the scope.
pub const TENANT: Resource<Tenant> = Resource::new("tenant");
/// Roles.
pub const ROLE: Resource<Role> = Resource::new("role");
/// User accounts. Lists contain those of programs, too, unless the query has `include_service_accounts=false`.
pub const USER: Resource<User> = Resource::new("user");
/// Virtual services.
pub const VIRTUAL_SERVICE: Resource<VirtualService> = Resource::new("virtualservice");
/// Server pools.
pub const POOL: Resource<Pool> = Resource::new("pool");
/// Virtual IPs of virtual services.
pub const VSVIP: Resource<VsVip> = Resource::new("vsvip");
/// Routing contexts of clouds.
pub const VRF_CONTEXT: Resource<VrfContext> = Resource::new("vrfcontext");

/// What every object has.
pub trait Object: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Returns name, uuid and what else every object has.
    fn meta(&self) -> &Meta;

    /// Returns the cloud that it belongs to, for the types that do.
    fn cloud(&self) -> Option<&Ref> {
        None
    }
}

/// Name, uuid and what else every object has. The controller sets all but the name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The name. Unique per type and tenant (and cloud), except for networks.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The uuid. Empty until the controller has created the object.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// The ref of the object itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Ref>,
    /// The tenant it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_ref: Option<Ref>,
    /// The time of the last write, in microseconds since 1970 as digits. A write has to contain it to prove that it
    /// is based on the newest state.
    #[serde(rename = "_last_modified", default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Meta {
    /// Creates the part of an object that is to be created.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Reads `null` as a missing field.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(field: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_default())
}

/// The fields that have no Rust type here, kept for the next write. `Debug` shows only their names: values may be
/// secret.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rest(pub Map<String, Value>);

impl Rest {
    /// Returns a field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field)
    }

    /// Returns a field that is text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.0.get(field)?.as_str()
    }

    /// Sets a field.
    pub fn set(&mut self, field: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(field.into(), value.into());
    }
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// An object of a type that has no Rust type here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Any {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Implements [`Object`] for types with a `meta` (and a `cloud_ref`).
macro_rules! object {
    ($type:ty) => {
        impl $crate::avi::objects::Object for $type {
            fn meta(&self) -> &$crate::avi::objects::Meta {
                &self.meta
            }
        }
    };
    ($type:ty, in a cloud) => {
        impl $crate::avi::objects::Object for $type {
            fn meta(&self) -> &$crate::avi::objects::Meta {
                &self.meta
            }

            fn cloud(&self) -> Option<&$crate::avi::Ref> {
                self.cloud_ref.as_ref()
            }
        }
    };
}
pub(crate) use object;

object!(Any);

impl Any {
    /// Returns who created it, for types that have the field: `ako-<cluster name>`.
    #[must_use]
    pub fn created_by(&self) -> Option<&str> {
        self.rest.text("created_by")
    }

    /// Returns its markers, for types that have them.
    #[must_use]
    pub fn markers(&self) -> Vec<Marker> {
        let markers = self.rest.get("markers").and_then(Value::as_array).into_iter().flatten();
        markers.filter_map(|marker| Marker::deserialize(marker).ok()).collect()
    }
}

/// Enumerations of the controller, which grow with every version: a text, with names for the values that matter here.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(std::borrow::Cow<'static, str>);

        impl $name {
            $(
                $(#[$word_doc])*
                pub const $word: Self = Self(std::borrow::Cow::Borrowed($text));
            )*

            /// Returns any value, by the controller's name for it.
            #[must_use]
            pub fn new(text: impl Into<std::borrow::Cow<'static, str>>) -> Self {
                Self(text.into())
            }

            /// Returns the controller's name for it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

words! {
    /// What a static range is for.
    RangeUse {
        /// Virtual IPs and service engines alike: what a range without a type is for.
        VIP_AND_SE = "STATIC_IPS_FOR_VIP_AND_SE",
        /// Virtual IPs only.
        VIP = "STATIC_IPS_FOR_VIP",
        /// Service engines only.
        SE = "STATIC_IPS_FOR_SE",
    }
}

words! {
    /// The type of an address.
    AddressType {
        /// IPv4.
        V4 = "V4",
        /// IPv6.
        V6 = "V6",
        /// A name.
        DNS = "DNS",
    }
}

words! {
    /// What a role may do with a resource.
    AccessType {
        /// Nothing.
        NONE = "NO_ACCESS",
        /// Read.
        READ = "READ_ACCESS",
        /// Read and write.
        WRITE = "WRITE_ACCESS",
    }
}

words! {
    /// The provider of an IPAM or DNS profile.
    ProfileType {
        /// AVI's own IPAM, the one with usable networks.
        IPAM_INTERNAL = "IPAMDNS_TYPE_INTERNAL",
        /// AVI's own DNS.
        DNS_INTERNAL = "IPAMDNS_TYPE_INTERNAL_DNS",
    }
}

#[cfg(test)]
mod tests;
