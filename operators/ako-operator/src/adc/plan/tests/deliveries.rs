//! The record of the Clusters that AKO is delivered to, and of the place where it works.

use super::super::lost::Unsettled;
use super::*;

fn with(delivered: &[&str], leaving: &[&str], recorded: &[&str]) -> (AkoDeploymentConfig, Seen) {
    let owned = |list: &[&str]| list.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let mut adc = plain();
    let status = adc.status.as_mut().unwrap();
    status.delivered_to = owned(delivered);
    status.leaving = owned(recorded);
    let departing = Departing { leaving: owned(leaving), lost: Vec::new() };
    (adc, Seen { delivered: owned(delivered), departing, ..seen(facts()) })
}

#[test]
fn which_clusters_are_being_deleted_is_recorded() {
    let keys = &["n/a", "n/b"];
    for (what, leaving, recorded, wanted) in [
        ("none", &[][..], &[][..], "record"),
        ("one is deleted", &["n/a"], &[], "deliver"),
        ("it is recorded", &["n/a"], &["n/a"], "record"),
        ("another as well", keys, &["n/a"], "deliver"),
        ("it is paused", &[], &["n/a"], "deliver"),
    ] {
        let (adc, seen) = with(keys, leaving, recorded);
        assert_eq!(decided(&adc, &seen), wanted, "{what}");
        if let Turn::LookAgain(Plan::Deliver { leaving: written, .. }) = decide(&adc, &seen, at(1)) {
            assert_eq!(written, leaving, "{what}");
        }
    }
}

/// Whatever else is the matter: the record says where it worked.
#[test]
fn a_lost_cluster_is_settled_first() {
    let settled = |adc: &AkoDeploymentConfig, seen: &Seen| match decide(adc, seen, at(1)) {
        Turn::Act(Plan::Settle(lost)) => (lost.cluster.to_string(), lost.is_given_up),
        other => panic!("{other:?}"),
    };
    let (mut adc, mut seen) = with(&["n/a", "n/b"], &["n/a"], &["n/a"]);
    seen.departing.lost = vec!["n/a".into()];
    let plain = ("n/a".to_owned(), false);
    assert_eq!(settled(&adc, &seen), plain);
    let problem = Some(Problem { reason: "InvalidSpec", message: "wrong".into() });
    assert_eq!(settled(&adc, &Seen { problem, answer: None, ..seen.clone() }), plain);
    assert_eq!(settled(&adc, &Seen { is_forced: true, ..seen.clone() }), plain, "it is not being deleted");
    adc.spec.cloud_name = "other".into();
    assert_eq!(settled(&adc, &seen), plain, "the place was changed");
    seen.basis.is_deleting = true;
    assert_eq!(settled(&adc, &seen), plain);
    seen.is_forced = true;
    assert_eq!(settled(&adc, &seen), ("n/a".to_owned(), true), "a person does not wait for AVI");
}

/// What AVI refuses to remove of one holds nothing else up, but for the deletion of the AKODeploymentConfig.
#[test]
fn a_lost_cluster_whose_remains_avi_refuses_to_remove_waits_for_its_time() {
    let unsettled = |seconds| Unsettled {
        reason: "AviPermissionDenied",
        message: "as the test wants it".into(),
        tries: 1,
        until: at(seconds),
    };
    let (mut adc, mut seen) = with(&["n/a", "n/b", "n/c"], &["n/a", "n/b"], &["n/a", "n/b"]);
    seen.departing.lost = ["n/a", "n/b"].map(str::to_owned).into();
    seen.unsettled = [("n/a".to_owned(), unsettled(60))].into();
    let settles = |adc: &AkoDeploymentConfig, seen: &Seen, seconds| match decide(adc, seen, at(seconds)) {
        Turn::Act(Plan::Settle(lost)) => lost.cluster.to_string(),
        turn => named(&turn),
    };
    assert_eq!(settles(&adc, &seen, 59), "n/b", "the other one is not held up");
    assert_eq!(settles(&adc, &seen, 60), "n/a");
    seen.unsettled.insert("n/b".to_owned(), unsettled(90));
    assert_eq!(settles(&adc, &seen, 59), "record", "nor is what the spec asks for");
    assert_eq!(settles(&adc, &seen, 90), "n/a");

    seen.basis.is_deleting = true;
    assert_eq!(settles(&adc, &seen, 59), "InUse", "another one still has AKO");
    let owned = |list: &[&str]| list.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    seen.delivered = owned(&["n/a", "n/b"]);
    adc.status.as_mut().unwrap().delivered_to = owned(&["n/a", "n/b"]);
    let Turn::Blocked { reason: "AviObjectsLeft", message } = decide(&adc, &seen, at(59)) else {
        panic!("it does not wait")
    };
    for said in ["n/a, n/b", "as the test wants it", "ako-n-a, ako-n-b", "force-cleanup=true"] {
        assert!(message.contains(said), "{said}: {message}");
    }
    assert_eq!(settles(&adc, &seen, 60), "n/a");
    seen.is_forced = true;
    assert_eq!(settles(&adc, &seen, 59), "n/a", "a person does not wait");
}

#[test]
fn the_condition_says_what_avi_refuses_until_nothing_is_left() {
    let (adc, mut seen) = with(&["n/a"], &["n/a"], &["n/a"]);
    let mut status = adc.status.clone().unwrap();
    let mut report = |seen: &Seen| {
        lost::report(&adc, seen, &mut status, at(1));
        status.conditions.iter().map(|known| (known.type_.clone(), known.reason.clone())).collect::<Vec<_>>()
    };
    seen.departing.lost = vec!["n/a".into()];
    assert!(report(&seen).is_empty(), "it was not tried yet");
    let (reason, message) = ("AviConflict", "in use".to_owned());
    seen.unsettled = [("n/a".to_owned(), Unsettled { reason, message, tries: 1, until: at(60) })].into();
    let said = [("LostClustersCleanedUp".to_owned(), "AviConflict".to_owned())];
    assert_eq!(report(&seen), said);
    seen.unsettled.clear();
    assert_eq!(report(&seen), said, "a process that starts does not know yet");
    seen.departing.lost.clear();
    assert!(report(&seen).is_empty());
}

/// Whatever is at the old place would be forgotten there.
#[test]
fn a_place_is_kept_while_something_is_there() {
    let seen = seen(facts());
    let mut moved = adc(&json!({"controller": "other"}), &Value::Null);
    assert_eq!(decided(&moved, &seen), "deliver", "nothing is at the old one");
    let busy = Seen { delivered: vec!["default/a".into()], ..seen.clone() };
    moved.status.as_mut().unwrap().delivered_to = busy.delivered.clone();
    assert_eq!(decided(&moved, &busy), "PlaceChanged");
    let more = Seen { delivered: vec!["default/a".into(), "default/b".into()], ..seen.clone() };
    assert_eq!(decided(&moved, &more), "PlaceChanged", "no other Cluster gets AKO meanwhile");
    let fewer = Seen { delivered: Vec::new(), ..seen.clone() };
    assert_eq!(decided(&moved, &fewer), "deliver", "the last one has left");
    let added = json!({"subnets": [{"network": "net", "cidr": "10.0.0.0/24"}]});
    assert_eq!(decided(&adc(&json!({"cloudName": "other"}), &added), &seen), "PlaceChanged");
}
