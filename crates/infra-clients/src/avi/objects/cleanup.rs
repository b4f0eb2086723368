//! What AKO creates for a cluster, as far as finding and removing it requires: who created it, in which cloud, what
//! refers to what.

use serde::{Deserialize, Serialize};

use super::{Meta, Rest, object};
use crate::avi::reference::Ref;

/// A key and values that AKO, or a person, put on an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The key: `clustername`.
    pub key: String,
    /// The values.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Marker {
    /// Returns whether a marker has that key and value.
    #[must_use]
    pub fn any(markers: &[Self], key: &str, value: &str) -> bool {
        markers.iter().any(|marker| marker.key == key && marker.values.iter().any(|is| is == value))
    }
}

/// A virtual service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VirtualService {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_ref: Option<Ref>,
    /// Who created it: `ako-<cluster name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Its markers.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub markers: Vec<Marker>,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vsvip_ref: Option<Ref>,
    /// Its servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_ref: Option<Ref>,
    /// Its parent, if it is a child: children are deleted first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vh_parent_vs_ref: Option<Ref>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(VirtualService, in a cloud);

/// A pool of servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_ref: Option<Ref>,
    /// Who created it: `ako-<cluster name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Its markers.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub markers: Vec<Marker>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(Pool, in a cloud);

/// The addresses of virtual services. Has no `created_by`: it is identified by its markers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VsVip {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_ref: Option<Ref>,
    /// Its markers.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub markers: Vec<Marker>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(VsVip, in a cloud);

/// A routing context. Has no `created_by`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VrfContext {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_ref: Option<Ref>,
    /// The other fields, with AKO's static routes.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(VrfContext, in a cloud);
