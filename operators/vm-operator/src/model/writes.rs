//! What passes write to the API server: the writes of the driver, and those of `vmgroup::apply`.

use super::Operator;
use super::check::{check_end, check_group_end, check_record};
use super::events::Event;
use super::kubernetes::{Deleted, Group, Instance, group_of};
use super::process::{End, GroupPass};
use super::world::{Process, State, Wrong};

/// What becomes of a write to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    Done,
    Lost,
    ResponseLost,
}

impl Operator {
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
        for update in &pass.updates {
            let process = state.process(at);
            process.shown = self.update(process.shown, *update);
        }
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

    /// Puts what is known of a slot into the cache, and forgets the instance that it replaces.
    pub fn put_instance(&self, process: &mut Process, slot: usize, now: Option<Instance>) {
        let before = process.cache.instances[slot];
        if let Some(before) = before.filter(|before| now.is_none_or(|now| now.number != before.number)) {
            process.memory = self.event(process.memory, Event::Forgot(before.number));
        }
        process.cache.instances[slot] = now;
    }

    /// Puts what is known of the group into the cache, and forgets the group that it replaces.
    pub fn put_group(&self, process: &mut Process, group: Option<Group>) {
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
}
