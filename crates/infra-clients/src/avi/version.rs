//! Versions of controllers, and how objects differ between them. Owns the only place where old and new field names
//! meet: all other code uses the new ones.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value, json};

use super::error::{Error, Kind};

/// The version of a controller or of the API, such as 30.2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// The newest version whose objects this client knows; newer controllers are called with this one.
    pub const KNOWN: Self = Self(30, 2, 1);
    /// The first version in which networks have `static_ip_ranges` and IPAM profiles `usable_networks`.
    const TYPED_RANGES: Self = Self(20, 1, 3);
    /// The first version in which users are created with a `username` besides their name.
    const USERNAME: Self = Self(30, 0, 0);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl FromStr for Version {
    type Err = Error;

    /// Reads numbers separated by dots; a missing one is 0, and what follows the third (a patch level) is ignored.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::new(Kind::Protocol, format!("{text:?} is not a version such as 30.2.1"));
        let mut numbers = [0_u16; 3];
        let core = text.trim().split(['-', '(', ' ']).next().unwrap_or_default();
        for (part, slot) in core.split('.').zip(&mut numbers) {
            *slot = part.parse().map_err(|_| bad())?;
        }
        Ok(Self(numbers[0], numbers[1], numbers[2]))
    }
}

/// The range type that applies on controllers without range types.
const DEFAULT_RANGE_TYPE: &str = "STATIC_IPS_FOR_VIP_AND_SE";

/// Changes the field names of an object, or of a part of one, from those of any version to the newest.
pub(super) fn modernise(kind: &str, object: &mut Value) {
    match kind {
        "network" => each_subnet(object, |subnet| {
            if let Some(old) = subnet.remove("static_ranges")
                && !subnet.contains_key("static_ip_ranges")
            {
                let ranges = old.as_array().map_or(&[][..], Vec::as_slice);
                let ranges: Vec<Value> =
                    ranges.iter().map(|range| json!({"range": range, "type": DEFAULT_RANGE_TYPE})).collect();
                subnet.insert("static_ip_ranges".into(), ranges.into());
            }
        }),
        "ipamdnsproviderprofile" => {
            if let Some(profile) = object.get_mut("internal_profile").and_then(Value::as_object_mut)
                && let Some(old) = profile.remove("usable_network_refs")
                && !profile.contains_key("usable_networks")
            {
                let refs = old.as_array().map_or(&[][..], Vec::as_slice);
                let networks: Vec<Value> = refs.iter().map(|network| json!({"nw_ref": network})).collect();
                profile.insert("usable_networks".into(), networks.into());
            }
        }
        _ => {}
    }
}

/// Changes the field names of an object, or of a part of one, from the newest to those of `version`.
///
/// # Errors
///
/// [`Kind::Invalid`] if that version cannot express it.
pub(super) fn fit(kind: &str, object: &mut Value, version: Version) -> Result<(), Error> {
    match kind {
        "network" if version < Version::TYPED_RANGES => {
            let mut lost = None;
            each_subnet(object, |subnet| {
                if let Some(Value::Array(ranges)) = subnet.remove("static_ip_ranges") {
                    lost = lost.take().or_else(|| ranges.iter().find_map(untyped_loss));
                    let ranges =
                        ranges.into_iter().filter_map(|mut range| Some(range.get_mut("range")?.take()));
                    subnet.insert("static_ranges".into(), ranges.collect());
                }
            });
            lost.map_or(Ok(()), |lost| {
                Err(Error::new(
                    Kind::Invalid,
                    format!("address ranges of type {lost} need a controller of 20.1.3 or later"),
                ))
            })
        }
        "ipamdnsproviderprofile" if version < Version::TYPED_RANGES => {
            let profile = object.get_mut("internal_profile").and_then(Value::as_object_mut);
            let Some(profile) = profile else { return Ok(()) };
            let Some(Value::Array(networks)) = profile.remove("usable_networks") else { return Ok(()) };
            let labelled =
                |network: &Value| network["labels"].as_array().is_some_and(|labels| !labels.is_empty());
            if networks.iter().any(labelled) {
                let text = "labels on usable networks need a controller of 20.1.3 or later";
                return Err(Error::new(Kind::Invalid, text));
            }
            let refs = networks.into_iter().filter_map(|mut network| Some(network.get_mut("nw_ref")?.take()));
            profile.insert("usable_network_refs".into(), refs.collect());
            Ok(())
        }
        "user" => {
            let Some(user) = object.as_object_mut() else { return Ok(()) };
            if version < Version::USERNAME {
                user.remove("username");
            } else if let Some(name) = user.get("name").cloned() {
                user.entry("username").or_insert(name);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn each_subnet(network: &mut Value, mut change: impl FnMut(&mut Map<String, Value>)) {
    let subnets = network.get_mut("configured_subnets").and_then(Value::as_array_mut);
    subnets.into_iter().flatten().filter_map(Value::as_object_mut).for_each(&mut change);
}

fn untyped_loss(range: &Value) -> Option<String> {
    let kind = range.get("type")?.as_str()?;
    (kind != DEFAULT_RANGE_TYPE).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_and_order() {
        assert_eq!("30.2.1".parse::<Version>().unwrap(), Version(30, 2, 1));
        assert_eq!("22.1.3-2p1".parse::<Version>().unwrap(), Version(22, 1, 3));
        assert_eq!("20.1".parse::<Version>().unwrap(), Version(20, 1, 0));
        assert_eq!("20.1.4.p1".parse::<Version>().unwrap(), Version(20, 1, 4));
        assert!(Version(20, 1, 10) > Version(20, 1, 3));
        for bad in ["", "x", "1..2", "99999.1"] {
            assert!(bad.parse::<Version>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_both_ways() {
        let range = json!({"begin": {"addr": "10.0.0.5"}, "end": {"addr": "10.0.0.9"}});
        let old = json!({"configured_subnets": [{"prefix": {}, "static_ranges": [range]}]});
        let new = json!({"configured_subnets": [{"prefix": {},
            "static_ip_ranges": [{"range": range, "type": "STATIC_IPS_FOR_VIP_AND_SE"}]}]});
        let mut object = old.clone();
        modernise("network", &mut object);
        assert_eq!(object, new);
        modernise("network", &mut object);
        assert_eq!(object, new, "new stays new");
        fit("network", &mut object, Version(20, 1, 3)).unwrap();
        assert_eq!(object, new);
        fit("network", &mut object, Version(20, 1, 2)).unwrap();
        assert_eq!(object, old);
        let mut only_se = new;
        only_se["configured_subnets"][0]["static_ip_ranges"][0]["type"] = "STATIC_IPS_FOR_SE".into();
        assert_eq!(fit("network", &mut only_se, Version(18, 2, 6)).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn usable_networks_both_ways() {
        let old = json!({"internal_profile": {"ttl": 30, "usable_network_refs": ["/api/network/n"]}});
        let new = json!({"internal_profile": {"ttl": 30, "usable_networks": [{"nw_ref": "/api/network/n"}]}});
        let mut object = old.clone();
        modernise("ipamdnsproviderprofile", &mut object);
        assert_eq!(object, new);
        fit("ipamdnsproviderprofile", &mut object, Version(20, 1, 2)).unwrap();
        assert_eq!(object, old);
    }

    #[test]
    fn a_username_where_there_is_one() {
        let mut user = json!({"name": "n"});
        fit("user", &mut user, Version(30, 2, 1)).unwrap();
        assert_eq!(user, json!({"name": "n", "username": "n"}));
        fit("user", &mut user, Version(22, 1, 3)).unwrap();
        assert_eq!(user, json!({"name": "n"}));
    }
}
