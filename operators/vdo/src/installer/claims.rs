//! Which object decides about a driver: the oldest that asks for it.

use jiff::Timestamp;
use operator_kit::Key;

use super::Asks;
use crate::api::{ManagementState, reason};
use crate::matrix::Driver;
use crate::plan::{Drivers, Hold};
use crate::wakes::Caches;

/// An object that asks for drivers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    created: Option<Timestamp>,
    pub(crate) uid: String,
    /// What it is, such as `VDOConfig default/vdo`.
    name: String,
    drivers: Vec<Driver>,
}

impl Claim {
    /// Returns that another one decides.
    pub(super) fn hold(&self, driver: Driver) -> Hold {
        let name = &self.name;
        let message = format!(
            "{name} is older, and decides about {driver}: delete one of the two, or manage no {driver} here"
        );
        Hold { reason: reason::CONFLICTING, message }
    }
}

/// Returns the object that decides about each driver.
pub(super) fn owners(caches: &Caches) -> Drivers<Option<Claim>> {
    let mut claims: Vec<_> = caches.vdo_configs.all().iter().map(|object| claim(&**object)).collect();
    claims.extend(caches.driver_sets.all().iter().map(|object| claim(&**object)));
    decided(&claims)
}

pub(crate) fn decided(claims: &[Claim]) -> Drivers<Option<Claim>> {
    Drivers::of(|driver| claims.iter().filter(|claim| claim.drivers.contains(&driver)).min().cloned())
}

pub(crate) fn claim<K: Asks>(object: &K) -> Claim {
    let meta = object.meta();
    let desired = object.desired().unwrap_or_default();
    let is_claimed = |driver: &Driver| desired.drivers.get(*driver).state != ManagementState::Unmanaged;
    Claim {
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
        uid: meta.uid.clone().unwrap_or_default(),
        name: format!("{} {}", K::KIND, Key::of(object)),
        drivers: Driver::ALL.into_iter().filter(is_claimed).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_asks_for_a_driver_decides() {
        let claim = |second: i64, uid: &str, drivers: &[Driver]| Claim {
            created: Timestamp::from_second(second).ok(),
            uid: uid.to_owned(),
            name: format!("VDOConfig ns/{uid}"),
            drivers: drivers.to_vec(),
        };
        let all = [
            claim(9, "c", &[Driver::Cpi, Driver::Csi]),
            claim(8, "b", &[Driver::Csi]),
            claim(8, "a", &[Driver::Csi]),
        ];
        let owners = decided(&all);
        let uid = |driver| owners.get(driver).as_ref().map(|claim| claim.uid.as_str());
        assert_eq!([uid(Driver::Cni), uid(Driver::Cpi), uid(Driver::Csi)], [None, Some("c"), Some("a")]);
        let hold = all[2].hold(Driver::Csi);
        assert!(
            hold.reason == "Conflicting" && hold.message.starts_with("VDOConfig ns/a is older"),
            "{hold:?}"
        );
    }
}
