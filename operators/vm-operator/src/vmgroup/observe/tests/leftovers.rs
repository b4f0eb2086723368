//! What is seen of VmInstances that only finalizers of others keep.

use super::*;

/// Its machine, if it still exists, is an orphan: nothing is done for it any more.
#[test]
fn an_instance_that_only_finalizers_of_others_keep_is_no_member() {
    fn keep(w: &mut World) {
        let instance = w.first();
        *instance = fixtures::deleting(instance.clone());
        instance.metadata.finalizers = Some(vec!["example.com/audit".into()]);
    }
    fn kept(s: &mut Seen) {
        s.members.remove(0);
        let why = LeftoverWhy::Finalizers("example.com/audit".into());
        s.leftovers = vec![Leftover { name: "web-0".into(), slot: 0, why }];
    }
    check(&[
        ("without a machine", keep, kept),
        (
            "with a machine",
            |w| {
                keep(w);
                w.show(|vm| vm);
            },
            |s| {
                kept(s);
                s.orphans = vec!["web-0 (vm-1)".into()];
            },
        ),
        (
            "of a former group of the same name",
            |w| {
                keep(w);
                w.first().spec.group_uid = "former".into();
                w.first().metadata.owner_references.as_mut().unwrap()[0].uid = "former".into();
            },
            kept,
        ),
        (
            "not deleted",
            |w| {
                keep(w);
                w.first().metadata.deletion_timestamp = None;
            },
            |_| {},
        ),
    ]);
}

/// What is seen where the VmInstance of slot 0 has lost its owner.
pub fn stray(seen: &mut Seen) {
    let problem = "it has no controller owner reference to VmGroup \"web\" with UID group-uid".into();
    seen.members.remove(0);
    seen.strays = vec![Stray { name: "web-0".into(), slot: 0, problem }];
}

/// As `kubectl delete --cascade=orphan` leaves them.
#[test]
fn an_instance_without_owner_takes_its_slot() {
    fn of_former(w: &mut World) {
        w.first().spec.group_uid = "former".into();
        w.first().metadata.owner_references = None;
    }
    check(&[
        ("of a former group", of_former, |s| {
            s.members.remove(0);
            s.leftovers = vec![Leftover { name: "web-0".into(), slot: 0, why: LeftoverWhy::NoOwner }];
        }),
        (
            "deleted, of a former group, under another name",
            |w| {
                of_former(w);
                w.first().metadata.name = Some("copy".into());
                w.first().metadata.finalizers = Some(vec!["example.com/audit".into()]);
                *w.first() = fixtures::deleting(w.first().clone());
            },
            |s| drop(s.members.remove(0)),
        ),
        (
            "of this group by its UID, and of another by its name",
            |w| {
                w.first().spec.group = "other".into();
                w.first().metadata.name = Some("other-0".into());
            },
            |s| drop(s.members.remove(0)),
        ),
        (
            "of a former group, under another name",
            |w| {
                of_former(w);
                w.first().metadata.name = Some("copy".into());
            },
            |s| drop(s.members.remove(0)),
        ),
        (
            "of this group, and deleted",
            |w| {
                w.first().metadata.owner_references = None;
                w.first().metadata.finalizers = Some(vec!["example.com/audit".into()]);
                w.first().metadata.deletion_timestamp =
                    fixtures::deleting(w.first().clone()).metadata.deletion_timestamp;
            },
            |s| {
                let why = LeftoverWhy::Finalizers("example.com/audit".into());
                s.members.remove(0);
                s.leftovers = vec![Leftover { name: "web-0".into(), slot: 0, why }];
            },
        ),
    ]);
}
