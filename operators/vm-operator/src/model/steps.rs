//! What the processes and the two servers do.

use model::Step;

use crate::api::VmGroupStatus;

use super::Operator;
use super::check::{check_call, check_machines, check_request};
use super::events::Event;
use super::kubernetes::{Objects, SLOTS, group_of};
use super::shown::{Answer, Update};
use super::vcenter::{Call, Fault, TaskState};
use super::world::{Label, Object, Process, State, Sync, Wrong};
use super::writes::Write;

/// What becomes of a request to the vCenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    Arrives,
    Lost,
    ResponseLost,
    Late,
}

impl State {
    pub fn process(&mut self, at: u8) -> &mut Process {
        &mut self.processes[usize::from(at)]
    }

    pub fn mark(&mut self, wrong: Option<Wrong>) {
        self.wrong = self.wrong.or(wrong);
    }
}

/// Collects the steps of a state.
pub struct Steps<'a> {
    pub operator: &'a Operator,
    pub state: &'a State,
    pub found: Vec<Step<State, Label>>,
}

impl Steps<'_> {
    /// Adds a step of the system, unless it changes nothing.
    fn add(&mut self, label: Label, change: impl FnOnce(&mut State)) {
        let mut next = self.state.clone();
        change(&mut next);
        self.operator.normalize(&mut next);
        if next != *self.state {
            self.found.push(Step { is_fault: false, label, next });
        }
    }

    /// Adds a step that may happen and need not.
    pub fn add_fault(&mut self, label: Label, change: impl FnOnce(&mut State)) {
        let mut next = self.state.clone();
        change(&mut next);
        self.operator.normalize(&mut next);
        self.found.push(Step { is_fault: true, label, next });
    }
}

impl Operator {
    pub fn all_steps(&self, state: &State) -> Vec<Step<State, Label>> {
        let mut steps = Steps { operator: self, state, found: Vec::new() };
        for (at, process) in (0u8..).zip(&state.processes) {
            self.watch_steps(&mut steps, at, process);
            self.inventory_steps(&mut steps, at, process);
            if process.cache.group.is_some() {
                steps.add(Label::ReconcileGroup(at), |next| self.reconcile_group(next, at, Write::Done));
            }
            for slot in (0u8..).take(SLOTS) {
                if process.cache.instances[usize::from(slot)].is_some() {
                    let label = Label::Reconcile(at, slot);
                    steps.add(label, |next| self.reconcile(next, at, slot, Write::Done));
                }
            }
            if self.next_request(process).is_some() {
                steps.add(Label::Send(at), |next| self.send(next, at, Sent::Arrives));
            }
            for number in 0..process.answers.len() {
                let label = Label::Response(at, process.answers[number].0);
                steps.add(label, |next| self.respond(next, at, number));
            }
        }
        for task in state.running() {
            steps.add(Label::End(task.id), |next| {
                let wrong = check_call(next, task.call);
                next.mark(wrong);
                next.vcenter.end(task.id);
                next.mark(check_machines(next));
            });
        }
        for call in &state.late {
            steps.add(Label::Late(*call), |next| {
                next.late.retain(|late| late != call);
                next.mark(check_call(next, *call));
                let _ = next.vcenter.call(*call);
            });
        }
        let group = state.kubernetes.objects.group.map(|group| group.number);
        let mut instances = state.kubernetes.objects.instances.iter().flatten();
        if instances.any(|instance| !instance.deleting && Some(group_of(instance.number)) != group) {
            steps.add(Label::Collect, |next| next.kubernetes.collect());
        }
        if state.processes.len() > 1 {
            steps.add(Label::Stop, |next| {
                next.processes.remove(0);
            });
        }
        self.add_faults(&mut steps);
        steps.found
    }

    /// Returns the state in which the group has its folder, and the process has read the vCenter.
    pub fn begin(&self, mut state: State) -> State {
        state.kubernetes.set_group_finalizer(0, true);
        let _ = state.vcenter.call(Call::CreateFolder);
        let folder = state.vcenter.folder.map(|folder| super::shown::folder_ref(folder).value().to_owned());
        let status = self.tables.group_status(&VmGroupStatus { folder, ..VmGroupStatus::default() });
        if let Some(group) = state.kubernetes.objects.group {
            state.kubernetes.apply_group_status(group, status);
        }
        state.process(0).cache = state.kubernetes.objects;
        self.read(&mut state, 0, true, Sync::TasksLeft);
        self.read(&mut state, 0, false, Sync::Done);
        state
    }

    // === the watches and the inventory ===

