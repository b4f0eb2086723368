//! The operator's values behind the numbers in a state: statuses, objects and what processes remember. Each value is in
//! memory once, so that a state is small and what was computed from it once is not computed again.

use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use model::Map;
use operator_kit::conditions;
use serde::Serialize;

use crate::api::{VmGroup, VmGroupStatus, VmInstance, VmInstanceStatus, condition};
use crate::fixtures;

use super::kubernetes::{Group, Instance, group_of};

/// Names a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatusId(pub u16);

impl StatusId {
    /// No status was written yet.
    pub const NONE: Self = Self(0);
}

/// Values by number, each once.
pub struct Table<K, V> {
    numbers: Map<K, u32>,
    values: Vec<Rc<V>>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { numbers: Map::default(), values: Vec::new() }
    }
}

impl<K: Hash + Eq, V> Table<K, V> {
    /// Returns the number of the value with this key, which is `value` if there is none yet.
    pub fn number(&mut self, key: K, value: impl FnOnce() -> V) -> u32 {
        let next = u32::try_from(self.values.len()).unwrap();
        *self.numbers.entry(key).or_insert_with(|| {
            self.values.push(Rc::new(value()));
            next
        })
    }

    pub fn get(&self, number: u32) -> Rc<V> {
        Rc::clone(&self.values[number as usize])
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }
}

/// A status of either kind, and what the checks read of it.
pub struct Status {
    pub instance: Option<VmInstanceStatus>,
    pub group: Option<VmGroupStatus>,
    /// Status and reason of the condition Ready.
    pub ready: (String, String),
    /// The recorded folder.
    pub folder: Option<u8>,
    /// The recorded machine and clone task.
    pub vm: Option<u8>,
    pub task: Option<u8>,
    pub ready_replicas: u8,
    /// The condition OrphansFound.
    pub orphans: bool,
}

impl Status {
    fn new(instance: Option<VmInstanceStatus>, group: Option<VmGroupStatus>) -> Self {
        let none: &[Condition] = &[];
        let conditions = instance.as_ref().map(|status| &*status.conditions);
        let conditions = conditions.or(group.as_ref().map(|status| &*status.conditions)).unwrap_or(none);
        let ready = conditions::get(conditions, condition::READY);
        let ready = ready.map(|ready| (ready.status.clone(), ready.reason.clone())).unwrap_or_default();
        let orphans = conditions::get(conditions, condition::ORPHANS_FOUND);
        let orphans = orphans.is_some_and(|orphans| orphans.status == "True");
        let number = |id: &str| id.rsplit('-').next()?.parse().ok();
        Self {
            ready,
            orphans,
            folder: group.as_ref().and_then(|status| number(status.folder.as_deref()?)),
            vm: instance.as_ref().and_then(|status| number(status.vm_ref.as_deref()?)),
            task: instance.as_ref().and_then(|status| number(&status.task.as_ref()?.r#ref)),
            ready_replicas: group
                .as_ref()
                .and_then(|status| status.ready_replicas?.try_into().ok())
                .unwrap_or(0),
            instance,
            group,
        }
    }
}

/// The tables of one model.
pub struct Tables {
    statuses: RefCell<Table<String, Status>>,
    instances: RefCell<Map<Instance, Arc<VmInstance>>>,
    groups: RefCell<Map<Group, Arc<VmGroup>>>,
}

impl Default for Tables {
    fn default() -> Self {
        let mut statuses = Table::default();
        statuses.number(String::new(), || Status::new(None, None));
        Self { statuses: RefCell::new(statuses), instances: RefCell::default(), groups: RefCell::default() }
    }
}

/// The instanceUuid of the instance with this number.
pub fn uuid(number: u8) -> String {
    format!("uuid-{number}")
}

/// The UID of the instance with this number.
pub fn uid(number: u8) -> String {
    format!("uid-{number}")
}

/// Groups, one after the other.
pub const GROUPS: u8 = 2;

/// The UID of the group with this number.
pub fn group_uid(number: u8) -> &'static str {
    if number == 0 { fixtures::GROUP_UID } else { "second-group" }
}

impl Tables {
    /// Returns what a status says.
    pub fn status(&self, id: StatusId) -> Rc<Status> {
        self.statuses.borrow().get(id.0.into())
    }

    /// Returns the name of an instance's status.
    pub fn instance_status(&self, status: &VmInstanceStatus) -> StatusId {
        self.number(status, || Status::new(Some(status.clone()), None))
    }

    /// Returns the name of a group's status.
    pub fn group_status(&self, status: &VmGroupStatus) -> StatusId {
        self.number(status, || Status::new(None, Some(status.clone())))
    }

    fn number(&self, status: &impl Serialize, value: impl FnOnce() -> Status) -> StatusId {
        let text = serde_json::to_string(status).unwrap();
        StatusId(self.statuses.borrow_mut().number(text, value).try_into().unwrap())
    }

    /// Returns the object of an instance.
    pub fn instance(&self, instance: Instance) -> Arc<VmInstance> {
        let make = || {
            let mut object = fixtures::instance(instance.slot.into());
            object.metadata.uid = Some(uid(instance.number));
            object.spec.instance_uuid = uuid(instance.number);
            object.spec.group_uid = group_uid(group_of(instance.number)).into();
            for owner in object.metadata.owner_references.iter_mut().flatten() {
                owner.uid.clone_from(&object.spec.group_uid);
            }
            object.metadata.generation = Some(if instance.deleting { 2 } else { 1 });
            object.status.clone_from(&self.status(instance.status).instance);
            Arc::new(if instance.deleting { fixtures::deleting(object) } else { object })
        };
        self.instances.borrow_mut().entry(instance).or_insert_with(make).clone()
    }

    /// Returns the object of the group.
    pub fn group(&self, group: Group) -> Arc<VmGroup> {
        let make = || {
            let mut object = fixtures::group(group.replicas.into());
            object.metadata.uid = Some(group_uid(group.number).into());
            object.metadata.generation = Some(group.generation.into());
            if !group.finalizer {
                object.metadata.finalizers = None;
            }
            object.status.clone_from(&self.status(group.status).group);
            Arc::new(if group.deleting { fixtures::deleting(object) } else { object })
        };
        self.groups.borrow_mut().entry(group).or_insert_with(make).clone()
    }
}
