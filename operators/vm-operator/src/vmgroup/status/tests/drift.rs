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

/// A change of a group, of what is seen of it, and whether the advice is given then.
type Change = (&'static str, fn(&mut VmGroup, &mut Seen), bool);

/// What a VmInstance reports whose template does not exist.
fn no_template() -> (String, String) {
    ("TemplateNotFound".to_owned(), "there is no template photon-6".to_owned())
}

/// A member that gets no machine before a person acts.
fn without_machine(slot: i32) -> Member {
    Member {
        exists: false,
        on: false,
        begun: false,
        made_from: None,
        trouble: Some(no_template()),
        ..member(slot)
    }
}

#[test]
fn the_advice_to_delete_a_vminstance_is_given_where_that_replaces_its_machine() {
    let rows: [Change; 14] = [
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
        ("one has no machine before a person acts", |_, seen| seen.members.push(without_machine(2)), false),
        (
            "one has no machine yet, for whatever reason",
            |_, seen| seen.members.push(Member { trouble: None, ..without_machine(2) }),
            false,
        ),
        (
            "one that is being deleted has no machine",
            |_, seen| seen.members.push(Member { deleting: true, ..without_machine(2) }),
            true,
        ),
        ("one with a machine needs a person", |_, seen| seen.members[0].trouble = Some(no_template()), true),
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

/// A person would destroy one machine after the other for new ones that are not made.
#[test]
fn what_keeps_a_member_from_its_machine_is_to_be_corrected_first() {
    let seen = seen(vec![outdated(0), without_machine(1)]);
    let says = |group: &VmGroup| {
        let new = status(None, group, Some(&seen), &waiting(reason::SCALING), NOW).unwrap();
        condition_of(&new, condition::CONFIG_SYNCED).unwrap().2.to_owned()
    };
    let mut group = fixtures::group(2);
    let text = says(&group);
    assert!(
        text.ends_with(
            "not changed: before you have one replaced, VmInstance web-1 has to have its machine: see what it says"
        ),
        "{text}"
    );
    group.spec.paused = Some(true);
    let text = says(&group);
    assert!(text.ends_with("running machines are not changed"), "{text}");
}
