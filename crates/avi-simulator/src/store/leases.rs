//! The addresses that vsvips hold. Knows neither networks nor the objects themselves.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

/// An address in an address space: a VRF context, or a cloud if there is none.
pub(super) type Lease = (String, IpAddr);

/// All leases.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// The vsvip that holds a lease.
    by_address: HashMap<Lease, String>,
    by_vsvip: HashMap<String, Vec<Lease>>,
    /// For a range, by its address space and first address: no address below this one is free.
    full_below: HashMap<Lease, IpAddr>,
}

impl Leases {
    /// Releases all leases of a vsvip.
    pub(super) fn release(&mut self, vsvip: &str) {
        for lease in self.by_vsvip.remove(vsvip).unwrap_or_default() {
            for ((vrf, begin), low) in &mut self.full_below {
                if *vrf == lease.0 && (*begin..*low).contains(&lease.1) {
                    *low = lease.1;
                }
            }
            self.by_address.remove(&lease);
        }
    }

    /// Returns the leases of a vsvip.
    pub(super) fn of(&self, vsvip: &str) -> Vec<Lease> {
        self.by_vsvip.get(vsvip).cloned().unwrap_or_default()
    }

    /// Replaces the leases of a vsvip.
    pub(super) fn set(&mut self, vsvip: &str, leases: Vec<Lease>) {
        self.release(vsvip);
        for lease in leases {
            self.by_address.insert(lease.clone(), vsvip.to_owned());
            self.by_vsvip.entry(vsvip.to_owned()).or_default().push(lease);
        }
    }

    /// Returns the vsvip that holds a lease.
    pub(super) fn holder(&self, lease: &Lease) -> Option<&str> {
        self.by_address.get(lease).map(String::as_str)
    }

    /// Returns the addresses that a vsvip holds.
    pub(super) fn addresses_of(&self, vsvip: &str) -> BTreeSet<IpAddr> {
        self.by_vsvip.get(vsvip).into_iter().flatten().map(|(_, address)| *address).collect()
    }

    /// Returns every vsvip that holds addresses.
    pub(super) fn holders(&self) -> impl Iterator<Item = &str> {
        self.by_vsvip.keys().map(String::as_str)
    }

    /// Returns an address of a range, by the range's first lease, below which no address is free.
    pub(super) fn full_below(&self, range: &Lease) -> Option<IpAddr> {
        self.full_below.get(range).copied()
    }

    /// Records that no address of a range is free below `address`.
    pub(super) fn set_full_below(&mut self, range: Lease, address: IpAddr) {
        self.full_below.insert(range, address);
    }
}
