//! What must hold: invariants of single steps, and the goal.

use crate::api::reason;

use super::Operator;
use super::kubernetes::{Group, Instance, group_of, numbers_of};
use super::tables::GROUPS;
use super::vcenter::{Call, Vm};
use super::world::{State, Sync, Wrong};

/// Checks a call of the vCenter at the moment in which it takes effect or is accepted.
pub fn check_call(state: &State, call: Call) -> Option<Wrong> {
    let vm = state.vcenter.vm(call.vm()?)?;
    let mut instances = state.kubernetes.objects.instances.iter().flatten();
    let instance = instances.find(|instance| instance.number == vm.uuid);
    let is_own = vm.owner == vm.uuid && vm.uuid != 0;
    match call {
        Call::Mark { number, .. } if vm.uuid == number => None,
        _ if !is_own => Some(Wrong::TouchesForeign),
        Call::PowerOff(_) | Call::Destroy(_) => {
            let group = state.kubernetes.objects.group.filter(|group| group.number == group_of(vm.uuid));
            let goes = group.is_some_and(|group| group.deleting)
                || instance.is_some_and(|instance| instance.deleting);
            (!goes || vm.folder.is_none()).then_some(Wrong::DestroysLive)
        }
        _ => None,
    }
}

/// Checks a request in the moment in which it is sent. Of two processes, one may let a VmInstance go while the other has its
/// clone in the queue.
pub fn check_request(state: &State, call: Call) -> Option<Wrong> {
    let Call::Clone { number, .. } = call else { return None };
    let mut instances = state.kubernetes.objects.instances.iter().flatten();
    let exists = instances.any(|instance| instance.number == number);
    (state.processes.len() == 1 && !exists).then_some(Wrong::ClonesForGone)
}

/// Checks the state after a task has ended.
pub fn check_machines(state: &State) -> Option<Wrong> {
    let numbers = 1..16;
    let count = |number| state.vcenter.machines().filter(|(_, vm)| is_made_for(*vm, number)).count();
    numbers.into_iter().any(|number| count(number) > 1).then_some(Wrong::SecondMachine)
}

/// A copy that an administrator makes has another name.
fn is_made_for(vm: Vm, number: u8) -> bool {
    vm.owner == number && vm.slot != super::vcenter::NO_SLOT
}

/// Checks the state before an instance's finalizer is removed.
pub fn check_end(state: &State, instance: Instance) -> Option<Wrong> {
    let is_clone = |call: Call| matches!(call, Call::Clone { number, .. } if number == instance.number);
    let exists = state.machines_of(instance.number).next().is_some();
    let comes = state.running().any(|task| is_clone(task.call)) || state.late.iter().copied().any(is_clone);
    (exists || comes).then_some(Wrong::FinalizerTooEarly)
}

/// Checks the state before the finalizer of a group is removed.
pub fn check_group_end(state: &State, group: u8) -> Option<Wrong> {
    let mut numbers = numbers_of(group);
    let is_clone = |call: Call| matches!(call, Call::Clone { number, .. } if group_of(number) == group);
    let comes = state.running().any(|task| is_clone(task.call)) || state.late.iter().copied().any(is_clone);
    let exists = numbers.any(|number| state.machines_of(number).next().is_some());
    (exists || comes).then_some(Wrong::GroupFinalizerTooEarly)
}

/// Checks the machine that a status records.
pub fn check_record(state: &State, number: u8, vm: Option<u8>) -> Option<Wrong> {
    let vm = state.vcenter.vm(vm?)?;
    (vm.uuid != number).then_some(Wrong::RecordsForeign)
}

