//! What both controllers share: the vCenter, the caches, the ledger, the clone gate and who leads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::channel::mpsc::UnboundedSender;
use infra_clients::vsphere::MoRef;
use infra_clients::vsphere::vms::{Inventory, Link, Vms};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use operator_kit::lease::Leadership;
use operator_kit::{Guarded, Kit};

use crate::api::names::Marker;
use crate::api::{VmGroup, VmInstance, reason};
use crate::error::{Error, advice, vcenter_reason};
use crate::gate::Gate;
use crate::ledger::Ledger;
use crate::vminstance::Subject;

/// What an administrator may tune.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Clones under way at once, over all groups.
    pub max_clones: usize,
    /// How long the vCenter may be out of sight before objects say so.
    pub grace: Duration,
}

/// Shared by the controllers; cheap to read, and nothing in it is held over an await.
pub struct Context {
    /// Client, events, metrics.
    pub kit: Kit,
    /// Whether this process may write.
    pub leadership: Leadership,
    /// The one vCenter.
    pub vcenter: Vms,
    /// All groups.
    pub groups: Store<Guarded<VmGroup>>,
    /// All instances.
    pub instances: Store<Guarded<VmInstance>>,
    /// What was asked of the vCenter.
    pub ledger: Ledger,
    /// Settings.
    pub settings: Settings,
    /// UID of the `kube-system` namespace.
    pub cluster: String,
    /// Wakes an instance.
    pub wake_instance: UnboundedSender<ObjectRef<VmInstance>>,
    /// Whose turn it is to clone: by the group's UID.
    pub gate: Mutex<Gate<String, ObjectRef<VmInstance>>>,
    /// Since when the inventory has not been current. None: it is.
    pub lost_since: Mutex<Option<Instant>>,
}

impl Context {
    /// Why the inventory cannot be trusted, as reason and message; None as long as it can, or the loss is
    /// younger than the grace.
    pub fn blind(&self) -> Option<(&'static str, String)> {
        if self.vcenter.read(Inventory::is_synced) {
            return None;
        }
        let since = *self.lost_since.lock().unwrap_or_else(PoisonError::into_inner);
        // Lost, and the news of it still on their way: as if just lost.
        if since.is_none_or(|since| since.elapsed() < self.settings.grace) {
            return None;
        }
        Some(match &*self.vcenter.link().borrow() {
            Link::Down(error) => (vcenter_reason(error), format!("{error}: {}", advice(error))),
            Link::Connecting | Link::Up => (
                reason::VCENTER_UNREACHABLE,
                "still connecting to the vCenter and reading its inventory".into(),
            ),
        })
    }

    /// The marker of an instance's machine.
    pub fn marker(&self, instance: &VmInstance) -> Result<Marker, Error> {
        Ok(Marker {
            cluster: self.cluster.clone(),
            namespace: instance.namespace().ok_or(Error::Incomplete("namespace"))?,
            group: instance.spec.group.clone(),
            group_uid: instance.spec.group_uid.clone(),
            slot: instance.spec.slot,
        })
    }

    /// All instances that parse.
    pub fn instances(&self) -> impl Iterator<Item = Arc<VmInstance>> {
        self.instances.state().into_iter().filter_map(|i| i.object().ok().cloned())
    }

    /// All groups that parse.
    pub fn groups(&self) -> impl Iterator<Item = Arc<VmGroup>> {
        self.groups.state().into_iter().filter_map(|g| g.object().ok().cloned())
    }

    /// Whether the group of an instance is there, and not one of the same name that came later.
    pub fn has_group(&self, instance: &VmInstance) -> bool {
        let namespace = instance.namespace().unwrap_or_default();
        let group = self.groups.get(&ObjectRef::new(&instance.spec.group).within(&namespace));
        group.is_some_and(|group| group.meta().uid.as_deref() == Some(instance.spec.group_uid.as_str()))
    }

    /// The instances of the group with this UID.
    pub fn instances_of(&self, group: &str) -> Vec<Arc<VmInstance>> {
        self.instances().filter(|i| i.spec.group_uid == group).collect()
    }

    /// Whether some instance's durable status names this task.
    pub fn is_claimed(&self, task: &MoRef) -> bool {
        self.instances()
            .any(|i| i.status.as_ref().and_then(|s| s.task.as_ref()).is_some_and(|t| t.r#ref == task.value()))
    }

    /// Asks the gate for a place.
    pub fn enter_gate(&self, subject: &Subject<'_>) -> bool {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.enter(&subject.marker.group_uid, &ObjectRef::from(subject.instance))
    }

    /// Takes a place although it may be one too many: the clone is under way already.
    pub fn hold_gate(&self, subject: &Subject<'_>) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        gate.hold(&subject.marker.group_uid, &ObjectRef::from(subject.instance));
    }

    /// Gives the place up, and wakes whoever is next.
    pub fn leave_gate(&self, instance: &ObjectRef<VmInstance>) {
        let next = self.gate.lock().unwrap_or_else(PoisonError::into_inner).leave(instance);
        for instance in next {
            self.wake(instance);
        }
    }

    /// Forgets an instance that is no more, however it went.
    pub fn departed(&self, uid: &str, instance: &ObjectRef<VmInstance>) {
        self.leave_gate(instance);
        self.ledger.close(uid);
    }

    /// Wakes an instance.
    pub fn wake(&self, instance: ObjectRef<VmInstance>) {
        // Closed only when the controllers are gone.
        let _ = self.wake_instance.unbounded_send(instance);
    }
}
