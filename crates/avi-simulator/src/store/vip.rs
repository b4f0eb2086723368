//! The addresses of virtual services: given out of the networks a cloud's IPAM profile allows, one to each `vip` that
//! asks, and free again when the vsvip goes. Knows nothing of virtual services.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::table::Object;
use super::{Store, refs, text, validate};
use crate::ApiError;

/// Who has which address.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// The vsvip behind an address of a network (or, for addresses of no known network, of a cloud).
    by_address: HashMap<(String, IpAddr), String>,
    by_vsvip: HashMap<String, Vec<(String, IpAddr)>>,
    /// Below this address a range (of a network, by its first address) has none free.
    full_below: HashMap<(String, IpAddr), IpAddr>,
}

impl Leases {
    /// Gives back what a vsvip has.
    pub(super) fn free(&mut self, vsvip: &str) {
        for lease in self.by_vsvip.remove(vsvip).unwrap_or_default() {
            for ((network, begin), low) in &mut self.full_below {
                if *network == lease.0 && (*begin..*low).contains(&lease.1) {
                    *low = lease.1;
                }
            }
            self.by_address.remove(&lease);
        }
    }

    fn take(&mut self, vsvip: &str, lease: (String, IpAddr)) {
        self.by_address.insert(lease.clone(), vsvip.to_owned());
        self.by_vsvip.entry(vsvip.to_owned()).or_default().push(lease);
    }

    /// Every vsvip that has addresses.
    pub(super) fn holders(&self) -> impl Iterator<Item = &str> {
        self.by_vsvip.keys().map(String::as_str)
    }
}

/// One address family of a `vip`: its field, the field of its subnet, the name of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Family {
    address: &'static str,
    subnet: &'static str,
    name: &'static str,
}

const V4: Family = Family { address: "ip_address", subnet: "subnet", name: "V4" };
const V6: Family = Family { address: "ip6_address", subnet: "subnet6", name: "V6" };

/// A range addresses can be taken from.
struct Range {
    network: String,
    prefix: Value,
    begin: IpAddr,
    end: IpAddr,
}

