use std::collections::BTreeMap;
use std::sync::Arc;

use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::networks::{Binding, Vlan};
use serde_json::{Value, json};

use super::super::{Answer, Basis, Running};
use super::*;
use crate::problem::Problem;

const UID: &str = "5a1c";
const SWITCH: &str = "VmwareDistributedVirtualSwitch:dvs-1";
const REFERENCE: &str = "DistributedVirtualPortgroup:dvportgroup-7";
const MARK: &str = "[ako-operator.network.tkg.tanzu.vmware.com/adc=5a1c]";

fn spec(groups: &Value) -> AkoDeploymentConfigSpec {
    let secret = json!({"name": "s", "namespace": "n"});
    serde_json::from_value(json!({
        "controller": "avi", "cloudName": "cloud", "serviceEngineGroup": "group",
        "dataNetwork": {"name": "vips", "cidr": "10.0.0.0/24"},
        "adminCredentialRef": secret, "certificateAuthorityRef": secret,
        "vcenter": {"server": "vc", "credentialRef": secret}, "portGroups": groups,
    }))
    .unwrap()
}

fn vips() -> Value {
    json!([{"name": "vips", "switch": "DVS0", "vlan": 7, "description": "Virtual IPs"}])
}

fn added(reference: Option<&str>) -> AddedPortGroup {
    AddedPortGroup {
        name: "vips".into(),
        vcenter: "vc-1".into(),
        switch: SWITCH.into(),
        reference: reference.map(str::to_owned),
        since: 0,
    }
}

fn found() -> Found {
    Found {
        moref: REFERENCE.parse().unwrap(),
        name: "vips".into(),
        switch: Some(SWITCH.parse().unwrap()),
        version: "3".into(),
        vlan: Some(Vlan::Id(7)),
        ports: 8,
        auto_expand: true,
        binding: Some(Binding::Early),
        description: format!("Virtual IPs {MARK}"),
    }
}

fn facts(groups: Vec<Found>) -> Facts {
    Facts {
        vcenter: "vc-1".into(),
        switches: [("DVS0".to_owned(), Ok(SWITCH.to_owned()))].into(),
        groups: groups.into_iter().map(|group| (group.moref.as_str().to_owned(), group)).collect(),
        users: BTreeMap::new(),
    }
}

