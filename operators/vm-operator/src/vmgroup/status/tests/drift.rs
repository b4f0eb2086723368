//! What the status says of machines that were made from an earlier spec.

use kube::ResourceExt;

use super::*;
use crate::api::DETACH;
use crate::vmgroup::seen::Unread;

#[test]
fn config_synced_says_how_many_machines_are_outdated() {
    let unknown = Member { made_from: None, ..member(1) };
    let gone = Member { exists: false, ..outdated(1) };
    for (situation, members, wanted) in [
        ("none", vec![member(0), member(1)], None),
        ("the only one", vec![outdated(0)], Some("1 of 1 virtual machine was made ")),
        ("one of two", vec![member(0), outdated(1)], Some("1 of 2 virtual machines was made ")),
        ("both", vec![outdated(0), outdated(1)], Some("2 of 2 ")),
        ("one of which it is not known", vec![member(0), unknown], None),
        ("one that does not exist", vec![member(0), gone], None),
    ] {
        for outcome in [Outcome::Settled, waiting(reason::SCALING)] {
            let new = status_of(None, &seen(members.clone()), &outcome).unwrap();
            let synced = condition_of(&new, condition::CONFIG_SYNCED).unwrap();
            let last = new.last_message.as_deref().unwrap();
            match wanted {
                None => assert_eq!(synced, ("True", "AsAsked", ""), "{situation}"),
                Some(start) => {
                    assert_eq!((synced.0, synced.1), ("False", "OutdatedMachines"), "{situation}");
                    assert!(synced.2.starts_with(start), "{situation}: {}", synced.2);
                }
            }
            // The Ready condition says nothing of it; the last message does.
            let adds = last.ends_with(&format!("; {}", synced.2));
            assert_eq!(adds, wanted.is_some(), "{situation}: {last}");
        }
    }
}

/// A change of a group, of what is seen of it, and whether a machine is replaced then.
type Change = (&'static str, fn(&mut VmGroup, &mut Seen), bool);

#[test]
fn the_advice_to_delete_a_vminstance_is_given_where_that_replaces_its_machine() {
    let rows: [Change; 10] = [
        ("nothing is in the way", |_, _| {}, true),
        ("it waits for more machines", |group, _| group.spec.replicas = 3, true),
        ("paused", |group, _| group.spec.paused = Some(true), false),
        ("resumed", |group, _| group.spec.paused = Some(false), true),
        ("detached", |group, _| drop(group.annotations_mut().insert(DETACH.into(), "true".into())), false),
        (
            "perhaps detached",
            |group, _| drop(group.annotations_mut().insert(DETACH.into(), "True".into())),
            false,
        ),
        ("more replicas than are allowed", |_, seen| seen.max_replicas = 1, false),
        (
            "machines of the original operator are not adopted yet",
            |group, _| group.metadata.finalizers = Some(vec![FINALIZER.into(), ORIGINAL_FINALIZER.into()]),
            false,
        ),
        ("being deleted", |group, _| *group = fixtures::deleting(group.clone()), false),
        (
            "a VmInstance does not parse",
            |_, seen| seen.unread = vec![Unread { name: "web-1".into(), problem: "no".into() }],
            false,
        ),
    ];
    for (situation, change, wanted) in rows {
        let (mut group, mut seen) = (fixtures::group(2), seen(vec![member(0), outdated(1)]));
        change(&mut group, &mut seen);
        let new = status(None, &group, Some(&seen), &waiting(reason::SCALING), NOW).unwrap();
        let says = condition_of(&new, condition::CONFIG_SYNCED).unwrap().2;
        assert!(
            says.starts_with("1 of 2 virtual machines was made from an earlier cpu"),
            "{situation}: {says}"
        );
        assert_eq!(says.contains("delete one VmInstance"), wanted, "{situation}: {says}");
    }
}
