//! Clouds, their networks and service engine groups, and the IPAM profiles that select the networks for addresses.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{AddressType, Meta, ProfileType, RangeUse, Rest, object};
use crate::avi::reference::Ref;

/// A cloud: a vCenter, an NSX-T, or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cloud {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// `CLOUD_VCENTER`, `CLOUD_NSXT`, `CLOUD_NONE` …
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "String::is_empty")]
    pub vtype: String,
    /// Where its addresses come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam_provider_ref: Option<Ref>,
    /// Whether its networks have DHCP by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp_enabled: Option<bool>,
    /// The other fields, with `vcenter_configuration` and `nsxt_configuration`.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(Cloud);

/// A network of a cloud, mostly a port group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_ref: Option<Ref>,
    /// The routing context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf_context_ref: Option<Ref>,
    /// The network as the cloud's infrastructure manager shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vimgrnw_ref: Option<Ref>,
    /// Whether it is a port group of a distributed switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcenter_dvs: Option<bool>,
    /// Whether it has DHCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp_enabled: Option<bool>,
    /// Whether only `configured_subnets` are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_discovered_subnets: Option<bool>,
    /// The subnets that people configured.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub configured_subnets: Vec<Subnet>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(Network, in a cloud);

/// A subnet and the addresses in it that AVI may assign.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    /// The subnet.
    pub prefix: Prefix,
    /// The addresses to assign.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub static_ip_ranges: Vec<StaticRange>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// Address and prefix length of a subnet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prefix {
    /// The address.
    pub ip_addr: Address,
    /// The length in bits.
    pub mask: u8,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Default for Prefix {
    fn default() -> Self {
        Self { ip_addr: Address::from(IpAddr::from([0, 0, 0, 0])), mask: 0, rest: Rest::default() }
    }
}

impl Prefix {
    /// Creates a subnet from address and prefix length in bits.
    #[must_use]
    pub fn new(address: IpAddr, mask: u8) -> Self {
        Self { ip_addr: address.into(), mask, rest: Rest::default() }
    }

    /// Returns the network address and the length: host bits and the spelling of an IPv6 address do not matter.
    /// `None` if it is not an address, or the length does not fit its family.
    #[must_use]
    pub fn network(&self) -> Option<(IpAddr, u8)> {
        let mask = u32::from(self.mask);
        match self.ip_addr.ip()? {
            IpAddr::V4(ip) if mask <= 32 => {
                let bits = u32::MAX.checked_shl(32 - mask).unwrap_or(0);
                Some((IpAddr::V4((ip.to_bits() & bits).into()), self.mask))
            }
            IpAddr::V6(ip) if mask <= 128 => {
                let bits = u128::MAX.checked_shl(128 - mask).unwrap_or(0);
                Some((IpAddr::V6((ip.to_bits() & bits).into()), self.mask))
            }
            _ => None,
        }
    }
}

/// An address as AVI writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The text.
    pub addr: String,
    /// V4, V6 or DNS.
    #[serde(rename = "type")]
    pub kind: AddressType,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Address {
    /// Returns the address, if it is one and not a name.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.addr.parse().ok()
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        let kind = if ip.is_ipv4() { AddressType::V4 } else { AddressType::V6 };
        Self { addr: ip.to_string(), kind, rest: Rest::default() }
    }
}

/// Addresses to assign, and their use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StaticRange {
    /// The addresses.
    pub range: Range,
    /// Their use; see [`StaticRange::usage`].
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<RangeUse>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl StaticRange {
    /// Creates the range from `begin` to `end`, both included.
    #[must_use]
    pub fn new(begin: IpAddr, end: IpAddr, usage: RangeUse) -> Self {
        Self {
            range: Range { begin: begin.into(), end: end.into(), rest: Rest::default() },
            kind: Some(usage),
            rest: Rest::default(),
        }
    }

    /// Returns the use of the addresses.
    #[must_use]
    pub fn usage(&self) -> &RangeUse {
        self.kind.as_ref().unwrap_or(&RangeUse::VIP_AND_SE)
    }
}

