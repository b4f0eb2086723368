//! What an AKODeploymentConfig adds to AVI, and what it removes again: pure functions over sets.
//!
//! The record is the part of the status that names what the operator added. An item is added only after it is in the record, and leaves the
//! record only after it is gone from AVI, or where another AKODeploymentConfig has it in its record, too.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use infra_clients::avi::NETWORK;
use infra_clients::avi::objects::{
    InternalProfile, IpamDnsProviderProfile, Network, Prefix, Subnet, UsableNetwork,
};
use ipnet::IpNet;
use kube::ResourceExt;

use super::seen::Facts;
use crate::api::{
    Added, AddedRange, AddedSubnet, AddedUsableNetwork, AkoDeploymentConfig, AkoDeploymentConfigSpec,
};
use crate::ranges::{IpRange, Overlap, merge, parse_pools, parsed};
use crate::user::role;

/// Items of AVI's configuration. Addresses are in one spelling, so that equal items are equal texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Subnets of networks.
    pub subnets: BTreeSet<AddedSubnet>,
    /// Static ranges of subnets.
    pub ranges: BTreeSet<AddedRange>,
    /// Usable networks of IPAM profiles.
    pub usable: BTreeSet<AddedUsableNetwork>,
    /// Names of tenants.
    pub tenants: BTreeSet<String>,
    /// Names of roles in the tenant `admin`.
    pub roles: BTreeSet<String>,
}

impl From<&Added> for Items {
    fn from(added: &Added) -> Self {
        Self {
            subnets: added.subnets.iter().cloned().collect(),
            ranges: added.ranges.iter().cloned().collect(),
            usable: added.usable_networks.iter().cloned().collect(),
            tenants: added.tenants.iter().cloned().collect(),
            roles: added.roles.iter().cloned().collect(),
        }
    }
}

impl From<&Items> for Added {
    fn from(items: &Items) -> Self {
        Self {
            subnets: items.subnets.iter().cloned().collect(),
            ranges: items.ranges.iter().cloned().collect(),
            usable_networks: items.usable.iter().cloned().collect(),
            tenants: items.tenants.iter().cloned().collect(),
            roles: items.roles.iter().cloned().collect(),
        }
    }
}

impl Items {
    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subnets.is_empty()
            && self.ranges.is_empty()
            && self.usable.is_empty()
            && self.roles.is_empty()
            && self.tenants.is_empty()
    }

    /// Adds all of another set.
    pub fn extend(&mut self, other: Self) {
        self.subnets.extend(other.subnets);
        self.ranges.extend(other.ranges);
        self.usable.extend(other.usable);
        self.tenants.extend(other.tenants);
        self.roles.extend(other.roles);
    }

    /// Returns the items that another set does not have.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self {
            subnets: &self.subnets - &other.subnets,
            ranges: &self.ranges - &other.ranges,
            usable: &self.usable - &other.usable,
            tenants: &self.tenants - &other.tenants,
            roles: &self.roles - &other.roles,
        }
    }

    /// Returns the UUIDs of the networks whose subnets it has.
    #[must_use]
    pub fn networks(&self) -> BTreeSet<&str> {
        let subnets = self.subnets.iter().map(|subnet| &*subnet.network);
        subnets.chain(self.ranges.iter().map(|range| &*range.network)).collect()
    }

    /// Returns the UUIDs of the profiles whose networks it has.
    #[must_use]
    pub fn profiles(&self) -> BTreeSet<&str> {
        self.usable.iter().map(|usable| &*usable.profile).collect()
    }

    /// Returns the ranges of a subnet.
    fn ranges_of(&self, network: &str, cidr: &str) -> Vec<IpRange> {
        let of = self.ranges.iter().filter(|range| range.network == network && range.cidr == cidr);
        of.filter_map(|range| IpRange::new(range.start.parse().ok()?, range.end.parse().ok()?)).collect()
    }

    /// Returns whether it has a range of a network.
    #[must_use]
    pub fn has_range(&self, network: &str, range: &IpRange) -> bool {
        let cidrs = self.subnets_of(network);
        cidrs.into_iter().any(|cidr| self.ranges.contains(&item(network, cidr, range)))
    }

    /// Returns the subnets of a network, also those that only a range names.
    pub(super) fn subnets_of(&self, network: &str) -> BTreeSet<&str> {
        let subnets = self.subnets.iter().map(|subnet| (&*subnet.network, &*subnet.cidr));
        let ranges = self.ranges.iter().map(|range| (&*range.network, &*range.cidr));
        subnets.chain(ranges).filter(|(of, _)| *of == network).map(|(_, cidr)| cidr).collect()
    }
}

