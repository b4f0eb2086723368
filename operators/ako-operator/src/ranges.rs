//! Ranges of addresses: the pools of an AKODeploymentConfig, and what they make of the ranges of a subnet on AVI.
//!
//! Addresses are compared parsed, never as text: IPv6 has several spellings of each. A range on AVI that the operator did not add is
//! never removed or changed, and so keeps its use, such as service engines only.

use std::fmt;
use std::net::IpAddr;

use infra_clients::avi::objects::{RangeUse, StaticRange};
use ipnet::IpNet;

use crate::api::{IpPool, IpType};

/// The addresses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpRange {
    first: IpAddr,
    last: IpAddr,
}

impl IpRange {
    /// Returns the range; `None` if the addresses are of two families or in descending order.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// Returns the first and the last address.
    #[must_use]
    pub fn ends(&self) -> (IpAddr, IpAddr) {
        (self.first, self.last)
    }

    /// Returns whether an address is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.first.is_ipv4() == other.first.is_ipv4() && self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{},{}]", self.first, self.last)
    }
}

/// Reads the pools of a subnet.
///
/// # Errors
/// Says everything that is wrong with them, in the original's words where it looked as well.
pub fn parse_pools(subnet: IpNet, pools: &[IpPool]) -> Result<Vec<IpRange>, Vec<String>> {
    let family = if matches!(subnet, IpNet::V4(_)) { IpType::V4 } else { IpType::V6 };
    if pools.iter().any(|pool| pool.kind != family) {
        return Err(vec!["data plane network ip pools type is not aligned with cidr".to_owned()]);
    }
    let (mut ranges, mut problems) = (Vec::<IpRange>::new(), Vec::new());
    for pool in pools {
        match parse_pool(subnet, pool) {
            Ok(range) => {
                if let Some(other) = ranges.iter().find(|other| other.overlaps(&range)) {
                    problems
                        .push(format!("Range {range} overlaps {other}: an address can be in one range only"));
                }
                ranges.push(range);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(ranges) } else { Err(problems) }
}

fn parse_pool(subnet: IpNet, pool: &IpPool) -> Result<IpRange, String> {
    let IpPool { start, end, .. } = pool;
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("{text:?} is not an IP address"));
    let (first, last) = (address(start)?, address(end)?);
    if !subnet.contains(&first) || !subnet.contains(&last) {
        return Err(format!("Range [{start},{end}] is not in cidr {subnet}"));
    }
    IpRange::new(first, last).ok_or_else(|| format!("{start} is greater than {end}"))
}

/// A pool that cannot be added to a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the range {pool} overlaps the range {other}")]
pub struct Overlap {
    /// The pool.
    pub pool: IpRange,
    /// The range on AVI.
    pub other: IpRange,
}

/// Returns the ranges that a subnet is to have, of which `current` are there and `ours` were added by the operator.
///
/// # Errors
/// A pool overlaps a range that is not the operator's. A range equal to a pool is that pool, whatever its use.
pub fn merge(
    current: &[StaticRange],
    pools: &[IpRange],
    ours: &[IpRange],
) -> Result<Vec<StaticRange>, Overlap> {
    let is_outdated = |range: &IpRange| ours.contains(range) && !pools.contains(range);
    let mut merged: Vec<StaticRange> = current.to_vec();
    merged.retain(|range| !parsed(range).is_some_and(|range| is_outdated(&range)));
    let kept: Vec<IpRange> = merged.iter().filter_map(parsed).collect();
    for pool in pools {
        if kept.contains(pool) {
            continue;
        }
        if let Some(other) = kept.iter().find(|other| other.overlaps(pool)) {
            return Err(Overlap { pool: *pool, other: *other });
        }
        merged.push(StaticRange::new(pool.first, pool.last, RangeUse::VIP_AND_SE));
    }
    Ok(merged)
}

/// Returns the addresses of a range on AVI; `None` if they are not a range.
#[must_use]
pub fn parsed(range: &StaticRange) -> Option<IpRange> {
    let (first, last) = range.range.ips()?;
    IpRange::new(first, last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A name, `current`, `pools`, `ours`, and what becomes of them.
    type Row<'a> = (&'a str, Vec<StaticRange>, Vec<IpRange>, Vec<IpRange>, Vec<StaticRange>);

    fn pool(start: &str, end: &str, kind: IpType) -> IpPool {
        IpPool { start: start.into(), end: end.into(), kind }
    }

    fn range(first: &str, last: &str) -> IpRange {
        IpRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()
    }

    /// The addresses that end in these numbers.
    fn v4(first: u8, last: u8) -> IpRange {
        IpRange::new([10, 0, 0, first].into(), [10, 0, 0, last].into()).unwrap()
    }

    fn on_avi(range: IpRange, usage: RangeUse) -> StaticRange {
        StaticRange::new(range.first, range.last, usage)
    }

    #[test]
    fn pools_are_in_their_subnet_in_order_and_apart() {
        use IpType::{V4, V6};
        let v4 = |start, end| pool(start, end, V4);
        let rows: &[(&str, &[IpPool], &[&str])] = &[
            ("10.0.0.0/24", &[], &[]),
            ("10.0.0.0/24", &[v4("10.0.0.1", "10.0.0.9"), v4("10.0.0.10", "10.0.0.10")], &[]),
            // The address of the subnet is written as the user likes.
            ("10.0.0.7/24", &[v4("10.0.0.1", "10.0.0.9")], &[]),
            ("2001:db8::/64", &[pool("2001:db8::1", "2001:db8:0::ff", V6)], &[]),
            ("10.0.0.0/24", &[v4("10.0.0", "10.0.0.9")], &["\"10.0.0\" is not an IP address"]),
            (
                "10.0.0.0/24",
                &[v4("10.0.1.1", "10.0.1.2")],
                &["Range [10.0.1.1,10.0.1.2] is not in cidr 10.0.0.0/24"],
            ),
            ("10.0.0.0/24", &[v4("10.0.0.9", "10.0.0.1")], &["10.0.0.9 is greater than 10.0.0.1"]),
            (
                "10.0.0.0/24",
                &[v4("2001:db8::1", "10.0.0.9")],
                &["Range [2001:db8::1,10.0.0.9] is not in cidr 10.0.0.0/24"],
            ),
            (
                "10.0.0.0/24",
                &[pool("x", "y", V6)],
                &["data plane network ip pools type is not aligned with cidr"],
            ),
            (
                "10.0.0.0/24",
                &[v4("10.0.0.1", "10.0.0.9"), v4("10.0.0.9", "10.0.0.12"), v4("z", "z")],
                &[
                    "Range [10.0.0.9,10.0.0.12] overlaps [10.0.0.1,10.0.0.9]: an address can be in one range only",
                    "\"z\" is not an IP address",
                ],
            ),
            // As text they would be in descending order, and apart.
            (
                "2001:db8::/64",
                &[pool("2001:db8::9", "2001:db8::10", V6), pool("2001:DB8:0:0::a", "2001:db8::b", V6)],
                &[
                    "Range [2001:db8::a,2001:db8::b] overlaps [2001:db8::9,2001:db8::10]: an address can be in one range only",
                ],
            ),
        ];
        for (subnet, pools, wanted) in rows {
            let problems = parse_pools(subnet.parse().unwrap(), pools).err().unwrap_or_default();
            assert_eq!(problems, *wanted, "{subnet} {pools:?}");
        }
    }

    #[test]
    fn a_subnet_keeps_what_is_not_ours() {
        let both = |range| on_avi(range, RangeUse::VIP_AND_SE);
        let engines = |range| on_avi(range, RangeUse::SE);
        let rows: Vec<Row> = vec![
            ("neither", vec![], vec![], vec![], vec![]),
            ("no pools", vec![both(v4(1, 9))], vec![], vec![], vec![both(v4(1, 9))]),
            (
                "ours go with the pools",
                vec![both(v4(1, 9)), engines(v4(30, 40))],
                vec![],
                vec![v4(1, 9)],
                vec![engines(v4(30, 40))],
            ),
            ("first pool", vec![], vec![v4(1, 9)], vec![], vec![both(v4(1, 9))]),
            ("equal", vec![engines(v4(1, 9))], vec![v4(1, 9)], vec![], vec![engines(v4(1, 9))]),
            (
                "equal in another order",
                vec![both(v4(10, 19)), both(v4(1, 9))],
                vec![v4(1, 9), v4(10, 19)],
                vec![v4(1, 9)],
                vec![both(v4(10, 19)), both(v4(1, 9))],
            ),
            (
                "others stay",
                vec![engines(v4(50, 60))],
                vec![v4(1, 9)],
                vec![],
                vec![engines(v4(50, 60)), both(v4(1, 9))],
            ),
            ("ours grows", vec![both(v4(1, 9))], vec![v4(1, 20)], vec![v4(1, 9)], vec![both(v4(1, 20))]),
            ("ours shrinks", vec![both(v4(1, 9))], vec![v4(3, 4)], vec![v4(1, 9)], vec![both(v4(3, 4))]),
            (
                "one of ours goes",
                vec![both(v4(1, 9)), engines(v4(30, 40)), both(v4(10, 19))],
                vec![v4(10, 19)],
                vec![v4(1, 9), v4(10, 19)],
                vec![engines(v4(30, 40)), both(v4(10, 19))],
            ),
        ];
        for (name, current, pools, ours, wanted) in rows {
            let merged = merge(&current, &pools, &ours).unwrap();
            assert_eq!(merged, wanted, "{name}");
            assert_eq!(merge(&merged, &pools, &pools).unwrap(), merged, "{name}: a second time");
        }
    }

    #[test]
    fn a_pool_that_overlaps_a_range_of_others_is_refused() {
        let current = [on_avi(v4(5, 9), RangeUse::SE)];
        let overlap = merge(&current, &[v4(1, 5)], &[]).unwrap_err();
        assert_eq!((overlap.pool, overlap.other), (v4(1, 5), v4(5, 9)));
        assert!(overlap.to_string().contains("[10.0.0.1,10.0.0.5] overlaps the range [10.0.0.5,10.0.0.9]"));
    }

    #[test]
    fn addresses_are_compared_parsed() {
        let range_of = |begin: &str, end: &str| {
            let mut range = on_avi(range("2001:db8::1", "2001:db8::2"), RangeUse::SE);
            (range.range.begin.addr, range.range.end.addr) = (begin.into(), end.into());
            range
        };
        let current = [range_of("2001:DB8:0:0:0:0:0:1", "2001:db8::000f")];
        let pool = range("2001:db8::1", "2001:db8::f");
        assert_eq!(merge(&current, &[pool], &[]).unwrap(), current);
        // What is no range stays: it is not ours.
        let current = [range_of("x", "y")];
        assert_eq!(merge(&current, &[pool], &[pool]).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn ranges_overlap_where_they_share_an_address(a in 0..30u8, b in 0..30u8, c in 0..30u8, d in 0..30u8) {
            let (one, other) = (v4(a.min(b), a.max(b)), v4(c.min(d), c.max(d)));
            let shares = (0..30u8).any(|n| (a.min(b)..=a.max(b)).contains(&n) && (c.min(d)..=c.max(d)).contains(&n));
            prop_assert_eq!(one.overlaps(&other), shares);
            prop_assert_eq!(other.overlaps(&one), shares);
        }
    }
}
