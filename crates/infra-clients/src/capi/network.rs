//! The address families of a cluster. Owns the rules by which ranges form a family; reads nothing.

use std::fmt;

use ipnet::IpNet;

use super::error::{Error, Kind};

/// Address families in order of preference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpFamily {
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
    /// Both; IPv4 is primary.
    V4V6,
    /// Both; IPv6 is primary.
    V6V4,
}

impl IpFamily {
    /// Returns whether the primary family is IPv4.
    #[must_use]
    pub fn is_v4_first(self) -> bool {
        matches!(self, Self::V4 | Self::V4V6)
    }

    /// Returns the family of a cluster with these ranges. Stricter than Cluster API in one point, as AKO requires:
    /// pods of both families with Services of one are refused.
    pub(super) fn of_cluster(pods: &[IpNet], services: &[IpNet]) -> Result<Self, Error> {
        match (Self::of_ranges("pods", pods)?, Self::of_ranges("services", services)?) {
            (Some(pods), Some(services)) if pods != services => Err(Error::new(
                Kind::InvalidSpec,
                format!("spec.clusterNetwork: pods are of family {pods} and services of {services}"),
            )),
            (Some(family), _) | (None, Some(family)) => Ok(family),
            (None, None) => Ok(Self::V4),
        }
    }

    fn of_ranges(of: &str, ranges: &[IpNet]) -> Result<Option<Self>, Error> {
        let v4 = |range: &IpNet| matches!(range, IpNet::V4(_));
        match ranges {
            [] => Ok(None),
            [first, rest @ ..] if rest.len() < 2 => Ok(Some(match (v4(first), rest.first().map(v4)) {
                (true, None | Some(true)) => Self::V4,
                (false, None | Some(false)) => Self::V6,
                (true, Some(false)) => Self::V4V6,
                (false, Some(true)) => Self::V6V4,
            })),
            more => {
                let path = path(of);
                Err(Error::new(Kind::InvalidSpec, format!("{path}: {} ranges, but 2 at most", more.len())))
            }
        }
    }
}

impl fmt::Display for IpFamily {
    /// Writes `V4`, `V6`, `V4,V6` or `V6,V4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "V4",
            Self::V6 => "V6",
            Self::V4V6 => "V4,V6",
            Self::V6V4 => "V6,V4",
        })
    }
}

/// Reads the ranges of `pods` or `services`.
pub(super) fn parse_cidrs(of: &str, cidrs: &[String]) -> Result<Vec<IpNet>, Error> {
    let parse = |cidr: &String| {
        cidr.parse().map_err(|_| {
            let path = path(of);
            Error::new(
                Kind::InvalidSpec,
                format!("{path}: {cidr:?} is not an address range such as 10.96.0.0/12"),
            )
        })
    };
    cidrs.iter().map(parse).collect()
}

fn path(of: &str) -> String {
    format!("spec.clusterNetwork.{of}.cidrBlocks")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::cluster::Cluster;
    use super::*;
    use crate::failure::{Class, Failure};

    const V4: &str = "10.0.0.0/16";
    const OTHER_V4: &str = "192.168.7.0/24";
    const V6: &str = "fd00::/108";

    fn family(pods: &[&str], services: &[&str]) -> Result<String, Error> {
        let cluster: Cluster = serde_json::from_value(json!({
            "spec": {"clusterNetwork": {"pods": {"cidrBlocks": pods}, "services": {"cidrBlocks": services}}},
        }))
        .unwrap();
        cluster.ip_family().map(|family| family.to_string())
    }

    #[test]
    fn ranges_make_a_family() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&[], &[], "V4"),
            (&[V4], &[], "V4"),
            (&[], &[V6], "V6"),
            (&[V6], &[V6], "V6"),
            (&[V4, OTHER_V4], &[V4], "V4"),
            (&[V4, V6], &[], "V4,V6"),
            (&[], &[V6, V4], "V6,V4"),
            (&[V6, V4], &[V6, V4], "V6,V4"),
        ];
        for (pods, services, expected) in cases {
            assert_eq!(family(pods, services).unwrap(), *expected, "{pods:?} {services:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases: &[(&[&str], &[&str], &str)] = &[
            (&[V4, V6, OTHER_V4], &[], "spec.clusterNetwork.pods.cidrBlocks: 3 ranges"),
            (&[], &[V4, V6, V6], "spec.clusterNetwork.services.cidrBlocks: 3 ranges"),
            (&["10.0.0.0"], &[], "spec.clusterNetwork.pods.cidrBlocks: \"10.0.0.0\""),
            (&[V4], &[""], "spec.clusterNetwork.services.cidrBlocks: \"\""),
            (&[V4], &[V6], "pods are of family V4 and services of V6"),
            (&[V4, V6], &[V4], "pods are of family V4,V6 and services of V4"),
            (&[V4, V6], &[V6, V4], "pods are of family V4,V6 and services of V6,V4"),
        ];
        for (pods, services, expected) in cases {
            let error = family(pods, services).unwrap_err();
            assert_eq!((error.kind(), error.class() == Class::Retry), (Kind::InvalidSpec, false));
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
