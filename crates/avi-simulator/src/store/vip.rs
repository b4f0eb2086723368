//! Allocation of addresses: each `vip` that requests one gets an address of the networks that the cloud's IPAM profile
//! allows. A vsvip holds its addresses until it is deleted. Knows nothing about virtual services.

use std::collections::BTreeSet;
use std::iter::successors;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::leases::Lease;
use super::table::Object;
use super::undo::Undo;
use super::{Store, refs, text, validate};
use crate::ApiError;

/// An address family of a `vip`: the field of the address, the field of the subnet, the name of the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Family {
    address: &'static str,
    subnet: &'static str,
    name: &'static str,
}

const V4: Family = Family { address: "ip_address", subnet: "subnet", name: "V4" };
const V6: Family = Family { address: "ip6_address", subnet: "subnet6", name: "V6" };

/// A range of addresses for virtual services.
struct Range {
    /// The network's uuid.
    network: String,
    /// The network's address space: its VRF context, or else its cloud.
    vrf: String,
    /// The subnet.
    prefix: Value,
    begin: IpAddr,
    end: IpAddr,
}

/// The vsvip whose addresses are allocated.
struct Allocation<'a> {
    uuid: &'a str,
    /// The uuid of its cloud.
    cloud: &'a str,
    /// The address space of addresses outside of all known networks: its VRF context, or else its cloud.
    space: String,
    /// The leases of its vips so far.
    leases: Vec<Lease>,
}

