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
        let finalizers = "example.com/audit".into();
        s.leftovers = vec![Leftover { name: "web-0".into(), slot: 0, finalizers }];
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