/// What other AKODeploymentConfigs have added at the same controller.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// What those have added that are not being deleted.
    pub(super) claimed: Items,
    /// What the rest has.
    pub(super) released: Items,
    /// What each has, by its name.
    pub(super) others: Vec<(String, Items)>,
}

impl Claims {
    /// Reads their records. `all` has the AKODeploymentConfig itself, too.
    pub(super) fn of(adc: &AkoDeploymentConfig, all: &[Arc<AkoDeploymentConfig>]) -> Self {
        let mut claims = Self::default();
        for other in all.iter().filter(|other| other.metadata.name != adc.metadata.name) {
            let added = other.status.as_ref().and_then(|status| status.added.as_ref());
            let is_same = adc.place().is_at(&other.place().controller);
            let Some(added) = added.filter(|_| is_same) else { continue };
            claims.others.push((other.name_any(), Items::from(added)));
            let is_leaving = other.metadata.deletion_timestamp.is_some();
            if is_leaving { &mut claims.released } else { &mut claims.claimed }.extend(added.into());
        }
        claims
    }
}

/// Returns what the spec asks for, as far as its networks exist. The spec has no problem.
#[must_use]
pub fn wished(spec: &AkoDeploymentConfigSpec, facts: &Facts) -> Items {
    // A role goes with the AKODeploymentConfig: AVI removes none that users have.
    let needed = role::shared(spec).iter();
    let kept = role::of_users(spec).iter().filter(|kind| facts.roles.contains_key(kind.name()));
    let roles = needed.chain(kept).map(|kind| kind.name().to_owned()).collect();
    let mut items = Items { roles, ..Items::default() };
    let profile = facts.cloud.as_ref().and_then(|cloud| cloud.profile.as_ref());
    // An IPAM that is not AVI's own has no list of usable networks.
    if let Some(profile) = profile.filter(|profile| facts.profiles.contains_key(*profile)) {
        let networks = spec.networks().filter_map(|name| facts.names.get(name));
        items.usable = networks
            .map(|network| AddedUsableNetwork { profile: profile.clone(), network: network.clone() })
            .collect();
    }
    let network = facts.names.get(&spec.data_network.name);
    if let (Some(network), Ok(subnet)) = (network, spec.data_network.cidr.parse::<IpNet>()) {
        let pools = parse_pools(subnet, &spec.data_network.ip_pools).unwrap_or_default();
        let cidr = subnet.trunc().to_string();
        if !pools.is_empty() {
            items.subnets.insert(AddedSubnet { network: network.clone(), cidr: cidr.clone() });
        }
        items.ranges = pools.iter().map(|pool| item(network, &cidr, pool)).collect();
    }
    items
}

/// Returns what AVI has.
#[must_use]
pub fn present(facts: &Facts) -> Items {
    let mut items = Items {
        tenants: facts
            .tenants
            .iter()
            .filter(|(_, found)| found.is_some())
            .map(|(name, _)| name.clone())
            .collect(),
        roles: facts.roles.keys().cloned().collect(),
        ..Items::default()
    };
    for (network, subnets) in &facts.networks {
        for (cidr, subnet) in subnets.iter().filter_map(|subnet| Some((cidr_of(subnet)?, subnet))) {
            let ranges = subnet.static_ip_ranges.iter().filter_map(parsed);
            items.ranges.extend(ranges.map(|range| item(network, &cidr, &range)));
            items.subnets.insert(AddedSubnet { network: network.clone(), cidr });
        }
    }
    for (profile, networks) in &facts.profiles {
        let usable =
            |network: &String| AddedUsableNetwork { profile: profile.clone(), network: network.clone() };
        items.usable.extend(networks.iter().map(usable));
    }
    items
}

/// Returns what the record is to name before AVI is changed. `mine` is what it names, `claimed` what those of others
/// do, `released` what those of others do that are being deleted.
#[must_use]
pub fn settle(mine: &Items, wished: &Items, present: &Items, claimed: &Items, released: &Items) -> Items {
    let mut subnets =
        settled(&mine.subnets, &wished.subnets, &present.subnets, &claimed.subnets, &released.subnets);
    // A subnet in which others have ranges meanwhile is left to them.
    let others = present.ranges.difference(&mine.ranges);
    let used: BTreeSet<_> = others.map(|range| (&range.network, &range.cidr)).collect();
    subnets
        .retain(|subnet| wished.subnets.contains(subnet) || !used.contains(&(&subnet.network, &subnet.cidr)));
    Items {
        subnets,
        ranges: settled(&mine.ranges, &wished.ranges, &present.ranges, &claimed.ranges, &released.ranges),
        usable: settled(&mine.usable, &wished.usable, &present.usable, &claimed.usable, &released.usable),
        tenants: settled(
            &mine.tenants,
            &wished.tenants,
            &present.tenants,
            &claimed.tenants,
            &released.tenants,
        ),
        roles: settled(&mine.roles, &wished.roles, &present.roles, &claimed.roles, &released.roles),
    }
}

