use infra_clients::avi::objects::{RangeUse, StaticRange};
use proptest::prelude::*;
use serde_json::json;

use super::super::seen::{Cloud, Role};
use super::*;

const NET: &str = "network-1";
const PROFILE: &str = "profile-1";
const ROLE: &str = "ako-essential-role";
const CIDR: &str = "10.0.0.0/24";

fn spec(pools: &[(u8, u8)]) -> AkoDeploymentConfigSpec {
    let pools: Vec<_> = pools
        .iter()
        .map(|(first, last)| json!({"start": format!("10.0.0.{first}"), "end": format!("10.0.0.{last}"), "type": "V4"}))
        .collect();
    serde_json::from_value(json!({
        "controller": "avi", "cloudName": "c", "serviceEngineGroup": "g",
        "controlPlaneNetwork": {"name": "cp", "cidr": "10.9.0.0/24"},
        "dataNetwork": {"name": "data", "cidr": "10.0.0.7/24", "ipPools": pools},
        "adminCredentialRef": {"name": "a", "namespace": "n"},
        "certificateAuthorityRef": {"name": "b", "namespace": "n"},
    }))
    .unwrap()
}

fn range(first: u8, last: u8) -> StaticRange {
    StaticRange::new([10, 0, 0, first].into(), [10, 0, 0, last].into(), RangeUse::VIP)
}

fn subnet(ranges: &[(u8, u8)]) -> Subnet {
    let static_ip_ranges = ranges.iter().map(|(first, last)| range(*first, *last)).collect();
    Subnet { prefix: Prefix::new([10, 0, 0, 0].into(), 24), static_ip_ranges, ..Subnet::default() }
}

fn facts(subnets: Vec<Subnet>, usable: &[&str]) -> Facts {
    Facts {
        cloud: Some(Cloud { profile: Some(PROFILE.into()), is_of_vcenter: false }),
        names: [("data".into(), NET.into()), ("cp".into(), "network-2".into())].into(),
        networks: [(NET.into(), subnets), ("network-2".into(), Vec::new())].into(),
        profiles: [(PROFILE.into(), usable.iter().map(|uuid| (*uuid).to_owned()).collect())].into(),
        roles: [(ROLE.into(), Role::default())].into(),
        ..Facts::default()
    }
}

fn ranges(of: &[(u8, u8)]) -> BTreeSet<AddedRange> {
    let ranges = of.iter().filter_map(|(first, last)| parsed(&range(*first, *last)));
    ranges.map(|range| item(NET, CIDR, &range)).collect()
}

fn subnets() -> BTreeSet<AddedSubnet> {
    [AddedSubnet { network: NET.into(), cidr: CIDR.into() }].into()
}

#[test]
fn a_spec_wishes_its_pools_their_subnet_and_both_networks() {
    let facts = facts(Vec::new(), &[]);
    let items = wished(&spec(&[(1, 9)]), &facts);
    assert_eq!((items.subnets, items.ranges), (subnets(), ranges(&[(1, 9)])));
    let usable = |network: &str| AddedUsableNetwork { profile: PROFILE.into(), network: network.into() };
    assert_eq!(items.usable, [usable(NET), usable("network-2")].into());

    let items = wished(&spec(&[]), &facts);
    assert!(items.subnets.is_empty() && items.ranges.is_empty(), "without pools the subnet stays as it is");
    let other_ipam = Facts { profiles: BTreeMap::new(), ..facts };
    assert!(wished(&spec(&[]), &other_ipam).usable.is_empty(), "an IPAM that is not AVI's own");
}

/// A name, `mine`, `wished`, `present`, `claimed`, and the record: ranges only.
type Row<'a> = (&'a str, &'a [(u8, u8)], &'a [(u8, u8)], &'a [(u8, u8)], &'a [(u8, u8)], &'a [(u8, u8)]);

/// Users of before have it, and AVI removes none that users have.
#[test]
fn a_role_stays_where_others_make_the_credentials_and_is_not_made_for_that() {
    let mut spec = spec(&[]);
    spec.workload_credential_ref = Some(spec.admin_credential_ref.clone());
    let mut facts = facts(Vec::new(), &[]);
    assert_eq!(wished(&spec, &facts).roles, [ROLE.to_owned()].into());
    facts.roles.clear();
    assert_eq!(wished(&spec, &facts).roles, BTreeSet::new());
}

