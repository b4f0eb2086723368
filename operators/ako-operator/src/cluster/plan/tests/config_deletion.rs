//! An AKO that a label of its Cluster has remove what it made.

use super::*;

/// An AKO that starts again while it removes what it made removes no more, and needs its password until the end.
#[test]
fn an_ako_that_is_to_make_nothing_is_not_changed() {
    let running = || Some(set(Cleanup::Started));
    let write = ObjectWrite {
        target: set(Cleanup::Silent).target,
        patch: kube::api::Patch::Apply(serde_json::Value::Null),
    };
    let differing = Difference { differing: vec![write], ..Difference::default() };
    let told = |set, told, difference: &Difference| Seen {
        deletes_config: true,
        workload: open(Delivery::Of(difference.clone()), set, Some(told)),
        ..settled()
    };
    let rotates = Seen { account: Account::Do(Step::Draw), ..told(running(), true, &Difference::default()) };
    check(vec![
        ("another password is due", rotates, "wait AviConfigDeleted"),
        ("another version", told(running(), true, &differing), "wait AviConfigDeleted"),
        ("it is not told yet", told(running(), false, &differing), "apply 1"),
        ("it is not there yet", told(None, true, &differing), "apply 1"),
    ]);
}