/// Items that are wished belong to this record if they are in it, are not there yet, or were added by another AKODeploymentConfig. Items
/// that are not wished any more stay in it until they are gone, unless they are claimed.
fn settled<T: Ord + Clone>(
    mine: &BTreeSet<T>,
    wished: &BTreeSet<T>,
    present: &BTreeSet<T>,
    claimed: &BTreeSet<T>,
    released: &BTreeSet<T>,
) -> BTreeSet<T> {
    let is_others = |item: &&T| claimed.contains(item) || released.contains(item);
    let is_ours = |item: &&T| mine.contains(item) || !present.contains(item) || is_others(item);
    let is_left = |item: &&T| !wished.contains(item) && present.contains(item) && !claimed.contains(item);
    wished.iter().filter(is_ours).chain(mine.iter().filter(is_left)).cloned().collect()
}

/// Why a network cannot be changed as it is wished: an address can be in one range, and in one subnet, of a network only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// A pool overlaps a range of AVI, in any subnet of the network.
    #[error(transparent)]
    Pool(#[from] Overlap),
    /// A new subnet overlaps one of AVI, as one with another mask does.
    #[error("the subnet {cidr} overlaps the subnet {other}")]
    Subnet {
        /// The new one.
        cidr: IpNet,
        /// That of AVI.
        other: IpNet,
    },
}

impl Clash {
    /// Returns whether what is in the way is one of these items.
    pub(super) fn is_with(&self, network: &str, items: &Items) -> bool {
        match self {
            Self::Pool(overlap) => items.has_range(network, &overlap.other),
            Self::Subnet { other, .. } => items.subnets_of(network).contains(&*other.to_string()),
        }
    }
}

/// How AVI is to be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AviChange {
    /// What it is to have.
    pub wished: Items,
    /// What is removed.
    pub removed: Items,
    /// What it lacks.
    pub missing: Items,
    /// Names of roles that allow too little, or too much.
    pub wrong_roles: BTreeSet<String>,
}

impl AviChange {
    /// Returns what has to change, apart from tenants; `None` if nothing has to.
    #[must_use]
    pub fn of(record: &Items, wished: Items, facts: &Facts) -> Option<Self> {
        let (mut missing, mut removed) = (wished.without(&present(facts)), record.without(&wished));
        missing.tenants.clear();
        removed.tenants.clear();
        let is_wrong = |name: &&String| facts.roles.get(*name).is_some_and(|role| role.is_wrong);
        let wrong_roles: BTreeSet<_> = wished.roles.iter().filter(is_wrong).cloned().collect();
        let is_needed = !missing.is_empty() || !removed.is_empty() || !wrong_roles.is_empty();
        is_needed.then_some(Self { wished, removed, missing, wrong_roles })
    }

    /// Returns the networks to change.
    #[must_use]
    pub fn networks(&self) -> BTreeSet<&str> {
        &self.missing.networks() | &self.removed.networks()
    }

    /// Returns the profiles to change.
    #[must_use]
    pub fn profiles(&self) -> BTreeSet<&str> {
        &self.missing.profiles() | &self.removed.profiles()
    }

    /// Changes a network.
    ///
    /// # Errors
    /// A pool overlaps a range of others, or a new subnet another one; the network is as it was then.
    pub fn edit_network(&self, uuid: &str, network: &mut Network) -> Result<(), Clash> {
        let mut subnets = network.configured_subnets.clone();
        let cidrs = &self.wished.subnets_of(uuid) | &self.removed.subnets_of(uuid);
        for cidr in cidrs {
            let at = subnets.iter().position(|subnet| cidr_of(subnet).as_deref() == Some(cidr));
            let key = AddedSubnet { network: uuid.to_owned(), cidr: cidr.to_owned() };
            let at = match at {
                Some(at) => at,
                None if self.wished.subnets.contains(&key) => {
                    let Ok(net) = cidr.parse::<IpNet>() else { continue };
                    let prefix = Prefix::new(net.network(), net.prefix_len());
                    subnets.push(Subnet { prefix, ..Subnet::default() });
                    subnets.len() - 1
                }
                None => continue,
            };
            let Some(subnet) = subnets.get_mut(at) else { continue };
            let (pools, ours) = (self.wished.ranges_of(uuid, cidr), self.removed.ranges_of(uuid, cidr));
            subnet.static_ip_ranges = merge(&subnet.static_ip_ranges, &pools, &ours)?;
            if self.removed.subnets.contains(&key) && subnet.static_ip_ranges.is_empty() {
                subnets.remove(at);
            }
        }
        self.compare(uuid, &network.configured_subnets, &subnets)?;
        network.configured_subnets = subnets;
        Ok(())
    }