impl Store {
    /// Gives every `vip` that asks its address, and notes those a client chose. `old` is the vsvip as it was.
    ///
    /// # Errors
    /// 400 if no address is free, an address is another's, or an address or `vip_id` would change.
    pub(super) fn allocate(
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
        let mut taken: Vec<(String, IpAddr)> = Vec::new();
        let mut vips = body.remove("vip").unwrap_or_else(|| json!([]));
        for vip in vips.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            let id = vip.get("vip_id").cloned().unwrap_or_default();
            let was = before.iter().find(|was| was.get("vip_id") == Some(&id));
            if was.is_none() && !before.is_empty() {
                return Err(ApiError::new(400, "Changing an existing VIP's vip_id is not supported"));
            }
            let wanted =
                vip.get("auto_allocate_ip_type").and_then(Value::as_str).unwrap_or("V4_ONLY").to_owned();
            let automatic = vip.get("auto_allocate_ip") == Some(&Value::Bool(true));
            for family in [V4, V6] {
                let asked = automatic
                    && match family.name {
                        "V4" => wanted != "V6_ONLY",
                        _ => wanted != "V4_ONLY",
                    };
                let had = was.and_then(|was| validate::address(was.get(family.address)));
                let given = match vip.get(family.address) {
                    Some(value) => Some(validate::address(Some(value)).ok_or_else(|| {
                        ApiError::new(400, format!("VsVip: vip.{}: no address of its type.", family.address))
                    })?),
                    None => None,
                };
                if let (Some(had), Some(given)) = (had, given)
                    && had != given
                    && automatic
                {
                    return Err(ApiError::new(
                        400,
                        format!(
                            "VIP {had} is allocated. If a new preferred IP is needed, please recreate the VIP"
                        ),
                    ));
                }
                let lease = match given.or(had.filter(|_| asked)) {
                    Some(address) => self.claim(uuid, cloud, vip, family, address, &taken)?,
                    None if asked => self.first_free(cloud, vip, family, &taken)?,
                    None => continue,
                };
                taken.push(lease);
            }
        }
        body.insert("vip".to_owned(), vips);
        self.leases.free(uuid);
        for lease in taken {
            self.leases.take(uuid, lease);
        }
        Ok(())
    }

    /// An address a client chose, or the vip has already.
    fn claim(
        &self,
        uuid: &str,
        cloud: &str,
        vip: &mut Map<String, Value>,
        family: Family,
        address: IpAddr,
        taken: &[(String, IpAddr)],
    ) -> Result<(String, IpAddr), ApiError> {
        let home = self
            .ranges(cloud, vip, family)
            .into_iter()
            .find(|range| net_of(&range.prefix).is_some_and(|net| net.contains(&address)));
        let lease = (home.as_ref().map_or_else(|| cloud.to_owned(), |range| range.network.clone()), address);
        if self.leases.by_address.get(&lease).is_some_and(|holder| holder != uuid) || taken.contains(&lease) {
            return Err(ApiError::new(400, format!("IP address {address} is already in use")));
        }
        write_down(vip, family, address, home.as_ref());
        Ok(lease)
    }

    fn first_free(
        &mut self,
        cloud: &str,
        vip: &mut Map<String, Value>,
        family: Family,
        taken: &[(String, IpAddr)],
    ) -> Result<(String, IpAddr), ApiError> {
        for range in self.ranges(cloud, vip, family) {
            let mark = (range.network.clone(), range.begin);
            let mut next = Some(self.leases.full_below.get(&mark).copied().unwrap_or(range.begin));
            while let Some(address) = next.filter(|address| *address <= range.end) {
                let lease = (range.network.clone(), address);
                if !self.leases.by_address.contains_key(&lease) && !taken.contains(&lease) {
                    self.leases.full_below.insert(mark, address);
                    write_down(vip, family, address, Some(&range));
                    return Ok(lease);
                }
                next = after(address);
            }
            self.leases.full_below.insert(mark, after(range.end).unwrap_or(range.end));
        }
        Err(ApiError::new(400, "No available free IPs"))
    }

    /// Where a vip's address may come from: the network it names, else those its cloud's IPAM profile lists.
    fn ranges(&self, cloud: &str, vip: &Map<String, Value>, family: Family) -> Vec<Range> {
        let place = vip.get("ipam_network_subnet");
        let subnet = place.and_then(|place| place.get(family.subnet));
        if let Some(named) = place.map(|place| text(place, "network_ref")).filter(|text| !text.is_empty()) {
            return self.ranges_of(refs::uuid_of(named), family, subnet);
        }
        let mut networks = self.usable_networks(cloud);
        if vip.get("auto_allocate_ip_type").and_then(Value::as_str) == Some("V4_V6") {
            // Addresses of both families come from one network.
            let has = |network: &str, family| !self.ranges_of(network, family, None).is_empty();
            networks.retain(|network| has(network, V4) && has(network, V6));
        }
        networks.iter().flat_map(|network| self.ranges_of(network, family, subnet)).collect()
    }

    /// The ranges of one network that are for virtual services, of one family, in the subnet if one is wanted.
    fn ranges_of(&self, network: &str, family: Family, subnet: Option<&Value>) -> Vec<Range> {
        let value = self.object("network", network);
        let subnets = value.and_then(|value| value.get("configured_subnets")).and_then(Value::as_array);
        let mut found = Vec::new();
        for configured in subnets.into_iter().flatten() {
            let prefix = configured.get("prefix").cloned().unwrap_or_default();
            if text(&prefix["ip_addr"], "type") != family.name
                || subnet.is_some_and(|subnet| net_of(subnet) != net_of(&prefix))
            {
                continue;
            }
            for range in configured.get("static_ip_ranges").and_then(Value::as_array).into_iter().flatten() {
                let bound = |end: &str| validate::address(range.pointer(&format!("/range/{end}")));
                let for_engines = text(range, "type") == "STATIC_IPS_FOR_SE";
                if let (Some(begin), Some(end), false) = (bound("begin"), bound("end"), for_engines) {
                    found.push(Range { network: network.to_owned(), prefix: prefix.clone(), begin, end });
                }
            }
        }
        found
    }

    /// The networks of the IPAM profile of a cloud.
    fn usable_networks(&self, cloud: &str) -> Vec<String> {
        let ipam =
            self.object("cloud", cloud).map(|cloud| text(cloud, "ipam_provider_ref")).unwrap_or_default();
        let profile = self.object("ipamdnsproviderprofile", refs::uuid_of(ipam));
        let networks = profile.and_then(|profile| profile.pointer("/internal_profile/usable_networks"));
        let networks = networks.and_then(Value::as_array).into_iter().flatten();
        networks.map(|network| refs::uuid_of(text(network, "nw_ref")).to_owned()).collect()
    }
}

/// What a vip shows of the address it has.
fn write_down(vip: &mut Map<String, Value>, family: Family, address: IpAddr, home: Option<&Range>) {
    vip.insert(family.address.to_owned(), json!({"addr": address.to_string(), "type": family.name}));
    let Some(home) = home else { return };
    vip.insert("avi_allocated_vip".to_owned(), Value::Bool(true));
    let place = vip.entry("ipam_network_subnet").or_insert_with(|| json!({}));
    if let Value::Object(place) = place {
        place.insert("network_ref".to_owned(), Value::String(refs::canonical("network", &home.network)));
        place.insert(family.subnet.to_owned(), home.prefix.clone());
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// The network of a prefix `{ip_addr, mask}`.
fn net_of(prefix: &Value) -> Option<IpNet> {
    let mask = u8::try_from(prefix.get("mask")?.as_u64()?).ok()?;
    IpNet::new(validate::address(prefix.get("ip_addr"))?, mask).ok().map(|net| net.trunc())
}
