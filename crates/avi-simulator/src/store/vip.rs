//! The addresses of virtual services: given out of the networks a cloud's IPAM profile allows, one to each `vip` that
//! asks, and free again when the vsvip goes. Knows nothing of virtual services.

use std::collections::{BTreeSet, HashMap};
use std::iter::successors;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::table::Object;
use super::undo::Undo;
use super::{Store, refs, text, validate};
use crate::ApiError;

/// An address, and where it is one.
pub(super) type Lease = (String, IpAddr);

/// Who has which address.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// The vsvip behind an address of a VRF context (or of a cloud, where there is none): of the network's, or of the
    /// vsvip's for an address of no known network.
    by_address: HashMap<Lease, String>,
    by_vsvip: HashMap<String, Vec<Lease>>,
    /// Below this address a range (of a VRF context, by its first address) has none free.
    full_below: HashMap<Lease, IpAddr>,
}

impl Leases {
    /// Gives back what a vsvip has.
    pub(super) fn free(&mut self, vsvip: &str) {
        for lease in self.by_vsvip.remove(vsvip).unwrap_or_default() {
            for ((vrf, begin), low) in &mut self.full_below {
                if *vrf == lease.0 && (*begin..*low).contains(&lease.1) {
                    *low = lease.1;
                }
            }
            self.by_address.remove(&lease);
        }
    }

    fn take(&mut self, vsvip: &str, lease: Lease) {
        self.by_address.insert(lease.clone(), vsvip.to_owned());
        self.by_vsvip.entry(vsvip.to_owned()).or_default().push(lease);
    }

    /// What a vsvip has, to be [`put_back`](Leases::put_back).
    pub(super) fn of(&self, vsvip: &str) -> Vec<Lease> {
        self.by_vsvip.get(vsvip).cloned().unwrap_or_default()
    }

    /// Gives a vsvip what it had, and nothing else.
    pub(super) fn put_back(&mut self, vsvip: &str, had: Vec<Lease>) {
        self.free(vsvip);
        for lease in had {
            self.take(vsvip, lease);
        }
    }

    /// The addresses that a vsvip has.
    pub(super) fn held_by(&self, vsvip: &str) -> BTreeSet<IpAddr> {
        self.by_vsvip.get(vsvip).into_iter().flatten().map(|(_, address)| *address).collect()
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
    vrf: String,
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
        let mut taken: Vec<Lease> = Vec::new();
        let home = [ref_of(body, "vrf_context_ref"), cloud].into_iter().find(|uuid| !uuid.is_empty());
        let home = home.unwrap_or_default().to_owned();
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
                    Some(address) => {
                        let lease = self.claim((cloud, &home), vip, family, address);
                        let holder = self.leases.by_address.get(&lease);
                        if holder.is_some_and(|holder| holder != uuid) || taken.contains(&lease) {
                            let text = format!("IP address {address} is already in use");
                            return Err(ApiError::new(400, text));
                        }
                        lease
                    }
                    None if asked => self.first_free(cloud, vip, family, &taken)?,
                    None => continue,
                };
                taken.push(lease);
            }
        }
        body.insert("vip".to_owned(), vips);
        let had = self.leases.of(uuid);
        self.note(|| Undo::Leases(uuid.to_owned(), had));
        self.leases.put_back(uuid, taken);
        Ok(())
    }

    /// An address a client chose, or the vip has already, in the VRF context it is of.
    fn claim(
        &self,
        (cloud, vrf): (&str, &str),
        vip: &mut Map<String, Value>,
        family: Family,
        address: IpAddr,
    ) -> Lease {
        let home = self
            .ranges(cloud, vip, family)
            .into_iter()
            .find(|range| net_of(&range.prefix).is_some_and(|net| net.contains(&address)));
        write_down(vip, family, address, home.as_ref());
        (home.map_or_else(|| vrf.to_owned(), |range| range.vrf), address)
    }

    fn first_free(
        &mut self,
        cloud: &str,
        vip: &mut Map<String, Value>,
        family: Family,
        taken: &[Lease],
    ) -> Result<Lease, ApiError> {
        for range in self.ranges(cloud, vip, family) {
            let lease = |address| (range.vrf.clone(), address);
            let mark = lease(range.begin);
            let first = self.leases.full_below.get(&mark).copied().unwrap_or(range.begin);
            let mut unheld = successors(Some(first), |address| after(*address))
                .take_while(|address| *address <= range.end)
                .filter(|address| !self.leases.by_address.contains_key(&lease(*address)))
                .peekable();
            // What is `taken` is not held yet, and will not be if another vip gets none.
            let full_below = unheld.peek().copied().or(after(range.end)).unwrap_or(range.end);
            let free = unheld.find(|address| !taken.contains(&lease(*address)));
            self.leases.full_below.insert(mark, full_below);
            if let Some(address) = free {
                write_down(vip, family, address, Some(&range));
                return Ok(lease(address));
            }
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
        let refs = ["vrf_context_ref", "cloud_ref"].map(|field| value.map(|value| text(value, field)));
        let vrf =
            refs.into_iter().flatten().map(refs::uuid_of).find(|uuid| !uuid.is_empty()).unwrap_or_default();
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
                    let (network, vrf) = (network.to_owned(), vrf.to_owned());
                    found.push(Range { network, vrf, prefix: prefix.clone(), begin, end });
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

/// The addresses that a vsvip shows.
pub(super) fn shown(vsvip: &Value) -> BTreeSet<IpAddr> {
    let vips = vsvip.get("vip").and_then(Value::as_array).into_iter().flatten();
    vips.flat_map(|vip| [V4, V6].map(|family| validate::address(vip.get(family.address)))).flatten().collect()
}

/// The uuid behind a ref of a body; empty without one.
fn ref_of<'a>(body: &'a Map<String, Value>, field: &str) -> &'a str {
    body.get(field).and_then(Value::as_str).map(refs::uuid_of).unwrap_or_default()
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