#[test]
fn the_record_names_what_the_operator_adds_and_no_more() {
    let one: &[(u8, u8)] = &[(1, 9)];
    let none: &[(u8, u8)] = &[];
    let rows: [Row; 8] = [
        ("added next", none, one, none, none, one),
        ("there before", none, one, one, none, none),
        ("added by another, too", none, one, one, one, one),
        ("removed by hand", one, one, none, none, one),
        ("not wished any more", one, none, one, none, one),
        ("gone", one, none, none, none, none),
        ("left to another", one, none, one, one, none),
        ("not wished and never ours", none, none, one, one, none),
    ];
    for (name, mine, wish, has, claim, record) in rows {
        let items = |of: &[(u8, u8)]| Items { ranges: ranges(of), ..Items::default() };
        let settled = settle(&items(mine), &items(wish), &items(has), &items(claim), &Items::default());
        assert_eq!(settled, items(record), "{name}");
    }
}

/// Else it would be gone with the other one.
#[test]
fn what_a_deleted_one_added_is_taken_over() {
    let one = Items { ranges: ranges(&[(1, 9)]), ..Items::default() };
    let none = Items::default();
    assert_eq!(settle(&none, &one, &one, &none, &one), one);
    assert_eq!(settle(&one, &none, &one, &one, &none), none, "the deleted one leaves it then");
}

#[test]
fn a_subnet_stays_while_others_have_ranges_in_it() {
    let mine = Items { subnets: subnets(), ranges: ranges(&[(1, 9)]), ..Items::default() };
    let both = present(&facts(vec![subnet(&[(1, 9), (50, 60)])], &[]));
    let settled = settle(&mine, &Items::default(), &both, &Items::default(), &Items::default());
    assert_eq!((settled.subnets, settled.ranges), (BTreeSet::new(), ranges(&[(1, 9)])));
    let only_mine = present(&facts(vec![subnet(&[(1, 9)])], &[]));
    assert_eq!(settle(&mine, &Items::default(), &only_mine, &Items::default(), &Items::default()), mine);
}

/// Plays records and changes until nothing changes any more, with the network and the profile as they are on AVI.
fn play(record: &mut Items, spec: Option<&AkoDeploymentConfigSpec>, facts: &mut Facts) {
    for _ in 0..4 {
        let wished = spec.map(|spec| wished(spec, facts)).unwrap_or_default();
        let present = present(facts);
        *record = settle(record, &wished, &present, &Items::default(), &Items::default());
        let Some(change) = AviChange::of(record, wished, facts) else { return };
        for name in &change.missing.roles {
            facts.roles.insert(name.clone(), Role::default());
        }
        for name in &change.wrong_roles {
            facts.roles.get_mut(name).unwrap().is_wrong = false;
        }
        facts.roles.retain(|name, _| !change.removed.roles.contains(name));
        for uuid in change.networks() {
            let configured_subnets = facts.networks[uuid].clone();
            let mut network = Network { configured_subnets, ..Network::default() };
            change.edit_network(uuid, &mut network).unwrap();
            facts.networks.insert(uuid.to_owned(), network.configured_subnets);
        }
        for uuid in change.profiles() {
            let known =
                facts.profiles[uuid].iter().map(|network| UsableNetwork::new(NETWORK.reference(network)));
            let internal = InternalProfile { usable_networks: known.collect(), ..InternalProfile::default() };
            let mut profile = IpamDnsProviderProfile {
                internal_profile: Some(internal),
                ..IpamDnsProviderProfile::default()
            };
            change.edit_profile(uuid, &mut profile);
            let usable = profile.internal_profile.unwrap().usable_networks;
            let usable = usable.iter().filter_map(|usable| usable.nw_ref.uuid().map(str::to_owned));
            facts.profiles.insert(uuid.to_owned(), usable.collect());
        }
    }
    panic!("it never settles: {record:?} {facts:?}");
}

