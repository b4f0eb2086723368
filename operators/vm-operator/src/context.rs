//! What both controllers share: the vCenter, the caches and their indexes, and what this process remembers.

use std::sync::Arc;
use std::time::Duration;

use infra_clients::vsphere::vms::{Vm, Vms};
use kube::ResourceExt;
use operator_kit::{Guarded, Index, Key, Kit, Objects, Watch};

use crate::api::names::{self, Marker};
use crate::api::{VmGroup, VmInstance};
use crate::detach;
use crate::lines::GroupId;
use crate::memory::Memory;
use crate::meters::Meters;
use crate::visibility::Visibility;
use crate::vminstance::{GroupView, has_machine, is_in_the_way, may_be_of};

/// Returns which group an instance belongs to: one of its own namespace, whatever its spec says.
fn group_id(instance: &VmInstance) -> GroupId {
    (instance.namespace().unwrap_or_default(), instance.spec.group_uid.clone())
}

fn group_key(instance: &VmInstance) -> Key {
    Key::new(&instance.namespace().unwrap_or_default(), &instance.spec.group)
}

/// Shared by the controllers. Cheap to read; nothing in it is locked across an await.
pub struct Context {
    /// Client, events, metrics.
    pub kit: Kit,
    /// The one vCenter.
    pub vms: Vms,
    /// Whether it is in sight.
    pub visibility: Visibility,
    /// All groups.
    pub groups: Objects<VmGroup>,
    /// All instances.
    pub instances: Objects<VmInstance>,
    /// Instances by group.
    pub by_group: Index<VmInstance, GroupId>,
    /// Instances that are no members, and have names of members, by the key of the group that they name.
    pub in_the_way: Index<VmInstance, Key>,
    /// Instances by the name of their machine.
    pub by_vm_name: Index<VmInstance, String>,
    /// Instances by the task that their durable status names.
    pub by_task: Index<VmInstance, String>,
    /// Instances by instanceUuid.
    pub by_uuid: Index<VmInstance, String>,
    /// Groups and the folder names that they may use.
    pub by_folder: Index<VmGroup, String>,
    /// What this process remembers.
    pub memory: Memory,
    /// What is counted and timed.
    pub meters: Meters,
    /// Most machines of one group.
    pub max_replicas: i32,
}

/// What an administrator chooses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Id of the cluster.
    pub cluster: String,
    /// Clones in flight at once, over all groups.
    pub max_clones: usize,
    /// Most machines of one group.
    pub max_replicas: i32,
    /// How long the vCenter may be out of sight before statuses say so.
    pub grace: Duration,
}

