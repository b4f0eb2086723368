//! Others that do not parse: what they have added is not known, and is removed by none.

use operator_kit::Outcome;

use super::*;

fn unread(seen: Seen) -> Seen {
    Seen { unread: vec!["b".to_owned()], ..seen }
}

#[test]
fn nothing_is_removed_that_one_may_have_added() {
    let old = json!({"usableNetworks": [{"profile": "profile", "network": "old"}]});
    let with_old = Facts {
        profiles: [("profile".into(), ["net".to_owned(), "old".to_owned()].into())].into(),
        ..facts()
    };
    let Turn::LookAgain(Plan::Record(added)) =
        decide(&adc(&json!({}), &old), &unread(seen(with_old.clone())), at(1))
    else {
        panic!("it records nothing")
    };
    assert_eq!(
        added.usable_networks.len(),
        1,
        "what is not asked for any more stays in the record: {added:?}"
    );
    let recorded = adc(&json!({}), &serde_json::to_value(&added).unwrap());
    let Turn::Act(Plan::Configure(change)) = decide(&recorded, &unread(seen(with_old.clone())), at(1)) else {
        panic!("what is missing is not held up")
    };
    assert!(change.removed.is_empty() && !change.missing.is_empty(), "{change:?}");
    let mut network = infra_clients::avi::objects::Network::default();
    change.edit_network("net", &mut network).unwrap();
    let mut done = with_old;
    done.networks.insert("net".into(), network.configured_subnets);
    assert_eq!(ready(&recorded, &unread(seen(done.clone()))), "True AsAsked: stays");
    assert_eq!(decided(&recorded, &seen(done)), "configure", "once it can be read");
}

/// Returns the condition Ready after a pass that ends, and whether it says that something stays.
fn ready(adc: &AkoDeploymentConfig, seen: &Seen) -> String {
    let outcome = match decide(adc, seen, at(1)) {
        Turn::Settled => Outcome::Settled,
        Turn::Blocked { reason, message } => Outcome::Blocked(reason, message),
        turn => panic!("{}", named(&turn)),
    };
    let status = crate::adc::status::status(adc.status.as_ref(), adc, Some(seen), &outcome, at(1));
    let ready = operator_kit::conditions::get(&status.conditions, "Ready").unwrap();
    let says = match &*ready.message {
        "" => "nothing",
        message
            if message.contains("any more stays")
                && message.ends_with("b; correct them, see their events") =>
        {
            "stays"
        }
        message => message,
    };
    format!("{} {}: {says}", ready.status, ready.reason)
}

/// Clusters need nothing of what stays: they get AKO meanwhile.
#[test]
fn it_is_ready_for_what_is_done_and_says_what_stays() {
    let (adc, seen) = scoped(&[], &["t-ns"], Known::Asked(&[]));
    assert_eq!(ready(&adc, &unread(seen.clone())), "True AsAsked: stays");
    assert_eq!(decided(&adc, &seen), "removed tenant t-ns");
    let (adc, seen) = scoped(&["ns/c"], &["t-ns"], Known::Ours);
    assert_eq!(ready(&adc, &unread(seen.clone())), "True AsAsked: nothing");
}

#[test]
fn a_deletion_waits_unless_nothing_was_added() {
    for (added, is_forced, wanted) in [
        (
            json!({"usableNetworks": [{"profile": "profile", "network": "net"}]}),
            false,
            "AKODeploymentConfigInvalid",
        ),
        (json!({"usableNetworks": [{"profile": "profile", "network": "net"}]}), true, "gone"),
        (Value::Null, false, "gone"),
    ] {
        let mut adc = adc(&json!({}), &added);
        adc.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-29T00:00:00Z")).unwrap();
        let mut seen = unread(seen(facts()));
        (seen.basis.is_deleting, seen.is_forced) = (true, is_forced);
        if added.is_null() {
            adc.status.as_mut().unwrap().place = None;
        }
        assert_eq!(decided(&adc, &seen), wanted, "{added} {is_forced}");
    }
}

/// A range of its own that it may not remove yet is no range of others.
#[test]
fn a_pool_that_is_enlarged_waits() {
    let range = json!({"network": "net", "cidr": "10.0.0.0/24", "start": "10.0.0.1", "end": "10.0.0.5"});
    let subnet = serde_json::from_value(json!({
        "prefix": {"ip_addr": {"addr": "10.0.0.0", "type": "V4"}, "mask": 24},
        "static_ip_ranges": [
            {"range": {"begin": {"addr": "10.0.0.1", "type": "V4"}, "end": {"addr": "10.0.0.5", "type": "V4"}}}],
    }))
    .unwrap();
    let has = Facts { networks: [("net".into(), vec![subnet])].into(), ..facts() };
    let Turn::LookAgain(Plan::Record(added)) =
        decide(&adc(&json!({}), &json!({"ranges": [range]})), &unread(seen(has.clone())), at(1))
    else {
        panic!("it records nothing")
    };
    let recorded = adc(&json!({}), &serde_json::to_value(&added).unwrap());
    let Turn::Blocked { reason, message } = decide(&recorded, &unread(seen(has.clone())), at(1)) else {
        panic!("an address is in one range only")
    };
    assert_eq!(reason, "AKODeploymentConfigInvalid");
    for wanted in
        ["[10.0.0.1,10.0.0.5]", "which the AKODeploymentConfig has added before", "do not parse: b;"]
    {
        assert!(message.contains(wanted), "{message}");
    }
    assert_eq!(decided(&recorded, &seen(has)), "configure", "once it can be read");
}