    /// Compares the wished subnets of a network and their pools with its other subnets. What was there before is not compared again.
    fn compare(&self, uuid: &str, before: &[Subnet], after: &[Subnet]) -> Result<(), Clash> {
        let parsed_net = |subnet: &Subnet| cidr_of(subnet)?.parse::<IpNet>().ok();
        let is_at = |subnet: &Subnet, net: &IpNet| parsed_net(subnet).as_ref() == Some(net);
        for cidr in self.wished.subnets_of(uuid) {
            let Ok(net) = cidr.parse::<IpNet>() else { continue };
            let known = before.iter().find(|subnet| is_at(subnet, &net));
            let there: Vec<_> =
                known.iter().flat_map(|subnet| &subnet.static_ip_ranges).filter_map(parsed).collect();
            let pools = self.wished.ranges_of(uuid, cidr);
            let others = after.iter().filter(|subnet| !is_at(subnet, &net));
            for (other, subnet) in others.filter_map(|subnet| Some((parsed_net(subnet)?, subnet))) {
                let ranges: Vec<_> = subnet.static_ip_ranges.iter().filter_map(parsed).collect();
                for pool in pools.iter().filter(|pool| !there.contains(pool)) {
                    if let Some(other) = ranges.iter().find(|range| range.overlaps(pool)) {
                        return Err(Overlap { pool: *pool, other: *other }.into());
                    }
                }
                if known.is_none() && (net.contains(&other) || other.contains(&net)) {
                    return Err(Clash::Subnet { cidr: net, other });
                }
            }
        }
        Ok(())
    }

    /// Changes a profile.
    pub fn edit_profile(&self, uuid: &str, profile: &mut IpamDnsProviderProfile) {
        let of = |items: &Items| -> BTreeSet<String> {
            let usable = items.usable.iter().filter(|usable| usable.profile == uuid);
            usable.map(|usable| usable.network.clone()).collect()
        };
        let (wished, removed) = (of(&self.missing), of(&self.removed));
        let internal = profile.internal_profile.get_or_insert_with(InternalProfile::default);
        let has = |list: &[UsableNetwork], network: &str| {
            list.iter().any(|usable| usable.nw_ref.uuid() == Some(network))
        };
        internal
            .usable_networks
            .retain(|usable| usable.nw_ref.uuid().is_none_or(|network| !removed.contains(network)));
        for network in wished {
            if !has(&internal.usable_networks, &network) {
                internal.usable_networks.push(UsableNetwork::new(NETWORK.reference(&network)));
            }
        }
    }

    /// Returns the change in words, for an event.
    #[must_use]
    pub fn describe(&self, names: &BTreeMap<String, String>) -> String {
        let name = |uuid: &str| {
            let known = names.iter().find(|(_, of)| *of == uuid).map(|(name, _)| name.as_str());
            known.unwrap_or(uuid).to_owned()
        };
        let list = |verb: &str, items: &Items| {
            let subnets = items
                .subnets
                .iter()
                .map(|subnet| format!("{verb} subnet {} of network {}", subnet.cidr, name(&subnet.network)));
            let ranges = items.ranges.iter().map(|range| {
                format!("{verb} range {}-{} of network {}", range.start, range.end, name(&range.network))
            });
            let usable =
                items.usable.iter().map(|usable| format!("{verb} usable network {}", name(&usable.network)));
            let roles = items.roles.iter().map(|role| format!("{verb} role {role}"));
            subnets.chain(ranges).chain(usable).chain(roles).collect::<Vec<_>>()
        };
        let wrong = self.wrong_roles.iter().map(|role| format!("corrected role {role}")).collect();
        [list("added", &self.missing), list("removed", &self.removed), wrong].concat().join("; ")
    }
}

/// Returns the subnet as `address/length`, without host bits.
fn cidr_of(subnet: &Subnet) -> Option<String> {
    let (address, length): (IpAddr, u8) = subnet.prefix.network()?;
    Some(IpNet::new(address, length).ok()?.to_string())
}

fn item(network: &str, cidr: &str, range: &IpRange) -> AddedRange {
    let (first, last) = range.ends();
    AddedRange {
        network: network.to_owned(),
        cidr: cidr.to_owned(),
        start: first.to_string(),
        end: last.to_string(),
    }
}

#[cfg(test)]
mod tests;