impl Store {
    /// Allocates an address to every `vip` that requests one and leases the addresses that the client chose. `old` is the
    /// vsvip before the write.
    ///
    /// # Errors
    /// 400 if no address is free, another vsvip holds an address, or an address or `vip_id` would change.
    pub(super) fn allocate_addresses(
        &mut self,
        uuid: &str,
        cloud: &str,
        old: Option<&Object>,
        body: &mut Map<String, Value>,
    ) -> Result<(), ApiError> {
        let before: Vec<&Value> = old
            .and_then(|old| old.value.get("vip"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .collect();
        let space = [ref_uuid(body, "vrf_context_ref"), cloud].into_iter().find(|uuid| !uuid.is_empty());
        let space = space.unwrap_or_default().to_owned();
        let mut allocation = Allocation { uuid, cloud, space, leases: Vec::new() };
        let mut vips = body.remove("vip").unwrap_or_else(|| json!([]));
        for vip in vips.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            let id = vip.get("vip_id").cloned().unwrap_or_default();
            let was = before.iter().find(|was| was.get("vip_id") == Some(&id)).copied();
            if was.is_none() && !before.is_empty() {
                return Err(ApiError::new(400, "Changing an existing VIP's vip_id is not supported"));
            }
            for family in [V4, V6] {
                self.allocate_address(&mut allocation, was, vip, family)?;
            }
        }
        body.insert("vip".to_owned(), vips);
        let held = self.leases.of(uuid);
        self.record_undo(|| Undo::Leases(uuid.to_owned(), held));
        self.leases.set(uuid, allocation.leases);
        Ok(())
    }

    /// Allocates or leases the address of one family of a vip, if it has or requests one. `was` is the vip before the
    /// write.
    fn allocate_address(
        &mut self,
        allocation: &mut Allocation<'_>,
        was: Option<&Value>,
        vip: &mut Map<String, Value>,
        family: Family,
    ) -> Result<(), ApiError> {
        let automatic = vip.get("auto_allocate_ip") == Some(&Value::Bool(true));
        let kind = vip.get("auto_allocate_ip_type").and_then(Value::as_str).unwrap_or("V4_ONLY");
        let requested = automatic
            && match family.name {
                "V4" => kind != "V6_ONLY",
                _ => kind != "V4_ONLY",
            };
        let held = was.and_then(|was| validate::parse_address(was.get(family.address)));
        let given = match vip.get(family.address) {
            Some(value) => Some(validate::parse_address(Some(value)).ok_or_else(|| {
                ApiError::new(400, format!("VsVip: vip.{}: not an address of its type.", family.address))
            })?),
            None => None,
        };
        if let (Some(held), Some(given)) = (held, given)
            && held != given
            && automatic
        {
            return Err(ApiError::new(
                400,
                format!("VIP {held} is allocated. If a new preferred IP is needed, please recreate the VIP"),
            ));
        }
        let lease = match given.or(held.filter(|_| requested)) {
            Some(address) => self.lease_given(allocation, vip, family, address)?,
            None if requested => self.lease_first_free(allocation, vip, family)?,
            None => return Ok(()),
        };
        allocation.leases.push(lease);
        Ok(())
    }

    /// Leases an address that the client chose or the vip already has, in the address space of its network.
    fn lease_given(
        &self,
        allocation: &Allocation<'_>,
        vip: &mut Map<String, Value>,
        family: Family,
        address: IpAddr,
    ) -> Result<Lease, ApiError> {
        let range = self
            .ranges(allocation.cloud, vip, family)
            .into_iter()
            .find(|range| parse_prefix(&range.prefix).is_some_and(|net| net.contains(&address)));
        show_address(vip, family, address, range.as_ref());
        let lease = (range.map_or_else(|| allocation.space.clone(), |range| range.vrf), address);
        let is_taken = self.leases.holder(&lease).is_some_and(|holder| holder != allocation.uuid);
        if is_taken || allocation.leases.contains(&lease) {
            return Err(ApiError::new(400, format!("IP address {address} is already in use")));
        }
        Ok(lease)
    }

    /// Leases the lowest free address of the first range that has one.
    fn lease_first_free(
        &mut self,
        allocation: &Allocation<'_>,
        vip: &mut Map<String, Value>,
        family: Family,
    ) -> Result<Lease, ApiError> {
        for range in self.ranges(allocation.cloud, vip, family) {
            let lease = |address| (range.vrf.clone(), address);
            let mark = lease(range.begin);
            let first = self.leases.full_below(&mark).unwrap_or(range.begin);
            let mut unheld = successors(Some(first), |address| next_address(*address))
                .take_while(|address| *address <= range.end)
                .filter(|address| self.leases.holder(&lease(*address)).is_none())
                .peekable();
            // The leases of this allocation are not held yet, and will not be if another vip gets no address.
            let full_below = unheld.peek().copied().or(next_address(range.end)).unwrap_or(range.end);
            let free = unheld.find(|address| !allocation.leases.contains(&lease(*address)));
            self.leases.set_full_below(mark, full_below);
            if let Some(address) = free {
                show_address(vip, family, address, Some(&range));
                return Ok(lease(address));
            }
        }
        Err(ApiError::new(400, "No available free IPs"))
    }

    /// Returns the ranges for a vip: of the network that it names, or else of those in the cloud's IPAM profile.
    fn ranges(&self, cloud: &str, vip: &Map<String, Value>, family: Family) -> Vec<Range> {
        let place = vip.get("ipam_network_subnet");
        let subnet = place.and_then(|place| place.get(family.subnet));
        if let Some(named) = place.map(|place| text(place, "network_ref")).filter(|text| !text.is_empty()) {
            return self.network_ranges(refs::uuid_of(named), family, subnet);
        }
        let mut networks = self.usable_networks(cloud);
        if vip.get("auto_allocate_ip_type").and_then(Value::as_str) == Some("V4_V6") {
            // Both addresses must come from the same network.
            let has = |network: &str, family| !self.network_ranges(network, family, None).is_empty();
            networks.retain(|network| has(network, V4) && has(network, V6));
        }
        networks.iter().flat_map(|network| self.network_ranges(network, family, subnet)).collect()
    }

    /// Returns the ranges of a network for virtual services: of one family and, if given, one subnet.
    fn network_ranges(&self, network: &str, family: Family, subnet: Option<&Value>) -> Vec<Range> {
        let value = self.object("network", network);
        let refs = ["vrf_context_ref", "cloud_ref"].map(|field| value.map(|value| text(value, field)));
        let vrf =
            refs.into_iter().flatten().map(refs::uuid_of).find(|uuid| !uuid.is_empty()).unwrap_or_default();
        let subnets = value.and_then(|value| value.get("configured_subnets")).and_then(Value::as_array);
        let mut found = Vec::new();
        for configured in subnets.into_iter().flatten() {
            let prefix = configured.get("prefix").cloned().unwrap_or_default();
            if text(&prefix["ip_addr"], "type") != family.name
                || subnet.is_some_and(|subnet| parse_prefix(subnet) != parse_prefix(&prefix))
            {
                continue;
            }
            for range in configured.get("static_ip_ranges").and_then(Value::as_array).into_iter().flatten() {
                let bound = |end: &str| validate::parse_address(range.pointer(&format!("/range/{end}")));
                let for_engines = text(range, "type") == "STATIC_IPS_FOR_SE";
                if let (Some(begin), Some(end), false) = (bound("begin"), bound("end"), for_engines) {
                    let (network, vrf) = (network.to_owned(), vrf.to_owned());
                    found.push(Range { network, vrf, prefix: prefix.clone(), begin, end });
                }
            }
        }
        found
    }

    /// Returns the uuids of the networks in the IPAM profile of a cloud.
    fn usable_networks(&self, cloud: &str) -> Vec<String> {
        let ipam =
            self.object("cloud", cloud).map(|cloud| text(cloud, "ipam_provider_ref")).unwrap_or_default();
        let profile = self.object("ipamdnsproviderprofile", refs::uuid_of(ipam));
        let networks = profile.and_then(|profile| profile.pointer("/internal_profile/usable_networks"));
        let networks = networks.and_then(Value::as_array).into_iter().flatten();
        networks.map(|network| refs::uuid_of(text(network, "nw_ref")).to_owned()).collect()
    }
}

/// Returns the addresses in the body of a vsvip.
pub(super) fn shown_addresses(vsvip: &Value) -> BTreeSet<IpAddr> {
    let vips = vsvip.get("vip").and_then(Value::as_array).into_iter().flatten();
    vips.flat_map(|vip| [V4, V6].map(|family| validate::parse_address(vip.get(family.address))))
        .flatten()
        .collect()
}

/// Returns the uuid of a ref in a body; empty without one.
fn ref_uuid<'a>(body: &'a Map<String, Value>, field: &str) -> &'a str {
    body.get(field).and_then(Value::as_str).map(refs::uuid_of).unwrap_or_default()
}

/// Writes an address, and the network of its range, into a vip.
fn show_address(vip: &mut Map<String, Value>, family: Family, address: IpAddr, range: Option<&Range>) {
    vip.insert(family.address.to_owned(), json!({"addr": address.to_string(), "type": family.name}));
    let Some(range) = range else { return };
    vip.insert("avi_allocated_vip".to_owned(), Value::Bool(true));
    let place = vip.entry("ipam_network_subnet").or_insert_with(|| json!({}));
    if let Value::Object(place) = place {
        place.insert("network_ref".to_owned(), Value::String(refs::canonical("network", &range.network)));
        place.insert(family.subnet.to_owned(), range.prefix.clone());
    }
}

fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// Parses a prefix `{ip_addr, mask}`.
fn parse_prefix(prefix: &Value) -> Option<IpNet> {
    let mask = u8::try_from(prefix.get("mask")?.as_u64()?).ok()?;
    IpNet::new(validate::parse_address(prefix.get("ip_addr"))?, mask).ok().map(|net| net.trunc())
}
