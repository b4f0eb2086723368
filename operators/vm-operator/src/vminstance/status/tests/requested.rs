//! What the status says once a change was requested, before the vCenter has answered. The driver postpones what is written.

use infra_clients::vsphere::vms::Template;
use operator_kit::Turn;

use super::*;
use crate::clone_queue::Place;
use crate::detach::Detach;
use crate::vminstance::GroupView;
use crate::vminstance::seen::Confirmed;

/// What the messages of unanswered requests end in.
const UNANSWERED: &str = "; the vCenter has not answered yet";

/// A situation, what was seen, and reason and begin of the message; `None` where the last status stands.
type Row = (&'static str, Seen, Option<(&'static str, &'static str)>);

fn of_group() -> Seen {
    Seen {
        group: Some(GroupView { paused: false, detach: Detach::No, deleting: false, adopting: false }),
        folder: Some(vcenter::folder_ref("group-1")),
        template: Template::Known(vcenter::vm_ref("vm-template")),
        confirmed: Confirmed::Same,
        ..seen()
    }
}

fn has(power: PowerState) -> Seen {
    Seen { mine: vec![Machine { power: Some(power), ..machine() }], ..of_group() }
}

fn gone(place: Place) -> Seen {
    Seen { place, missing: Missing::Gone, ..of_group() }
}

/// Checks rows where the last status says that the machine is powered on, and has this Ready condition. `outcome`: of the pass; `None`:
/// the plan was carried out.
fn check(instance: &VmInstance, old: Option<(Status, &str)>, outcome: Option<&End>, rows: Vec<Row>) {
    let mut last = VmInstanceStatus { power: Some("poweredOn".into()), ..VmInstanceStatus::default() };
    if let Some((status, reason)) = old {
        conditions::set(&mut last.conditions, condition::READY, status, reason, "", Some(1), NOW);
    }
    for (situation, seen, wanted) in rows {
        let acted = match crate::vminstance::plan(instance, &seen) {
            Turn::Act(action) => Done { requested: action.requests(), notice: None },
            _ => Done::default(),
        };
        let acted = outcome.is_none().then(|| Outcome::Acted(acted));
        let is_requested = matches!(&acted, Some(Outcome::Acted(Done { requested: Some(_), .. })));
        let outcome = outcome.or(acted.as_ref()).unwrap();
        let new = status(Some(&last), instance, Some(&seen), outcome, NOW);
        assert_eq!(new.is_some(), wanted.is_some(), "{situation}");
        let (Some(new), Some((reason, begin))) = (new, wanted) else { continue };
        let ready = conditions::get(&new.conditions, condition::READY).unwrap();
        assert_eq!((&*ready.status, &*ready.reason), ("False", reason), "{situation}");
        let message = &ready.message;
        assert!(message.starts_with(begin), "{situation}: {message}");
        assert_eq!(message.ends_with(UNANSWERED), is_requested, "{situation}: {message}");
        let power = seen.mine.first().and_then(|machine| machine.power).map(|power| spell(power).to_owned());
        assert_eq!(new.power, power, "{situation}");
    }
}

const READY: Option<(Status, &str)> = Some((Status::True, reason::AS_ASKED));

#[test]
fn a_machine_that_is_to_be_changed_is_not_called_ready() {
    let unmarked = Seen { mine: vec![Machine { marked: false, ..machine() }], ..of_group() };
    check(
        &fixtures::instance(0),
        READY,
        None,
        vec![
            ("off", has(PowerState::Off), Some(("PoweringOn", "to be powered on"))),
            ("suspended", has(PowerState::Suspended), Some(("PoweringOn", "to be powered on"))),
            ("without its marker", unmarked, Some(("Adopting", "to be marked as this VmInstance's"))),
            ("gone", gone(Place::None), Some(("Cloning", "the vCenter shows no virtual machine of"))),
            (
                "gone, with a place",
                gone(Place::Held),
                Some(("Cloning", "to be cloned from template \"photon\"")),
            ),
        ],
    );
    let removing = Some(("Removing", "to be powered off and removed"));
    check(
        &fixtures::deleting(fixtures::instance(0)),
        READY,
        None,
        vec![("on", has(PowerState::On), removing), ("off", has(PowerState::Off), removing)],
    );
}

/// Statuses that do not say Ready=True are not written for a clone that is about to be answered.
#[test]
fn a_machine_that_was_not_ready_is_said_to_be_cloned_when_it_is() {
    let powering_on = Some(("PoweringOn", "to be powered on"));
    let rows = vec![("never made", gone(Place::Held), None), ("off", has(PowerState::Off), powering_on)];
    check(&fixtures::instance(0), None, None, rows);
    let rows = || vec![("its clone is not answered", gone(Place::Held), None)];
    check(&fixtures::instance(0), None, Some(&waiting(reason::CLONING)), rows());
    check(
        &fixtures::instance(0),
        Some((Status::False, reason::QUEUED)),
        Some(&waiting(reason::CLONING)),
        rows(),
    );
}

#[test]
fn a_machine_that_is_waited_for_is_not_called_ready() {
    let rows = vec![("its clone is not answered", gone(Place::Held), Some(("Cloning", "a message")))];
    check(&fixtures::instance(0), READY, Some(&waiting(reason::CLONING)), rows);
    let rows = vec![
        ("it is looked up", of_group(), Some(("Refreshing", "a message"))),
        ("it is there, and the inventory is read", has(PowerState::Off), None),
    ];
    check(&fixtures::instance(0), READY, Some(&waiting(reason::REFRESHING)), rows);
}