    fn watch_steps(&self, steps: &mut Steps<'_>, at: u8, process: &Process) {
        let now = steps.state.kubernetes.objects;
        if self.config.is_coarse {
            steps.add(Label::WatchGroup(at), |next| {
                self.put_group(next.process(at), now.group);
                self.put_instances(next.process(at), &now);
            });
            return;
        }
        if process.cache.group != now.group {
            steps.add(Label::WatchGroup(at), |next| self.put_group(next.process(at), now.group));
        }
        if process.cache.instances != now.instances {
            steps.add(Label::WatchInstances(at), |next| self.put_instances(next.process(at), &now));
        }
    }

    fn put_instances(&self, process: &mut Process, now: &Objects) {
        for slot in 0..SLOTS {
            self.put_instance(process, slot, now.instances[slot]);
        }
    }

    fn inventory_steps(&self, steps: &mut Steps<'_>, at: u8, process: &Process) {
        if process.sync != Sync::Done {
            self.read_steps(steps, at, process.sync);
            return;
        }
        let unreported: Vec<_> = self.unreported(steps.state, process).collect();
        self.report_steps(steps, at, &unreported);
        let remembered = self.remembered(process.memory);
        let left = unreported.iter().fold(0, |left, (object, _)| left | object.bit());
        if process.poll.is_some_and(|asked| asked & left == 0) {
            // A response has shown what the poll was to report.
            steps.add(Label::Poll(at), |next| {
                let process = next.process(at);
                process.poll = Some(0);
                self.end_poll(process);
            });
        }
        // A late request is late by less than a refresh takes: docs/testing.md.
        let is_due = steps.state.late.is_empty() || self.config.is_very_late;
        if remembered.has_open_ticket() && process.poll.is_none() && is_due {
            steps.add(Label::Poll(at), |next| {
                let process = next.process(at);
                process.poll = Some(left);
                self.end_poll(process);
            });
        }
        for vm in &remembered.looking_up {
            let read = steps.state.vcenter.vm(*vm);
            steps.add(Label::LookUp(at, *vm), |next| {
                let process = next.process(at);
                process.shown = self.update(process.shown, Update::LookUp(*vm, read));
                process.memory = self.event(process.memory, Event::LookedUp(*vm));
            });
        }
        self.answer_steps(steps, at, process);
    }

    /// Adds the parts of a complete report.
    fn read_steps(&self, steps: &mut Steps<'_>, at: u8, sync: Sync) {
        match sync {
            Sync::Needed if self.config.is_coarse => {
                steps.add(Label::ReadMachines(at), |next| {
                    self.read(next, at, true, Sync::TasksLeft);
                    self.read(next, at, false, Sync::Done);
                });
            }
            Sync::Needed => {
                steps.add(Label::ReadMachines(at), |next| self.read(next, at, true, Sync::TasksLeft));
                steps.add(Label::ReadTasks(at), |next| self.read(next, at, false, Sync::MachinesLeft));
            }
            Sync::TasksLeft => {
                steps.add(Label::ReadTasks(at), |next| self.read(next, at, false, Sync::Done));
            }
            Sync::MachinesLeft => {
                steps.add(Label::ReadMachines(at), |next| self.read(next, at, true, Sync::Done));
            }
            Sync::Done => {}
        }
    }

    /// Adds the reports of single objects, or of all.
    fn report_steps(&self, steps: &mut Steps<'_>, at: u8, unreported: &[(Object, Update)]) {
        let folder = unreported.iter().find(|(object, _)| *object == Object::Folder).copied();
        let folder = folder.filter(|_| !self.config.reports_folder);
        if self.config.is_coarse && !unreported.is_empty() {
            steps.add(Label::ReportAll(at), |next| {
                let process = next.process(at);
                for (_, update) in unreported {
                    process.shown = self.update(process.shown, *update);
                }
                process.poll = process.poll.map(|_| 0);
                self.end_poll(process);
            });
        }
        for (object, update) in unreported.iter().filter(|_| !self.config.is_coarse) {
            steps.add(Label::Report(at, *object), |next| {
                let process = next.process(at);
                let with = folder.filter(|_| matches!(object, Object::Vm(_)));
                for (object, update) in [(*object, *update)].into_iter().chain(with) {
                    process.shown = self.update(process.shown, update);
                    process.poll = process.poll.map(|left| left & !object.bit());
                }
                self.end_poll(process);
            });
        }
    }

