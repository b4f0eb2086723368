//! What the plan leaves alone: machines of others, templates, and what is in another vCenter.

use super::*;

#[test]
fn what_is_in_another_vcenter_is_neither_made_again_nor_given_up() {
    let elsewhere = AnotherVcenter { recorded: "there".into(), connected: "here".into() };
    let elsewhere = || Seen { other_vcenter: Some(elsewhere.clone()), tracked: false, ..seen() };
    let detached = Some(GroupView { paused: false, detach: Detach::Yes, deleting: false, adopting: false });
    check(vec![
        ("InAnotherVCenter", false, elsewhere()),
        ("InAnotherVCenter", true, elsewhere()),
        ("InAnotherVCenter", true, Seen { group: None, ..elsewhere() }),
        ("LeaveQueue", false, Seen { place: Place::Held, ..elsewhere() }),
        ("Gone", true, Seen { group: detached, ..elsewhere() }),
    ]);
}

#[test]
fn a_machine_that_became_a_template_is_left_alone() {
    let template = |marked| Machine { template: true, marked, ..machine(PowerState::Off) };
    check(vec![
        ("MachineIsTemplate", false, Seen { mine: vec![template(true)], ..seen() }),
        ("MachineIsTemplate", false, Seen { mine: vec![template(false)], ..seen() }),
        ("Release", true, Seen { mine: vec![template(true)], ..seen() }),
        ("Gone", true, Seen { mine: vec![template(true)], released: true, ..seen() }),
    ]);
}

#[test]
fn what_is_not_the_instances_is_never_touched() {
    let several = || vec![machine(PowerState::On), Machine { moref: vm("vm-2"), ..machine(PowerState::Off) }];
    check(vec![
        ("Gone", true, Seen { stranger: Some(vm("vm-9")), ..seen() }),
        ("NameConflict", false, Seen { stranger: Some(vm("vm-9")), ..seen() }),
        ("DuplicateMachines", false, Seen { mine: several(), ..seen() }),
        ("DuplicateMachines", true, Seen { mine: several(), ..seen() }),
        ("MachineUnclear", true, Seen { unread: Some(vm("vm-1")), ..seen() }),
        ("MachineUnclear", false, Seen { unread: Some(vm("vm-1")), ..seen() }),
        ("LookUp", false, Seen { missing: Missing::Unknown(vm("vm-1")), ..seen() }),
        ("LookUp", true, Seen { missing: Missing::Unknown(vm("vm-1")), ..seen() }),
        ("Refreshing", true, Seen { missing: Missing::LookingUp, ..seen() }),
        ("MachineMoved", false, Seen { missing: Missing::Elsewhere(vm("vm-1")), ..seen() }),
        ("Release", true, Seen { missing: Missing::Elsewhere(vm("vm-1")), ..seen() }),
        ("Gone", true, Seen { missing: Missing::Elsewhere(vm("vm-1")), released: true, ..seen() }),
        ("MachineUnclear", true, Seen { missing: Missing::Unclear(vm("vm-1")), ..seen() }),
        ("Gone", true, Seen { missing: Missing::Gone, ..seen() }),
        ("Enqueue", false, Seen { missing: Missing::Gone, ..seen() }),
    ]);
    let mut copy = instance(false);
    copy.metadata.name = Some("copy".into());
    let turn = plan(&copy, &Seen { mine: vec![machine(PowerState::Off)], ..seen() });
    assert_eq!(name(&turn), "InvalidInstance");
    copy.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let turn = plan(&copy, &Seen { mine: vec![machine(PowerState::On)], ..seen() });
    assert_eq!(name(&turn), "Gone", "a deleted copy takes no machine with it");
}

#[test]
fn a_machine_that_has_the_name_is_named_with_what_it_is() {
    let stranger = || Seen { stranger: Some(vm("vm-9")), ..seen() };
    let of_namesake = || Seen { stranger_of_namesake: true, ..stranger() };
    let of_other_slot = Seen { stranger_of: Some("g-1".into()), ..stranger() };
    let other_cluster = Some(Lost::OtherCluster("other".into()));
    for (seen, wanted) in [
        (stranger(), "is called \"g-0\" but is not this VmInstance's machine"),
        (of_namesake(), "is called \"g-0\" and is left of an earlier group of this name"),
        (
            of_other_slot,
            "is called \"g-0\" but is the machine of VmInstance g-1: give it the name that spec.vmName of g-1 says",
        ),
        (Seen { lost: other_cluster, ..stranger() }, "names the cluster other"),
        (Seen { lost: Some(Lost::NoMarker("marker".into())), ..stranger() }, "to marker, or rename or move"),
    ] {
        let Turn::Blocked { reason: "NameConflict", message } = plan(&instance(false), &seen) else {
            panic!("{wanted}")
        };
        assert!(message.contains(wanted) && message.ends_with("the operator does not touch it"), "{message}");
    }
}
