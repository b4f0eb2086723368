//! What may happen and need not: faults, and what users and administrators do.

use super::Operator;
use super::kubernetes::SLOTS;
use super::steps::{Sent, Steps};
use super::vcenter::{Call, NO_SLOT, TaskState, Vm};
use super::world::{Admin, Budget, Label, Process, State, Sync};
use super::writes::Write;

/// One kind of fault in a budget.
type Kind = fn(&mut Budget) -> &mut u8;

impl State {
    /// Takes one fault from the budget. Returns whether there was one.
    fn take(&mut self, kind: Kind) -> bool {
        let budget = &mut self.budget;
        if *kind(budget) == 0 || budget.faults == 0 {
            return false;
        }
        *kind(budget) -= 1;
        budget.faults -= 1;
        if budget.old_lists == 0 || budget.faults == 0 {
            self.old = None;
        }
        true
    }

    /// Takes one act of a person from the budget.
    fn take_act(&mut self, kind: Kind) -> bool {
        let left = kind(&mut self.budget);
        if *left == 0 {
            return false;
        }
        *left -= 1;
        true
    }
}

impl Operator {
    pub fn add_faults(&self, steps: &mut Steps<'_>) {
        self.add_acts(steps);
        if steps.state.budget.faults > 0 {
            self.add_process_faults(steps);
            add_vcenter_faults(steps);
        }
    }

    /// Adds a step if the budget has a fault of its kind.
    fn fault(steps: &mut Steps<'_>, kind: Kind, label: Label, change: impl FnOnce(&mut State)) {
        let mut after = steps.state.clone();
        if after.take(kind) {
            let (budget, old) = (after.budget, after.old);
            steps.add_fault(label, |next| {
                change(next);
                next.budget = budget;
                if old.is_none() && label != Label::KeepOldList {
                    next.old = None;
                }
            });
        }
    }

    fn add_process_faults(&self, steps: &mut Steps<'_>) {
        let state = steps.state;
        for (at, process) in (0u8..).zip(&state.processes) {
            Self::fault(
                steps,
                |b| &mut b.crashes,
                Label::Crash(at),
                |next| {
                    *next.process(at) = Process::new(next.kubernetes.objects);
                },
            );
            if let Some(old) = state.old {
                Self::fault(
                    steps,
                    |b| &mut b.old_lists,
                    Label::CrashToOldList(at),
                    |next| {
                        *next.process(at) = Process::new(old);
                        next.old = None;
                    },
                );
            }
            if process.sync == Sync::Done {
                Self::fault(
                    steps,
                    |b| &mut b.disconnects,
                    Label::Disconnect(at),
                    |next| {
                        let process = next.process(at);
                        process.shown = self.update(process.shown, super::shown::Update::Current(false));
                        (process.sync, process.poll) = (Sync::Needed, None);
                    },
                );
            }
            let sends = self.next_request(process).is_some_and(|(_, request)| request.is_some());
            for (label, sent) in [
                (Label::LoseRequest(at), Sent::Lost),
                (Label::LoseResponse(at), Sent::ResponseLost),
                (Label::DelayRequest(at), Sent::Late),
            ] {
                if sends {
                    Self::fault(steps, |b| &mut b.requests, label, |next| self.send(next, at, sent));
                }
            }
            self.add_write_faults(steps, at);
        }
        if let [process] = state.processes.as_slice() {
            let _ = process;
            Self::fault(
                steps,
                |b| &mut b.second,
                Label::SecondProcess,
                |next| {
                    next.processes.push(Process::new(next.kubernetes.objects));
                },
            );
        }
        if state.old.is_none() && state.budget.old_lists > 0 {
            // Not yet a fault: a process must start from it.
            steps.add_fault(Label::KeepOldList, |next| next.old = Some(next.kubernetes.objects));
        }
    }

    fn add_write_faults(&self, steps: &mut Steps<'_>, at: u8) {
        let process = &steps.state.processes[usize::from(at)];
        for slot in (0u8..).take(SLOTS) {
            if self.pass(process, slot).is_some_and(|pass| pass.end != super::End::Nothing) {
                for (label, write) in [
                    (Label::LoseWrite(at, slot), Write::Lost),
                    (Label::LoseWriteResponse(at, slot), Write::ResponseLost),
                ] {
                    Self::fault(
                        steps,
                        |b| &mut b.writes,
                        label,
                        |next| self.reconcile(next, at, slot, write),
                    );
                }
            }
        }
        let writes = self.group_pass(process).is_some_and(|result| !result.pass.create.is_empty());
        if writes {
            let label = Label::LoseGroupWrite(at);
            Self::fault(
                steps,
                |b| &mut b.writes,
                label,
                |next| {
                    self.reconcile_group(next, at, Write::ResponseLost);
                },
            );
        }
    }

    // === users and administrators ===

