//! Pools and subnets that others have already.

use super::*;

/// Whatever the mask is: an address is in one range and one subnet of a network.
#[test]
fn pools_and_subnets_are_compared_over_the_whole_network() {
    let subnet = |address: &str, mask: u8, ranges: Value| {
        let prefix = json!({"ip_addr": {"addr": address, "type": "V4"}, "mask": mask});
        serde_json::from_value(json!({"prefix": prefix, "static_ip_ranges": ranges})).unwrap()
    };
    let range = |first: &str, last: &str| json!([{"range": {"begin": {"addr": first, "type": "V4"}, "end": {"addr": last, "type": "V4"}}}]);
    let of_other = |name: &str, added: &Value| {
        vec![(name.to_owned(), Items::from(&serde_json::from_value::<Added>(added.clone()).unwrap()))]
    };
    let wide = json!({"network": "net", "cidr": "10.0.0.0/16"});
    let added = json!({"subnets": [wide], "ranges": [{"network": "net", "cidr": "10.0.0.0/16", "start": "10.0.0.9", "end": "10.0.0.20"}]});
    let rows = [
        ("a subnet apart", subnet("10.1.0.0", 16, json!([])), Vec::new(), None),
        (
            "a wider mask",
            subnet("10.0.0.7", 16, json!([])),
            Vec::new(),
            Some("write 10.0.0.0/16, or remove that subnet"),
        ),
        (
            "a narrower mask",
            subnet("10.0.0.128", 25, json!([])),
            Vec::new(),
            Some("write 10.0.0.128/25, or remove"),
        ),
        (
            "a range in it",
            subnet("10.0.0.0", 16, range("10.0.0.9", "10.0.0.20")),
            Vec::new(),
            Some("overlaps the range [10.0.0.9,10.0.0.20] of the network, which the operator did not add"),
        ),
        (
            "a range of another",
            subnet("10.0.0.0", 16, range("10.0.0.9", "10.0.0.20")),
            of_other("b", &added),
            Some("which the AKODeploymentConfig \"b\" has added: change ipPools"),
        ),
        (
            "a subnet of another",
            subnet("10.0.0.0", 16, json!([])),
            of_other("b", &added),
            Some("which the AKODeploymentConfig \"b\" has added: write 10.0.0.0/16"),
        ),
    ];
    for (what, subnet, others, wanted) in rows {
        let facts = Facts { networks: [("net".into(), vec![subnet])].into(), ..facts() };
        let seen = Seen { others, ..seen(facts) };
        let recorded = match decide(&plain(), &seen, at(1)) {
            Turn::LookAgain(Plan::Record(added)) => adc(&json!({}), &serde_json::to_value(added).unwrap()),
            other => panic!("{what}: {other:?}"),
        };
        match (decide(&recorded, &seen, at(1)), wanted) {
            (Turn::Act(Plan::Configure(_)), None) => {}
            (Turn::Blocked { reason: reason::POOLS_OVERLAP, message }, Some(wanted)) => {
                assert!(message.contains(wanted), "{what}: {message}");
            }
            (turn, _) => panic!("{what}: {turn:?}"),
        }
    }
}
