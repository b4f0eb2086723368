//! The record of the Clusters that AKO is delivered to, and of the place where it works.

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