    fn add_acts(&self, steps: &mut Steps<'_>) {
        let state = steps.state;
        let mut act = |kind: Kind, label: Label, change: &dyn Fn(&mut State)| {
            if state.clone().take_act(kind) {
                steps.add_fault(label, |next| {
                    next.take_act(kind);
                    change(next);
                });
            }
        };
        for instance in state.kubernetes.objects.instances.iter().flatten().filter(|i| !i.deleting) {
            act(|b| &mut b.deletes, Label::DeleteInstance(instance.slot), &|next| {
                next.kubernetes.delete(instance.slot, instance.number);
            });
        }
        let group = state.kubernetes.objects.group.filter(|group| !group.deleting);
        if let Some(group) = group {
            act(|b| &mut b.group_deletes, Label::DeleteGroup, &|next| next.kubernetes.delete_group());
            for replicas in (0u8..=2).filter(|n| *n != group.replicas) {
                if replicas <= self.config.replicas.max(1) {
                    act(|b| &mut b.scales, Label::Scale(replicas), &|next| next.kubernetes.scale(replicas));
                }
            }
        }
        if state.kubernetes.objects.group.is_none() {
            let replicas = self.config.replicas;
            act(|b| &mut b.recreates, Label::RecreateGroup, &|next| {
                next.kubernetes.create_group(1, replicas);
            });
        }
        for (id, vm) in state.vcenter.machines() {
            let is_own = vm.uuid != 0 && vm.folder.is_some();
            // While another clone of the instance runs, only the name of the first machine stops it.
            let is_cloned = |call: Call| matches!(call, Call::Clone { number, .. } if number == vm.uuid);
            let is_used = self.is_confirmed(state, id) || state.running().any(|task| is_cloned(task.call));
            for admin in [Admin::Copy, Admin::Remove, Admin::Move, Admin::Off] {
                let is_possible = match admin {
                    Admin::Copy | Admin::Remove => true,
                    // A vCenter has no call that depends on where a machine is: one that is moved between the
                    // confirmation and the call is lost. And only the result of its clone, which tasks of the model do not have, leads
                    // to one that is moved before the operator has recorded it.
                    Admin::Move => !is_used && self.is_recorded(state, id),
                    Admin::Off => vm.on,
                };
                if is_own && is_possible {
                    act(|b| &mut b.admin, Label::Admin(admin, id), &|next| change_vm(next, admin, id, vm));
                }
            }
        }
        if let Some(folder) = state.vcenter.folder {
            for slot in (0u8..).take(usize::from(self.config.replicas)) {
                let is_free =
                    state.vcenter.machines().all(|(_, vm)| vm.folder != Some(folder) || vm.slot != slot);
                if is_free {
                    let vm = Vm { owner: 0, owner_slot: 0, uuid: 0, slot, on: false, folder: Some(folder) };
                    act(|b| &mut b.admin, Label::AddNamesake(slot), &|next| {
                        next.vcenter.add(vm);
                    });
                }
            }
        }
    }

    /// Returns whether a status records a machine, in whatever version a process has read or may read.
    fn is_recorded(&self, state: &State, id: u8) -> bool {
        let caches = state.processes.iter().map(|process| &process.cache);
        let mut all = caches.chain(&state.old).chain([&state.kubernetes.objects]);
        all.all(|objects| {
            let mut instances = objects.instances.iter().flatten();
            instances.any(|instance| self.tables.status(instance.status).vm == Some(id))
        })
    }

    /// Returns whether a process relies on what it has read of a machine, or a call on it is on its way.
    fn is_confirmed(&self, state: &State, id: u8) -> bool {
        let has_answer = |process: &Process| {
            let shown = self.shown(process.shown);
            shown.answers[usize::from(id)] != super::shown::Answer::None
        };
        state.processes.iter().any(has_answer)
            || state.late.iter().any(|call| call.vm() == Some(id))
            || state.running().any(|task| task.call.vm() == Some(id))
    }
}

fn change_vm(state: &mut State, admin: Admin, id: u8, vm: Vm) {
    let place = &mut state.vcenter.vms[usize::from(id)];
    match admin {
        Admin::Copy => {
            state.vcenter.add(Vm { uuid: 0, slot: NO_SLOT, on: false, ..vm });
        }
        Admin::Remove => *place = None,
        Admin::Move => *place = Some(Vm { folder: None, ..vm }),
        Admin::Off => *place = Some(Vm { on: false, ..vm }),
    }
}

fn add_vcenter_faults(steps: &mut Steps<'_>) {
    for task in steps.state.vcenter.tasks.clone() {
        let at = move |state: &State| state.vcenter.tasks.iter().position(|other| other.id == task.id);
        if task.state == TaskState::Running {
            Operator::fault(
                steps,
                |b| &mut b.tasks,
                Label::FailTask(task.id),
                |next| {
                    let at = at(next).unwrap();
                    next.vcenter.tasks[at].state = TaskState::Error(super::vcenter::Fault::NoResources);
                },
            );
        } else {
            Operator::fault(
                steps,
                |b| &mut b.forgotten,
                Label::ForgetTask(task.id),
                |next| {
                    let at = at(next).unwrap();
                    next.vcenter.tasks.remove(at);
                },
            );
        }
    }
}
