//! Machines of the original operator.

use super::*;

#[test]
fn a_machine_of_the_original_operator_has_no_marker_at_first() {
    check(&[
        (
            "found by its name",
            |w| original(w, |vm| vm),
            |s| has(s, &[Machine { revision: None, marked: false, ..mine() }]),
        ),
        (
            "renamed, and recorded",
            |w| {
                original(w, renamed);
                w.record();
            },
            |s| has(s, &[Machine { revision: None, marked: false, ..mine() }]),
        ),
        ("renamed, and not recorded", |w| original(w, renamed), |_| {}),
        (
            "had the marker before",
            |w| {
                original(w, |vm| vm);
                w.instance.status = Some(VmInstanceStatus { marked: Some(true), ..Default::default() });
            },
            |s| stranger(s, Some(no_marker())),
        ),
        ("another instanceUuid", |w| original(w, foreign), |s| stranger(s, None)),
        ("cannot be read", |w| original(w, |vm| Vm { markers: None, ..vm }), unread),
        (
            "the marker of another cluster",
            |w| original(w, of_other_cluster),
            |s| {
                stranger(s, Some(Lost::OtherCluster("other".into())));
            },
        ),
    ]);
}
