//! What a trace shows of a state.

use std::fmt::Write as _;

use super::Operator;
use super::kubernetes::{Group, Instance};
use super::world::State;

impl Operator {
    pub fn describe_state(&self, state: &State) -> String {
        let mut text = String::new();
        let kubernetes = state.kubernetes.objects;
        if let Some(group) = kubernetes.group {
            let status = self.tables.status(group.status);
            let (ready, reason) = &status.ready;
            let Group { number, replicas, deleting, finalizer, .. } = group;
            let _ = writeln!(
                text,
                "VmGroup {number}: replicas {replicas}, deleting {deleting}, finalizer {finalizer}, Ready {ready:?} {reason:?}, ready {}",
                status.ready_replicas
            );
        }
        for instance in kubernetes.instances.iter().flatten() {
            let _ = writeln!(text, "{}", self.describe_instance(*instance));
        }
        let vcenter = &state.vcenter;
        let _ = writeln!(text, "vCenter folder: {:?}", vcenter.folder);
        for (id, vm) in vcenter.machines() {
            let _ = writeln!(text, "vCenter vm-{id}: {vm:?}");
        }
        for task in &vcenter.tasks {
            let _ = writeln!(text, "vCenter task-{}: {:?} {:?}", task.id, task.call, task.state);
        }
        for (at, process) in state.processes.iter().enumerate() {
            let remembered = self.remembered(process.memory);
            let shown = self.shown(process.shown);
            let _ = writeln!(
                text,
                "process {at} sync {:?}, poll {:?}, answers {:?}",
                process.sync, process.poll, process.answers
            );
            let _ = writeln!(text, "process {at} shows {:?} {:?} {:?}", shown.folder, shown.vms, shown.tasks);
            let _ = writeln!(text, "process {at} look-ups {:?} {:?}", remembered.looking_up, shown.answers);
            for instance in process.cache.instances.iter().flatten() {
                let _ = writeln!(text, "process {at} cache {}", self.describe_instance(*instance));
            }
            for line in remembered.text().lines() {
                let _ = writeln!(text, "process {at} remembers {line}");
            }
        }
        let _ = writeln!(text, "late {:?}", state.late);
        text
    }

    fn describe_instance(&self, instance: Instance) -> String {
        let status = self.tables.status(instance.status);
        let (ready, reason) = &status.ready;
        let Instance { number, slot, deleting, .. } = instance;
        let (vm, task) = (status.vm, status.task);
        format!(
            "VmInstance {number}: slot {slot}, deleting {deleting}, Ready {ready:?} {reason:?}, vm {vm:?}, task {task:?}"
        )
    }
}