#[test]
fn what_was_there_before_is_there_afterwards() {
    let rows: [(&str, Vec<Subnet>, &[&str]); 3] = [
        ("an empty network", vec![], &[]),
        ("a subnet with the pool", vec![subnet(&[(1, 9)])], &[NET]),
        ("a subnet with a range of others", vec![subnet(&[(50, 60)])], &["network-9"]),
    ];
    for (name, subnets, usable) in rows {
        let before = facts(subnets, usable);
        let (mut now, mut record) = (before.clone(), Items::default());
        play(&mut record, Some(&spec(&[(1, 9), (10, 19)])), &mut now);
        assert_eq!(present(&now).without(&present(&before)), record, "{name}: the record is what was added");
        assert!(wished(&spec(&[(1, 9), (10, 19)]), &now).without(&present(&now)).is_empty(), "{name}");
        play(&mut record, Some(&spec(&[(1, 9), (30, 39)])), &mut now);
        play(&mut record, None, &mut now);
        assert_eq!((&now.networks, &now.profiles), (&before.networks, &before.profiles), "{name}");
        assert!(record.is_empty(), "{name}");
    }
}

/// A person who corrects a wrong mask is not held up by the subnet that goes.
#[test]
fn a_corrected_mask_replaces_what_the_operator_added() {
    let before = facts(vec![], &[]);
    let (mut now, mut record) = (before.clone(), Items::default());
    let mut wide = spec(&[(1, 9)]);
    wide.data_network.cidr = "10.0.0.0/16".to_owned();
    play(&mut record, Some(&wide), &mut now);
    play(&mut record, Some(&spec(&[(1, 9)])), &mut now);
    assert_eq!(now.networks[NET].iter().filter_map(cidr_of).collect::<Vec<_>>(), [CIDR]);
    play(&mut record, None, &mut now);
    assert_eq!(now.networks, before.networks);
}

#[test]
fn a_range_keeps_its_use() {
    let mut now = facts(vec![subnet(&[(50, 60)])], &[]);
    now.networks.get_mut(NET).unwrap()[0].static_ip_ranges[0].kind = Some(RangeUse::SE);
    play(&mut Items::default(), Some(&spec(&[(1, 9)])), &mut now);
    let ranges = &now.networks[NET][0].static_ip_ranges;
    assert_eq!(
        ranges.iter().map(StaticRange::usage).collect::<Vec<_>>(),
        [&RangeUse::SE, &RangeUse::VIP_AND_SE]
    );
}

#[test]
fn a_change_is_described_by_names() {
    let facts = facts(vec![], &[]);
    let wished = wished(&spec(&[(1, 9)]), &facts);
    let mut facts =
        Facts { roles: [(ROLE.into(), Role { is_wrong: true, ..Role::default() })].into(), ..facts };
    facts.networks.clear();
    facts.profiles.clear();
    let change = AviChange::of(&wished, wished.clone(), &facts).unwrap();
    assert_eq!(
        change.describe(&facts.names),
        "added subnet 10.0.0.0/24 of network data; added range 10.0.0.1-10.0.0.9 of network data; \
         added usable network data; added usable network cp; corrected role ako-essential-role"
    );
}

proptest! {
    /// From any network, any number of specs later, nothing is left of what was added.
    #[test]
    fn nothing_is_left(
        before in proptest::collection::btree_set(0..8u8, 0..4),
        role in proptest::option::of(any::<bool>()),
        specs in proptest::collection::vec(proptest::collection::btree_set(8..20u8, 0..5), 0..4),
    ) {
        let decade = |set: &BTreeSet<u8>| set.iter().map(|n| (n * 10, n * 10 + 9)).collect::<Vec<_>>();
        let mut before = facts(vec![subnet(&decade(&before))], &[]);
        let role = role.map(|is_wrong| (ROLE.to_owned(), Role { is_wrong, ..Role::default() }));
        before.roles = role.into_iter().collect();
        let (mut now, mut record) = (before.clone(), Items::default());
        for pools in &specs {
            play(&mut record, Some(&spec(&decade(pools))), &mut now);
        }
        play(&mut record, None, &mut now);
        prop_assert_eq!(&now.networks, &before.networks);
        prop_assert!(now.roles.keys().eq(before.roles.keys()), "a role of others stays, and ours goes");
        prop_assert!(record.is_empty());
    }
}