impl Operator {
    /// Returns whether everything is as the group asks or, where an administrator is in the way, as a status explains; and
    /// nothing is left that could change that.
    pub fn is_goal(&self, state: &State) -> bool {
        let [process] = state.processes.as_slice() else { return false };
        let is_quiet = state.late.is_empty()
            && state.running().next().is_none()
            && process.answers.is_empty()
            && process.sync == Sync::Done
            && process.poll.is_none()
            && process.cache == state.kubernetes.objects
            && self.unreported(state, process).next().is_none();
        if !is_quiet {
            return false;
        }
        let remembered = self.remembered(process.memory);
        let instances = state.kubernetes.objects.instances.iter().flatten();
        if !remembered.is_idle(instances.map(|instance| instance.number)) {
            return false;
        }
        // A process that ends right after it has created the folder leaves no record that the folder is the group's.
        let has_crashed = state.budget.crashes < self.config.budget.crashes;
        match state.kubernetes.objects.group {
            Some(group) => self.is_served(state, group),
            None => {
                state.kubernetes.objects.instances.iter().all(Option::is_none)
                    // The machine of a clone that arrives when its group is gone stays, and the folder with it.
                    && self.is_clear(state, 0..GROUPS)
                    && (state.vcenter.folder.is_none() || state.vcenter.children() > 0 || has_crashed)
            }
        }
    }

    fn is_served(&self, state: &State, group: Group) -> bool {
        let instances = state.kubernetes.objects.instances.iter().flatten();
        // Nothing of the model keeps a group from going, and a group goes with all that is its own.
        let others = (0..GROUPS).filter(|other| *other != group.number);
        if group.deleting || !self.is_clear(state, others) {
            return false;
        }
        let mut count = 0;
        let (mut ready, mut all) = (0, true);
        for instance in instances {
            count += u8::from(group_of(instance.number) == group.number);
            let is_ready = self.is_ready(state, *instance);
            ready += u8::from(is_ready);
            all &= is_ready || (!instance.deleting && self.is_blocked(state, *instance));
        }
        let status = self.tables.status(group.status);
        all && count == group.replicas
            && status.orphans == self.has_orphans(state)
            && status.ready_replicas == ready
            && (status.ready.0 == "True") == (ready == group.replicas)
    }

    /// Returns whether these groups have no machine, and no clone of theirs can come; a clone may always come very late.
    fn is_clear(&self, state: &State, mut groups: impl Iterator<Item = u8>) -> bool {
        self.config.is_very_late || groups.all(|group| check_group_end(state, group).is_none())
    }

    /// Returns whether the folder has a machine that was made for a group of this name and is no instance's.
    fn has_orphans(&self, state: &State) -> bool {
        let mut machines = state.vcenter.machines().filter(|(_, vm)| vm.folder.is_some() && vm.owner != 0);
        machines.any(|(id, vm)| {
            let mut instances = state.kubernetes.objects.instances.iter().flatten();
            let owner = instances.find(|instance| instance.number == vm.owner);
            let is_its =
                |owner: &Instance| vm.uuid == owner.number || self.tables.status(owner.status).vm == Some(id);
            !owner.is_some_and(is_its)
        })
    }

    fn is_ready(&self, state: &State, instance: Instance) -> bool {
        let status = self.tables.status(instance.status);
        let machines: Vec<_> = state.machines_of(instance.number).collect();
        let is_in_doubt = self.remembered(state.processes[0].memory).is_in_doubt(instance.number);
        !is_in_doubt
            && matches!(machines.as_slice(), [(id, vm)] if vm.on && status.vm == Some(*id))
            && !instance.deleting
            && status.ready.0 == "True"
    }

    /// Returns whether a machine is in an instance's way for good, and its status says so.
    fn is_blocked(&self, state: &State, instance: Instance) -> bool {
        let status = self.tables.status(instance.status);
        let memory = self.remembered(state.processes[0].memory);
        let mut machines = state.vcenter.machines();
        let is_explained = machines.any(|(_, vm)| {
            let moved = vm.uuid == instance.number && vm.folder.is_none();
            let namesake = vm.slot == instance.slot && vm.folder.is_some() && vm.uuid != instance.number;
            let in_doubt = memory.is_in_doubt(instance.number);
            (moved && status.ready.1 == reason::MACHINE_MOVED)
                || (namesake && !in_doubt && status.ready.1 == reason::NAME_CONFLICT)
        });
        is_explained && status.ready.0 == "False"
    }
}
