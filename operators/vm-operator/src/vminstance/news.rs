//! The events of a machine's life: one for each step, derived from what the durable status says, so that a restart of the
//! operator neither repeats nor loses them. Pure; the driver publishes them.

use infra_clients::vsphere::vms::Inventory;
use infra_clients::vsphere::{MoRef, PowerState};
use operator_kit::{Notice, conditions};

use crate::api::{TaskKind, VmInstance, VmInstanceStatus, condition, reason};
use crate::detach;
use crate::in_flight::{Entry, RequestState};

use super::identity::recorded;
use super::plan::is_destroyed;
use super::seen::{Missing, Seen};

/// Returns the events for what a new status reports and the old one did not.
#[must_use]
pub fn news(instance: &VmInstance, old: Option<&VmInstanceStatus>, new: &VmInstanceStatus) -> Vec<Notice> {
    let old = old.cloned().unwrap_or_default();
    let mut news: Vec<_> = detach::news(&old.conditions, &new.conditions).into_iter().collect();
    if let Some(machine) = made(new).filter(|_| made(&old) != made(new)) {
        let (machine, template) = (named(instance, machine), &instance.spec.template);
        news.push(if old.provisioned == Some(true) {
            let message =
                format!("cloned {machine} from template {template:?}, as the last machine no longer existed");
            Notice::normal(reason::REPAIRED, message)
        } else {
            Notice::normal(reason::CLONED, format!("cloned {machine} from template {template:?}"))
        });
    }
    // Of a machine that an earlier version made, or that was adopted, the first time is not known.
    let was_ready =
        conditions::get(&old.conditions, condition::READY).is_some_and(|ready| ready.status == "True");
    if let Some(machine) = made(new).filter(|_| new.provisioned != old.provisioned && !was_ready) {
        news.push(Notice::normal(reason::POWERED_ON, format!("{} is powered on", named(instance, machine))));
    }
    news
}

/// Returns the name that a machine was made with, and its reference.
fn named(instance: &VmInstance, machine: &str) -> String {
    format!("{} ({machine})", instance.spec.vm_name)
}

/// The machine that the operator has made, once its clone task is over.
fn made(status: &VmInstanceStatus) -> Option<&str> {
    status.vm_ref.as_deref().filter(|_| status.task.is_none() && status.revision.is_some())
}

/// Returns the event for a request whose end is dealt with: a machine that had been on is powered on again.
#[must_use]
pub fn repaired(instance: &VmInstance, entry: Option<&Entry>, inventory: &Inventory) -> Option<Notice> {
    let Some(RequestState::Task(task)) = &entry?.request else { return None };
    let was_on = instance.status.as_ref()?.provisioned == Some(true);
    let machine = recorded(instance).filter(|_| was_on && task.kind == TaskKind::PowerOn)?;
    let is_on = inventory.vm(&machine)?.power == Some(PowerState::On);
    let message = format!("{} was not powered on, and is again", named(instance, machine.value()));
    is_on.then(|| Notice::normal(reason::REPAIRED, message))
}

/// Returns the event for a machine that the operator no longer manages.
#[must_use]
pub fn released(instance: &VmInstance, machine: &MoRef) -> Notice {
    let machine = named(instance, machine.value());
    let message = format!("{machine} is no longer managed, and stays as it is in the vCenter");
    Notice::normal(reason::MACHINE_RELEASED, message)
}