fn seen(record: Vec<AddedPortGroup>, facts: Facts) -> Seen {
    let basis = Basis { generation: Some(1), credentials: "1".into(), record };
    let answer = Answer { basis: basis.clone(), at: at(0), facts };
    Seen { uid: UID.into(), basis, answer: Some(Arc::new(answer)), ..Seen::default() }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A turn by its name, with the reason and the message, or what it records or changes.
fn named(turn: Option<Turn<Plan>>) -> String {
    match turn {
        None => "done".into(),
        Some(Turn::Act(Plan::AskVcenter)) => "ask".into(),
        Some(Turn::Act(Plan::LookAtTask)) => "look at task".into(),
        Some(Turn::Act(Plan::ChangeGroup(change))) => change.describe(),
        Some(Turn::LookAgain(Plan::RecordGroups(record))) => {
            let list: Vec<_> = record
                .iter()
                .map(|added| format!("{} {}", added.name, added.reference.as_deref().unwrap_or("intended")))
                .collect();
            format!("record [{}]", list.join(", "))
        }
        Some(Turn::Blocked { reason, message } | Turn::Wait { reason, message, .. }) => {
            format!("{reason}: {message}")
        }
        other => format!("{other:?}"),
    }
}

fn made(seen: &Seen) -> String {
    named(make(&spec(&vips()), seen, at(1)))
}

fn removed(seen: &Seen) -> String {
    named(remove(&spec(&json!([])), seen, at(1), false))
}

#[test]
fn the_vcenter_is_asked_where_the_answer_is_missing_old_or_of_another_question() {
    let good = seen(vec![added(Some(REFERENCE))], facts(vec![found()]));
    assert_eq!(made(&good), "done");
    assert_eq!(
        named(make(&spec(&json!([])), &Seen::default(), at(1))),
        "done",
        "it is not asked for nothing"
    );
    assert_eq!(made(&Seen { answer: None, ..good.clone() }), "ask");
    assert_eq!(named(make(&spec(&vips()), &good, at(600))), "ask");
    for basis in [
        Basis { generation: Some(2), ..good.basis.clone() },
        Basis { credentials: "2".into(), ..good.basis.clone() },
        Basis { record: Vec::new(), ..good.basis.clone() },
    ] {
        assert_eq!(made(&Seen { basis, ..good.clone() }), "ask");
    }
}

/// The intent is recorded, then it is made, then its reference is recorded, and only then it is used.
#[test]
fn each_step_of_making_one_follows_the_step_before() {
    let rows: Vec<(&str, Vec<AddedPortGroup>, Vec<Found>, &str)> = vec![
        ("nothing", vec![], vec![], "record [vips intended]"),
        ("recorded", vec![added(None)], vec![], "creates port group vips with VLAN 7"),
        ("made", vec![added(None)], vec![found()], "record [vips DistributedVirtualPortgroup:dvportgroup-7]"),
        ("in use", vec![added(Some(REFERENCE))], vec![found()], "done"),
        // A status that was lost, from a backup: the mark says whose it is.
        ("forgotten", vec![], vec![found()], "record [vips DistributedVirtualPortgroup:dvportgroup-7]"),
        ("removed by others", vec![added(Some(REFERENCE))], vec![], "record [vips intended]"),
        (
            "the intent was for another switch",
            vec![AddedPortGroup { switch: "x:y".into(), ..added(None) }],
            vec![],
            "record [vips intended]",
        ),
    ];
    for (name, record, groups, wanted) in rows {
        assert_eq!(made(&seen(record, facts(groups))), wanted, "{name}");
    }
}

#[test]
fn what_differs_is_changed_and_what_is_not_ours_is_not() {
    let other = |change: fn(&mut Found)| {
        let mut group = found();
        change(&mut group);
        seen(vec![added(Some(REFERENCE))], facts(vec![group]))
    };
    let reconfigured = "changes port group vips to VLAN 7, 8 ports";
    for (seen, wanted) in [
        (other(|group| group.vlan = Some(Vlan::Id(8))), reconfigured),
        (other(|group| group.vlan = None), reconfigured),
        (other(|group| group.binding = Some(Binding::Ephemeral)), reconfigured),
        (other(|group| group.auto_expand = false), reconfigured),
        (other(|group| group.ports = 4), reconfigured),
        (other(|group| group.description.push_str(" and more")), reconfigured),
        // It has grown by itself.
        (other(|group| group.ports = 24), "done"),
        (other(|group| group.version = "9".into()), "done"),
        (other(|group| group.name = "renamed".into()), "renames a port group back to vips"),
        (
            other(|group| group.description = "Virtual IPs".into()),
            "PortGroupOfOthers: spec.portGroups: vCenter has a port group \"vips\" without the mark",
        ),
        (
            other(|group| group.description = MARK.replace("5a1c", "6b2d")),
            "PortGroupOfOthers: spec.portGroups: vCenter has a port group \"vips\" without the mark",
        ),
        (
            other(|group| group.switch = Some(MoRef::new("VmwareDistributedVirtualSwitch", "dvs-2"))),
            "PortGroupOfOthers: spec.portGroups: \"vips\" is on another switch",
        ),
    ] {
        let is = made(&seen);
        assert!(is.starts_with(wanted), "{is}, not {wanted}");
    }
    let of_others = Found { description: "of others".into(), ..found() };
    for record in [vec![], vec![added(None)]] {
        let is = made(&seen(record, facts(vec![of_others.clone()])));
        assert!(is.starts_with("PortGroupOfOthers"), "{is}");
    }
}

#[test]
fn an_ephemeral_one_has_no_number_of_ports() {
    let groups = json!([{"name": "vips", "switch": "DVS0", "trunk": [{"start": 5, "end": 9}, {"start": 1, "end": 4}],
        "binding": "ephemeral"}]);
    let group = Found {
        vlan: Some(Vlan::trunk([(1, 9)])),
        binding: Some(Binding::Ephemeral),
        ports: 3,
        description: MARK.into(),
        ..found()
    };
    let seen = seen(vec![added(Some(REFERENCE))], facts(vec![group]));
    assert_eq!(named(make(&spec(&groups), &seen, at(1))), "done");
}

#[test]
fn what_makes_it_impossible_is_said() {
    let good = seen(vec![added(Some(REFERENCE))], facts(vec![found()]));
    let mut none = facts(vec![]);
    none.switches.insert("DVS0".into(), Err("there is no distributed switch \"DVS0\", only x".into()));
    let problem = Problem { reason: reason::CREDENTIALS_MISSING, message: "no Secret".into() };
    for (seen, wanted) in [
        (
            seen(vec![], none),
            "DistributedSwitchNotFound: spec.portGroups: \"vips\": there is no distributed switch \"DVS0\", only x",
        ),
        (Seen { problem: Some(problem), ..good.clone() }, "CredentialsMissing: no Secret"),
        (
            seen(vec![added(Some(REFERENCE))], Facts { vcenter: "vc-2".into(), ..facts(vec![found()]) }),
            "PortGroupsInAnotherVCenter: spec.vcenter: the vCenter there has the instanceUuid vc-2",
        ),
    ] {
        let is = made(&seen);
        assert!(is.starts_with(wanted), "{is}, not {wanted}");
        assert!(!is.contains(FORCE_ANNOTATION), "{is}");
        let deleted = named(remove(&spec(&vips()), &seen, at(1), true));
        assert_eq!(deleted.contains(FORCE_ANNOTATION), !seen.basis.record.is_empty(), "{deleted}");
    }
}

#[test]
fn a_task_is_waited_for_and_looked_at() {
    let wanted = WantedGroup::of(&spec(&vips()).port_groups[0], UID);
    let change = PortGroupChange::Create(SWITCH.into(), wanted);
    let task = Running { task: MoRef::new("Task", "task-1"), change, submitted: at(0), looked: at(0) };
    let running = Seen { task: Some(task), ..seen(vec![added(None)], facts(vec![])) };
    let waits = named(make(&spec(&vips()), &running, at(0)));
    assert_eq!(waits, "PortGroupTaskRunning: vCenter creates port group vips with VLAN 7");
    assert_eq!(named(make(&spec(&vips()), &running, at(1))), "look at task");
    assert_eq!(named(remove(&spec(&vips()), &running, at(1), true)), "look at task");
}

#[test]
fn a_task_that_runs_longer_is_looked_at_less_often() {
    let wanted = WantedGroup::of(&spec(&vips()).port_groups[0], UID);
    let change = PortGroupChange::Create(SWITCH.into(), wanted);
    let at = |millis: i64| Timestamp::from_millisecond(millis).unwrap();
    let submitted = at(0);
    let running = Running { task: MoRef::new("Task", "task-1"), change, submitted, looked: submitted };
    for (looked, pause) in [(0, 50), (50, 50), (100, 100), (400, 400), (900, 500), (3_600_000, 500), (-5, 50)]
    {
        let running = Running { looked: at(looked), ..running.clone() };
        assert_eq!(running.pause(), Duration::from_millis(pause), "looked at after {looked} ms");
    }
}

#[test]
fn one_that_is_not_asked_for_any_more_is_removed_when_nothing_uses_it() {
    let ours = vec![added(Some(REFERENCE))];
    let by = |users: usize| {
        let users: Vec<String> = (0..users).map(|n| format!("vm-{n}")).collect();
        seen(ours.clone(), Facts { users: [(REFERENCE.to_owned(), users)].into(), ..facts(vec![found()]) })
    };
    let elsewhere = Seen { used_on_avi: vec!["dvportgroup-71-cloud-1".into()], ..by(0) };
    let shared = Seen { used_on_avi: vec!["dvportgroup-7-cloud-1".into()], ..by(0) };
    for (seen, wanted) in [
        (Seen::default(), "done"),
        (by(0), "removes port group vips"),
        (elsewhere, "removes port group vips"),
        (
            shared,
            "PortGroupInUse: other AKODeploymentConfigs have addresses in the network of the port group vips on AVI",
        ),
        (by(2), "PortGroupInUse: the port group vips is in use by the VMs vm-0, vm-1: detach them"),
        (
            by(7),
            "PortGroupInUse: the port group vips is in use by the VMs vm-0, vm-1, vm-2, vm-3, vm-4 and 2 more: detach them",
        ),
        (seen(ours.clone(), facts(vec![])), "record []"),
        // Without the mark it is not touched, and not named any more.
        (seen(ours.clone(), facts(vec![Found { description: String::new(), ..found() }])), "record []"),
        (
            seen(vec![added(None)], facts(vec![found()])),
            "record [vips DistributedVirtualPortgroup:dvportgroup-7]",
        ),
        (
            seen(vec![added(None)], facts(vec![Found { description: String::new(), ..found() }])),
            "PortGroupTaskRunning: vCenter may still be making the port group vips",
        ),
    ] {
        assert_eq!(removed(&seen), wanted);
    }
    let late = seen(vec![AddedPortGroup { since: -119, ..added(None) }], facts(vec![]));
    assert_eq!(removed(&late), "record []", "its creation has ended by now");
    // Who uses it is looked at more often than the rest.
    assert_eq!(named(remove(&spec(&json!([])), &by(1), at(15), false)), "ask");
    let kept = named(remove(&spec(&vips()), &by(0), at(1), false));
    assert_eq!(kept, "done", "the spec asks for it");
    assert_eq!(named(remove(&spec(&vips()), &by(0), at(1), true)), "removes port group vips");
}

#[test]
fn avi_has_found_a_port_group_if_it_has_a_network_of_its_name_and_reference() {
    let network =
        |uuid: &str| AviFacts { names: [("vips".to_owned(), uuid.to_owned())].into(), ..AviFacts::default() };
    let ours = [added(Some(REFERENCE))];
    for (record, facts, wanted) in [
        (&ours[..], AviFacts::default(), Some("vips")),
        (&ours[..], network("dvportgroup-7-cloud-1"), None),
        // The network of an earlier port group of that name.
        (&ours[..], network("dvportgroup-6-cloud-1"), Some("vips")),
        (&ours[..], network("dvportgroup-71-cloud-1"), Some("vips")),
        (&[], AviFacts::default(), None),
    ] {
        assert_eq!(undiscovered(&spec(&vips()), record, &facts), wanted, "{facts:?}");
    }
}