    /// A task that an earlier process submitted is read by its reference. Answers of look-ups expire.
    fn answer_steps(&self, steps: &mut Steps<'_>, at: u8, process: &Process) {
        let shown = self.shown(process.shown);
        let vcenter = &steps.state.vcenter;
        let is_known = |id: u8| vcenter.tasks.iter().any(|task| task.id == id);
        let is_over = |state| matches!(state, TaskState::Success | TaskState::Error(_));
        let unknown = shown.tasks.iter().filter(|task| task.submitted && !is_known(task.id));
        for task in unknown.filter(|task| !task.reported.is_some_and(|(_, state)| is_over(state))) {
            steps.add(Label::ReadTask(at, task.id), |next| {
                let process = next.process(at);
                process.shown = self.update(process.shown, Update::Forget(task.id));
            });
        }
        for (id, answer) in (0u8..).zip(&shown.answers) {
            let now = vcenter.vm(id);
            let is_old = match answer {
                Answer::None | Answer::Same => false,
                Answer::Changed => true,
                Answer::Gone => now.is_some(),
                Answer::Elsewhere(vm) => now != Some(*vm),
            };
            if is_old && shown.vm(id) == now.filter(|vm| vm.folder.is_some()) {
                steps.add(Label::LookUp(at, id), |next| {
                    let process = next.process(at);
                    process.shown = self.update(process.shown, Update::Expire(id));
                });
            }
        }
    }

    fn end_poll(&self, process: &mut Process) {
        if process.poll == Some(0) {
            process.poll = None;
            process.memory = self.event(process.memory, Event::Served);
        }
    }

    /// Reads the machines and the folder, or the tasks, of a complete report.
    fn read(&self, state: &mut State, at: u8, machines: bool, sync: Sync) {
        let process = state.processes[usize::from(at)].clone();
        let updates: Vec<_> = self
            .unreported(state, &process)
            .filter(|(object, _)| machines != matches!(object, Object::Task(_)))
            .collect();
        let process = state.process(at);
        for (_, update) in updates {
            process.shown = self.update(process.shown, update);
        }
        process.sync = sync;
        if sync == Sync::Done {
            process.shown = self.update(process.shown, Update::Current(true));
            // A complete report serves what was requested before it.
            while self.remembered(process.memory).has_open_ticket() {
                process.memory = self.event(process.memory, Event::Served);
            }
        }
    }

    /// Returns what the vCenter has and the inventory of a process does not show.
    pub fn unreported<'a>(
        &'a self,
        state: &'a State,
        process: &Process,
    ) -> impl Iterator<Item = (Object, Update)> + 'a {
        let shown = self.shown(process.shown);
        let vcenter = &state.vcenter;
        let folder = vcenter.folder.map(|number| (number, vcenter.children()));
        let mut updates = Vec::new();
        if shown.folder != folder {
            updates.push((Object::Folder, Update::Folder(folder)));
        }
        for (id, vm) in (0u8..).zip(&shown.vms) {
            let now = vcenter.vm(id).filter(|vm| vm.folder.is_some());
            if *vm != now {
                updates.push((Object::Vm(id), Update::Vm(id, now)));
            }
        }
        for task in &vcenter.tasks {
            let now = Some((task.call, task.state));
            if shown.tasks.iter().find(|shown| shown.id == task.id).and_then(|shown| shown.reported) != now {
                updates.push((Object::Task(task.id), Update::Task(task.id, now)));
            }
        }
        let is_left = |id: u8| vcenter.tasks.iter().all(|task| task.id != id);
        for task in shown.tasks.iter().filter(|task| !task.submitted && is_left(task.id)) {
            updates.push((Object::Task(task.id), Update::Task(task.id, None)));
        }
        updates.into_iter()
    }

    // === requests ===

    /// Takes a request from the queue and sends it.
    pub fn send(&self, state: &mut State, at: u8, sent: Sent) {
        let Some((memory, request)) = self.next_request(state.process(at)) else { return };
        state.process(at).memory = memory;
        let Some((subject, call)) = request else { return };
        state.mark(check_request(state, call));
        let result = match sent {
            Sent::Arrives | Sent::ResponseLost => {
                state.mark(check_call(state, call));
                state.vcenter.call(call)
            }
            Sent::Lost => Err(Fault::Lost),
            Sent::Late => {
                state.late.push(call);
                Err(Fault::Lost)
            }
        };
        let result = if sent == Sent::Arrives { result } else { Err(Fault::Lost) };
        let answers = &mut state.process(at).answers;
        answers.push((subject, call, result));
        answers.sort_unstable();
    }

    /// Brings a response to a process.
    fn respond(&self, state: &mut State, at: u8, number: usize) {
        let process = state.process(at);
        let (subject, call, result) = process.answers.remove(number);
        let update = match (result, call) {
            (Ok(Some(task)), _) => Some(Update::Submit(task)),
            (Err(Fault::NotFound), call) => call.vm().map(Update::Lack),
            _ => None,
        };
        if let Some(update) = update {
            process.shown = self.update(process.shown, update);
        }
        process.memory = self.event(process.memory, Event::Answered(subject, call, result));
        if (result, call) == (Ok(None), Call::CreateFolder) {
            let made = state.vcenter.folder;
            let process = state.process(at);
            if let Some(folder) = made.filter(|_| self.shown(process.shown).folder.is_none()) {
                process.shown = self.update(process.shown, Update::Folder(Some((folder, 0))));
            }
        }
    }
}