/// Two addresses and all between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub begin: Address,
    /// The last.
    pub end: Address,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl Range {
    /// Returns both ends, if they are addresses. Compare these, not the texts.
    #[must_use]
    pub fn ips(&self) -> Option<(IpAddr, IpAddr)> {
        Some((self.begin.ip()?, self.end.ip()?))
    }
}

/// An IPAM or DNS profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IpamDnsProviderProfile {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// Its provider.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ProfileType>,
    /// Set for AVI's own IPAM and DNS; others have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_profile: Option<InternalProfile>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(IpamDnsProviderProfile);

/// AVI's own IPAM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct InternalProfile {
    /// The networks that addresses are taken from, in order.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub usable_networks: Vec<UsableNetwork>,
    /// Time to live of DNS records, in seconds. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A network that addresses are taken from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UsableNetwork {
    /// The network.
    pub nw_ref: Ref,
    /// Labels; at most one.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

impl UsableNetwork {
    /// Creates an entry for that network, without labels.
    #[must_use]
    pub fn new(network: Ref) -> Self {
        Self { nw_ref: network, labels: Vec::new(), rest: Rest::default() }
    }
}

/// A key and a value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The key.
    pub key: String,
    /// The value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

/// A group of service engines.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceEngineGroup {
    /// Name, uuid and what else every object has.
    #[serde(flatten)]
    pub meta: Meta,
    /// The cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cloud_ref: Option<Ref>,
    /// Labels; at most one.
    #[serde(default, deserialize_with = "super::or_default", skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// How virtual services are spread over engines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ha_mode: Option<String>,
    /// The other fields.
    #[serde(flatten)]
    pub rest: Rest,
}

object!(ServiceEngineGroup, in a cloud);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_is_not_known_comes_back() {
        let wire = json!({
            "url": "https://c/api/network/network-1", "uuid": "network-1", "name": "n", "_last_modified": "17",
            "tenant_ref": "https://c/api/tenant/admin#admin", "cloud_ref": "https://c/api/cloud/cloud-1",
            "synced_from_se": false, "attrs": [{"key": "k", "value": 1.5}],
            "configured_subnets": [{
                "prefix": {"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24},
                "static_ip_ranges": [
                    {"range": {"begin": {"addr": "10.0.0.5", "type": "V4"}, "end": {"addr": "10.0.0.9", "type": "V4"}},
                     "type": "STATIC_IPS_FOR_SE"},
                    {"range": {"begin": {"addr": "10.0.0.15", "type": "V4"}, "end": {"addr": "10.0.0.19", "type": "V4"}},
                     "type": "STATIC_IPS_FOR_SOMETHING_NEW", "note": "kept"},
                ],
                "future": {"a": [1, 2]},
            }],
        });
        let network: Network = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(network.configured_subnets[0].static_ip_ranges[0].usage(), &RangeUse::SE);
        assert_eq!(serde_json::to_value(&network).unwrap(), wire);
    }

    #[test]
    fn nothing_of_values_without_a_type_is_shown() {
        let wire =
            json!({"name": "c", "vtype": "CLOUD_VCENTER", "vcenter_configuration": {"password": "hunter2"}});
        let cloud: Cloud = serde_json::from_value(wire).unwrap();
        let shown = format!("{cloud:?}");
        assert!(shown.contains("vcenter_configuration") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn subnets_are_compared_as_networks() {
        let prefix = |addr: &str, mask: u8| Prefix::new(addr.parse().unwrap(), mask).network();
        assert_eq!(prefix("10.1.2.3", 24), prefix("10.1.2.0", 24));
        assert_ne!(prefix("10.1.2.3", 24), prefix("10.1.2.0", 25));
        assert_eq!(prefix("10.1.2.3", 0), prefix("0.0.0.0", 0));
        assert_eq!(prefix("fd00:0:0:0::1", 64), prefix("fd00::", 64));
        assert_eq!(prefix("fd00::1", 129), None);
        assert_eq!(prefix("10.0.0.1", 33), None);
    }

    #[test]
    fn any_shape_of_json_is_read_or_refused() {
        for odd in [Value::Null, json!([]), json!({"configured_subnets": 3}), json!({"name": 3})] {
            assert!(serde_json::from_value::<Network>(odd).is_err());
        }
    }
}