impl Context {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        kit: &Kit,
        vms: Vms,
        groups: &Watch<VmGroup>,
        instances: &Watch<VmInstance>,
        meters: Meters,
        settings: Settings,
    ) -> Self {
        Self {
            kit: kit.clone(),
            vms,
            visibility: Visibility::new(settings.grace),
            groups: groups.objects(),
            instances: instances.objects(),
            by_group: instances.index(|i| [group_id(i)]),
            in_the_way: instances.index(|i| is_in_the_way(i).then(|| group_key(i))),
            by_vm_name: instances.index(|i| [i.spec.vm_name.clone()]),
            by_task: instances.index(|i| Some(i.status.as_ref()?.task.as_ref()?.r#ref.clone())),
            by_uuid: instances.index(|i| [i.spec.instance_uuid.clone()]),
            by_folder: groups.index(|g| {
                let (namespace, name) = (g.namespace().unwrap_or_default(), g.name_any());
                [names::folder(&namespace, &name), names::original_folder(&namespace, &name)]
            }),
            memory: Memory::new(settings.cluster, settings.max_clones),
            meters,
            max_replicas: settings.max_replicas,
        }
    }

    /// Returns the group of an instance: the one of its name and UID, not a later one of the same name.
    #[must_use]
    pub fn group_of(&self, instance: &VmInstance) -> Option<Arc<VmGroup>> {
        self.groups
            .cache()
            .valid(&group_key(instance))
            .filter(|group| group.uid().as_deref() == Some(&*instance.spec.group_uid))
    }

    /// Returns whether the group of an instance exists and does not parse.
    #[must_use]
    pub fn has_invalid_group(&self, instance: &VmInstance) -> bool {
        self.groups.cache().get(&group_key(instance)).is_some_and(|group| {
            group.valid().is_none() && group.uid().as_ref() == Some(&instance.spec.group_uid)
        })
    }

    /// Returns whether a group is as this process knows it: its spec, and what instances see of it. Reads it from the API server.
    ///
    /// # Errors
    /// Those of [`Objects::is_current`].
    pub async fn is_current_group(&self, group: &VmGroup) -> Result<bool, kube::Error> {
        self.groups.is_current(group, |group| (group.metadata.generation, GroupView::of(group))).await
    }

    /// Returns whether an instance is as this process knows it, and of its group what instances see of it: a person may have paused or
    /// detached it. Reads both from the API server.
    ///
    /// # Errors
    /// Those of [`Objects::is_current`].
    pub async fn is_current_instance(&self, instance: &VmInstance) -> Result<bool, kube::Error> {
        let view = |instance: &VmInstance| (instance.metadata.generation, detach::of(instance));
        if !self.instances.is_current(instance, view).await? {
            return Ok(false);
        }
        match self.group_of(instance) {
            Some(group) => self.groups.is_current(&group, GroupView::of).await,
            None => Ok(true),
        }
    }

    /// Returns the instances of a group.
    #[must_use]
    pub fn members(&self, group: &VmGroup) -> Vec<Arc<VmInstance>> {
        self.by_group.get(&(group.namespace().unwrap_or_default(), group.uid().unwrap_or_default()))
    }

    /// Returns the instances of a group that do not parse.
    #[must_use]
    pub fn unread(&self, group: &VmGroup) -> Vec<Guarded<VmInstance>> {
        let mut unread = self.instances.cache().invalid();
        unread.retain(|instance| may_be_of(instance, group));
        unread
    }

    /// Returns what is left of former groups of this name: instances whose names are taken.
    #[must_use]
    pub fn leftovers(&self, group: &VmGroup) -> Vec<Arc<VmInstance>> {
        let mut leftovers = self.in_the_way.get(&Key::of(group));
        leftovers.retain(|instance| Some(&instance.spec.group_uid) != group.uid().as_ref());
        leftovers
    }

    /// Returns whether another group than this has the folder of this name as its own.
    #[must_use]
    pub fn is_folder_of_another(&self, folder: &str, group: &VmGroup) -> bool {
        self.by_folder.get(&folder.to_owned()).iter().any(|other| {
            let (namespace, name) = (other.namespace().unwrap_or_default(), other.name_any());
            Key::of(&**other) != Key::of(group) && names::folder(&namespace, &name) == folder
        })
    }

    /// Returns whether the machine with this marker is the one of its VmInstance, and not a copy or left over. It may be the one of a
    /// VmInstance that does not parse.
    #[must_use]
    pub fn is_member(&self, vm: &Vm, marker: &Marker) -> bool {
        let unread =
            || self.instances.cache().get(&marker.instance()).is_some_and(|found| found.valid().is_none());
        self.by_uuid.get(&marker.instance_uuid).iter().any(|instance| has_machine(instance, vm)) || unread()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::VmInstanceSpec;

    /// A tenant cannot make an instance in its own namespace a member of another tenant's group.
    #[test]
    fn instances_of_another_namespace_are_no_members() {
        let instance = |namespace: &str| {
            let spec = VmInstanceSpec {
                group: "web".into(),
                group_uid: "uid".into(),
                slot: 0,
                vm_name: "web-0".into(),
                instance_uuid: "uuid".into(),
                cpu: 1,
                memory: 1,
                template: "photon".into(),
            };
            let mut instance = VmInstance::new("web-0", spec);
            instance.metadata.namespace = Some(namespace.into());
            instance
        };
        assert_eq!(group_id(&instance("ours")), ("ours".to_owned(), "uid".to_owned()));
        assert_ne!(group_id(&instance("theirs")), group_id(&instance("ours")));
    }
}
