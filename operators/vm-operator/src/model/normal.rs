//! The normal form of a state: what no later step can observe is dropped, so that states which differ only in it are one.

use super::Operator;
use super::kubernetes::Objects;
use super::process::For;
use super::shown::{Answer, Shown, Update};
use super::vcenter::{Call, TaskState, Used, Vm};
use super::world::State;

/// The numbers that something refers to, one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    pub instances: u16,
    pub folders: u16,
    pub vms: u16,
    pub tasks: u16,
}

impl Mentions {
    /// Finds the references in a text of the operator.
    pub fn of_text(text: &str) -> Self {
        let mut found = Self::default();
        for (prefix, set) in [
            ("uid-", &mut found.instances),
            ("Folder:group-", &mut found.folders),
            ("VirtualMachine:vm-", &mut found.vms),
            ("task-", &mut found.tasks),
        ] {
            for rest in text.split(prefix).skip(1) {
                let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
                set_bit(set, rest[..digits].parse().ok());
            }
        }
        found
    }

    fn add(&mut self, other: Self) {
        self.instances |= other.instances;
        self.folders |= other.folders;
        self.vms |= other.vms;
        self.tasks |= other.tasks;
    }

    fn add_vm(&mut self, vm: Vm) {
        self.instances |= (1 << vm.owner) | (1 << vm.uuid);
        set_bit(&mut self.folders, vm.folder);
    }

    fn add_call(&mut self, call: Call) {
        set_bit(&mut self.vms, call.vm());
        match call {
            Call::Clone { number, folder, .. } => {
                set_bit(&mut self.instances, Some(number));
                set_bit(&mut self.folders, Some(folder));
            }
            Call::Mark { number, .. } => set_bit(&mut self.instances, Some(number)),
            Call::RemoveFolder(folder) => set_bit(&mut self.folders, Some(folder)),
            _ => {}
        }
    }

    /// Adds what an inventory shows.
    pub fn add_shown(&mut self, shown: &Shown) {
        set_bit(&mut self.folders, shown.folder.map(|(folder, _)| folder));
        for (id, (vm, answer)) in (0u8..).zip(shown.vms.iter().zip(&shown.answers)) {
            if vm.is_some() || *answer != Answer::None {
                set_bit(&mut self.vms, Some(id));
            }
            if let Some(vm) = vm {
                self.add_vm(*vm);
            }
            if let Answer::Elsewhere(vm) = answer {
                self.add_vm(*vm);
            }
        }
        for task in &shown.tasks {
            set_bit(&mut self.tasks, Some(task.id));
            if let Some((call, _)) = task.reported {
                self.add_call(call);
            }
        }
    }
}

fn set_bit(set: &mut u16, number: Option<u8>) {
    if let Some(number) = number.filter(|number| *number < 16) {
        *set |= 1 << number;
    }
}

impl Operator {
    fn add_objects(&self, found: &mut Mentions, objects: &Objects) {
        if let Some(group) = objects.group {
            set_bit(&mut found.folders, self.tables.status(group.status).folder);
        }
        for instance in objects.instances.iter().flatten() {
            set_bit(&mut found.instances, Some(instance.number));
            let status = self.tables.status(instance.status);
            set_bit(&mut found.vms, status.vm);
            set_bit(&mut found.tasks, status.task);
        }
    }

    /// Brings a state into its normal form.
    pub fn normalize(&self, state: &mut State) {
        let mut found = Mentions::default();
        self.add_objects(&mut found, &state.kubernetes.objects);
        if let Some(old) = &state.old {
            self.add_objects(&mut found, old);
        }
        for call in &state.late {
            found.add_call(*call);
        }
        for process in &state.processes {
            self.add_objects(&mut found, &process.cache);
            found.add(self.mentions_of_memory(process.memory));
            for (subject, call, result) in &process.answers {
                found.add_call(*call);
                set_bit(&mut found.tasks, result.ok().flatten());
                if let For::Instance { number, .. } = subject {
                    set_bit(&mut found.instances, Some(*number));
                }
            }
        }
        self.drop_tasks(state, found.tasks);
        for process in &state.processes {
            found.add(self.mentions_of_shown(process.shown));
        }
        set_bit(&mut found.folders, state.vcenter.folder);
        for (id, vm) in state.vcenter.machines() {
            set_bit(&mut found.vms, Some(id));
            found.add_vm(vm);
        }
        for task in &state.vcenter.tasks {
            set_bit(&mut found.tasks, Some(task.id));
            found.add_call(task.call);
        }
        state.kubernetes.used = found.instances | 1;
        state.vcenter.used = Used { folders: found.folders, vms: found.vms, tasks: found.tasks };
    }

    /// Drops tasks that have ended, of which no status, memory or response tells any more and no inventory shows anything but
    /// the end.
    fn drop_tasks(&self, state: &mut State, used: u16) {
        let is_over = |state: TaskState| state != TaskState::Running;
        let shown: Vec<_> = state.processes.iter().map(|process| self.shown(process.shown)).collect();
        let shows_end = |id: u8| {
            let mut all = shown.iter().flat_map(|shown| &shown.tasks).filter(|task| task.id == id);
            all.all(|task| task.reported.is_some_and(|(_, state)| is_over(state)))
        };
        let is_done = |id: u8| used & (1 << id) == 0 && shows_end(id);
        state.vcenter.tasks.retain(|task| !is_over(task.state) || !is_done(task.id));
        for (process, shown) in state.processes.iter_mut().zip(&shown) {
            for task in &shown.tasks {
                let is_known = state.vcenter.tasks.iter().any(|known| known.id == task.id);
                if !is_known && is_done(task.id) {
                    process.shown = self.update(process.shown, Update::Purge(task.id));
                }
            }
        }
    }
}