/// Returns the last event of an instance: its machine does not exist any more.
#[must_use]
pub fn removed(instance: &VmInstance, seen: &Seen) -> Option<Notice> {
    let is_gone = is_destroyed(seen) || seen.missing == Missing::Gone;
    let machine = recorded(instance).filter(|_| is_gone && !seen.released)?;
    Some(Notice::normal(reason::REMOVED, format!("{} is destroyed", named(instance, machine.value()))))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::super::seen::Progress;
    use super::*;
    use crate::api::TaskStatus;
    use crate::fixtures;

    fn instance(vm_ref: Option<&str>) -> VmInstance {
        let status = VmInstanceStatus { vm_ref: vm_ref.map(str::to_owned), ..VmInstanceStatus::default() };
        VmInstance { status: Some(status), ..fixtures::instance(0) }
    }

    /// The reasons of the events between each status and the next.
    fn reasons(statuses: &[VmInstanceStatus]) -> Vec<Vec<&'static str>> {
        let olds = [None].into_iter().chain(statuses.iter().map(Some));
        let of = |(old, new)| news(&instance(None), old, new).iter().map(Notice::reason).collect();
        olds.zip(statuses).map(of).collect()
    }

    fn status(vm_ref: Option<&str>, provisioned: bool) -> VmInstanceStatus {
        VmInstanceStatus {
            vm_ref: vm_ref.map(str::to_owned),
            revision: vm_ref.map(|_| "r".to_owned()),
            provisioned: provisioned.then_some(true),
            ..VmInstanceStatus::default()
        }
    }

    #[test]
    fn each_step_of_a_machine_is_one_event() {
        let task = TaskStatus {
            r#ref: "t".into(),
            kind: TaskKind::Clone,
            submitted_at: Time(Timestamp::UNIX_EPOCH),
        };
        let cloning = |of: VmInstanceStatus| VmInstanceStatus { task: Some(task.clone()), ..of };
        let steps = [
            (cloning(status(None, false)), vec![]),
            (cloning(status(Some("vm-1"), false)), vec![]),
            (status(Some("vm-1"), false), vec!["Cloned"]),
            (status(Some("vm-1"), true), vec!["PoweredOn"]),
            (status(Some("vm-1"), true), vec![]),
            (status(None, true), vec![]),
            (cloning(status(Some("vm-2"), true)), vec![]),
            (status(Some("vm-2"), true), vec!["Repaired"]),
            (status(Some("vm-3"), true), vec!["Repaired"]),
        ];
        let (statuses, wanted): (Vec<_>, Vec<_>) = steps.into_iter().unzip();
        assert_eq!(reasons(&statuses), wanted);
        assert_eq!(reasons(&[status(Some("vm-1"), true)]), [["Cloned", "PoweredOn"]], "all in one pass");
    }

    #[test]
    fn an_adopted_machine_and_one_of_an_earlier_version_were_not_made_now() {
        let adopted = VmInstanceStatus { revision: None, ..status(Some("vm-1"), true) };
        assert_eq!(reasons(&[adopted]), [[""; 0]]);
        let mut earlier = status(Some("vm-1"), false);
        let now = Timestamp::UNIX_EPOCH;
        let ready = conditions::Status::True;
        conditions::set(&mut earlier.conditions, condition::READY, ready, "AsAsked", "", None, now);
        assert!(news(&instance(None), Some(&earlier), &status(Some("vm-1"), true)).is_empty());
    }

    #[test]
    fn events_name_a_machine_as_it_was_made() {
        let (object, machine) = (instance(Some("vm-1")), MoRef::new("VirtualMachine", "vm-1"));
        let name = format!("{} (vm-1) ", object.spec.vm_name);
        let gone = Seen { missing: Missing::Gone, ..Seen::default() };
        let mut all = news(&object, None, &status(Some("vm-1"), true));
        all.extend([released(&object, &machine), removed(&object, &gone).unwrap()]);
        assert_eq!(all.len(), 4);
        for notice in all {
            assert!(
                notice.message().trim_start_matches("cloned ").starts_with(&name),
                "{}",
                notice.message()
            );
        }
    }

    #[test]
    fn a_machine_is_reported_as_destroyed_when_it_is() {
        let destroyed = Seen { request: Some((TaskKind::Destroy, Progress::Succeeded)), ..Seen::default() };
        let gone = Seen { missing: Missing::Gone, ..Seen::default() };
        for (seen, vm_ref, is_event) in [
            (destroyed.clone(), Some("vm-1"), true),
            (gone, Some("vm-1"), true),
            (destroyed.clone(), None, false),
            (Seen::default(), Some("vm-1"), false),
            (Seen { released: true, ..destroyed }, Some("vm-1"), false),
        ] {
            assert_eq!(removed(&instance(vm_ref), &seen).is_some(), is_event, "{seen:?}");
        }
    }
}
