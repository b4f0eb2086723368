//! What this process remembers beside the caches: what is in flight, what is to be requested, and which instance clones next.
//! Knows neither server. Changed by the steps `apply` and by answers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use operator_kit::{Key, Triggers};

use crate::api::{VmGroup, VmInstance};
use crate::clone_queue::{CloneQueue, Place};
use crate::in_flight::InFlight;
use crate::requests::Requests;

/// The memory of one process.
pub struct Memory {
    /// Id of the cluster.
    pub cluster: String,
    /// What was requested from the vCenter.
    pub in_flight: InFlight,
    /// What is to be requested.
    pub requests: Requests,
    /// Which instance clones next: by the group's UID.
    pub clone_queue: Mutex<CloneQueue<String, Key>>,
    /// Wakes instances.
    pub instance_triggers: Triggers<VmInstance>,
    /// Wakes groups.
    pub group_triggers: Triggers<VmGroup>,
}

impl Memory {
    /// Creates the memory of a process that has just started, in the cluster of this id.
    #[must_use]
    pub fn new(cluster: String, max_clones: usize) -> Self {
        Self {
            cluster,
            in_flight: InFlight::default(),
            requests: Requests::default(),
            clone_queue: Mutex::new(CloneQueue::new(max_clones)),
            instance_triggers: Triggers::default(),
            group_triggers: Triggers::default(),
        }
    }

    /// Returns an instance's place in the clone queue.
    #[must_use]
    pub fn place(&self, instance: &Key) -> Place {
        self.queue().place(instance)
    }

    /// Puts an instance into the clone queue, and wakes it to clone or to report that it waits.
    pub fn enqueue(&self, instance: &Key, group_uid: &str) {
        self.queue().enter(&group_uid.to_owned(), instance);
        self.instance_triggers.wake(instance);
    }

    /// Takes a place for an instance whose clone is in flight already.
    pub fn hold_place(&self, instance: &Key, group_uid: &str) {
        self.queue().hold(&group_uid.to_owned(), instance);
    }

    /// Takes an instance out of the clone queue, and wakes those that may clone now.
    pub fn leave_queue(&self, instance: &Key) {
        let next = self.queue().leave(instance);
        self.instance_triggers.wake_all(&next);
    }

    /// Forgets an instance that is gone.
    pub fn forget(&self, uid: &str) {
        self.requests.forget(uid);
        if let Some(key) = self.in_flight.forget(uid) {
            self.leave_queue(&key);
        }
    }

    /// Forgets a group that is gone.
    pub fn forget_group(&self, uid: &str) {
        self.in_flight.forget_group(uid);
        self.requests.forget(uid);
    }

    fn queue(&self) -> MutexGuard<'_, CloneQueue<String, Key>> {
        self.clone_queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a copy, for the model.
    #[cfg(test)]
    pub fn copy(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            in_flight: self.in_flight.copy(),
            requests: self.requests.copy(),
            clone_queue: Mutex::new(self.queue().clone()),
            instance_triggers: self.instance_triggers.clone(),
            group_triggers: self.group_triggers.clone(),
        }
    }

    /// Returns all that a pass can observe, for the model. `state` says how far the refresh of a ticket is.
    #[cfg(test)]
    pub fn text(&self, state: impl Fn(infra_clients::vsphere::vms::Ticket) -> u64) -> String {
        format!("{}\n{}\n{}", self.in_flight.text(state), self.queue().text(), self.requests.text())
    }
}
