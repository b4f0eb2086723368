//! What the processes and the two servers do.

use model::Step;

use super::Operator;
use super::check::{check_call, check_end, check_group_end, check_machines, check_record, check_request};
use super::events::Event;
use super::kubernetes::{Deleted, Group, Objects, SLOTS, group_of};
use super::process::{End, GroupPass};
use super::shown::{Answer, Update};
use super::vcenter::{Call, Fault, TaskState};
use super::world::{Label, Object, Process, State, Sync, Wrong};

/// What becomes of a write to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Done,
    Lost,
    ResponseLost,
}

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

    fn mark(&mut self, wrong: Option<Wrong>) {
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

    /// Puts what is known of a slot into the cache, and forgets the instance that it replaces.
    fn put_instance(&self, process: &mut Process, slot: usize, now: Option<super::kubernetes::Instance>) {
        let before = process.cache.instances[slot];
        if let Some(before) = before.filter(|before| now.is_none_or(|now| now.number != before.number)) {
            process.memory = self.event(process.memory, Event::Forgot(before.number));
        }
        process.cache.instances[slot] = now;
    }

    fn inventory_steps(&self, steps: &mut Steps<'_>, at: u8, process: &Process) {
        match process.sync {
            Sync::Needed if self.config.is_coarse => {
                steps.add(Label::ReadMachines(at), |next| {
                    self.read(next, at, true, Sync::TasksLeft);
                    self.read(next, at, false, Sync::Done);
                });
                return;
            }
            Sync::Needed => {
                steps.add(Label::ReadMachines(at), |next| self.read(next, at, true, Sync::TasksLeft));
                steps.add(Label::ReadTasks(at), |next| self.read(next, at, false, Sync::MachinesLeft));
                return;
            }
            Sync::TasksLeft => {
                steps.add(Label::ReadTasks(at), |next| self.read(next, at, false, Sync::Done));
                return;
            }
            Sync::MachinesLeft => {
                steps.add(Label::ReadMachines(at), |next| self.read(next, at, true, Sync::Done));
                return;
            }
            Sync::Done => {}
        }
        let unreported: Vec<_> = self.unreported(steps.state, process).collect();
        let folder = unreported.iter().find(|(object, _)| *object == Object::Folder).copied();
        let folder = folder.filter(|_| !self.config.reports_folder);
        if self.config.is_coarse && !unreported.is_empty() {
            steps.add(Label::ReportAll(at), |next| {
                let process = next.process(at);
                for (_, update) in &unreported {
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

    // === passes ===

    /// Runs a pass of an instance and its write.
    pub fn reconcile(&self, state: &mut State, at: u8, slot: u8, write: Write) {
        let place = usize::from(slot);
        let Some(instance) = state.process(at).cache.instances[place] else { return };
        let Some(pass) = self.pass(state.process(at), slot) else { return };
        let now = state.kubernetes.objects.instances[place];
        let is_current =
            now.is_some_and(|now| (now.number, now.deleting) == (instance.number, instance.deleting));
        let refused = pass.refused.filter(|_| !is_current);
        let process = state.process(at);
        (process.memory, process.shown) = (refused.unwrap_or(pass.memory), pass.shown);
        if refused.is_some() {
            self.put_instance(process, place, now);
            return;
        }
        state.mark(pass.overclaims.then_some(Wrong::Overclaims));
        match pass.end {
            End::Nothing => {}
            _ if write == Write::Lost => {}
            End::Status(status) => {
                let written = state.kubernetes.apply_status(instance, status);
                if written.is_some() {
                    state.mark(check_record(state, instance.number, self.tables.status(status).vm));
                }
                let is_absent = state.kubernetes.objects.instances[place].is_none();
                if write == Write::Done && (written.is_some() || is_absent) {
                    self.put_instance(state.process(at), place, written);
                }
            }
            End::RemoveFinalizer => {
                let now = state.kubernetes.objects.instances[place];
                if now.is_some_and(|now| now.number == instance.number && now.deleting) {
                    state.mark(check_end(state, instance).filter(|_| !self.config.is_very_late));
                }
                let is_done = state.kubernetes.remove_finalizer(slot, instance.number);
                if write == Write::Done && (is_done || now.is_none()) {
                    self.put_instance(state.process(at), place, None);
                }
            }
        }
    }

    /// Runs a pass of the group and its writes.
    pub fn reconcile_group(&self, state: &mut State, at: u8, write: Write) {
        let Some(result) = self.group_pass(state.process(at)) else { return };
        let now = state.kubernetes.objects.group;
        let version = |group: Group| (group.number, group.generation, group.deleting);
        let Some(read) = state.process(at).cache.group else { return };
        let is_current = now.map(version) == Some(version(read));
        let refused = result.refused.filter(|_| !is_current);
        state.process(at).memory = refused.unwrap_or(result.memory);
        if refused.is_some() {
            // The change wakes the group.
            self.put_group(state.process(at), now);
            return;
        }
        let pass = &result.pass;
        state.mark(pass.overclaims.then_some(Wrong::Overclaims));
        if let Some(finalizer) = pass.finalizer {
            if write == Write::Lost {
                return;
            }
            if !finalizer {
                // A list of the API server has an instance that the cache does not show.
                let now = state.kubernetes.objects.instances.iter().flatten().copied();
                let left: Vec<_> = now.filter(|now| group_of(now.number) == read.number).collect();
                for instance in &left {
                    self.put_instance(state.process(at), usize::from(instance.slot), Some(*instance));
                }
                if !left.is_empty() {
                    return;
                }
                state.mark(check_group_end(state, read.number).filter(|_| !self.config.is_very_late));
            }
            let group = state.kubernetes.set_group_finalizer(read.number, finalizer);
            // What has become another group is not as it was read, and the watch is about to tell.
            if write == Write::Done && (group.is_some() || state.kubernetes.objects.group.is_none()) {
                self.put_group(state.process(at), group);
            }
            return;
        }
        let is_written = self.write_instances(state, at, read.number, pass, write);
        let Some(status) = pass.status.filter(|_| is_written) else { return };
        let written = state.kubernetes.apply_group_status(read, status);
        if written.is_some() || state.kubernetes.objects.group.is_none() {
            self.put_group(state.process(at), written);
        }
    }

    /// Puts what is known of the group into the cache, and forgets the group that it replaces.
    fn put_group(&self, process: &mut Process, group: Option<Group>) {
        let before = process.cache.group.map(|group| group.number);
        if let Some(before) = before.filter(|before| group.map(|group| group.number) != Some(*before)) {
            process.memory = self.event(process.memory, Event::ForgotGroup(before));
        }
        process.cache.group = group;
    }

    /// Creates and deletes VmInstances as `vmgroup::apply` does. Returns whether every write was answered with success.
    fn write_instances(
        &self,
        state: &mut State,
        at: u8,
        group: u8,
        GroupPass { create, delete, .. }: &GroupPass,
        write: Write,
    ) -> bool {
        let mut is_well = write == Write::Done || (create.is_empty() && delete.is_empty());
        for slot in create {
            let remember = |state: &mut State, event| {
                let process = state.process(at);
                process.memory = self.event(process.memory, event);
            };
            remember(state, Event::Creating(*slot, state.kubernetes.next_number(group)));
            let created = if write == Write::Lost { None } else { state.kubernetes.create(group, *slot) };
            if created.is_some() && write == Write::Done {
                self.put_instance(state.process(at), usize::from(*slot), created);
            } else {
                remember(state, Event::NotCreated(*slot));
                is_well = false;
            }
        }
        if !is_well || write == Write::Lost {
            return is_well;
        }
        for (slot, number) in delete {
            let deleted = state.kubernetes.delete(*slot, *number);
            let now = match deleted {
                Deleted::Going(instance) => Some(instance),
                Deleted::Gone => None,
            };
            if write == Write::Done {
                self.put_instance(state.process(at), usize::from(*slot), now);
            }
        }
        is_well
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
